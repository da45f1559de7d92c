// Calls a generic function that is not inlined: it gets a dictionary.
package main

type cpu struct{ n uint64 }

//go:nosplit
//go:noinline
func root(c *cpu) uint64 { return leaf(c.n) }

//go:nosplit
//go:noinline
func leaf[T uint64 | uint32](n T) T { return n << 3 }

func main() { println(root(&cpu{})) }
