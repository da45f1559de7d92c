package strace

import "time"

// layout is a structure of the ABI: either fields, or a function for one that its own values shape.
type layout struct {
	size   int
	fields []field
	// rest says that there are more fields than are shown, as strace's abbreviations say.
	rest bool
	fn   func(d *decoder, b []byte)
}

// field is one member. show gets the bytes from off to the structure's end.
type field struct {
	name string
	off  int
	show func(d *decoder, b []byte)
}

func (l *layout) show(d *decoder, b []byte) {
	if l.fn != nil {
		l.fn(d, b)
		return
	}
	d.str("{")
	for i, f := range l.fields {
		if i > 0 {
			d.str(", ")
		}
		d.str(f.name).str("=")
		f.show(d, b[f.off:])
	}
	if l.rest {
		d.str(", ...")
	}
	d.str("}")
}

// structure shows the structure at addr.
func (d *decoder) structure(l *layout, addr uint64) {
	if addr == 0 {
		d.addr(addr)
		return
	}
	b, ok := d.load(addr, l.size)
	if !ok {
		d.addr(addr)
		return
	}
	l.show(d, b)
}

func showI32(d *decoder, b []byte)  { d.int(int64(int32(le.Uint32(b)))) }
func showU32(d *decoder, b []byte)  { d.uint(uint64(le.Uint32(b))) }
func showI64(d *decoder, b []byte)  { d.int(int64(le.Uint64(b))) }
func showU64(d *decoder, b []byte)  { d.uint(le.Uint64(b)) }
func showU16(d *decoder, b []byte)  { d.uint(uint64(le.Uint16(b))) }
func showAddr(d *decoder, b []byte) { d.addr(le.Uint64(b)) }

// charArray shows a character array of n bytes.
func charArray(n int) func(d *decoder, b []byte) {
	return func(d *decoder, b []byte) { d.fixed(b[:n]) }
}

var (
	one32  = layout{size: 4, fn: func(d *decoder, b []byte) { d.str("["); showI32(d, b); d.str("]") }}
	oneU32 = layout{size: 4, fn: func(d *decoder, b []byte) { d.str("["); showU32(d, b); d.str("]") }}
	one64  = layout{size: 8, fn: func(d *decoder, b []byte) { d.str("["); showI64(d, b); d.str("]") }}
	oneU64 = layout{size: 8, fn: func(d *decoder, b []byte) { d.str("["); showU64(d, b); d.str("]") }}
	onePtr = layout{size: 8, fn: func(d *decoder, b []byte) { d.str("["); showAddr(d, b); d.str("]") }}
	// plainID is an element of an array.
	plainID = layout{size: 4, fn: func(d *decoder, b []byte) { id.show(d, id, uint64(le.Uint32(b))) }}
	oneID   = layout{size: 4, fn: func(d *decoder, b []byte) { d.str("["); id.show(d, id, uint64(le.Uint32(b))); d.str("]") }}

	timespec  = layout{size: 16, fields: []field{{"tv_sec", 0, showI64}, {"tv_nsec", 8, showU64}}}
	timeval   = layout{size: 16, fields: []field{{"tv_sec", 0, showI64}, {"tv_usec", 8, showU64}}}
	fileTimes = layout{size: 32, fn: func(d *decoder, b []byte) {
		d.str("[")
		showFileTime(d, b)
		d.str(", ")
		showFileTime(d, b[16:])
		d.str("]")
	}}
	twoTimevals = layout{size: 32, fn: func(d *decoder, b []byte) {
		d.str("[")
		showDatedTimeval(d, b)
		d.str(", ")
		showDatedTimeval(d, b[16:])
		d.str("]")
	}}
	itimerval  = layout{size: 32, fields: []field{{"it_interval", 0, timeval.show}, {"it_value", 16, timeval.show}}}
	itimerspec = layout{size: 32, fields: []field{{"it_interval", 0, timespec.show}, {"it_value", 16, timespec.show}}}
	timezone   = layout{size: 8, fields: []field{{"tz_minuteswest", 0, showI32}, {"tz_dsttime", 4, showI32}}}
	utimbuf    = layout{size: 16, fields: []field{{"actime", 0, showDate}, {"modtime", 8, showDate}}}
	tms        = layout{size: 32, fields: []field{
		{"tms_utime", 0, showI64}, {"tms_stime", 8, showI64}, {"tms_cutime", 16, showI64}, {"tms_cstime", 24, showI64},
	}}
	rusage = layout{size: 144, fields: []field{{"ru_utime", 0, timeval.show}, {"ru_stime", 16, timeval.show}}, rest: true}
	rlimit = layout{size: 16, fields: []field{{"rlim_cur", 0, rlim("RLIM_INFINITY")}, {"rlim_max", 8, rlim("RLIM_INFINITY")}}}
	// rlimit64 is the same structure as prlimit64 shows it.
	rlimit64 = layout{size: 16, fields: []field{
		{"rlim_cur", 0, rlim("RLIM64_INFINITY")}, {"rlim_max", 8, rlim("RLIM64_INFINITY")},
	}}
	utsname = layout{size: 390, fields: []field{{"sysname", 0, charArray(65)}, {"nodename", 65, charArray(65)}}, rest: true}
	sysinfo = layout{size: 112, fields: []field{
		{"uptime", 0, showI64}, {"loads", 8, func(d *decoder, b []byte) {
			d.str("[").uint(le.Uint64(b)).str(", ").uint(le.Uint64(b[8:])).str(", ").uint(le.Uint64(b[16:])).str("]")
		}},
		{"totalram", 32, showU64}, {"freeram", 40, showU64}, {"sharedram", 48, showU64}, {"bufferram", 56, showU64},
		{"totalswap", 64, showU64}, {"freeswap", 72, showU64}, {"procs", 80, showU16}, {"totalhigh", 88, showU64},
		{"freehigh", 96, showU64}, {"mem_unit", 104, showU32},
	}}
	stat    = layout{size: 144, fn: showStat}
	statx   = layout{size: 256, fn: showStatx}
	statfs  = layout{size: 120, fn: showStatfs}
	sigact  = layout{size: 32, fn: showSigaction}
	siginfo = layout{size: siginfoSize, fn: showSiginfo}
	stackT  = layout{size: 24, fields: []field{
		{"ss_sp", 0, showAddr}, {"ss_flags", 8, func(d *decoder, b []byte) { d.flags(&altstackFlags, uint64(le.Uint32(b))) }},
		{"ss_size", 16, showU64},
	}}
	schedParam = layout{size: 4, fn: func(d *decoder, b []byte) { d.str("["); showI32(d, b); d.str("]") }}
	epollEvent = layout{size: 12, fields: []field{
		{"events", 0, func(d *decoder, b []byte) { d.flags(&epollEvents, uint64(le.Uint32(b))) }},
		{"data", 4, func(d *decoder, b []byte) {
			d.str("{u32=").uint(uint64(le.Uint32(b))).str(", u64=").uint(le.Uint64(b)).str("}")
		}},
	}}
	pollEvents  = layout{size: 8, fn: func(d *decoder, b []byte) { showPollfd(d, b, "events", le.Uint16(b[4:])) }}
	pollRevents = layout{size: 8, fn: func(d *decoder, b []byte) { showPollfd(d, b, "revents", le.Uint16(b[6:])) }}
	flock       = layout{size: 32, fields: []field{
		{"l_type", 0, func(d *decoder, b []byte) { d.enum(&lockTypes, uint64(le.Uint16(b))) }},
		{"l_whence", 2, func(d *decoder, b []byte) { d.enum(&whences, uint64(le.Uint16(b))) }},
		{"l_start", 8, showI64}, {"l_len", 16, showI64},
	}}
	flockPid = layout{size: 32, fields: append(flock.fields[:4:4], field{"l_pid", 24, showI32})}
	winsize  = layout{size: 8, fields: []field{
		{"ws_row", 0, showU16}, {"ws_col", 2, showU16}, {"ws_xpixel", 4, showU16}, {"ws_ypixel", 6, showU16},
	}}
	openHow = layout{size: 24, fn: func(d *decoder, b []byte) {
		fl := le.Uint64(b)
		d.str("{flags=").openFlagsOf(fl)
		if m := le.Uint64(b[8:]); m != 0 || creates(0)(&[6]uint64{fl}) {
			d.str(", mode=").octal(m, 3)
		}
		d.str(", resolve=").flags(&resolveFlags, le.Uint64(b[16:])).str("}")
	}}
)

var (
	altstackFlags = flagSet{"SS_???", []flag{{1, "SS_ONSTACK"}, {2, "SS_DISABLE"}, {0x80000000, "SS_AUTODISARM"}}}
	epollEvents   = flagSet{"EPOLL???", []flag{
		{1, "EPOLLIN"}, {2, "EPOLLPRI"}, {4, "EPOLLOUT"}, {8, "EPOLLERR"}, {0x10, "EPOLLHUP"}, {0x40, "EPOLLRDNORM"},
		{0x80, "EPOLLRDBAND"}, {0x100, "EPOLLWRNORM"}, {0x200, "EPOLLWRBAND"}, {0x400, "EPOLLMSG"}, {0x2000, "EPOLLRDHUP"},
		{1 << 28, "EPOLLEXCLUSIVE"}, {1 << 29, "EPOLLWAKEUP"}, {1 << 30, "EPOLLONESHOT"}, {1 << 31, "EPOLLET"},
	}}
	pollBits = flagSet{"POLL???", []flag{
		{1, "POLLIN"}, {2, "POLLPRI"}, {4, "POLLOUT"}, {0x40, "POLLRDNORM"}, {0x100, "POLLWRNORM"}, {0x80, "POLLRDBAND"},
		{0x200, "POLLWRBAND"}, {8, "POLLERR"}, {0x10, "POLLHUP"}, {0x20, "POLLNVAL"}, {0x400, "POLLMSG"},
		{0x1000, "POLLREMOVE"}, {0x2000, "POLLRDHUP"}, {0x4000, "POLLFREE"}, {0x8000, "POLL_BUSY_LOOP"},
	}}
	lockTypes    = flagSet{"F_???", []flag{{0, "F_RDLCK"}, {1, "F_WRLCK"}, {2, "F_UNLCK"}, {4, "F_EXLCK"}, {8, "F_SHLCK"}}}
	resolveFlags = flagSet{"RESOLVE_???", []flag{
		{1, "RESOLVE_NO_XDEV"}, {2, "RESOLVE_NO_MAGICLINKS"}, {4, "RESOLVE_NO_SYMLINKS"}, {8, "RESOLVE_BENEATH"},
		{16, "RESOLVE_IN_ROOT"}, {32, "RESOLVE_CACHED"},
	}}
	fsMagics = flagSet{"", []flag{
		{0xef53, "EXT2_SUPER_MAGIC"}, {0x01021994, "TMPFS_MAGIC"}, {0x9fa0, "PROC_SUPER_MAGIC"}, {0x62656572, "SYSFS_MAGIC"},
		{0x794c7630, "OVERLAYFS_SUPER_MAGIC"}, {0x58465342, "XFS_SUPER_MAGIC"}, {0x9123683e, "BTRFS_SUPER_MAGIC"},
		{0x1cd1, "DEVPTS_SUPER_MAGIC"}, {0x50495045, "PIPEFS_MAGIC"}, {0x534f434b, "SOCKFS_MAGIC"},
		{0x27e0eb, "CGROUP_SUPER_MAGIC"}, {0x63677270, "CGROUP2_SUPER_MAGIC"}, {0x01021997, "V9FS_MAGIC"},
		{0x6969, "NFS_SUPER_MAGIC"}, {0x65735546, "FUSE_SUPER_MAGIC"}, {0x858458f6, "RAMFS_MAGIC"},
		{0x73717368, "SQUASHFS_MAGIC"}, {0x958458f6, "HUGETLBFS_MAGIC"}, {0x19800202, "MQUEUE_MAGIC"},
	}}
	statfsFlags = flagSet{"ST_???", []flag{
		{1, "ST_RDONLY"}, {2, "ST_NOSUID"}, {4, "ST_NODEV"}, {8, "ST_NOEXEC"}, {16, "ST_SYNCHRONOUS"}, {32, "ST_VALID"},
		{64, "ST_MANDLOCK"}, {0x400, "ST_NOATIME"}, {0x800, "ST_NODIRATIME"}, {0x1000, "ST_RELATIME"},
		{0x2000, "ST_NOSYMFOLLOW"},
	}}
	statxAttrs = flagSet{"STATX_ATTR_???", []flag{
		{4, "STATX_ATTR_COMPRESSED"}, {0x10, "STATX_ATTR_IMMUTABLE"}, {0x20, "STATX_ATTR_APPEND"}, {0x40, "STATX_ATTR_NODUMP"},
		{0x800, "STATX_ATTR_ENCRYPTED"}, {0x1000, "STATX_ATTR_AUTOMOUNT"}, {0x2000, "STATX_ATTR_MOUNT_ROOT"},
		{0x100000, "STATX_ATTR_VERITY"}, {0x200000, "STATX_ATTR_DAX"},
	}}
)

// rlim shows a limit; multiples of 1024 are shown as such.
func rlim(infinity string) func(d *decoder, b []byte) {
	return func(d *decoder, b []byte) {
		switch v := le.Uint64(b); {
		case v == ^uint64(0):
			d.str(infinity)
		case v > 1024 && v%1024 == 0:
			d.uint(v / 1024).str("*1024")
		default:
			d.uint(v)
		}
	}
}

func showPollfd(d *decoder, b []byte, name string, events uint16) {
	fd := int32(le.Uint32(b))
	d.str("{fd=").int(int64(fd))
	if fd >= 0 {
		d.str(", ").str(name).str("=").flags(&pollBits, uint64(events))
	}
	d.str("}")
}

// Values of tv_nsec that utimensat takes.
const (
	utimeNow  = 1<<30 - 1
	utimeOmit = 1<<30 - 2
)

func showFileTime(d *decoder, b []byte) {
	switch le.Uint64(b[8:]) {
	case utimeNow:
		d.str("UTIME_NOW")
	case utimeOmit:
		d.str("UTIME_OMIT")
	default:
		timespec.show(d, b)
		d.date(int64(le.Uint64(b)), le.Uint64(b[8:]), 9)
	}
}

// date adds a comment with what a time means, in UTC. digits are those of a fraction that is not 0.
func (d *decoder) date(sec int64, nsec uint64, digits int) {
	if sec == 0 && nsec == 0 || nsec >= 1e9 {
		return
	}
	// Years that time.Time formats; gmtime knows later ones, but nobody reads them.
	const first, last = -62135596800, 253402300799
	if sec < first || sec > last {
		return
	}
	format := "2006-01-02T15:04:05-0700"
	if nsec != 0 {
		format = "2006-01-02T15:04:05." + "000000000"[:digits] + "-0700"
	}
	d.str(" /* ").str(time.Unix(sec, int64(nsec)).UTC().Format(format)).str(" */")
}

// showDatedTimeval shows a timeval with its date.
func showDatedTimeval(d *decoder, b []byte) {
	timeval.show(d, b)
	if usec := le.Uint64(b[8:]); usec < 1e6 {
		d.date(int64(le.Uint64(b)), usec*1000, 6)
	}
}

// showDate shows seconds with their date.
func showDate(d *decoder, b []byte) {
	showI64(d, b)
	d.date(int64(le.Uint64(b)), 0, 0)
}

const (
	sIFMT  = 0o170000
	sIFCHR = 0o020000
	sIFBLK = 0o060000
)

func isDevice(mode uint32) bool { return mode&sIFMT == sIFCHR || mode&sIFMT == sIFBLK }

// showStat shows struct stat of arch/x86/include/uapi/asm/stat.h.
func showStat(d *decoder, b []byte) {
	mode := le.Uint32(b[24:])
	d.str("{st_mode=").mode(uint64(mode))
	if isDevice(mode) {
		d.str(", st_rdev=").dev(le.Uint64(b[40:]))
	} else {
		d.str(", st_size=").int(int64(le.Uint64(b[48:])))
	}
	d.str(", ...}")
}

// showStatx shows struct statx of include/uapi/linux/stat.h.
func showStatx(d *decoder, b []byte) {
	d.str("{stx_mask=").flags(&statxMask, uint64(le.Uint32(b)))
	d.str(", stx_attributes=").flags(&statxAttrs, le.Uint64(b[8:]))
	d.str(", stx_mode=").mode(uint64(le.Uint16(b[28:])))
	d.str(", stx_size=").uint(le.Uint64(b[40:])).str(", ...}")
}

// showStatfs shows struct statfs of include/uapi/asm-generic/statfs.h.
func showStatfs(d *decoder, b []byte) {
	d.str("{f_type=").enum(&fsMagics, le.Uint64(b))
	for i, name := range [...]string{"f_bsize", "f_blocks", "f_bfree", "f_bavail", "f_files", "f_ffree"} {
		d.str(", ").str(name).str("=").uint(le.Uint64(b[8+8*i:]))
	}
	d.str(", f_fsid={val=[").hex(uint64(le.Uint32(b[56:]))).str(", ").hex(uint64(le.Uint32(b[60:]))).str("]}")
	d.str(", f_namelen=").uint(le.Uint64(b[64:])).str(", f_frsize=").uint(le.Uint64(b[72:]))
	d.str(", f_flags=").flags(&statfsFlags, le.Uint64(b[80:])).str("}")
}
