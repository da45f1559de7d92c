package signals

import (
	"runtime"
	"sync"
	"testing"
	"time"
)

// numbered is an action whose words all tell its number.
func numbered(id uint64) Action { return Action{id, id * 3, id * 5, id * 7} }

func (a Action) whole() bool { return a == numbered(a.Handler) }

// TestTable: actions are what was stored last, of any number of changes on both sides.
func TestTable(t *testing.T) {
	tab := new(Table)
	spare := tab.Init()
	var a Action
	for id := uint64(1); id <= 1000; id++ {
		i := id % NSIG
		v := tab.Load(i, &a)
		if want := numbered(max(id, NSIG) - NSIG); a != want && id > NSIG || id < NSIG && a != (Action{}) {
			t.Fatalf("action %d is %v, not %v", i, a, want)
		}
		switch old, to := a, numbered(id); {
		case id%3 != 0:
			if got := tab.Update(int(i), &spare, func(a *Action) { *a = to }); got != old {
				t.Fatalf("change %d replaced %v, not %v", id, got, old)
			}
			if tab.Lock() {
				if tab.Replace(i, v, &to) {
					t.Fatal("a version that is gone was replaced")
				}
				tab.Unlock()
			}
		case !tab.Lock() || !tab.Replace(i, v, &to):
			t.Fatal("nobody else is there")
		default:
			if tab.Lock() {
				t.Fatal("locked twice")
			}
			tab.Unlock()
		}
	}
}

// TestHostileTable: whatever a guest stores in the words, the host stays inside the Table.
func TestHostileTable(t *testing.T) {
	tab := new(Table)
	spare := tab.Init()
	var a Action
	for i := range tab.current {
		tab.current[i] = ^uint64(0) - uint64(i)
	}
	tab.spare = ^uint64(0)
	for n := range 3 {
		for i := range NSIG {
			tab.Load(uint64(i), &a)
			tab.Update(i, &spare, func(a *Action) { a.Handler = uint64(n) })
		}
	}
	if tab.Lock() {
		tab.Replace(0, tab.Load(0, &a), &a)
	}
}

// TestStress: two vCPUs and the host change two actions while others read them. What is read is whole, and each action that was
// stored is replaced exactly once, but the last.
func TestStress(t *testing.T) {
	const actions = 2
	d := 500 * time.Millisecond
	if testing.Short() {
		d = 100 * time.Millisecond
	}
	tab := new(Table)
	spare := tab.Init()
	stop := time.Now().Add(d)
	var mu sync.Mutex
	stored, replaced := [actions]map[uint64]bool{}, [actions]map[uint64]int{}
	for i := range actions {
		stored[i], replaced[i] = map[uint64]bool{0: true}, map[uint64]int{}
	}
	note := func(i int, olds, news []uint64) {
		mu.Lock()
		defer mu.Unlock()
		for k := range olds {
			replaced[i][olds[k]]++
			stored[i][news[k]] = true
		}
	}
	var wg sync.WaitGroup
	run := func(who uint64, change func(i int, a Action) (Action, bool)) {
		wg.Go(func() {
			var olds, news [actions][]uint64
			for n := uint64(1); time.Now().Before(stop); n++ {
				i, id := int(n%actions), n<<4|who
				old, ok := change(i, numbered(id))
				if !ok {
					runtime.Gosched()
					continue
				}
				if !old.whole() {
					t.Errorf("an action in pieces was replaced: %v", old)
					return
				}
				olds[i], news[i] = append(olds[i], old.Handler), append(news[i], id)
			}
			for i := range actions {
				note(i, olds[i], news[i])
			}
		})
	}
	for who := range uint64(2) {
		run(who+1, func(i int, a Action) (old Action, ok bool) {
			if !tab.Lock() {
				return old, false
			}
			defer tab.Unlock()
			v := tab.Load(uint64(i), &old)
			return old, tab.Replace(uint64(i), v, &a)
		})
	}
	run(3, func(i int, a Action) (Action, bool) {
		return tab.Update(i, &spare, func(now *Action) { *now = a }), true
	})
	wg.Go(func() {
		var a Action
		for n := uint64(0); time.Now().Before(stop); n++ {
			if tab.Load(n%actions, &a); !a.whole() {
				t.Errorf("an action in pieces: %v", a)
				return
			}
		}
	})
	wg.Wait()
	total := 0
	for i := range actions {
		var a Action
		tab.Load(uint64(i), &a)
		replaced[i][a.Handler]++
		for id := range stored[i] {
			if replaced[i][id] != 1 {
				t.Errorf("action %d of %d was replaced %d times", id, i, replaced[i][id])
			}
		}
		total += len(stored[i])
	}
	t.Logf("%d changes", total)
}
