package shim

import (
	"fmt"

	"culvert/shim/sig"

	"golang.org/x/sys/unix"
)

// signalFile is a signalfd: fs/signalfd.c. It shows the signals that are pending for whoever looks at it, so it is
// woken by every process that has ever waited for it.
type signalFile struct {
	noopSeek
	k       *Kernel
	mask    sig.Set
	waiters readiness
	watches map[*Process]func()
}

// signalfdSize is the size of struct signalfd_siginfo.
const signalfdSize = 128

// signalfdCalls are the rows of signalfd(2).
func signalfdCalls() []Syscall {
	return []Syscall{
		{unix.SYS_SIGNALFD, "signalfd", sysSignalfd, Full, "", ""},
		{unix.SYS_SIGNALFD4, "signalfd4", sysSignalfd4, Full, "", ""},
	}
}

func sysSignalfd(t *Thread, a Args) (uint64, error) {
	return t.signalfd(a.int32(0), a[1], a[2], 0)
}

func sysSignalfd4(t *Thread, a Args) (uint64, error) {
	return t.signalfd(a.int32(0), a[1], a[2], a.int32(3))
}

func (t *Thread) signalfd(fd int32, addr, size uint64, flags int32) (uint64, error) {
	if size != 8 {
		return 0, unix.EINVAL
	}
	set, err := t.readU64(addr)
	if err != nil {
		return 0, err
	}
	if flags&^(unix.SFD_CLOEXEC|unix.SFD_NONBLOCK) != 0 {
		return 0, unix.EINVAL
	}
	mask := sig.Set(set) &^ sig.Of(int(unix.SIGKILL), int(unix.SIGSTOP))
	if fd != -1 {
		f, err := t.files.file(fd)
		if err != nil {
			return 0, err
		}
		s, ok := f.impl.(*signalFile)
		if !ok {
			return 0, unix.EINVAL
		}
		s.mask = mask
		s.waiters.notify(unix.POLLIN)
		return uint64(fd), nil
	}
	s := &signalFile{k: t.k, mask: mask, watches: make(map[*Process]func())}
	f, err := t.newAnonFile("anon_inode:[signalfd]", s, unix.O_RDWR|int(flags)&unix.O_NONBLOCK)
	if err != nil {
		return 0, err
	}
	return t.addFD(f, flags&unix.SFD_CLOEXEC != 0)
}

// poll looks at the signals of the thread that polls.
func (s *signalFile) poll() uint32 {
	t := s.k.polling
	if t != nil && (t.pending.Set()|t.p.pending.Set())&s.mask != 0 {
		return unix.POLLIN
	}
	return 0
}

// ready also watches the signals of the process that is about to wait.
func (s *signalFile) ready() *readiness {
	if t := s.k.polling; t != nil && s.watches[t.p] == nil {
		for p, cancel := range s.watches {
			if s.k.processes[p.pid] != p {
				cancel()
				delete(s.watches, p)
			}
		}
		s.watches[t.p] = t.p.sigQueue.Watch(func() { s.waiters.notify(unix.POLLIN) })
	}
	return &s.waiters
}

func (s *signalFile) release() {
	for _, cancel := range s.watches {
		cancel()
	}
}

func (s *signalFile) write(*ioCall) error { return unix.EINVAL }

// read takes as many signals as there is room for, at least one.
func (s *signalFile) read(c *ioCall) error {
	if c.left < signalfdSize || c.buf == nil && c.iov[0].len < signalfdSize { // of a readv, the first buffer
		return unix.EINVAL
	}
	for c.left >= signalfdSize {
		i, ok := c.t.takeSignal(s.mask)
		if !ok {
			if c.done == 0 {
				return errWait
			}
			return nil
		}
		if _, err := c.put(signalfdInfo(&i)); err != nil {
			return err
		}
	}
	return nil
}

// signalfdInfo encodes a siginfo as struct signalfd_siginfo (signalfd_copyinfo).
func signalfdInfo(i *sig.Info) []byte {
	b := make([]byte, signalfdSize)
	put := func(off int, v uint32) { le.PutUint32(b[off:], v) }
	put(0, uint32(i.Signo))
	put(4, uint32(i.Errno))
	put(8, uint32(i.Code))
	u := &i.Union
	switch {
	case i.Code == sig.SI_TIMER:
		put(24, le.Uint32(u[0:])) // ssi_tid
		put(32, le.Uint32(u[4:])) // ssi_overrun
		put(44, le.Uint32(u[8:])) // ssi_int
		copy(b[48:56], u[8:16])   // ssi_ptr
	case i.Code > 0 && i.Code != sig.SI_KERNEL && i.Signo == int32(unix.SIGCHLD):
		put(12, le.Uint32(u[0:])) // ssi_pid
		put(16, le.Uint32(u[4:])) // ssi_uid
		put(40, le.Uint32(u[8:])) // ssi_status
		copy(b[56:64], u[16:24])  // ssi_utime
		copy(b[64:72], u[24:32])  // ssi_stime
	case i.Code > 0 && i.Code != sig.SI_KERNEL:
		copy(b[72:80], u[0:8]) // ssi_addr
	default:
		put(12, le.Uint32(u[0:]))
		put(16, le.Uint32(u[4:]))
		if i.Code == sig.SI_QUEUE {
			put(44, le.Uint32(u[8:]))
			copy(b[48:56], u[8:16])
		}
	}
	return b
}

func (s *signalFile) fdinfo() string { return fmt.Sprintf("sigmask:\t%016x\n", uint64(s.mask)) }
