package kvm

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// Why Open can fail. Each is found with errors.Is below an *Error.
var (
	ErrNoDevice   = errors.New("no KVM on this machine: load the kvm_intel or kvm_amd module, or enable (nested) virtualisation")
	ErrPermission = errors.New("no permission: run as a member of the group that owns the device, usually kvm")
	ErrAPIVersion = errors.New("the kernel's KVM speaks another API version than 12")
)

// Error is a failure of the host or of the set-up, never of the guest.
type Error struct {
	Op  string // what was tried, with its operands: "KVM_CREATE_VCPU 3"
	Err error  // why it failed; an errno, or one of the Err values above
}

func (e *Error) Error() string { return "kvm: " + e.Op + ": " + e.Err.Error() }

// Unwrap gives errors.Is and errors.As the cause.
func (e *Error) Unwrap() error { return e.Err }

// fail wraps a failed call, and is nil for a nil error.
func fail(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return &Error{Op: fmt.Sprintf(format, args...), Err: err}
}

// openError says what an errno from opening the device means for the user.
func openError(path string, err error) error {
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENXIO), errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENOTDIR):
		err = fmt.Errorf("%w (%w)", ErrNoDevice, err)
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		err = fmt.Errorf("%w (%w)", ErrPermission, err)
	}
	return fail(err, "open %s", path)
}
