package kernel

import (
	"bytes"
	"context"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"os/exec"
)

// format is a compression that kernels and modules come in.
type format struct {
	magic string
	suf   string // of a module's file name, after ".ko"
	tool  string // reads stdin, writes stdout
	pkg   string // Debian package that has the tool
	args  []string
}

func formats() []format {
	return []format{
		{"\xfd7zXZ\x00", ".xz", "xz", "xz-utils", []string{"-dc", "--single-stream"}},
		{"\x28\xb5\x2f\xfd", ".zst", "zstd", "zstd", []string{"-dcq"}},
		{"\x1f\x8b\x08", ".gz", "gzip", "gzip", []string{"-dcq"}},
		{"\x02\x21\x4c\x18", "", "lz4", "lz4", []string{"-dc"}},
	}
}

// decompress unpacks data if it has a known magic, else returns it.
func decompress(ctx context.Context, what string, data []byte) ([]byte, error) {
	for _, f := range formats() {
		if !bytes.HasPrefix(data, []byte(f.magic)) {
			continue
		}
		cmd := exec.CommandContext(ctx, f.tool, f.args...)
		cmd.Stdin = bytes.NewReader(data)
		var out, msg bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &msg
		err := cmd.Run()
		if errors.Is(err, exec.ErrNotFound) {
			return nil, fmt.Errorf("%s needs %s: install the package %s", what, f.tool, f.pkg)
		}
		// gzip reports the bytes after the stream, which a kernel image has, with
		// status 2; the caller checks that an ELF file came out.
		if err != nil && out.Len() == 0 {
			return nil, fmt.Errorf("unpack %s with %s: %w: %s", what, f.tool, err, bytes.TrimSpace(msg.Bytes()))
		}
		return out.Bytes(), nil
	}
	return data, nil
}

// Vmlinux returns the ELF kernel inside a bzImage, with section data that no
// loader reads cut off. Its own unpacking takes 6 s under emulation, here less
// than 1; the ELF file is started through its PVH entry.
func Vmlinux(ctx context.Context, bzImage []byte) ([]byte, error) {
	payload, err := payload(bzImage)
	if err != nil {
		return nil, err
	}
	image, err := decompress(ctx, "the kernel", payload)
	if err != nil {
		return nil, err
	}
	f, err := elf.NewFile(bytes.NewReader(image))
	if err != nil {
		return nil, fmt.Errorf("the unpacked kernel: %w", err)
	}
	if !hasPVH(f) {
		return nil, errors.New("the kernel has no PVH entry (CONFIG_PVH)")
	}
	return Trim(image)
}

// payload finds the compressed kernel: Documentation/x86/boot.rst.
func payload(bz []byte) ([]byte, error) {
	const (
		setupSects    = 0x1f1 // u8
		headerMagic   = 0x202 // "HdrS"
		payloadOffset = 0x248 // u32, from the start of the protected-mode code
		payloadLength = 0x24c // u32
		headerEnd     = 0x250
	)
	if len(bz) < headerEnd || string(bz[headerMagic:headerMagic+4]) != "HdrS" {
		return nil, errors.New("not a bzImage")
	}
	sects := uint64(bz[setupSects])
	if sects == 0 {
		sects = 4
	}
	start := (sects+1)*512 + uint64(binary.LittleEndian.Uint32(bz[payloadOffset:]))
	end := start + uint64(binary.LittleEndian.Uint32(bz[payloadLength:]))
	if start >= end || end > uint64(len(bz)) {
		return nil, errors.New("bzImage: its payload is outside the file")
	}
	return bz[start:end], nil
}

// hasPVH looks for XEN_ELFNOTE_PHYS32_ENTRY, without which QEMU cannot start an
// ELF kernel.
func hasPVH(f *elf.File) bool {
	const phys32Entry = 18
	for _, p := range f.Progs {
		if p.Type != elf.PT_NOTE || p.Filesz > 1<<20 {
			continue
		}
		data := make([]byte, p.Filesz)
		if _, err := p.ReadAt(data, 0); err != nil {
			continue
		}
		for len(data) >= 12 {
			le := binary.LittleEndian
			name, desc, typ := uint64(le.Uint32(data)), uint64(le.Uint32(data[4:])), le.Uint32(data[8:])
			next := 12 + (name+3)&^3 + (desc+3)&^3
			if next > uint64(len(data)) {
				break
			}
			if typ == phys32Entry && string(data[12:12+name]) == "Xen\x00" {
				return true
			}
			data = data[next:]
		}
	}
	return false
}

// Trim returns an ELF64 file without what lies behind its last segment: symbols,
// debugging data, section headers. What runs is the same.
func Trim(image []byte) ([]byte, error) {
	f, err := elf.NewFile(bytes.NewReader(image))
	if err != nil {
		return nil, err
	}
	if f.Class != elf.ELFCLASS64 {
		return nil, errors.New("not an ELF64 file")
	}
	const headerLen = 64
	end := uint64(headerLen)
	for _, p := range f.Progs {
		end = max(end, p.Off+p.Filesz)
	}
	le := binary.LittleEndian
	end = max(end, le.Uint64(image[32:])+uint64(le.Uint16(image[54:]))*uint64(le.Uint16(image[56:]))) // program headers
	if end > uint64(len(image)) {
		return nil, errors.New("ELF file is cut short")
	}
	out := bytes.Clone(image[:end])
	le.PutUint64(out[40:], 0) // e_shoff
	le.PutUint16(out[60:], 0) // e_shnum
	le.PutUint16(out[62:], 0) // e_shstrndx
	return out, nil
}
