package synthfs

import (
	"sync"

	"golang.org/x/sys/unix"

	"culvert/shim/vfs"
)

// maxWrite bounds what a generated file takes in one write, as procfs does.
const maxWrite = vfs.PageSize

// File is a file with generated contents. They are made anew by each read at
// offset 0 and kept for the reads that follow, so that a reader sees one state
// and lseek(fd, 0) sees the next (fs/seq_file.c).
type File struct {
	inode
	gen   func(c *vfs.Context) ([]byte, error)
	write func(c *vfs.Context, p []byte) error
}

// NewFile makes a generated file. write takes one write's bytes; nil if it may
// not be written. gen and write run on the caller's goroutine without locks of
// the vfs, with the Context of whoever opened the file.
func (fs *FS) NewFile(a Attr, gen func(*vfs.Context) ([]byte, error), write func(*vfs.Context, []byte) error) *File {
	return &File{inode: fs.inode(unix.S_IFREG, a), gen: gen, write: write}
}

// SetAttr also takes truncation, which `echo 1 >file` asks for.
func (f *File) SetAttr(c *vfs.Context, a vfs.Attr) error {
	if a.Valid&vfs.AttrSize != 0 {
		if f.write == nil {
			return unix.EACCES
		}
		a.Valid &^= vfs.AttrSize
	}
	return f.inode.SetAttr(c, a)
}

// Open opens the file.
func (f *File) Open(c *vfs.Context, flags int) (vfs.File, error) {
	if flags&unix.O_ACCMODE != unix.O_RDONLY && f.write == nil {
		return nil, unix.EACCES
	}
	return &openFile{f: f, c: *c}, nil
}

type openFile struct {
	vfs.FileBase
	f *File
	c vfs.Context // the opener's

	mu   sync.Mutex
	text []byte
	made bool
}

func (o *openFile) Inode() vfs.Inode { return o.f }
func (o *openFile) Kind() vfs.Kind   { return vfs.Seekable }

// ReadAt reads, generating the contents at offset 0.
func (o *openFile) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, unix.EINVAL
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if off == 0 || !o.made {
		text, err := o.f.gen(&o.c)
		if err != nil {
			return 0, err
		}
		if err := o.f.fs.hold(int64(len(text) - len(o.text))); err != nil {
			return 0, err
		}
		o.text, o.made = text, true
	}
	if off >= int64(len(o.text)) {
		return 0, nil
	}
	return copy(p, o.text[off:]), nil
}

// WriteAt hands one write to the builder.
func (o *openFile) WriteAt(p []byte, off int64) (int, error) {
	if o.f.write == nil {
		return 0, unix.EIO
	}
	if len(p) > maxWrite {
		return 0, unix.EINVAL
	}
	if err := o.f.write(&o.c, p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Append is a write: there is no end.
func (o *openFile) Append(p []byte) (int, int64, error) {
	n, err := o.WriteAt(p, 0)
	return n, int64(n), err
}

// Truncate is taken and ignored where writing is possible.
func (o *openFile) Truncate(int64) error {
	if o.f.write == nil {
		return unix.EINVAL
	}
	return nil
}

// Release gives the contents back.
func (o *openFile) Release() {
	o.mu.Lock()
	defer o.mu.Unlock()
	// Giving back cannot exceed the budget.
	_ = o.f.fs.hold(-int64(len(o.text)))
	o.text = nil
}

// Link is a symbolic link with computed text (/proc/self).
type Link struct {
	inode
	text func(c *vfs.Context) (string, error)
}

// NewLink makes a link.
func (fs *FS) NewLink(a Attr, text func(*vfs.Context) (string, error)) *Link {
	a.Mode = 0o777
	return &Link{inode: fs.inode(unix.S_IFLNK, a), text: text}
}

// Readlink computes the text.
func (l *Link) Readlink(c *vfs.Context) (string, error) { return l.text(c) }

// Open is never reached by a walk that follows.
func (l *Link) Open(*vfs.Context, int) (vfs.File, error) { return nil, unix.ELOOP }

// Magic is a link to an object (/proc/PID/exe, fd/N).
type Magic struct {
	inode
	to func(c *vfs.Context) (vfs.Path, error)
}

// NewMagic makes a magic link; a.Mode is what /proc/PID/fd shows of access modes.
// to is called with the Namespace locked and must not call into it.
func (fs *FS) NewMagic(a Attr, to func(*vfs.Context) (vfs.Path, error)) *Magic {
	return &Magic{inode: fs.inode(unix.S_IFLNK, a), to: to}
}

// Resolve returns the object's place.
func (m *Magic) Resolve(c *vfs.Context) (vfs.Path, error) { return m.to(c) }

// Open is never reached by a walk that follows.
func (m *Magic) Open(*vfs.Context, int) (vfs.File, error) { return nil, unix.ELOOP }

// Device is a device node.
type Device struct {
	inode
	open func(c *vfs.Context, d *Device, flags int) (vfs.File, error)
}

// NewDevice makes a character device.
func (fs *FS) NewDevice(a Attr, major, minor uint32, open func(*vfs.Context, *Device, int) (vfs.File, error)) *Device {
	d := &Device{inode: fs.inode(unix.S_IFCHR, a), open: open}
	d.rdev = unix.Mkdev(major, minor)
	return d
}

// Open opens the device.
func (d *Device) Open(c *vfs.Context, flags int) (vfs.File, error) { return d.open(c, d, flags) }
