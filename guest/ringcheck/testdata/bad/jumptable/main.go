// Has a switch that becomes a jump table.
package main

type cpu struct{ n uint64 }

//go:nosplit
//go:noinline
func root(c *cpu) uint64 {
	switch c.n {
	case 0:
		return 7
	case 1:
		return c.n * 3
	case 2:
		return 5
	case 3:
		return c.n + 12
	case 4:
		return 99
	case 5:
		return c.n ^ 3
	case 6:
		return 4
	case 7:
		return c.n << 3
	case 8:
		return 40
	}
	return 1
}

func main() { println(root(&cpu{})) }
