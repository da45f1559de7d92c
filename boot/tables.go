package boot

import (
	"encoding/binary"

	"culvert/shim/abi"
)

// Page-table geometry: entries of a table, and what one entry of a page directory covers.
const (
	entries = abi.PageSize / 8
)

// put64 stores a word of RAM.
func (b *build) put64(gpa abi.GPA, v uint64) { binary.LittleEndian.PutUint64(b.cfg.RAM[gpa:], v) }

// table returns the table below entry i of the table at gpa, making it if it is not there.
func (b *build) table(gpa abi.GPA, i uint64) abi.GPA {
	at := gpa + abi.GPA(i%entries*8)
	if e := binary.LittleEndian.Uint64(b.cfg.RAM[at:]); e != 0 {
		return abi.GPA(e & abi.PTEAddr)
	}
	t := b.alloc(abi.PageSize)
	b.put64(at, uint64(t)|abi.PTEPresent|abi.PTEWrite)
	return t
}

// mapPage maps a 4 KiB page of the kernel half.
func (b *build) mapPage(va uint64, gpa abi.GPA, bits uint64) {
	pdpt := b.table(b.m.Layout.KernelCR3, va>>39)
	pd := b.table(pdpt, va>>30)
	pt := b.table(pd, va>>21)
	b.put64(pt+abi.GPA(va>>12%entries*8), uint64(gpa)|bits|abi.PTEPresent|abi.PTEGlobal|abi.PTEAccessed|abi.PTEDirty)
}

// mapHuge adds the 2 MiB at gpa to the direct map.
func (b *build) mapHuge(gpa uint64) {
	va := uint64(abi.DirectBase) + gpa
	pd := b.table(b.table(b.m.Layout.KernelCR3, va>>39), va>>30)
	b.put64(pd+abi.GPA(va>>21%entries*8), gpa|abi.PTEPresent|abi.PTEWrite|abi.PTEHuge|abi.PTEGlobal|
		abi.PTEAccessed|abi.PTEDirty|abi.PTENX)
}

// pageTables makes the kernel's address space, whose upper half all others share: the direct map in 2 MiB pages, the
// text, and each vCPU's window.
func (b *build) pageTables() {
	l := &b.m.Layout
	l.KernelCR3 = b.alloc(abi.PageSize)
	for gpa := uint64(0); gpa < uint64(len(b.cfg.RAM)); gpa += abi.HugeSize {
		b.mapHuge(gpa)
	}
	for i := range b.cfg.Links {
		b.mapHuge(uint64(abi.LinkGPA) + uint64(i)*abi.LinkStride)
	}
	b.m.Text = make([]byte, 0, len(b.cfg.Text)*abi.PageSize)
	for i, p := range b.cfg.Text {
		b.mapPage(b.m.TextSpan.GVA(p.Addr), abi.TextGPA+abi.GPA(i*abi.PageSize), 0)
		b.m.Text = append(b.m.Text, p.Bytes[:]...)
	}
	idt := b.alloc(abi.PageSize)
	b.fillIDT(idt)
	for v := range b.cfg.VCPUs {
		base := vcpuBase(v)
		const rw = abi.PTEWrite | abi.PTENX
		b.mapPage(base+abi.VCPUCall, l.Calls[v], rw)
		for off := uint64(abi.VCPUStack); off < perCPUPage; off += abi.PageSize {
			b.mapPage(base+off, b.alloc(abi.PageSize), rw)
		}
		for off := uint64(perCPUPage); off < abi.VCPUEnd; off += abi.PageSize {
			b.mapPage(base+off, l.PerCPU[v]-abi.VCPUPage+abi.GPA(off), rw)
		}
		b.mapPage(base+abi.VCPUIST, b.alloc(abi.PageSize), rw)
		tables := b.alloc(abi.PageSize)
		b.fillGDT(tables, v)
		b.mapPage(base+abi.VCPUTables, tables, rw)
		b.mapPage(base+abi.VCPUIDT, idt, abi.PTENX)
	}
}

// perCPUPage is the offset in a window of the page in which guest.PerCPU begins.
const perCPUPage = abi.VCPUPage &^ abi.PageMask

// vcpuBase is the guest address of a vCPU's window.
func vcpuBase(v int) uint64 { return uint64(abi.VCPUBase) + uint64(v)*abi.VCPUStride }

// Offsets in the page of GDT and TSS, and their limits. The TSS has no I/O map: its base lies past the limit.
const (
	tssOffset = 0x800
	tssLimit  = 0x67
	gdtLimit  = 0x4f
	idtLimit  = 0xfff
)

// fillGDT writes vCPU v's descriptors, which abi's selectors name, and the TSS with the stacks of ring 0 and of the IST.
func (b *build) fillGDT(gpa abi.GPA, v int) {
	base := vcpuBase(v)
	tss := base + abi.VCPUTables + tssOffset
	for i, d := range []uint64{
		0, 0,
		0x00af9b000000ffff,             // KernelCS: 64-bit code, DPL 0
		0x00cf93000000ffff,             // KernelDS
		0x00cffb000000ffff,             // UserCS32: where SYSRET counts from
		0x00cff3000000ffff,             // UserDS
		0x00affb000000ffff,             // UserCS: 64-bit code, DPL 3
		0x0040f10000000000 | uint64(v), // CPUNumberSel: read-only data, DPL 3, with the vCPU's number as its limit
		tssLimit | tss&0xffffff<<16 | 0x8b<<40 | tss>>24&0xff<<56,
		tss >> 32,
	} {
		b.put64(gpa+abi.GPA(i*8), d)
	}
	b.put64(gpa+tssOffset+4, base+abi.VCPUPage-stackPad) // RSP0
	b.put64(gpa+tssOffset+36, base+abi.VCPUISTEnd)       // IST1
	binary.LittleEndian.PutUint16(b.cfg.RAM[gpa+tssOffset+102:], tssLimit+1)
}

// fillIDT writes an interrupt gate for each vector that has a handler. Only #BP and #OF can be raised by INT in ring 3;
// `int 0x80` finds no gate and is a general protection fault. NMI, #DF and #MC have a stack of their own.
func (b *build) fillIDT(gpa abi.GPA) {
	for vec, addr := range b.cfg.Code.Gates() {
		h := b.m.TextSpan.GVA(addr)
		attr, ist := uint64(0x8e), uint64(0)
		switch vec {
		case 3, 4:
			attr = 0xee
		case abi.VecNMI, abi.VecDF, abi.VecMC:
			ist = 1
		}
		b.put64(gpa+abi.GPA(vec*16), h&0xffff|abi.KernelCS<<16|ist<<32|attr<<40|h>>16&0xffff<<48)
		b.put64(gpa+abi.GPA(vec*16+8), h>>32)
	}
}
