package loader

import (
	"debug/elf"
	"fmt"

	"golang.org/x/sys/unix"
)

// elfETDynBase is where a PIE with an interpreter goes without randomisation: ELF_ET_DYN_BASE of
// arch/x86/include/asm/elf.h, two thirds of user memory.
const elfETDynBase = taskSize / 3 * 2

// Placement says how MapFile chooses an address.
type Placement int

const (
	// Hint: addr if it is free and not 0, else what mmap's layout gives.
	Hint Placement = iota
	// Fixed: addr, replacing what is there (MAP_FIXED).
	Fixed
	// FixedNoReplace: addr, or EEXIST (MAP_FIXED_NOREPLACE).
	FixedNoReplace
)

// AddressSpace is the new, empty address space that Load fills. What Load gives it is checked: addresses, lengths and
// offsets are multiples of the page size (CopyOut's apart), lengths are not 0, ranges end in user memory. Left to it are
// mmap_min_addr (EPERM), the memory limits (ENOMEM), files that cannot be mapped (EACCES, ENODEV) and offsets that no
// file has (EOVERFLOW). Its errors carry a unix.Errno.
type AddressSpace interface {
	// MapFile maps length bytes of f from off, private, and returns the address. A mapping may reach past the end
	// of the file.
	MapFile(f File, off, addr, length uint64, prot int, how Placement) (uint64, error)
	// MapAnonymous maps zeroed private memory at addr, replacing what is there.
	MapAnonymous(addr, length uint64, prot int) error
	// Unmap removes what is mapped in a range.
	Unmap(addr, length uint64) error
	// MapStack maps the stack, at least size bytes of it below the returned, page-aligned top, and lets it grow.
	MapStack(size uint64, prot int) (top uint64, err error)
	// SetBrk sets where the break starts.
	SetBrk(start uint64)
	// CopyOut writes p as a program would: into writable memory only, EFAULT elsewhere with the count done.
	CopyOut(addr uint64, p []byte) (int, error)
}

// Random holds the offsets of address-space randomisation, in bytes. The zero value is the layout under
// ADDR_NO_RANDOMIZE. What the address space decides itself (mmap's base, the stack's top) is not here.
type Random struct {
	PIE uint64 // moves a PIE that has an interpreter up; page-aligned, Linux: below 2^28 pages
	SP  uint64 // moves the stack pointer down; Linux: below 8192
	Brk uint64 // moves the break up by this and a page; page-aligned, Linux: below 1 GiB
}

// Start is a loaded program: its first registers, and what /proc/PID tells about it.
type Start struct {
	Entry uint64 // RIP: of the interpreter if there is one
	SP    uint64 // RSP: at argc

	ProgEntry uint64 // AT_ENTRY
	Base      uint64 // AT_BASE: where the interpreter is, 0 without one
	Phdr      uint64 // AT_PHDR
	Bias      uint64 // what was added to the program's addresses
	Brk       uint64 // where the break starts

	StartCode, EndCode uint64
	StartData, EndData uint64
	ArgStart, ArgEnd   uint64
	EnvStart, EnvEnd   uint64

	Auxv []Aux // as on the stack, AT_NULL included
}

// Load fills as and says where to start. After an error the address space is half filled and of no use: Linux kills
// the process with SIGSEGV there. It mirrors load_elf_binary after begin_new_exec.
func (im *Image) Load(as AddressSpace, pl Platform, rnd Random) (*Start, error) {
	s := &Start{StartCode: ^uint64(0)}
	top, err := im.mapStack(as, rnd)
	if err != nil {
		return nil, fmt.Errorf("%s: map the stack: %w", im.path, err)
	}
	brk, err := im.mapSegments(as, rnd, s)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", im.path, err)
	}
	if im.interp != nil {
		if err := im.interp.load(as, s); err != nil {
			return nil, fmt.Errorf("%s: interpreter %s: %w", im.path, im.interp.path, err)
		}
	} else {
		s.Entry = s.ProgEntry
	}
	// An entry point in user memory that nothing maps is the program's own affair: it dies there by itself.
	if s.Entry >= taskSize {
		return nil, fmt.Errorf("%s: entry point %#x is outside user memory: %w", im.path, s.Entry, unix.EINVAL)
	}
	if err := im.writeStack(as, top, pl, rnd, s); err != nil {
		return nil, fmt.Errorf("%s: fill the stack: %w", im.path, err)
	}
	im.setBrk(as, rnd, brk, s)
	return s, nil
}

// mapSegments maps the program's PT_LOAD segments, sets all of s that follows from them but Entry, and returns the
// highest end of a segment.
func (im *Image) mapSegments(as AddressSpace, rnd Random, s *Start) (brk uint64, err error) {
	first := true
	for i, p := range im.phdrs {
		if p.typ != elf.PT_LOAD {
			continue
		}
		// Segments after the first keep their distance from it, whatever they overlap.
		how, total := Fixed, uint64(0)
		switch {
		case !first:
		case im.head.typ == elf.ET_EXEC:
			how = FixedNoReplace
		default:
			if s.Bias, how, total, err = im.placeDyn(as, rnd, i); err != nil {
				return 0, err
			}
		}
		addr, err := loadSegment(as, im.file, s.Bias+p.vaddr, p, how, total)
		if err != nil {
			return 0, fmt.Errorf("segment %d: %w", i, err)
		}
		if first && im.head.typ == elf.ET_DYN {
			s.Bias += addr - pageStart(s.Bias+p.vaddr)
		}
		first = false
		// AT_PHDR is where the table lies in memory. If no segment holds it, it is the bias alone; if the range of a
		// hostile segment wraps, whatever comes out is only a number that the program gets.
		if p.off <= im.head.phoff && im.head.phoff < p.off+p.filesz {
			s.Phdr = im.head.phoff - p.off + p.vaddr
		}
		if err := p.checkSize(p.vaddr, unix.EINVAL); err != nil {
			return 0, fmt.Errorf("segment %d: %w", i, err)
		}
		s.extend(p)
		brk = max(brk, p.vaddr+p.memsz)
	}
	for _, a := range []*uint64{&s.Phdr, &s.StartCode, &s.EndCode, &s.StartData, &s.EndData} {
		*a += s.Bias
	}
	s.ProgEntry = im.head.entry + s.Bias
	return brk + s.Bias, nil
}

// placeDyn chooses the bias of an ET_DYN program before its first segment, i, is mapped.
func (im *Image) placeDyn(as AddressSpace, rnd Random, i int) (bias uint64, how Placement, total uint64, err error) {
	p := im.phdrs[i]
	if total = mappingSize(im.phdrs); total == 0 {
		return 0, Fixed, 0, fmt.Errorf("all segments together are empty: %w", unix.EINVAL)
	}
	align := maximumAlignment(im.phdrs)
	switch {
	case im.interp != nil:
		// With an interpreter: away from mmap's area, so that the break can grow.
		bias, how = alignDown(elfETDynBase+rnd.PIE, align), FixedNoReplace
	case align > pageSize:
		// A static PIE, or a dynamic linker run as a program, goes where mmap puts it. mmap knows nothing of the
		// alignment: try, give it back, round down.
		addr, err := loadSegment(as, im.file, 0, p, Hint, total)
		if err != nil {
			return 0, Fixed, 0, fmt.Errorf("segment %d: find a place for it: %w", i, err)
		}
		if end := addr + total; end >= addr && end <= taskSize { // else vm_munmap's EINVAL, which Linux ignores
			if err := as.Unmap(pageStart(addr), pageAlign(total)); err != nil {
				return 0, Fixed, 0, fmt.Errorf("segment %d: give back a place for it: %w", i, err)
			}
		}
		bias, how = alignDown(addr, align), FixedNoReplace
	default:
		bias, how = 0, Hint
	}
	return pageStart(bias - p.vaddr), how, total, nil
}

// extend lets the code and data ranges cover p, unbiased.
func (s *Start) extend(p phdr) {
	end := p.vaddr + p.filesz
	if p.flags&elf.PF_X != 0 {
		s.StartCode = min(s.StartCode, p.vaddr)
		s.EndCode = max(s.EndCode, end)
	}
	s.StartData = max(s.StartData, p.vaddr)
	s.EndData = max(s.EndData, end)
}

// load maps the interpreter where mmap puts it (load_elf_interp) and sets s.Base and s.Entry.
func (in *interpreter) load(as AddressSpace, s *Start) error {
	if in.head.typ != elf.ET_EXEC && in.head.typ != elf.ET_DYN {
		return fmt.Errorf("ELF type %s: %w", in.head.typ, unix.EPERM)
	}
	total := mappingSize(in.phdrs)
	if total == 0 {
		return fmt.Errorf("it has nothing to load: %w", unix.EINVAL)
	}
	bias, placed := uint64(0), false
	for i, p := range in.phdrs {
		if p.typ != elf.PT_LOAD {
			continue
		}
		how := Hint
		if in.head.typ == elf.ET_EXEC || placed {
			how = Fixed
		} else if s.Bias != 0 {
			// Take what mmap gives. Under an ET_EXEC program p_vaddr stays a hint, as in Linux.
			bias = -p.vaddr
		}
		addr, err := loadSegment(as, in.file, bias+p.vaddr, p, how, total)
		if err != nil {
			return fmt.Errorf("segment %d: %w", i, err)
		}
		total = 0
		if !placed && in.head.typ == elf.ET_DYN {
			bias, placed = addr-pageStart(p.vaddr), true
		}
		if err := p.checkSize(bias+p.vaddr, unix.ENOMEM); err != nil {
			return fmt.Errorf("segment %d: %w", i, err)
		}
	}
	s.Base, s.Entry = bias, bias+in.head.entry
	return nil
}

// checkSize refuses a segment at addr that cannot be in user memory. Linux looks only after it has mapped the segment.
func (p phdr) checkSize(addr uint64, errno unix.Errno) error {
	if p.filesz > p.memsz {
		return fmt.Errorf("p_filesz %#x exceeds p_memsz %#x: %w", p.filesz, p.memsz, errno)
	}
	if addr >= taskSize || p.memsz > taskSize || taskSize-p.memsz < addr {
		return fmt.Errorf("%#x bytes at %#x end outside user memory: %w", p.memsz, addr, errno)
	}
	return nil
}

func (p phdr) prot() int {
	prot := 0
	if p.flags&elf.PF_R != 0 {
		prot |= unix.PROT_READ
	}
	if p.flags&elf.PF_W != 0 {
		prot |= unix.PROT_WRITE
	}
	if p.flags&elf.PF_X != 0 {
		prot |= unix.PROT_EXEC
	}
	return prot
}

// loadSegment mirrors elf_load: the file's part, zeros to the end of its last page, and anonymous pages for the rest.
// total, if not 0, is the room to find for the whole image.
func loadSegment(as AddressSpace, f File, addr uint64, p phdr, how Placement, total uint64) (uint64, error) {
	var at, zeroStart, zeroEnd uint64
	if p.filesz != 0 {
		var err error
		if at, err = mapFile(as, f, addr, p, how, total); err != nil {
			return 0, err
		}
		if p.memsz <= p.filesz {
			return at, nil
		}
		zeroStart = at + pageOffset(p.vaddr) + p.filesz
		zeroEnd = at + pageOffset(p.vaddr) + p.memsz
		if err := padZero(as, zeroStart); err != nil && p.flags&elf.PF_W != 0 {
			return 0, fmt.Errorf("zero the page after the file's part: %w", err)
		}
	} else {
		at = pageStart(addr)
		zeroStart, zeroEnd = at, at+pageOffset(p.vaddr)+p.memsz
		if at >= taskSize {
			return 0, fmt.Errorf("address %#x is outside user memory: %w", at, unix.EINVAL)
		}
		if p.memsz == 0 {
			return at, nil
		}
	}
	// Anonymous pages of a segment are writable whatever its flags say (do_brk_flags).
	prot := unix.PROT_READ | unix.PROT_WRITE | p.prot()&unix.PROT_EXEC
	start := pageAlign(zeroStart)
	length := pageAlign(zeroEnd) - start
	if length == 0 {
		return at, nil
	}
	if err := checkRange(start, length); err != nil {
		return 0, fmt.Errorf("bss: %w", err)
	}
	if err := as.MapAnonymous(start, length, prot); err != nil {
		return 0, fmt.Errorf("bss: map %#x bytes at %#x: %w", length, start, err)
	}
	return at, nil
}

// mapFile mirrors elf_map.
func mapFile(as AddressSpace, f File, addr uint64, p phdr, how Placement, total uint64) (uint64, error) {
	size := pageAlign(p.filesz + pageOffset(p.vaddr))
	off := p.off - pageOffset(p.vaddr)
	addr = pageStart(addr)
	if size == 0 { // p_filesz wrapped; checkSize will refuse it
		if addr >= taskSize {
			return 0, fmt.Errorf("address %#x is outside user memory: %w", addr, unix.EINVAL)
		}
		return addr, nil
	}
	length := size
	if total != 0 {
		length = pageAlign(total)
	}
	// vm_mmap and do_mmap, in their order.
	switch {
	case off+length < off:
		return 0, fmt.Errorf("p_offset %#x: the mapping wraps around: %w", p.off, unix.EINVAL)
	case pageOffset(off) != 0:
		return 0, fmt.Errorf("p_offset %#x and p_vaddr %#x differ within a page: %w", p.off, p.vaddr, unix.EINVAL)
	case length == 0:
		return 0, fmt.Errorf("the image spans all addresses: %w", unix.EINVAL)
	}
	if err := checkRange(addr, length); err != nil {
		if how != Hint || length > taskSize {
			return 0, err
		}
		addr = 0 // a hint that cannot be taken is none
	}
	at, err := as.MapFile(f, off, addr, length, p.prot(), how)
	if err != nil {
		return 0, fmt.Errorf("map %#x bytes of the file from offset %#x at %#x: %w", length, off, addr, err)
	}
	// The room was for the whole image; the other segments are put there, and what lies between them stays free.
	if length > size {
		if err := as.Unmap(at+size, length-size); err != nil {
			return 0, fmt.Errorf("unmap %#x bytes at %#x: %w", length-size, at+size, err)
		}
	}
	return at, nil
}

// padZero clears from addr to the end of its page.
func padZero(as AddressSpace, addr uint64) error {
	var zeros [pageSize]byte
	n := pageAlign(addr) - addr
	if n == 0 {
		return nil
	}
	if addr >= taskSize {
		return fmt.Errorf("address %#x is outside user memory: %w", addr, unix.EFAULT)
	}
	_, err := as.CopyOut(addr, zeros[:n])
	return err
}

// checkRange refuses what does not lie in user memory (the limits of get_unmapped_area).
func checkRange(addr, length uint64) error {
	if length > taskSize || addr > taskSize-length {
		return fmt.Errorf("%#x bytes at %#x end outside user memory: %w", length, addr, unix.ENOMEM)
	}
	return nil
}

// setBrk places the break: after the last segment, or, for an ET_DYN without interpreter, which mmap has put among its
// mappings, where a PIE would be.
func (im *Image) setBrk(as AddressSpace, rnd Random, brk uint64, s *Start) {
	moved := im.head.typ == elf.ET_DYN && im.interp == nil
	if moved {
		brk = elfETDynBase
	}
	brk = pageAlign(brk)
	if rnd.Brk != 0 {
		if !moved {
			brk += pageSize // a gap, so that the break never touches bss
		}
		brk += rnd.Brk
	}
	s.Brk = brk
	as.SetBrk(brk)
}
