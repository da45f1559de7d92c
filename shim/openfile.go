package shim

import (
	"sync/atomic"

	"culvert/epoll"
	"culvert/guest"
	"culvert/shim/abi"
	"culvert/shim/vfs"
	"culvert/shim/vfs/memfs"

	"golang.org/x/sys/unix"
)

// fileImpl is the object that an open file description is open on. Its methods hold Kernel.mu.
type fileImpl interface {
	// read and write move what can be moved now and count it in c; errWait says that the call has to wait for
	// ready() and be tried again.
	read(c *ioCall) error
	write(c *ioCall) error
	// poll answers POLL bits.
	poll() uint32
	// ready is notified when poll's answer changes; nil if it never does, as for a regular file.
	ready() *readiness
	// release is called once, when the last reference goes.
	release()
}

// Optional abilities of a fileImpl.
type (
	statter interface {
		stat() (vfs.Stat, error)
	}
	ioctler interface {
		ioctl(t *Thread, of *OpenFile, req uint32, arg uint64) (uint64, error)
	}
	// flagger hears of changed status flags.
	flagger interface {
		setFlags(flags uint32)
	}
	// fdInfoer adds lines to /proc/PID/fdinfo/N.
	fdInfoer interface {
		fdinfo() string
	}
)

// Bits of a guest.File that this package sets: which ring-0 object an implementation has.
type ringObject interface {
	// ringFile gives guest.File's Kind, Obj and Since.
	ringFile() (kind, obj, since uint64)
}

// OpenFile is an open file description (open(2)): what descriptors refer to. Kernel.mu guards it.
//
// References. refs counts descriptors and calls in flight in the shim. All of them together hold one reference of
// guest.File.Ref, whose other holders are calls in flight and blocking records of ring 0. So the count in guest
// memory, which is not to be trusted, can delay a release but cannot bring one about while the shim uses the file.
type OpenFile struct {
	k     *Kernel
	impl  fileImpl
	path  vfs.Path
	flags uint32 // as F_GETFL reports them: access mode and status flags
	read  bool   // opened for reading
	write bool   // opened for writing
	off   int64
	index int // of the guest.File
	refs  int

	epolls    map[*epollItem]struct{} // interests in this description
	owner     int32                   // F_SETOWN: a pid, or a negative process group
	ownerType int32                   // F_OWNER_TID, F_OWNER_PID, F_OWNER_PGRP
	ownerSig  int32                   // F_SETSIG
	locked    bool                    // an OFD lock or a flock was taken: look when the description goes
}

// statusFlags are what F_SETFL can change (SETFL_MASK of fs/fcntl.c).
const statusFlags = unix.O_APPEND | unix.O_NONBLOCK | unix.O_DIRECT | unix.O_NOATIME | unix.O_ASYNC

// notKept are the flags of open(2) that act at the open only, and O_CLOEXEC, which belongs to the descriptor.
const notKept = unix.O_CREAT | unix.O_EXCL | unix.O_NOCTTY | unix.O_TRUNC | unix.O_CLOEXEC

// guestFileSize is the size in bytes of a guest.File.
const guestFileSize = 64

// newOpenFile makes a description with one reference, the caller's; ENFILE if the VM has too many. On an error impl
// is released.
func (k *Kernel) newOpenFile(impl fileImpl, path vfs.Path, flags int) (*OpenFile, error) {
	index, ok := k.files.take()
	if !ok {
		impl.release()
		return nil, unix.ENFILE
	}
	f := &OpenFile{k: k, impl: impl, path: path, flags: uint32(flags &^ notKept), index: index, refs: 1}
	if flags&unix.O_PATH == 0 {
		acc := flags & unix.O_ACCMODE
		f.read = acc == unix.O_RDONLY || acc == unix.O_RDWR
		f.write = acc == unix.O_WRONLY || acc == unix.O_RDWR
	}
	k.files.open[index] = f
	f.publish()
	return f, nil
}

// publish writes the shared part. Ref comes last: until then ring 0 cannot take a reference.
func (f *OpenFile) publish() {
	g := f.k.guestFile(f.index)
	var kind, obj, since, mode uint64
	if r, ok := f.impl.(ringObject); ok {
		kind, obj, since = r.ringFile()
	}
	if f.read {
		mode |= guest.FileRead
	}
	if f.write {
		mode |= guest.FileWrite
	}
	if r, ok := f.impl.(*socketFile); ok {
		mode &= r.ringMode()
	}
	atomic.StoreUint64(&g.Kind, kind)
	atomic.StoreUint64(&g.Obj, obj)
	atomic.StoreUint64(&g.Since, since)
	atomic.StoreUint64(&g.Mode, mode)
	atomic.StoreUint64(&g.Flags, uint64(f.flags))
	atomic.StoreUint64(&g.Index, uint64(f.index))
	atomic.StoreUint64(&g.Host, 0)
	atomic.StoreUint64(&g.Ref, 1)
}

// hold takes a reference.
func (f *OpenFile) hold() *OpenFile {
	f.refs++
	return f
}

// drop gives a reference back.
func (f *OpenFile) drop() {
	f.refs--
	if f.refs > 0 {
		if f.k.flying[f] == f.refs {
			f.k.collectRights()
		}
	} else if atomic.AddUint64(&f.k.guestFile(f.index).Ref, ^uint64(0)) == 0 {
		f.destroy()
	}
}

// destroy releases a description that nobody refers to any more.
func (f *OpenFile) destroy() {
	k := f.k
	g := k.guestFile(f.index)
	atomic.StoreUint64(&g.Kind, abi.FileHost)
	atomic.StoreUint64(&g.Obj, 0)
	atomic.StoreUint64(&g.Flags, 0)
	k.files.open[f.index] = nil
	k.files.free = append(k.files.free, f.index)
	for item := range f.epolls {
		item.remove()
	}
	if f.locked {
		k.dropFileLocks(f)
	}
	f.impl.release()
}

// setStatus changes the status flags, in guest memory too.
func (f *OpenFile) setStatus(flags uint32) {
	f.flags = flags
	atomic.StoreUint64(&f.k.guestFile(f.index).Flags, uint64(flags))
	if fl, ok := f.impl.(flagger); ok {
		fl.setFlags(flags)
	}
}

// nonblock reports O_NONBLOCK.
func (f *OpenFile) nonblock() bool { return f.flags&unix.O_NONBLOCK != 0 }

// opath reports that the description only names a place (O_PATH).
func (f *OpenFile) opath() bool { return f.flags&unix.O_PATH != 0 }

// poll answers the description's readiness.
func (f *OpenFile) poll() uint32 { return f.impl.poll() }

// stat is fstat(2).
func (f *OpenFile) stat() (vfs.Stat, error) {
	if s, ok := f.impl.(statter); ok {
		return s.stat()
	}
	return f.k.cfg.Namespace.Stat(f.path)
}

// fileSlots hands out the entries of the guest.File table.
type fileSlots struct {
	open  []*OpenFile // by index, of those that were ever used
	free  []int       // indexes that were used before
	limit int         // how many there may be
}

// take returns a free index.
func (s *fileSlots) take() (int, bool) {
	if n := len(s.free); n > 0 {
		i := s.free[n-1]
		s.free = s.free[:n-1]
		return i, true
	}
	if len(s.open) == s.limit {
		return 0, false
	}
	s.open = append(s.open, nil)
	return len(s.open) - 1, true
}

// used counts the open file descriptions of the VM (/proc/sys/fs/file-nr).
func (s *fileSlots) used() int { return len(s.open) - len(s.free) }

// fileKernel is the part of Kernel that open files need. Kernel.mu guards it.
type fileKernel struct {
	files   fileSlots
	scratch []byte // bounce's

	spareLeaves []*fdLeaf // empty, for the next descriptor table

	lastIno uint64 // of anonymous inodes
	// polling is the thread for which files are polled: a signalfd shows its signals.
	polling *Thread

	fcntls map[int32]fcntlRequest
	proc   *procFS   // nil if the tree has no /proc
	memfds *memfs.FS // of memfd_create; nil until the first
	// Sockets: abstract names, the last one chosen by the kernel, and descriptors under way in messages.
	unixNames map[string]*unixSocket
	autobind  uint32
	inFlight  int
	flying    map[*OpenFile]int // the sockets among them, and how often
	// collecting is set while collectRights drops descriptions.
	collecting bool

	idlePipes   []pipeMemory
	pipePages   pipeAccounts
	epollItems  int                     // interests of all epoll instances
	limbo       epoll.Limbo             // what epoll instances had, while a vCPU may still be there
	deadlines   ringTimer               // of calls that wait in ring 0
	pollItems   int                     // entries of the polls and selects that wait
	socketBytes int                     // in flight in sockets, with their overhead
	fileLocks   int                     // lock records
	lockWaits   map[lockOwner]lockOwner // who waits for whose lock

	hostFiles // host_pipe.go
}

// scratchSize is the largest piece in which bytes pass between files and user memory.
const scratchSize = 256 << 10

// bounce returns the buffer through which calls that do not sleep move n bytes, or as many as fit: its content is good
// until the next call. It grows with what is asked for, since most programs read and write little at a time.
func (k *Kernel) bounce(n int) []byte {
	n = min(n, scratchSize)
	if n > len(k.scratch) {
		k.scratch = make([]byte, min(max(n, 2*len(k.scratch)), scratchSize))
	}
	return k.scratch[:n]
}

// initFiles prepares the table of open files and /proc, before the first process.
func (k *Kernel) initFiles() error {
	if k.files.limit != 0 {
		return nil
	}
	k.files.limit = k.cfg.Layout.NumFiles
	k.fcntls = fcntlRequests()
	if err := k.mountProc(); err != nil {
		return err
	}
	return k.mountSys()
}

// guestFile is an entry of the table of open files in guest RAM.
func (k *Kernel) guestFile(i int) *guest.File {
	return structAt[guest.File](k.ram, k.cfg.Layout.Files+abi.GPA(i*guestFileSize))
}

// newIno numbers an anonymous inode.
func (k *Kernel) newIno() uint64 {
	k.lastIno++
	return k.lastIno
}

// fileReleased serves NoteRelease: ring 0 dropped the last reference to the open file. The index is the guest's
// word: one that names a file still in use is not believed.
func (k *Kernel) fileReleased(index uint64) {
	if index >= uint64(len(k.files.open)) {
		return
	}
	f := k.files.open[index]
	if f != nil && f.refs == 0 && atomic.LoadUint64(&k.guestFile(f.index).Ref) == 0 {
		f.destroy()
	}
}

// dropFile drops a reference that a blocking record in a slot held.
func (k *Kernel) dropFile(index uint64) {
	if index >= uint64(len(k.files.open)) || k.files.open[index] == nil {
		return
	}
	f := k.files.open[index]
	g := k.guestFile(f.index)
	for {
		// A count of zero would mean a record without a reference: never below it.
		n := atomic.LoadUint64(&g.Ref)
		if n == 0 {
			return
		}
		if atomic.CompareAndSwapUint64(&g.Ref, n, n-1) {
			if n == 1 && f.refs == 0 {
				f.destroy()
			}
			return
		}
	}
}
