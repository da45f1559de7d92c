package vmm

import (
	"os"
	"strings"
	"testing"

	"culvert/pipes"
	"culvert/pipes/link"

	"golang.org/x/sys/unix"
)

// dup hands a descriptor of its own to a function that closes it.
func dup(t *testing.T, f *os.File) int {
	t.Helper()
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

func TestOpenLink(t *testing.T) {
	memory, err := NewLinkMemory(8192, true)
	if err != nil {
		t.Fatal(err)
	}
	defer memory.Close()
	bell, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	l, err := OpenLink(dup(t, memory), bell)
	if err != nil {
		t.Fatal(err)
	}
	if len(l.Mem) != link.RingOffset+8192 {
		t.Errorf("%d bytes mapped, want %d", len(l.Mem), link.RingOffset+8192)
	}
	if err := memory.Truncate(4096); err == nil {
		t.Error("the memory could be made smaller under the mapping")
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

// What another process could pass instead of a link is refused.
func TestOpenLinkRefuses(t *testing.T) {
	memfd := func(size int64, seals int) *os.File {
		fd, err := unix.MemfdCreate("test", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
		if err != nil {
			t.Fatal(err)
		}
		f := os.NewFile(uintptr(fd), "test")
		if err := f.Truncate(size); err != nil {
			t.Fatal(err)
		}
		if _, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, seals); err != nil {
			t.Fatal(err)
		}
		return f
	}
	file, err := os.Create(t.TempDir() + "/file")
	if err != nil {
		t.Fatal(err)
	}
	const good = link.RingOffset + 4096
	for _, c := range []struct {
		name, says string
		file       *os.File
	}{
		{"a file", "no memfd", file},
		{"not sealed", "seals", memfd(good, 0)},
		{"may shrink", "seals", memfd(good, unix.F_SEAL_GROW|unix.F_SEAL_SEAL)},
		{"may be sealed against writes", "seals", memfd(good, unix.F_SEAL_GROW|unix.F_SEAL_SHRINK)},
		{"not writable", "seals", memfd(good, linkSeals|unix.F_SEAL_WRITE)},
		{"no ring", "ring of 0 bytes", memfd(link.RingOffset, linkSeals)},
		{"empty", "ring of -4096 bytes", memfd(0, linkSeals)},
		{"no power of two", "ring of 12288 bytes", memfd(link.RingOffset+3*4096, linkSeals)},
		{"too large", "ring of 2097152 bytes", memfd(link.RingOffset+2*pipes.MaxSize, linkSeals)},
	} {
		_, err := OpenLink(dup(t, c.file), -1)
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want an error about %q", c.name, err, c.says)
		}
		c.file.Close()
	}
	for _, size := range []int{0, 4095, 12288, 2 * pipes.MaxSize} {
		if f, err := NewLinkMemory(size, false); err == nil {
			f.Close()
			t.Errorf("a ring of %d bytes was made", size)
		}
	}
}
