// Package rootfs builds the file tree that a guest starts with: the host's
// programs and libraries, read-only, below an in-memory layer that takes writes;
// a minimal /etc; /dev; tmpfs on /tmp and /dev/shm; and what the user passes
// through. /proc and /sys are empty directories for the caller to mount on.
package rootfs

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"

	"golang.org/x/sys/unix"

	"culvert/shim/vfs"
	"culvert/shim/vfs/hostfs"
	"culvert/shim/vfs/memfs"
	"culvert/shim/vfs/synthfs"
)

// HostMount passes a file or directory of the host through.
type HostMount struct {
	Host, Guest string // absolute
	ReadWrite   bool
}

// Options say what a guest sees.
type Options struct {
	// Dir is a directory of the host to be the root; "" is the default root,
	// made of the host's /usr and friends.
	Dir string
	// Shown are files of the host, absolute, that are made visible at their own
	// paths if the root does not have them.
	Shown    []string
	Mounts   []HostMount
	Hostname string
	Quota    *memfs.Quota // of everything the guest writes outside rw mounts
	// Tty opens /dev/tty; nil answers ENXIO, as for a process without a terminal.
	Tty func(c *vfs.Context, flags int) (vfs.File, error)
}

// Device numbers of the file systems: major 0, as Linux numbers those without a
// device. The caller may use minors from DevFree on.
const (
	devRoot = iota + 20
	devLower
	devTmp
	devShm
	devDev
	devNodes
	DevFree
)

// maxHostFDs bounds the host descriptors behind the guest's files.
const maxHostFDs = 1024

// nodesBudget bounds generated contents in /dev: there are none.
const nodesBudget = 0

// Root is a guest's file tree.
type Root struct {
	NS    *vfs.Namespace
	pool  *hostfs.Pool
	hosts []*hostfs.FS
	paths []HostPath
}

// HostPath is a file or directory of the host that the guest sees, with what is below it.
type HostPath struct {
	Path      string
	ReadWrite bool
}

// HostPaths are all that the tree opens files below.
func (r *Root) HostPaths() []HostPath { return r.paths }

// Close closes the host descriptors that the tree uses.
func (r *Root) Close() {
	for _, h := range r.hosts {
		h.Close()
	}
	if r.pool != nil {
		r.pool.Close()
	}
}

// Context returns the context of the guest's root user at the tree's root.
func (r *Root) Context() *vfs.Context {
	return &vfs.Context{Cred: vfs.NewCred(0, 0), Root: r.NS.Root(), Cwd: r.NS.Root(), Umask: 0o022}
}

// New builds a tree. The caller closes it.
func New(o Options) (*Root, error) {
	r := &Root{}
	if err := r.build(o); err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

func (r *Root) build(o Options) error {
	var err error
	if r.pool, err = hostfs.NewPool(maxHostFDs); err != nil {
		return err
	}
	lower, err := r.lower(o)
	if err != nil {
		return err
	}
	over, err := memfs.New(memfs.Options{Quota: o.Quota, Dev: unix.Mkdev(0, devRoot), Lower: lower})
	if err != nil {
		return fmt.Errorf("rootfs: overlay: %w", err)
	}
	r.NS = vfs.New(vfs.Mount{Root: over.Root(), FSType: "overlay", Source: "overlay"})
	c := r.Context()
	for _, d := range []string{"/proc", "/sys", "/dev", "/tmp"} {
		if err := r.mkdirAll(c, d); err != nil {
			return err
		}
	}
	if err := r.mountDev(c, o); err != nil {
		return err
	}
	if o.Dir == "" {
		if err := r.mountTmpfs(c, "/tmp", o.Quota, devTmp, 0o1777); err != nil {
			return err
		}
	}
	for _, m := range o.Mounts {
		if err := r.mountHost(c, m); err != nil {
			return err
		}
	}
	for _, f := range o.Shown {
		if err := r.show(c, f); err != nil {
			return err
		}
	}
	return nil
}

// host opens a tree of the host, to be closed with the root.
func (r *Root) host(p string, o hostfs.Options) (vfs.Inode, error) {
	fs, err := hostfs.New(r.pool, p, o)
	if err != nil {
		return nil, err
	}
	r.hosts = append(r.hosts, fs)
	r.paths = append(r.paths, HostPath{Path: p, ReadWrite: !o.ReadOnly})
	return fs.Root(), nil
}

// lower returns the read-only tree at the bottom.
func (r *Root) lower(o Options) (vfs.Inode, error) {
	if o.Dir == "" {
		return r.defaultLower(o.Hostname)
	}
	n, err := r.host(o.Dir, hostfs.Options{ReadOnly: true, Static: true})
	if err != nil {
		return nil, fmt.Errorf("rootfs: root directory: %w", err)
	}
	if n.Type() != unix.S_IFDIR {
		return nil, fmt.Errorf("rootfs: root directory %s: %w", o.Dir, unix.ENOTDIR)
	}
	return n, nil
}

// mkdirAll makes a directory and those above it, as the guest's root.
func (r *Root) mkdirAll(c *vfs.Context, p string) error {
	if p == "/" {
		return nil
	}
	if err := r.mkdirAll(c, path.Dir(p)); err != nil {
		return err
	}
	err := r.NS.Mkdir(c, vfs.Path{}, p, 0o755)
	if err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("rootfs: make %s in the guest: %w", p, err)
	}
	return nil
}

func (r *Root) mountTmpfs(c *vfs.Context, at string, q *memfs.Quota, minor uint32, mode uint32) error {
	fs, err := memfs.New(memfs.Options{Quota: q, Dev: unix.Mkdev(0, minor), Mode: mode})
	if err != nil {
		return fmt.Errorf("rootfs: tmpfs for %s: %w", at, err)
	}
	return r.mount(c, at, vfs.Mount{Root: fs.Root(), FSType: "tmpfs", Source: "tmpfs", Flags: vfs.MountNoSuid | vfs.MountNoDev})
}

func (r *Root) mount(c *vfs.Context, at string, m vfs.Mount) error {
	if err := r.NS.Mount(c, vfs.Path{}, at, m); err != nil {
		return fmt.Errorf("rootfs: mount %s on %s: %w", m.Source, at, err)
	}
	return nil
}

// mountDev makes /dev: the memory devices, links into /proc, and shm.
func (r *Root) mountDev(c *vfs.Context, o Options) error {
	fs, err := memfs.New(memfs.Options{Quota: o.Quota, Dev: unix.Mkdev(0, devDev), Mode: 0o755})
	if err != nil {
		return fmt.Errorf("rootfs: /dev: %w", err)
	}
	nodes := synthfs.New(unix.Mkdev(0, devNodes), unix.TMPFS_MAGIC, nodesBudget)
	for name, d := range nodes.MemDevices() {
		fs.Root().Bind(name, d)
	}
	tty := func(c *vfs.Context, _ *synthfs.Device, flags int) (vfs.File, error) {
		if o.Tty == nil {
			return nil, unix.ENXIO
		}
		return o.Tty(c, flags)
	}
	fs.Root().Bind("tty", nodes.NewDevice(synthfs.Perm(0o666), 5, 0, tty))
	m := vfs.Mount{Root: fs.Root(), FSType: "tmpfs", Source: "dev", Flags: vfs.MountNoSuid}
	if err := r.mount(c, "/dev", m); err != nil {
		return err
	}
	for _, l := range []struct{ name, target string }{
		{"fd", "/proc/self/fd"},
		{"stdin", "/proc/self/fd/0"},
		{"stdout", "/proc/self/fd/1"},
		{"stderr", "/proc/self/fd/2"},
	} {
		if err := r.NS.Symlink(c, l.target, vfs.Path{}, "/dev/"+l.name); err != nil {
			return fmt.Errorf("rootfs: link /dev/%s: %w", l.name, err)
		}
	}
	if err := r.mkdirAll(c, "/dev/shm"); err != nil {
		return err
	}
	return r.mountTmpfs(c, "/dev/shm", o.Quota, devShm, 0o1777)
}

// mountHost passes a host path through, making the place for it.
func (r *Root) mountHost(c *vfs.Context, m HostMount) error {
	if !path.IsAbs(m.Guest) {
		return fmt.Errorf("rootfs: mount %s:%s: the guest path must be absolute", m.Host, m.Guest)
	}
	n, err := r.host(m.Host, hostfs.Options{ReadOnly: !m.ReadWrite})
	if err != nil {
		return fmt.Errorf("rootfs: mount %s:%s: %w", m.Host, m.Guest, err)
	}
	guest := path.Clean(m.Guest)
	spec := vfs.Mount{Root: n, FSType: "culvert", Source: m.Host, Flags: vfs.MountNoDev | vfs.MountNoSuid}
	if !m.ReadWrite {
		spec.Flags |= vfs.MountReadOnly
	}
	switch n.Type() {
	case unix.S_IFDIR:
		err = r.mkdirAll(c, guest)
	case unix.S_IFREG:
		err = r.mkdirAll(c, path.Dir(guest))
		if err == nil {
			err = r.touch(c, guest)
		}
	default:
		err = fmt.Errorf("rootfs: mount %s:%s: neither a directory nor a regular file", m.Host, m.Guest)
	}
	if err != nil {
		return err
	}
	return r.mount(c, guest, spec)
}

// touch makes an empty file unless there is one.
func (r *Root) touch(c *vfs.Context, p string) error {
	_, err := r.NS.Mknod(c, vfs.Path{}, p, unix.S_IFREG|0o644, 0)
	if err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("rootfs: make %s in the guest: %w", p, err)
	}
	return nil
}

// show makes a host file visible at its own path, unless that path leads to the
// same file already.
func (r *Root) show(c *vfs.Context, host string) error {
	if !filepath.IsAbs(host) {
		return fmt.Errorf("rootfs: show %s: the path must be absolute", host)
	}
	fi, err := os.Stat(host)
	if err != nil {
		return fmt.Errorf("rootfs: show: %w", err)
	}
	if p, err := r.NS.Walk(c, vfs.Path{}, host, 0); err == nil && p.Inode().Type() == unix.S_IFREG {
		if st, err := r.NS.Stat(p); err == nil && st.Size == fi.Size() && st.Mtime.Nano() == fi.ModTime().UnixNano() {
			return nil
		}
	}
	return r.mountHost(c, HostMount{Host: host, Guest: host})
}
