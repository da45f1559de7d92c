package shim

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"

	"culvert/pipes"
	"culvert/shim/abi"
	"culvert/shim/pump"
	"culvert/shim/vfs"

	"golang.org/x/sys/unix"
)

// hostPipe is a standard file of the VM that is a pipe, FIFO or stream socket on the host, as the guest has it: a pipe in guest RAM, of
// which the other end is the host's. Package pump moves the bytes.
//
// # Input
//
// What a program leaves unread of a pipe belongs to the next reader, so the ring is not filled ahead of the guest at
// first: reads are forwarded (the guest.File says FileHost), and each takes from the host exactly what it asks for. A
// program that has asked for readAheadBlocks blocks in a row is taken for one that reads to the end; from then on the
// pump reads ahead and ring 0 serves the reads.
//
// # What is no pipe
//
// Terminals, devices and sockets of datagrams are forwarded (hostFile): a terminal's echo and output keep their order, and
// datagrams their borders. A stream socket is nearly a pipe (socketFile). So are reads of regular files: the offset is right for whoever shares it. Writes to regular files have a ring of
// another kind (output).
//
// # The end
//
// Once the guest has no descriptor left, the pump empties the ring and lets go of the host's file: /dev/null takes its
// place, so its other end sees the end of file while the VM goes on. When the VM ends, Kernel.Close waits for the pumps of
// output; not for a consumer that takes nothing, though, if the VM was ended from outside or is told to during the wait.
type hostPipe struct {
	k    *Kernel
	p    *pipe
	file *hostFile
	also []*hostFile // other standard files that are the same pipe
	host pump.Host   // a description of our own
	pump *pump.Pump
	end  pipes.End
	size uint64 // what F_GETPIPE_SZ says
	out  bool   // the guest writes
	// socket says that it is a stream socket.
	socket bool

	// What follows is guarded by Kernel.mu.
	exact  bool // input is not read ahead: the pump does not run
	blocks int  // reads of a block in a row
	gone   bool // the host's file is let go
}

const (
	// readAheadBlocks is how many reads of at least readAheadMin bytes show a reader that wants everything. Programs that
	// look at the beginning only, such as head, read less; C libraries read pipes in blocks of 4096 bytes.
	readAheadBlocks = 4
	readAheadMin    = 4096
)

// errEOF is pull's answer that the host's pipe has no writer any more.
var errEOF = errors.New("end of file on the host")

// newHostPipe makes the pipe behind a standard file, or answers nil if that is to be forwarded instead: only an end of
// a pipe that this process may open again, for a description without O_NONBLOCK may block and one that others share
// must not be changed. O_DIRECT pipes keep the borders of writes, which a ring does not.
func newHostPipe(h *hostFile, flags int) (*hostPipe, error) {
	k := h.k
	acc := flags & unix.O_ACCMODE
	if h.kind != unix.S_IFIFO || acc == unix.O_RDWR || flags&unix.O_DIRECT != 0 || k.cfg.Trace != nil {
		return nil, nil
	}
	fd, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", h.fd), acc|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, nil //nolint:nilerr // of another user, or without /proc, or ENXIO: nobody reads
	}
	size, err := unix.FcntlInt(uintptr(fd), unix.F_GETPIPE_SZ, 0)
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("size of the pipe at descriptor %d: %w", h.fd, err)
	}
	return h.ring(&hostPipe{k: k, file: h, host: pump.NewPipe(fd, acc == unix.O_WRONLY), size: uint64(size),
		out: acc == unix.O_WRONLY, exact: acc == unix.O_RDONLY})
}

// ring gives e, which is new, its ring. On an error e's descriptor is closed.
func (h *hostFile) ring(e *hostPipe) (*hostPipe, error) {
	if err := e.set(h); err != nil {
		e.host.Close()
		return nil, fmt.Errorf("standard file at descriptor %d as a pipe: %w", h.fd, err)
	}
	h.k.hostPipes = append(h.k.hostPipes, e)
	return e, nil
}

// set makes what a hostPipe needs besides its descriptor.
func (e *hostPipe) set(h *hostFile) error {
	k := e.k
	var err error
	if k.devNull == nil {
		if k.devNull, err = os.OpenFile("/dev/null", os.O_RDWR, 0); err != nil {
			return err
		}
	}
	if e.p, err = k.ringPipe(pump.RingSize / abi.PageSize); err != nil {
		return err
	}
	e.end = e.p.end
	if e.pump, err = pump.New(e, e.end, e.host, e.out, k.cfg.NumCPUs); err != nil {
		return err
	}
	e.p.host, e.p.inode = e, h.inode
	h.pipe, h.inode.opener = e.p, e.reopen
	e.p.users++
	if e.out {
		e.end.Pipe.OpenReader()
	} else {
		e.end.Pipe.OpenWriter()
	}
	return nil
}

// open makes a description's implementation.
func (e *hostPipe) open() fileImpl {
	ends := uint64(pipes.ReadEnd)
	if e.out {
		ends = pipes.WriteEnd
	}
	f := e.p.openEnds(ends, 0)
	if e.socket {
		return &socketFile{f, e.file}
	}
	return f
}

// reopen opens the pipe again, as /dev/stdin for example; for what the host's descriptor is open for only.
func (e *hostPipe) reopen(_ *Thread, r *openRequest) (fileImpl, error) {
	want := unix.O_RDONLY
	if e.out {
		want = unix.O_WRONLY
	}
	switch {
	case e.gone || e.socket: // sockets are not opened by name
		return nil, unix.ENXIO
	case r.flags&unix.O_ACCMODE != want:
		return nil, unix.EACCES
	}
	return e.open(), nil
}

// pull makes sure that a read of n bytes finds what the host has of them, and no more than that: errWait if it has
// nothing yet, errEOF. Kernel.mu is held.
func (e *hostPipe) pull(n int) error {
	q := e.end.Pipe
	if !e.exact || atomic.LoadUint64(&q.Head) != atomic.LoadUint64(&q.Tail) {
		return nil
	}
	a, b, st, err := e.end.BeginWrite(uint64(n), pipes.Stream)
	switch {
	case err != nil:
		return e.p.corrupt(err)
	case st != pipes.OK:
		return errBusy
	}
	got, err := e.host.Move(a, b)
	q.EndWrite(uint64(max(got, 0)), pipes.Stream) // who else reads has its own calls to make
	switch {
	case err == unix.EAGAIN:
		e.k.hostPoller.arm(e.file, unix.POLLIN)
		return errWait
	case err != nil:
		return hostErrno(err)
	case got == 0:
		return errEOF
	}
	if n < readAheadMin {
		e.blocks = 0
	} else if e.blocks++; e.blocks == readAheadBlocks && e.file.anonymous {
		e.readAhead()
	}
	return nil
}

// readAhead ends the exact mode: ring 0 reads from now on. Descriptions that are open keep their entries in the table,
// whose Kind comes last: only then does ring 0 look at the rest.
func (e *hostPipe) readAhead() {
	e.exact = false
	e.k.hostPoller.forget(e.file)
	for _, f := range e.k.files.open {
		if f == nil {
			continue
		}
		if pf, ok := pipeFileOf(f.impl); ok && pf.p == e.p {
			g := e.k.guestFile(f.index)
			kind, obj, since := pf.ringFile()
			atomic.StoreUint64(&g.Obj, obj)
			atomic.StoreUint64(&g.Since, since)
			atomic.StoreUint64(&g.Kind, kind)
		}
	}
	e.start()
}

// pull is hostPipe.pull of a pipe that has a host end.
func (p *pipe) pull(n int) error {
	if p.host == nil {
		return nil
	}
	return p.host.pull(n)
}

// errOrEnd makes errEOF of pull what a read at the end is: no error, and no bytes.
func errOrEnd(err error) error {
	if err == errEOF {
		return nil
	}
	return err
}

// stat is the host's.
func (e *hostPipe) stat() (vfs.Stat, error) {
	if e.gone {
		return e.file.inode.attr, nil
	}
	return e.file.stat()
}

// poll is what the host's pipe adds to the ring's readiness while that is not filled ahead.
func (e *hostPipe) poll() uint32 {
	if !e.exact || e.gone {
		return 0
	}
	got := e.file.ask(pollIn)
	if got == 0 && (e.p.rd.watched() || !e.p.watchers.Empty()) {
		e.k.hostPoller.arm(e.file, unix.POLLIN)
	}
	return got
}

// queued is how many bytes the host's pipe holds besides the ring (FIONREAD).
func (e *hostPipe) queued() uint64 {
	if e.gone {
		return 0
	}
	n, err := unix.IoctlGetInt(e.host.FD(), unix.TIOCINQ)
	if err != nil {
		return 0
	}
	return uint64(max(n, 0))
}

// resize is F_SETPIPE_SZ: the number is kept and reported.
func (e *hostPipe) resize(t *Thread, arg uint32) (uint64, error) {
	limits, _ := e.k.pipeLimits()
	size, errno := limits.Resize(arg, uint32(e.size), e.size/abi.PageSize, t.pipePrivileged())
	if errno != 0 {
		return 0, unix.Errno(errno)
	}
	e.size = uint64(size)
	return e.size, nil
}

// start starts the pump.
func (e *hostPipe) start() {
	e.k.pumps.Add(1)
	go func() {
		defer e.k.pumps.Done()
		e.pump.Run()
		e.k.mu.Lock()
		defer e.k.mu.Unlock()
		e.leave()
	}()
}

// Lock and Unlock are those of the Kernel; they, Obey, Quiet, Fail and Hasty make e a pump.Owner.
func (e *hostPipe) Lock() { e.k.mu.Lock() }

// Unlock is Lock's.
func (e *hostPipe) Unlock() { e.k.mu.Unlock() }

// Obey wakes whom an operation of the pump says.
func (e *hostPipe) Obey(w pipes.Wake) { e.p.obey(w) }

// Quiet turns the pump's doorbell off.
func (e *hostPipe) Quiet() { e.p.unwatch() }

// Fail ends the VM.
func (e *hostPipe) Fail(err error) { e.k.fail(err) }

// Hasty says not to wait for who reads the VM's output.
func (e *hostPipe) Hasty() bool { return e.k.hasty }

// rouse tells the pump that the pipe has changed.
func (e *hostPipe) rouse() {
	switch {
	case e.gone:
	case !e.exact:
		e.pump.Rouse()
	case e.end.Pipe.Readers() == 0:
		e.leave()
	}
}

// finish has the pump move what is there and end; the VM has ended.
func (e *hostPipe) finish() {
	switch {
	case e.gone:
	case e.exact:
		e.leave()
	default:
		e.pump.Finish()
	}
}

// pumping says that the pump runs.
func (e *hostPipe) pumping() bool { return !e.exact && !e.gone }

// leave closes the host's end, on both sides: the guest finds the end of file, or a pipe that nobody reads.
func (e *hostPipe) leave() {
	e.gone = true
	q := e.end.Pipe
	if e.out {
		e.p.obey(q.CloseReader())
	} else {
		e.k.hostPoller.forget(e.file)
		e.p.obey(q.CloseWriter())
	}
	e.pump.Close()
	e.p.drop()
	if e.k.ended {
		return // and may have something to say on standard error
	}
	for _, h := range append(e.also, e.file) {
		// The number stays taken: a file of the host that got it would be taken for a standard file.
		unix.Dup3(int(e.k.devNull.Fd()), int(h.file.Fd()), 0) //nolint:errcheck // only of a file that its owner has closed
	}
}

// ringPipe makes a pipe of the VM's own, which counts for no user.
func (k *Kernel) ringPipe(pages uint64) (*pipe, error) {
	p := &pipe{k: k, pages: pages}
	if err := p.allocate(); err != nil {
		return nil, err
	}
	p.set()
	return p, nil
}

// hostFiles is the part of Kernel that the standard files need. Kernel.mu guards it.
type hostFiles struct {
	hostPoller *hostPoller // nil until a standard file can make its readers wait
	hostPipes  []*hostPipe
	outputs    []*output
	devNull    *os.File // nil until there is a hostPipe
	// hasty says not to wait for who reads the VM's output.
	hasty bool
	// signalled is the signal last sent from outside.
	signalled int
}

// openHost opens one of the VM's own standard files. Two that are the same pipe share it, so that what is written to
// them stays in order; two that are the same description are one here too.
func (k *Kernel) openHost(host *os.File, fd int, before []*OpenFile) (*OpenFile, error) {
	h, flags, err := newHostFile(k, host, fd)
	if err != nil {
		return nil, err
	}
	const kept = unix.O_ACCMODE | unix.O_APPEND
	for _, f := range before {
		if g, ok := f.impl.(*hostFile); ok && h.kind == unix.S_IFREG && sameDescription(h.fd, g.fd) {
			return f.hold(), nil
		}
		pf, ok := pipeFileOf(f.impl)
		if !ok || pf.p.host == nil || pf.p.host.file.inode.attr.Ino != h.inode.attr.Ino || pf.p.host.file.inode.attr.Dev != h.inode.attr.Dev ||
			(flags&unix.O_ACCMODE == unix.O_WRONLY || pf.p.host.socket && fd != unix.Stdin) != pf.p.host.out {
			continue
		}
		e := pf.p.host
		e.also = append(e.also, h)
		if sameDescription(h.fd, e.file.fd) {
			return f.hold(), nil
		}
		return k.newOpenFile(e.open(), h.path, flags&kept)
	}
	e, err := newHostPipe(h, flags)
	if h.kind == unix.S_IFSOCK {
		e, err = newHostSocket(h, fd)
	}
	if err != nil {
		return nil, err
	}
	if k.hostPoller == nil && (e == nil && h.streams() || e != nil && (e.exact || e.socket)) {
		if k.hostPoller, err = startHostPoller(k); err != nil {
			return nil, err
		}
	}
	if e == nil {
		f, err := k.newOpenFile(h, h.path, flags&(kept|unix.O_SYNC|unix.O_DIRECT))
		if err == nil {
			err = k.newOutput(f, h, fd, before)
		}
		return f, err
	}
	f := e.open()
	if e.out {
		e.start() // with a writer there, or it would find the end
	}
	return k.newOpenFile(f, h.path, flags&kept)
}

// sameDescription is kcmp(2) on two descriptors of this process; false if the kernel does not tell.
func sameDescription(a, b int) bool {
	const kcmpFile = 0 // KCMP_FILE of include/uapi/linux/kcmp.h
	pid := uintptr(unix.Getpid())
	r, _, errno := unix.Syscall6(unix.SYS_KCMP, pid, pid, kcmpFile, uintptr(a), uintptr(b), 0)
	return errno == 0 && r == 0
}

// closeHostPipes waits for the pumps when the VM has ended. Kernel.mu is held, and dropped meanwhile.
func (k *Kernel) closeHostPipes() {
	k.flushOutputs()
	for _, e := range k.hostPipes {
		e.finish()
	}
	k.mu.Unlock()
	k.pumps.Wait()
	k.mu.Lock()
	if k.devNull != nil {
		k.devNull.Close()
		k.devNull = nil
	}
}

// hurry has the pumps give up on who does not read the VM's output, when it has ended; status is how then.
func (k *Kernel) hurry(status ExitStatus) {
	for _, e := range k.hostPipes {
		if e.out && !e.gone && !k.hasty {
			k.exit = status
			e.pump.Ring()
		}
	}
	k.hasty = true
}
