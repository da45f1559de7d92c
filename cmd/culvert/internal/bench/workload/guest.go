package workload

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// GuestModules is the directory of a Linux guest's initramfs with the modules to insert, in the order of their names.
const GuestModules = "modules"

// GuestDirs are the directories that the initramfs must have.
func GuestDirs() []string { return []string{"dev", "proc", "tmp", GuestModules} }

// guestSetup makes a usable system of a Linux guest that has nothing but this program and modules: file systems, and a
// virtio-serial port as standard input and output.
func guestSetup() error {
	for _, fs := range []string{"devtmpfs", "proc"} {
		dir := map[string]string{"devtmpfs": "/dev", "proc": "/proc"}[fs]
		if err := unix.Mount(fs, dir, fs, 0, ""); err != nil {
			return fmt.Errorf("mount %s: %w", dir, err)
		}
	}
	files, err := filepath.Glob("/" + GuestModules + "/*.ko")
	if err != nil {
		return fmt.Errorf("modules: %w", err)
	}
	slices.Sort(files)
	for _, name := range files {
		if err := insert(name); err != nil {
			return err
		}
	}
	port, err := guestPort()
	if err != nil {
		return err
	}
	for _, fd := range []int{0, 1} {
		if err := unix.Dup3(port, fd, 0); err != nil {
			return fmt.Errorf("dup3: %w", err)
		}
	}
	return unix.Close(port)
}

func insert(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return fmt.Errorf("module: %w", err)
	}
	defer f.Close()
	if err := unix.FinitModule(int(f.Fd()), "", 0); err != nil {
		return fmt.Errorf("insert module %s: %w", name, err)
	}
	return nil
}

// guestPort opens the port, which the driver announces a moment after it is there.
func guestPort() (int, error) {
	const limit = time.Minute
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		names, err := filepath.Glob("/dev/vport*")
		if err != nil || len(names) == 0 {
			continue
		}
		fd, err := unix.Open(names[0], unix.O_RDWR|unix.O_CLOEXEC, 0)
		if err == nil {
			return fd, nil
		}
		// drivers/char/virtio_console.c makes the device before it lists the port.
		if !errors.Is(err, unix.ENXIO) {
			return -1, fmt.Errorf("open %s: %w", names[0], err)
		}
	}
	return -1, fmt.Errorf("no virtio-serial port within %v", limit)
}
