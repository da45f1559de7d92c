package jail

import (
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"
)

// Path is a file or directory of the host that the process may go on opening, with all that is below it.
type Path struct {
	Host  string
	Write bool // also write, create, rename and remove
}

// Config says what the process needs after Enter.
type Config struct {
	Paths []Path
}

// writes reports whether a path may be written to.
func (c Config) writes() bool {
	for _, p := range c.Paths {
		if p.Write {
			return true
		}
	}
	return false
}

// Enter confines the process and returns what is in force. After an error some of it may be in force already: the
// process should end.
//
// Preconditions: every file that is needed later and is not below c.Paths is open, with O_CLOEXEC unless it is one of
// the standard files 0 to 2; no other goroutine opens files.
func Enter(c Config) (inForce []string, err error) {
	for _, s := range steps() {
		got, err := s.do(c)
		if err != nil {
			return inForce, fmt.Errorf("jail: %s: %w", s.name, err)
		}
		inForce = append(inForce, got...)
	}
	return inForce, nil
}

// step is a part of the jail. do returns what it has put in force: nothing if the kernel lacks it.
type step struct {
	name string
	do   func(Config) ([]string, error)
}

// steps are in order: none takes away what a later one needs. The filter is the last. What Linux can do for one thread
// only costs a stop of all of them, tens of microseconds or more: so no_new_privs is left to the last two.
func steps() []step {
	return []step{
		{"close inherited descriptors", closeInherited},
		{"set resource limits", limitResources},
		{"drop capabilities", dropCapabilities},
		{"Landlock", restrictFiles},
		{"seccomp", filterCalls},
	}
}

// closeInherited closes the descriptors that came through exec. They are known by the lack of FD_CLOEXEC, without which
// neither this program nor Go's runtime opens any. It looks at those that are open and not at all numbers up to
// RLIMIT_NOFILE, which may be a thousand million.
func closeInherited(Config) ([]string, error) {
	const firstOther = 3 // after standard input, output and error
	names, err := openDescriptors()
	if err != nil {
		return nil, fmt.Errorf("list /proc/self/fd (is /proc mounted?): %w", err)
	}
	for _, name := range names {
		fd, err := strconv.Atoi(name)
		if err != nil {
			return nil, fmt.Errorf("/proc/self/fd: %w", err)
		}
		if fd < firstOther {
			continue
		}
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if err != nil || flags&unix.FD_CLOEXEC != 0 {
			continue // EBADF: closed since
		}
		if err := unix.Close(fd); err != nil && err != unix.EIO {
			return nil, fmt.Errorf("descriptor %d: %w", fd, err)
		}
	}
	return []string{"descriptors"}, nil
}

// openDescriptors lists /proc/self/fd. Package os would have Go's poller set up for it, which costs a start more than
// the list.
func openDescriptors() (names []string, err error) {
	dir, err := unix.Open("/proc/self/fd", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(dir)
	buf := make([]byte, 4096)
	for {
		n, err := unix.ReadDirent(dir, buf)
		if err == unix.EINTR {
			continue
		}
		if n <= 0 || err != nil {
			return names, err
		}
		_, _, names = unix.ParseDirent(buf[:n], -1, names)
	}
}

// maxFiles bounds the descriptors beside the trees' roots: those of hostfs's pool, at most 1024, KVM's and the
// runtime's, with much to spare.
const maxFiles = 4096

// limitResources lowers limits, hard and soft.
func limitResources(c Config) ([]string, error) {
	for _, l := range [...]struct {
		resource int
		name     string
		max      uint64
	}{
		// Guest memory is nobody's to find in a file. 1 and not 0: a core that core_pattern pipes to a program ignores
		// the limit but for this value (fs/coredump.c), and to a file 1 byte is too little as well.
		{unix.RLIMIT_CORE, "RLIMIT_CORE", 1},
		{unix.RLIMIT_NOFILE, "RLIMIT_NOFILE", maxFiles + uint64(len(c.Paths))},
	} {
		var old unix.Rlimit
		if err := unix.Getrlimit(l.resource, &old); err != nil {
			return nil, fmt.Errorf("%s: %w", l.name, err)
		}
		limit := min(l.max, old.Max)
		if err := unix.Setrlimit(l.resource, &unix.Rlimit{Cur: limit, Max: limit}); err != nil {
			return nil, fmt.Errorf("%s to %d: %w", l.name, limit, err)
		}
	}
	return []string{"rlimits"}, nil
}
