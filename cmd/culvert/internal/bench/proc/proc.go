// Package proc reads from /proc what processes take of the machine: processor time and memory.
package proc

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// tick is the unit of times in /proc/PID/stat: USER_HZ is 100 on every x86 machine.
const tick = 10 * time.Millisecond

// SelfCPU is the processor time that this process has taken, in user mode, in the kernel and in guests.
func SelfCPU() (time.Duration, error) { return clock(unix.CLOCK_PROCESS_CPUTIME_ID) }

func clock(id int32) (time.Duration, error) {
	var t unix.Timespec
	if err := unix.ClockGettime(id, &t); err != nil {
		return 0, fmt.Errorf("processor time: %w", err)
	}
	return time.Duration(t.Nano()), nil
}

// clockOf is the clock of a process's processor time: MAKE_PROCESS_CPUCLOCK of include/linux/posix-timers.h, with
// CPUCLOCK_SCHED.
func clockOf(pid int) int32 { return ^int32(pid)<<3 | 2 }

// TreeCPU is the processor time that a process and its descendants have taken: of those alive to the nanosecond, of those
// that their parents have waited for to the tick.
func TreeCPU(pid int) (time.Duration, error) {
	pids, err := Tree(pid)
	if err != nil {
		return 0, err
	}
	var sum time.Duration
	for _, p := range pids {
		own, err := clock(clockOf(p))
		if err != nil {
			continue // it has ended meanwhile, and will be its parent's
		}
		children, err := reaped(p)
		if err != nil && !gone(err) {
			return 0, err
		}
		sum += own + children
	}
	return sum, nil
}

// reaped is the time of a process's children that it has waited for: fields 16 and 17 of /proc/PID/stat, cutime and
// cstime. The name, field 2, is in brackets and may hold anything.
func reaped(pid int) (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	_, rest, ok := cutLast(string(text), ")")
	fields := strings.Fields(rest) // from field 3 on
	if !ok || len(fields) < 15 {
		return 0, fmt.Errorf("/proc/%d/stat: %q", pid, text)
	}
	var sum time.Duration
	for _, f := range fields[13:15] {
		n, err := strconv.ParseUint(f, 10, 48)
		if err != nil {
			return 0, fmt.Errorf("/proc/%d/stat: %w", pid, err)
		}
		sum += time.Duration(n) * tick
	}
	return sum, nil
}

func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

// maxTree bounds the number of processes that are looked at.
const maxTree = 4096

// Tree lists a process and its descendants.
func Tree(pid int) ([]int, error) {
	tree := []int{pid}
	for i := 0; i < len(tree) && len(tree) < maxTree; i++ {
		tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", tree[i]))
		if err != nil {
			if i > 0 && gone(err) {
				continue
			}
			return nil, fmt.Errorf("processes below %d: %w", pid, err)
		}
		for _, t := range tasks {
			// A kernel without CONFIG_PROC_CHILDREN has no such file, and a thread that has ended neither.
			text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/children", tree[i], t.Name()))
			if err != nil {
				continue
			}
			for _, f := range strings.Fields(string(text)) {
				if child, err := strconv.Atoi(f); err == nil {
					tree = append(tree, child)
				}
			}
		}
	}
	return tree, nil
}

// gone tells the errors of a process that has ended.
func gone(err error) bool { return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) }

// Mapping is a part of a process's address space.
type Mapping struct {
	Start, End uint64
	Name       string // of the file, or in brackets; "" if anonymous
	RSS, PSS   uint64 // bytes; in PSS a page that several have mapped counts in parts
}

// Size is the number of addresses.
func (m *Mapping) Size() uint64 { return m.End - m.Start }

// Mappings reads /proc/PID/smaps.
func Mappings(pid int) ([]Mapping, error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/smaps", pid))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	list, err := parseSmaps(f)
	if err != nil {
		return nil, fmt.Errorf("/proc/%d/smaps: %w", pid, err)
	}
	return list, nil
}

// parseSmaps reads the format of proc_pid_smaps(5): a line as in maps, then lines "Key: value kB".
func parseSmaps(r io.Reader) ([]Mapping, error) {
	var list []Mapping
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) >= 5 && !strings.HasSuffix(fields[0], ":") {
			m := Mapping{Name: strings.Join(fields[5:], " ")}
			if _, err := fmt.Sscanf(fields[0], "%x-%x", &m.Start, &m.End); err != nil || m.End < m.Start {
				return nil, fmt.Errorf("range %q", fields[0])
			}
			list = append(list, m)
		}
		if len(fields) != 3 || len(list) == 0 {
			continue
		}
		m := &list[len(list)-1]
		if size := map[string]*uint64{"Rss:": &m.RSS, "Pss:": &m.PSS}[fields[0]]; size != nil {
			kib, err := strconv.ParseUint(fields[1], 10, 48)
			if err != nil {
				return nil, fmt.Errorf("%s %w", fields[0], err)
			}
			*size = kib << 10
		}
	}
	return list, lines.Err()
}
