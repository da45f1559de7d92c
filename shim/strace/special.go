package strace

import "golang.org/x/sys/unix"

// Arguments whose meaning depends on an operation, and results that show more than a number.

// Results.

func retHex(d *decoder) { d.hex(d.ret) }

func retOctal(d *decoder) { d.octal(d.ret&0xffff, 3) }

func retNothing(d *decoder) { d.str("?") }

// retPoll shows what poll found: the array lies in argument 0, its length is argument 1.
func retPoll(d *decoder) {
	d.int(int64(d.ret))
	if d.ret == 0 {
		d.str(" (Timeout)")
		return
	}
	d.str(" ([")
	sep, shown := "", uint64(0)
	for i := range d.c.args[1] & 0xffffffff {
		b, ok := d.load(d.c.args[0]+i*8, 8)
		if !ok {
			break
		}
		if le.Uint16(b[6:]) == 0 {
			continue
		}
		d.str(sep)
		sep = ", "
		if shown++; shown > maxString {
			d.str("...")
			break
		}
		pollRevents.show(d, b)
	}
	d.str("]")
	if ts := d.c.args[2]; d.c.nr == unix.SYS_PPOLL && ts != 0 {
		d.str(", left ").structure(&timespec, ts)
	}
	d.str(")")
}

// selectBits bounds the sets that are shown; larger descriptors are rare.
const selectBits = 4096

// fdSetIn shows a descriptor set; argument 0 is nfds.
var fdSetIn = arg{show: func(d *decoder, _ arg, v uint64) { d.fdSet(v) }}

func (d *decoder) fdSet(addr uint64) {
	n := int32(d.c.args[0])
	if addr == 0 || n < 0 {
		d.addr(addr)
		return
	}
	bits := min(int(n), selectBits)
	b, ok := d.load(addr, (bits+63)/64*8)
	if !ok {
		d.addr(addr)
		return
	}
	d.str("[")
	sep := ""
	for i := range bits {
		if b[i/8]&(1<<(i%8)) != 0 {
			d.str(sep).int(int64(i))
			sep = " "
		}
	}
	d.str("]")
}

// retSelect shows which descriptors select found, and the time that is left.
func retSelect(d *decoder) {
	d.int(int64(d.ret))
	if d.ret == 0 {
		d.str(" (Timeout)")
		return
	}
	sep := " ("
	for i, name := range [...]string{"in", "out", "except"} {
		addr := d.c.args[1+i]
		if addr == 0 {
			continue
		}
		before := len(d.b)
		d.str(sep).str(name).str(" ")
		text := len(d.b)
		d.fdSet(addr)
		if string(d.b[text:]) == "[]" { // strace names only the sets that have members
			d.b = d.b[:before]
			continue
		}
		sep = ", "
	}
	if addr := d.c.args[4]; addr != 0 {
		l := &timeval
		if d.c.nr == unix.SYS_PSELECT6 {
			l = &timespec
		}
		d.str(sep).str("left ").structure(l, addr)
		sep = ", "
	}
	if sep == ", " {
		d.str(")")
	}
}

// sigmaskPair is pselect6's last argument: a pointer to a set and its size.
var sigmaskPair = layout{size: 16, fn: func(d *decoder, b []byte) {
	addr, size := le.Uint64(b), le.Uint64(b[8:])
	d.str("{sigmask=").sigsetAt(addr, size)
	d.str(", sigsetsize=").uint(size).str("}")
}}

// Futexes.

const (
	futexPrivate = 128
	futexClock   = 256
	futexCmd     = 127
)

type futexOp struct {
	name string
	args []arg // after op
	at   []int // which arguments they are
}

var futexUnknown = futexOp{"", []arg{u32, ptr, ptr, hex32}, []int{2, 3, 4, 5}}

var futexOps = [...]futexOp{
	{"FUTEX_WAIT", []arg{u32, in(&timespec)}, []int{2, 3}},
	{"FUTEX_WAKE", []arg{u32}, []int{2}},
	{"FUTEX_FD", []arg{u32}, []int{2}},
	{"FUTEX_REQUEUE", []arg{u32, u32, ptr}, []int{2, 3, 4}},
	{"FUTEX_CMP_REQUEUE", []arg{u32, u32, ptr, u32}, []int{2, 3, 4, 5}},
	{"FUTEX_WAKE_OP", []arg{u32, u32, ptr, wakeOp}, []int{2, 3, 4, 5}},
	{"FUTEX_LOCK_PI", []arg{in(&timespec)}, []int{3}},
	{"FUTEX_UNLOCK_PI", nil, nil},
	{"FUTEX_TRYLOCK_PI", nil, nil},
	{"FUTEX_WAIT_BITSET", []arg{u32, in(&timespec), bitset}, []int{2, 3, 5}},
	{"FUTEX_WAKE_BITSET", []arg{u32, bitset}, []int{2, 5}},
	{"FUTEX_WAIT_REQUEUE_PI", []arg{u32, in(&timespec), ptr}, []int{2, 3, 4}},
	{"FUTEX_CMP_REQUEUE_PI", []arg{u32, u32, ptr, u32}, []int{2, 3, 4, 5}},
	{"FUTEX_LOCK_PI2", []arg{in(&timespec)}, []int{3}},
}

var bitset = arg{show: func(d *decoder, _ arg, v uint64) {
	if uint32(v) == ^uint32(0) {
		d.str("FUTEX_BITSET_MATCH_ANY")
		return
	}
	d.hex(v & 0xffffffff)
}}

var (
	wakeOps  = flagSet{"FUTEX_OP_???", []flag{{0, "FUTEX_OP_SET"}, {1, "FUTEX_OP_ADD"}, {2, "FUTEX_OP_OR"}, {3, "FUTEX_OP_ANDN"}, {4, "FUTEX_OP_XOR"}}}
	wakeCmps = flagSet{"FUTEX_OP_CMP_???", []flag{
		{0, "FUTEX_OP_CMP_EQ"}, {1, "FUTEX_OP_CMP_NE"}, {2, "FUTEX_OP_CMP_LT"}, {3, "FUTEX_OP_CMP_LE"},
		{4, "FUTEX_OP_CMP_GT"}, {5, "FUTEX_OP_CMP_GE"},
	}}
)

// wakeOp is FUTEX_WAKE_OP's encoded operation.
var wakeOp = arg{show: func(d *decoder, _ arg, v uint64) {
	if v>>28&8 != 0 {
		d.str("FUTEX_OP_OPARG_SHIFT<<28|")
	}
	d.enum(&wakeOps, v>>28&7).str("<<28|").hex(v >> 12 & 0xfff).str("<<12|")
	d.enum(&wakeCmps, v>>24&0xf).str("<<24|").hex(v & 0xfff)
}}

// futexArgs shows op and what belongs to it.
var futexArgs = arg{show: func(d *decoder, _ arg, v uint64) {
	op := v & 0xffffffff
	cmd := op &^ (futexPrivate | futexClock)
	if cmd < uint64(len(futexOps)) {
		d.str(futexOps[cmd].name)
		if op&futexPrivate != 0 {
			d.str("_PRIVATE")
		}
		if op&futexClock != 0 {
			d.str("|FUTEX_CLOCK_REALTIME")
		}
	} else {
		d.hex(op).str(" /* FUTEX_??? */")
	}
	o := &futexUnknown
	if cmd = op & futexCmd; cmd < uint64(len(futexOps)) {
		o = &futexOps[cmd]
	}
	for i, a := range o.args {
		d.str(", ")
		a.show(d, a, d.c.args[o.at[i]])
	}
}}

// fcntl.

var fcntlArgsOf = [...]struct {
	cmd  uint64
	arg  arg
	none bool
}{
	{cmd: unix.F_DUPFD, arg: i32}, {cmd: unix.F_DUPFD_CLOEXEC, arg: i32},
	{cmd: unix.F_GETFD, none: true}, {cmd: unix.F_GETFL, none: true},
	{cmd: unix.F_SETFD, arg: flags(&fdFlags)}, {cmd: unix.F_SETFL, arg: openArg},
	{cmd: unix.F_GETLK, arg: out(&flockPid)}, {cmd: unix.F_SETLK, arg: in(&flock)}, {cmd: unix.F_SETLKW, arg: in(&flock)},
	{cmd: unix.F_OFD_GETLK, arg: out(&flockPid)}, {cmd: unix.F_OFD_SETLK, arg: in(&flock)},
	{cmd: unix.F_OFD_SETLKW, arg: in(&flock)},
	{cmd: unix.F_GETOWN, none: true}, {cmd: unix.F_SETOWN, arg: i32},
	{cmd: unix.F_GETSIG, none: true}, {cmd: unix.F_SETSIG, arg: sig},
	{cmd: unix.F_SETPIPE_SZ, arg: u64}, {cmd: unix.F_GETPIPE_SZ, none: true},
	{cmd: unix.F_ADD_SEALS, arg: flags(&seals)}, {cmd: unix.F_GET_SEALS, none: true},
	{cmd: unix.F_SETLEASE, arg: enum(&lockTypes)}, {cmd: unix.F_GETLEASE, none: true},
}

var (
	fdFlags = flagSet{"FD_???", []flag{{1, "FD_CLOEXEC"}}}
	seals   = flagSet{"F_SEAL_???", []flag{
		{1, "F_SEAL_SEAL"}, {2, "F_SEAL_SHRINK"}, {4, "F_SEAL_GROW"}, {8, "F_SEAL_WRITE"}, {16, "F_SEAL_FUTURE_WRITE"},
	}}
)

// fcntlArg is fcntl's third argument.
var fcntlArg = arg{
	out: func(args *[6]uint64) bool {
		cmd := args[1] & 0xffffffff
		return cmd == unix.F_GETLK || cmd == unix.F_OFD_GETLK
	},
	when: func(args *[6]uint64) bool {
		for i := range fcntlArgsOf {
			if fcntlArgsOf[i].cmd == args[1]&0xffffffff {
				return !fcntlArgsOf[i].none
			}
		}
		return true
	},
	show: func(d *decoder, _ arg, v uint64) {
		for i := range fcntlArgsOf {
			if f := &fcntlArgsOf[i]; f.cmd == d.c.args[1]&0xffffffff {
				f.arg.show(d, f.arg, v)
				return
			}
		}
		d.hex(v)
	},
}

func retFcntl(d *decoder) {
	switch d.c.args[1] & 0xffffffff {
	case unix.F_GETFD:
		d.hex(d.ret)
		if d.ret != 0 {
			d.str(" (flags ").flags(&fdFlags, d.ret).str(")")
		}
	case unix.F_GETFL:
		d.hex(d.ret).str(" (flags ").openFlagsOf(d.ret).str(")")
	case unix.F_GET_SEALS:
		d.hex(d.ret)
		if d.ret != 0 {
			d.str(" (seals ").flags(&seals, d.ret).str(")")
		}
	default:
		d.int(int64(d.ret))
	}
}

// ioctl.

var ioctls = [...]struct {
	cmd  uint64
	name string
	arg  arg
}{
	{unix.TCGETS, "TCGETS", after(ptr)}, {unix.TCSETS, "TCSETS", ptr}, {unix.TCSETSW, "TCSETSW", ptr}, {unix.TCSETSF, "TCSETSF", ptr},
	{unix.TCSBRK, "TCSBRK", i32}, {unix.TCXONC, "TCXONC", i32}, {unix.TCFLSH, "TCFLSH", i32},
	{unix.TIOCGWINSZ, "TIOCGWINSZ", out(&winsize)}, {unix.TIOCSWINSZ, "TIOCSWINSZ", in(&winsize)},
	{unix.TIOCGPGRP, "TIOCGPGRP", out(&one32)}, {unix.TIOCSPGRP, "TIOCSPGRP", in(&one32)},
	{unix.TIOCGSID, "TIOCGSID", out(&one32)}, {unix.TIOCSCTTY, "TIOCSCTTY", i32}, {unix.TIOCNOTTY, "TIOCNOTTY", ptr},
	{unix.TIOCGPTN, "TIOCGPTN", out(&oneU32)}, {unix.TIOCSPTLCK, "TIOCSPTLCK", in(&one32)},
	{unix.TIOCOUTQ, "TIOCOUTQ", out(&one32)}, {unix.TIOCINQ, "FIONREAD", out(&one32)},
	{0x5421, "FIONBIO", in(&one32)}, {0x5452, "FIOASYNC", in(&one32)},
	{0x5450, "FIONCLEX", arg{}}, {0x5451, "FIOCLEX", arg{}},
}

// ioctlDirs names the direction bits of a request (include/uapi/asm-generic/ioctl.h).
var ioctlDirs = [...]string{"_IOC_NONE", "_IOC_WRITE", "_IOC_READ", "_IOC_READ|_IOC_WRITE"}

var ioctlCmd = arg{show: func(d *decoder, _ arg, v uint64) {
	v &= 0xffffffff
	for i := range ioctls {
		if ioctls[i].cmd == v {
			d.str(ioctls[i].name)
			return
		}
	}
	d.str("_IOC(").str(ioctlDirs[v>>30]).str(", ").hex(v >> 8 & 0xff).str(", ").hex(v & 0xff).str(", ").hex(v >> 16 & 0x3fff).str(")")
}}

var ioctlArg = arg{
	out: func(args *[6]uint64) bool {
		for i := range ioctls {
			if ioctls[i].cmd == args[1]&0xffffffff {
				return ioctls[i].arg.out != nil
			}
		}
		return false
	},
	when: func(args *[6]uint64) bool {
		for i := range ioctls {
			if ioctls[i].cmd == args[1]&0xffffffff {
				return ioctls[i].arg.show != nil
			}
		}
		return true
	},
	show: func(d *decoder, _ arg, v uint64) {
		for i := range ioctls {
			if c := &ioctls[i]; c.cmd == d.c.args[1]&0xffffffff {
				c.arg.show(d, c.arg, v)
				return
			}
		}
		d.hex(v)
	},
}

// prctl and arch_prctl.

// prctlForms says how many arguments an option has and how they are shown; others show all in hexadecimal.
var prctlForms = [...]struct {
	op   uint64
	args []arg
}{
	{op: unix.PR_SET_PDEATHSIG, args: []arg{sig}}, {op: unix.PR_GET_PDEATHSIG, args: []arg{out(&oneSignal)}},
	{op: unix.PR_GET_DUMPABLE}, {op: unix.PR_SET_DUMPABLE, args: []arg{enum(&dumpable)}},
	{op: unix.PR_GET_KEEPCAPS}, {op: unix.PR_SET_KEEPCAPS, args: []arg{u64}},
	{op: unix.PR_SET_NAME, args: []arg{processName}}, {op: unix.PR_GET_NAME, args: []arg{after(processName)}},
	{op: unix.PR_SET_NO_NEW_PRIVS, args: []arg{u64, hex, hex, hex}}, {op: unix.PR_GET_NO_NEW_PRIVS, args: []arg{hex, hex, hex, hex}},
	{op: unix.PR_SET_CHILD_SUBREAPER, args: []arg{u64}}, {op: unix.PR_GET_CHILD_SUBREAPER, args: []arg{out(&oneU32)}},
	{op: unix.PR_SET_SECCOMP, args: []arg{enum(&seccompModes), in(&sockFprog)}}, {op: unix.PR_GET_SECCOMP}, {op: unix.PR_SET_TIMERSLACK, args: []arg{i64}}, {op: unix.PR_GET_TIMERSLACK},
	{op: unix.PR_CAPBSET_READ, args: []arg{enum(&capabilities)}}, {op: unix.PR_CAPBSET_DROP, args: []arg{enum(&capabilities)}},
	{op: unix.PR_GET_TID_ADDRESS, args: []arg{out(&onePtr)}},
}

var (
	dumpable     = flagSet{"SUID_DUMP_???", []flag{{0, "SUID_DUMP_DISABLE"}, {1, "SUID_DUMP_USER"}, {2, "SUID_DUMP_ROOT"}}}
	seccompModes = flagSet{"SECCOMP_MODE_???", []flag{{0, "SECCOMP_MODE_DISABLED"}, {1, "SECCOMP_MODE_STRICT"}, {2, "SECCOMP_MODE_FILTER"}}}
	sockFprog    = layout{size: 16, fields: []field{{"len", 0, showU16}, {"filter", 8, showAddr}}}
	oneSignal    = layout{size: 4, fn: func(d *decoder, b []byte) { d.str("[").signal(uint64(le.Uint32(b))).str("]") }}
	// processName is a task's name: TASK_COMM_LEN bytes.
	processName = arg{show: func(d *decoder, _ arg, v uint64) {
		if d.pointer(v) {
			d.cstring(v, 15)
		}
	}}
)

func prctlForm(args *[6]uint64) []arg {
	for i := range prctlForms {
		if prctlForms[i].op == args[0]&0xffffffff {
			return prctlForms[i].args
		}
	}
	return []arg{hex, hex, hex, hex}
}

// prctlArgs shows everything after the option.
var prctlArgs = arg{
	out: func(args *[6]uint64) bool {
		f := prctlForm(args)
		return len(f) > 0 && f[0].out != nil
	},
	when: func(args *[6]uint64) bool { return len(prctlForm(args)) > 0 },
	show: func(d *decoder, _ arg, _ uint64) {
		for i, a := range prctlForm(&d.c.args) {
			if i > 0 {
				d.str(", ")
			}
			a.show(d, a, d.c.args[1+i])
		}
	},
}

func retPrctl(d *decoder) {
	d.int(int64(d.ret))
	switch d.c.args[0] & 0xffffffff {
	case unix.PR_GET_DUMPABLE:
		d.str(" (").enum(&dumpable, d.ret).str(")")
	case unix.PR_GET_SECCOMP:
		d.str(" (").enum(&seccompModes, d.ret).str(")")
	}
}

// retPersonality shows the personality that was.
func retPersonality(d *decoder) { d.hex(d.ret).str(" (").personality(d.ret).str(")") }

// retSignal shows the signal that sigtimedwait took.
func retSignal(d *decoder) { d.int(int64(d.ret)).str(" (").signal(d.ret).str(")") }

// retMembarrier shows the commands that the kernel knows.
func retMembarrier(d *decoder) {
	if d.c.args[0]&0xffffffff != 0 {
		d.int(int64(d.ret))
		return
	}
	d.hex(d.ret)
	if d.ret != 0 {
		d.str(" (").flags(&membarrierCmds, d.ret).str(")")
	}
}

var archPrctls = flagSet{"ARCH_???", []flag{
	{0x1001, "ARCH_SET_GS"}, {0x1002, "ARCH_SET_FS"}, {0x1003, "ARCH_GET_FS"}, {0x1004, "ARCH_GET_GS"},
	{0x1011, "ARCH_GET_CPUID"}, {0x1012, "ARCH_SET_CPUID"},
}}

var archPrctlArg = arg{
	out: func(args *[6]uint64) bool { return args[0] == 0x1003 || args[0] == 0x1004 },
	show: func(d *decoder, _ arg, v uint64) {
		switch d.c.args[0] {
		case 0x1003, 0x1004:
			if d.pointer(v) {
				d.structure(&onePtr, v)
			}
		default:
			d.hex(v)
		}
	},
}

// clone and clone3.

var cloneFlags = flagSet{"CLONE_???", []flag{
	{0x100, "CLONE_VM"}, {0x200, "CLONE_FS"}, {0x400, "CLONE_FILES"}, {0x800, "CLONE_SIGHAND"}, {0x1000, "CLONE_PIDFD"},
	{0x2000, "CLONE_PTRACE"}, {0x4000, "CLONE_VFORK"}, {0x8000, "CLONE_PARENT"}, {0x10000, "CLONE_THREAD"},
	{0x20000, "CLONE_NEWNS"}, {0x40000, "CLONE_SYSVSEM"}, {0x80000, "CLONE_SETTLS"}, {0x100000, "CLONE_PARENT_SETTID"},
	{0x200000, "CLONE_CHILD_CLEARTID"}, {0x800000, "CLONE_UNTRACED"}, {0x1000000, "CLONE_CHILD_SETTID"},
	{0x2000000, "CLONE_NEWCGROUP"}, {0x4000000, "CLONE_NEWUTS"}, {0x8000000, "CLONE_NEWIPC"}, {0x10000000, "CLONE_NEWUSER"},
	{0x20000000, "CLONE_NEWPID"}, {0x40000000, "CLONE_NEWNET"}, {0x80000000, "CLONE_IO"},
}}

// clone3Flags has those that do not fit clone's flags.
var clone3Flags = flagSet{"CLONE_???", append(cloneFlags.flags[:len(cloneFlags.flags):len(cloneFlags.flags)],
	flag{1 << 32, "CLONE_CLEAR_SIGHAND"}, flag{1 << 33, "CLONE_INTO_CGROUP"}, flag{0x80, "CLONE_NEWTIME"})}

// cloneBits shows flags with the exit signal in the low byte.
func (d *decoder) cloneBits(v uint64) *decoder {
	fl, sigNo := v&^cloneSigMask, v&cloneSigMask
	if fl != 0 {
		d.flags(&cloneFlags, fl)
	}
	switch {
	case sigNo == 0 && fl != 0:
		return d
	case fl != 0:
		d.str("|")
	}
	return d.signal(sigNo)
}

var (
	cloneStack = arg{show: func(d *decoder, _ arg, _ uint64) { d.str("child_stack=").addr(d.c.args[1]) }}
	cloneMask  = arg{show: func(d *decoder, _ arg, _ uint64) { d.str("flags=").cloneBits(d.c.args[0]) }}
	// cloneRest is what strace shows after the call: the pointers that the flags make meaningful.
	cloneRest = arg{out: always, own: true,
		when: func(args *[6]uint64) bool { return args[0]&cloneExtras != 0 },
		show: func(d *decoder, _ arg, _ uint64) {
			fl := d.c.args[0]
			if fl&(unix.CLONE_PARENT_SETTID|unix.CLONE_PIDFD) != 0 {
				d.str(", parent_tid=")
				if p := d.c.args[2]; d.pointer(p) {
					d.structure(&one32, p)
				}
			}
			if fl&unix.CLONE_SETTLS != 0 {
				d.str(", tls=").hex(d.c.args[4])
			}
			if fl&(unix.CLONE_CHILD_SETTID|unix.CLONE_CHILD_CLEARTID) != 0 {
				d.str(", child_tidptr=").addr(d.c.args[3])
			}
		},
	}
)

const cloneExtras = unix.CLONE_PARENT_SETTID | unix.CLONE_PIDFD | unix.CLONE_SETTLS | unix.CLONE_CHILD_SETTID | unix.CLONE_CHILD_CLEARTID

// cloneArgsSizes are the sizes of struct clone_args so far.
const (
	cloneArgsMin = 64
	cloneArgsMax = 88
)

// cloneArgs shows clone3's structure; its size is argument 1.
var cloneArgs = arg{show: func(d *decoder, _ arg, v uint64) {
	size := d.c.args[1]
	if v == 0 || size < cloneArgsMin {
		d.addr(v)
		return
	}
	b := make([]byte, cloneArgsMax)
	p, ok := d.load(v, int(min(size, cloneArgsMax)))
	if !ok {
		d.addr(v)
		return
	}
	copy(b, p)
	word := func(i int) uint64 { return le.Uint64(b[8*i:]) }
	fl := word(0)
	d.str("{flags=").flags(&clone3Flags, fl)
	if fl&unix.CLONE_PIDFD != 0 {
		d.str(", pidfd=").addr(word(1))
	}
	if fl&(unix.CLONE_CHILD_SETTID|unix.CLONE_CHILD_CLEARTID) != 0 {
		d.str(", child_tid=").addr(word(2))
	}
	if fl&unix.CLONE_PARENT_SETTID != 0 {
		d.str(", parent_tid=").addr(word(3))
	}
	d.str(", exit_signal=").signal(word(4)).str(", stack=").addr(word(5)).str(", stack_size=").hex(word(6))
	if fl&unix.CLONE_SETTLS != 0 {
		d.str(", tls=").hex(word(7))
	}
	if word(8) != 0 || word(9) != 0 {
		d.str(", set_tid=").addr(word(8)).str(", set_tid_size=").uint(word(9))
	}
	if fl&(1<<33) != 0 {
		d.str(", cgroup=").uint(word(10))
	}
	d.str("}")
}}

// cloneArgsOut shows what clone3 stored, as in " => {parent_tid=[7]}", and then the size.
var cloneArgsOut = arg{out: always, own: true, show: func(d *decoder, _ arg, size uint64) {
	b, ok := d.load(d.c.args[0], cloneArgsMin)
	if ok && !d.failed && size >= cloneArgsMin {
		fl, sep := le.Uint64(b), " => {"
		for _, o := range [...]struct {
			flag uint64
			name string
			off  int
		}{{unix.CLONE_PIDFD, "pidfd=", 8}, {unix.CLONE_PARENT_SETTID, "parent_tid=", 24}} {
			if fl&o.flag != 0 {
				d.str(sep).str(o.name).structure(&one32, le.Uint64(b[o.off:]))
				sep = ", "
			}
		}
		if sep == ", " {
			d.str("}")
		}
	}
	d.str(", ").uint(size)
}}
