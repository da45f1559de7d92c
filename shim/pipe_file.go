package shim

import (
	"runtime"
	"sync/atomic"

	"culvert/epoll"
	"culvert/pipes"
	"culvert/shim/abi"
	"culvert/shim/vfs"

	"golang.org/x/sys/unix"
)

// pipe is a pipe or FIFO whose words and bytes lie in guest RAM, where ring 0 reads and writes without the shim. The
// shim makes and frees it, serves the calls that ring 0 forwards, and watches it for its own sleepers through the
// HostWatch word: while that is set, ring 0 tells of each event by NotePipe.
type pipe struct {
	k     *Kernel
	end   pipes.End
	gpa   abi.GPA // of the pipes.Pipe, a frame of its own
	ring  abi.GPA
	pages uint64 // of the ring
	uid   uint32 // whose pages they are
	users int    // descriptions, and opens that wait for a partner
	fifo  vfs.Inode
	inode *anonInode // of an anonymous pipe
	host  *hostPipe  // the other end's holder, of a standard file
	// Who waits, by the ends of the description waited with: a write is no edge for the writers' side, nor room for
	// the readers' (rd_wait and wr_wait of Linux).
	rd, wr, rdwr readiness
	watchers     epoll.Watchers // of all descriptions
	opens        Queue          // opens that wait for the other end
	// tail and room are the state when the shim last looked, which tells what a note of ring 0 is about.
	tail uint64
	room bool
}

// pipeFile is a description of one end of a pipe, or of both.
type pipeFile struct {
	p     *pipe
	ends  uint64 // pipes.ReadEnd, pipes.WriteEnd
	since uint64 // see pipes.Pipe.Readiness
}

// fifoKey is the key under which a FIFO's pipe is attached to its inode while anybody has it open.
type fifoKey struct{}

// pipeAccounts counts the pages of all pipes, by user and in all (pipe-user-pages-soft).
type pipeAccounts struct {
	byUser map[uint32]uint64
	total  uint64
}

// pipeLimits are those of the pipes of one user, Linux's, and of all pipes of the VM together, which hold for root too.
func (k *Kernel) pipeLimits() (user, vm pipes.Limits) {
	pages := uint64(k.cfg.Limits.PipeBytes) / abi.PageSize
	// A VM that has reached its limit still makes small pipes: many thousands have room then.
	return pipes.DefaultLimits(), pipes.Limits{MaxSize: pipes.MaxSize, SoftPage: pages, HardPage: 4 * pages}
}

// pipePrivileged is the opposite of pipe_is_unprivileged_user.
func (t *Thread) pipePrivileged() bool {
	return t.cred.Has(unix.CAP_SYS_RESOURCE) || t.cred.Has(unix.CAP_SYS_ADMIN)
}

// charge moves n pages, which may be negative, to the user's account.
func (k *Kernel) charge(uid uint32, n int64) {
	if k.pipePages.byUser == nil {
		k.pipePages.byUser = make(map[uint32]uint64)
	}
	k.pipePages.total += uint64(n)
	k.pipePages.byUser[uid] += uint64(n)
	if k.pipePages.byUser[uid] == 0 {
		delete(k.pipePages.byUser, uid)
	}
}

// newPipe makes a pipe without ends, for the user of t. ENFILE if the VM has too much memory in pipes.
func (k *Kernel) newPipe(t *Thread) (*pipe, error) {
	uid := t.cred.UID
	user, vm := k.pipeLimits()
	pages := min(user.NewPipe(k.pipePages.byUser[uid], t.pipePrivileged()), vm.NewPipe(k.pipePages.total, false))
	if pages == 0 {
		return nil, unix.ENFILE
	}
	p := &pipe{k: k, uid: uid, pages: pages}
	if err := p.allocate(); err != nil {
		return nil, err
	}
	k.charge(uid, int64(pages))
	p.set()
	return p, nil
}

// set prepares the words of a pipe that has its memory.
func (p *pipe) set() {
	size := p.pages * abi.PageSize
	p.end = pipes.End{
		Pipe:  structAt[pipes.Pipe](p.k.ram, p.gpa),
		Ring:  p.k.ram[p.ring : uint64(p.ring)+size],
		Pause: runtime.Gosched,
	}
	pipes.Init(p.end.Pipe, uint64(abi.DirectBase)+uint64(p.ring), size)
	p.watchers.Head = &p.end.Pipe.Watch
}

// pipeMemory is what a pipe of the default size lies in: kept for the next one, since shells make and drop pipes all
// the time and the memory of a ring need not be cleared for it. Only bytes that were written can be read from a pipe.
type pipeMemory struct{ gpa, ring abi.GPA }

// maxIdlePipes bounds the memory kept: 1 MiB.
const maxIdlePipes = 16

// allocate finds memory for the pipe.
func (p *pipe) allocate() error {
	k := p.k
	if n := len(k.idlePipes); n > 0 && p.pages*abi.PageSize == pipes.DefaultSize {
		p.gpa, p.ring = k.idlePipes[n-1].gpa, k.idlePipes[n-1].ring
		k.idlePipes = k.idlePipes[:n-1]
		return nil
	}
	var err error
	if p.gpa, err = k.memory.AllocBlock(0); err != nil {
		return unix.ENOMEM
	}
	if p.ring, err = k.allocRing(p.pages); err != nil {
		k.freeBlock(p.gpa)
		return unix.ENOMEM
	}
	return nil
}

// allocRing takes a ring of contiguous frames.
func (k *Kernel) allocRing(pages uint64) (abi.GPA, error) {
	order := 0
	for 1<<order < pages {
		order++
	}
	return k.memory.AllocBlock(order)
}

// freeBlock gives guest memory back. It was allocated here, so a refusal is a fault of this program.
func (k *Kernel) freeBlock(gpa abi.GPA) {
	if err := k.memory.FreeBlock(gpa); err != nil {
		panic("shim: " + err.Error())
	}
}

// free gives the pipe's memory back: nobody in ring 0 can reach it, since no open file names it.
func (p *pipe) free() {
	k := p.k
	if p.host == nil {
		k.charge(p.uid, -int64(p.pages))
	}
	if p.pages*abi.PageSize == pipes.DefaultSize && len(k.idlePipes) < maxIdlePipes {
		k.idlePipes = append(k.idlePipes, pipeMemory{p.gpa, p.ring})
	} else {
		k.freeBlock(p.ring)
		k.freeBlock(p.gpa)
	}
	if p.fifo != nil {
		p.fifo.Detach(fifoKey{})
	}
}

// drop gives back one use of the pipe.
func (p *pipe) drop() {
	p.users--
	if p.users == 0 {
		p.free()
	}
}

// corrupt ends the VM: the words in guest memory name bytes outside the ring.
func (p *pipe) corrupt(err error) error {
	p.k.fail(err)
	return errKilled
}

// obey carries out what an operation of the host asks for: it wakes ring 0's sleepers and the shim's own.
func (p *pipe) obey(w pipes.Wake) {
	k, q := p.k, p.end.Pipe
	for _, slot := range [...]int64{w.Reader, w.Writer} {
		k.wakeSlot(slot)
	}
	switch {
	case w.Flags&pipes.WakeAll != 0:
		k.wakeSet(&q.RWait)
		k.wakeSet(&q.WWait)
		k.wakeSet(&q.PWait)
		p.opens.Wake()
	case w.Flags&pipes.WakePollers != 0:
		k.wakeSet(&q.PWait)
	}
	if w.Flags&pipes.WakeAll != 0 {
		w.Events |= pipes.POLLHUP | pipes.POLLERR
	}
	p.look()
	if w.Events != 0 {
		tellItems(&p.watchers, uint32(w.Events))
		p.changed(uint32(w.Events))
	}
}

// changed tells the shim's own sleepers and pollers, and stops the notes if nobody is left to tell. events of 0 are
// unknown ones.
func (p *pipe) changed(events uint32) {
	const hangUp = pipes.POLLHUP | pipes.POLLERR
	if events == 0 || events&(pipes.POLLIN|hangUp) != 0 {
		p.rd.notify(events)
	}
	if events == 0 || events&(pipes.POLLOUT|hangUp) != 0 {
		p.wr.notify(events)
	}
	p.rdwr.notify(events)
	if p.host != nil {
		p.host.rouse()
	}
	p.unwatch()
}

// unwatch stops the notes of ring 0 if there is nobody to tell.
func (p *pipe) unwatch() {
	if !p.rd.watched() && !p.wr.watched() && !p.rdwr.watched() && (p.host == nil || !p.host.pump.Asleep()) {
		atomic.StoreUint64(&p.end.Pipe.HostWatch, 0)
	}
}

// look remembers the pipe's state and answers the edges since the last look: bytes came, or room for PIPE_BUF of them. Head
// is loaded first: what ring 0 moves meanwhile can make the pipe seem fuller than it is, and then a note of it is to come.
func (p *pipe) look() (events uint32) {
	q := p.end.Pipe
	head := atomic.LoadUint64(&q.Head)
	tail := atomic.LoadUint64(&q.Tail)
	size := p.pages * abi.PageSize
	room := size-min(tail-head, size) >= abi.PIPE_BUF
	if tail != p.tail {
		events |= pipes.POLLIN | pipes.POLLRDNORM
	}
	if room && !p.room {
		events |= pipes.POLLOUT | pipes.POLLWRNORM
	}
	p.tail, p.room = tail, room
	return events
}

// wakeSlot wakes the thread in a slot, as a wait set in guest memory names it; -1 is none.
func (k *Kernel) wakeSlot(slot int64) {
	if slot >= 0 && slot < int64(len(k.slots)) && k.slots[slot] != nil {
		k.wake(k.slots[slot])
	}
}

// pipeChanged serves NotePipe: ring 0 changed the readiness of the object of open file index. If at a pipe nothing
// new is to be seen, the shim has told of it already, together with a change of its own: then anything may be new.
func (k *Kernel) pipeChanged(index uint64) {
	if index >= uint64(len(k.files.open)) || k.files.open[index] == nil {
		return
	}
	switch f := k.files.open[index].impl.(type) {
	case *pipeFile:
		f.p.changed(f.p.look())
	case *socketFile:
		f.p.changed(f.p.look())
	case *eventFile:
		f.changed(0)
	case *epollFile:
		f.changed()
	}
}

func (f *pipeFile) ringFile() (kind, obj, since uint64) {
	if f.p.host != nil && f.p.host.exact {
		return abi.FileHost, 0, 0
	}
	return abi.FilePipe, uint64(abi.DirectBase) + uint64(f.p.gpa), f.since
}

func (f *pipeFile) watched() (*epoll.Watchers, uint64) { return &f.p.watchers, f.ends }

func (f *pipeFile) poll() uint32 {
	bits := uint32(f.p.end.Pipe.Readiness(f.ends, f.since))
	if f.p.host != nil {
		bits |= f.p.host.poll()
	}
	return bits
}

// ready also makes ring 0 tell of events from now on.
func (f *pipeFile) ready() *readiness {
	if atomic.SwapUint64(&f.p.end.Pipe.HostWatch, 1) == 0 {
		f.p.look()
	}
	switch f.ends {
	case pipes.ReadEnd:
		return &f.p.rd
	case pipes.WriteEnd:
		return &f.p.wr
	}
	return &f.p.rdwr
}

func (f *pipeFile) release() {
	if f.ends&pipes.ReadEnd != 0 {
		f.p.obey(f.p.end.Pipe.CloseReader())
	}
	if f.ends&pipes.WriteEnd != 0 {
		f.p.obey(f.p.end.Pipe.CloseWriter())
	}
	f.p.drop()
}

// read takes what is there: of packets one, and of bytes as many as fit.
func (f *pipeFile) read(c *ioCall) error {
	if err := f.p.pull(c.left); err != nil {
		return errOrEnd(err)
	}
	for c.left > 0 {
		a, b, st, err := f.p.end.BeginRead(uint64(c.left))
		if err != nil {
			return f.p.corrupt(err)
		}
		switch {
		case st == pipes.OK:
		case st == pipes.EOF || st == pipes.WouldBlock && c.done > 0:
			return nil
		case st == pipes.WouldBlock:
			return errWait
		default:
			return errBusy
		}
		n, fault := c.put(a)
		if fault == nil {
			var m int
			m, fault = c.put(b)
			n += m
		}
		if fault != nil {
			// The page that the fault is in stays in the pipe, and a packet does as a whole.
			at := (int(atomic.LoadUint64(&f.p.end.Pipe.Head)) + n) & abi.PageMask
			took, w := f.p.end.Pipe.EndReadFault(uint64(n - min(n, at)))
			c.done -= n - int(took)
			f.p.obey(w)
			return fault
		}
		w := f.p.end.Pipe.EndRead(uint64(n))
		f.p.obey(w)
		if w.Flags&pipes.More == 0 {
			return nil
		}
	}
	return nil
}

// write puts everything in, waiting for room; a write of at most PIPE_BUF bytes goes in as one piece.
func (f *pipeFile) write(c *ioCall) error {
	mode := pipes.ModeOf(uint64(c.done+c.left), uint64(c.f.flags))
	for c.left > 0 {
		a, b, st, err := f.p.end.BeginWrite(uint64(c.left), mode)
		if err != nil {
			return f.p.corrupt(err)
		}
		switch st {
		case pipes.OK:
		case pipes.EPIPE:
			c.t.raise(unix.SIGPIPE)
			return unix.EPIPE
		case pipes.WouldBlock:
			return errWait
		default:
			return errBusy
		}
		n, fault := c.get(a)
		if fault == nil {
			var m int
			m, fault = c.getFrom(n, b)
			n += m
		}
		if fault != nil {
			// pipe_write publishes whole pages, and a record or packet as one piece.
			n -= min(n, (c.done+n)&abi.PageMask)
			if mode != pipes.Stream {
				n = 0
			}
		}
		f.p.obey(f.p.end.Pipe.EndWrite(uint64(n), mode))
		c.advance(n)
		if fault != nil {
			return fault
		}
	}
	return nil
}

// stat is the inode's: of a FIFO it has a name.
func (f *pipeFile) stat() (vfs.Stat, error) {
	if f.p.host != nil {
		return f.p.host.stat()
	}
	if f.p.fifo != nil {
		return f.p.fifo.Stat()
	}
	return f.p.inode.Stat()
}

// ioctl knows FIONREAD, on both ends.
func (f *pipeFile) ioctl(t *Thread, of *OpenFile, req uint32, arg uint64) (uint64, error) {
	if req != fionread {
		return 0, unix.ENOTTY
	}
	return t.retryBusy(func() (uint64, error) {
		n, st := f.p.end.Pipe.Bytes(f.p.end.Pause)
		if st != pipes.OK {
			return 0, errBusy
		}
		if f.p.host != nil {
			n += f.p.host.queued()
		}
		return 0, t.writeU32(arg, uint32(min(n, 2*pipes.MaxSize)))
	}, of)
}

// size is F_GETPIPE_SZ.
func (f *pipeFile) size() uint64 {
	if f.p.host != nil {
		return f.p.host.size
	}
	return f.p.pages * abi.PageSize
}

// setSize is F_SETPIPE_SZ: it answers the size granted.
func (f *pipeFile) setSize(t *Thread, arg uint32) (uint64, error) {
	p, k := f.p, f.p.k
	if p.host != nil {
		return p.host.resize(t, arg)
	}
	old := uint32(p.pages * abi.PageSize)
	user, vm := k.pipeLimits()
	size, errno := user.Resize(arg, old, k.pipePages.byUser[p.uid], t.pipePrivileged())
	if errno == 0 {
		_, errno = vm.Resize(arg, old, k.pipePages.total, false)
	}
	if errno != 0 {
		return 0, unix.Errno(errno)
	}
	if size == old {
		return uint64(size), nil
	}
	pages := uint64(size) / abi.PageSize
	ring, err := k.allocRing(pages)
	if err != nil {
		return 0, unix.ENOMEM
	}
	from, to, st := p.end.Pipe.BeginResize(uint64(size), p.end.Pause)
	if st != pipes.OK {
		k.freeBlock(ring)
		if st == pipes.EBUSY {
			return 0, unix.EBUSY
		}
		return 0, errBusy
	}
	next := k.ram[ring : uint64(ring)+uint64(size)]
	if err := pipes.CopySpan(next, to, p.end.Ring, from); err != nil {
		return 0, p.corrupt(err)
	}
	w := p.end.Pipe.EndResize(uint64(size), uint64(abi.DirectBase)+uint64(ring))
	k.freeBlock(p.ring)
	k.charge(p.uid, int64(pages)-int64(p.pages))
	p.ring, p.pages, p.end.Ring = ring, pages, next
	p.obey(w)
	return uint64(size), nil
}
