// Package tinyelf makes static ELF programs of a few instructions, so that what is measured of starting a program is
// the system's work and not a C library's or Go's.
package tinyelf

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"
)

// base is where the file is mapped; the usual place of a static program.
const base = 0x400000

// Exit is a program that does exit_group(0) and nothing else.
func Exit() ([]byte, error) {
	return build([]byte{
		0x31, 0xff, // xor edi, edi
		0xb8, 0xe7, 0, 0, 0, // mov eax, 231 (exit_group)
		0x0f, 0x05, // syscall
	})
}

// Mark is the byte that the programs write: the first of an ELF file, which no text has in it.
const Mark = 0x7f

// writeMark is write(1, base, 1).
func writeMark() []byte {
	return []byte{
		0xb8, 1, 0, 0, 0, // mov eax, 1 (write)
		0x89, 0xc7, // mov edi, eax
		0xbe, 0, 0, 0x40, 0, // mov esi, base
		0x89, 0xc2, // mov edx, eax
		0x0f, 0x05, // syscall
	}
}

// Hello is a program that writes Mark to its standard output and then does exit_group(0).
func Hello() ([]byte, error) {
	return build(append(writeMark(),
		0x31, 0xff, // xor edi, edi
		0xb8, 0xe7, 0, 0, 0, // mov eax, 231 (exit_group)
		0x0f, 0x05, // syscall
	))
}

// Idle is a program that writes Mark and then sleeps for ever.
func Idle() ([]byte, error) {
	return build(append(writeMark(),
		0xb8, 34, 0, 0, 0, // mov eax, 34 (pause)
		0x0f, 0x05, // syscall
		0xeb, 0xf7, // jmp to the mov
	))
}

// build puts headers before the code: one segment that maps the whole file, readable and executable, and one that
// asks for a stack without execute permission, without which Linux makes every mapping executable.
func build(code []byte) ([]byte, error) {
	const headers = 64 + 2*56
	var out bytes.Buffer
	size := uint64(headers + len(code))
	h := elf.Header64{
		Type: uint16(elf.ET_EXEC), Machine: uint16(elf.EM_X86_64), Version: uint32(elf.EV_CURRENT),
		Entry: base + headers, Phoff: 64, Ehsize: 64, Phentsize: 56, Phnum: 2,
	}
	copy(h.Ident[:], elf.ELFMAG)
	h.Ident[elf.EI_CLASS], h.Ident[elf.EI_DATA], h.Ident[elf.EI_VERSION] = byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)
	load := elf.Prog64{Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R | elf.PF_X), Vaddr: base, Paddr: base,
		Filesz: size, Memsz: size, Align: 0x1000}
	stack := elf.Prog64{Type: uint32(elf.PT_GNU_STACK), Flags: uint32(elf.PF_R | elf.PF_W), Align: 16}
	for _, part := range []any{h, load, stack, code} {
		if err := binary.Write(&out, binary.LittleEndian, part); err != nil {
			return nil, fmt.Errorf("make a small program: %w", err)
		}
	}
	return out.Bytes(), nil
}
