package machine

import (
	"bytes"
	"debug/elf"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"culvert/cmd/culvert/internal/emulate/cpio"
	"culvert/cmd/culvert/internal/emulate/inside"
	"culvert/cmd/culvert/internal/emulate/kernel"
)

// initramfs writes the archive into anonymous memory: init is the given binary,
// so there is nothing to keep up to date. It is not compressed: unpacking under
// emulation takes longer than reading.
func initramfs(initPath string, k *kernel.Kernel) (*os.File, error) {
	bin, err := os.ReadFile(initPath)
	if err != nil {
		return nil, fmt.Errorf("init of the emulated machine: %w", err)
	}
	if err := checkStatic(bin); err != nil {
		return nil, fmt.Errorf("%s cannot be init of the emulated machine: %w", initPath, err)
	}
	if bin, err = kernel.Trim(bin); err != nil {
		return nil, fmt.Errorf("%s: %w", initPath, err)
	}
	f, err := memfd("initramfs")
	if err != nil {
		return nil, err
	}
	w := cpio.NewWriter(f)
	for _, dir := range inside.Dirs() {
		err = first(err, w.Dir(dir, 0o755))
	}
	// The kernel opens /dev/console for init before init mounts /dev.
	err = first(err, w.Char("dev/console", 0o600, 5, 1))
	err = first(err, w.File(strings.TrimPrefix(inside.InitName, "/"), 0o755, bin))
	err = first(err, w.File(inside.ModuleList, 0o644, []byte(strings.Join(k.Modules, "\n"))))
	for _, name := range k.Modules {
		ko, rerr := os.ReadFile(filepath.Join(k.Dir, name))
		err = first(err, rerr)
		err = first(err, w.File(filepath.Join(inside.ModuleDir, name), 0o644, ko))
	}
	if err = first(err, w.Close()); err != nil {
		f.Close()
		return nil, fmt.Errorf("initramfs: %w", err)
	}
	return f, nil
}

func first(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

// checkStatic refuses a binary that needs a loader, which the initramfs lacks.
func checkStatic(bin []byte) error {
	f, err := elf.NewFile(bytes.NewReader(bin))
	if err != nil {
		return err
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return fmt.Errorf("it is dynamically linked; build it with CGO_ENABLED=0")
		}
	}
	return nil
}
