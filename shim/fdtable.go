package shim

import (
	"sync/atomic"

	"culvert/guest"
	"culvert/shim/abi"

	"golang.org/x/sys/unix"
)

const (
	// leafSize is how many descriptors a leaf of a table has, here and in guest RAM.
	leafSize = guest.FilesPerLeaf
	// mirroredLeaves is how many leaves a guest.FileTable has. Descriptors from mirroredLeaves*leafSize on are
	// unknown to ring 0, which forwards calls on them.
	mirroredLeaves = guest.FilesPerLeaf
	// nrOpen is the default of /proc/sys/fs/nr_open: the largest RLIMIT_NOFILE.
	nrOpen = 1 << 20
)

// FDTable maps descriptors to open files; threads share it under CLONE_FILES (struct files_struct). Ring 0 reads a
// mirror of it, a guest.FileTable: each entry there is the open file's index plus one. The mirror is never read back.
type FDTable struct {
	k      *Kernel
	refs   int
	root   abi.GPA // the guest.FileTable
	leaves []*fdLeaf
	// free is a bound: no descriptor below it is free.
	free int
}

type fdLeaf struct {
	fds  [leafSize]fdEntry
	used int
	gpa  abi.GPA // of its entries in guest RAM; 0 if the leaf is not mirrored
}

// inUse calls fn for the entries that are in use, in order; fn may close the one it gets.
func (l *fdLeaf) inUse(fn func(i int, e *fdEntry)) {
	for i, left := 0, l.used; left > 0 && i < len(l.fds); i++ {
		if l.fds[i].f != nil {
			left--
			fn(i, &l.fds[i])
		}
	}
}

// maxSpareLeaves bounds the empty leaves that are kept for the next table.
const maxSpareLeaves = 64

// newLeaf returns an empty leaf, not mirrored.
func (k *Kernel) newLeaf() *fdLeaf {
	if n := len(k.spareLeaves); n > 0 {
		l := k.spareLeaves[n-1]
		k.spareLeaves = k.spareLeaves[:n-1]
		return l
	}
	return &fdLeaf{}
}

// freeLeaf takes back a leaf whose descriptors are closed.
func (k *Kernel) freeLeaf(l *fdLeaf) {
	if l.gpa != 0 {
		k.giveTablePage(l.gpa)
		l.gpa = 0
	}
	if len(k.spareLeaves) < maxSpareLeaves {
		k.spareLeaves = append(k.spareLeaves, l)
	}
}

type fdEntry struct {
	f       *OpenFile
	cloexec bool
}

// newFDTable makes an empty table with one reference, mirrored in guest RAM.
func newFDTable(k *Kernel) (*FDTable, error) {
	if err := k.initFiles(); err != nil {
		return nil, err
	}
	root, err := k.takeTablePage()
	if err != nil {
		return nil, err
	}
	return &FDTable{k: k, refs: 1, root: root}, nil
}

// installStdio opens descriptors 0, 1 and 2 of the first process.
func (d *FDTable) installStdio(k *Kernel) error {
	var opened []*OpenFile
	for fd, host := range k.cfg.Stdio {
		var f *OpenFile
		var err error
		switch {
		case fd < len(k.cfg.Links) && k.cfg.Links[fd] != nil:
			f, err = k.openLink(k.cfg.Links[fd], fd)
		case host != nil:
			f, err = k.openHost(host, fd, opened)
		default:
			continue
		}
		if err != nil {
			return err
		}
		opened = append(opened, f)
		if err := d.install(fd, f, false); err != nil {
			return err
		}
	}
	return nil
}

// share takes another reference.
func (d *FDTable) share() *FDTable {
	d.refs++
	return d
}

// shared reports whether other threads hold the table: exec then works on a copy.
func (d *FDTable) shared() bool { return d.refs > 1 }

// gva is the guest address of the table's guest.FileTable, for slot.Files.
func (d *FDTable) gva() uint64 { return uint64(abi.DirectBase) + uint64(d.root) }

// clone copies the table for a process that does not share it.
func (d *FDTable) clone(k *Kernel) (*FDTable, error) {
	c, err := newFDTable(k)
	if err != nil {
		return nil, err
	}
	c.free = d.free
	for i, l := range d.leaves {
		if l == nil || l.used == 0 {
			continue
		}
		if err := c.addLeaf(i); err != nil {
			c.release(nil)
			return nil, err
		}
		m := c.leaves[i]
		m.used = l.used
		l.inUse(func(j int, e *fdEntry) {
			e.f.hold()
			m.fds[j] = *e
			c.mirror(i*leafSize+j, e.f)
		})
	}
	return c, nil
}

// release drops a reference; the last one closes all descriptors.
func (d *FDTable) release(t *Thread) {
	d.refs--
	if d.refs > 0 {
		return
	}
	d.each(func(fd int, _ *fdEntry) { d.close(fd) })
	root := structAt[guest.FileTable](d.k.ram, d.root)
	for i, l := range d.leaves {
		if l != nil {
			if l.gpa != 0 {
				atomic.StoreUint64(&root.Leaf[i], 0)
			}
			if i == 0 {
				l.gpa = 0 // goes with the root
			}
			d.k.freeLeaf(l)
		}
	}
	d.leaves = nil
	d.k.giveTablePage(d.root)
}

// closeOnExec closes the descriptors that have FD_CLOEXEC.
func (d *FDTable) closeOnExec(t *Thread) {
	d.each(func(fd int, e *fdEntry) {
		if e.cloexec {
			d.close(fd)
		}
	})
}

// each calls fn for every descriptor in use, in order; fn may close it.
func (d *FDTable) each(fn func(fd int, e *fdEntry)) { d.eachFrom(0, nrOpen-1, fn) }

// eachFrom is each for the descriptors from first to last.
func (d *FDTable) eachFrom(first, last int, fn func(fd int, e *fdEntry)) {
	for i := first / leafSize; i < len(d.leaves) && i <= last/leafSize; i++ {
		l := d.leaves[i]
		if l == nil || l.used == 0 {
			continue
		}
		l.inUse(func(j int, e *fdEntry) {
			if fd := i*leafSize + j; fd >= first && fd <= last {
				fn(fd, e)
			}
		})
	}
}

// entry returns a descriptor's entry, nil if it is not open.
func (d *FDTable) entry(fd int) *fdEntry {
	if fd < 0 || fd/leafSize >= len(d.leaves) || d.leaves[fd/leafSize] == nil {
		return nil
	}
	if e := &d.leaves[fd/leafSize].fds[fd%leafSize]; e.f != nil {
		return e
	}
	return nil
}

// get returns the description of an open descriptor, O_PATH ones too (fdget_raw); EBADF else.
func (d *FDTable) get(fd int32) (*OpenFile, error) {
	e := d.entry(int(fd))
	if e == nil {
		return nil, unix.EBADF
	}
	return e.f, nil
}

// file is get for calls that need more than a place (fdget): O_PATH descriptors are EBADF.
func (d *FDTable) file(fd int32) (*OpenFile, error) {
	f, err := d.get(fd)
	if err == nil && f.opath() {
		return nil, unix.EBADF
	}
	return f, err
}

// lowest returns the lowest free descriptor from min on that is below limit (RLIMIT_NOFILE); EMFILE if there is none.
func (d *FDTable) lowest(from int, limit uint64) (int, error) {
	start := max(from, d.free)
	fd := start
	for fd < nrOpen {
		i := fd / leafSize
		if i >= len(d.leaves) || d.leaves[i] == nil {
			break
		}
		l := d.leaves[i]
		if l.used == leafSize {
			fd = (i + 1) * leafSize
			continue
		}
		if l.fds[fd%leafSize].f == nil {
			break
		}
		fd++
	}
	if from <= d.free {
		d.free = fd
	}
	if uint64(fd) >= limit || fd >= nrOpen {
		return 0, unix.EMFILE
	}
	return fd, nil
}

// install puts a description, whose reference it takes over, at a free descriptor. On an error it drops it.
func (d *FDTable) install(fd int, f *OpenFile, cloexec bool) error {
	if err := d.addLeaf(fd / leafSize); err != nil {
		f.drop()
		return err
	}
	l := d.leaves[fd/leafSize]
	l.fds[fd%leafSize] = fdEntry{f, cloexec}
	l.used++
	d.mirror(fd, f)
	return nil
}

// add installs a description at the lowest free descriptor of the thread's table.
func (t *Thread) addFD(f *OpenFile, cloexec bool) (uint64, error) {
	return t.addFDFrom(0, f, cloexec)
}

// addFDFrom installs a description at the lowest free descriptor from min on.
func (t *Thread) addFDFrom(from int, f *OpenFile, cloexec bool) (uint64, error) {
	fd, err := t.files.lowest(from, t.fdLimit())
	if err != nil {
		f.drop()
		return 0, err
	}
	return uint64(fd), t.files.install(fd, f, cloexec)
}

// fdLimit is the first descriptor that the process may not use.
func (t *Thread) fdLimit() uint64 { return t.p.limits[unix.RLIMIT_NOFILE].cur }

// close frees an open descriptor and drops its reference. As in Linux the process's POSIX locks on the file go with
// any descriptor of it.
func (d *FDTable) close(fd int) {
	e := d.entry(fd)
	f := e.f
	*e = fdEntry{}
	d.leaves[fd/leafSize].used--
	d.free = min(d.free, fd)
	d.mirror(fd, nil)
	d.k.dropPosixLocks(d, f)
	f.drop()
}

// replace installs a description at fd, closing what is there (dup2).
func (d *FDTable) replace(fd int, f *OpenFile, cloexec bool) error {
	e := d.entry(fd)
	if e == nil {
		return d.install(fd, f, cloexec)
	}
	old := e.f
	*e = fdEntry{f, cloexec}
	d.mirror(fd, f)
	d.k.dropPosixLocks(d, old)
	old.drop()
	return nil
}

// addLeaf makes sure that leaf i exists, in guest RAM too.
func (d *FDTable) addLeaf(i int) error {
	for len(d.leaves) <= i {
		d.leaves = append(d.leaves, nil)
	}
	if d.leaves[i] != nil {
		return nil
	}
	l := d.k.newLeaf()
	if i < mirroredLeaves {
		root := structAt[guest.FileTable](d.k.ram, d.root)
		gpa := d.root + firstLeaf
		if i != 0 {
			var err error
			if gpa, err = d.k.takeTablePage(); err != nil {
				d.k.freeLeaf(l)
				return err
			}
		}
		l.gpa = gpa
		atomic.StoreUint64(&root.Leaf[i], uint64(abi.DirectBase)+uint64(gpa))
	}
	d.leaves[i] = l
	return nil
}

// mirror writes a descriptor's entry for ring 0; a nil f clears it.
func (d *FDTable) mirror(fd int, f *OpenFile) {
	l := d.leaves[fd/leafSize]
	if l.gpa == 0 {
		return
	}
	v := uint64(0)
	if f != nil {
		v = uint64(f.index) + 1
	}
	atomic.StoreUint64(structAt[uint64](d.k.ram, l.gpa+abi.GPA(fd%leafSize*8)), v)
}

// takeTablePage takes a zeroed page of guest RAM for a guest.FileTable, or for a leaf of one.
func (k *Kernel) takeTablePage() (abi.GPA, error) {
	gpa, err := k.memory.AllocBlock(0)
	if err != nil {
		return 0, unix.ENOMEM
	}
	return gpa, nil
}

// giveTablePage gives a page back, every entry of which was cleared. No vCPU reads it any more: the threads that named
// the table have left it by a hypercall of their own.
func (k *Kernel) giveTablePage(gpa abi.GPA) {
	if err := k.memory.FreeZeroed(gpa); err != nil {
		panic("shim: descriptor table page: " + err.Error())
	}
}
