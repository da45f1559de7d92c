package strace

import (
	"math/bits"
	"strconv"
)

// signalNames are the classic signals of x86-64, without SIG.
var signalNames = [...]string{
	1: "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM", "TERM",
	"STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR",
	"SYS", "RTMIN",
}

const (
	numSignals = 64
	sigrtmin   = 32
)

// signalName returns a signal's name without SIG, or the empty string.
func signalName(n uint64) string {
	switch {
	case n == 0 || n > numSignals:
		return ""
	case n < uint64(len(signalNames)):
		return signalNames[n]
	}
	return "RT_" + strconv.FormatUint(n-sigrtmin, 10)
}

func (d *decoder) signal(v uint64) *decoder {
	if name := signalName(v & 0xffffffff); name != "" {
		return d.str("SIG").str(name)
	}
	return d.int(int64(int32(v)))
}

// sigset shows a set of signals; one that is mostly full is shown by what it lacks.
func (d *decoder) sigset(set uint64) *decoder {
	if bits.OnesCount64(set) >= numSignals*2/3 {
		set = ^set
		d.str("~")
	}
	d.str("[")
	for sep := ""; set != 0; set &= set - 1 {
		d.str(sep).str(signalName(uint64(bits.TrailingZeros64(set)) + 1))
		sep = " "
	}
	return d.str("]")
}

// sigsetAt shows the set of size bytes at addr.
func (d *decoder) sigsetAt(addr, size uint64) {
	if size != 8 || addr == 0 {
		d.addr(addr)
		return
	}
	set, ok := d.load64(addr)
	if !ok {
		d.addr(addr)
		return
	}
	d.sigset(set)
}

// sigsetIn is a set whose size is argument n; sigsetOut is written by the call.
func sigsetIn(n int) arg {
	return arg{n: n, show: func(d *decoder, a arg, v uint64) { d.sigsetAt(v, d.c.args[a.n]) }}
}

func sigsetOut(n int) arg {
	return arg{n: n, out: always, show: func(d *decoder, a arg, v uint64) {
		if d.pointer(v) {
			d.sigsetAt(v, d.c.args[a.n])
		}
	}}
}

var sigactionFlags = flagSet{"SA_???", []flag{
	{0x04000000, "SA_RESTORER"}, {0x08000000, "SA_ONSTACK"}, {0x10000000, "SA_RESTART"}, {0x40000000, "SA_NODEFER"},
	{0x80000000, "SA_RESETHAND"}, {4, "SA_SIGINFO"}, {1, "SA_NOCLDSTOP"}, {2, "SA_NOCLDWAIT"},
	{0x400, "SA_UNSUPPORTED"}, {0x800, "SA_EXPOSE_TAGBITS"},
}}

const saRestorer = 0x04000000

// handlers are the special values of sa_handler.
var handlers = [...]string{"SIG_DFL", "SIG_IGN"}

// showSigaction shows the kernel's struct sigaction: handler, flags, restorer, mask.
func showSigaction(d *decoder, b []byte) {
	handler, fl := le.Uint64(b), le.Uint64(b[8:])
	d.str("{sa_handler=")
	switch {
	case handler < uint64(len(handlers)):
		d.str(handlers[handler])
	case handler == ^uint64(0):
		d.str("SIG_ERR")
	default:
		d.hex(handler)
	}
	d.str(", sa_mask=").sigset(le.Uint64(b[24:])).str(", sa_flags=").flags(&sigactionFlags, fl)
	if fl&saRestorer != 0 {
		d.str(", sa_restorer=").addr(le.Uint64(b[16:]))
	}
	d.str("}")
}

// Names of si_code. Codes that a signal does not define are common to all.
var (
	commonCodes = flagSet{"", []flag{
		{0, "SI_USER"}, {0x80, "SI_KERNEL"}, {neg(1), "SI_QUEUE"}, {neg(2), "SI_TIMER"}, {neg(3), "SI_MESGQ"},
		{neg(4), "SI_ASYNCIO"}, {neg(5), "SI_SIGIO"}, {neg(6), "SI_TKILL"}, {neg(7), "SI_DETHREAD"}, {neg(60), "SI_ASYNCNL"},
	}}
	signalCodes = [...]flagSet{
		4:  {"", codes("ILL_ILLOPC", "ILL_ILLOPN", "ILL_ILLADR", "ILL_ILLTRP", "ILL_PRVOPC", "ILL_PRVREG", "ILL_COPROC", "ILL_BADSTK")},
		5:  {"", codes("TRAP_BRKPT", "TRAP_TRACE", "TRAP_BRANCH", "TRAP_HWBKPT")},
		7:  {"", codes("BUS_ADRALN", "BUS_ADRERR", "BUS_OBJERR", "BUS_MCEERR_AR", "BUS_MCEERR_AO")},
		8:  {"", codes("FPE_INTDIV", "FPE_INTOVF", "FPE_FLTDIV", "FPE_FLTOVF", "FPE_FLTUND", "FPE_FLTRES", "FPE_FLTINV", "FPE_FLTSUB")},
		11: {"", codes("SEGV_MAPERR", "SEGV_ACCERR", "SEGV_BNDERR", "SEGV_PKUERR")},
		17: {"", codes("CLD_EXITED", "CLD_KILLED", "CLD_DUMPED", "CLD_TRAPPED", "CLD_STOPPED", "CLD_CONTINUED")},
		29: {"", codes("POLL_IN", "POLL_OUT", "POLL_MSG", "POLL_ERR", "POLL_PRI", "POLL_HUP")},
		31: {"", codes("SYS_SECCOMP", "SYS_USER_DISPATCH")},
	}
)

func neg(v uint32) uint64 { return uint64(-v) }

func codes(names ...string) []flag {
	f := make([]flag, len(names))
	for i, n := range names {
		f[i] = flag{uint64(i + 1), n}
	}
	return f
}

// Codes that say who sent a signal (include/uapi/asm-generic/siginfo.h).
const (
	siUser  = 0
	siTimer = -2
	siTkill = -6
)

// siginfoSize is sizeof(siginfo_t).
const siginfoSize = 128

// Signals whose siginfo_t has fields of its own.
const (
	sigIll, sigTrap, sigBus, sigFpe, sigSegv = 4, 5, 7, 8, 11
	sigChld, sigIO, sigSys                   = 17, 29, 31
)

// showSiginfo shows a siginfo_t of siginfoSize bytes.
func showSiginfo(d *decoder, b []byte) {
	signo, errno, code := le.Uint32(b), le.Uint32(b[4:]), le.Uint32(b[8:])
	if signo == 0 {
		d.str("{}")
		return
	}
	d.str("{si_signo=").signal(uint64(signo)).str(", si_code=")
	set := &commonCodes
	if signo < uint32(len(signalCodes)) && signalCodes[signo].flags != nil && commonCodes.name(uint64(code)) == "" {
		set = &signalCodes[signo]
	}
	d.enum(set, uint64(code))
	if errno != 0 {
		d.str(", si_errno=").int(int64(int32(errno)))
	}
	switch {
	case int32(code) == siTimer:
		d.str(", si_timerid=").hex(uint64(le.Uint32(b[16:]))).str(", si_overrun=").int(int64(int32(le.Uint32(b[20:]))))
		d.siValue(b[24:])
	case int32(code) <= 0:
		d.siPid(b)
		if int32(code) != siUser && int32(code) != siTkill && le.Uint64(b[24:]) != 0 {
			d.siValue(b[24:])
		}
	case signo == sigChld:
		d.siPid(b)
		status := le.Uint32(b[24:])
		d.str(", si_status=")
		if code == 1 {
			d.int(int64(int32(status)))
		} else {
			d.signal(uint64(status))
		}
		d.str(", si_utime=").int(int64(le.Uint64(b[32:]))).str(", si_stime=").int(int64(le.Uint64(b[40:])))
	case signo == sigSys:
		d.str(", si_call_addr=").addr(le.Uint64(b[16:])).str(", si_syscall=")
		if name := d.name(uint64(le.Uint32(b[24:]))); name != "" {
			d.str("__NR_").str(name)
		} else {
			d.uint(uint64(le.Uint32(b[24:])))
		}
		d.str(", si_arch=").hex(uint64(le.Uint32(b[28:])))
	case signo == sigIO:
		d.str(", si_band=").int(int64(le.Uint64(b[16:]))).str(", si_fd=").int(int64(int32(le.Uint32(b[24:]))))
	default:
		d.siFault(signo, b)
	}
	d.str("}")
}

func (d *decoder) siPid(b []byte) {
	d.str(", si_pid=").int(int64(int32(le.Uint32(b[16:])))).str(", si_uid=").uint(uint64(le.Uint32(b[20:])))
}

func (d *decoder) siValue(b []byte) {
	d.str(", si_int=").int(int64(int32(le.Uint32(b)))).str(", si_ptr=").addr(le.Uint64(b))
}

func (d *decoder) siFault(signo uint32, b []byte) {
	switch signo {
	case sigIll, sigTrap, sigBus, sigFpe, sigSegv:
		d.str(", si_addr=").addr(le.Uint64(b[16:]))
	default: // a code that the signal does not define
		if le.Uint64(b[16:]) != 0 {
			d.siPid(b)
		}
		if le.Uint64(b[24:]) != 0 {
			d.siValue(b[24:])
		}
	}
}

// waitStatus shows what wait4 stored, in the terms of wait(2)'s macros.
func (d *decoder) waitStatus(st uint32) *decoder {
	switch {
	case st == 0xffff:
		return d.str("{WIFCONTINUED(s)}")
	case st&0xff == 0x7f:
		d.str("{WIFSTOPPED(s) && WSTOPSIG(s) == ").stopSignal(st >> 8 & 0xff)
		if ev := st >> 16; ev != 0 {
			d.str("} | ").hex(uint64(ev)).str(" << 16")
			return d
		}
		return d.str("}")
	case st&0x7f != 0:
		d.str("{WIFSIGNALED(s) && WTERMSIG(s) == ").signal(uint64(st & 0x7f))
		if st&0x80 != 0 {
			d.str(" && WCOREDUMP(s)")
		}
		return d.str("}")
	}
	return d.str("{WIFEXITED(s) && WEXITSTATUS(s) == ").int(int64(st >> 8 & 0xff)).str("}")
}

// stopSignal shows a stop's signal; the highest bit marks a stop at a system call.
func (d *decoder) stopSignal(n uint32) *decoder {
	d.signal(uint64(n & 0x7f))
	if n&0x80 != 0 {
		d.str(" | 0x80")
	}
	return d
}
