// Uses more stack than it may.
package main

type cpu struct{ buf [60]uint64 }

//go:nosplit
//go:noinline
func root(c *cpu) uint64 {
	b := c.buf
	b[c.buf[3]&31] = 7
	return b[c.buf[0]&31]
}

func main() { println(root(&cpu{})) }
