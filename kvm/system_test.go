package kvm

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// openKVM opens the device, or skips the test where there is none. With
// REQUIRE_KVM=1 nothing is skipped.
func openKVM(t testing.TB) *System {
	t.Helper()
	s, err := Open()
	if err == nil && softwareRing0() {
		err = errors.Join(errors.New("this /dev/kvm is kvm_pvm, which emulates ring 0 in software"), s.Close())
	}
	if err != nil {
		if os.Getenv("REQUIRE_KVM") == "1" {
			t.Fatalf("REQUIRE_KVM=1, but: %v", err)
		}
		t.Skipf("needs KVM (REQUIRE_KVM=1 makes this a failure): %v", err)
	}
	t.Cleanup(func() { check(t, s.Close()) })
	return s
}

// softwareRing0 finds a KVM without processor support, which runs ring-0 code in an
// incomplete software emulation.
func softwareRing0() bool {
	_, err := os.Stat("/sys/module/kvm_pvm")
	return err == nil
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestOpenErrors(t *testing.T) {
	plain := filepath.Join(t.TempDir(), "plain")
	check(t, os.WriteFile(plain, nil, 0o600))
	for _, c := range []struct {
		path string
		want error
		text string
	}{
		{"/nonexistent/kvm", ErrNoDevice, "open /nonexistent/kvm: no KVM on this machine"},
		{plain + "/below-a-file", ErrNoDevice, "not a directory"},
		{plain, ErrNoDevice, "KVM_GET_API_VERSION on " + plain},
		{"/dev/null", ErrNoDevice, "inappropriate ioctl"},
		{t.TempDir(), unix.EISDIR, "is a directory"},
	} {
		s, err := open(c.path)
		if s != nil || !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("open(%q): got %v, %v; want %v with text %q", c.path, s, err, c.want, c.text)
		}
		var e *Error
		if !errors.As(err, &e) {
			t.Errorf("open(%q): %T is not an *Error", c.path, err)
		}
	}
	for _, errno := range []error{unix.EACCES, unix.EPERM} {
		if err := openError(device, errno); !errors.Is(err, ErrPermission) || !errors.Is(err, errno) {
			t.Errorf("%v is reported as %v", errno, err)
		}
	}
}

// TestOpenPermission opens a device that belongs to somebody else. Root gives up its
// right to for the one thread: a file-system uid other than 0 drops CAP_DAC_OVERRIDE.
func TestOpenPermission(t *testing.T) {
	dir, err := os.MkdirTemp("", "kvm")
	check(t, err)
	defer os.RemoveAll(dir)
	check(t, os.Chmod(dir, 0o755))
	path := filepath.Join(dir, "device")
	check(t, os.WriteFile(path, nil, 0))
	if os.Getuid() == 0 {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		check(t, unix.Setfsuid(65534))
		defer func() { check(t, unix.Setfsuid(0)) }()
	}
	if _, err := open(path); !errors.Is(err, ErrPermission) {
		t.Errorf("got %v, want %v", err, ErrPermission)
	}
}

func TestRetry(t *testing.T) {
	for _, c := range []struct {
		interruptions int
		want          error
	}{{0, nil}, {1, nil}, {retries - 1, nil}, {retries, unix.EINTR}, {1 << 20, unix.EINTR}} {
		calls := 0
		_, err := retry(func() (uintptr, error) {
			if calls++; calls <= c.interruptions {
				return 0, unix.EINTR
			}
			return 0, nil
		})
		if err != c.want || calls > retries {
			t.Errorf("%d interruptions: %v after %d calls, want %v", c.interruptions, err, calls, c.want)
		}
	}
	calls := 0
	if _, err := retry(func() (uintptr, error) { calls++; return 0, unix.EINVAL }); err != unix.EINVAL || calls != 1 {
		t.Errorf("EINVAL: %v after %d calls", err, calls)
	}
}

// TestAnyKVM must hold on whatever /dev/kvm the machine has, also one that cannot run
// a VM: no panic, no descriptor left, errors of this package's type.
func TestAnyKVM(t *testing.T) {
	before := openFiles(t)
	if s, err := Open(); err == nil {
		exercise(t, s)
	} else {
		var e *Error
		if !errors.As(err, &e) {
			t.Errorf("%T is not an *Error: %v", err, err)
		}
	}
	if after := openFiles(t); after != before {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
}

func exercise(t *testing.T, s *System) {
	defer func() { check(t, s.Close()); check(t, s.Close()) }()
	if v, err := s.APIVersion(); err != nil || v != 12 {
		t.Errorf("API version %d, %v", v, err)
	}
	if n, err := s.CheckExtension(CapUserMemory); err != nil || n != 1 {
		t.Errorf("KVM_CAP_USER_MEMORY: %d, %v", n, err)
	}
	if e, err := s.SupportedCPUID(); err != nil || len(e) == 0 {
		t.Errorf("supported CPUID: %d entries, %v", len(e), err)
	}
	vm, err := s.CreateVM()
	if err != nil {
		t.Log(err)
		return
	}
	defer func() { check(t, vm.Close()) }()
	if c, err := vm.CreateVCPU(-1); c != nil || !errors.Is(err, unix.EINVAL) {
		t.Errorf("vCPU -1: %v, %v", c, err)
	}
	c, err := vm.CreateVCPU(0)
	if err != nil {
		t.Log(err)
		return
	}
	defer func() { check(t, c.Close()) }()
	c.SetImmediateExit(true)
	if e, err := c.Run(); err != nil || e.Reason != ExitInterrupted {
		t.Errorf("run with immediate_exit: %v, %v", e, err)
	}
}

// TestClosed checks that a closed object fails cleanly.
func TestClosed(t *testing.T) {
	s, vm, c := &System{fd: -1}, &VM{fd: -1, runSize: minRunSize}, &VCPU{fd: -1}
	_, errRun := c.Run()
	_, errVM := s.CreateVM()
	_, errVCPU := vm.CreateVCPU(0)
	_, errCPUID := s.SupportedCPUID()
	for _, err := range []error{errRun, errVM, errVCPU, errCPUID, vm.SetUserMemoryRegion(0, 0, 0, nil), c.Interrupt(32)} {
		if !errors.Is(err, unix.EBADF) {
			t.Errorf("got %v, want EBADF", err)
		}
	}
	for _, err := range []error{s.Close(), vm.Close(), c.Close()} {
		check(t, err)
	}
}

func openFiles(t testing.TB) int {
	t.Helper()
	d, err := os.ReadDir("/proc/self/fd")
	check(t, err)
	return len(d)
}
