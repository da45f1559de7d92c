// Package cpio writes archives in the "newc" format that Linux unpacks as its
// initramfs (Documentation/driver-api/early-userspace/buffer-format.rst).
package cpio

import (
	"fmt"
	"io"
	"math"
	"strings"
)

// Modes of entries, as in st_mode.
const (
	ModeDir  = 0o040000
	ModeFile = 0o100000
	ModeChar = 0o020000

	typeMask = 0o170000 // S_IFMT
)

// Writer writes one archive. Close it: the kernel looks for the trailer.
type Writer struct {
	w   io.Writer
	ino uint32
	off int64 // bytes written; every header and body begins at a multiple of 4
	err error // the first error; later calls return it
}

// NewWriter returns a Writer to w.
func NewWriter(w io.Writer) *Writer { return &Writer{w: w} }

// Dir adds a directory. Parents must be added first.
func (w *Writer) Dir(name string, perm uint32) error {
	return w.entry(name, ModeDir|perm, 0, 0, nil)
}

// File adds a regular file.
func (w *Writer) File(name string, perm uint32, body []byte) error {
	return w.entry(name, ModeFile|perm, 0, 0, body)
}

// Char adds a character device.
func (w *Writer) Char(name string, perm, major, minor uint32) error {
	return w.entry(name, ModeChar|perm, major, minor, nil)
}

// Close writes the trailer. It does not close the underlying writer.
func (w *Writer) Close() error {
	w.ino = math.MaxUint32 // the trailer has number 0
	return w.entry("TRAILER!!!", 0, 0, 0, nil)
}

func (w *Writer) entry(name string, mode, major, minor uint32, body []byte) error {
	if w.err != nil {
		return w.err
	}
	if name == "" || strings.HasPrefix(name, "/") || strings.ContainsRune(name, 0) {
		return fmt.Errorf("cpio: bad name %q", name)
	}
	if int64(len(body)) > math.MaxUint32 {
		return fmt.Errorf("cpio: %s is too large: %d bytes", name, len(body))
	}
	w.ino++
	nlink := 1
	if mode&typeMask == ModeDir {
		nlink = 2
	}
	// magic, then 13 fields of 8 hexadecimal digits: ino, mode, uid, gid, nlink,
	// mtime, filesize, dev (2), rdev (2), length of the name with its NUL, check.
	w.writef("070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%s\x00",
		w.ino, mode, 0, 0, nlink, 0, len(body), 0, 0, major, minor, len(name)+1, 0, name)
	w.pad()
	w.write(body)
	w.pad()
	return w.err
}

func (w *Writer) writef(format string, args ...any) { w.write(fmt.Appendf(nil, format, args...)) }

func (w *Writer) write(p []byte) {
	if w.err != nil || len(p) == 0 {
		return
	}
	n, err := w.w.Write(p)
	w.off += int64(n)
	if err != nil {
		w.err = fmt.Errorf("cpio: %w", err)
	}
}

func (w *Writer) pad() { w.write(make([]byte, -w.off&3)) }
