package shim

import (
	"os"
	"runtime"
	"sync/atomic"

	"culvert/pipes"
	"culvert/pipes/link"
	"culvert/shim/abi"
	"culvert/shim/longcall"
	"culvert/shim/vfs"

	"golang.org/x/sys/unix"
)

// Link is one end of a pipe that two VMs share, to be a standard file of the first process.
type Link struct {
	GPA abi.GPA // where the machine has the memory
	Mem []byte  // the same as this process maps it: link.Words in a page, then the ring
	// Bell is an eventfd with O_NONBLOCK, this VM's bell; Ring is that of the other VM.
	Bell, Ring int
	// Alive is one of a pair of sockets. Its end is the end of the other VM, or of all its descriptors of the link.
	Alive *os.File
}

// linkPipe is this VM's side of a link: a pipe of its own over the ring of both. Kernel.mu guards it, but for the words
// in memory.
type linkPipe struct {
	pipe
	end    uint64 // pipes.ReadEnd or pipes.WriteEnd: what this VM does
	words  *link.Words
	ears   int // this VM's bell
	bell   int // the other VM's
	alive  *os.File
	closed bool // by this VM: its memory is given back
}

// linkFile is an open file description of a link. It is a pipe to all that look at it, but cannot be spliced or resized.
type linkFile struct {
	l *linkPipe
	f pipeFile
}

// newLink makes this VM's side of a link, for the end of descriptor fd.
func newLink(k *Kernel, from *Link, fd int) (*linkPipe, error) {
	gpa, err := k.memory.AllocBlock(0)
	if err != nil {
		return nil, unix.ENOMEM
	}
	ring := from.Mem[link.RingOffset:]
	l := &linkPipe{end: pipes.WriteEnd, words: structAt[link.Words](from.Mem, 0),
		ears: from.Bell, bell: from.Ring, alive: from.Alive}
	l.pipe = pipe{k: k, gpa: gpa, pages: uint64(len(ring)) / abi.PageSize,
		end: pipes.End{Pipe: structAt[pipes.Pipe](k.ram, gpa), Ring: ring, Pause: runtime.Gosched}}
	q := l.pipe.end.Pipe
	pipes.Init(q, uint64(abi.DirectBase)+uint64(from.GPA)+link.RingOffset, uint64(len(ring)))
	// The other VM counts as one description of the other end until it is gone.
	if fd == unix.Stdin {
		l.end = pipes.ReadEnd
		q.OpenWriter()
	} else {
		q.OpenReader()
	}
	l.inode = k.newAnonInode(nil, unix.S_IFIFO|0o600)
	l.inode.opener = l.reopen
	k.links[fd] = l
	go l.watchPartner()
	return l, nil
}

// openLink makes the description of descriptor fd of the first process.
func (k *Kernel) openLink(from *Link, fd int) (*OpenFile, error) {
	l, err := newLink(k, from, fd)
	if err != nil {
		return nil, err
	}
	flags := unix.O_RDONLY
	if l.end == pipes.WriteEnd {
		flags = unix.O_WRONLY
	}
	return k.newOpenFile(l.open(), k.anonPlace("pipe", l.inode), flags)
}

// open makes a description.
func (l *linkPipe) open() *linkFile {
	l.users++
	if l.end == pipes.ReadEnd {
		l.obey(l.pipe.end.Pipe.OpenReader())
	} else {
		l.obey(l.pipe.end.Pipe.OpenWriter())
	}
	return &linkFile{l: l, f: pipeFile{p: &l.pipe, ends: l.end}}
}

// reopen serves /dev/stdout and its like: only the end that this VM has.
func (l *linkPipe) reopen(_ *Thread, r *openRequest) (fileImpl, error) {
	if endsOf(r.flags) != l.end {
		return nil, unix.EACCES
	}
	return l.open(), nil
}

// watchPartner waits until the other VM is gone, or this one has closed its end.
func (l *linkPipe) watchPartner() {
	var b [1]byte
	l.alive.Read(b[:]) //nolint:errcheck // nothing is ever written: whatever it returns is the end
	l.k.mu.Lock()
	defer l.k.mu.Unlock()
	if !l.closed && !l.k.ended {
		l.partnerGone()
	}
}

// partnerGone closes the other VM's end of this VM's pipe. What it wrote before is still there to be read.
func (l *linkPipe) partnerGone() {
	q := l.pipe.end.Pipe
	if l.end == pipes.ReadEnd {
		link.Pull(q, l.words, l.end)
		l.obey(q.CloseWriter())
	} else {
		l.obey(q.CloseReader())
	}
}

// publish tells the other VM of what this one did, ring 0 too: see link.Later.
func (l *linkPipe) publish() {
	if link.Publish(l.pipe.end.Pipe, l.words, l.end, link.Now) {
		l.ring()
	}
}

// listen hears the bell if it was rung.
func (l *linkPipe) listen() {
	if longcall.Rang(l.ears) {
		l.heard()
	}
}

// maxHeard bounds the rounds that one ring of the bell is worth.
const maxHeard = 16

// heard acts on the bell: it tells who waits, and asks for the bell again while somebody does.
func (l *linkPipe) heard() {
	q := l.pipe.end.Pipe
	link.Pull(q, l.words, l.end)
	for range maxHeard {
		l.tell()
		if !l.awaited() {
			return
		}
		link.Want(l.words, l.end)
		before := l.position()
		link.Pull(q, l.words, l.end)
		if l.position() == before {
			return
		}
	}
	l.tell()
}

// tell wakes one thread of ring 0 if there is something for it, and all of the shim's that wait.
func (l *linkPipe) tell() {
	q := l.pipe.end.Pipe
	events := uint32(q.Readiness(l.end, 0))
	if events == 0 {
		return
	}
	if l.end == pipes.ReadEnd {
		l.obey(q.PassRead())
		l.rd.notify(events)
	} else {
		l.obey(q.PassWrite())
		l.wr.notify(events)
	}
}

// awaited reports whether anybody waits for the other VM.
func (l *linkPipe) awaited() bool {
	q := l.pipe.end.Pipe
	if l.end == pipes.ReadEnd {
		return !q.RWait.Empty() || l.rd.watched()
	}
	return !q.WWait.Empty() || l.wr.watched()
}

// position is how far the other VM has come, as known here.
func (l *linkPipe) position() uint64 {
	if l.end == pipes.ReadEnd {
		return atomic.LoadUint64(&l.pipe.end.Pipe.Tail)
	}
	return atomic.LoadUint64(&l.pipe.end.Pipe.Head)
}

// ring rings the other VM's bell.
func (l *linkPipe) ring() { longcall.Ring(l.bell) }

// sync is done around an operation of the shim: it takes over what the other VM did, runs op, and tells of what op did.
// An op that would have to wait is tried again if the other VM came meanwhile.
func (l *linkPipe) sync(op func() error) error {
	q := l.pipe.end.Pipe
	link.Pull(q, l.words, l.end)
	for {
		err := op()
		l.publish()
		if err != errWait {
			return err
		}
		before := l.position()
		link.Want(l.words, l.end)
		link.Pull(q, l.words, l.end)
		if l.position() == before {
			return errWait
		}
	}
}

func (f *linkFile) read(c *ioCall) error  { return f.l.sync(func() error { return f.f.read(c) }) }
func (f *linkFile) write(c *ioCall) error { return f.l.sync(func() error { return f.f.write(c) }) }

// poll asks for the bell if there is nothing.
func (f *linkFile) poll() (bits uint32) {
	f.l.sync(func() error { //nolint:errcheck // errWait says that bits is 0
		if bits = f.f.poll(); bits == 0 {
			return errWait
		}
		return nil
	})
	return bits
}

func (f *linkFile) ready() *readiness {
	if f.l.end == pipes.ReadEnd {
		return &f.l.rd
	}
	return &f.l.wr
}

func (f *linkFile) ringFile() (kind, obj, since uint64) {
	return abi.FileLink, uint64(abi.DirectBase) + uint64(f.l.gpa), 0
}

func (f *linkFile) stat() (vfs.Stat, error) { return f.l.inode.Stat() }

func (f *linkFile) ioctl(t *Thread, of *OpenFile, req uint32, arg uint64) (uint64, error) {
	link.Pull(f.l.pipe.end.Pipe, f.l.words, f.l.end)
	return f.f.ioctl(t, of, req, arg)
}

// release closes this VM's end with the last description: the other VM sees the bell's end.
func (f *linkFile) release() {
	l := f.l
	if l.end == pipes.ReadEnd {
		l.obey(l.pipe.end.Pipe.CloseReader())
	} else {
		l.obey(l.pipe.end.Pipe.CloseWriter())
	}
	l.users--
	if l.users == 0 {
		l.closed = true
		l.alive.Close()
		unix.Close(l.bell)
		l.k.freeBlock(l.gpa)
	}
}

// linkRung serves NoteLink: ring 0 did what the other VM waits for.
func (k *Kernel) linkRung(index uint64) {
	if index >= uint64(len(k.files.open)) || k.files.open[index] == nil {
		return
	}
	if f, ok := k.files.open[index].impl.(*linkFile); ok {
		f.l.ring()
	}
}
