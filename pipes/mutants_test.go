package pipes

import (
	"testing"

	"culvert/pipes/mutate"
)

// mutants are wrong versions of this package's own text, each of which TestStress must notice.
var mutants = []mutate.Mutant{
	{Name: "Tail is published before the bytes are there", File: "pipe.go", Edits: early},
	{Name: "Tail is stored without a barrier", File: "pipe.go", Edits: []string{"atomic.StoreUint64(&p.Tail, next)", "p.Tail = next"}, Race: true},
	{Name: "the lock is not one", File: "pipe.go", Edits: []string{"atomic.CompareAndSwapUint64(word, 0, 1)", "true"}},
	{Name: "a reader does not pass on", File: "pipe.go", Edits: []string{"tail != next && !p.RWait.Empty()", "tail != next && false"}},
	{Name: "a writer does not pass on", File: "pipe.go", Edits: []string{
		"if !p.WWait.Empty() && size-(next-atomic.LoadUint64(&p.Head)) >= abi.PIPE_BUF {", "if false {"}},
	{Name: "no second look before sleep", File: "pipe.go", Edits: []string{
		"return head != atomic.LoadUint64(&p.Tail) || p.Writers() == 0", "return head != head"}},
	{Name: "the last close wakes nobody", File: "ends.go", Edits: []string{
		"w.Flags = p.told(w.Events) | WakeAll", "w.Flags = p.told(w.Events)"}},
	{Name: "pollers are forgotten", File: "pipe.go", Edits: []string{"flags = WakePollers", "flags = 0"}},
	{Name: "POLLOUT with one byte free", File: "pipe.go", Edits: []string{
		"return atomic.LoadUint64(&p.Size)-(tail-atomic.LoadUint64(&p.Head)) >= abi.PIPE_BUF",
		"return atomic.LoadUint64(&p.Size)-(tail-atomic.LoadUint64(&p.Head)) >= 1"}},
	{Name: "short atomic writes", File: "pipe.go", Edits: []string{"need = n\n", "need = 1\n"}},
	{Name: "a packet's entry stays", File: "packet.go", Edits: []string{"p.Packet[pos>>abi.PageShift&(packets-1)] = 0\n", ""}},
	{Name: "two closes are the last", File: "ends.go", Edits: []string{"if readers == 0 && writers == 0 {", "if readers == 0 {"}},
}

// early publishes in BeginWrite what EndWrite should.
var early = []string{
	"return spanAt(tail, min(n, free), size), OK",
	"if mode != Packet { atomic.StoreUint64(&p.Tail, tail+min(n, free)) }\n\treturn spanAt(tail, min(n, free), size), OK",
	"tail := atomic.LoadUint64(&p.Tail)\n\tnext := tail + n\n",
	"tail := atomic.LoadUint64(&p.Tail)\n\tnext := tail\n",
}

// TestMutants builds each mutant and lets TestStress find it.
func TestMutants(t *testing.T) {
	if testing.Short() || raceEnabled {
		t.Skip("builds the package many times; the plain long run does it")
	}
	mutate.Run(t, mutants, "TestStress")
}
