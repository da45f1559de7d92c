package loader

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
)

// exit42 is mov $42,%edi; mov $60,%eax; syscall.
var exit42 = []byte{0xbf, 42, 0, 0, 0, 0xb8, 60, 0, 0, 0, 0x0f, 0x05}

// codeOff is where a built file has its code: after the header and at most 73 program headers, one page in.
const codeOff = 0x1000

// image is an ELF file to build. head and phdrs are as debug/elf has them, and no field is derived from another.
type image struct {
	head  elf.Header64
	phdrs []elf.Prog64
	// size is the file's length; what is at codeOff, interpOff is put there if it fits.
	size   int
	interp string
	// tableAt is where the program headers are, if not right after the header.
	tableAt int
}

// interpOff is where a built file has its interpreter's path.
const interpOff = 0x1800

// program is an ET_EXEC or ET_DYN whose one segment holds the whole file at base.
func program(typ elf.Type, base uint64) *image {
	im := &image{
		head: elf.Header64{
			Type: uint16(typ), Machine: uint16(elf.EM_X86_64), Version: 1,
			Entry: base + codeOff, Phoff: headerSize, Ehsize: headerSize, Phentsize: phdrSize, Phnum: 1,
		},
		phdrs: []elf.Prog64{{
			Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R | elf.PF_X),
			Vaddr: base, Filesz: 0x2000, Memsz: 0x2000, Align: pageSize,
		}},
		size: 0x2000,
	}
	copy(im.head.Ident[:], elf.ELFMAG)
	im.head.Ident[elf.EI_CLASS] = byte(elf.ELFCLASS64)
	im.head.Ident[elf.EI_DATA] = byte(elf.ELFDATA2LSB)
	im.head.Ident[elf.EI_VERSION] = 1
	return im
}

// add appends a program header and counts it.
func (im *image) add(p elf.Prog64) *image {
	im.phdrs = append(im.phdrs, p)
	im.head.Phnum++
	return im
}

// addInterp appends a PT_INTERP for path.
func (im *image) addInterp(path string) *image {
	im.interp = path + "\x00"
	return im.add(elf.Prog64{Type: uint32(elf.PT_INTERP), Off: interpOff, Filesz: uint64(len(im.interp)), Memsz: uint64(len(im.interp))})
}

func (im *image) bytes() []byte {
	var b bytes.Buffer
	// Writes to a bytes.Buffer do not fail, and both types have fixed sizes.
	_ = binary.Write(&b, binary.LittleEndian, im.head)
	_ = binary.Write(&b, binary.LittleEndian, im.phdrs)
	out := make([]byte, max(im.size, b.Len(), interpOff+len(im.interp), im.tableAt+b.Len()))
	copy(out, b.Bytes())
	if im.tableAt != 0 {
		copy(out[im.tableAt:], b.Bytes()[headerSize:])
	}
	copy(out[min(codeOff, len(out)):], exit42)
	copy(out[min(interpOff, len(out)):], im.interp)
	return out[:im.size]
}

// moveTable puts the program headers where there is room for many.
func (im *image) moveTable() {
	im.tableAt, im.head.Phoff, im.size = 0x2000, 0x2000, 0x13000
}
