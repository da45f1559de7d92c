// Calls assembly directly: the compiler reloads g from thread-local storage behind it.
package main

type cpu struct{ n uint64 }

func helper(n uint64) uint64

//go:nosplit
//go:noinline
func root(c *cpu) uint64 { return helper(c.n) }

func main() { println(root(&cpu{})) }
