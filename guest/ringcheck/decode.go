package ringcheck

import (
	"encoding/hex"
	"fmt"

	"golang.org/x/arch/x86/x86asm"
)

// inst is one instruction.
type inst struct {
	x86asm.Inst
	pc uint64
}

func (i *inst) next() uint64 { return i.pc + uint64(i.Len) }

// target is where a direct call or jump goes.
func (i *inst) target() (uint64, bool) {
	for _, a := range i.Args {
		if rel, ok := a.(x86asm.Rel); ok {
			return i.next() + uint64(int64(rel)), true
		}
	}
	return 0, false
}

// decodeAll decodes a function from its first byte to its last. What is not a known
// instruction is passed to bad, and the next byte is tried.
func decodeAll(code []byte, addr uint64, bad func(pc uint64, why string)) []inst {
	var list []inst
	for off := 0; off < len(code); {
		rest := code[off:]
		pc := addr + uint64(off)
		if isPadding(rest) {
			break
		}
		in, why := decodeOne(rest)
		if why != "" {
			bad(pc, fmt.Sprintf("%s: %s", why, hex.EncodeToString(rest[:min(len(rest), 8)])))
			in.Len = max(in.Len, 1)
		} else {
			list = append(list, inst{in, pc})
		}
		off += in.Len
	}
	return list
}

// isPadding recognises the INT3s that the linker puts behind a function.
func isPadding(code []byte) bool {
	for _, b := range code {
		if b != 0xcc {
			return false
		}
	}
	return true
}

// decodeOne decodes an instruction, and says why it is refused if it is.
func decodeOne(code []byte) (x86asm.Inst, string) {
	if len(code) >= 3 && code[0] == 0x0f && code[1] == 0x01 && (code[2] == 0xcb || code[2] == 0xca) {
		// STAC and CLAC, which x86asm does not know. They touch RFLAGS.AC alone.
		return x86asm.Inst{Op: x86asm.NOP, Len: 3, Mode: 64}, ""
	}
	if isVEX(code) {
		return x86asm.Inst{}, "VEX or EVEX code (GOAMD64 must be v1)"
	}
	in, err := x86asm.Decode(code, 64)
	switch {
	case err != nil:
		return in, "cannot be decoded"
	case in.Op == 0 || in.Len == 0:
		return in, "is no known instruction"
	case forbidden[in.Op] != "":
		return in, forbidden[in.Op]
	}
	return in, ""
}

// forbidden instructions have no place in ring 0, whoever wrote them.
var forbidden = map[x86asm.Op]string{
	x86asm.INT:      "software interrupt",
	x86asm.SYSCALL:  "system call in ring 0",
	x86asm.SYSENTER: "system call in ring 0",
	x86asm.XSETBV:   "XSETBV: XCR0 is set by the host alone",
	x86asm.LRET:     "far return",
	x86asm.LCALL:    "far call",
	x86asm.LJMP:     "far jump",
}

// isVEX looks past the legacy prefixes: in 64-bit mode C4, C5 and 62 always start a
// VEX or EVEX instruction, and the decoder has taken some for others.
func isVEX(code []byte) bool {
	for _, b := range code {
		switch b {
		case 0x66, 0xf2, 0xf3, 0xf0, 0x2e, 0x36, 0x3e, 0x26, 0x64, 0x65, 0x67:
			continue
		case 0xc4, 0xc5, 0x62:
			return true
		}
		return false
	}
	return false
}
