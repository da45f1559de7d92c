package shim

import (
	"culvert/shim/sig"

	"golang.org/x/sys/unix"
)

// pidfdCalls are the rows of the calls on process descriptors.
func pidfdCalls() []Syscall {
	return []Syscall{
		{unix.SYS_PIDFD_OPEN, "pidfd_open", sysPidfdOpen, Partial, "of processes, not threads", "constant"},
		{unix.SYS_PIDFD_SEND_SIGNAL, "pidfd_send_signal", sysPidfdSendSignal, Full, "", "constant"},
		{unix.SYS_PIDFD_GETFD, "pidfd_getfd", sysPidfdGetfd, Full, "", "constant"},
	}
}

// pidfd is a description of a process (pidfd_open(2)).
type pidfd struct {
	p   *Process
	end readiness // notified when the process becomes a zombie
}

func (d *pidfd) read(*ioCall) error  { return unix.EINVAL }
func (d *pidfd) write(*ioCall) error { return unix.EINVAL }
func (d *pidfd) ready() *readiness   { return &d.end }

func (d *pidfd) poll() uint32 {
	switch {
	case d.p.k.processes[d.p.pid] != d.p:
		return unix.POLLIN | pollRDNORM | unix.POLLHUP // reaped
	case d.p.zombie:
		return unix.POLLIN | pollRDNORM
	}
	return 0
}

func (d *pidfd) release() { delete(d.p.pidfds, d) }

// fdinfo is what /proc/PID/fdinfo/N adds.
func (d *pidfd) fdinfo() string {
	pid := d.p.pid
	if d.p.k.processes[pid] != d.p {
		pid = -1
	}
	return "Pid:\t" + itoa(pid) + "\nNSpid:\t" + itoa(pid) + "\n"
}

// openPidfd makes a descriptor for a process.
func (t *Thread) openPidfd(p *Process, nonblock bool) (int, error) {
	d := &pidfd{p: p}
	flags := unix.O_RDWR
	if nonblock {
		flags |= unix.O_NONBLOCK
	}
	f, err := t.newAnonFile("anon_inode:[pidfd]", d, flags)
	if err != nil {
		return 0, err
	}
	if p.pidfds == nil {
		p.pidfds = map[*pidfd]struct{}{}
	}
	p.pidfds[d] = struct{}{}
	fd, err := t.addFD(f, true)
	return int(fd), err
}

// notifyPidfds tells those who poll process descriptors.
func (p *Process) notifyPidfds() {
	for d := range p.pidfds {
		d.end.notify(unix.POLLIN | pollRDNORM | unix.POLLHUP)
	}
}

// pidfdProcess is the process of a descriptor, and whether it has O_NONBLOCK.
func (t *Thread) pidfdProcess(fd int32) (p *Process, nonblock bool, err error) {
	f, err := t.files.get(fd)
	if err != nil {
		return nil, false, err
	}
	d, ok := f.impl.(*pidfd)
	if !ok {
		return nil, false, unix.EBADF
	}
	return d.p, f.nonblock(), nil
}

// signalTarget is the process of a descriptor that may be one of /proc/PID too (tgid_pidfd_to_pid).
func (t *Thread) signalTarget(fd int32) (*Process, error) {
	f, err := t.files.get(fd)
	if err != nil {
		return nil, err
	}
	if v, ok := f.impl.(*vfsFile); ok {
		if p := t.k.proc.processOf(v.file.Inode()); p != nil {
			return p, nil
		}
	}
	p, _, err := t.pidfdProcess(fd)
	return p, err
}

func sysPidfdOpen(t *Thread, a Args) (uint64, error) {
	pid, flags := a.int32(0), uint32(a[1])
	if flags&^unix.PIDFD_NONBLOCK != 0 || pid <= 0 {
		return 0, unix.EINVAL
	}
	p := t.k.process(pid)
	if p == nil {
		if t.k.threads[int(pid)] != nil {
			return 0, unix.EINVAL // a thread that leads no group
		}
		return 0, unix.ESRCH
	}
	fd, err := t.openPidfd(p, flags != 0)
	return uint64(fd), err
}

func sysPidfdSendSignal(t *Thread, a Args) (uint64, error) {
	n, infoAt, flags := a.int32(1), a[2], uint32(a[3])
	if flags != 0 {
		return 0, unix.EINVAL
	}
	p, err := t.signalTarget(a.int32(0))
	if err != nil {
		return 0, err
	}
	i := sig.User(int(n), sig.SI_USER, t.p.pid, t.cred.UID)
	if infoAt != 0 {
		if i, err = t.readInfo(n, infoAt); err != nil {
			return 0, err
		}
		var given uint32
		if given, err = t.readU32(infoAt); err != nil {
			return 0, err
		}
		if int32(given) != n {
			return 0, unix.EINVAL
		}
		if forged(&i) && p != t.p {
			return 0, unix.EPERM
		}
	}
	if t.k.processes[p.pid] != p {
		return 0, unix.ESRCH
	}
	if !validSignal(n) {
		return 0, unix.EINVAL
	}
	return 0, t.sendTo(p, nil, i)
}

func sysPidfdGetfd(t *Thread, a Args) (uint64, error) {
	if a[2] != 0 {
		return 0, unix.EINVAL
	}
	p, _, err := t.pidfdProcess(a.int32(0))
	if err != nil {
		return 0, err
	}
	if p.zombie || p.leader.files == nil {
		return 0, unix.ESRCH
	}
	if !t.mayTrace(p) {
		return 0, unix.EPERM
	}
	f, err := p.leader.files.get(a.int32(1))
	if err != nil {
		return 0, err
	}
	return t.addFD(f.hold(), true)
}
