package shim

import (
	"errors"
	"runtime"
	"time"

	"culvert/guest/futex"
	"culvert/shim/mm"
)

// futexTable is the table of waiting threads, which ring 0 works on too, with what the shim alone knows. Kernel.mu
// guards it; the table's own locks are taken under Kernel.mu, and no vCPU that holds one of them needs Kernel.mu.
type futexTable struct {
	*futex.Table
	waiters map[uint64]*futexWaiter // calls that are blocked in the shim, by slot
	objects map[*mm.Object]*futexObject
	lastID  uint64
	pi      map[futex.Key]*piLock // locks that threads wait for: futex_pi.go
}

// futexWaiter is a call that is blocked in the shim.
type futexWaiter struct {
	queue  Queue      // its own
	object *mm.Object // of the key; nil = private memory
	pi     *piWaiter  // of FUTEX_WAIT_REQUEUE_PI
}

// futexObject numbers an object while anybody waits on a word of it.
type futexObject struct {
	id   uint64
	refs int
}

// futexObj is in futex.Key.Space of words in shared memory, beside the number of the object. Ring 0 knows only the other kinds of
// key: the number of the address space, alone or with futex.Shared.
const futexObj = 1 << 62

func newFutexTable(ram []byte, l *Layout) futexTable {
	return futexTable{
		Table:   structAt[futex.Table](ram, l.Futexes),
		waiters: map[uint64]*futexWaiter{},
		objects: map[*mm.Object]*futexObject{},
		pi:      map[futex.Key]*piLock{},
	}
}

// futexWord is a word that threads may wait on: its key, and the reference that keeps the key's number.
type futexWord struct {
	key    futex.Key
	object *mm.Object
}

// futexWord finds the word at addr. The caller gives it back by drop.
func (t *Thread) futexWord(addr uint64, private bool) (futexWord, error) {
	k, err := t.mm.FutexKey(addr, private)
	switch {
	case err != nil:
		return futexWord{}, t.k.memError(err)
	case k.Object != nil:
		id := t.k.futexes.hold(k.Object)
		return futexWord{futex.Key{Space: futexObj | id, Offset: k.Offset}, k.Object}, nil
	case !private:
		k.Space |= futex.Shared
	}
	return futexWord{key: futex.Key{Space: k.Space, Offset: k.Offset}}, nil
}

// hold takes a reference to an object's number; nil has none.
func (ft *futexTable) hold(o *mm.Object) uint64 {
	if o == nil {
		return 0
	}
	n := ft.objects[o]
	if n == nil {
		ft.lastID++
		n = &futexObject{id: ft.lastID}
		ft.objects[o] = n
	}
	n.refs++
	return n.id
}

// drop gives a reference back.
func (ft *futexTable) drop(o *mm.Object) {
	n := ft.objects[o]
	if n == nil {
		return
	}
	if n.refs--; n.refs == 0 {
		delete(ft.objects, o)
	}
}

// errFutexLock ends the VM.
var errFutexLock = errors.New("the lock of a queue of futexes is never released")

// lock takes the locks of one or two buckets. errBusy: to be tried again soon.
func (ft *futexTable) lock(a, b uint64) error {
	a, b = min(a, b), max(a, b)
	if !ft.Lock(a, runtime.Gosched) {
		return errBusy
	}
	if b != a && !ft.Lock(b, runtime.Gosched) {
		ft.Unlock(a)
		return errBusy
	}
	return nil
}

func (ft *futexTable) unlock(a, b uint64) {
	ft.Unlock(a)
	if b != a {
		ft.Unlock(b)
	}
}

// take takes up to n threads that wait on key out of the table and appends their slots to list. Preconditions: the
// bucket is locked.
func (ft *futexTable) take(list []uint64, key futex.Key, n int, bits uint32) []uint64 {
	for w := ft.Walk(key, uint64(bits)); n > 0 && w.Next(ft.Table); n-- {
		ft.Remove(&w)
		list = append(list, w.Thread)
	}
	return list
}

// wakeFutex wakes threads that were taken out of the table.
func (k *Kernel) wakeFutex(slots []uint64) {
	for _, slot := range slots {
		if f := k.futexes.waiters[slot]; f != nil {
			f.queue.Wake()
		} else {
			k.wakeSlot(int64(slot))
		}
	}
}

// told serves NoteFutex: ring 0 took calls of the shim out of the table.
func (ft *futexTable) told() {
	for slot, f := range ft.waiters {
		if !ft.Queued(slot) {
			f.queue.Wake()
		}
	}
}

// futexWakeOf wakes up to n threads that wait on the word at addr; errBusy if the lock is held for long.
func (t *Thread) futexWakeOf(addr uint64, private bool, n int, bits uint32) (uint64, error) {
	ft := &t.k.futexes
	word, err := t.futexWord(addr, private)
	if err != nil {
		return 0, err
	}
	defer ft.drop(word.object)
	b := futex.BucketOf(word.key)
	if err := ft.lock(b, b); err != nil {
		return 0, err
	}
	slots := ft.take(nil, word.key, n, bits)
	ft.unlock(b, b)
	t.k.wakeFutex(slots)
	return uint64(len(slots)), nil
}

// futexLockLimit is how long a bucket's lock may be held. Its holder does not sleep, but its vCPU may wait for a
// processor.
const futexLockLimit = 10 * time.Second

// futexWakeOne wakes one waiter of a shared futex of a thread that dies: nobody is there to try again, so the lock is
// waited for with Kernel.mu held.
func (t *Thread) futexWakeOne(addr uint64) {
	for start := time.Now(); ; time.Sleep(busyPause) {
		if _, err := t.futexWakeOf(addr, false, 1, futex.BitsAny); err != errBusy {
			return // nobody waits where there is no memory
		}
		if time.Since(start) > futexLockLimit {
			t.k.fail(&HostileError{errFutexLock.Error()})
			return
		}
	}
}
