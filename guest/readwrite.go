package guest

import (
	"sync/atomic"
	"unsafe"

	"culvert/pipes"
	"culvert/shim/abi"
)

// read(2) and write(2) on pipes, served here with their blocking and waking. An operation runs from the thread's
// record (Thread.Wait), at first and on every retry: the open file is referenced by it and no descriptor is looked
// up again.
//
// To sleep: join the wait set (a locked OR), test the pipe again, save all registers, RUN to BLOCKED. No lock is
// held across any of it, nor across an exit.

// sysReadWrite is read(2) and write(2) for pipes and eventfds. It leaves to the shim all that is not a plain transfer:
// other files, wrong access modes, empty and impossible buffers.
//
//go:nosplit
func sysReadWrite(p *PerCPU, t *Thread) bool {
	addr, n := t.RSI, min(t.RDX, abi.MAX_RW_COUNT)
	if n == 0 || addr >= uint64(abi.UserEnd) || n > uint64(abi.UserEnd)-addr {
		return false
	}
	f := getFile(p, t, t.RDI)
	if f == nil {
		return false
	}
	kind, mode := uint64(abi.WaitRead), uint64(FileRead)
	if t.RAX == abi.SYS_WRITE {
		kind, mode = abi.WaitWrite, FileWrite
	}
	if f.Mode&mode == 0 || load(&f.Kind) == abi.FileEpoll {
		putFile(p, t, f)
		return false
	}
	w := &t.Wait
	if load(&f.Kind) == abi.FilePipe {
		t.Vec.N = 0
		w.Kind, w.File, w.Addr, w.Len, w.Done = kind, f.Index, addr, n, 0
		w.Aux = uint64(pipes.ModeOf(n, load(&f.Flags)))
		ran(p, t, pipeRetry(p, t, f))
		return true
	}
	if load(&f.Kind) == abi.FileOutput {
		t.Vec.N = 0
		w.Addr = addr
		done := kind == abi.WaitWrite && output(p, t, f, n)
		putFile(p, t, f)
		return done
	}
	if load(&f.Kind) == abi.FileLink {
		t.Vec.N = 0
		w.Kind, w.File, w.Addr, w.Len, w.Done = kind+linkKind, f.Index, addr, n, 0
		w.Aux = uint64(pipes.ModeOf(n, load(&f.Flags)))
	} else if !eventRecord(p, t, f, kind, addr, n) {
		putFile(p, t, f)
		return false
	}
	runRecord(p, t)
	return true
}

// sigpipe in Wait.Aux of a write that is done: it found no reader, and the thread owes itself a SIGPIPE.
const sigpipe = ^uint64(0)

// ran leaves what follows from the first try of t's record to be done when the call's code has returned: t sleeps, or gets
// its SIGPIPE.
//
//go:nosplit
func ran(p *PerCPU, t *Thread, done bool) {
	if !done {
		p.Due = dueSleep
	} else if t.Wait.Aux == sigpipe {
		p.Due = dueSIGPIPE
	}
}

// pipeAgain is leaveWaits and retry for a record of a pipe. Each byte that is waited for comes here.
//
//go:nosplit
func pipeAgain(p *PerCPU, t *Thread) bool {
	f := fileAt(p.VM, t.Wait.File)
	pipeLeave(p, t, f, t.Wait.Kind == abi.WaitRead)
	return pipeRetry(p, t, f)
}

// pipeLeave is leaveWaits for a record of f, a pipe or a link.
//
//go:nosplit
func pipeLeave(p *PerCPU, t *Thread, f *File, reads bool) {
	pipe := pipeOf(f)
	if reads {
		if pipe.RWait.Leave(t.Index) && load(&t.Attn) != 0 {
			obey(p, t, f, pipe.PassRead())
		}
	} else if pipe.WWait.Leave(t.Index) && load(&t.Attn) != 0 {
		obey(p, t, f, pipe.PassWrite())
	}
}

// pipeRetry is retry for a record of f, a pipe.
//
//go:nosplit
func pipeRetry(p *PerCPU, t *Thread, f *File) bool {
	done := false
	if t.Wait.Kind == abi.WaitRead {
		done = pipeRead(p, t, f)
	} else {
		done = pipeWrite(p, t, f)
	}
	if done {
		t.Wait.Kind = abi.WaitNone
		putFile(p, t, f)
	}
	return done
}

// pipeRead is pipe_read of fs/pipe.c: what is there, and sleep only if that is nothing.
//
//go:nosplit
func pipeRead(p *PerCPU, t *Thread, f *File) bool {
	w, pipe := &t.Wait, pipeOf(f)
	for {
		span, st := pipe.BeginRead(w.Len-w.Done, p.Pause)
		if st == pipes.OK {
			n := uint64(0)
			if t.Vec.N|span.N2 == 0 {
				n = span.N1 - p.Copy(at(w.Addr+w.Done), at(load(&pipe.Data)+span.Off), span.N1)
			} else {
				n = copyRing(p, t, load(&pipe.Data), span, false)
			}
			if n < span.N1+span.N2 {
				// The page that the fault is in stays in the pipe, as in copy_page_to_iter's caller.
				n -= min(n, (span.Off+n)&abi.PageMask)
				n, wake := pipe.EndReadFault(n)
				w.Done += n
				obey(p, t, f, wake)
				if !resolveCopy(p, t) {
					return finish(t, abi.EFAULT)
				}
				continue
			}
			wake := pipe.EndRead(n)
			w.Done += n
			if !wake.Nobody() {
				obey(p, t, f, wake)
			}
			if wake.Flags&pipes.More != 0 && w.Done < w.Len {
				continue
			}
			return finish(t, 0)
		}
		if st == pipes.LockBusy {
			hypercall(p, t, abi.KindNote, abi.NoteYield)
			continue
		}
		if st == pipes.EOF || w.Done != 0 {
			return finish(t, 0)
		}
		if load(&f.Flags)&abi.O_NONBLOCK != 0 {
			return finish(t, abi.EAGAIN)
		}
		pipe.RWait.Join(t.Index)
		if !pipe.Readable() {
			return false
		}
		pipe.RWait.Leave(t.Index)
	}
}

// pipeWrite is pipe_write of fs/pipe.c: everything, in one piece up to PIPE_BUF.
//
//go:nosplit
func pipeWrite(p *PerCPU, t *Thread, f *File) bool {
	w, pipe := &t.Wait, pipeOf(f)
	mode := pipes.Mode(w.Aux)
	for {
		span, st := pipe.BeginWrite(w.Len-w.Done, mode, p.Pause)
		if st == pipes.OK {
			n := uint64(0)
			if t.Vec.N|span.N2 == 0 {
				n = span.N1 - p.Copy(at(load(&pipe.Data)+span.Off), at(w.Addr+w.Done), span.N1)
			} else {
				n = copyRing(p, t, load(&pipe.Data), span, true)
			}
			whole := n == span.N1+span.N2
			if !whole {
				// pipe_write publishes whole pages, and a record or packet as one piece.
				n -= min(n, (w.Done+n)&abi.PageMask)
				if mode != pipes.Stream {
					n = 0
				}
			}
			told := pipe.EndWrite(n, mode)
			if told.Reader >= 0 { // as obey does, without the detour
				wake(p, uint64(told.Reader))
				told.Reader = -1
			}
			if !told.Nobody() {
				obey(p, t, f, told)
			}
			w.Done += n
			if !whole && !resolveCopy(p, t) {
				return finish(t, abi.EFAULT)
			}
			if w.Done == w.Len {
				return finish(t, 0)
			}
			continue
		}
		if st == pipes.LockBusy {
			hypercall(p, t, abi.KindNote, abi.NoteYield)
			continue
		}
		if st == pipes.EPIPE {
			w.Aux = sigpipe
			return finish(t, abi.EPIPE)
		}
		if load(&f.Flags)&abi.O_NONBLOCK != 0 {
			return finish(t, abi.EAGAIN)
		}
		pipe.WWait.Join(t.Index)
		if !pipe.Writable() {
			return false
		}
		pipe.WWait.Leave(t.Index)
	}
}

// finish stores the result: the bytes moved, if any, else the error.
//
//go:nosplit
func finish(t *Thread, err uint64) bool {
	t.RAX = t.Wait.Done
	if t.Wait.Done == 0 {
		t.RAX = -err
	}
	return true
}

// pipeOf is the pipe that a FilePipe names.
//
//go:nosplit
func pipeOf(f *File) *pipes.Pipe { return (*pipes.Pipe)(at(load(&f.Obj))) }

// fileAt is an entry of the open-file table; the index is held within it.
//
//go:nosplit
func fileAt(vm *VM, i uint64) *File {
	if i >= vm.NumFiles {
		i = 0
	}
	return (*File)(at(vm.Files + i*uint64(unsafe.Sizeof(File{}))))
}

// getFile returns the file open at fd, with a reference, or nil if it is one that ring 0 does not know. Entries are type-stable: the
// reference is taken unless the count is zero, and then the descriptor is looked at again, so that the reference is of
// what the descriptor names.
//
//go:nosplit
func getFile(p *PerCPU, t *Thread, fd uint64) *File {
	if t.Files == nil || fd >= FilesPerLeaf*FilesPerLeaf {
		return nil
	}
	leaf := load(&t.Files.Leaf[fd/FilesPerLeaf&(FilesPerLeaf-1)])
	if leaf == 0 {
		return nil
	}
	entry := (*uint64)(at(leaf + fd%FilesPerLeaf*8))
	for {
		e := load(entry)
		if e == 0 {
			return nil
		}
		f := fileAt(p.VM, e-1)
		refs := load(&f.Ref)
		if load(&f.Kind) == abi.FileHost || refs == 0 {
			return nil
		}
		if !cas(&f.Ref, refs, refs+1) {
			continue
		}
		if load(entry) == e && load(&f.Kind) != abi.FileHost {
			return f
		}
		putFile(p, t, f)
	}
}

// putFile drops a reference; the last one is released by the shim.
//
//go:nosplit
func putFile(p *PerCPU, t *Thread, f *File) {
	if atomic.AddUint64(&f.Ref, ^uint64(0)) == 0 {
		p.Call.Args[0] = f.Index
		hypercall(p, t, abi.KindNote, abi.NoteRelease)
	}
}
