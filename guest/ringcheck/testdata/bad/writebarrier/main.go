// Stores a pointer.
package main

type cpu struct{ next *cpu }

//go:nosplit
//go:noinline
func root(c, d *cpu) { c.next = d }

func main() { c := new(cpu); root(c, c); println(c) }
