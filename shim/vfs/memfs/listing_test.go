package memfs

import (
	"fmt"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"culvert/shim/vfs"
)

// countedDir is a lower directory that counts what it is asked.
type countedDir struct {
	vfs.Inode
	lookups, opens int
}

func (d *countedDir) Lookup(c *vfs.Context, name string) (vfs.Inode, error) {
	d.lookups++
	return d.Inode.Lookup(c, name)
}

func (d *countedDir) Open(c *vfs.Context, flags int) (vfs.File, error) {
	d.opens++
	return d.Inode.Open(c, flags)
}

// countedOverlay is an overlay over a directory with n files.
func countedOverlay(t *testing.T, n int) (*FS, *countedDir) {
	t.Helper()
	fs, _ := newFS(t, 1<<30, 1<<20)
	for i := range n {
		create(t, fs.Root(), fmt.Sprintf("f%d", i), unix.S_IFREG)
	}
	lower := &countedDir{Inode: fs.Root()}
	over, err := New(Options{Quota: NewQuota(1<<30, 1<<20), Lower: lower, Dev: 8})
	if err != nil {
		t.Fatal(err)
	}
	return over, lower
}

// list opens a directory, lists it and closes it.
func list(t *testing.T, d *Inode) []string {
	t.Helper()
	f, err := d.Open(rootUser, unix.O_RDONLY)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Release()
	pos := int64(0)
	out := names(t, f, &pos, 1<<30)
	return out[2:] // "." and ".."
}

// TestListingIsKept: a lower directory is read once, and what it does not have is not looked for in it. The overlay's own
// names come and go all the same.
func TestListingIsKept(t *testing.T) {
	fs, lower := countedOverlay(t, 100)
	root := fs.Root()
	first := list(t, root)
	if len(first) != 100 || !slices.Equal(list(t, root), first) || lower.opens != 1 {
		t.Errorf("%d names, the directory opened %d times", len(first), lower.opens)
	}
	for i := range 200 {
		name := fmt.Sprintf("f%d", i)
		if _, err := root.Lookup(rootUser, name); (err == nil) != (i < 100) {
			t.Errorf("lookup of %s: %v", name, err)
		}
	}
	if lower.lookups != 100 {
		t.Errorf("%d lookups in the lower directory, want one for each of its 100 files", lower.lookups)
	}
	create(t, root, "f100", unix.S_IFREG)
	lookup(t, root, "f100")
	if err := root.Unlink(rootUser, "f5"); err != nil {
		t.Fatal(err)
	}
	if _, err := root.Lookup(rootUser, "f5"); err != unix.ENOENT {
		t.Errorf("lookup of a lower file that was removed: %v", err)
	}
	if got := list(t, root); len(got) != 100 || slices.Contains(got, "f5") || !slices.Contains(got, "f100") {
		t.Errorf("listing after a removal and a creation: %v", got)
	}
}

// TestListingAfterMisses: a directory that does not have what is looked for is read before long, one that has it never.
func TestListingAfterMisses(t *testing.T) {
	fs, lower := countedOverlay(t, 100)
	for i := range 100 {
		lookup(t, fs.Root(), fmt.Sprintf("f%d", i))
	}
	if lower.opens != 0 {
		t.Errorf("opened %d times", lower.opens)
	}
	for i := range 1000 {
		if _, err := fs.Root().Lookup(rootUser, fmt.Sprintf("not%d", i)); err != unix.ENOENT {
			t.Fatalf("lookup of what is not there: %v", err)
		}
	}
	if lower.opens != 1 || lower.lookups != 100+missesListed {
		t.Errorf("opened %d times, %d lookups", lower.opens, lower.lookups)
	}
}

// TestListingsAreBounded: the oldest go, and a directory that is too large for all is not kept.
func TestListingsAreBounded(t *testing.T) {
	const dirs, files = 50, 1000
	fs := overlayOf(t, NewQuota(1<<30, 1<<20), func(root *Inode) {
		for d := range dirs {
			n, err := root.Mkdir(rootUser, fmt.Sprint(d), vfs.CreateAttr{Mode: unix.S_IFDIR | 0o755})
			if err != nil {
				t.Fatal(err)
			}
			for f := range files {
				create(t, n.(*Inode), fmt.Sprint(f), unix.S_IFREG)
			}
		}
	})
	var all []*Inode
	for d := range dirs {
		all = append(all, lookup(t, fs.Root(), fmt.Sprint(d)))
		if n := len(list(t, all[d])); n != files {
			t.Fatalf("%d names", n)
		}
	}
	entries := 0
	for i, d := range all {
		if l := d.dir.listing; l != nil {
			entries += len(l.entries)
		} else if i == dirs-1 {
			t.Error("the latest listing is not kept")
		}
	}
	if entries > keptEntries || entries < keptEntries*3/4 || fs.listings.cost > keptEntries {
		t.Errorf("%d entries are kept at a cost of %d, want at most %d", entries, fs.listings.cost, keptEntries)
	}
	large, _ := countedOverlay(t, keptEntries)
	if n := len(list(t, large.Root())); n != keptEntries || large.Root().dir.listing != nil {
		t.Errorf("%d names, kept: %t", n, large.Root().dir.listing != nil)
	}
}
