package memfs

import (
	"bytes"
	"fmt"
	"math"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"culvert/shim/vfs"
)

var rootUser = &vfs.Context{Cred: vfs.NewCred(0, 0)}

func newFS(t testing.TB, bytes, inodes int64) (*FS, *Quota) {
	t.Helper()
	q := NewQuota(bytes, inodes)
	fs, err := New(Options{Quota: q, Mode: 0o755})
	if err != nil {
		t.Fatal(err)
	}
	return fs, q
}

func create(t testing.TB, dir *Inode, name string, mode uint32) *Inode {
	t.Helper()
	n, err := dir.Create(rootUser, name, vfs.CreateAttr{Mode: mode})
	if err != nil {
		t.Fatalf("create %s: %v", name, err)
	}
	return n.(*Inode)
}

func open(t testing.TB, i *Inode) vfs.File {
	t.Helper()
	f, err := i.Open(rootUser, unix.O_RDWR)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// TestQuotaBytes: a full file system gives a short write, then ENOSPC; all comes
// back when the file has neither name nor descriptor.
func TestQuotaBytes(t *testing.T) {
	fs, q := newFS(t, inodeBytes+10*pageSize, 10)
	f := open(t, create(t, fs.Root(), "f", unix.S_IFREG|0o644))
	n, err := f.WriteAt(make([]byte, 20*pageSize), 0)
	if n != 10*pageSize || err != nil {
		t.Errorf("write to a file system of 10 pages: %d, %v", n, err)
	}
	if n, err := f.WriteAt([]byte{1}, 10*pageSize); n != 0 || err != unix.ENOSPC {
		t.Errorf("write to a full file system: %d, %v", n, err)
	}
	if n, err := f.WriteAt([]byte{1}, 5); n != 1 || err != nil {
		t.Errorf("overwriting in a full file system: %d, %v", n, err)
	}
	if _, err := fs.Root().Create(rootUser, "g", vfs.CreateAttr{Mode: unix.S_IFREG}); err != unix.ENOSPC {
		t.Errorf("create in a full file system: %v", err)
	}
	if err := f.Allocate(0, 0, math.MaxInt64-1); err != unix.ENOSPC {
		t.Errorf("fallocate of everything: %v", err)
	}
	if err := fs.Root().Unlink(rootUser, "f"); err != nil {
		t.Fatal(err)
	}
	if u := q.Usage(); u.Bytes != 10*pageSize || u.Inodes != 0 {
		t.Errorf("after unlink of an open file %+v is in use", u)
	}
	buf := make([]byte, 8)
	if n, err := f.ReadAt(buf, 0); n != 8 || err != nil || buf[5] != 1 {
		t.Errorf("read of an unlinked open file: %d %v %v", n, err, buf)
	}
	f.Release()
	if u := q.Usage(); u.Bytes != 0 || u.Inodes != 0 || u.PeakBytes != inodeBytes+10*pageSize {
		t.Errorf("after the last close %+v is in use", u)
	}
}

// TestQuotaInodes: names are bounded, whatever they are.
func TestQuotaInodes(t *testing.T) {
	fs, q := newFS(t, 1<<20, 3)
	root := fs.Root()
	f := create(t, root, "f", unix.S_IFREG)
	if err := root.Link(rootUser, "g", f); err != nil {
		t.Fatal(err)
	}
	if _, err := root.Symlink(rootUser, "l", string(make([]byte, 1000)), vfs.CreateAttr{Mode: unix.S_IFLNK}); err != nil {
		t.Fatal(err)
	}
	if err := root.Link(rootUser, "h", f); err != unix.ENOSPC {
		t.Errorf("a fourth name: %v", err)
	}
	for _, n := range []string{"f", "g", "l"} {
		if err := root.Unlink(rootUser, n); err != nil {
			t.Fatal(err)
		}
	}
	if u := q.Usage(); u.Bytes != 0 || u.Inodes != 0 {
		t.Errorf("%+v left in use", u)
	}
}

// overlayOf returns an overlay over a tree made by fill.
func overlayOf(t testing.TB, q *Quota, fill func(root *Inode)) *FS {
	t.Helper()
	lower, err := New(Options{Quota: NewQuota(1<<30, 1<<20), Mode: 0o755, Dev: 7})
	if err != nil {
		t.Fatal(err)
	}
	fill(lower.Root())
	fs, err := New(Options{Quota: q, Lower: lower.Root(), Dev: 8})
	if err != nil {
		t.Fatal(err)
	}
	return fs
}

func lookup(t testing.TB, dir *Inode, name string) *Inode {
	t.Helper()
	n, err := dir.Lookup(rootUser, name)
	if err != nil {
		t.Fatalf("lookup %s: %v", name, err)
	}
	return n.(*Inode)
}

// TestOverlayQuota: what is only looked at costs nothing, a change of one byte
// one page, and everything comes back.
func TestOverlayQuota(t *testing.T) {
	q := NewQuota(1<<20, 100)
	fs := overlayOf(t, q, func(root *Inode) {
		f := open(t, create(t, root, "big", unix.S_IFREG|0o644))
		for i := range int64(64) {
			if _, err := f.WriteAt(bytes.Repeat([]byte{byte(i)}, 1<<16), i<<16); err != nil {
				t.Fatal(err)
			}
		}
		f.Release()
		create(t, root, "small", unix.S_IFREG|0o644)
	})
	big := lookup(t, fs.Root(), "big")
	f := open(t, big)
	buf := make([]byte, 1<<16)
	for i := range int64(64) {
		if n, err := f.ReadAt(buf, i<<16); n != 1<<16 || err != nil || buf[77] != byte(i) {
			t.Fatalf("read at %d: %d %v %d", i<<16, n, err, buf[77])
		}
	}
	if u := q.Usage(); u.Bytes != 0 {
		t.Errorf("reading costs %+v", u)
	}
	if _, err := f.WriteAt([]byte{200}, 1<<16+5); err != nil {
		t.Fatal(err)
	}
	if u := q.Usage(); u.Bytes != inodeBytes+pageSize || u.Inodes != 1 {
		t.Errorf("changing a byte costs %+v", u)
	}
	if n, err := f.ReadAt(buf, 1<<16-1); n != 1<<16 || err != nil || buf[0] != 0 || buf[1] != 1 || buf[6] != 200 || buf[7] != 1 {
		t.Errorf("read around the change: %d %v %v", n, err, buf[:8])
	}
	if got := lookup(t, fs.Root(), "big"); got != big {
		t.Error("the changed file is another inode")
	}
	for _, name := range []string{"big", "small"} {
		if err := fs.Root().Unlink(rootUser, name); err != nil {
			t.Fatal(err)
		}
	}
	f.Release()
	// Two whiteouts, and the root directory, which changed.
	if u := q.Usage(); u.Bytes != 3*inodeBytes || u.Inodes != 3 {
		t.Errorf("after unlink %+v is in use", u)
	}
}

// TestOverlayRmdir: a lower directory goes once it is empty, and leaves one
// whiteout; the name can be used again, for an empty directory.
func TestOverlayRmdir(t *testing.T) {
	q := NewQuota(1<<20, 100)
	fs := overlayOf(t, q, func(root *Inode) {
		d, err := root.Mkdir(rootUser, "d", vfs.CreateAttr{Mode: unix.S_IFDIR | 0o755})
		if err != nil {
			t.Fatal(err)
		}
		create(t, d.(*Inode), "a", unix.S_IFREG)
		create(t, d.(*Inode), "b", unix.S_IFREG)
	})
	d := lookup(t, fs.Root(), "d")
	for _, n := range []string{"a", "b"} {
		if err := fs.Root().Rmdir(rootUser, "d"); err != unix.ENOTEMPTY {
			t.Errorf("rmdir before %s is gone: %v", n, err)
		}
		if err := d.Unlink(rootUser, n); err != nil {
			t.Fatal(err)
		}
	}
	if err := fs.Root().Rmdir(rootUser, "d"); err != nil {
		t.Fatal(err)
	}
	if u := q.Usage(); u.Inodes != 2 || u.Bytes != 2*inodeBytes {
		t.Errorf("%+v in use, want the whiteout and the root directory", u)
	}
	if _, err := d.Create(rootUser, "x", vfs.CreateAttr{Mode: unix.S_IFREG}); err != unix.ENOENT {
		t.Errorf("create in a directory that is gone: %v", err)
	}
	if _, err := fs.Root().Mkdir(rootUser, "d", vfs.CreateAttr{Mode: unix.S_IFDIR}); err != nil {
		t.Fatal(err)
	}
	if _, err := lookup(t, fs.Root(), "d").Lookup(rootUser, "a"); err != unix.ENOENT {
		t.Errorf("the new directory shows the old one's file: %v", err)
	}
}

// names lists a directory from a cookie on, at most max names.
func names(t testing.TB, f vfs.File, pos *int64, max int) (out []string) {
	t.Helper()
	err := f.Readdir(rootUser, *pos, func(e vfs.Dirent) bool {
		out = append(out, e.Name)
		*pos = e.Next
		return len(out) < max
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestCookies: a listing in pieces meets every entry that is there throughout
// exactly once, whatever comes and goes meanwhile.
func TestCookies(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		lower := rapid.IntRange(0, 300).Draw(rt, "lower")
		own := rapid.IntRange(0, 300).Draw(rt, "own")
		fs := overlayOf(t, NewQuota(1<<30, 1<<20), func(root *Inode) {
			for i := range lower {
				create(t, root, fmt.Sprintf("l%d", i), unix.S_IFREG)
			}
		})
		root := fs.Root()
		for i := range own {
			create(t, root, fmt.Sprintf("u%d", i), unix.S_IFREG)
		}
		f, err := root.Open(rootUser, unix.O_RDONLY)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Release()
		seen, gone := map[string]int{}, map[string]bool{}
		for pos, step := int64(0), 0; ; step++ {
			part := names(t, f, &pos, rapid.IntRange(1, 60).Draw(rt, "part"))
			if len(part) == 0 {
				break
			}
			for _, n := range part {
				seen[n]++
			}
			for range rapid.IntRange(0, 40).Draw(rt, "removed") {
				n := fmt.Sprintf("%c%d", "lu"[rapid.IntRange(0, 1).Draw(rt, "which")], rapid.IntRange(0, 299).Draw(rt, "victim"))
				if root.Unlink(rootUser, n) == nil {
					gone[n] = true
				}
			}
			if step < 5 {
				create(t, root, fmt.Sprintf("new%d", step), unix.S_IFREG)
			}
		}
		for i := range max(lower, own) {
			for _, n := range []string{fmt.Sprintf("l%d", i), fmt.Sprintf("u%d", i)} {
				there := n[0] == 'l' && i < lower || n[0] == 'u' && i < own
				if there && !gone[n] && seen[n] != 1 || seen[n] > 1 {
					rt.Fatalf("%s was listed %d times", n, seen[n])
				}
			}
		}
	})
}

// cache is a page cache: what it holds of one file, by page.
type cache struct {
	mu     sync.Mutex
	frames map[int64]*[pageSize]byte
}

func (c *cache) Drop(key any, first, last int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for idx, f := range c.frames {
		if idx >= first && idx <= last {
			for i := range f { // reused at once, for something else
				f[i] = 0xdd
			}
			delete(c.frames, idx)
		}
	}
}
func (c *cache) Flush(any, int64, int64)   {}
func (c *cache) Update(any, int64, []byte) {}

// TestPageSource: reads, writes, truncation, holes and stores through mappings
// agree with a plain slice of bytes, over a lower file and without.
func TestPageSource(t *testing.T) {
	for _, over := range []bool{false, true} {
		t.Run(fmt.Sprintf("lower=%v", over), func(t *testing.T) {
			rapid.Check(t, func(rt *rapid.T) { pageRun(rt, t, over) })
		})
	}
}

func pageRun(rt *rapid.T, t *testing.T, over bool) {
	const limit = 6 * pageSize
	var model []byte
	q := NewQuota(1<<30, 1<<20)
	fs, _ := New(Options{Quota: q})
	if over {
		model = make([]byte, 3*pageSize+100)
		for i := range model {
			model[i] = byte(i/7 + 1)
		}
		fs = overlayOf(t, q, func(root *Inode) {
			f := open(t, create(t, root, "f", unix.S_IFREG))
			f.WriteAt(model, 0)
			f.Release()
		})
	} else {
		create(t, fs.Root(), "f", unix.S_IFREG)
	}
	i := lookup(t, fs.Root(), "f")
	f := open(t, i)
	c := &cache{frames: map[int64]*[pageSize]byte{}}
	writable := map[int64]bool{}
	i.SetPager(c)
	resize := func(n int) {
		model = append(model, make([]byte, max(0, n-len(model)))...)[:n]
	}
	pos := func() int { return rapid.IntRange(0, limit-1).Draw(rt, "pos") }
	for range rapid.IntRange(1, 40).Draw(rt, "steps") {
		off := pos()
		idx := int64(off / pageSize)
		switch op := rapid.IntRange(0, 7).Draw(rt, "op"); op {
		case 0: // write
			p := bytes.Repeat([]byte{byte(rapid.IntRange(1, 255).Draw(rt, "byte"))}, rapid.IntRange(1, 2*pageSize).Draw(rt, "n"))
			if n, err := f.WriteAt(p, int64(off)); n != len(p) || err != nil {
				rt.Fatalf("write: %d %v", n, err)
			}
			resize(max(len(model), off+len(p)))
			copy(model[off:], p)
		case 1: // truncate
			if err := f.Truncate(int64(off)); err != nil {
				rt.Fatal(err)
			}
			resize(off)
			if fr := c.frames[idx]; fr != nil && !bytes.Equal(fr[off%pageSize:], make([]byte, pageSize-off%pageSize)) {
				rt.Fatalf("truncate to %d leaves bytes in the frame", off)
			}
		case 2: // punch a hole
			n := rapid.IntRange(1, 3*pageSize).Draw(rt, "n")
			if err := f.Allocate(unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, int64(off), int64(n)); err != nil {
				rt.Fatal(err)
			}
			if off < len(model) {
				clear(model[off:min(len(model), off+n)])
			}
		case 3, 4: // fault a page in, to read or to write
			fr, write := c.frames[idx], op == 4
			if fr == nil {
				fr = new([pageSize]byte)
				writable[idx] = false
			} else if !write || writable[idx] {
				continue
			}
			err := i.MapPage(idx, fr, write)
			if past := int(idx)*pageSize >= len(model); past != (err == unix.EFAULT) || !past && err != nil {
				rt.Fatalf("page %d of %d bytes: %v", idx, len(model), err)
			}
			if err == nil {
				c.frames[idx], writable[idx] = fr, write
			}
		case 5: // store through the mapping
			if fr := c.frames[idx]; fr != nil && writable[idx] {
				fr[off%pageSize] = 99 // past the end it is lost, as in Linux
				if off < len(model) {
					model[off] = 99
				}
			}
		case 6: // evict
			if fr := c.frames[idx]; fr != nil {
				i.UnmapPage(idx, fr)
				clear(fr[:])
				delete(c.frames, idx)
			}
		case 7: // fallocate
			if err := f.Allocate(0, int64(off), 5000); err != nil {
				rt.Fatal(err)
			}
			resize(max(len(model), off+5000))
		}
		check(rt, f, c, model)
	}
	f.Release()
	if err := fs.Root().Unlink(rootUser, "f"); err != nil {
		rt.Fatal(err)
	}
	if len(c.frames) > 0 && !over {
		rt.Fatalf("frames of a file that is gone: %d", len(c.frames))
	}
	left := int64(0)
	if over {
		left = 2 * inodeBytes // the whiteout and the root directory
	}
	if u := q.Usage(); u.Bytes != left {
		rt.Fatalf("%+v left in use", u)
	}
}

// check compares the file, and every frame up to the end of the file.
func check(rt *rapid.T, f vfs.File, c *cache, model []byte) {
	got := make([]byte, 10*pageSize)
	n, err := f.ReadAt(got, 0)
	if err != nil || n != len(model) {
		rt.Fatalf("read: %d %v, want %d bytes", n, err, len(model))
	}
	if !bytes.Equal(got[:n], model) {
		rt.Fatalf("contents differ at %d", firstDiff(got[:n], model))
	}
	for idx, fr := range c.frames {
		from := min(len(model), int(idx)*pageSize)
		to := min(len(model), from+pageSize)
		if !bytes.Equal(fr[:to-from], model[from:to]) {
			rt.Fatalf("frame %d differs at %d", idx, firstDiff(fr[:to-from], model[from:to]))
		}
	}
}

func firstDiff(a, b []byte) int {
	for i := range a {
		if a[i] != b[i] {
			return i
		}
	}
	return -1
}

// TestSeals: each seal refuses what memfd_create(2) says.
func TestSeals(t *testing.T) {
	fs, _ := newFS(t, 1<<20, 10)
	i := fs.NewFile(vfs.CreateAttr{Mode: unix.S_IFREG | 0o777})
	f := open(t, i)
	if n, err := f.WriteAt(make([]byte, 100), 0); n != 100 || err != nil {
		t.Fatal(n, err)
	}
	seal := func(s uint32) {
		t.Helper()
		if err := i.AddSeals(s); err != nil {
			t.Fatal(err)
		}
	}
	want := func(what string, err, want error) {
		t.Helper()
		if err != want {
			t.Errorf("%s: %v, want %v", what, err, want)
		}
	}
	write := func(off int64) error { _, err := f.WriteAt([]byte{1}, off); return err }
	seal(unix.F_SEAL_GROW)
	want("growing by truncate", f.Truncate(200), unix.EPERM)
	want("growing by write", write(100), unix.EPERM)
	want("growing by fallocate", f.Allocate(0, 0, 200), unix.EPERM)
	want("writing inside", write(50), nil)
	seal(unix.F_SEAL_SHRINK)
	want("shrinking", f.Truncate(10), unix.EPERM)
	seal(unix.F_SEAL_WRITE)
	want("writing", write(50), unix.EPERM)
	want("punching", f.Allocate(3, 0, 10), unix.EPERM)
	seal(unix.F_SEAL_SEAL)
	want("sealing", i.AddSeals(unix.F_SEAL_WRITE), unix.EPERM)
	want("sealing a file of tmpfs", create(t, fs.Root(), "f", unix.S_IFREG).AddSeals(unix.F_SEAL_WRITE), unix.EPERM)
	f.Release()
}

// TestBigDirectory: removing names in the order they were made is not quadratic,
// and the order stays.
func TestBigDirectory(t *testing.T) {
	const n = 50000
	fs, _ := newFS(t, 1<<30, 1<<20)
	for i := range n {
		create(t, fs.Root(), fmt.Sprint(i), unix.S_IFREG)
	}
	for i := range n - 10 {
		if err := fs.Root().Unlink(rootUser, fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	f, err := fs.Root().Open(rootUser, unix.O_RDONLY)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Release()
	pos := int64(0)
	got := names(t, f, &pos, 100)
	want := []string{".", ".."}
	for i := n - 10; i < n; i++ {
		want = append(want, fmt.Sprint(i))
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("listed %v, want %v", got, want)
	}
}

// TestConcurrent: readers, writers, mappers and namers at once, for the race
// detector; and the byte that each writer owns is what it wrote last.
func TestConcurrent(t *testing.T) {
	fs := overlayOf(t, NewQuota(1<<30, 1<<20), func(root *Inode) {
		f := open(t, create(t, root, "f", unix.S_IFREG))
		f.WriteAt(make([]byte, 4*pageSize), 0)
		f.Release()
	})
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for k := range 300 {
				i := lookup(t, fs.Root(), "f")
				f := open(t, i)
				buf := []byte{byte(k)}
				f.WriteAt(buf, int64(w*5000))
				if f.ReadAt(buf, int64(w*5000)); buf[0] != byte(k) {
					t.Errorf("writer %d reads %d after writing %d", w, buf[0], byte(k))
				}
				n := fmt.Sprintf("w%d", w)
				create(t, fs.Root(), n, unix.S_IFREG)
				if err := fs.Root().Rename(rootUser, n, fs.Root(), n+"x", 0); err != nil {
					t.Error(err)
				}
				if err := fs.Root().Unlink(rootUser, n+"x"); err != nil {
					t.Error(err)
				}
				f.Readdir(rootUser, 0, nil)
				f.Release()
			}
		})
	}
	wg.Wait()
}
