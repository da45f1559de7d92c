package memfs

import (
	"sync"

	"golang.org/x/sys/unix"

	"culvert/shim/vfs"
)

// Cookies of a directory: 0 is ".", 1 is "..", then come the entries of the
// lower directory by their index in its listing, then the directory's own by
// seq. Each names the entry it stands before, so it stays good when others go.
const (
	cookieLower = 2
	cookieOwn   = 1 << 32
)

// maxListing bounds what is read of a lower directory.
const maxListing = 1 << 20

// lowerList reads the lower directory's entries, "." and ".." left out.
// Preconditions: fs.mu is held.
func (d *dir) lowerList(c *vfs.Context) ([]vfs.Dirent, error) {
	if d.lower == nil || d.listing != nil {
		return d.listing, nil
	}
	f, err := d.lower.Open(c, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return nil, err
	}
	defer f.Release()
	list := []vfs.Dirent{}
	err = f.Readdir(c, 0, func(e vfs.Dirent) bool {
		if e.Name != "." && e.Name != ".." {
			list = append(list, e)
		}
		return len(list) <= maxListing
	})
	if err != nil {
		return nil, err
	}
	if len(list) > maxListing {
		return nil, unix.ENOMEM
	}
	if d.readers > 0 {
		d.listing = list
	}
	return list, nil
}

// dirFile is an open directory.
type dirFile struct {
	vfs.FileBase
	i *Inode

	mu      sync.Mutex
	reading bool // counted in dir.readers
}

func (f *dirFile) Inode() vfs.Inode { return f.i }
func (f *dirFile) Kind() vfs.Kind   { return vfs.Seekable }
func (f *dirFile) Sync(bool) error  { return nil }

func (f *dirFile) ReadAt([]byte, int64) (int, error) { return 0, unix.EISDIR }

// Release forgets the lower listing with its last reader.
func (f *dirFile) Release() {
	fs := f.i.fs
	fs.mu.Lock()
	defer fs.mu.Unlock()
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.reading {
		return
	}
	f.reading = false
	if d := f.i.dir; d.readers > 0 {
		if d.readers--; d.readers == 0 {
			d.listing = nil
		}
	}
}

// readdirBatch entries are gathered under the lock at a time.
const readdirBatch = 128

// Readdir lists the directory.
func (f *dirFile) Readdir(c *vfs.Context, pos int64, emit func(vfs.Dirent) bool) error {
	for {
		batch, err := f.batch(c, pos)
		if err != nil || len(batch) == 0 {
			return err
		}
		for _, e := range batch {
			if !emit(e) {
				return nil
			}
			pos = e.Next
		}
	}
}

// batch returns some entries from pos on, none at the end.
func (f *dirFile) batch(c *vfs.Context, pos int64) ([]vfs.Dirent, error) {
	fs, d := f.i.fs, f.i.dir
	if pos < 0 {
		return nil, unix.EINVAL
	}
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if d.dead {
		return nil, unix.ENOENT
	}
	f.mu.Lock()
	if !f.reading {
		f.reading = true
		d.readers++
	}
	f.mu.Unlock()
	var out []vfs.Dirent
	for k, dot := range [...]struct {
		name string
		ino  uint64
	}{{".", f.i.ino}, {"..", d.parent.ino}} {
		if pos == int64(k) {
			pos++
			out = append(out, vfs.Dirent{Name: dot.name, Ino: dot.ino, Type: unix.S_IFDIR, Next: pos})
		}
	}
	list, err := d.lowerList(c)
	if err != nil {
		return nil, err
	}
	for ; pos-cookieLower < int64(len(list)) && len(out) < readdirBatch; pos++ {
		e := list[pos-cookieLower]
		if d.byName[e.Name] != nil {
			continue
		}
		if e.Dev == 0 {
			e.Dev = f.i.key.dev
		}
		e.Ino, e.Dev = fs.lowerIno(lowerKey{e.Dev, e.Ino}), 0
		e.Next = pos + 1
		out = append(out, e)
	}
	if len(out) >= readdirBatch {
		return out, nil
	}
	return d.own(max(pos, cookieOwn), out), nil
}

// own appends the directory's own entries from a cookie on.
func (d *dir) own(pos int64, out []vfs.Dirent) []vfs.Dirent {
	for i := d.from(pos - cookieOwn); i < len(d.order) && len(out) < readdirBatch; i++ {
		e := d.order[i].e
		if e == nil {
			continue
		}
		de := vfs.Dirent{Name: e.name, Type: e.node.Type(), Next: cookieOwn + e.seq + 1}
		if n, ok := e.node.(*Inode); ok {
			de.Ino = n.ino
		} else if st, err := e.node.Stat(); err == nil {
			de.Ino, de.Dev = st.Ino, st.Dev
		}
		out = append(out, de)
	}
	return out
}
