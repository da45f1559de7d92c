// Calls through an interface that the list allows by mistake.
package main

type reader interface{ read(n int) int }

type file struct{ n int }

//go:noinline
func (f *file) read(n int) int { return f.n + n }

type cpu struct{ r reader }

//go:nosplit
//go:noinline
func root(c *cpu) int { return c.r.read(1) }

func main() { println(root(&cpu{&file{1}})) }
