package futex

import (
	"testing"

	"culvert/pipes/mutate"
)

// mutants are wrong versions of this package's own text, each of which the tests must notice. Those of memory ordering
// are the explorer's.
var mutants = []mutate.Mutant{
	{Name: "the lock is not one", File: "futex.go", Edits: []string{"atomic.CompareAndSwapUint64(word, 0, 1)", "true"}, Race: true},
	{Name: "the lock is released by a plain store", File: "futex.go", Edits: []string{
		"{ atomic.StoreUint64(&t.Bucket[b&(Buckets-1)].Lock, 0) }", "{ t.Bucket[b&(Buckets-1)].Lock = 0 }"}, Race: true},
	{Name: "no second look in Leave", File: "futex.go", Edits: []string{"if atomic.LoadUint64(word) == b {", "if b != 0 {"}},
	{Name: "keys are not compared", File: "futex.go", Edits: []string{"if n.Key == w.key && ", "if "}},
	{Name: "bits are not compared", File: "futex.go", Edits: []string{" && n.Bits&w.bits != 0", ""}},
}

// TestMutants builds each mutant and lets the tests find it.
func TestMutants(t *testing.T) {
	if testing.Short() || raceEnabled {
		t.Skip("builds the package many times; the plain long run does it")
	}
	mutate.Run(t, mutants, "TestStress.*|TestModel")
}
