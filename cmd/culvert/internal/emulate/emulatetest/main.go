// Command emulatetest is culvert emulate alone, for the tests.
package main

import (
	"os"

	"culvert/cmd/culvert/internal/emulate"
)

func main() {
	if emulate.IsInit() {
		os.Exit(emulate.Init())
	}
	os.Exit(emulate.Command(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
