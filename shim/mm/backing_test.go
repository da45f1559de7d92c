package mm

import (
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"culvert/shim/abi"
)

// fakeFile is a file in host memory.
type fakeFile struct {
	mu       sync.Mutex
	data     []byte
	version  uint64
	key      any
	reads    int
	writes   int
	released atomic.Int64
	err      error // of the next reads and writes
	onRead   func()
}

func newFile(data []byte) *fakeFile {
	f := &fakeFile{data: data}
	f.key = f
	return f
}

func (f *fakeFile) Key() any { return f.key }

func (f *fakeFile) ReadPages(p []byte, index uint64) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reads++
	if f.onRead != nil {
		f.onRead()
	}
	if f.err != nil {
		return 0, f.err
	}
	if off := index << abi.PageShift; off < uint64(len(f.data)) {
		return copy(p, f.data[off:]), nil
	}
	return 0, nil
}

func (f *fakeFile) WritePage(p []byte, index uint64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.writes++
	if f.err != nil {
		return f.err
	}
	if off := index << abi.PageShift; off+uint64(len(p)) <= uint64(len(f.data)) {
		copy(f.data[off:], p)
		return nil
	}
	return unix.EINVAL
}

func (f *fakeFile) Size() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return int64(len(f.data))
}

func (f *fakeFile) Version() uint64 { return f.version }
func (f *fakeFile) Idle()           {}
func (f *fakeFile) Release()        { f.released.Add(1) }
func (f *fakeFile) MapName() MapName {
	return MapName{Path: "/tmp/file", Major: 8, Minor: 1, Ino: 42}
}

// fileArgs are the arguments of a mapping of the file's object.
func fileArgs(o *Object, f *fakeFile, n uint64, prot, flags uint32) MmapArgs {
	return MmapArgs{Len: n, Prot: prot, Flags: flags, Object: o, Name: f, Readable: true, Writable: true}
}
