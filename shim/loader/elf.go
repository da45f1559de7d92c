package loader

import (
	"debug/elf"
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"
)

const (
	headerSize = 64 // sizeof(Elf64_Ehdr)
	phdrSize   = 56 // sizeof(Elf64_Phdr)
	// maxPhdrBytes bounds the program header table, as load_elf_phdrs does.
	maxPhdrBytes = 65536
)

// header holds the fields of Elf64_Ehdr that the kernel looks at.
type header struct {
	typ     elf.Type
	machine elf.Machine
	entry   uint64
	phoff   uint64
	phsize  uint16
	phnum   uint16
}

// phdr is Elf64_Phdr without p_paddr, which the kernel ignores.
type phdr struct {
	typ    elf.ProgType
	flags  elf.ProgFlag
	off    uint64
	vaddr  uint64
	filesz uint64
	memsz  uint64
	align  uint64
}

// interpreter is a checked PT_INTERP program.
type interpreter struct {
	path  string
	file  File
	head  header
	phdrs []phdr
}

// stackProt is what PT_GNU_STACK asks for. Linux distinguishes a third state, no such header, which on x86-64 means a
// stack that is not executable.
type stackProt bool

// parseELF mirrors load_elf_binary up to begin_new_exec. buf is the file's first bytes.
func (im *Image) parseELF(name string, buf []byte, open Opener) error {
	head, ok := parseHeader(buf)
	if !ok {
		return fmt.Errorf("%s: neither an ELF program nor a script: %w", name, unix.ENOEXEC)
	}
	if err := head.check(); err != nil {
		return fmt.Errorf("%s: %w: %w", name, err, unix.ENOEXEC)
	}
	phdrs, err := readPhdrs(im.file, head)
	if err != nil {
		return fmt.Errorf("%s: %w: %w", name, err, unix.ENOEXEC)
	}
	im.head, im.phdrs = head, phdrs
	for _, p := range phdrs {
		if p.typ != elf.PT_INTERP {
			continue
		}
		// Only the first one counts.
		if im.interp, err = im.openInterp(p, open); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		break
	}
	for _, p := range phdrs {
		if p.typ == elf.PT_GNU_STACK { // the last one counts
			im.exec = p.flags&elf.PF_X != 0
		}
	}
	if im.interp == nil {
		return nil
	}
	if err := im.interp.check(); err != nil {
		return fmt.Errorf("%s: interpreter %s: %w: %w", name, im.interp.path, err, unix.ELIBBAD)
	}
	return nil
}

// openInterp reads the path in a PT_INTERP segment and opens what it names.
func (im *Image) openInterp(p phdr, open Opener) (*interpreter, error) {
	if p.filesz < 2 || p.filesz > unix.PathMax {
		return nil, fmt.Errorf("PT_INTERP: a path of %d bytes is not within 2 to %d: %w",
			p.filesz, unix.PathMax, unix.ENOEXEC)
	}
	path := make([]byte, p.filesz)
	if err := readFull(im.file, path, p.off); err != nil {
		return nil, fmt.Errorf("PT_INTERP: read the path: %w", err)
	}
	if path[len(path)-1] != 0 {
		return nil, fmt.Errorf("PT_INTERP: the path does not end in a NUL byte: %w", unix.ENOEXEC)
	}
	in := &interpreter{path: cString(path)}
	f, err := open.exec(in.path)
	if err != nil {
		return nil, fmt.Errorf("open interpreter %q: %w", in.path, err)
	}
	in.file = f
	im.opened = append(im.opened, f)
	var buf [headerSize]byte
	if err := readFull(f, buf[:], 0); err != nil {
		return nil, fmt.Errorf("interpreter %s: read its ELF header: %w", in.path, err)
	}
	head, ok := parseHeader(buf[:])
	if !ok {
		return nil, fmt.Errorf("interpreter %s: not an ELF file: %w", in.path, unix.ELIBBAD)
	}
	in.head = head
	return in, nil
}

// check is what Linux looks at before the point of no return. An interpreter of a wrong type fails only in Load.
func (in *interpreter) check() (err error) {
	if in.head.machine != elf.EM_X86_64 {
		return fmt.Errorf("machine %s, want %s", in.head.machine, elf.EM_X86_64)
	}
	in.phdrs, err = readPhdrs(in.file, in.head)
	return err
}

// parseHeader decodes an ELF header of at least headerSize bytes; ok tells whether the magic number is there.
func parseHeader(b []byte) (h header, ok bool) {
	le := binary.LittleEndian
	return header{
		typ:     elf.Type(le.Uint16(b[16:])),
		machine: elf.Machine(le.Uint16(b[18:])),
		entry:   le.Uint64(b[24:]),
		phoff:   le.Uint64(b[32:]),
		phsize:  le.Uint16(b[54:]),
		phnum:   le.Uint16(b[56:]),
	}, string(b[:len(elf.ELFMAG)]) == elf.ELFMAG
}

func (h header) check() error {
	if h.typ != elf.ET_EXEC && h.typ != elf.ET_DYN {
		return fmt.Errorf("ELF type %s is no program", h.typ)
	}
	if h.machine != elf.EM_X86_64 {
		return fmt.Errorf("ELF machine %s, want %s", h.machine, elf.EM_X86_64)
	}
	return nil
}

// readPhdrs mirrors load_elf_phdrs. Its errors have no errno of their own: Linux reports whatever goes wrong here,
// a failed read included, as ENOEXEC for the program and ELIBBAD for the interpreter.
func readPhdrs(f File, h header) ([]phdr, error) {
	if h.phsize != phdrSize {
		return nil, fmt.Errorf("ELF program headers of %d bytes, want %d", h.phsize, phdrSize)
	}
	size := int(h.phnum) * phdrSize
	if size == 0 || size > maxPhdrBytes {
		return nil, fmt.Errorf("%d ELF program headers, want 1 to %d", h.phnum, maxPhdrBytes/phdrSize)
	}
	buf := make([]byte, size)
	n, err := readAt(f, buf, h.phoff)
	if err != nil {
		// %v: the file system's errno must not be taken for execve's.
		return nil, fmt.Errorf("read ELF program headers at offset %#x: %v", h.phoff, err)
	}
	if n < size {
		return nil, fmt.Errorf("ELF program headers at offset %#x: the file has %d of their %d bytes", h.phoff, n, size)
	}
	phdrs := make([]phdr, h.phnum)
	le := binary.LittleEndian
	for i := range phdrs {
		b := buf[i*phdrSize:]
		phdrs[i] = phdr{
			typ:    elf.ProgType(le.Uint32(b)),
			flags:  elf.ProgFlag(le.Uint32(b[4:])),
			off:    le.Uint64(b[8:]),
			vaddr:  le.Uint64(b[16:]),
			filesz: le.Uint64(b[32:]),
			memsz:  le.Uint64(b[40:]),
			align:  le.Uint64(b[48:]),
		}
	}
	return phdrs, nil
}

// mappingSize mirrors total_mapping_size: the span of all PT_LOAD segments, modulo 2^64; 0 if there is none.
func mappingSize(phdrs []phdr) uint64 {
	lo, hi, any := ^uint64(0), uint64(0), false
	for _, p := range phdrs {
		if p.typ == elf.PT_LOAD {
			lo, hi, any = min(lo, pageStart(p.vaddr)), max(hi, p.vaddr+p.memsz), true
		}
	}
	if !any {
		return 0
	}
	return hi - lo
}

// maximumAlignment returns the largest p_align of PT_LOAD segments that is a power of two, in whole pages; 0 if none is.
func maximumAlignment(phdrs []phdr) uint64 {
	align := uint64(0)
	for _, p := range phdrs {
		if p.typ == elf.PT_LOAD && p.align != 0 && p.align&(p.align-1) == 0 {
			align = max(align, p.align)
		}
	}
	return pageAlign(align)
}

// alignDown rounds a down to a multiple of align, a power of two or 0 for any.
func alignDown(a, align uint64) uint64 {
	if align == 0 {
		return a
	}
	return a &^ (align - 1)
}
