package tso

import (
	"errors"
	"testing"
)

// mostStates bounds the search of one cast.
const mostStates = 4 << 20

// Check explores a cast of programs from start: as it is it must pass, and with each of its mutants, which name a step that
// is left out or done wrongly, it must not.
func Check[M ~string](t *testing.T, start World, cast func(m M) []*Program, mutants []M) {
	t.Helper()
	n, err := Explore(start, cast(""), mostStates)
	if err != nil {
		t.Errorf("after %d states: %v", n, err)
	}
	t.Logf("%d states", n)
	for _, m := range mutants {
		if n, err := Explore(start, cast(m), mostStates); err == nil || errors.Is(err, ErrLimit) {
			t.Errorf("%q is not noticed in %d states", m, n)
		} else {
			t.Logf("%q: %v", m, err)
		}
	}
}
