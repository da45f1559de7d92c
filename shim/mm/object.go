package mm

import (
	"container/list"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"culvert/shim/abi"
)

// Backing is a file whose pages can be mapped. The file tree implements it, one per inode.
type Backing interface {
	// Key identifies the inode: a comparable value, equal for all Backings of one inode while any of them lives.
	Key() any
	// ReadPages fills p, a whole number of pages, from page index on. It returns how many bytes the file had; the
	// rest of p is ignored. Called without locks of this package.
	ReadPages(p []byte, index uint64) (int, error)
	// WritePage writes p, at most a page, at page index. It never extends the file.
	WritePage(p []byte, index uint64) error
	// Size returns the file's size in bytes, Version a value that changes when the content was changed by somebody
	// who did not tell the Object (on the host, say); 0 if that cannot happen. Both are called with the package's
	// lock held and wait for no lock.
	Size() int64
	Version() uint64
	// Idle is called without locks when nobody uses the object any more: what is cached may stay for long, and must not
	// keep a file that has no name. The backing may be used again, until Release, which is called last.
	Idle()
	Release()
}

// page is a page of an object. Its frame's reference count includes one for the cache.
type page struct {
	f frame
	// dirty: content that the backing does not have yet. Only dirty pages are mapped writable.
	dirty bool
}

// Object is the page cache of one inode, or the memory of a memfd or shared anonymous mapping (back is nil; then the
// pages are the only copy). All fields are guarded by Memory.mu, but wb.
type Object struct {
	// wb serialises write-back, so that an older copy of a page never overwrites a newer one.
	wb sync.Mutex

	m       *Memory
	back    Backing
	key     any
	version uint64
	size    uint64 // in bytes, if back is nil
	pages   map[uint64]*page
	areas   *vma // the reverse map: the first of the list
	handles int  // users other than areas
	inIdle  *list.Element
	// loading has a channel per window that is being read. gen changes whenever a read under way may return stale
	// data.
	loading map[uint64]chan struct{}
	gen     uint64
	dirty   int   // dirty pages
	shared  bool  // programs have written through a shared mapping: the cache may be newer than the backing
	err     error // of the last write-back, for the next Sync
	queued  bool  // write-back is in Memory.later
}

// readWindow is how many pages are read at once: VM_READAHEAD_PAGES of include/linux/pagemap.h.
const readWindow = 32

// window is the buffer of a read into the cache.
type window [readWindow << abi.PageShift]byte

// maxSpareWindows bounds the buffers that are kept: more are in use only while several threads wait for slow files.
const maxSpareWindows = 2

func (m *Memory) takeWindow() *window {
	if n := len(m.spareWindows); n > 0 {
		w := m.spareWindows[n-1]
		m.spareWindows = m.spareWindows[:n-1]
		return w
	}
	return new(window)
}

func (m *Memory) giveWindow(w *window) {
	if len(m.spareWindows) < maxSpareWindows {
		m.spareWindows = append(m.spareWindows, w)
	}
}

// errPastEOF: the page lies past the end of the file.
var errPastEOF = errors.New("page past the end of the file")

// Object returns the page cache of b's inode, making it if need be, with a handle that the caller gives back by Put.
// The object takes b over: b.Release is called when it is not needed, which may be at once.
func (m *Memory) Object(b Backing) *Object {
	m.mu.Lock()
	defer m.unlock()
	key := b.Key()
	if o := m.objects[key]; o != nil {
		if o.inIdle != nil { // b keeps the file as Idle ended
			o.back, b = b, o.back
		}
		o.hold()
		m.later = append(m.later, b.Release)
		if v := o.back.Version(); v != o.version && o.areas == nil {
			o.version = v
			o.gen++
			o.dropClean(len(o.pages))
		}
		return o
	}
	o := m.newObject(key)
	o.back, o.version = b, b.Version()
	return o
}

// NewObject returns an object without backing of the given size: the memory of a memfd or of a System V segment. The
// caller gives the handle back by Put.
func (m *Memory) NewObject(size uint64) *Object {
	m.mu.Lock()
	defer m.unlock()
	return m.newMemObject(size)
}

func (m *Memory) newMemObject(size uint64) *Object {
	type anonymous struct{ _ byte } // each address is a key of its own
	o := m.newObject(&anonymous{})
	o.size = size
	return o
}

func (m *Memory) newObject(key any) *Object {
	o := &Object{
		m: m, key: key, handles: 1,
		pages: map[uint64]*page{}, loading: map[uint64]chan struct{}{},
	}
	m.objects[key] = o
	return o
}

// Lookup returns the object of the inode with that key, with a handle, or nil if none of its pages is cached. The
// file tree asks before it reads, writes or truncates a file by itself.
func (m *Memory) Lookup(key any) *Object {
	m.mu.Lock()
	defer m.unlock()
	o := m.objects[key]
	if o != nil {
		o.hold()
	}
	return o
}

// Put gives a handle back.
func (o *Object) Put() {
	o.m.mu.Lock()
	defer o.m.unlock()
	o.put()
}

func (o *Object) hold() {
	o.handles++
	o.unidle()
}

func (o *Object) put() {
	o.handles--
	o.maybeIdle()
}

// link and unlink keep the reverse map of v's object.
func (v *vma) link() {
	o := v.obj
	if o == nil {
		return
	}
	v.prevOfObj, v.nextOfObj = nil, o.areas
	if o.areas != nil {
		o.areas.prevOfObj = v
	}
	o.areas = v
	o.unidle()
}

func (v *vma) unlink() {
	o := v.obj
	if o == nil {
		return
	}
	if v.prevOfObj != nil {
		v.prevOfObj.nextOfObj = v.nextOfObj
	} else {
		o.areas = v.nextOfObj
	}
	if v.nextOfObj != nil {
		v.nextOfObj.prevOfObj = v.prevOfObj
	}
	v.prevOfObj, v.nextOfObj = nil, nil
	if v.flags&fShared != 0 {
		o.queueWriteback()
	}
	o.maybeIdle()
}

// maybeIdle handles the loss of the last user: memory goes, the pages of a file stay cached.
func (o *Object) maybeIdle() {
	if o.handles > 0 || o.areas != nil || o.inIdle != nil {
		return
	}
	if o.back == nil {
		for _, p := range o.pages {
			o.m.drop(p.f)
		}
		clear(o.pages)
	}
	if len(o.pages) == 0 {
		o.destroy()
		return
	}
	o.inIdle = o.m.idle.PushBack(o)
	o.m.later = append(o.m.later, o.back.Idle)
}

func (o *Object) unidle() {
	if o.inIdle != nil {
		o.m.idle.Remove(o.inIdle)
		o.inIdle = nil
	}
}

// destroy forgets an object without pages and users.
func (o *Object) destroy() {
	o.unidle()
	delete(o.m.objects, o.key)
	if o.back != nil {
		o.m.later = append(o.m.later, o.back.Release)
	}
}

// bytes returns the object's size.
func (o *Object) bytes() uint64 {
	if o.back == nil {
		return o.size
	}
	return uint64(max(o.back.Size(), 0))
}

// npages returns how many pages the object has.
func (o *Object) npages() uint64 { return (o.bytes() + abi.PageMask) >> abi.PageShift }

// holds says whether the cache's page at index is frame f.
func (o *Object) holds(index uint64, f frame) bool {
	p := o.pages[index]
	return p != nil && p.f == f
}

func (o *Object) isDirty(index uint64) bool {
	p := o.pages[index]
	return p != nil && p.dirty
}

// get returns the page at index of an object with size pages. again means that the lock was released to read it: the
// caller looks everything up once more. Frames are taken here, so other pages of other objects may go.
func (o *Object) get(index, size uint64) (p *page, again bool, err error) {
	if index >= size {
		return nil, false, errPastEOF // of a page that is cached: the host cut the file
	}
	if p := o.pages[index]; p != nil {
		return p, false, nil
	}
	if o.back != nil {
		return nil, true, o.load(index, size)
	}
	f, err := o.m.userFrame(true)
	if err != nil {
		return nil, false, err
	}
	p = &page{f: f}
	o.pages[index] = p
	return p, false, nil
}

// load reads the window of index into the cache, as far as the object's size in pages. It releases the lock while it
// reads.
func (o *Object) load(index, size uint64) error {
	m := o.m
	win := index &^ (readWindow - 1)
	if ch := o.loading[win]; ch != nil {
		m.unlock()
		<-ch
		m.mu.Lock()
		return nil
	}
	ch := make(chan struct{})
	o.loading[win] = ch
	o.hold() // keeps the object and its backing
	gen := o.gen
	n := min(readWindow, size-win)
	w := m.takeWindow()
	m.unlock()

	buf := w[:n<<abi.PageShift]
	got, err := o.back.ReadPages(buf, win)

	m.mu.Lock()
	m.stats.FileRead.Add(1)
	delete(o.loading, win)
	close(ch)
	defer o.put()
	defer m.giveWindow(w)
	if err != nil {
		return fmt.Errorf("mm: reading page %d of a mapped file: %w", index, err)
	}
	if gen != o.gen {
		return nil // changed meanwhile: the caller tries again
	}
	clear(buf[min(max(got, 0), len(buf)):])
	if err := o.fill(index, buf[(index-win)<<abi.PageShift:]); err != nil {
		return err
	}
	for i := range n {
		// Reading ahead must not push others out.
		if m.frames.inUse+2*m.reserve < m.frames.limit {
			if err := o.fill(win+i, buf[i<<abi.PageShift:]); err != nil {
				break
			}
		}
	}
	return nil
}

// fill puts a page with the content of b into the cache unless it is there already.
func (o *Object) fill(index uint64, b []byte) error {
	if o.pages[index] != nil {
		return nil
	}
	f, err := o.m.userFrame(false)
	if err != nil {
		return err
	}
	copy(o.m.frames.page(f), b)
	o.pages[index] = &page{f: f}
	return nil
}

// dropClean drops up to n clean pages that nobody maps, and returns how many it dropped.
func (o *Object) dropClean(n int) int {
	done := 0
	for i, p := range o.pages {
		if done >= n {
			break
		}
		if p.dirty || atomic.LoadUint32(o.m.ref(p.f)) != 1 {
			continue
		}
		delete(o.pages, i)
		o.m.drop(p.f)
		done++
	}
	return done
}

// shrinkCache frees up to n clean, unmapped pages of files, those of objects without users first.
func (m *Memory) shrinkCache(n int) {
	for e := m.idle.Front(); e != nil && n > 0; {
		o := e.Value.(*Object)
		e = e.Next()
		n -= o.dropClean(n)
		o.queueWriteback()
		if len(o.pages) == 0 {
			o.destroy()
		}
	}
	for _, o := range m.objects {
		if n <= 0 {
			return
		}
		if o.back != nil {
			n -= o.dropClean(n)
		}
	}
}

// MayBeWritten reports whether a shared mapping is writable or may become so (mapping_deny_writable).
func (o *Object) MayBeWritten() bool {
	o.m.mu.Lock()
	defer o.m.unlock()
	for v := o.areas; v != nil; v = v.nextOfObj {
		if v.flags&fShared != 0 && v.max&protWrite != 0 {
			return true
		}
	}
	return false
}

// Size returns the object's size in bytes.
func (o *Object) Size() uint64 {
	o.m.mu.Lock()
	defer o.m.unlock()
	return o.bytes()
}

// Page returns the frame of the page at index of an object without backing, for a page that the host and programs
// share (the vDSO's data). It stays valid while the object lives and is not truncated.
func (o *Object) Page(index uint64) (abi.GPA, error) {
	o.m.mu.Lock()
	defer o.m.unlock()
	if o.back != nil {
		return 0, errors.New("mm: Page of an object with a backing: its pages come and go")
	}
	p, _, err := o.get(index, o.npages())
	if err != nil {
		return 0, fmt.Errorf("mm: page %d of an object: %w", index, err)
	}
	return p.f.gpa(), nil
}
