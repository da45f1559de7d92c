package bench

import (
	"os"
	"strings"
	"testing"
)

// A terminal gets a line; anything else gets silence.
func TestProgress(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	p := newProgress(w, isTerminal(w))
	p.begin("x", 2)
	p.tell(0)
	p.clear()
	w.Close()
	var b [64]byte
	if n, _ := r.Read(b[:]); n != 0 {
		t.Errorf("a pipe got %q", b[:n])
	}
	var term strings.Builder
	p = &progress{w: &term}
	p.begin("x", 2)
	p.tell(1)
	p.clear()
	if want := clearLine + "x: warming up" + clearLine + "x: sample 2 of 2" + clearLine; term.String() != want {
		t.Errorf("a terminal got %q, want %q", term.String(), want)
	}
}
