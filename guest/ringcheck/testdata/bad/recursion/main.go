// Recurses through a table of code addresses, which the linker cannot see.
package main

type cpu struct {
	n uint64
	f func(c *cpu) uint64
}

//go:nosplit
//go:noinline
func root(c *cpu) uint64 {
	if c.n&1 == 0 {
		return 0
	}
	return other(c) + 1
}

//go:nosplit
//go:noinline
func other(c *cpu) uint64 { c.n >>= 1; return c.f(c) + 2 }

func main() { c := &cpu{3, nil}; c.f = root; println(root(c)) }
