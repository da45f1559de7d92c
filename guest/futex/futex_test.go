package futex

import (
	"math/rand/v2"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"culvert/shim/abi"
	"culvert/vmm/leakcheck"
)

func TestMain(m *testing.M) { os.Exit(leakcheck.Main(m)) }

func pause() {}

// queue returns the threads that wait on a key, in order.
func queue(t *Table, k Key, bits uint64) (list []uint64) {
	for w := t.Walk(k, bits); w.Next(t); {
		list = append(list, w.Thread)
	}
	return list
}

// TestModel compares random operations with lists.
func TestModel(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	keys := []Key{keyOf(0), keyOf(semWord), keyOf(otherWord), {Space: 1 << 63, Offset: 4}}
	type waiter struct{ thread, bits uint64 }
	tab, model := new(Table), map[Key][]waiter{}
	where := map[uint64]Key{}
	for range 100_000 {
		i, k, bits := rng.Uint64N(40)*100+5, keys[rng.IntN(len(keys))], 1+rng.Uint64N(3)
		at, queued := where[i]
		switch op := rng.IntN(4); {
		case op == 0 && !queued:
			tab.Add(i, k, bits, i&1)
			model[k] = append(model[k], waiter{i, bits})
			where[i] = k
		case op == 1:
			got := tab.Leave(i, pause)
			if queued != (got == Left) || got == Busy {
				t.Fatalf("Leave of %d: %d, queued %t", i, got, queued)
			}
			model[at] = slices.DeleteFunc(model[at], func(w waiter) bool { return w.thread == i })
			delete(where, i)
		case op == 2:
			for w := tab.Walk(k, bits); w.Next(tab); {
				at := slices.IndexFunc(model[k], func(w waiter) bool { return w.bits&bits != 0 })
				if at < 0 || model[k][at].thread != w.Thread {
					t.Fatalf("thread %d is woken, not %v", w.Thread, model[k])
				}
				if host := tab.Remove(&w); host != (w.Thread&1 != 0) {
					t.Fatalf("thread %d: host %t", w.Thread, host)
				}
				model[k] = slices.Delete(model[k], at, at+1)
				delete(where, w.Thread)
				if rng.IntN(2) == 0 {
					break
				}
			}
		case op == 3 && k != keys[0]:
			for w := tab.Walk(k, BitsAny); w.Next(tab); {
				tab.Move(&w, keys[0])
				model[keys[0]] = append(model[keys[0]], model[k][0])
				model[k] = model[k][1:]
				where[w.Thread] = keys[0]
			}
		}
		if b := BucketOf(k); tab.Quiet(b) && len(model[k]) != 0 {
			t.Fatal("quiet, and somebody waits")
		}
		var want []uint64
		for _, w := range model[k] {
			want = append(want, w.thread)
		}
		if got := queue(tab, k, BitsAny); !slices.Equal(got, want) {
			t.Fatalf("threads %v wait, not %v", got, want)
		}
	}
}

func TestLockIsTried(t *testing.T) {
	tab, tries := new(Table), 0
	tab.Add(9, keyOf(0), 1, 0)
	b := BucketOf(keyOf(0))
	if !tab.Lock(b, pause) || tab.Lock(b, func() { tries++ }) || tries != lockTries {
		t.Errorf("a held lock: %d tries", tries)
	}
	if tab.Quiet(b) || tab.Leave(9, pause) != Busy {
		t.Error("a held lock is not seen")
	}
	tab.Unlock(b)
	if tab.Leave(9, pause) != Left || !tab.Quiet(b) || tab.Leave(9, pause) != Woken {
		t.Error("leaving")
	}
}

// TestKeysSpread: neighbouring words, and one word in many spaces, do not share few buckets.
func TestKeysSpread(t *testing.T) {
	for name, key := range map[string]func(i uint64) Key{
		"words":  func(i uint64) Key { return Key{3, 0x7f0000001000 + 4*i} },
		"lines":  func(i uint64) Key { return Key{3, 0x7f0000001000 + 64*i} },
		"stacks": func(i uint64) Key { return Key{3, 0x7f0000000910 + i<<23} },
		"spaces": func(i uint64) Key { return Key{i, 0x404060} },
	} {
		used := map[uint64]int{}
		for i := range uint64(Buckets) {
			used[BucketOf(key(i))]++
		}
		if len(used) < Buckets/2 {
			t.Errorf("%s: %d keys share %d buckets", name, Buckets, len(used))
		}
	}
}

// TestHostileTable: whatever the words are, everything ends.
func TestHostileTable(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	tab := new(Table)
	for range 300 {
		for i := range tab.Node {
			n := &tab.Node[i]
			n.Bucket, n.Next, n.Prev = rng.Uint64()>>rng.IntN(64), rng.Uint64()>>rng.IntN(64), rng.Uint64()>>rng.IntN(64)
			n.Key, n.Bits = keyOf(rng.IntN(numWords)), rng.Uint64()
		}
		for i := range tab.Bucket {
			tab.Bucket[i] = Bucket{Head: rng.Uint64() >> rng.IntN(64), Tail: rng.Uint64() >> rng.IntN(64)}
		}
		k := keyOf(rng.IntN(numWords))
		steps := 0
		for w := tab.Walk(k, BitsAny); w.Next(tab); steps++ {
			if w.Thread >= abi.MaxThreads || steps > abi.MaxThreads {
				t.Fatal("a walk leaves the table")
			}
			if rng.IntN(2) == 0 {
				tab.Remove(&w)
			} else {
				tab.Move(&w, keyOf(rng.IntN(numWords)))
			}
		}
		tab.Add(rng.Uint64(), k, 1, 0)
		tab.Leave(rng.Uint64(), pause)
		tab.Queued(rng.Uint64())
	}
}

// TestRing0 reads the relocations of the compiled package: nothing refers to anything but this package's functions,
// so there is no panic, no stack growth, no barrier, no variable and no jump table.
func TestRing0(t *testing.T) {
	if raceEnabled {
		t.Skip("a race-detector build calls the detector; it never runs in ring 0")
	}
	reloc := regexp.MustCompile(`\[\d+:\d+\](R_\w+):(\S+)`)
	for _, flags := range [][]string{nil, {"-trimpath"}, {"-buildmode=pie"}} {
		object, err := exec.Command("go", append(append([]string{"list", "-export", "-f", "{{.Export}}"}, flags...), ".")...).Output()
		if err != nil {
			t.Fatalf("go list: %v", err)
		}
		out, err := exec.Command("go", "tool", "objdump", strings.TrimSpace(string(object))).Output()
		if err != nil {
			t.Fatalf("go tool objdump: %v", err)
		}
		functions, generated := 0, false
		for _, line := range strings.Split(string(out), "\n") {
			if strings.HasPrefix(line, "TEXT ") {
				generated = !strings.HasPrefix(line, "TEXT culvert/guest/futex.")
				if !generated {
					functions++
				}
			}
			for _, m := range reloc.FindAllStringSubmatch(line, -1) {
				if !generated && !strings.HasPrefix(m[2], "culvert/guest/futex.") && m[1] != "R_CALLIND" {
					t.Errorf("%v: %s of %s", flags, m[1], m[2])
				}
			}
		}
		if functions < 8 {
			t.Errorf("%v: %d functions", flags, functions)
		}
	}
}
