package strace

// flag names one value, or one or more bits.
type flag struct {
	val  uint64
	name string
}

// flagSet names the bits or values of an argument.
type flagSet struct {
	unknown string // shown in a comment beside what has no name
	flags   []flag
}

// name returns the name of a value.
func (s *flagSet) name(v uint64) string {
	for _, f := range s.flags {
		if f.val == v {
			return f.name
		}
	}
	return ""
}

// enum shows one of several values (strace's printxval).
func (d *decoder) enum(s *flagSet, v uint64) *decoder {
	if name := s.name(v); name != "" {
		return d.str(name)
	}
	d.hex(v)
	if s.unknown != "" {
		d.str(" /* ").str(s.unknown).str(" */")
	}
	return d
}

// flags shows ORed bits (strace's printflags).
func (d *decoder) flags(s *flagSet, v uint64) *decoder {
	if v == 0 {
		if name := s.name(0); name != "" {
			return d.str(name)
		}
		return d.str("0")
	}
	rest, any := d.known(s, v, false)
	if rest == 0 {
		return d
	}
	if any {
		return d.str("|").hex(rest)
	}
	d.hex(rest)
	if s.unknown != "" {
		d.str(" /* ").str(s.unknown).str(" */")
	}
	return d
}

// known shows the bits that have names, each after a bar if any is true, and returns those that have none.
func (d *decoder) known(s *flagSet, v uint64, any bool) (rest uint64, some bool) {
	for _, f := range s.flags {
		if f.val == 0 || v&f.val != f.val {
			continue
		}
		if any {
			d.str("|")
		}
		d.str(f.name)
		v &^= f.val
		any = true
	}
	return v, any
}

// more shows further bits after text that is already there: names and hexadecimal rest, each after a bar.
func (d *decoder) more(s *flagSet, v uint64) *decoder {
	if rest, _ := d.known(s, v, true); rest != 0 {
		d.str("|").hex(rest)
	}
	return d
}

// openModes names O_ACCMODE's values.
var openModes = [...]string{"O_RDONLY", "O_WRONLY", "O_RDWR", "O_ACCMODE"}

// openFlagsOf shows the flags of open and F_SETFL.
func (d *decoder) openFlagsOf(v uint64) *decoder {
	return d.str(openModes[v&3]).more(&openFlags, v&^3)
}

const (
	mapTypeMask  = 0xf
	hugeShift    = 26
	hugeMask     = 0x3f
	cloneSigMask = 0xff
)

// mapTypes are the values of MAP_TYPE.
var mapTypes = flagSet{"MAP_???", []flag{{0, "MAP_FILE"}, {1, "MAP_SHARED"}, {2, "MAP_PRIVATE"}, {3, "MAP_SHARED_VALIDATE"}}}

// mapFlagsOf shows mmap's flags: a type, bits, and the size of huge pages.
func (d *decoder) mapFlagsOf(v uint64) *decoder {
	v &= 0xffffffff
	d.enum(&mapTypes, v&mapTypeMask)
	huge := v >> hugeShift & hugeMask
	d.more(&mmapFlags, v&^(mapTypeMask|hugeMask<<hugeShift))
	if huge != 0 {
		d.str("|").uint(huge).str("<<MAP_HUGE_SHIFT")
	}
	return d
}

// modeTypes are the values of S_IFMT.
var modeTypes = flagSet{"", []flag{
	{0o010000, "S_IFIFO"}, {0o020000, "S_IFCHR"}, {0o040000, "S_IFDIR"}, {0o060000, "S_IFBLK"},
	{0o100000, "S_IFREG"}, {0o120000, "S_IFLNK"}, {0o140000, "S_IFSOCK"},
}}

var modeBits = flagSet{"", []flag{{0o4000, "S_ISUID"}, {0o2000, "S_ISGID"}, {0o1000, "S_ISVTX"}}}

// mode shows a file mode with its type.
func (d *decoder) mode(v uint64) *decoder {
	name := modeTypes.name(v & sIFMT)
	if name == "" && v&sIFMT != 0 {
		return d.octal(v, 3)
	}
	d.str(name)
	rest, any := d.known(&modeBits, v&^sIFMT, name != "")
	if any {
		d.str("|")
	}
	return d.octal(rest, 3)
}

// dev shows a device number, in the encoding of new_encode_dev (include/linux/kdev_t.h) widened as in struct stat.
func (d *decoder) dev(v uint64) *decoder {
	major := v>>8&0xfff | v>>32&^0xfff
	minor := v&0xff | v>>12&^0xff
	return d.makedev(major, uint64(uint32(minor)))
}

func (d *decoder) makedev(major, minor uint64) *decoder {
	return d.str("makedev(").hex(major).str(", ").hex(minor).str(")")
}
