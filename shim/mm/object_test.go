package mm

import (
	"errors"
	"io"
	"testing"

	"golang.org/x/sys/unix"

	"culvert/shim/abi"
)

func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i>>12*31 + i)
	}
	return b
}

// A private file mapping shows the file, keeps writes to itself, and reads ahead; the end of the file is zero, then
// SIGBUS.
func TestPrivateFile(t *testing.T) {
	mc := newMachine(t, 16<<20, 1)
	s, v := mc.space(), mc.vcpus[0]
	v.load(s)
	const size = 33*4096 + 100
	f := newFile(pattern(size))
	o := mc.Object(f)
	a := mustMmap(t, s, fileArgs(o, f, 40*pg, rw|unix.PROT_EXEC, unix.MAP_PRIVATE))
	o.Put()
	for i := range uint64(33) {
		mustRead(t, v, a+i*pg+5, f.data[i*pg+5])
	}
	if err := v.exec(a); err != nil {
		t.Error(err)
	}
	if f.reads != 2 {
		t.Errorf("%d reads of the file, want 2: 32 pages at a time", f.reads)
	}
	if n := mc.stats.File.Load(); n > 4 { // the windows in the file and those around the faults are not aligned to each other
		t.Errorf("%d faults for 33 pages", n)
	}
	mustRead(t, v, a+size-1, f.data[size-1])
	mustRead(t, v, a+size, 0)
	_, err := v.read(a + 34*pg)
	wantSignal(t, err, unix.SIGBUS, BUS_ADRERR, a+34*pg)
	mustWrite(t, v, a, f.data[0]+1)
	mustWrite(t, v, a+33*pg, 9)
	if v.cows != 2 {
		t.Errorf("ring 0 copied %d pages, want 2", v.cows)
	}
	mustRead(t, v, a, f.data[0]+1)
	if f.data[0] != pattern(1)[0] || f.writes != 0 {
		t.Error("a private mapping wrote to its file")
	}
	// A write to a page that nobody has touched copies at once.
	if err := s.Madvise(a, pg, unix.MADV_DONTNEED); err != nil {
		t.Fatal(err)
	}
	v.dumb = true
	mustWrite(t, v, a+1, 77)
	mustRead(t, v, a, f.data[0])
	v.load(nil)
	s.Release()
	if n := f.released.Load(); n != 0 {
		t.Errorf("the cache let go of the backing although it holds pages")
	}
	mc.mu.Lock()
	mc.shrinkCache(1000)
	mc.unlock()
	if n := f.released.Load(); n != 1 {
		t.Errorf("the backing was released %d times, want once", n)
	}
	mc.noLeak(0)
}

// Writes through a shared mapping are seen by all mappings at once and reach the file by msync, munmap and Sync.
func TestSharedFile(t *testing.T) {
	mc := newMachine(t, 16<<20, 2)
	s, c := mc.space(), mc.space()
	v, w := mc.vcpus[0], mc.vcpus[1]
	v.load(s)
	w.load(c)
	f := newFile(pattern(3*4096 + 10))
	o := mc.Object(f)
	a := mustMmap(t, s, fileArgs(o, f, 4*pg, rw, unix.MAP_SHARED))
	b := mustMmap(t, c, fileArgs(o, f, 4*pg, rw, unix.MAP_SHARED))
	mustRead(t, v, a, f.data[0])
	mustWrite(t, v, a, 200)
	mustRead(t, w, b, 200)
	if f.data[0] == 200 {
		t.Error("the file has changed before msync")
	}
	buf := append([]byte(nil), f.data[:10]...)
	if o.Overlay(buf, 0); buf[0] != 200 {
		t.Error("read(2) would not see what the mapping holds")
	}
	if err := s.Msync(a, 4*pg, unix.MS_SYNC); err != nil || f.data[0] != 200 || f.writes != 1 {
		t.Errorf("msync: %v, the file has %d after %d writes", err, f.data[0], f.writes)
	}
	// The page is clean again, and read-only: the next write is noticed.
	mustWrite(t, v, a, 201)
	mustWrite(t, w, b+3*pg+9, 202)
	if err := c.Munmap(b, 4*pg); err != nil {
		t.Fatal(err)
	}
	if f.data[0] != 201 || f.data[3*pg+9] != 202 {
		t.Errorf("after munmap the file has %d and %d", f.data[0], f.data[3*pg+9])
	}
	if len(f.data) != 3*4096+10 {
		t.Error("write-back changed the file's size")
	}
	// write(2) by somebody shows in the mapping.
	f.data[5] = 111
	o.Wrote([]byte{111}, 5)
	mustRead(t, v, a+5, 111)
	// A failing backing is reported once.
	mustWrite(t, v, a, 203)
	f.err = unix.EIO
	if err := o.Sync(); !errors.Is(err, unix.EIO) {
		t.Errorf("Sync: %v", err)
	}
	f.err = nil
	if err := o.Sync(); err != nil {
		t.Errorf("Sync: %v", err)
	}
	mustWrite(t, v, a+pg, 204)
	if err := mc.Sync(); err != nil || f.data[pg] != 204 {
		t.Errorf("Sync of everything: %v, the file has %d", err, f.data[pg])
	}
	o.Put()
	v.load(nil)
	w.load(nil)
	s.Release()
	c.Release()
	mc.mu.Lock()
	mc.shrinkCache(1000)
	mc.unlock()
	mc.noLeak(0)
}

// ftruncate takes pages from every mapping, copies of private ones too.
func TestTruncate(t *testing.T) {
	mc := newMachine(t, 16<<20, 2)
	s := mc.space()
	v := mc.vcpus[0]
	v.load(s)
	f := newFile(pattern(8 * 4096))
	o := mc.Object(f)
	sh := mustMmap(t, s, fileArgs(o, f, 8*pg, rw, unix.MAP_SHARED))
	pr := mustMmap(t, s, fileArgs(o, f, 8*pg, rw, unix.MAP_PRIVATE))
	for i := range uint64(8) {
		mustWrite(t, v, sh+i*pg, byte(i+1))
		mustWrite(t, v, pr+i*pg, byte(i+101))
	}
	f.mu.Lock()
	f.data = f.data[:2*4096+1]
	f.mu.Unlock()
	o.Truncate(2*4096 + 1)
	for _, a := range []uint64{sh, pr} {
		_, err := v.read(a + 3*pg)
		wantSignal(t, err, unix.SIGBUS, BUS_ADRERR, a+3*pg)
	}
	mustRead(t, v, sh+2*pg, 3)
	mustRead(t, v, sh+2*pg+1, 0)
	mustRead(t, v, pr+2*pg, 103)
	mustRead(t, v, pr+pg, 102)
	// It grows again: zeroes.
	f.mu.Lock()
	f.data = append(f.data, make([]byte, 4*4096)...)
	f.mu.Unlock()
	o.Truncate(uint64(len(f.data)))
	mustRead(t, v, sh+3*pg, 0)
	mustRead(t, v, pr+3*pg, 0)
	// A file that changed on the host while nobody mapped it is read again.
	if err := s.Munmap(sh, 8*pg); err != nil {
		t.Fatal(err)
	}
	if err := s.Munmap(pr, 8*pg); err != nil {
		t.Fatal(err)
	}
	o.Put()
	f.data[0], f.version = 66, 1
	o = mc.Object(f)
	a := mustMmap(t, s, fileArgs(o, f, pg, unix.PROT_READ, unix.MAP_PRIVATE))
	mustRead(t, v, a, 66)
	f.err = unix.EIO
	b := mustMmap(t, s, MmapArgs{Len: pg, Off: 5 * pg, Prot: 1, Flags: unix.MAP_PRIVATE, Object: o, Readable: true})
	o.Truncate(uint64(len(f.data))) // drops nothing
	o.forgetAll()
	_, err := v.read(b)
	wantSignal(t, err, unix.SIGBUS, BUS_ADRERR, b)
	o.Put()
	v.load(nil)
	s.Release()
	mc.noLeak(0)
}

// forgetAll empties the cache.
func (o *Object) forgetAll() {
	o.m.mu.Lock()
	defer o.m.unlock()
	o.zapPages(0, ^uint64(0), false)
	o.forget(0, ^uint64(0))
}

// A memfd: reads, writes, mappings and truncation see one memory, which goes with the last user.
func TestMemObject(t *testing.T) {
	mc := newMachine(t, 16<<20, 1)
	s, v := mc.space(), mc.vcpus[0]
	v.load(s)
	o := mc.NewObject(0)
	if n, err := o.WriteAt([]byte("hello"), 4094); n != 5 || err != nil || o.Size() != 4099 {
		t.Fatalf("write: %d, %v, size %d", n, err, o.Size())
	}
	a := mustMmap(t, s, MmapArgs{Len: 3 * pg, Prot: rw, Flags: unix.MAP_SHARED, Object: o, Readable: true, Writable: true})
	mustRead(t, v, a+4096, 'l')
	mustWrite(t, v, a+4096, 'L')
	b := make([]byte, 10)
	if n, err := o.ReadAt(b, 4094); n != 5 || !errors.Is(err, io.EOF) || string(b[:n]) != "heLlo" {
		t.Errorf("read: %q, %v", b[:n], err)
	}
	if _, err := o.ReadAt(b, 5000); !errors.Is(err, io.EOF) {
		t.Errorf("read past the end: %v", err)
	}
	_, err := v.read(a + 2*pg)
	wantSignal(t, err, unix.SIGBUS, BUS_ADRERR, a+2*pg)
	o.Truncate(3 * pg)
	mustWrite(t, v, a+2*pg, 1)
	// MADV_REMOVE frees the page and zeroes it for everybody.
	used := mc.Usage().InUse
	if err := s.Madvise(a+2*pg, pg, unix.MADV_REMOVE); err != nil {
		t.Fatal(err)
	}
	if got := mc.Usage().InUse; got != used-pg {
		t.Errorf("MADV_REMOVE changed the memory in use from %d to %d", used, got)
	}
	mustRead(t, v, a+2*pg, 0)
	o.Punch(4094, 1)
	mustRead(t, v, a+4094, 0)
	mustRead(t, v, a+4095, 'e')
	o.Put()
	mustRead(t, v, a+4095, 'e')
	// A page that the host writes for programs to read: the vDSO's data.
	data := mc.NewObject(pg)
	gpa, err := data.Page(0)
	if err != nil {
		t.Fatal(err)
	}
	vvar := mustMmap(t, s, MmapArgs{Len: pg, Prot: unix.PROT_READ, Flags: unix.MAP_SHARED, Object: data, Readable: true, Special: "[vvar]"})
	data.Put()
	mc.ram[gpa] = 7
	mustRead(t, v, vvar, 7)
	wantSignal(t, v.write(vvar, 1), unix.SIGSEGV, SEGV_ACCERR, vvar)
	if err := s.Mprotect(vvar, pg, rw); !errors.Is(err, unix.EACCES) {
		t.Errorf("making [vvar] writable: %v", err)
	}
	v.load(nil)
	s.Release()
	mc.noLeak(0)
}

// A read of the backing that races with a change of the file is thrown away.
func TestReadRace(t *testing.T) {
	mc := newMachine(t, 16<<20, 1)
	s, v := mc.space(), mc.vcpus[0]
	v.load(s)
	f := newFile(pattern(4096))
	o := mc.Object(f)
	defer o.Put()
	a := mustMmap(t, s, fileArgs(o, f, pg, unix.PROT_READ, unix.MAP_PRIVATE))
	f.onRead = func() {
		f.onRead = nil
		o.Wrote([]byte{1}, 0) // the file tree, in the middle of our read
	}
	mustRead(t, v, a, f.data[0])
	if f.reads != 2 {
		t.Errorf("%d reads, want 2: the first came too early", f.reads)
	}
	// The space dies while a page is read: the fault ends, nothing leaks.
	o.forgetAll()
	f.onRead = func() {
		f.onRead = nil
		v.load(nil)
		s.Release()
	}
	err := s.Fault(a, abi.PFUser)
	wantSignal(t, err, unix.SIGSEGV, SEGV_MAPERR, a)
}

// Under pressure clean pages of files go, those without users first; what cannot go ends in ErrOOM.
func TestPressure(t *testing.T) {
	mc := newMachine(t, 4<<20, 1)
	s, v := mc.space(), mc.vcpus[0]
	v.load(s)
	v.dumb = true
	f := newFile(pattern(2 << 20))
	o := mc.Object(f)
	a := mustMmap(t, s, fileArgs(o, f, 2<<20, unix.PROT_READ, unix.MAP_PRIVATE))
	o.Put()
	for i := uint64(0); i < 2<<20; i += pg {
		mustRead(t, v, a+i, f.data[i])
	}
	if err := s.Munmap(a, 2<<20); err != nil {
		t.Fatal(err)
	}
	if c := mc.Usage().Cache; c < 1<<20 {
		t.Fatalf("%d bytes cached", c)
	}
	b := mustMmap(t, s, MmapArgs{Len: 8 << 20, Prot: rw, Flags: anonPriv | unix.MAP_NORESERVE})
	n := uint64(0)
	var err error
	for ; n < 8<<20; n += pg {
		if err = v.write(b+n, 1); err != nil {
			break
		}
	}
	if !errors.Is(err, ErrOOM) {
		t.Fatalf("touching more than there is: %v", err)
	}
	if n < 2<<20 || mc.Usage().Cache != 0 {
		t.Errorf("out of memory after %d bytes with %d cached", n, mc.Usage().Cache)
	}
	if _, err := s.CopyOut(b+n, []byte{1}); !errors.Is(err, ErrOOM) {
		t.Errorf("CopyOut: %v", err)
	}
	if _, err := s.Fork(); err == nil {
		t.Log("fork succeeded from the reserve")
	}
	// The reserve lets the host still work: a new table for the kill.
	if _, err := mc.AllocBlock(0); err != nil {
		t.Errorf("the host has no memory left: %v", err)
	}
}
