// Compares strings.
package main

type cpu struct{ a, b string }

//go:noinline
func root(c *cpu) bool { return c.a == c.b }

func main() { println(root(&cpu{"a", "b"})) }
