// The good program links package ring and does nothing with it.
package main

import "culvert/guest/ringcheck/testdata/good/ring"

func main() { println(len(ring.Addresses())) }
