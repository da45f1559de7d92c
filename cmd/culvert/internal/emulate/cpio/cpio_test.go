package cpio_test

import (
	"bytes"
	"errors"
	"strconv"
	"testing"

	"culvert/cmd/culvert/internal/emulate/cpio"
)

type entry struct {
	name         string
	mode         uint64
	major, minor uint64
	body         string
}

// parse reads an archive as the kernel's init/initramfs.c does: every header
// and body at a multiple of 4, the fields as 8 hexadecimal digits.
func parse(t *testing.T, b []byte) []entry {
	t.Helper()
	var out []entry
	for off := 0; ; {
		if off%4 != 0 || off+110 > len(b) || string(b[off:off+6]) != "070701" {
			t.Fatalf("no header at %d of %d", off, len(b))
		}
		var f [13]uint64
		for i := range f {
			v, err := strconv.ParseUint(string(b[off+6+8*i:off+14+8*i]), 16, 32)
			if err != nil {
				t.Fatal(err)
			}
			f[i] = v
		}
		size, nameLen := int(f[6]), int(f[11])
		name := b[off+110 : off+110+nameLen]
		if name[nameLen-1] != 0 {
			t.Fatalf("name %q has no NUL", name)
		}
		off = (off + 110 + nameLen + 3) &^ 3
		e := entry{string(name[:nameLen-1]), f[1], f[9], f[10], string(b[off : off+size])}
		if e.name == "TRAILER!!!" {
			return out
		}
		out = append(out, e)
		off = (off + size + 3) &^ 3
	}
}

func TestArchive(t *testing.T) {
	var buf bytes.Buffer
	w := cpio.NewWriter(&buf)
	want := []entry{
		{"dev", 0o040755, 0, 0, ""},
		{"dev/console", 0o020600, 5, 1, ""},
		{"init", 0o100755, 0, 0, "12345"}, // bodies of each length modulo 4
		{"a", 0o100644, 0, 0, "123456"},
		{"ab", 0o100644, 0, 0, "1234567"},
		{"abc", 0o100644, 0, 0, "12345678"},
		{"abcd", 0o100644, 0, 0, ""},
	}
	for _, e := range want {
		var err error
		switch e.mode &^ 0o7777 {
		case cpio.ModeDir:
			err = w.Dir(e.name, uint32(e.mode&0o7777))
		case cpio.ModeChar:
			err = w.Char(e.name, uint32(e.mode&0o7777), uint32(e.major), uint32(e.minor))
		default:
			err = w.File(e.name, uint32(e.mode&0o7777), []byte(e.body))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	got := parse(t, buf.Bytes())
	if len(got) != len(want) {
		t.Fatalf("%d entries, want %d", len(got), len(want))
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("entry %d: %+v, want %+v", i, got[i], want[i])
		}
	}
}

func TestBadNames(t *testing.T) {
	for _, name := range []string{"", "/abs", "nul\x00"} {
		if err := cpio.NewWriter(&bytes.Buffer{}).File(name, 0, nil); err == nil {
			t.Errorf("name %q was accepted", name)
		}
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errFull }

var errFull = errors.New("full")

func TestErrorStays(t *testing.T) {
	w := cpio.NewWriter(full{})
	if err := w.File("a", 0, nil); !errors.Is(err, errFull) {
		t.Errorf("File: %v, want %v", err, errFull)
	}
	if err := w.Close(); !errors.Is(err, errFull) {
		t.Errorf("Close: %v, want %v", err, errFull)
	}
}
