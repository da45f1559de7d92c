package exits

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Events knows the kernel's kvm:kvm_exit tracepoint, if this kernel has it and lets us count it (root, or
// CAP_PERFMON and a readable tracefs). A nil one counts nothing.
type Events struct{ id uint64 }

// hostInterrupts selects the exits that a host interrupt caused: on VMX reason 1, on SVM 0x60.
const hostInterrupts = "(isa == 1 && exit_reason == 1) || (isa == 2 && exit_reason == 0x60)"

// Find looks the tracepoint up; the error says why it cannot be counted.
func Find() (*Events, error) {
	text, err := readTracefs("events/kvm/kvm_exit/id")
	if err != nil {
		return nil, fmt.Errorf("kvm_exit events: %w", err)
	}
	id, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
	if err != nil {
		return nil, fmt.Errorf("kvm_exit events: number of the tracepoint: %w", err)
	}
	e := &Events{id: id}
	k := e.Open()
	if k == nil {
		return nil, errors.New("kvm_exit events: not permitted (see perf_event_paranoid in perf_event_open(2))")
	}
	return e, k.Close()
}

// readTracefs reads a file of tracefs, where it is mounted, or else in a mount that only this process has and nobody sees.
func readTracefs(name string) ([]byte, error) {
	for _, dir := range []string{"/sys/kernel/tracing/", "/sys/kernel/debug/tracing/"} {
		if text, err := os.ReadFile(dir + name); err == nil {
			return text, nil
		}
	}
	fs, err := unix.Fsopen("tracefs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("tracefs is not mounted, and fsopen: %w", err)
	}
	defer unix.Close(fs)
	if err := unix.FsconfigCreate(fs); err != nil {
		return nil, fmt.Errorf("tracefs is not mounted, and fsconfig: %w", err)
	}
	dir, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("tracefs is not mounted, and fsmount: %w", err)
	}
	defer unix.Close(dir)
	fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open %s in tracefs: %w", name, err)
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	var buf [64]byte
	n, err := f.Read(buf[:])
	return buf[:n], err
}

// Counter counts the events of the threads that this process had when it was opened.
type Counter struct{ all, host []int }

// Open returns nil if the events cannot be counted.
func (e *Events) Open() *Counter {
	if e == nil {
		return nil
	}
	tids, err := Threads()
	if err != nil {
		return nil
	}
	k := &Counter{}
	for _, tid := range tids {
		all, err := e.openThread(tid, "")
		if errors.Is(err, unix.ESRCH) {
			continue // it ended meanwhile, so it was no vCPU's
		}
		if err == nil {
			k.all = append(k.all, all)
			var host int
			if host, err = e.openThread(tid, hostInterrupts); err == nil {
				k.host = append(k.host, host)
			}
		}
		if err != nil {
			_ = k.Close() // not counting is the answer already
			return nil
		}
	}
	return k
}

// openThread opens the counter of one thread, for the events that filter selects.
func (e *Events) openThread(tid int, filter string) (int, error) {
	attr := unix.PerfEventAttr{Type: unix.PERF_TYPE_TRACEPOINT, Size: unix.PERF_ATTR_SIZE_VER0, Config: e.id}
	fd, err := unix.PerfEventOpen(&attr, tid, -1, -1, unix.PERF_FLAG_FD_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("perf_event_open: %w", err)
	}
	if filter != "" {
		if err := setFilter(fd, filter); err != nil {
			unix.Close(fd)
			return -1, err
		}
	}
	return fd, nil
}

// read returns the counts so far; ok says that both are there.
func (k *Counter) read() (all, host uint64, ok bool) {
	if k == nil {
		return 0, 0, false
	}
	all, okAll := readAll(k.all)
	host, okHost := readAll(k.host)
	return all, host, okAll && okHost
}

func readAll(fds []int) (sum uint64, ok bool) {
	for _, fd := range fds {
		var b [8]byte
		if n, err := unix.Read(fd, b[:]); err != nil || n != len(b) {
			return 0, false
		}
		sum += binary.NativeEndian.Uint64(b[:])
	}
	return sum, true
}

func (k *Counter) Close() error {
	var errs []error
	for _, fds := range [][]int{k.all, k.host} {
		for _, fd := range fds {
			errs = append(errs, unix.Close(fd))
		}
	}
	return errors.Join(errs...)
}

// Threads lists this process's.
func Threads() ([]int, error) {
	entries, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return nil, err
	}
	var tids []int
	for _, e := range entries {
		tid, err := strconv.Atoi(e.Name())
		if err != nil {
			return nil, fmt.Errorf("/proc/self/task: %w", err)
		}
		tids = append(tids, tid)
	}
	return tids, nil
}
