package loader

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"
)

// Types of auxiliary vector entries (include/uapi/linux/auxvec.h and arch/x86/include/uapi/asm/auxvec.h).
const (
	AT_NULL              = 0
	AT_PHDR              = 3
	AT_PHENT             = 4
	AT_PHNUM             = 5
	AT_PAGESZ            = 6
	AT_BASE              = 7
	AT_FLAGS             = 8
	AT_ENTRY             = 9
	AT_UID               = 11
	AT_EUID              = 12
	AT_GID               = 13
	AT_EGID              = 14
	AT_PLATFORM          = 15
	AT_HWCAP             = 16
	AT_CLKTCK            = 17
	AT_SECURE            = 23
	AT_RANDOM            = 25
	AT_HWCAP2            = 26
	AT_RSEQ_FEATURE_SIZE = 27
	AT_RSEQ_ALIGN        = 28
	AT_EXECFN            = 31
	AT_SYSINFO_EHDR      = 33
	AT_MINSIGSTKSZ       = 51
)

// Aux is one entry of the auxiliary vector.
type Aux struct{ Type, Value uint64 }

// Platform is what the auxiliary vector tells a program about machine, kernel and credentials.
type Platform struct {
	HWCap       uint64 // CPUID leaf 1, EDX
	HWCap2      uint64 // HWCAP2_RING3MWAIT, HWCAP2_FSGSBASE
	ClkTck      uint64 // ticks of times(2) per second: 100
	SysinfoEHDR uint64 // the vDSO's address; 0: no entry
	MinSigStkSz uint64 // bytes of the largest signal frame
	// RseqFeatureSize and RseqAlign describe rseq(2); no entries if RseqFeatureSize is 0.
	RseqFeatureSize, RseqAlign uint64
	UID, EUID, GID, EGID       uint32
	Secure                     bool // AT_SECURE: privileges were gained
	Random                     [16]byte
}

// platformName is ELF_PLATFORM.
const platformName = "x86_64"

// stack is where everything on the first stack goes. Strings are written from high addresses to low: the file name,
// the environment, the arguments, platformName, the random bytes; then, 16-byte aligned below them, the words that
// start with argc.
type stack struct {
	top      uint64
	execfn   uint64 // also the environment's end
	argEnd   uint64 // also the environment's start
	argStart uint64
	platform uint64
	random   uint64
	sp       uint64
}

// auxvMax is the number of entries of the longest auxiliary vector, AT_NULL included.
const auxvMax = 23

// layout places everything below top, for an auxiliary vector of auxc entries.
func (im *Image) layout(top uint64, auxc int, rnd Random) stack {
	st := stack{top: top}
	p := top - wordSize // a NULL word ends the stack
	p -= uint64(len(im.path)) + 1
	st.execfn = p
	p -= stringBytes(im.envp)
	st.argEnd = p
	p -= stringBytes(im.argv)
	st.argStart = p
	p = (p - rnd.SP) &^ 15 // arch_align_stack
	p -= uint64(len(platformName)) + 1
	st.platform = p
	p -= 16
	st.random = p
	words := 1 + len(im.argv) + 1 + len(im.envp) + 1
	st.sp = (p - uint64(auxc)*2*wordSize - uint64(words)*wordSize) &^ 15
	return st
}

// stringBytes cannot overflow: Parse bounded the sum.
func stringBytes(list []string) (n uint64) {
	for _, s := range list {
		n += uint64(len(s)) + 1
	}
	return n
}

// mapStack maps a stack that has room for everything that writeStack puts there.
func (im *Image) mapStack(as AddressSpace, rnd Random) (top uint64, err error) {
	// The layout's size does not depend on where a page-aligned top is.
	need := pageAlign(taskSize - im.layout(taskSize, auxvMax, rnd).sp)
	if need > max(im.stackLimit, pageSize) {
		return 0, fmt.Errorf("%d bytes of arguments exceed the stack limit of %d bytes: %w",
			need, im.stackLimit, unix.EFAULT)
	}
	prot := unix.PROT_READ | unix.PROT_WRITE
	if im.exec {
		prot |= unix.PROT_EXEC
	}
	top, err = as.MapStack(need, prot)
	if err != nil {
		return 0, fmt.Errorf("%d bytes: %w", need, err)
	}
	return top, nil
}

// writeStack fills the stack below top and records in s where things are (create_elf_tables).
func (im *Image) writeStack(as AddressSpace, top uint64, pl Platform, rnd Random, s *Start) error {
	st := im.layout(top, im.auxc(pl), rnd)
	s.Auxv = im.auxv(pl, s, st)
	s.SP = st.sp
	s.ArgStart, s.ArgEnd, s.EnvStart, s.EnvEnd = st.argStart, st.argEnd, st.argEnd, st.execfn

	// One block, written at once: Parse allowed at most 6 MiB of strings and pointers together.
	buf := make([]byte, 0, st.top-st.sp)
	word := func(v uint64) { buf = binary.LittleEndian.AppendUint64(buf, v) }
	word(uint64(len(im.argv)))
	p := st.argStart
	for _, list := range [][]string{im.argv, im.envp} {
		for _, str := range list {
			word(p)
			p += uint64(len(str)) + 1
		}
		word(0)
	}
	for _, a := range s.Auxv {
		word(a.Type)
		word(a.Value)
	}
	at := func(addr uint64) { buf = buf[:addr-st.sp] } // the gap is zero: make cleared it
	at(st.random)
	buf = append(buf, pl.Random[:]...)
	at(st.platform)
	buf = append(append(buf, platformName...), 0)
	at(st.argStart)
	for _, list := range [][]string{im.argv, im.envp, {im.path}} {
		for _, str := range list {
			buf = append(append(buf, str...), 0)
		}
	}
	at(st.top)
	if _, err := as.CopyOut(st.sp, buf); err != nil {
		return fmt.Errorf("write %d bytes at %#x: %w", len(buf), st.sp, err)
	}
	return nil
}

// auxc returns the length of the auxiliary vector.
func (im *Image) auxc(pl Platform) int { return len(im.auxv(pl, &Start{}, stack{})) }

// auxv builds the vector in Linux's order.
func (im *Image) auxv(pl Platform, s *Start, st stack) []Aux {
	v := make([]Aux, 0, auxvMax)
	if pl.SysinfoEHDR != 0 {
		v = append(v, Aux{AT_SYSINFO_EHDR, pl.SysinfoEHDR})
	}
	secure := uint64(0)
	if pl.Secure {
		secure = 1
	}
	v = append(v,
		Aux{AT_MINSIGSTKSZ, pl.MinSigStkSz},
		Aux{AT_HWCAP, pl.HWCap},
		Aux{AT_PAGESZ, pageSize},
		Aux{AT_CLKTCK, pl.ClkTck},
		Aux{AT_PHDR, s.Phdr},
		Aux{AT_PHENT, phdrSize},
		Aux{AT_PHNUM, uint64(im.head.phnum)},
		Aux{AT_BASE, s.Base},
		Aux{AT_FLAGS, 0},
		Aux{AT_ENTRY, s.ProgEntry},
		Aux{AT_UID, uint64(pl.UID)},
		Aux{AT_EUID, uint64(pl.EUID)},
		Aux{AT_GID, uint64(pl.GID)},
		Aux{AT_EGID, uint64(pl.EGID)},
		Aux{AT_SECURE, secure},
		Aux{AT_RANDOM, st.random},
		Aux{AT_HWCAP2, pl.HWCap2},
		Aux{AT_EXECFN, st.execfn},
		Aux{AT_PLATFORM, st.platform},
	)
	if pl.RseqFeatureSize != 0 {
		v = append(v, Aux{AT_RSEQ_FEATURE_SIZE, pl.RseqFeatureSize}, Aux{AT_RSEQ_ALIGN, pl.RseqAlign})
	}
	return append(v, Aux{AT_NULL, 0})
}
