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

// Release forgets a lower listing that is not kept with its last reader.
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
		d.readers--
		d.forget()
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
	list, err := fs.lowerList(c, f.i)
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
