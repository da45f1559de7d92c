package vdso

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"

	"culvert/shim/abi"
)

// soname and version are those of Linux: by these two, libraries find and trust the symbols.
const (
	soname  = "linux-vdso.so.1"
	version = "LINUX_2.6"
)

// exports are the functions by name, with their index in functions. Each has a second, weak name without the prefix, as
// in arch/x86/entry/vdso/vclock_gettime.c.
var exports = [...]struct {
	name string
	at   int
}{
	{"clock_gettime", atClockGettime},
	{"gettimeofday", atGettimeofday},
	{"time", atTime},
	{"clock_getres", atClockGetres},
	{"getcpu", atGetcpu},
}

const prefix = "__vdso_"

// Indices of sections.
const (
	secNull = iota
	secHash
	secDynsym
	secDynstr
	secVersym
	secVerdef
	secDynamic
	secFrameHdr
	secFrame
	secText
	secNames
	numSections
)

// Indices of versions in .gnu.version_d: the object itself, and the version of its symbols.
const (
	verBase = 1 + iota
	verLinux
)

// section is a part of the image.
type section struct {
	name  string
	kind  elf.SectionType
	flags elf.SectionFlag
	link  uint32
	info  uint32
	entry uint64
	align uint64
	data  []byte
	off   uint64
}

// image is the object under construction. Addresses are offsets in it: it is linked to address 0.
type image struct {
	sections [numSections]section
	code     []byte
	at       [numAddrs]uintptr
	size     uint64
}

const (
	headerSize  = 64
	progSize    = 56
	sectionSize = 64
	symbolSize  = 24
	numProgs    = 3
)

// Image returns the vDSO: a page, to be mapped readable and executable right behind the page with the clock.
func Image() ([]byte, error) {
	code, at, err := functions()
	if err != nil {
		return nil, err
	}
	im := &image{code: code, at: at}
	im.describe()
	// Sizes do not depend on addresses: the first round finds those, the second fills them in.
	im.fill()
	im.place()
	im.fill()
	out := im.bytes()
	if len(out) > abi.PageSize {
		return nil, fmt.Errorf("vdso: the image has %d bytes, its page %d", len(out), abi.PageSize)
	}
	return append(out, make([]byte, abi.PageSize-len(out))...), nil
}

// describe sets what does not depend on contents.
func (im *image) describe() {
	const a = elf.SHF_ALLOC
	im.sections = [numSections]section{
		secNull:     {},
		secHash:     {name: ".hash", kind: elf.SHT_HASH, flags: a, link: secDynsym, entry: 4, align: 8},
		secDynsym:   {name: ".dynsym", kind: elf.SHT_DYNSYM, flags: a, link: secDynstr, info: 1, entry: symbolSize, align: 8},
		secDynstr:   {name: ".dynstr", kind: elf.SHT_STRTAB, flags: a, align: 1},
		secVersym:   {name: ".gnu.version", kind: elf.SHT_GNU_VERSYM, flags: a, link: secDynsym, entry: 2, align: 2},
		secVerdef:   {name: ".gnu.version_d", kind: elf.SHT_GNU_VERDEF, flags: a, link: secDynstr, info: verLinux, align: 8},
		secDynamic:  {name: ".dynamic", kind: elf.SHT_DYNAMIC, flags: a, link: secDynstr, entry: 16, align: 8},
		secFrameHdr: {name: ".eh_frame_hdr", kind: elf.SHT_PROGBITS, flags: a, align: 4},
		secFrame:    {name: ".eh_frame", kind: elf.SHT_PROGBITS, flags: a, align: 8},
		secText:     {name: ".text", kind: elf.SHT_PROGBITS, flags: a | elf.SHF_EXECINSTR, align: 32},
		secNames:    {name: ".shstrtab", kind: elf.SHT_STRTAB, align: 1},
	}
}

// place gives each section its offset, behind the headers.
func (im *image) place() {
	off := uint64(headerSize + numProgs*progSize)
	for i := secHash; i < numSections; i++ {
		s := &im.sections[i]
		off = (off + s.align - 1) &^ (s.align - 1)
		s.off = off
		off += uint64(len(s.data))
	}
	im.size = off
}

// strings is a string table; byte 0 is the empty string.
type strings struct{ bytes.Buffer }

func (s *strings) add(str string) uint32 {
	if s.Len() == 0 {
		s.WriteByte(0)
	}
	at := uint32(s.Len())
	s.WriteString(str)
	s.WriteByte(0)
	return at
}

// pack is the little-endian bytes of fixed-size values.
func pack(values ...any) []byte {
	var b []byte
	for _, v := range values {
		b, _ = binary.Append(b, binary.LittleEndian, v) // fails for values without a fixed size only
	}
	return b
}

// elfHash is the hash of the System V ABI.
func elfHash(name string) uint32 {
	h := uint32(0)
	for _, c := range []byte(name) {
		h = h<<4 + uint32(c)
		g := h & 0xf0000000
		h = (h ^ g>>24) &^ g
	}
	return h
}

// symbol is an entry of the dynamic symbol table.
type symbol struct {
	name string
	bind elf.SymBind
	kind elf.SymType
	sec  uint16
	addr uint64
	size uint64
}

// symbols are all entries but the first, which is empty.
func (im *image) symbols() []symbol {
	text := im.sections[secText].off
	list := []symbol{{name: version, bind: elf.STB_GLOBAL, kind: elf.STT_OBJECT, sec: uint16(elf.SHN_ABS)}}
	for _, e := range exports {
		s := symbol{kind: elf.STT_FUNC, sec: secText, addr: text + uint64(im.at[e.at]),
			size: uint64(im.at[e.at+1] - im.at[e.at])}
		s.name, s.bind = prefix+e.name, elf.STB_GLOBAL
		list = append(list, s)
		s.name, s.bind = e.name, elf.STB_WEAK
		list = append(list, s)
	}
	return list
}

// fill makes the contents of all sections.
func (im *image) fill() {
	s := &im.sections
	var names, str strings
	for i := range s {
		if i != secNull {
			names.add(s[i].name)
		}
	}
	symbols := im.symbols()
	sym, versym := make([]byte, symbolSize), pack(uint16(0))
	for _, y := range symbols {
		sym = append(sym, pack(str.add(y.name), elf.ST_INFO(y.bind, y.kind), uint8(0), y.sec, y.addr, y.size)...)
		versym = append(versym, pack(uint16(verLinux))...)
	}
	so, ver := str.add(soname), uint32(1) // the version's name is the first symbol's
	s[secNames].data, s[secText].data = names.Bytes(), im.code
	s[secDynsym].data, s[secVersym].data, s[secHash].data = sym, versym, hashTable(symbols)
	s[secVerdef].data = append(verdef(verBase, 1, soname, so, verdefSize), verdef(verLinux, 0, version, ver, 0)...)
	s[secDynstr].data = str.Bytes()
	s[secDynamic].data = im.dynamic(so)
	s[secFrame].data, s[secFrameHdr].data = im.frames()
}

// hashTable is .hash: one chain, as there are so few symbols.
func hashTable(symbols []symbol) []byte {
	n := uint32(len(symbols) + 1)
	b := pack(uint32(1), n, uint32(1), uint32(0)) // one bucket, n chain words; the bucket begins at symbol 1
	for i := uint32(1); i < n; i++ {
		b = append(b, pack((i+1)%n)...) // 0 ends the chain
	}
	return b
}

// verdefSize is a struct Verdef with one Verdaux.
const verdefSize = 28

// verdef is an entry of .gnu.version_d; next is the distance to the next one.
func verdef(index, flags uint16, name string, nameAt, next uint32) []byte {
	return pack(uint16(1), flags, index, uint16(1), elfHash(name), uint32(20), next, nameAt, uint32(0))
}

// dynamic is .dynamic.
func (im *image) dynamic(so uint32) []byte {
	s := &im.sections
	return pack(
		uint64(elf.DT_SONAME), uint64(so),
		uint64(elf.DT_HASH), s[secHash].off,
		uint64(elf.DT_STRTAB), s[secDynstr].off,
		uint64(elf.DT_SYMTAB), s[secDynsym].off,
		uint64(elf.DT_STRSZ), uint64(len(s[secDynstr].data)),
		uint64(elf.DT_SYMENT), uint64(symbolSize),
		uint64(elf.DT_VERDEF), s[secVerdef].off,
		uint64(elf.DT_VERDEFNUM), uint64(verLinux),
		uint64(elf.DT_VERSYM), s[secVersym].off,
		uint64(elf.DT_NULL), uint64(0),
	)
}

// frames is the unwind information of the code: everywhere, the return address lies on top of the stack, and all
// registers that a caller wants back are where they were (DWARF 5, 6.4; LSB, 10.6).
func (im *image) frames() (frame, header []byte) {
	s := &im.sections
	const (
		pcrel4, datarel4, udata4 = 0x1b, 0x3b, 0x03 // pointer encodings
		defCFA, offset           = 0x0c, 0x80
		regRSP, regRA            = 7, 16
		cieSize                  = 24
	)
	frame = pack(uint32(cieSize-4), uint32(0), uint8(1), []byte("zR\x00"), uint8(1), int8(0x78), uint8(regRA), uint8(1),
		uint8(pcrel4), uint8(defCFA), uint8(regRSP), uint8(8), uint8(offset|regRA), uint8(1), uint16(0))
	// The FDE: its length, how far back its CIE begins, where the code begins from here, its length, padding.
	fde := uint64(len(frame))
	frame = append(frame, pack(uint32(20), uint32(fde+4), uint32(s[secText].off-(s[secFrame].off+fde+8)),
		uint32(len(im.code)), [8]byte{})...)
	frame = append(frame, pack(uint32(0))...)
	at := s[secFrameHdr].off
	header = pack(uint8(1), uint8(pcrel4), uint8(udata4), uint8(datarel4), uint32(s[secFrame].off-(at+4)), uint32(1),
		uint32(s[secText].off-at), uint32(s[secFrame].off+fde-at))
	return frame, header
}

// bytes puts headers and sections together.
func (im *image) bytes() []byte {
	s := &im.sections
	sectionsAt := (im.size + 7) &^ 7
	out := make([]byte, sectionsAt+numSections*sectionSize)
	head := pack([]byte(elf.ELFMAG), uint8(elf.ELFCLASS64), uint8(elf.ELFDATA2LSB), uint8(elf.EV_CURRENT), [9]byte{},
		uint16(elf.ET_DYN), uint16(elf.EM_X86_64), uint32(elf.EV_CURRENT), s[secText].off, uint64(headerSize), sectionsAt,
		uint32(0), uint16(headerSize), uint16(progSize), uint16(numProgs), uint16(sectionSize), uint16(numSections),
		uint16(secNames))
	prog := func(kind elf.ProgType, flags elf.ProgFlag, off, size, align uint64) {
		head = append(head, pack(uint32(kind), uint32(flags), off, off, off, size, size, align)...)
	}
	prog(elf.PT_LOAD, elf.PF_R|elf.PF_X, 0, im.size, abi.PageSize)
	prog(elf.PT_DYNAMIC, elf.PF_R, s[secDynamic].off, uint64(len(s[secDynamic].data)), 8)
	prog(elf.PT_GNU_EH_FRAME, elf.PF_R, s[secFrameHdr].off, uint64(len(s[secFrameHdr].data)), 4)
	copy(out, head)
	name := uint32(1)
	for i, x := range s {
		copy(out[x.off:], x.data)
		row := pack(uint32(0), uint32(x.kind), uint64(x.flags), uint64(0), x.off, uint64(len(x.data)), x.link, x.info, x.align, x.entry)
		if i != secNull {
			binary.LittleEndian.PutUint32(row, name)
			name += uint32(len(x.name)) + 1
		}
		if x.flags&elf.SHF_ALLOC != 0 {
			binary.LittleEndian.PutUint64(row[16:], x.off)
		}
		copy(out[sectionsAt+uint64(i)*sectionSize:], row)
	}
	return out
}
