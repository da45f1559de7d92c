// Allocates.
package main

type cpu struct{ n map[int]int }

//go:noinline
func root(c *cpu) { c.n = make(map[int]int, 100) }

func main() { root(&cpu{}) }
