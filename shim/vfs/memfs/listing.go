package memfs

import (
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"culvert/shim/vfs"
)

// maxListing bounds what is read of a lower directory.
const maxListing = 1 << 20

// keptEntries bounds the listings that are kept without a reader, at about 100 bytes an entry. A directory counts as
// keptDir entries more, so that empty ones are bounded too.
const (
	keptEntries = 1 << 15
	keptDir     = 16
)

// missesListed names looked for in vain in a directory are worth its listing: search paths are asked again and again.
const missesListed = 16

// listing is what was read of a lower directory.
type listing struct {
	entries []vfs.Dirent // in the order of the lower directory, "." and ".." left out
	byName  []int32      // indexes of entries, sorted by name
	kept    bool         // in listings.dirs
}

func (l *listing) cost() int { return len(l.entries) + keptDir }

// listings are the directories whose listing is kept, the oldest first: interpreters list the same directories at each
// start, and ask for names that are not there as often as for those that are. Guarded by FS.mu.
type listings struct {
	dirs []keptListing
	cost int
}

// keptListing keeps the Inode too, which could be made again, but without its listing.
type keptListing struct {
	of   *Inode
	list *listing
}

// lowerList reads the lower directory's entries. Preconditions: fs.mu is held.
func (fs *FS) lowerList(c *vfs.Context, i *Inode) ([]vfs.Dirent, error) {
	d := i.dir
	if d.lower == nil {
		return nil, nil
	}
	if d.listing != nil {
		return d.listing.entries, nil
	}
	list, err := readLowerDir(c, d.lower)
	if err != nil {
		return nil, err
	}
	l := &listing{entries: list}
	fs.listings.keep(i, l)
	if l.kept || d.readers > 0 {
		d.listing = l
	}
	return list, nil
}

// readLowerDir lists a lower directory.
func readLowerDir(c *vfs.Context, lower vfs.Inode) ([]vfs.Dirent, error) {
	f, err := lower.Open(c, unix.O_RDONLY|unix.O_DIRECTORY)
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
	return list, nil
}

// namesOf sorts the indexes of entries by name.
func namesOf(list []vfs.Dirent) []int32 {
	names := make([]int32, len(list))
	for i := range names {
		names[i] = int32(i)
	}
	slices.SortFunc(names, func(a, b int32) int { return strings.Compare(list[a].Name, list[b].Name) })
	return names
}

// keep makes room for the listing of a directory and enters it, unless it is too large.
func (k *listings) keep(i *Inode, l *listing) {
	if l.cost() > keptEntries {
		return
	}
	for k.cost+l.cost() > keptEntries {
		oldest := k.dirs[0]
		k.dirs[0] = keptListing{}
		k.dirs = k.dirs[1:]
		k.cost -= oldest.list.cost()
		oldest.list.kept = false
		oldest.of.dir.forget()
	}
	l.kept, l.byName = true, namesOf(l.entries)
	k.dirs, k.cost = append(k.dirs, keptListing{i, l}), k.cost+l.cost()
}

// missed counts a name that the lower directory of i does not have. Preconditions: fs.mu is held.
func (fs *FS) missed(c *vfs.Context, i *Inode) {
	if i.dir.misses++; i.dir.misses == missesListed {
		// Only to know more names: without a listing each is asked for.
		_, _ = fs.lowerList(c, i)
	}
}

// forget drops a listing that is not kept and has no reader. Preconditions: fs.mu is held.
func (d *dir) forget() {
	if d.readers == 0 && d.listing != nil && !d.listing.kept {
		d.listing = nil
	}
}

// lacks reports that the lower directory is known not to have a name. Preconditions: fs.mu is held.
func (d *dir) lacks(name string) bool {
	l := d.listing
	if l == nil || !l.kept {
		return false
	}
	_, found := slices.BinarySearchFunc(l.byName, name, func(i int32, name string) int {
		return strings.Compare(l.entries[i].Name, name)
	})
	return !found
}
