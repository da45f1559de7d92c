package kernel

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Canonical returns a module's name as the kernel spells it: files and
// dependency lists use '-' and '_' as they like.
func Canonical(name string) string { return strings.ReplaceAll(name, "-", "_") }

// Depends returns the modules that a module names in its .modinfo section. The
// distribution's package has no modules.dep, which depmod would make from this.
func Depends(ko []byte) ([]string, error) {
	f, err := elf.NewFile(bytes.NewReader(ko))
	if err != nil {
		return nil, fmt.Errorf("module: %w", err)
	}
	s := f.Section(".modinfo")
	if s == nil {
		return nil, errors.New("module has no .modinfo section")
	}
	info, err := s.Data()
	if err != nil {
		return nil, fmt.Errorf("module: .modinfo: %w", err)
	}
	var deps []string
	for _, kv := range strings.Split(string(info), "\x00") {
		list, ok := strings.CutPrefix(kv, "depends=")
		if !ok || list == "" {
			continue
		}
		for _, d := range strings.Split(list, ",") {
			deps = append(deps, Canonical(d))
		}
	}
	return deps, nil
}

// Order returns the modules to insert for wanted, each after what it depends
// on. depends is asked once for each; it says nil for a module that is built
// into the kernel, by returning builtin true.
func Order(wanted []string, depends func(name string) (deps []string, builtin bool, err error)) ([]string, error) {
	const (
		visiting = 1
		done     = 2
	)
	state := map[string]int{}
	var order []string
	var visit func(name string, path []string) error
	visit = func(name string, path []string) error {
		switch state[name] {
		case done:
			return nil
		case visiting:
			return fmt.Errorf("modules depend on each other in a circle: %s", strings.Join(append(path, name), " -> "))
		}
		state[name] = visiting
		deps, builtin, err := depends(name)
		if err != nil {
			return err
		}
		for _, d := range deps {
			if err := visit(d, append(slices.Clone(path), name)); err != nil {
				return err
			}
		}
		state[name] = done
		if !builtin {
			order = append(order, name)
		}
		return nil
	}
	for _, w := range wanted {
		if err := visit(Canonical(w), nil); err != nil {
			return nil, err
		}
	}
	return order, nil
}

// sigMagic ends a signed module: kernel/module/signing.c, MODULE_SIG_STRING.
const sigMagic = "~Module signature appended~\n"

// StripSignature removes a module's signature, which costs an RSA operation to
// check under emulation and protects nothing here: the file came from a package
// whose own signature apt checked. A module without one is returned as it is.
func StripSignature(ko []byte) []byte {
	const trailer = 12 // struct module_signature; its last 4 bytes are sig_len, big-endian
	body, ok := bytes.CutSuffix(ko, []byte(sigMagic))
	if !ok || len(body) < trailer {
		return ko
	}
	n := uint64(binary.BigEndian.Uint32(body[len(body)-4:])) + trailer
	if n > uint64(len(body)) {
		return ko
	}
	return body[:uint64(len(body))-n]
}

// HideBTF renames the module's .BTF section, so that the kernel does not parse
// it: that takes as long as the rest of the insertion, and only BPF needs it.
func HideBTF(ko []byte) []byte {
	f, err := elf.NewFile(bytes.NewReader(ko))
	if err != nil || f.Section(".BTF") == nil {
		return ko
	}
	// debug/elf does not export e_shstrndx: ELF64 header, offset 62.
	idx := int(binary.LittleEndian.Uint16(ko[62:]))
	if idx >= len(f.Sections) {
		return ko
	}
	names := f.Sections[idx]
	end := names.Offset + names.FileSize
	if end > uint64(len(ko)) || end < names.Offset {
		return ko
	}
	out := slices.Clone(ko)
	table := out[names.Offset:end]
	if i := bytes.Index(table, []byte("\x00.BTF\x00")); i >= 0 {
		copy(table[i+1:], ".XTF")
	}
	return out
}
