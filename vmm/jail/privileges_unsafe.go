package jail

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
	"kernel.org/pub/linux/libs/security/libcap/psx"
)

// Capabilities that root's process keeps, so that it can show a guest files of other users, whose modes the shim
// checks against the guest's user.
const (
	readCaps  = 1 << unix.CAP_DAC_READ_SEARCH
	writeCaps = readCaps | 1<<unix.CAP_DAC_OVERRIDE | 1<<unix.CAP_CHOWN | 1<<unix.CAP_FOWNER | 1<<unix.CAP_FSETID
)

// dropCapabilities gives up all capabilities of all threads but those. The bounding set is left: without exec nothing
// comes of it.
func dropCapabilities(c Config) ([]string, error) {
	// Escapes to the heap: psx wants pointers that do not move.
	header := &unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	caps := new([2]unix.CapUserData)
	if err := unix.Capget(header, &caps[0]); err != nil {
		return nil, fmt.Errorf("capget: %w", err)
	}
	keep := uint32(readCaps)
	if c.writes() {
		keep = writeCaps
	}
	old := *caps
	for i := range caps {
		if i > 0 {
			keep = 0 // those to keep are all among the first 32
		}
		caps[i].Permitted &= keep
		caps[i].Effective &= keep
		caps[i].Inheritable = 0
	}
	if *caps == old {
		return []string{"capabilities"}, nil // an ordinary user's process has none
	}
	// capset(2) is per thread. Sound: psx's functions are marked uintptrescapes, so both stay where they are and alive.
	_, _, errno := psx.Syscall3(unix.SYS_CAPSET, uintptr(unsafe.Pointer(header)), uintptr(unsafe.Pointer(caps)), 0)
	if errno != 0 {
		return nil, fmt.Errorf("capset: %w", errno)
	}
	return []string{"capabilities"}, nil
}

// forbidPrivileges sets no_new_privs in all threads.
func forbidPrivileges() error {
	if _, _, errno := psx.Syscall6(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0); errno != 0 {
		return fmt.Errorf("set no_new_privs: %w", errno)
	}
	return nil
}
