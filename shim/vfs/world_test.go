package vfs_test

import (
	"fmt"
	"os"
	"runtime"
	"sort"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"culvert/shim/vfs"
)

// world is a file tree and one process in it, with a few descriptors. Linux and
// the vfs each make one, and must not be told apart.
type world interface {
	become(user int)
	open(slot int, name string, how vfs.How) error
	close(slot int)
	pread(slot int, off int64, n int) ([]byte, error)
	pwrite(slot int, off int64, p []byte) (int, error)
	append(slot int, p []byte) (int, error)
	ftruncate(slot int, size int64) error
	fallocate(slot int, mode uint32, off, n int64) error
	fstat(slot int) (string, error)
	readdir(slot int) ([]string, error)

	mkdir(name string, mode uint32) error
	mknod(name string, mode uint32) error
	symlink(target, name string) error
	link(old, new string, flags int) error
	unlink(name string, flags int) error
	rename(old, new string, flags uint32) error
	readlink(name string) (string, error)
	stat(name string, follow bool) (string, error)
	ino(name string) uint64
	chmod(name string, mode uint32) error
	chown(name string, uid, gid int, follow bool) error
	utimens(name string, at, mt unix.Timespec) error
	truncate(name string, size int64) error
	access(name string, mode uint32) error
	chdir(name string) error
	getcwd() (string, error)
}

// users are whom become turns the process into. It keeps its supplementary
// groups, those of the test's process.
var users = [...]struct{ uid, gid uint32 }{{0, 0}, {1000, 1000}, {1001, 2000}}

const slots = 2

// statString is what the two worlds compare of a stat. A directory's size is the
// file system's own affair.
func statString(mode uint32, nlink uint64, uid, gid uint32, size int64) string {
	if mode&unix.S_IFMT == unix.S_IFDIR {
		size = 0
	}
	return fmt.Sprintf("%o nlink=%d %d:%d size=%d", mode, nlink, uid, gid, size)
}

// fataler is what *testing.T and *rapid.T share.
type fataler interface {
	Fatalf(format string, args ...any)
}

// linux is the host's kernel: a thread of its own with its own root directory,
// file system user and umask.
type linux struct {
	do  chan func()
	fds [slots]int
}

func newLinux(t fataler, root string) *linux {
	l := &linux{do: make(chan func())}
	for i := range l.fds {
		l.fds[i] = -1
	}
	ready := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		err := unix.Unshare(unix.CLONE_FS)
		if err == nil {
			err = unix.Chroot(root)
		}
		if err == nil {
			err = unix.Chdir("/")
		}
		unix.Umask(0o022)
		ready <- err
		for f := range l.do {
			f()
		}
	}()
	if err := <-ready; err != nil {
		t.Fatalf("a root directory for one thread: %v", err)
	}
	return l
}

func (l *linux) end() {
	for i := range l.fds {
		l.close(i)
	}
	close(l.do)
}

// call runs f on the thread.
func call[T any](l *linux, f func() T) T {
	done := make(chan T)
	l.do <- func() { done <- f() }
	return <-done
}

func (l *linux) become(user int) {
	u := users[user]
	call(l, func() error {
		unix.RawSyscall(unix.SYS_SETFSGID, uintptr(u.gid), 0, 0)
		unix.RawSyscall(unix.SYS_SETFSUID, uintptr(u.uid), 0, 0)
		return nil
	})
}

func (l *linux) open(slot int, name string, how vfs.How) error {
	l.close(slot)
	return call(l, func() error {
		flags := how.Flags | unix.O_NONBLOCK | unix.O_CLOEXEC
		fd, err := -1, error(nil)
		if how.Resolve == 0 {
			fd, err = unix.Openat(unix.AT_FDCWD, name, flags, how.Mode)
		} else {
			fd, err = unix.Openat2(unix.AT_FDCWD, name, &unix.OpenHow{
				Flags: uint64(flags), Mode: uint64(how.Mode), Resolve: how.Resolve,
			})
		}
		if err != nil {
			return err
		}
		l.fds[slot] = fd
		return nil
	})
}

func (l *linux) close(slot int) {
	if l.fds[slot] >= 0 {
		unix.Close(l.fds[slot])
		l.fds[slot] = -1
	}
}

func (l *linux) pread(slot int, off int64, n int) ([]byte, error) {
	p := make([]byte, n)
	n, err := unix.Pread(l.fds[slot], p, off)
	return p[:max(n, 0)], err
}
func (l *linux) pwrite(slot int, off int64, p []byte) (int, error) {
	var n int
	err := call(l, func() (err error) { n, err = unix.Pwrite(l.fds[slot], p, off); return })
	return n, err
}
func (l *linux) append(slot int, p []byte) (int, error) {
	var n int
	err := call(l, func() (err error) {
		n, err = unix.Pwritev2(l.fds[slot], [][]byte{p}, 0, unix.RWF_APPEND)
		return
	})
	return n, err
}
func (l *linux) ftruncate(slot int, size int64) error {
	return call(l, func() error { return unix.Ftruncate(l.fds[slot], size) })
}
func (l *linux) fallocate(slot int, mode uint32, off, n int64) error {
	return call(l, func() error { return unix.Fallocate(l.fds[slot], mode, off, n) })
}
func (l *linux) fstat(slot int) (string, error) {
	var st unix.Stat_t
	if err := unix.Fstat(l.fds[slot], &st); err != nil {
		return "", err
	}
	return statString(st.Mode, st.Nlink, st.Uid, st.Gid, st.Size), nil
}
func (l *linux) readdir(slot int) ([]string, error) {
	if _, err := unix.Seek(l.fds[slot], 0, 0); err != nil {
		return nil, err
	}
	var out []string
	buf := make([]byte, 4096)
	for {
		n, err := unix.Getdents(l.fds[slot], buf)
		if err != nil || n == 0 {
			sort.Strings(out)
			return out, err
		}
		for b := buf[:n]; len(b) > 0; {
			size := int(b[16]) | int(b[17])<<8
			name, _, _ := strings.Cut(string(b[19:size]), "\x00")
			out = append(out, fmt.Sprintf("%s %o", name, uint32(b[18])<<12))
			b = b[size:]
		}
	}
}
func (l *linux) mkdir(name string, mode uint32) error {
	return call(l, func() error { return unix.Mkdir(name, mode) })
}
func (l *linux) mknod(name string, mode uint32) error {
	return call(l, func() error { return unix.Mknod(name, mode, 0) })
}
func (l *linux) symlink(target, name string) error {
	return call(l, func() error { return unix.Symlink(target, name) })
}
func (l *linux) link(old, new string, flags int) error {
	return call(l, func() error { return unix.Linkat(unix.AT_FDCWD, old, unix.AT_FDCWD, new, flags) })
}
func (l *linux) unlink(name string, flags int) error {
	return call(l, func() error { return unix.Unlinkat(unix.AT_FDCWD, name, flags) })
}
func (l *linux) rename(old, new string, flags uint32) error {
	return call(l, func() error { return unix.Renameat2(unix.AT_FDCWD, old, unix.AT_FDCWD, new, uint(flags)) })
}
func (l *linux) readlink(name string) (string, error) {
	buf := make([]byte, 4096)
	n := 0
	err := call(l, func() (err error) { n, err = unix.Readlink(name, buf); return })
	return string(buf[:max(n, 0)]), err
}
func (l *linux) lstat(name string, follow bool) (unix.Stat_t, error) {
	var st unix.Stat_t
	flags := 0
	if !follow {
		flags = unix.AT_SYMLINK_NOFOLLOW
	}
	err := call(l, func() error { return unix.Fstatat(unix.AT_FDCWD, name, &st, flags) })
	return st, err
}
func (l *linux) stat(name string, follow bool) (string, error) {
	st, err := l.lstat(name, follow)
	if err != nil {
		return "", err
	}
	return statString(st.Mode, st.Nlink, st.Uid, st.Gid, st.Size), nil
}
func (l *linux) ino(name string) uint64 { st, _ := l.lstat(name, false); return st.Ino }
func (l *linux) chmod(name string, mode uint32) error {
	return call(l, func() error { return unix.Fchmodat(unix.AT_FDCWD, name, mode, 0) })
}
func (l *linux) chown(name string, uid, gid int, follow bool) error {
	flags := 0
	if !follow {
		flags = unix.AT_SYMLINK_NOFOLLOW
	}
	return call(l, func() error { return unix.Fchownat(unix.AT_FDCWD, name, uid, gid, flags) })
}
func (l *linux) utimens(name string, at, mt unix.Timespec) error {
	return call(l, func() error { return unix.UtimesNanoAt(unix.AT_FDCWD, name, []unix.Timespec{at, mt}, 0) })
}
func (l *linux) truncate(name string, size int64) error {
	return call(l, func() error { return unix.Truncate(name, size) })
}
func (l *linux) access(name string, mode uint32) error {
	return call(l, func() error { return unix.Faccessat2(unix.AT_FDCWD, name, mode, unix.AT_EACCESS) })
}
func (l *linux) chdir(name string) error { return call(l, func() error { return unix.Chdir(name) }) }
func (l *linux) getcwd() (string, error) {
	var s string
	err := call(l, func() (err error) { s, err = unix.Getwd(); return })
	return s, err
}

// guest is the vfs, with as much of a system-call layer as it takes.
type guest struct {
	ns     *vfs.Namespace
	c      *vfs.Context
	fds    [slots]*desc
	groups []uint32
}

type desc struct {
	p     vfs.Path
	f     vfs.File // nil for a FIFO
	flags int
}

func newGuest(root vfs.Mount) *guest {
	ns := vfs.New(root)
	var groups []uint32
	if gs, err := unix.Getgroups(); err == nil {
		for _, id := range gs {
			groups = append(groups, uint32(id))
		}
	}
	return &guest{ns: ns, groups: groups, c: &vfs.Context{Cred: vfs.NewCred(0, 0), Root: ns.Root(), Cwd: ns.Root(), Umask: 0o022}}
}

func (g *guest) end() {
	for i := range g.fds {
		g.close(i)
	}
}

func (g *guest) become(user int) {
	u := users[user]
	g.c.Cred = vfs.NewCred(u.uid, u.gid, g.groups...)
}

func (g *guest) open(slot int, name string, how vfs.How) error {
	g.close(slot)
	flags := how.Flags
	o, err := g.ns.Open(g.c, vfs.Path{}, name, how)
	if err != nil {
		return err
	}
	if o.File == nil && flags&unix.O_ACCMODE == unix.O_WRONLY {
		return unix.ENXIO // a FIFO without readers
	}
	g.fds[slot] = &desc{o.Path, o.File, flags}
	return nil
}

func (g *guest) close(slot int) {
	if d := g.fds[slot]; d != nil && d.f != nil {
		d.f.Release()
	}
	g.fds[slot] = nil
}

// file returns a slot's file if it is open in a way that allows the access.
func (g *guest) file(slot int, write bool) (vfs.File, error) {
	d := g.fds[slot]
	bad := unix.O_WRONLY
	if write {
		bad = unix.O_RDONLY
	}
	if d == nil || d.flags&unix.O_PATH != 0 || d.flags&unix.O_ACCMODE == bad || d.flags&unix.O_ACCMODE == 3 {
		return nil, unix.EBADF
	}
	if d.f == nil {
		return nil, unix.ESPIPE
	}
	return d.f, nil
}

func (g *guest) pread(slot int, off int64, n int) ([]byte, error) {
	f, err := g.file(slot, false)
	if err != nil {
		return nil, err
	}
	p := make([]byte, n)
	n, err = f.ReadAt(p, off)
	return p[:n], err
}
func (g *guest) pwrite(slot int, off int64, p []byte) (int, error) {
	f, err := g.file(slot, true)
	if err != nil {
		return -1, err
	}
	n, err := f.WriteAt(p, off)
	if err != nil {
		n = -1
	}
	return n, err
}
func (g *guest) append(slot int, p []byte) (int, error) {
	f, err := g.file(slot, true)
	if err != nil {
		return -1, err
	}
	n, _, err := f.Append(p)
	return n, err
}
func (g *guest) ftruncate(slot int, size int64) error {
	d := g.fds[slot]
	if d == nil || d.flags&unix.O_PATH != 0 {
		return unix.EBADF
	}
	f, err := g.file(slot, true)
	if err != nil || d.p.Inode().Type() != unix.S_IFREG {
		return unix.EINVAL
	}
	return f.Truncate(size)
}
func (g *guest) fallocate(slot int, mode uint32, off, n int64) error {
	if d := g.fds[slot]; d != nil && d.flags&unix.O_PATH == 0 && (off < 0 || n <= 0) {
		return unix.EINVAL
	}
	f, err := g.file(slot, true)
	if err != nil {
		return err
	}
	return f.Allocate(mode, off, n)
}
func (g *guest) fstat(slot int) (string, error) {
	d := g.fds[slot]
	if d == nil {
		return "", unix.EBADF
	}
	return g.statPath(d.p)
}
func (g *guest) statPath(p vfs.Path) (string, error) {
	st, err := g.ns.Stat(p)
	if err != nil {
		return "", err
	}
	return statString(st.Mode, uint64(st.Nlink), st.UID, st.GID, st.Size), nil
}
func (g *guest) readdir(slot int) ([]string, error) {
	d := g.fds[slot]
	if d == nil || d.flags&unix.O_PATH != 0 {
		return nil, unix.EBADF
	}
	if d.f == nil {
		return nil, unix.ESPIPE
	}
	var out []string
	err := d.f.Readdir(g.c, 0, func(e vfs.Dirent) bool {
		out = append(out, fmt.Sprintf("%s %o", e.Name, e.Type))
		return true
	})
	sort.Strings(out)
	return out, err
}
func (g *guest) mkdir(name string, mode uint32) error {
	return g.ns.Mkdir(g.c, vfs.Path{}, name, mode)
}
func (g *guest) mknod(name string, mode uint32) error {
	_, err := g.ns.Mknod(g.c, vfs.Path{}, name, mode, 0)
	return err
}
func (g *guest) symlink(target, name string) error {
	return g.ns.Symlink(g.c, target, vfs.Path{}, name)
}
func (g *guest) link(old, new string, flags int) error {
	return g.ns.Link(g.c, vfs.Path{}, old, vfs.Path{}, new, flags)
}
func (g *guest) unlink(name string, flags int) error {
	return g.ns.Unlink(g.c, vfs.Path{}, name, flags)
}
func (g *guest) rename(old, new string, flags uint32) error {
	return g.ns.Rename(g.c, vfs.Path{}, old, vfs.Path{}, new, flags)
}
func (g *guest) readlink(name string) (string, error) {
	if name == "" {
		return "", unix.ENOENT
	}
	return g.ns.Readlink(g.c, vfs.Path{}, name)
}
func (g *guest) walk(name string, follow bool) (vfs.Path, error) {
	var f vfs.WalkFlags
	if !follow {
		f = vfs.NoFollow
	}
	return g.ns.Walk(g.c, vfs.Path{}, name, f)
}
func (g *guest) stat(name string, follow bool) (string, error) {
	p, err := g.walk(name, follow)
	if err != nil {
		return "", err
	}
	return g.statPath(p)
}
func (g *guest) ino(name string) uint64 {
	p, err := g.walk(name, false)
	if err != nil {
		return 0
	}
	st, _ := g.ns.Stat(p)
	return st.Ino
}

// on walks and then calls do.
func (g *guest) on(name string, follow bool, do func(vfs.Path) error) error {
	p, err := g.walk(name, follow)
	if err != nil {
		return err
	}
	return do(p)
}
func (g *guest) chmod(name string, mode uint32) error {
	return g.on(name, true, func(p vfs.Path) error { return g.ns.Chmod(g.c, p, mode) })
}
func (g *guest) chown(name string, uid, gid int, follow bool) error {
	return g.on(name, follow, func(p vfs.Path) error { return g.ns.Chown(g.c, p, uint32(uid), uint32(gid)) })
}
func (g *guest) utimens(name string, at, mt unix.Timespec) error {
	return g.on(name, true, func(p vfs.Path) error {
		return g.ns.Utimens(g.c, p, &[2]unix.Timespec{at, mt})
	})
}
func (g *guest) truncate(name string, size int64) error {
	return g.on(name, true, func(p vfs.Path) error { return g.ns.Truncate(g.c, p, size) })
}
func (g *guest) access(name string, mode uint32) error {
	return g.on(name, true, func(p vfs.Path) error { return g.ns.Access(g.c, p, mode, false) })
}
func (g *guest) chdir(name string) error {
	return g.on(name, true, func(p vfs.Path) error {
		if err := g.ns.CheckDir(g.c, p); err != nil {
			return err
		}
		g.c.Cwd = p
		return nil
	})
}
func (g *guest) getcwd() (string, error) { return g.ns.Getcwd(g.c) }

// needRoot skips a test that needs chroot and setfsuid.
func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("comparing with Linux needs root, for chroot and setfsuid")
	}
}
