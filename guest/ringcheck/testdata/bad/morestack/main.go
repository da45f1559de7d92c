// Lacks go:nosplit.
package main

type cpu struct{ buf [40]uint64 }

//go:noinline
func root(c *cpu) uint64 {
	b := c.buf
	return leaf(&b)
}

//go:nosplit
//go:noinline
func leaf(b *[40]uint64) uint64 { return b[3] }

func main() { println(root(&cpu{})) }
