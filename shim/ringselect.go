package shim

import (
	"time"

	"culvert/guest"

	"golang.org/x/sys/unix"
)

// endSelect ends a select in ring 0 for a signal. What is ready counts for more; else the call starts anew if no handler runs,
// with the time that was left (core_sys_select, poll_select_finish).
func (t *Thread) endSelect(w *guest.Wait) (uint64, error) {
	s := t.slot
	a := Args{s.RDI, s.RSI, s.RDX, s.R10, s.R8, s.R9}
	masks := [3]uint32{selectIn, selectOut, selectEx}
	set := &pollSet{t: t}
	in, fds := t.askedOf(a)
	for i := range min(w.Len, guest.PollFiles, uint64(len(fds))) {
		if index := w.Poll[i] & guest.NoFile; index < uint64(len(t.k.files.open)) && t.k.files.open[index] != nil {
			set.items = append(set.items, pollItem{f: t.k.files.open[index], want: uint32(w.Poll[i] >> 32 & 0xffff)})
		}
	}
	if len(set.items) != len(fds) {
		t.k.fail(&HostileError{"a select whose record does not name the files of its sets"})
		return 0, nil
	}
	n, err := 0, error(ERESTARTNOHAND)
	if set.scan() > 0 {
		n, err = t.selectResult(a, set, fds, in, masks)
	}
	for i := range set.items {
		t.k.dropFile(w.Poll[i] & guest.NoFile)
	}
	left := timeout{addr: w.Left, micros: s.OrigRAX == unix.SYS_SELECT}
	if w.Deadline != guest.Forever {
		left.deadline = time.Now().Add(untilMonotonic(w.Deadline))
	}
	return uint64(n), left.finish(t, err)
}

// askedOf returns the sets of a select in ring 0 as they were asked, and their descriptors: guest.Thread.Vec has the words of the
// first two sets in the even parts and those of the third in the odd ones.
func (t *Thread) askedOf(a Args) (in [3][]byte, fds []int) {
	const perWord = 64
	n := min(uint64(uint32(a[0])), guest.VecParts/2*perWord)
	vec := t.slot.Vec
	for word := uint64(0); word*perWord < n; word++ {
		asked := [3]uint64{vec.Part[2*word].Addr, vec.Part[2*word].Len, vec.Part[2*word+1].Addr}
		for i := range in {
			if a[1+i] != 0 {
				in[i] = le.AppendUint64(in[i], asked[i])
			}
		}
		for fd := word * perWord; fd < min(n, (word+1)*perWord); fd++ {
			if (asked[0]|asked[1]|asked[2])>>(fd%perWord)&1 != 0 {
				fds = append(fds, int(fd))
			}
		}
	}
	return in, fds
}
