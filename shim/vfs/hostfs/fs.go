// Package hostfs shows a directory or a file of the host to a guest.
//
// The guest is hostile and the VMM may be root, so nothing here lets the host's
// kernel resolve more than one component: every step is an openat2 with
// RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS and RESOLVE_NO_MAGICLINKS from a
// descriptor of the directory, and links are read as text for the Namespace to
// resolve against the guest's root. A name cannot contain a slash or be "..",
// so there is no path that leads out, whatever is renamed meanwhile; and what is
// found must be the inode that was looked up (device and number), else ESTALE.
//
// An object is opened in two steps: with O_PATH, which has no side effects, then,
// if it is a regular file or directory, again through /proc/self/fd. Devices,
// FIFOs and sockets of the host are shown by stat and never opened. File systems
// that are mounted below the tree's root are crossed into, but those that are the
// host kernel's controls (proc, sysfs, cgroups...) show as empty directories.
//
// Descriptors are bounded. A directory's is kept in an LRU list; a regular file
// of a read-only tree has one however often it is open, which may be closed and
// opened again; only files that are open in a tree written through pin theirs.
package hostfs

import (
	"container/list"
	"fmt"
	"strconv"
	"sync"
	"weak"

	"golang.org/x/sys/unix"

	"culvert/shim/vfs"
)

// Pool holds the host descriptors of one guest's trees, and bounds them together.
type Pool struct {
	proc int // O_PATH descriptor of /proc/self/fd
	max  int
	priv bool // may give files away

	// mu guards the pool and what its trees know of names and attributes. It is
	// not held over calls to the host other than open and close.
	mu  sync.Mutex
	lru *list.List // of *handle, the most recently used first
	fds int        // open handles, in the list or pinned
}

// NewPool returns a pool of at most max descriptors, those of the trees' roots
// not counted.
func NewPool(max int) (*Pool, error) {
	fd, err := unix.Open("/proc/self/fd", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("hostfs: open /proc/self/fd (is /proc mounted?): %w", err)
	}
	return &Pool{proc: fd, max: max, priv: unix.Geteuid() == 0, lru: list.New()}, nil
}

// Close closes the pool's descriptors; those in use are closed by their users.
func (p *Pool) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for e := p.lru.Front(); e != nil; e = p.lru.Front() {
		p.retire(e.Value.(*handle))
	}
	if p.proc >= 0 {
		closeFD(p.proc)
		p.proc = -1
	}
}

// Options say how a tree is shown.
type Options struct {
	ReadOnly bool
	// Static trusts attributes for as long as an inode is in use, and names for
	// as long as they are cached: for read-only trees taken not to change.
	Static bool
}

// FS is a host tree.
type FS struct {
	pool *Pool
	opts Options
	base int // O_PATH descriptor of the tree's root
	root *node

	nodes map[key]weak.Pointer[node] // guarded by pool.mu
	swept int                        // entries in nodes after the last sweep
}

// key identifies a host file.
type key struct{ dev, ino uint64 }

const pathFlags = unix.O_PATH | unix.O_NOFOLLOW | unix.O_CLOEXEC

// New shows what is at path. Links in path are followed: it is the user's.
func New(pool *Pool, path string, o Options) (*FS, error) {
	if o.Static && !o.ReadOnly {
		return nil, fmt.Errorf("hostfs: %s: a tree that is written through is not static", path)
	}
	fs := &FS{pool: pool, opts: o, nodes: make(map[key]weak.Pointer[node])}
	var err error
	if fs.base, err = unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0); err != nil {
		return nil, fmt.Errorf("hostfs: open %s: %w", path, err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(fs.base, &st); err != nil {
		fs.Close()
		return nil, fmt.Errorf("hostfs: stat %s: %w", path, err)
	}
	if err := mayEnter(fs.base); err != nil {
		fs.Close()
		return nil, fmt.Errorf("hostfs: %s is on a file system that controls the host's kernel: %w", path, err)
	}
	fs.root = fs.node(nil, "", &st, false)
	return fs, nil
}

// Root returns the tree's root, a directory or a file.
func (fs *FS) Root() vfs.Inode { return fs.root }

// Close closes the root's descriptor; the others are the pool's.
func (fs *FS) Close() {
	closeFD(fs.base)
	fs.base = -1
}

// kernelControls are file systems whose files are the host kernel's switches.
var kernelControls = [...]int64{
	unix.PROC_SUPER_MAGIC, unix.SYSFS_MAGIC, unix.CGROUP_SUPER_MAGIC, unix.CGROUP2_SUPER_MAGIC,
	unix.DEBUGFS_MAGIC, unix.TRACEFS_MAGIC, unix.SECURITYFS_MAGIC, unix.BPF_FS_MAGIC,
	unix.SELINUX_MAGIC, unix.SMACK_MAGIC, unix.EFIVARFS_MAGIC, unix.BINFMTFS_MAGIC,
	unix.NSFS_MAGIC, unix.RDTGROUP_SUPER_MAGIC, 0x62656570, // configfs
}

// mayEnter answers EACCES for an object on such a file system.
func mayEnter(fd int) error {
	var s unix.Statfs_t
	if err := retry(func() error { return unix.Fstatfs(fd, &s) }); err != nil {
		return err
	}
	for _, m := range kernelControls {
		if int64(s.Type) == m {
			return unix.EACCES
		}
	}
	return nil
}

// retry repeats a call that a signal interrupted.
func retry(f func() error) error {
	for {
		if err := f(); err != unix.EINTR {
			return err
		}
	}
}

// openat opens one component below a directory, no link followed.
func openat(dir int, name string, flags int, mode uint32) (int, error) {
	how := unix.OpenHow{
		Flags:   uint64(flags | unix.O_CLOEXEC | unix.O_NOFOLLOW),
		Mode:    uint64(mode),
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
	}
	for {
		// EAGAIN: the kernel saw a rename pass by and could not be sure.
		fd, err := unix.Openat2(dir, name, &how)
		if err != unix.EINTR && err != unix.EAGAIN {
			return fd, err
		}
	}
}

// procName names a descriptor below Pool.proc.
func procName(fd int) string { return strconv.Itoa(fd) }

// reopen opens the regular file or directory behind an O_PATH descriptor.
func (fs *FS) reopen(fd, flags int) (int, error) {
	for {
		n, err := unix.Openat(fs.pool.proc, procName(fd), flags|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
		if err != unix.EINTR {
			return n, err
		}
	}
}

// node returns the node of a file found in parent under name, the same one as
// long as anyone holds it.
func (fs *FS) node(parent *node, name string, st *unix.Stat_t, sealed bool) *node {
	fs.pool.mu.Lock()
	defer fs.pool.mu.Unlock()
	k := key{st.Dev, st.Ino}
	if n := fs.nodes[k].Value(); n != nil && n.typ == st.Mode&unix.S_IFMT {
		// One of its names, and the latest known to be good.
		n.parent, n.name = parent, name
		if !fs.opts.Static {
			n.st = *st
		}
		return n
	}
	n := &node{fs: fs, key: k, typ: st.Mode & unix.S_IFMT, sealed: sealed, parent: parent, name: name, st: *st}
	if len(fs.nodes) >= 2*fs.swept+64 {
		for k, w := range fs.nodes {
			if w.Value() == nil {
				delete(fs.nodes, k)
			}
		}
		fs.swept = len(fs.nodes)
	}
	fs.nodes[k] = weak.Make(n)
	return n
}
