package synthfs

import (
	"crypto/rand"

	"golang.org/x/sys/unix"

	"culvert/shim/vfs"
)

// maxRandom is what one read of /dev/urandom gives at most, so that a guest
// cannot make the host compute for long in one call.
const maxRandom = 1 << 20

// memDevice is an open memory device (drivers/char/mem.c): no state, offsets
// without meaning.
type memDevice struct {
	vfs.FileBase
	d     *Device
	read  func(p []byte) (int, error)
	write func(p []byte) (int, error)
}

func (m *memDevice) Inode() vfs.Inode                         { return m.d }
func (m *memDevice) Kind() vfs.Kind                           { return vfs.NullSeek }
func (m *memDevice) ReadAt(p []byte, off int64) (int, error)  { return m.read(p) }
func (m *memDevice) WriteAt(p []byte, off int64) (int, error) { return m.write(p) }
func (m *memDevice) Append(p []byte) (n int, e int64, _ error) {
	n, err := m.write(p)
	return n, 0, err
}

func eof([]byte) (int, error)       { return 0, nil }
func swallow(p []byte) (int, error) { return len(p), nil }
func refuse(p []byte) (int, error)  { return 0, unix.ENOSPC }
func zeros(p []byte) (int, error)   { clear(p); return len(p), nil }
func randoms(p []byte) (int, error) {
	p = p[:min(len(p), maxRandom)]
	if _, err := rand.Read(p); err != nil {
		return 0, unix.EIO
	}
	return len(p), nil
}

// MemDevices returns null, zero, full, random and urandom by name.
func (fs *FS) MemDevices() map[string]*Device {
	out := make(map[string]*Device)
	for _, d := range []struct {
		name        string
		minor       uint32
		read, write func([]byte) (int, error)
	}{
		{"null", 3, eof, swallow},
		{"zero", 5, zeros, swallow},
		{"full", 7, zeros, refuse},
		{"random", 8, randoms, swallow},
		{"urandom", 9, randoms, swallow},
	} {
		out[d.name] = fs.NewDevice(Perm(0o666), 1, d.minor, func(_ *vfs.Context, dev *Device, _ int) (vfs.File, error) {
			return &memDevice{d: dev, read: d.read, write: d.write}, nil
		})
	}
	return out
}
