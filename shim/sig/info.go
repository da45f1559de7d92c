package sig

import (
	"encoding/binary"

	"culvert/guest/signals"
)

// InfoSize is the size of siginfo_t.
const InfoSize = signals.InfoSize

// Values of si_code (include/uapi/asm-generic/siginfo.h). Positive ones come from the kernel.
const (
	SI_USER    = 0
	SI_KERNEL  = 0x80
	SI_QUEUE   = -1
	SI_TIMER   = -2
	SI_MESGQ   = -3
	SI_ASYNCIO = -4
	SI_SIGIO   = -5
	SI_TKILL   = -6

	ILL_ILLOPN    = 2
	FPE_INTDIV    = 1
	FPE_INTOVF    = 2
	FPE_FLTDIV    = 3
	FPE_FLTOVF    = 4
	FPE_FLTUND    = 5
	FPE_FLTRES    = 6
	FPE_FLTINV    = 7
	SEGV_MAPERR   = 1
	SEGV_ACCERR   = 2
	BUS_ADRALN    = 1
	BUS_ADRERR    = 2
	TRAP_BRKPT    = 1
	TRAP_TRACE    = 2
	CLD_EXITED    = 1
	CLD_KILLED    = 2
	CLD_DUMPED    = 3
	CLD_STOPPED   = 5
	CLD_CONTINUED = 6
)

// Info is a siginfo_t, in the parts that every signal has and the union's bytes.
type Info struct {
	Signo, Errno, Code int32
	Union              [InfoSize - 16]byte
}

// u32 and u64 store at an offset in the union.
func (i *Info) u32(off int, v uint32) { binary.LittleEndian.PutUint32(i.Union[off:], v) }
func (i *Info) u64(off int, v uint64) { binary.LittleEndian.PutUint64(i.Union[off:], v) }

// Kernel is SEND_SIG_PRIV: a signal without a story.
func Kernel(signo int) Info { return Info{Signo: int32(signo), Code: SI_KERNEL} }

// User is what kill(2) (SI_USER) and tkill(2) (SI_TKILL) send: _kill.
func User(signo int, code int32, pid int, uid uint32) Info {
	i := Info{Signo: int32(signo), Code: code}
	i.u32(0, uint32(pid))
	i.u32(4, uid)
	return i
}

// Fault is raised by an exception at addr: _sigfault.
func Fault(signo int, code int32, addr uint64) Info {
	i := Info{Signo: int32(signo), Code: code}
	i.u64(0, addr)
	return i
}

// Child tells a parent of a child's change: _sigchld. Times are in clock ticks of 10 ms.
func Child(signo int, code int32, pid int, uid uint32, status int, utime, stime uint64) Info {
	i := Info{Signo: int32(signo), Code: code}
	i.u32(0, uint32(pid))
	i.u32(4, uid)
	i.u32(8, uint32(status))
	i.u64(16, utime)
	i.u64(24, stime)
	return i
}

// Timer is sent by a POSIX timer: _timer.
func Timer(signo int, id int32, overrun int32, value uint64) Info {
	i := Info{Signo: int32(signo), Code: SI_TIMER}
	i.u32(0, uint32(id))
	i.u32(4, uint32(overrun))
	i.u64(8, value)
	return i
}

// SetOverrun stores a timer's overrun count, when it is delivered.
func (i *Info) SetOverrun(n int32) { i.u32(4, uint32(n)) }

// TimerID returns which timer sent the signal; good only if Code is SI_TIMER.
func (i *Info) TimerID() int32 { return int32(binary.LittleEndian.Uint32(i.Union[0:])) }

// PID, UID and Value are si_pid, si_uid and si_value, for signals that have them.
func (i *Info) PID() uint32   { return binary.LittleEndian.Uint32(i.Union[0:]) }
func (i *Info) UID() uint32   { return binary.LittleEndian.Uint32(i.Union[4:]) }
func (i *Info) Value() uint64 { return binary.LittleEndian.Uint64(i.Union[8:]) }

// Addr is si_addr.
func (i *Info) Addr() uint64 { return binary.LittleEndian.Uint64(i.Union[0:]) }

// Marshal returns the siginfo_t.
func (i *Info) Marshal() [InfoSize]byte {
	var b [InfoSize]byte
	binary.LittleEndian.PutUint32(b[0:], uint32(i.Signo))
	binary.LittleEndian.PutUint32(b[4:], uint32(i.Errno))
	binary.LittleEndian.PutUint32(b[8:], uint32(i.Code))
	copy(b[16:], i.Union[:])
	return b
}

// UnmarshalInfo reads a siginfo_t.
func UnmarshalInfo(b *[InfoSize]byte) Info {
	i := Info{
		Signo: int32(binary.LittleEndian.Uint32(b[0:])),
		Errno: int32(binary.LittleEndian.Uint32(b[4:])),
		Code:  int32(binary.LittleEndian.Uint32(b[8:])),
	}
	copy(i.Union[:], b[16:])
	return i
}
