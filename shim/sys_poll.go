package shim

import (
	"time"

	"culvert/shim/sig"

	"golang.org/x/sys/unix"
)

// pollCalls are the rows of the calls that wait for files.
func pollCalls() []Syscall {
	const pollBound = "RLIMIT_NOFILE entries"
	return []Syscall{
		{unix.SYS_POLL, "poll", sysPoll, Full, "", pollBound},
		{unix.SYS_PPOLL, "ppoll", sysPpoll, Full, "", pollBound},
		{unix.SYS_SELECT, "select", sysSelect, Full, "", pollBound},
		{unix.SYS_PSELECT6, "pselect6", sysPselect6, Full, "", pollBound},
		{unix.SYS_EPOLL_CREATE, "epoll_create", sysEpollCreate, Full, "", ""},
		{unix.SYS_EPOLL_CREATE1, "epoll_create1", sysEpollCreate1, Full, "", ""},
		{unix.SYS_EPOLL_CTL, "epoll_ctl", sysEpollCtl, Full, "", "131072 interests in a VM"},
		{unix.SYS_EPOLL_WAIT, "epoll_wait", sysEpollWait, Full, "", "the ready interests"},
		{unix.SYS_EPOLL_PWAIT, "epoll_pwait", sysEpollPwait, Full, "", "the ready interests"},
		{unix.SYS_EPOLL_PWAIT2, "epoll_pwait2", sysEpollPwait2, Full, "", "the ready interests"},
	}
}

// pollfdSize is the size of struct pollfd: fd, events, revents.
const pollfdSize = 8

func sysPoll(t *Thread, a Args) (uint64, error) {
	ms := a.int32(2)
	return t.poll(a[0], a[1], afterMillis(ms), ms == 0, func(n int, err error) (uint64, error) {
		return uint64(n), err
	})
}

// poll waits for the files of an array of struct pollfd. As in Linux an interrupted poll goes on, after a stop or an
// ignored signal, with the time that was left.
func (t *Thread) poll(addr, count uint64, deadline time.Time, dontWait bool, finish func(int, error) (uint64, error)) (uint64, error) {
	set, err := t.readPollfds(addr, count)
	if err != nil {
		return 0, err
	}
	return set.wait(deadline, dontWait, func(n int, err error) (uint64, error) {
		for i := range set.items {
			var revents [2]byte
			le.PutUint16(revents[:], uint16(set.items[i].got))
			if e := t.copyOut(addr+uint64(i)*pollfdSize+6, revents[:]); e != nil {
				n, err = 0, e
				break
			}
		}
		if err == ERESTARTNOHAND {
			t.goOnBy(func(t *Thread, _ Args) (uint64, error) {
				return t.poll(addr, count, deadline, false, finish)
			})
			return finish(0, ERESTART_RESTARTBLOCK)
		}
		return finish(n, err)
	})
}

// readPollfds reads the array and finds the files. A descriptor that is not open has its answer already.
func (t *Thread) readPollfds(addr, count uint64) (*pollSet, error) {
	if count > t.fdLimit() {
		return nil, unix.EINVAL
	}
	raw := make([]byte, count*pollfdSize)
	if err := t.copyIn(addr, raw); err != nil {
		return nil, err
	}
	set := &pollSet{t: t, always: unix.POLLERR | unix.POLLHUP, items: make([]pollItem, count)}
	for i := range set.items {
		fd := int32(le.Uint32(raw[i*pollfdSize:]))
		if fd < 0 {
			continue
		}
		it := &set.items[i]
		it.want = uint32(le.Uint16(raw[i*pollfdSize+4:]))
		if f, err := t.files.file(fd); err == nil {
			it.f = f
		} else {
			it.got = unix.POLLNVAL
		}
	}
	return set, nil
}

// withMask runs a call under another signal mask, if addr is not 0. The old one comes back when the call ends, or
// after the handler of the signal that ended it.
func (t *Thread) withMask(addr, size uint64) error {
	if addr == 0 {
		return nil
	}
	if size != 8 {
		return unix.EINVAL
	}
	set, err := t.readU64(addr)
	if err != nil {
		return err
	}
	old := t.mask()
	t.savedMask = &old
	t.setMask(sig.Set(set))
	return nil
}

// endMask restores the mask unless a signal ended the call (restore_saved_sigmask_unless).
func (t *Thread) endMask(err error) {
	if t.savedMask != nil && err != ERESTARTNOHAND && err != unix.EINTR {
		t.setMask(*t.savedMask)
		t.savedMask = nil
	}
}

func sysPpoll(t *Thread, a Args) (uint64, error) {
	o, err := t.pollTimeout(a[2], false)
	if err != nil {
		return 0, err
	}
	if err := t.withMask(a[3], a[4]); err != nil {
		return 0, err
	}
	n, err := t.poll(a[0], a[1], o.deadline, o.poll, func(n int, err error) (uint64, error) {
		if err == ERESTART_RESTARTBLOCK {
			err = ERESTARTNOHAND
		}
		err = o.finish(t, err)
		t.endMask(err)
		return uint64(n), err
	})
	if err != nil && err != errBlock {
		t.endMask(err)
	}
	return n, err
}

// Poll bits that count for the three sets of select (fs/select.c).
const (
	selectIn  = pollRDNORM | pollRDBAND | unix.POLLIN | unix.POLLHUP | unix.POLLERR
	selectOut = pollWRBAND | pollWRNORM | unix.POLLOUT | unix.POLLERR
	selectEx  = unix.POLLPRI
)

func sysSelect(t *Thread, a Args) (uint64, error) {
	o, err := t.pollTimeout(a[4], true)
	if err != nil {
		return 0, err
	}
	return t.selectFiles(a, &o)
}

func sysPselect6(t *Thread, a Args) (uint64, error) {
	var mask [16]byte
	if a[5] != 0 {
		if err := t.copyIn(a[5], mask[:]); err != nil {
			return 0, err
		}
	}
	o, err := t.pollTimeout(a[4], false)
	if err != nil {
		return 0, err
	}
	if err := t.withMask(le.Uint64(mask[0:]), le.Uint64(mask[8:])); err != nil {
		return 0, err
	}
	n, err := t.selectFiles(a, &o)
	if err != nil && err != errBlock {
		t.endMask(err)
	}
	return n, err
}

// selectFiles waits for the files of three bit sets.
func (t *Thread) selectFiles(a Args, o *timeout) (uint64, error) {
	n := a.int32(0)
	if n < 0 {
		return 0, unix.EINVAL
	}
	// Bits past the table's size name no descriptor and are not looked at.
	n = min(n, int32(max(len(t.files.leaves)*leafSize, 64)))
	size := int(n+63) / 64 * 8
	var in [3][]byte
	for i := range in {
		if a[1+i] == 0 {
			continue
		}
		in[i] = make([]byte, size)
		if err := t.copyIn(a[1+i], in[i]); err != nil {
			return 0, err
		}
	}
	masks := [3]uint32{selectIn, selectOut, selectEx}
	set := &pollSet{t: t}
	var fds []int
	for fd := range int(n) {
		want := uint32(0)
		for i, bits := range in {
			if bits != nil && bits[fd/8]>>(fd%8)&1 != 0 {
				want |= masks[i]
			}
		}
		if want == 0 {
			continue
		}
		f, err := t.files.file(int32(fd))
		if err != nil {
			return 0, err
		}
		set.items = append(set.items, pollItem{f: f, want: want})
		fds = append(fds, fd)
	}
	return set.wait(o.deadline, o.poll, func(_ int, err error) (uint64, error) {
		total := 0
		if err == nil {
			total, err = t.selectResult(a, set, fds, in, masks)
		}
		err = o.finish(t, err)
		t.endMask(err)
		return uint64(total), err
	})
}

// selectResult writes the sets back and counts their bits.
func (t *Thread) selectResult(a Args, set *pollSet, fds []int, in [3][]byte, masks [3]uint32) (int, error) {
	total := 0
	for i := range in {
		if in[i] == nil {
			continue
		}
		out := make([]byte, len(in[i]))
		for j, fd := range fds {
			bit := byte(1) << (fd % 8)
			if in[i][fd/8]&bit != 0 && set.items[j].got&masks[i] != 0 {
				out[fd/8] |= bit
				total++
			}
		}
		if err := t.copyOut(a[1+i], out); err != nil {
			return 0, err
		}
	}
	return total, nil
}
