package vfs

import (
	"sync"

	"golang.org/x/sys/unix"
)

// Attachments implements Inode's Attach and Detach; the zero value is empty.
type Attachments struct {
	mu sync.Mutex
	m  map[any]any
}

// Attach returns the value under key, making it first if need be.
func (a *Attachments) Attach(key any, mk func() any) any {
	a.mu.Lock()
	defer a.mu.Unlock()
	if v, ok := a.m[key]; ok {
		return v
	}
	if mk == nil {
		return nil
	}
	if a.m == nil {
		a.m = make(map[any]any, 1)
	}
	v := mk()
	a.m[key] = v
	return v
}

// Detach removes the value under key.
func (a *Attachments) Detach(key any) {
	a.mu.Lock()
	delete(a.m, key)
	a.mu.Unlock()
}

// NotDir gives the answers of an object that is neither a directory nor a link
// and cannot be changed. Embed it and replace what the object can do; Stat, Type
// and Open are always the object's own.
type NotDir struct{ Attachments }

func (*NotDir) Lookup(*Context, string) (Inode, error)             { return nil, unix.ENOTDIR }
func (*NotDir) Create(*Context, string, CreateAttr) (Inode, error) { return nil, unix.ENOTDIR }
func (*NotDir) Mkdir(*Context, string, CreateAttr) (Inode, error)  { return nil, unix.ENOTDIR }
func (*NotDir) Link(*Context, string, Inode) error                 { return unix.ENOTDIR }
func (*NotDir) Unlink(*Context, string) error                      { return unix.ENOTDIR }
func (*NotDir) Rmdir(*Context, string) error                       { return unix.ENOTDIR }
func (*NotDir) Readlink(*Context) (string, error)                  { return "", unix.EINVAL }
func (*NotDir) SetAttr(*Context, Attr) error                       { return unix.EPERM }
func (*NotDir) Statfs() (Statfs, error)                            { return Statfs{Bsize: PageSize, Namelen: NameMax}, nil }
func (*NotDir) Symlink(*Context, string, string, CreateAttr) (Inode, error) {
	return nil, unix.ENOTDIR
}
func (*NotDir) Rename(*Context, string, Inode, string, uint32) error {
	return unix.ENOTDIR
}

// FileBase gives the answers of a file that can do nothing but be held open.
// Inode and Kind are always the object's own.
type FileBase struct{}

func (FileBase) ReadAt([]byte, int64) (int, error)                { return 0, unix.EINVAL }
func (FileBase) WriteAt([]byte, int64) (int, error)               { return 0, unix.EINVAL }
func (FileBase) Append([]byte) (int, int64, error)                { return 0, 0, unix.EINVAL }
func (FileBase) Readdir(*Context, int64, func(Dirent) bool) error { return unix.ENOTDIR }
func (FileBase) SeekData(int64) (int64, error)                    { return 0, unix.EINVAL }
func (FileBase) SeekHole(int64) (int64, error)                    { return 0, unix.EINVAL }
func (FileBase) Truncate(int64) error                             { return unix.EINVAL }
func (FileBase) Allocate(uint32, int64, int64) error              { return unix.ENODEV }
func (FileBase) Sync(bool) error                                  { return unix.EINVAL }
func (FileBase) Release()                                         {}
