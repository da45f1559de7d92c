package pipes

import (
	"math/bits"

	"culvert/shim/abi"
)

// Sizes of a pipe in bytes. MaxSize is pipe-max-size's default, and here a bound for root too: no guest process has
// CAP_SYS_RESOURCE for pipes.
const (
	DefaultSize = 16 * abi.PageSize
	MaxSize     = 1 << 20
)

// Limits are /proc/sys/fs/pipe-max-size, pipe-user-pages-soft and pipe-user-pages-hard; 0 pages = no limit.
type Limits struct {
	MaxSize  uint32 // bytes
	SoftPage uint64 // pages of one user
	HardPage uint64
}

// DefaultLimits returns Linux's.
func DefaultLimits() Limits { return Limits{MaxSize: MaxSize, SoftPage: 16 * 1024} }

// RoundSize is round_pipe_size of fs/pipe.c: a power of two of at least a page, 0 if arg is too large (EINVAL). arg is
// F_SETPIPE_SZ's argument cut to 32 bits, as fcntl does.
func RoundSize(arg uint32) uint32 {
	if arg > 1<<31 {
		return 0
	}
	if arg < abi.PageSize {
		return abi.PageSize
	}
	return 1 << (bits.Len32(arg-1) & 31)
}

// minPages is PIPE_MIN_DEF_BUFFERS: what a new pipe gets once its user is above the soft limit.
const minPages = 2

// NewPipe returns the pages of a new pipe of a user whose pipes have used pages, as alloc_pipe_info does; 0 if there may
// be none (ENFILE). privileged is CAP_SYS_RESOURCE or CAP_SYS_ADMIN.
func (l Limits) NewPipe(used uint64, privileged bool) (pages uint64) {
	pages = min(DefaultSize, uint64(l.MaxSize)) / abi.PageSize
	if !privileged && over(l.SoftPage, used+pages) {
		pages = minPages
	}
	if !privileged && over(l.HardPage, used+pages) {
		return 0
	}
	return pages
}

// Resize returns the size in bytes that F_SETPIPE_SZ gives to a pipe of old bytes whose user has used pages, this pipe's
// included, or an errno: pipe_set_size of fs/pipe.c. EBUSY is BeginResize's to find.
func (l Limits) Resize(arg, old uint32, used uint64, privileged bool) (size uint32, errno uint64) {
	size = RoundSize(arg)
	if size == 0 {
		return 0, abi.EINVAL
	}
	if size <= old { // less is always permitted
		return size, 0
	}
	after := used - uint64(old/abi.PageSize) + uint64(size/abi.PageSize)
	if size > l.MaxSize || !privileged && (over(l.SoftPage, after) || over(l.HardPage, after)) {
		return 0, abi.EPERM
	}
	return size, 0
}

// over is too_many_pipe_buffers_soft and _hard.
func over(limit, pages uint64) bool { return limit != 0 && pages > limit }
