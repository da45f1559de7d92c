package epoll

import (
	"testing"

	"culvert/pipes/mutate"
)

// mutants are wrong versions of this package's own text, each of which TestStress must notice. Those whose window is a
// few instructions wide are the explorer's.
var mutants = []mutate.Mutant{
	{Name: "nobody is woken", File: "epoll.go", Edits: []string{"if !e.Sleepers.Empty() {\n\t\tthread", "if false {\n\t\tthread"}},
	{Name: "the bit is not set", File: "epoll.go", Edits: []string{"if atomic.OrUint64(&c.head().Ready, bit)&bit == 0 {",
		"if atomic.OrUint64(&c.head().Ready, 0)&bit == 0 {"}},
	{Name: "a walk ends at the first instance", File: "walk.go", Edits: []string{"if l++; up != 0 && l < Depth {", "if l++; false {"}},
	{Name: "the lists are written without atomics", File: "host_owner.go", Edits: []string{
		"atomic.StoreUint64(w.Head, addr)", "*w.Head = addr"}, Race: true},
}

// TestMutants builds each mutant and lets TestStress find it.
func TestMutants(t *testing.T) {
	if testing.Short() || raceEnabled {
		t.Skip("builds the package many times; the plain long run does it")
	}
	mutate.Run(t, mutants, "TestStress")
}
