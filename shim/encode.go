package shim

import (
	"encoding/binary"

	"culvert/shim/vfs"

	"golang.org/x/sys/unix"
)

// Encodings of the structs that file calls hand to x86-64 programs. Written field by field and not by casting host
// structs, so that no padding of the host's memory reaches the guest and the layout is visible here.

var le = binary.LittleEndian

// Sizes in bytes of the guest's structs.
const (
	statSize    = 144 // struct stat (arch/x86/include/uapi/asm/stat.h)
	statxSize   = 256 // struct statx (include/uapi/linux/stat.h)
	statfsSize  = 120 // struct statfs (include/uapi/asm-generic/statfs.h)
	flockSize   = 32  // struct flock
	iovecSize   = 16
	direntHead  = 19 // struct linux_dirent64 before d_name
	odirentHead = 18 // struct linux_dirent before d_name
)

// putStat encodes st as struct stat.
func putStat(st *vfs.Stat) []byte {
	b := make([]byte, statSize)
	le.PutUint64(b[0:], st.Dev)
	le.PutUint64(b[8:], st.Ino)
	le.PutUint64(b[16:], uint64(st.Nlink))
	le.PutUint32(b[24:], st.Mode)
	le.PutUint32(b[28:], st.UID)
	le.PutUint32(b[32:], st.GID)
	le.PutUint64(b[40:], st.Rdev)
	le.PutUint64(b[48:], uint64(st.Size))
	le.PutUint64(b[56:], uint64(st.Blksize))
	le.PutUint64(b[64:], uint64(st.Blocks))
	for i, ts := range [...]unix.Timespec{st.Atime, st.Mtime, st.Ctime} {
		le.PutUint64(b[72+16*i:], uint64(ts.Sec))
		le.PutUint64(b[80+16*i:], uint64(ts.Nsec))
	}
	return b
}

// putStatx encodes st as struct statx. All basic fields are always known; the birth time only on some file systems.
func putStatx(st *vfs.Stat, mountID uint64) []byte {
	b := make([]byte, statxSize)
	mask := uint32(unix.STATX_BASIC_STATS)
	if st.Btime != (unix.Timespec{}) {
		mask |= unix.STATX_BTIME
	}
	if mountID != 0 {
		mask |= unix.STATX_MNT_ID
	}
	le.PutUint32(b[0:], mask)
	le.PutUint32(b[4:], uint32(st.Blksize))
	le.PutUint32(b[16:], st.Nlink)
	le.PutUint32(b[20:], st.UID)
	le.PutUint32(b[24:], st.GID)
	le.PutUint16(b[28:], uint16(st.Mode))
	le.PutUint64(b[32:], st.Ino)
	le.PutUint64(b[40:], uint64(st.Size))
	le.PutUint64(b[48:], uint64(st.Blocks))
	for i, ts := range [...]unix.Timespec{st.Atime, st.Btime, st.Ctime, st.Mtime} {
		le.PutUint64(b[64+16*i:], uint64(ts.Sec))
		le.PutUint32(b[72+16*i:], uint32(ts.Nsec))
	}
	le.PutUint32(b[128:], unix.Major(st.Rdev))
	le.PutUint32(b[132:], unix.Minor(st.Rdev))
	le.PutUint32(b[136:], unix.Major(st.Dev))
	le.PutUint32(b[140:], unix.Minor(st.Dev))
	le.PutUint64(b[144:], mountID)
	return b
}

// putStatfs encodes st as struct statfs.
func putStatfs(st *vfs.Statfs) []byte {
	b := make([]byte, statfsSize)
	le.PutUint64(b[0:], uint64(st.Type))
	le.PutUint64(b[8:], uint64(st.Bsize))
	le.PutUint64(b[16:], st.Blocks)
	le.PutUint64(b[24:], st.Bfree)
	le.PutUint64(b[32:], st.Bavail)
	le.PutUint64(b[40:], st.Files)
	le.PutUint64(b[48:], st.Ffree)
	le.PutUint64(b[56:], st.Fsid)
	le.PutUint64(b[64:], uint64(st.Namelen))
	le.PutUint64(b[72:], uint64(st.Bsize)) // f_frsize
	// ST_VALID says that f_flags means something (include/linux/statfs.h).
	const stValid = 0x20
	le.PutUint64(b[80:], uint64(st.Flags)|stValid)
	return b
}

// direntType is a mode's S_IFMT part as d_type: IFTODT of include/linux/fs_types.h.
func direntType(mode uint32) byte { return byte(mode & unix.S_IFMT >> 12) }

// appendDirent64 appends d as struct linux_dirent64; nil if that would make b longer than limit.
func appendDirent64(b []byte, limit int, d *vfs.Dirent) []byte {
	n := (direntHead + len(d.Name) + 1 + 7) &^ 7
	if len(b)+n > limit {
		return nil
	}
	at := len(b)
	b = append(b, make([]byte, n)...)
	le.PutUint64(b[at:], d.Ino)
	le.PutUint64(b[at+8:], uint64(d.Next))
	le.PutUint16(b[at+16:], uint16(n))
	b[at+18] = direntType(d.Type)
	copy(b[at+direntHead:], d.Name)
	return b
}

// appendDirent appends d as the older struct linux_dirent, whose type byte is the record's last.
func appendDirent(b []byte, limit int, d *vfs.Dirent) []byte {
	n := (odirentHead + len(d.Name) + 2 + 7) &^ 7
	if len(b)+n > limit {
		return nil
	}
	at := len(b)
	b = append(b, make([]byte, n)...)
	le.PutUint64(b[at:], d.Ino)
	le.PutUint64(b[at+8:], uint64(d.Next))
	le.PutUint16(b[at+16:], uint16(n))
	copy(b[at+odirentHead:], d.Name)
	b[at+n-1] = direntType(d.Type)
	return b
}
