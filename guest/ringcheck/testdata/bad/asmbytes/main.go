// Assembly that ring 0 must not hold, one kind in each function.
package main

func addresses(p *[8]uintptr)

func main() { var a [8]uintptr; addresses(&a); println(a[0]) }
