package boot

import (
	"math/bits"
	"unsafe"

	"culvert/guest"
	"culvert/shim/abi"
)

// fileSize is the size of an entry of the open-file table, vmSize that of a guest.VM.
const (
	fileSize = int(unsafe.Sizeof(guest.File{}))
	vmSize   = int(unsafe.Sizeof(guest.VM{}))
)

// view is a struct in RAM. Sound: gpa comes from alloc, which keeps the struct within RAM and aligned.
func view[T any](ram []byte, gpa abi.GPA) *T {
	var t T
	_ = ram[gpa : uint64(gpa)+uint64(unsafe.Sizeof(t))]
	return (*T)(unsafe.Pointer(&ram[gpa]))
}

// setAddr stores a guest address in a pointer or func field of a shared struct. The word is written as an integer: the
// collector never sees it, since RAM is not its heap.
func setAddr(field unsafe.Pointer, gva uint64) { *(*uint64)(field) = gva }

// fill writes the VM page and each vCPU's pages, and makes the registers. It leaves the slots of
// the big tables untouched, so that the host need not populate them: whoever uses a slot first writes its Index.
func (b *build) fill() {
	l, ram := &b.m.Layout, b.cfg.RAM
	vm := view[guest.VM](ram, l.VMPage)
	vm.Threads, vm.NumThreads = gva(l.Threads), uint64(l.NumThreads)
	vm.ThreadShift = uint64(bits.TrailingZeros(uint(l.ThreadSize)))
	vm.Files, vm.NumFiles = gva(l.Files), uint64(l.NumFiles)
	vm.Refs, vm.NumFrames = gva(l.Refs), uint64(len(ram)/abi.PageSize)
	vm.Futexes = gva(l.Futexes)
	vm.KernelCR3 = uint64(l.KernelCR3)
	for v := range b.cfg.VCPUs {
		b.fillPerCPU(v)
		b.m.VCPUs = append(b.m.VCPUs, b.registers(v))
	}
}

// fillPerCPU writes what GS will point to.
func (b *build) fillPerCPU(v int) {
	l, span, code, base := &b.m.Layout, b.m.TextSpan, &b.cfg.Code, vcpuBase(v)
	p := view[guest.PerCPU](b.cfg.RAM, l.PerCPU[v])
	p.Self, p.ID = base+abi.VCPUPage, uint64(v)
	p.KStack = base + abi.VCPUPage - stackPad
	p.CallPage = base + abi.VCPUCall
	p.OnSyscall, p.OnTrap = span.GVA(code.OnSyscall), span.GVA(code.OnTrap)
	p.OnStart, p.OnPanic = span.GVA(code.OnStart), span.GVA(code.OnPanic)
	// The guard lies where compiled code that is not nosplit would find its stack's end.
	const guard = 928
	p.G = guest.FakeG{Lo: base + abi.VCPUStack, Hi: base + abi.VCPUPage,
		Guard0: base + abi.VCPUStack + guard, Guard1: ^uint64(0)}
	p.CR3 = uint64(l.KernelCR3)
	p.Probe = 1 << 20 // out of any table's bounds
	p.XSaveMask = b.cfg.Features.XCR0
	if b.cfg.Features.SMAP {
		p.SMAP = 1
	}
	if !b.cfg.ForwardAll {
		code := guest.FastCalls()
		for nr, how := range guest.Serve() {
			p.Serve[nr] = how
			if how >= guest.ServeCode {
				p.Calls[how-guest.ServeCode] = span.GVA(code[nr])
			}
		}
	}
	setAddr(unsafe.Pointer(&p.VM), gva(l.VMPage))
	setAddr(unsafe.Pointer(&p.Call), base+abi.VCPUCall)
	setAddr(unsafe.Pointer(&p.Pool), gva(l.Pools[v]))
	helpers := code.Helpers()
	word := p.Self + uint64(unsafe.Offsetof(p.Code))
	for i, f := range []unsafe.Pointer{
		unsafe.Pointer(&p.Copy), unsafe.Pointer(&p.LoadUser), unsafe.Pointer(&p.Out), unsafe.Pointer(&p.Save),
		unsafe.Pointer(&p.SetCR3), unsafe.Pointer(&p.Invlpg), unsafe.Pointer(&p.RDTSC),
		unsafe.Pointer(&p.Pause),
	} {
		p.Code[i] = span.GVA(helpers[i])
		setAddr(f, word+uint64(i)*8)
	}
}
