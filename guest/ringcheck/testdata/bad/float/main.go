// Needs a constant from .rodata.
package main

type cpu struct{ f float64 }

//go:nosplit
//go:noinline
func root(c *cpu) float64 { return c.f*1.2345 + 0.333 }

func main() { println(root(&cpu{})) }
