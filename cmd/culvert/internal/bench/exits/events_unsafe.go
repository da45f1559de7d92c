package exits

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// setFilter selects the events that a perf counter counts. The kernel copies the string during the call, which keeps
// its memory alive since the conversion stands in the call's arguments.
func setFilter(fd int, filter string) error {
	text, err := unix.BytePtrFromString(filter)
	if err != nil {
		return err
	}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.PERF_EVENT_IOC_SET_FILTER, uintptr(unsafe.Pointer(text))); errno != 0 {
		return fmt.Errorf("filter %q of perf events: %w", filter, errno)
	}
	return nil
}
