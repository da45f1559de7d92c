package shim

import (
	"sync/atomic"
	"time"

	"culvert/pipes"
	"culvert/shim/vfs"

	"golang.org/x/sys/unix"
)

// pipeCalls are the rows of the calls that make pipes.
func pipeCalls() []Syscall {
	const bound = "Limits.PipeBytes of ring memory for all pipes"
	return []Syscall{
		{unix.SYS_PIPE, "pipe", sysPipe, Full, "capacity is counted in bytes, not in page slots", bound},
		{unix.SYS_PIPE2, "pipe2", sysPipe2, Full, "no O_NOTIFICATION_PIPE", bound},
	}
}

// oNotificationPipe is O_NOTIFICATION_PIPE (include/uapi/linux/watch_queue.h).
const oNotificationPipe = unix.O_EXCL

func sysPipe(t *Thread, a Args) (uint64, error) { return t.pipe(a[0], 0) }

func sysPipe2(t *Thread, a Args) (uint64, error) {
	flags := a.int32(1)
	if flags&^(unix.O_CLOEXEC|unix.O_NONBLOCK|unix.O_DIRECT|oNotificationPipe) != 0 {
		return 0, unix.EINVAL
	}
	if flags&oNotificationPipe != 0 {
		return 0, unix.ENOPKG // as a kernel without CONFIG_WATCH_QUEUE
	}
	return t.pipe(a[0], int(flags))
}

func (t *Thread) pipe(addr uint64, flags int) (uint64, error) {
	p, err := t.k.newPipe(t)
	if err != nil {
		return 0, err
	}
	p.inode = t.k.newAnonInode(t, unix.S_IFIFO|0o600)
	p.inode.opener = p.reopen
	path := t.k.anonPlace("pipe", p.inode)
	var fds [2]uint64
	for i, end := range [...]struct {
		ends  uint64
		flags int
	}{
		{pipes.ReadEnd, unix.O_RDONLY | flags&unix.O_NONBLOCK},
		{pipes.WriteEnd, unix.O_WRONLY | flags&(unix.O_NONBLOCK|unix.O_DIRECT)},
	} {
		var f *OpenFile
		if f, err = t.k.newOpenFile(p.openEnds(end.ends, 0), path, end.flags); err == nil {
			fds[i], err = t.addFD(f, flags&unix.O_CLOEXEC != 0)
		}
		if err != nil {
			if i == 1 {
				t.files.close(int(fds[0]))
			}
			return 0, err
		}
	}
	var out [8]byte
	le.PutUint32(out[0:], uint32(fds[0]))
	le.PutUint32(out[4:], uint32(fds[1]))
	if err := t.copyOut(addr, out[:]); err != nil {
		t.files.close(int(fds[0]))
		t.files.close(int(fds[1]))
		return 0, err
	}
	return 0, nil
}

// openEnds makes a description's implementation and counts its ends.
func (p *pipe) openEnds(ends, since uint64) *pipeFile {
	p.users++
	if ends&pipes.ReadEnd != 0 {
		p.obey(p.end.Pipe.OpenReader())
	}
	if ends&pipes.WriteEnd != 0 {
		p.obey(p.end.Pipe.OpenWriter())
	}
	return &pipeFile{p: p, ends: ends, since: since}
}

// endsOf maps an access mode to ends.
func endsOf(flags int) uint64 {
	switch flags & unix.O_ACCMODE {
	case unix.O_RDONLY:
		return pipes.ReadEnd
	case unix.O_WRONLY:
		return pipes.WriteEnd
	case unix.O_RDWR:
		return pipes.ReadEnd | pipes.WriteEnd
	}
	return 0
}

// reopen opens an anonymous pipe again, through /proc/PID/fd: fifo_open without the wait for a partner.
func (p *pipe) reopen(_ *Thread, r *openRequest) (fileImpl, error) {
	ends := endsOf(r.flags)
	if ends == 0 || r.flags&unix.O_DIRECT != 0 {
		return nil, unix.EINVAL
	}
	return p.openEnds(ends, 0), nil
}

// openFIFO is fifo_open of fs/pipe.c: a reader waits for a writer and the other way round, unless O_NONBLOCK.
func (t *Thread) openFIFO(path vfs.Path, flags int, cloexec bool) (uint64, error) {
	ends := endsOf(flags)
	if ends == 0 {
		return 0, unix.EINVAL
	}
	p, err := t.fifo(path.Inode())
	if err != nil {
		return 0, err
	}
	words := p.end.Pipe
	nonblock := flags&unix.O_NONBLOCK != 0
	if ends == pipes.WriteEnd && nonblock && words.Readers() == 0 {
		if p.users == 0 {
			p.free()
		}
		return 0, unix.ENXIO
	}
	f := p.openEnds(ends, 0)
	// What a waiting open waits for is that the other end was opened since: it may be closed again by then.
	partner := &words.WriterOpens
	alone := ends == pipes.ReadEnd && words.Writers() == 0
	if ends == pipes.WriteEnd {
		partner = &words.ReaderOpens
		alone = words.Readers() == 0
	}
	if alone && nonblock {
		f.since = atomic.LoadUint64(partner)
	}
	if !alone || nonblock {
		return t.installFIFO(f, path, flags, cloexec)
	}
	seen := atomic.LoadUint64(partner)
	return t.Block(func(w *Waiter) (uint64, error) {
		for atomic.LoadUint64(partner) == seen {
			if err := w.Sleep(time.Time{}, &p.opens); err != nil {
				f.release()
				return 0, err
			}
		}
		return t.installFIFO(f, path, flags, cloexec)
	})
}

func (t *Thread) installFIFO(f *pipeFile, path vfs.Path, flags int, cloexec bool) (uint64, error) {
	if flags&unix.O_DIRECT != 0 { // do_dentry_open: only pipe2 and fcntl make packets
		f.release()
		return 0, unix.EINVAL
	}
	of, err := t.k.newOpenFile(f, path, flags)
	if err != nil {
		return 0, err
	}
	return t.addFD(of, cloexec)
}

// fifo returns the pipe of a FIFO's inode, making it if nobody has it open.
func (t *Thread) fifo(inode vfs.Inode) (*pipe, error) {
	if v := inode.Attach(fifoKey{}, nil); v != nil {
		return v.(*pipe), nil
	}
	p, err := t.k.newPipe(t)
	if err != nil {
		return nil, err
	}
	p.fifo = inode
	inode.Attach(fifoKey{}, func() any { return p })
	return p, nil
}
