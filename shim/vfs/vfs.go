// Package vfs is the guest's file tree: names, permissions, mounts and open
// files, in pure Go and without a VM.
//
// Three layers, as in Linux's fs/:
//
//   - [Namespace] owns names. It walks paths one component at a time, follows
//     links against the caller's root, crosses mounts and enforces modes. A
//     [Path] is a place in it (a mount and a directory entry), which callers
//     hold for a working directory, a root, an executable or a mapping.
//   - [Inode] is what a file system implements. It is asked for one component
//     at a time and checks no permissions: the Namespace has done so. The same
//     file is always the same Inode value for as long as anyone holds it, so
//     == is identity, and a page cache, locks or a pipe can be keyed by it.
//   - [File] is an open file without a descriptor number, an offset or status
//     flags: those belong to the open file description above it.
//
// File systems: hostfs (a host directory, read-only or written through), memfs
// (tmpfs, and the same over a read-only lower tree: the overlay), synthfs
// (generated directories and files, the blocks that /proc, /dev and /sys are
// built from). rootfs puts them together into a guest's root.
//
// Every error returned here is a bare syscall.Errno (unix.Errno is the same
// type), ready to be handed to the guest.
//
// Locks. Namespace.mu guards the tree of names; each file system has a mutex of
// its own for its own state. Order: the caller's locks, Namespace.mu, a file
// system's mutex. Namespace.mu is held over Inode's naming calls (Lookup,
// Create, Rename...) and over MagicLink.Resolve, so these must not call back
// into the Namespace; it is not held over Inode.Open, SetAttr and any File
// method, so generators of /proc files may. Pager.Drop is called with no lock
// of this package held.
package vfs

import "golang.org/x/sys/unix"

// Linux's limits (include/uapi/linux/limits.h, include/linux/namei.h).
const (
	NameMax    = 255  // bytes in one component
	PathMax    = 4096 // bytes in a path, its NUL counted
	MaxLinks   = 40   // symbolic links followed in one walk (MAXSYMLINKS)
	PageSize   = 4096 // unit of PageSource
	BlockBytes = 512  // unit of Stat.Blocks
)

// Stat is what stat(2) reports, in Linux's own encodings (Mode with S_IFMT,
// Dev and Rdev as makedev gives them).
type Stat struct {
	Dev, Ino            uint64
	Mode                uint32
	Nlink               uint32
	UID, GID            uint32
	Rdev                uint64
	Size                int64
	Blksize             int64
	Blocks              int64 // 512-byte units
	Atime, Mtime, Ctime unix.Timespec
	Btime               unix.Timespec // zero where the file system has none
}

// Statfs is what statfs(2) reports.
type Statfs struct {
	Type                 int64 // f_type, a *_SUPER_MAGIC
	Bsize                int64
	Blocks, Bfree        uint64
	Bavail, Files, Ffree uint64
	Fsid                 uint64
	Namelen              int64
	Flags                int64 // ST_RDONLY and so on; the Namespace adds the mount's
}

// Inode is a file, directory, link or other object of a file system.
//
// The Namespace checks permissions, name lengths, read-only mounts, sticky bits
// and loops before it calls; an Inode checks only what it alone knows (a
// directory that is not empty, no space left). A name is one component, never
// empty, "." or "..". Methods that make no sense for the object's type answer
// as Linux does: embed [NotDir] for the usual errors.
type Inode interface {
	// Stat reports the attributes. Slow calls to the host are allowed.
	Stat() (Stat, error)
	// Type is the S_IFMT part of the mode, which never changes.
	Type() uint32

	// Lookup finds a child, ENOENT if there is none. It must answer with the
	// same Inode for the same child as long as anybody holds that Inode.
	Lookup(c *Context, name string) (Inode, error)
	// Create makes a regular file, FIFO, socket or (file system permitting)
	// device, by n.Mode's S_IFMT. The name is known to be free.
	Create(c *Context, name string, n CreateAttr) (Inode, error)
	Mkdir(c *Context, name string, n CreateAttr) (Inode, error)
	Symlink(c *Context, name, target string, n CreateAttr) (Inode, error)
	// Link adds a name for an inode of the same file system.
	Link(c *Context, name string, target Inode) error
	Unlink(c *Context, name string) error
	Rmdir(c *Context, name string) error
	// Rename moves a child; flags are RENAME_NOREPLACE and RENAME_EXCHANGE.
	// Both names have been looked up and checked; newDir is of the same file system.
	Rename(c *Context, oldName string, newDir Inode, newName string, flags uint32) error

	// Readlink returns a symbolic link's target.
	Readlink(c *Context) (string, error)
	// SetAttr changes attributes, all or none.
	SetAttr(c *Context, a Attr) error
	// Open opens the object. flags are open(2)'s; O_CREAT, O_EXCL and O_TRUNC
	// have been dealt with. A nil File and nil error say that the object is a
	// rendezvous which the caller builds: a FIFO, by Attach.
	Open(c *Context, flags int) (File, error)
	Statfs() (Statfs, error)

	// Attach returns the value stored under key, storing mk's first: the slot
	// in which others hang what lives as long as the inode (a FIFO's pipe, a
	// bound socket, locks). A nil mk only looks. Detach removes it.
	Attach(key any, mk func() any) any
	Detach(key any)
}

// CreateAttr holds the attributes of an object about to be created: mode with the umask
// applied and set-group-ID inheritance done, owner from FSUID and FSGID.
type CreateAttr struct {
	Mode     uint32
	UID, GID uint32
	Rdev     uint64
}

// Attr is a change of attributes; Valid says which fields count.
type Attr struct {
	Valid        AttrMask
	Mode         uint32 // permission bits, 07777
	UID, GID     uint32
	Size         int64
	Atime, Mtime unix.Timespec
}

// AttrMask is a set of Attr's fields.
type AttrMask uint32

// Fields of Attr. AttrAtime and AttrMtime take the time given; the Now variants
// take the file system's clock.
const (
	AttrMode AttrMask = 1 << iota
	AttrUID
	AttrGID
	AttrSize
	AttrAtime
	AttrMtime
	AttrAtimeNow
	AttrMtimeNow
)

// MagicLink is an Inode that stands for an object and not for a name: the links
// in /proc/PID (exe, cwd, root, fd/N). A walk jumps to what Resolve returns.
// Readlink on such an inode is not called: the Namespace prints the Path.
type MagicLink interface {
	Resolve(c *Context) (Path, error)
}

// Revalidator is a directory Inode whose children change behind the Namespace's
// back: if it answers true, every walk asks Lookup again.
type Revalidator interface {
	Revalidate() bool
}

// Tmpfiler is a directory Inode that can make a file without a name (O_TMPFILE).
type Tmpfiler interface {
	Tmpfile(c *Context, n CreateAttr) (Inode, error)
}

// Pinner is an Inode that keeps data alive while it has no name: an O_PATH
// description pins it as an open file does.
type Pinner interface {
	Pin()
	Unpin()
	// InMemory says that nothing but the VM's memory has the data.
	InMemory() bool
}

// Sealer is an Inode with file seals (memfd_create(2), F_ADD_SEALS).
type Sealer interface {
	Seals() uint32
	AddSeals(seals uint32) error
}

// File is an open file. Offsets are explicit: the open file description keeps
// them. All methods may be called at the same time from several goroutines.
//
// ReadAt returns 0 and no error at the end of the file, as read(2) does, and
// both it and WriteAt may be short without an error. The access mode is the
// caller's to check (EBADF). Embed [FileBase] for the
// answers that most objects give.
type File interface {
	Inode() Inode
	// Kind says how offsets behave.
	Kind() Kind
	ReadAt(p []byte, off int64) (int, error)
	WriteAt(p []byte, off int64) (int, error)
	// Append writes at the end, atomically with respect to other writers, and
	// returns the offset after the last byte.
	Append(p []byte) (n int, end int64, err error)
	// Readdir calls emit for each entry from cookie pos on ("." first, at 0)
	// until emit answers false. A Dirent's Next is the cookie to go on from; it
	// stays good when entries come and go (getdents64(2), telldir(3)).
	Readdir(c *Context, pos int64, emit func(Dirent) bool) error
	// SeekData and SeekHole answer lseek's SEEK_DATA and SEEK_HOLE.
	SeekData(off int64) (int64, error)
	SeekHole(off int64) (int64, error)
	// Truncate sets the size (ftruncate(2)).
	Truncate(size int64) error
	// Allocate is fallocate(2): mode is FALLOC_FL_*.
	Allocate(mode uint32, off, n int64) error
	// Sync is fsync(2), or fdatasync(2) if dataOnly.
	Sync(dataOnly bool) error
	// Release is called once, when the last reference goes.
	Release()
}

// Kind says how an open file's offset behaves.
type Kind int

const (
	Seekable Kind = iota // has an offset
	Stream               // lseek answers ESPIPE; offsets passed are ignored
	NullSeek             // lseek succeeds and answers 0 (memory devices such as /dev/null)
)

// Poller is a File whose readiness changes. A File without it is always ready,
// as regular files are. Answers are POLL* bits.
type Poller interface {
	Readiness() uint32
}

// Ioctler is a File with ioctls. arg is the guest's argument and mem reaches the
// guest's memory; unknown requests are ENOTTY.
type Ioctler interface {
	Ioctl(c *Context, req uint32, arg uint64, mem UserMemory) (int64, error)
}

// UserMemory is what an ioctl needs of the caller's memory. Errors are EFAULT.
type UserMemory interface {
	CopyIn(dst []byte, addr uint64) error
	CopyOut(addr uint64, src []byte) error
}

// Dirent is one directory entry.
type Dirent struct {
	Name string
	Ino  uint64
	Dev  uint64 // of the entry, if not the directory's; 0 if it is
	Type uint32 // S_IFMT bits of the mode; 0 if unknown (DT_UNKNOWN)
	Next int64  // cookie of the entry after this one
}

// PageSource is an Inode whose contents can be mapped. The page cache keys its
// frames by (PageKey, index) and shares them between processes.
//
// In a memfs file the frame BECOMES the page: MapPage moves the bytes in, and
// from then on ReadAt and WriteAt work on the frame itself, so that read(2),
// write(2) and MAP_SHARED mappings agree without further calls. A page that
// still lies in a lower tree or on the host is copied into the frame instead.
// The cache need not know which is which:
//
//   - a frame got with write false is never written to (map it read-only, or
//     copy on write); to write, call again with write true, same frame or not;
//   - a frame got with write true may be written to, and if it has been, is
//     handed to WritePage on msync(2) and before it is taken away;
//   - before a frame is reused for something else, UnmapPage, unless Drop said so.
type PageSource interface {
	// PageKey identifies the contents: the Inode itself.
	PageKey() any
	// MapPage puts the contents of page idx into frame. A page wholly past the
	// end is EFAULT (the guest gets SIGBUS). Per page, the cache has one frame.
	MapPage(idx int64, frame *[PageSize]byte, write bool) error
	// UnmapPage ends the use of the frame for page idx; its contents are saved.
	UnmapPage(idx int64, frame *[PageSize]byte)
	// WritePage stores a dirty frame. It does nothing in memory.
	WritePage(idx int64, frame *[PageSize]byte) error
	// SetPager registers the cache, once, before MapPage.
	SetPager(p Pager)
}

// Pager is the page cache, as seen from a file system. Pages first to last are
// inclusive; most of them may well not be cached. Called without locks.
type Pager interface {
	// Drop says that the frames of these pages no longer hold the file's
	// contents: it was truncated, punched or copied up. The cache must unmap
	// them everywhere and may reuse them, unsaved; the next fault calls MapPage.
	Drop(key any, first, last int64)
	// Flush asks for WritePage on dirty frames: a host file is about to be read
	// past the cache.
	Flush(key any, first, last int64)
	// Update says that bytes were written to a host file past the cache: frames
	// that hold them are to be patched.
	Update(key any, off int64, p []byte)
}
