package strace

import (
	"bytes"
	"net/netip"

	"golang.org/x/sys/unix"
)

// sockaddrMax is sizeof(struct sockaddr_storage).
const sockaddrMax = 128

// sockaddr shows n bytes of a socket address at addr.
func (d *decoder) sockaddr(addr, n uint64) {
	n &= 0xffffffff
	if addr == 0 || n < 2 || n > 1<<31-1 {
		d.addr(addr)
		return
	}
	b, ok := d.load(addr, int(min(n, sockaddrMax)))
	if !ok {
		d.addr(addr)
		return
	}
	family := le.Uint16(b)
	d.str("{sa_family=").enum(&families, uint64(family))
	rest := b[2:]
	switch {
	case len(rest) == 0:
	case family == unix.AF_UNIX:
		d.unixPath(rest)
	case family == unix.AF_INET && len(b) >= 16:
		d.str(", sin_port=htons(").uint(uint64(be16(b[2:]))).str(`), sin_addr=inet_addr("`)
		d.str(netip.AddrFrom4([4]byte(b[4:8])).String()).str(`")`)
	case family == unix.AF_INET6 && len(b) >= 24:
		d.str(", sin6_port=htons(").uint(uint64(be16(b[2:]))).str("), sin6_flowinfo=htonl(")
		d.uint(uint64(be16(b[4:]))<<16 | uint64(be16(b[6:]))).str(`), inet_pton(AF_INET6, "`)
		d.str(ntop6([16]byte(b[8:24]))).str(`", &sin6_addr)`)
		if len(b) >= 28 {
			d.str(", sin6_scope_id=").uint(uint64(le.Uint32(b[24:])))
		}
	case family == unix.AF_NETLINK && len(b) >= 12:
		d.str(", nl_pid=").int(int64(int32(le.Uint32(b[4:])))).str(", nl_groups=").octalWidth8(le.Uint32(b[8:]))
	default:
		d.str(", sa_data=").quote(rest)
	}
	d.str("}")
}

// octalWidth8 is C's %08x, in which strace shows netlink groups.
func (d *decoder) octalWidth8(v uint32) *decoder {
	const digits = "0123456789abcdef"
	for shift := 28; shift >= 0; shift -= 4 {
		d.b = append(d.b, digits[v>>shift&15])
	}
	return d
}

// ntop6 is inet_ntop, which writes IPv4-mapped addresses as net/netip does.
func ntop6(a [16]byte) string { return netip.AddrFrom16(a).String() }

func be16(b []byte) uint16 { return uint16(b[0])<<8 | uint16(b[1]) }

// unixPath shows sun_path: a path, or with @ an abstract name, which may hold any bytes.
func (d *decoder) unixPath(b []byte) {
	const sunPath = 108
	b = b[:min(len(b), sunPath)]
	d.str(", sun_path=")
	if b[0] == 0 && len(b) > 1 {
		d.str("@").quote(b[1:])
		return
	}
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	d.quote(b)
}

// sockIn is an address that the call reads; argument n is its length.
func sockIn(n int) arg {
	return arg{n: n, show: func(d *decoder, a arg, v uint64) { d.sockaddr(v, d.c.args[a.n]) }}
}

// sockOut is an address that the call writes; argument n points at its length, which was read before the call.
func sockOut(n int) arg {
	return arg{n: n, out: always, show: func(d *decoder, a arg, v uint64) {
		now, ok := d.load32(d.c.args[a.n])
		if !ok || d.failed {
			d.addr(v)
			return
		}
		d.sockaddr(v, min(uint64(now), d.c.saved))
	}}
}

// sockLen is the pointer to that length.
var sockLen = arg{out: always, show: func(d *decoder, _ arg, v uint64) {
	now, ok := uint32(0), v != 0
	if ok {
		now, ok = d.load32(v)
	}
	switch {
	case !ok:
		d.addr(v)
	case d.failed || uint64(now) == d.c.saved:
		d.str("[").int(int64(int32(d.c.saved))).str("]")
	default:
		d.str("[").int(int64(int32(d.c.saved))).str(" => ").int(int64(int32(now))).str("]")
	}
}}

// noteLen reads a length before the call. It shows a descriptor, the argument before the first that waits.
func noteLen(n int) arg {
	return arg{n: n, show: func(d *decoder, a arg, v uint64) {
		d.int(int64(int32(v)))
		if now, ok := d.load32(d.c.args[a.n]); ok {
			d.c.saved = uint64(now)
		}
	}}
}

// sockType shows a type with its flags.
var sockType = arg{show: func(d *decoder, _ arg, v uint64) {
	v &= 0xffffffff
	if name := sockTypes.name(v & 0xf); name != "" {
		d.str(name).more(&sockTypeFlags, v&^0xf)
		return
	}
	d.flags(&sockTypeFlags, v)
}}

var (
	ipProtocols = flagSet{"IPPROTO_???", []flag{
		{0, "IPPROTO_IP"}, {1, "IPPROTO_ICMP"}, {2, "IPPROTO_IGMP"}, {4, "IPPROTO_IPIP"}, {6, "IPPROTO_TCP"},
		{17, "IPPROTO_UDP"}, {41, "IPPROTO_IPV6"}, {58, "IPPROTO_ICMPV6"}, {132, "IPPROTO_SCTP"},
		{136, "IPPROTO_UDPLITE"}, {255, "IPPROTO_RAW"}, {262, "IPPROTO_MPTCP"},
	}}
	netlinks = flagSet{"NETLINK_???", []flag{
		{0, "NETLINK_ROUTE"}, {2, "NETLINK_USERSOCK"}, {4, "NETLINK_SOCK_DIAG"}, {9, "NETLINK_AUDIT"},
		{12, "NETLINK_NETFILTER"}, {15, "NETLINK_KOBJECT_UEVENT"}, {16, "NETLINK_GENERIC"},
	}}
)

// sockProtocol depends on the family, argument 0.
var sockProtocol = arg{show: func(d *decoder, _ arg, v uint64) {
	switch d.c.args[0] & 0xffffffff {
	case unix.AF_INET, unix.AF_INET6:
		d.enum(&ipProtocols, v&0xffffffff)
	case unix.AF_NETLINK:
		d.enum(&netlinks, v&0xffffffff)
	default:
		d.uint(v)
	}
}}

// Socket options.

var (
	sockLevels = flagSet{"SOL_??", []flag{
		{0, "SOL_IP"}, {1, "SOL_SOCKET"}, {6, "SOL_TCP"}, {17, "SOL_UDP"}, {41, "SOL_IPV6"}, {58, "SOL_ICMPV6"},
		{255, "SOL_RAW"}, {263, "SOL_PACKET"}, {270, "SOL_NETLINK"},
	}}
	solSocket = flagSet{"SO_???", []flag{
		{1, "SO_DEBUG"}, {2, "SO_REUSEADDR"}, {3, "SO_TYPE"}, {4, "SO_ERROR"}, {5, "SO_DONTROUTE"}, {6, "SO_BROADCAST"},
		{7, "SO_SNDBUF"}, {8, "SO_RCVBUF"}, {9, "SO_KEEPALIVE"}, {10, "SO_OOBINLINE"}, {11, "SO_NO_CHECK"},
		{12, "SO_PRIORITY"}, {13, "SO_LINGER"}, {14, "SO_BSDCOMPAT"}, {15, "SO_REUSEPORT"}, {16, "SO_PASSCRED"},
		{17, "SO_PEERCRED"}, {18, "SO_RCVLOWAT"}, {19, "SO_SNDLOWAT"}, {20, "SO_RCVTIMEO_OLD"}, {21, "SO_SNDTIMEO_OLD"},
		{25, "SO_BINDTODEVICE"}, {26, "SO_ATTACH_FILTER"}, {27, "SO_DETACH_FILTER"}, {28, "SO_PEERNAME"},
		{29, "SO_TIMESTAMP_OLD"}, {30, "SO_ACCEPTCONN"}, {31, "SO_PEERSEC"}, {32, "SO_SNDBUFFORCE"}, {33, "SO_RCVBUFFORCE"},
		{34, "SO_PASSSEC"}, {36, "SO_MARK"}, {38, "SO_PROTOCOL"}, {39, "SO_DOMAIN"}, {41, "SO_WIFI_STATUS"},
		{42, "SO_PEEK_OFF"}, {46, "SO_BUSY_POLL"}, {49, "SO_INCOMING_CPU"}, {57, "SO_COOKIE"}, {59, "SO_PEERGROUPS"},
		{60, "SO_ZEROCOPY"},
	}}
	solTCP = flagSet{"TCP_???", []flag{
		{1, "TCP_NODELAY"}, {2, "TCP_MAXSEG"}, {3, "TCP_CORK"}, {4, "TCP_KEEPIDLE"}, {5, "TCP_KEEPINTVL"},
		{6, "TCP_KEEPCNT"}, {7, "TCP_SYNCNT"}, {8, "TCP_LINGER2"}, {9, "TCP_DEFER_ACCEPT"}, {10, "TCP_WINDOW_CLAMP"},
		{11, "TCP_INFO"}, {12, "TCP_QUICKACK"}, {13, "TCP_CONGESTION"}, {18, "TCP_USER_TIMEOUT"}, {23, "TCP_FASTOPEN"},
		{30, "TCP_FASTOPEN_CONNECT"},
	}}
	solIP = flagSet{"IP_???", []flag{
		{1, "IP_TOS"}, {2, "IP_TTL"}, {3, "IP_HDRINCL"}, {4, "IP_OPTIONS"}, {8, "IP_PKTINFO"}, {10, "IP_MTU_DISCOVER"},
		{11, "IP_RECVERR"}, {15, "IP_FREEBIND"}, {19, "IP_TRANSPARENT"}, {24, "IP_BIND_ADDRESS_NO_PORT"},
		{32, "IP_MULTICAST_IF"}, {33, "IP_MULTICAST_TTL"}, {34, "IP_MULTICAST_LOOP"}, {35, "IP_ADD_MEMBERSHIP"},
	}}
	solIPv6 = flagSet{"IPV6_???", []flag{
		{16, "IPV6_UNICAST_HOPS"}, {17, "IPV6_MULTICAST_IF"}, {18, "IPV6_MULTICAST_HOPS"}, {19, "IPV6_MULTICAST_LOOP"},
		{23, "IPV6_MTU_DISCOVER"}, {25, "IPV6_RECVERR"}, {26, "IPV6_V6ONLY"}, {49, "IPV6_RECVPKTINFO"}, {67, "IPV6_TCLASS"},
	}}
	optionSets = [...]struct {
		level uint64
		set   *flagSet
	}{{0, &solIP}, {1, &solSocket}, {6, &solTCP}, {41, &solIPv6}}
)

var sockOption = arg{show: func(d *decoder, _ arg, v uint64) {
	for _, o := range optionSets {
		if o.level == d.c.args[1]&0xffffffff {
			d.enum(o.set, v&0xffffffff)
			return
		}
	}
	d.uint(v & 0xffffffff)
}}

var (
	lingerOpt = layout{size: 8, fields: []field{{"l_onoff", 0, showI32}, {"l_linger", 4, showI32}}}
	ucredOpt  = layout{size: 12, fields: []field{{"pid", 0, showI32}, {"uid", 4, showU32}, {"gid", 8, showU32}}}
)

// optValue shows n bytes of an option's value.
func (d *decoder) optValue(v, n uint64) {
	level, name := d.c.args[1]&0xffffffff, d.c.args[2]&0xffffffff
	var l *layout
	switch {
	case level == unix.SOL_SOCKET && name == unix.SO_LINGER:
		l = &lingerOpt
	case level == unix.SOL_SOCKET && name == unix.SO_PEERCRED:
		l = &ucredOpt
	case level == unix.SOL_SOCKET && (name == unix.SO_RCVTIMEO || name == unix.SO_SNDTIMEO || name == unix.SO_BINDTODEVICE),
		level == unix.SOL_TCP && name == unix.TCP_CONGESTION:
		d.buffer(v, n)
		return
	default:
		l = &one32
	}
	if int32(n) < 0 || n < uint64(l.size) {
		if n == 0 {
			d.addr(v)
			return
		}
		d.buffer(v, n)
		return
	}
	d.structure(l, v)
}

var optIn = arg{show: func(d *decoder, _ arg, v uint64) {
	if v == 0 || int32(d.c.args[4]) < 0 {
		d.addr(v)
		return
	}
	d.optValue(v, d.c.args[4]&0xffffffff)
}}

var optOut = arg{out: always, show: func(d *decoder, _ arg, v uint64) {
	now, ok := d.load32(d.c.args[4])
	if !ok || d.failed || v == 0 {
		d.addr(v)
		return
	}
	d.optValue(v, uint64(now))
}}

// Messages.

// iovecSize is sizeof(struct iovec).
const iovecSize = 16

// iovec shows count vectors at addr whose buffers hold total bytes in all; with data false only their addresses.
func (d *decoder) iovec(addr, count, total uint64, data bool) {
	d.array(addr, count, iovecSize, func(d *decoder, b []byte) {
		base, n := le.Uint64(b), le.Uint64(b[8:])
		d.str("{iov_base=")
		if data {
			used := min(n, total)
			total -= used
			d.buffer(base, used)
		} else {
			d.addr(base)
		}
		d.str(", iov_len=").uint(n).str("}")
	})
}

// iovIn is a vector that the call reads; argument n counts its elements.
func iovIn(n int) arg {
	return arg{n: n, show: func(d *decoder, a arg, v uint64) { d.iovec(v, d.c.args[a.n], ^uint64(0), true) }}
}

// iovOut is a vector into which the call reads.
func iovOut(n int) arg {
	return arg{n: n, out: always, show: func(d *decoder, a arg, v uint64) {
		d.iovec(v, d.c.args[a.n], d.ret, !d.failed)
	}}
}

// msghdrSize is sizeof(struct msghdr).
const msghdrSize = 56

var controlTypes = flagSet{"SCM_???", []flag{{1, "SCM_RIGHTS"}, {2, "SCM_CREDENTIALS"}, {3, "SCM_SECURITY"}, {4, "SCM_PIDFD"}}}

// msghdr shows a message of which total bytes are data.
func (d *decoder) msghdr(v, total uint64) {
	if v == 0 {
		d.addr(v)
		return
	}
	b, ok := d.load(v, msghdrSize)
	if !ok {
		d.addr(v)
		return
	}
	name, nameLen := le.Uint64(b), uint64(le.Uint32(b[8:]))
	d.str("{msg_name=")
	if total != ^uint64(0) { // received: the kernel stored the length
		nameLen = min(nameLen, sockaddrMax)
	}
	d.sockaddr(name, nameLen)
	d.str(", msg_namelen=").int(int64(int32(le.Uint32(b[8:])))).str(", msg_iov=")
	d.iovec(le.Uint64(b[16:]), le.Uint64(b[24:]), total, true)
	d.str(", msg_iovlen=").uint(le.Uint64(b[24:]))
	control, controlLen := le.Uint64(b[32:]), le.Uint64(b[40:])
	if control != 0 && controlLen != 0 {
		d.str(", msg_control=")
		d.control(control, controlLen)
	}
	d.str(", msg_controllen=").uint(controlLen)
	d.str(", msg_flags=").flags(&msgFlags, uint64(le.Uint32(b[48:]))).str("}")
}

// control shows control messages: struct cmsghdr is a length of 8 bytes, level and type, then data.
func (d *decoder) control(addr, n uint64) {
	const header, most = 16, 4096
	b, ok := d.load(addr, int(min(n, most)))
	if !ok {
		d.addr(addr)
		return
	}
	d.str("[")
	for i := 0; len(b) >= header; i++ {
		if i > 0 {
			d.str(", ")
		}
		size := le.Uint64(b)
		level, typ := le.Uint32(b[8:]), le.Uint32(b[12:])
		d.str("{cmsg_len=").uint(size).str(", cmsg_level=").enum(&sockLevels, uint64(level)).str(", cmsg_type=")
		if level == unix.SOL_SOCKET {
			d.enum(&controlTypes, uint64(typ))
		} else {
			d.hex(uint64(typ))
		}
		data := b[header:max(header, min(size, uint64(len(b))))]
		d.controlData(level, typ, data)
		d.str("}")
		next := (max(size, header) + 7) &^ 7
		if next < size || next >= uint64(len(b)) || i >= maxString {
			break
		}
		b = b[next:]
	}
	d.str("]")
}

func (d *decoder) controlData(level, typ uint32, data []byte) {
	switch {
	case len(data) == 0:
	case level == unix.SOL_SOCKET && typ == unix.SCM_RIGHTS:
		d.str(", cmsg_data=[")
		for i := 0; i+4 <= len(data); i += 4 {
			if i > 0 {
				d.str(", ")
			}
			if i/4 >= maxString {
				d.str("...")
				break
			}
			showI32(d, data[i:])
		}
		d.str("]")
	case level == unix.SOL_SOCKET && typ == unix.SCM_CREDENTIALS && len(data) >= ucredOpt.size:
		d.str(", cmsg_data=")
		ucredOpt.show(d, data)
	default:
		d.str(", cmsg_data=").quote(data[:min(len(data), maxString)])
	}
}

// mmsghdrSize is sizeof(struct mmsghdr).
const mmsghdrSize = 64

// mmsg shows the count messages that recvmmsg or sendmmsg has handled.
func (d *decoder) mmsg(v, count uint64) {
	at := v
	d.array(v, count, mmsghdrSize, func(d *decoder, b []byte) {
		d.str("{msg_hdr=").msghdr(at, ^uint64(0))
		at += mmsghdrSize
		d.str(", msg_len=").uint(uint64(le.Uint32(b[msghdrSize:]))).str("}")
	})
}

var (
	mmsgOut = arg{out: always, show: func(d *decoder, _ arg, v uint64) {
		if d.pointer(v) {
			d.mmsg(v, d.ret)
		}
	}}
	msgIn  = arg{show: func(d *decoder, _ arg, v uint64) { d.msghdr(v, ^uint64(0)) }}
	msgOut = arg{out: always, show: func(d *decoder, _ arg, v uint64) {
		if !d.failed {
			d.msghdr(v, d.ret)
			return
		}
		n, ok := uint32(0), v != 0
		if ok {
			n, ok = d.load32(v + 8)
		}
		if !ok {
			d.addr(v)
			return
		}
		d.str("{msg_namelen=").int(int64(int32(n))).str("}")
	}}
)
