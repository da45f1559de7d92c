package jail

import (
	"fmt"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// struct seccomp_data (<linux/seccomp.h>): nr, arch, instruction_pointer, args[6].
const (
	offNr   = 0
	offArch = 4
	offArgs = 16
)

// compile translates the rules. Each is a block of its own that the next call number is compared after, so that every
// jump is short. A call of another architecture (int 0x80) or of x32, whose numbers have bit 30 set, matches none.
func compile(rules []rule) ([]bpf.RawInstruction, error) {
	kill := bpf.RetConstant{Val: unix.SECCOMP_RET_KILL_PROCESS}
	prog := []bpf.Instruction{
		bpf.LoadAbsolute{Off: offArch, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.AUDIT_ARCH_X86_64, SkipTrue: 1},
		kill,
		bpf.LoadAbsolute{Off: offNr, Size: 4},
	}
	for _, r := range rules {
		var block []bpf.Instruction
		for _, c := range r.checks {
			block = append(block, c.compile(kill)...)
		}
		result := uint32(unix.SECCOMP_RET_ALLOW)
		if r.errno != 0 {
			result = unix.SECCOMP_RET_ERRNO | uint32(r.errno)
		}
		block = append(block, bpf.RetConstant{Val: result})
		if len(block) > 255 {
			return nil, fmt.Errorf("call %d: %d instructions are too far to jump over", r.nr, len(block))
		}
		prog = append(prog, bpf.JumpIf{Cond: bpf.JumpEqual, Val: r.nr, SkipFalse: uint8(len(block))})
		prog = append(prog, block...)
	}
	return bpf.Assemble(append(prog, kill))
}

// compile returns code that goes on after its end if the check holds.
func (c check) compile(kill bpf.Instruction) []bpf.Instruction {
	low := uint32(offArgs + 8*c.arg) // little-endian
	code := []bpf.Instruction{
		bpf.LoadAbsolute{Off: low + 4, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: 0, SkipTrue: 1},
		kill,
		bpf.LoadAbsolute{Off: low, Size: 4},
	}
	if c.mask != ^uint32(0) {
		code = append(code, bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: c.mask})
	}
	for i, w := range c.want {
		code = append(code, bpf.JumpIf{Cond: bpf.JumpEqual, Val: w, SkipTrue: uint8(len(c.want) - i)})
	}
	return append(code, kill)
}
