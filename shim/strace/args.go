package strace

import "golang.org/x/sys/unix"

// Kinds of arguments that need no parameters.
var (
	fd    = arg{show: showInt}
	i32   = arg{show: showInt}
	i64   = arg{show: func(d *decoder, _ arg, v uint64) { d.int(int64(v)) }}
	u32   = arg{show: func(d *decoder, _ arg, v uint64) { d.uint(uint64(uint32(v))) }}
	u64   = arg{show: func(d *decoder, _ arg, v uint64) { d.uint(v) }}
	ptr   = arg{show: func(d *decoder, _ arg, v uint64) { d.addr(v) }}
	hex   = arg{show: func(d *decoder, _ arg, v uint64) { d.hex(v) }}
	hex32 = arg{show: func(d *decoder, _ arg, v uint64) { d.hex(uint64(uint32(v))) }}
	path  = arg{show: func(d *decoder, _ arg, v uint64) { d.cstring(v, pathMax-1) }}
	text  = arg{show: func(d *decoder, _ arg, v uint64) { d.cstring(v, maxString) }}
	argv  = arg{show: func(d *decoder, _ arg, v uint64) { d.stringArray(v) }}
	envp  = arg{show: func(d *decoder, _ arg, v uint64) { d.stringCount(v) }}
	mode  = arg{show: func(d *decoder, _ arg, v uint64) { d.octal(v&0xffff, 3) }}
	sig   = arg{show: func(d *decoder, _ arg, v uint64) { d.signal(v) }}

	dirfd = arg{show: func(d *decoder, _ arg, v uint64) {
		if int32(v) == unix.AT_FDCWD {
			d.str("AT_FDCWD")
			return
		}
		d.int(int64(int32(v)))
	}}
	// offset is mmap's: hexadecimal.
	offset = hex
	// id is a user or group; the largest means none.
	id = arg{show: func(d *decoder, _ arg, v uint64) {
		if uint32(v) == ^uint32(0) {
			d.int(-1)
			return
		}
		d.uint(uint64(uint32(v)))
	}}
	device   = arg{show: func(d *decoder, _ arg, v uint64) { d.dev(v & 0xffffffff) }}
	openArg  = arg{show: func(d *decoder, _ arg, v uint64) { d.openFlagsOf(v & 0xffffffff) }}
	mmapArg  = arg{show: func(d *decoder, _ arg, v uint64) { d.mapFlagsOf(v) }}
	mknodArg = arg{show: func(d *decoder, _ arg, v uint64) { d.mode(v & 0xffff) }}

	// pathOut is a C string that the call wrote; readlink's has no NUL and is bufOut.
	pathOut = arg{out: always, show: func(d *decoder, _ arg, v uint64) {
		if d.pointer(v) {
			d.cstring(v, pathMax-1)
		}
	}}
	// bufOut is a buffer of which the call filled as many bytes as it returned.
	bufOut = arg{out: always, show: func(d *decoder, _ arg, v uint64) {
		if d.pointer(v) {
			d.buffer(v, d.ret)
		}
	}}
	randomOut = arg{out: always, show: func(d *decoder, _ arg, v uint64) {
		if d.pointer(v) {
			d.bufferAs(v, d.ret, (*decoder).quoteHex)
		}
	}}
	pipeOut = arg{out: always, show: func(d *decoder, _ arg, v uint64) {
		if d.pointer(v) {
			d.array(v, 2, 4, showI32)
		}
	}}
	direntsOut = arg{out: always, show: showDirents}
	statusOut  = arg{out: always, show: func(d *decoder, _ arg, v uint64) {
		st, ok := uint32(0), v != 0 && !d.failed && d.ret != 0
		if ok {
			st, ok = d.load32(v)
		}
		if !ok {
			d.addr(v)
			return
		}
		d.str("[").waitStatus(st).str("]")
	}}
	cpusIn  = arg{show: showCPUs}
	cpusOut = arg{out: always, show: showCPUs}
)

// Kinds with parameters. They are called only by the initialisers of tables.

func enum(s *flagSet) arg {
	return arg{set: s, show: func(d *decoder, a arg, v uint64) { d.enum(a.set, v&0xffffffff) }}
}

func enum64(s *flagSet) arg {
	return arg{set: s, show: func(d *decoder, a arg, v uint64) { d.enum(a.set, v) }}
}

func flags(s *flagSet) arg {
	return arg{set: s, show: func(d *decoder, a arg, v uint64) { d.flags(a.set, v&0xffffffff) }}
}

func flags64(s *flagSet) arg {
	return arg{set: s, show: func(d *decoder, a arg, v uint64) { d.flags(a.set, v) }}
}

// buf is a buffer whose length is argument n.
func buf(n int) arg {
	return arg{n: n, show: func(d *decoder, a arg, v uint64) { d.buffer(v, d.c.args[a.n]) }}
}

// in is a structure that the call reads.
func in(l *layout) arg {
	return arg{lay: l, show: func(d *decoder, a arg, v uint64) { d.structure(a.lay, v) }}
}

// out is a structure that the call writes.
func out(l *layout) arg {
	return arg{lay: l, out: always, show: func(d *decoder, a arg, v uint64) {
		if d.pointer(v) {
			d.structure(a.lay, v)
		}
	}}
}

// vec is an array that the call reads; argument n counts its elements.
func vec(l *layout, n int) arg {
	return arg{lay: l, n: n, show: func(d *decoder, a arg, v uint64) {
		d.array(v, d.c.args[a.n], a.lay.size, a.lay.show)
	}}
}

// vecOut is an array that the call writes; it returns the number of elements.
func vecOut(l *layout) arg {
	return arg{lay: l, out: always, show: func(d *decoder, a arg, v uint64) {
		if d.pointer(v) {
			d.array(v, d.ret, a.lay.size, a.lay.show)
		}
	}}
}

// when shows a, and what follows it, only if the condition holds.
func when(cond func(args *[6]uint64) bool, a arg) arg {
	a.when = cond
	return a
}

// after shows a after the call.
func after(a arg) arg {
	a.out = always
	return a
}

func showInt(d *decoder, _ arg, v uint64) { d.int(int64(int32(v))) }

// creates tells whether open's flags, argument n, make mode meaningful.
func creates(n int) func(args *[6]uint64) bool {
	return func(args *[6]uint64) bool {
		return args[n]&unix.O_CREAT != 0 || args[n]&unix.O_TMPFILE == unix.O_TMPFILE
	}
}

// makesDevice tells whether mknod's mode, argument n, makes dev meaningful.
func makesDevice(n int) func(args *[6]uint64) bool {
	return func(args *[6]uint64) bool {
		t := args[n] & unix.S_IFMT
		return t == unix.S_IFCHR || t == unix.S_IFBLK
	}
}

// showDirents counts the entries that getdents64 wrote.
func showDirents(d *decoder, _ arg, v uint64) {
	d.addr(v)
	if v == 0 || d.failed {
		return
	}
	// d_reclen is at 16 in struct linux_dirent64; struct linux_dirent of getdents has it there too. Each is at least
	// the header, so that the loop ends.
	const header = 19
	b, ok := d.load(v, int(min(d.ret, maxRead)))
	if !ok {
		return
	}
	n := 0
	for len(b) >= header {
		reclen := int(le.Uint16(b[16:]))
		if reclen < header || reclen > len(b) {
			break
		}
		n++
		b = b[reclen:]
	}
	d.str(" /* ").int(int64(n)).str(" entr")
	if n == 1 {
		d.str("y */")
	} else {
		d.str("ies */")
	}
}

// showCPUs shows a mask of processors. Argument 1 is its size; sched_getaffinity returns how much it wrote.
func showCPUs(d *decoder, a arg, v uint64) {
	n := d.c.args[1] & 0xffffffff
	if a.out != nil {
		if !d.pointer(v) {
			return
		}
		n = min(n, d.ret)
	}
	if v == 0 {
		d.addr(v)
		return
	}
	const words = 128 // CONFIG_NR_CPUS is at most 8192
	b, ok := d.load(v, int(min(n, words*8)))
	if !ok {
		d.addr(v)
		return
	}
	d.str("[")
	sep := ""
	for i := range len(b) * 8 {
		if b[i/8]&(1<<(i%8)) != 0 {
			d.str(sep).int(int64(i))
			sep = " "
		}
	}
	d.str("]")
}

// Arguments of single calls.
var (
	// ptr0 is a pointer of which 0 is not called NULL: set_tid_address's and rseq's.
	ptr0 = hex
	// epollCtlEvent is not read by EPOLL_CTL_DEL.
	epollCtlEvent = arg{show: func(d *decoder, _ arg, v uint64) {
		if d.c.args[1]&0xffffffff == unix.EPOLL_CTL_DEL {
			d.addr(v)
			return
		}
		d.structure(&epollEvent, v)
	}}
	ipcKey = arg{show: func(d *decoder, _ arg, v uint64) {
		if v&0xffffffff == 0 {
			d.str("IPC_PRIVATE")
			return
		}
		d.hex(v & 0xffffffff)
	}}
	ipcArg    = arg{show: func(d *decoder, _ arg, v uint64) { d.permissions(&ipcFlags, v) }}
	shmgetArg = arg{show: func(d *decoder, _ arg, v uint64) {
		huge := v >> hugeShift & hugeMask
		v &= 0xffffffff &^ (hugeMask << hugeShift)
		if fl := v &^ 0o777; fl != 0 {
			d.flags(&shmgetFlags, fl).str("|")
		}
		if huge != 0 {
			d.uint(huge).str("<<SHM_HUGE_SHIFT|")
		}
		d.octal(v&0o777, 3)
	}}
	personalityArg = arg{show: func(d *decoder, _ arg, v uint64) {
		v &= 0xffffffff
		if v == 0xffffffff { // asks only
			d.hex(v)
			return
		}
		d.personality(v)
	}}
	memfdArg = arg{show: func(d *decoder, _ arg, v uint64) {
		v &= 0xffffffff
		huge := v >> hugeShift & hugeMask
		if v &^= hugeMask << hugeShift; v != 0 || huge == 0 {
			d.flags(&memfdFlags, v)
		}
		if huge != 0 {
			if v != 0 {
				d.str("|")
			}
			d.uint(huge).str("<<MFD_HUGE_SHIFT")
		}
	}}
	// rwfArg follows two halves of an offset, of which the high one is not shown.
	rwfArg = arg{show: func(d *decoder, _ arg, _ uint64) { d.flags(&rwfFlags, d.c.args[5]&0xffffffff) }}
	// statxArg is statx's flags: how to synchronise, and AT flags.
	statxArg = arg{show: func(d *decoder, _ arg, v uint64) {
		if v&0x6000 == 0 {
			d.str("AT_STATX_SYNC_AS_STAT").more(&atFlags, v&0xffffffff)
			return
		}
		_, _ = d.known(&statxSyncs, v&0x6000, false)
		d.more(&atFlags, v&0xffffffff&^0x6000)
	}}
	membarrierArg = arg{show: func(d *decoder, _ arg, v uint64) { d.flags(&membarrierFlags, v&0xffffffff) }}
	sembuf        = layout{size: 6, fields: []field{
		{"sem_num", 0, showU16},
		{"sem_op", 2, func(d *decoder, b []byte) { d.int(int64(int16(le.Uint16(b)))) }},
		{"sem_flg", 4, func(d *decoder, b []byte) { d.flags(&semFlags, uint64(le.Uint16(b))) }},
	}}
	sigevent = layout{size: 64, fn: showSigevent}

	statxSyncs      = flagSet{"", []flag{{0x2000, "AT_STATX_FORCE_SYNC"}, {0x4000, "AT_STATX_DONT_SYNC"}}}
	membarrierFlags = flagSet{"MEMBARRIER_CMD_FLAG_???", []flag{{1, "MEMBARRIER_CMD_FLAG_CPU"}}}
	semFlags        = flagSet{"SEM_???", []flag{{0x1000, "SEM_UNDO"}, {0o4000, "IPC_NOWAIT"}}}
	sigevKinds      = flagSet{"SIGEV_???", []flag{{0, "SIGEV_SIGNAL"}, {1, "SIGEV_NONE"}, {2, "SIGEV_THREAD"}, {4, "SIGEV_THREAD_ID"}}}
)

func (d *decoder) personality(v uint64) *decoder {
	return d.enum(&personalities, v&0xff).more(&personFlags, v&^0xff)
}

// permissions shows flags ORed with a mode.
func (d *decoder) permissions(s *flagSet, v uint64) *decoder {
	v &= 0xffffffff
	if fl := v &^ 0o777; fl != 0 {
		d.flags(s, fl).str("|")
	}
	return d.octal(v&0o777, 3)
}

// showSigevent shows struct sigevent.
func showSigevent(d *decoder, b []byte) {
	d.str("{sigev_value={sival_int=").int(int64(int32(le.Uint32(b)))).str(", sival_ptr=").addr(le.Uint64(b))
	kind := le.Uint32(b[12:])
	d.str("}, sigev_signo=").signal(uint64(le.Uint32(b[8:]))).str(", sigev_notify=").enum(&sigevKinds, uint64(kind))
	if kind == 4 {
		d.str(", sigev_notify_thread_id=").int(int64(int32(le.Uint32(b[16:]))))
	}
	d.str("}")
}

// remapsFixed tells whether mremap takes a new address.
func remapsFixed(args *[6]uint64) bool {
	const moves = unix.MREMAP_MAYMOVE | unix.MREMAP_FIXED
	return args[3]&moves == moves
}

// tracesOther tells whether ptrace's request has further arguments.
func tracesOther(args *[6]uint64) bool { return args[0] != unix.PTRACE_TRACEME }

// namesCPU tells whether membarrier takes a processor.
func namesCPU(args *[6]uint64) bool { return args[1]&1 != 0 }

// ipcCmd is the command of shmctl, semctl or msgctl, which may carry IPC_64.
func ipcCmd(s *flagSet) arg {
	const ipc64 = 0x100
	return arg{set: s, show: func(d *decoder, a arg, v uint64) {
		v &= 0xffffffff
		if v&ipc64 != 0 {
			d.str("IPC_64|")
		}
		d.enum(a.set, v&^ipc64)
	}}
}

// iovAddrs is a vector of another process: only addresses are shown.
func iovAddrs(n int) arg {
	return arg{n: n, show: func(d *decoder, a arg, v uint64) { d.iovec(v, d.c.args[a.n], 0, false) }}
}

// retPolicy names the scheduling policy.
func retPolicy(d *decoder) {
	d.int(int64(d.ret)).str(" (").enum(&policies, d.ret).str(")")
}
