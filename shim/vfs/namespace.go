package vfs

import (
	"sync"

	"golang.org/x/sys/unix"
)

// Namespace is a mount tree and the names in it.
type Namespace struct {
	mu     sync.Mutex
	root   *mount
	mounts map[mountKey]*mount
	order  []*mount // in the order of mounting
	nextID int
	anon   *mount // home of inodes without a name
	ring   ring
}

// WalkFlags say how Walk ends.
type WalkFlags uint32

const (
	NoFollow  WalkFlags = 1 << iota // stop at a link in the last component (AT_SYMLINK_NOFOLLOW)
	EmptyPath                       // "" is the place itself (AT_EMPTY_PATH)
	Directory                       // the result must be a directory
)

// How is an open's flags (O_*), mode (before the umask) and openat2(2)'s RESOLVE_* set.
type How struct {
	Flags   int
	Mode    uint32
	Resolve uint64
}

// Opened is what Open found or made. File is nil for a FIFO, which the caller
// opens itself (Path.Inode().Attach); O_PATH gives a File that answers EBADF.
type Opened struct {
	Path    Path
	File    File
	Created bool
}

func New(root Mount) *Namespace { return nil }

// at is where relative names start; the zero Path means c.Cwd.
func (ns *Namespace) Root() Path                                            { return Path{} }
func (ns *Namespace) Mount(c *Context, at Path, name string, m Mount) error { return unix.ENOSYS }
func (ns *Namespace) Mounts(c *Context) []MountInfo                         { return nil }
func (ns *Namespace) Anonymous(name string, i Inode) Path                   { return Path{} }
func (ns *Namespace) Walk(c *Context, at Path, name string, f WalkFlags) (Path, error) {
	return Path{}, unix.ENOSYS
}
func (ns *Namespace) Open(c *Context, at Path, name string, how How) (Opened, error) {
	return Opened{}, unix.ENOSYS
}

// OpenPath opens a place already found (exec, name_to_handle); checks permissions unless c is nil.
func (ns *Namespace) OpenPath(c *Context, p Path, flags int) (File, error)      { return nil, unix.ENOSYS }
func (ns *Namespace) Mkdir(c *Context, at Path, name string, mode uint32) error { return unix.ENOSYS }
func (ns *Namespace) Mknod(c *Context, at Path, name string, mode uint32, dev uint64) (Path, error) {
	return Path{}, unix.ENOSYS
}
func (ns *Namespace) Symlink(c *Context, target string, at Path, name string) error {
	return unix.ENOSYS
}

// Link: flags AT_SYMLINK_FOLLOW, AT_EMPTY_PATH.
func (ns *Namespace) Link(c *Context, oldAt Path, oldName string, newAt Path, newName string, flags int) error {
	return unix.ENOSYS
}

// Unlink: flags AT_REMOVEDIR.
func (ns *Namespace) Unlink(c *Context, at Path, name string, flags int) error { return unix.ENOSYS }

// Rename: flags RENAME_NOREPLACE, RENAME_EXCHANGE.
func (ns *Namespace) Rename(c *Context, oldAt Path, oldName string, newAt Path, newName string, flags uint32) error {
	return unix.ENOSYS
}
func (ns *Namespace) Readlink(c *Context, at Path, name string) (string, error) {
	return "", unix.ENOSYS
}
func (ns *Namespace) Stat(p Path) (Stat, error)                   { return Stat{}, unix.ENOSYS }
func (ns *Namespace) Statfs(p Path) (Statfs, error)               { return Statfs{}, unix.ENOSYS }
func (ns *Namespace) Chmod(c *Context, p Path, mode uint32) error { return unix.ENOSYS }

// Chown: 0xffffffff leaves an id alone.
func (ns *Namespace) Chown(c *Context, p Path, uid, gid uint32) error { return unix.ENOSYS }

// Utimens: as utimensat(2), UTIME_NOW and UTIME_OMIT in Nsec; nil is now, both.
func (ns *Namespace) Utimens(c *Context, p Path, t *[2]unix.Timespec) error { return unix.ENOSYS }

// Truncate is truncate(2) on a place; ftruncate is File.Truncate.
func (ns *Namespace) Truncate(c *Context, p Path, size int64) error { return unix.ENOSYS }

// Access: mode R_OK|W_OK|X_OK; real says to use the real ids (access(2)) and not the effective ones.
func (ns *Namespace) Access(c *Context, p Path, mode uint32, real bool) error { return unix.ENOSYS }

// CheckDir: p may be a working directory or root (chdir(2)).
func (ns *Namespace) CheckDir(c *Context, p Path) error { return unix.ENOSYS }

// CheckExec: p is a regular file that may be executed: EACCES else.
func (ns *Namespace) CheckExec(c *Context, p Path) error { return unix.ENOSYS }

// Getcwd is getcwd(2): ENOENT if deleted.
func (ns *Namespace) Getcwd(c *Context) (string, error) { return "", unix.ENOSYS }

// Name prints a place as /proc does: " (deleted)" at the end where the name is gone.
func (ns *Namespace) Name(root, p Path) string { return "" }
func (ns *Namespace) Getxattr(c *Context, p Path, name string) ([]byte, error) {
	return nil, unix.ENOTSUP
}
func (ns *Namespace) Setxattr(c *Context, p Path, name string, v []byte, flags int) error {
	return unix.ENOTSUP
}
func (ns *Namespace) Listxattr(c *Context, p Path) ([]string, error)    { return nil, nil }
func (ns *Namespace) Removexattr(c *Context, p Path, name string) error { return unix.ENOTSUP }
