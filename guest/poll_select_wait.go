package guest

import (
	"math/bits"

	"culvert/shim/abi"
)

// select(2) that waits: do_select of fs/select.c, for few files which are all pipes and eventfds. Its record, WaitSelect, is
// that of a poll, with the files in the order of their descriptors; what was asked lies in the slot's iovecs, in the place where the
// answers will be (selectAnswer), and number and addresses of the sets are in the registers. A call with another signal mask is
// the shim's.

// selectMicros in Wait.Aux of a WaitSelect: Left is a struct timeval.
const selectMicros = 1

// selectWait makes the record of a select that found nothing, and begins to wait for ns, or Forever. false: the shim has to.
//
//go:nosplit
func selectWait(p *PerCPU, t *Thread, ns, unit uint64) bool {
	deadline, ok := uint64(Forever), true
	if ns != Forever {
		deadline, ok = after(p, ns)
	}
	if !ok || !selectFiles(p, t) {
		return false
	}
	w := &t.Wait
	w.Kind, w.File, w.Addr, w.Done, w.Aux, w.Left = abi.WaitSelect, 0, 0, 0, 0, 0
	if ns != Forever {
		w.Left = t.R8
	}
	if unit != nsPerSec {
		w.Aux = selectMicros
	}
	w.Expired = Forever
	store(&w.Deadline, deadline)
	runRecord(p, t)
	return true
}

// selectFiles reads the sets once more, since the look at what is ready left nothing of them, and takes references to their
// files.
//
//go:nosplit
func selectFiles(p *PerCPU, t *Thread) bool {
	w, n := &t.Wait, t.RDI&0xffffffff
	w.Len = 0
	for word := uint64(0); word*64 < n; word++ {
		all, ok := selectAsked(p, t, word, n)
		for ; ok && all != 0; all &= all - 1 {
			ok = selectFile(p, t, word, uint64(bits.TrailingZeros64(all)))
		}
		if !ok {
			pollDrop(p, t)
			return false
		}
	}
	return true
}

// selectAsked reads a word of the sets.
//
//go:nosplit
func selectAsked(p *PerCPU, t *Thread, word, n uint64) (all uint64, ok bool) {
	for set := uint64(0); set < 3; set++ {
		asked := uint64(0)
		if a := selectSet(t, set); a != 0 {
			v, fault := p.LoadUser(at(a + word*8)) // the address was checked by the first look
			if fault != 0 {
				return 0, false
			}
			asked = v & validBits(word, n)
		}
		*selectAnswer(t, word, set) = asked
		all |= asked
	}
	return all, true
}

// validBits are the bits of a word that name descriptors below n.
//
//go:nosplit
func validBits(word, n uint64) uint64 {
	if n-word*64 < 64 {
		return 1<<((n-word*64)&63) - 1
	}
	return ^uint64(0)
}

// selectFile adds a descriptor to the record.
//
//go:nosplit
func selectFile(p *PerCPU, t *Thread, word, fd uint64) bool {
	w := &t.Wait
	if w.Len >= PollFiles {
		return false
	}
	f := getFile(p, t, word*64+fd)
	if f == nil {
		return false
	}
	want := uint64(0)
	if *selectAnswer(t, word, 0)>>fd&1 != 0 {
		want |= selectIn
	}
	if *selectAnswer(t, word, 1)>>fd&1 != 0 {
		want |= selectOut
	}
	w.Poll[w.Len&(PollFiles-1)] = f.Index | want<<32
	w.Len++
	return pollable(f) // if not, pollDrop drops it with the others
}

// selectRetry looks at all files, and waits if none has anything.
//
//go:nosplit
func selectRetry(p *PerCPU, t *Thread) bool {
	w := &t.Wait
	if !selectScan(p, w) && !timedOut(w) {
		pollJoin(p, t)
		if !selectScan(p, w) {
			setTimer(p, t)
			return false
		}
		pollLeave(p, t)
	}
	n := t.RDI & 0xffffffff
	t.RAX = selectAnswers(t, n)
	if !selectStore(p, t, n) {
		t.RAX = negative(abi.EFAULT)
	}
	storeLeft(p, t)
	w.Kind = abi.WaitNone
	pollDrop(p, t)
	return true
}

// selectScan asks all files and stores the answers in the record. Unlike poll, select tells of nothing unasked.
//
//go:nosplit
func selectScan(p *PerCPU, w *Wait) (found bool) {
	for i := uint64(0); i < w.Len && i < PollFiles; i++ {
		e := w.Poll[i] &^ (0xffff << 48)
		got := fileReadiness(fileAt(p.VM, e&NoFile)) & (e >> 32) & 0xffff
		found = found || got != 0
		w.Poll[i] = e | got<<48
	}
	return found
}

// selectAnswers makes the sets' answers of the record's, and counts their bits.
//
//go:nosplit
func selectAnswers(t *Thread, n uint64) (count uint64) {
	i := uint64(0)
	for word := uint64(0); word*64 < n && word < selectWords; word++ {
		all := *selectAnswer(t, word, 0) | *selectAnswer(t, word, 1) | *selectAnswer(t, word, 2)
		for ; all != 0; all &= all - 1 {
			fd, got := uint64(bits.TrailingZeros64(all)), t.Wait.Poll[i&(PollFiles-1)]>>48
			count += keepBit(selectAnswer(t, word, 0), fd, got&selectIn)
			count += keepBit(selectAnswer(t, word, 1), fd, got&selectOut)
			i++
		}
		*selectAnswer(t, word, 2) = 0
	}
	return count
}
