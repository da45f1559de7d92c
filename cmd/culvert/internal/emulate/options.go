package emulate

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Options say what to run and in what machine. The zero value of a field means
// its default.
type Options struct {
	Args []string // the command and its arguments
	Dir  string   // working directory; default: the current one
	Env  []string // default: os.Environ()

	// Shares are host paths, files or directories, that the command reads and
	// writes for real; everything else is a copy that is thrown away. A file
	// that does not exist is created. It must be written in place: renaming
	// another over it fails with EBUSY.
	Shares []string

	CPUs int    // default 2
	Mem  int64  // bytes; default 6 GiB, or 3/4 of the host's free memory if less
	CPU  string // QEMU's -cpu, or a name from CPUModels; default: $CULVERT_EMULATE_CPU, then "default"

	NoSnapshot bool // start from cold

	Keep  bool          // start a machine that stays, if none does
	Fresh bool          // do not use a machine that stays
	Idle  time.Duration // how long it stays without a run; default 10 minutes

	Stdin          io.Reader // default: empty
	Stdout, Stderr io.Writer // default: discarded

	Init  string // static binary that is the machine's init; default: this program
	Cache string // default: $XDG_CACHE_HOME/culvert

	anyMem bool // Mem is the default, which depends on what is free: a kept machine's will do
}

// Defaults and bounds.
const (
	defaultCPUs = 2
	maxCPUs     = 64
	defaultMem  = 4 << 30
	minMem      = 512 << 20
	defaultIdle = 10 * time.Minute
	thread      = "single"         // see package machine
	keptRoots   = 8                // simultaneous runs in a machine that stays
	bootLimit   = 60 * time.Second // five times what it takes on two processors that are all busy
	tries       = 3                // of a machine that does not start, or dies before the command begins
)

// baseModel is TCG's model of an AMD processor with SVM and what the guest
// kernel uses, without what is slow under emulation (ERMS makes Linux use
// REP MOVSB, which is emulated byte by byte). Without ARAT, Linux takes the local APIC's timer for one that stops with the
// processor, and since a microvm has no other its timers then fire on ticks only.
const baseModel = "qemu64,+svm,+npt,+ssse3,+sse4.1,+sse4.2,+popcnt,+fsgsbase,+smep,+smap,+rdtscp,+rdrand,+arat"

// CPUModels are the named processors.
func CPUModels() map[string]string {
	return map[string]string{
		"default": baseModel + ",+xsave,+xsaveopt",
		"fxsave":  baseModel, // no XSAVE
		"avx2":    baseModel + ",+xsave,+xsaveopt,+umip,+avx,+avx2,+bmi1,+bmi2,+f16c,+fma",
	}
}

// setup fills in defaults and refuses what cannot be.
func (o *Options) setup() error {
	if len(o.Args) == 0 || o.Args[0] == "" {
		return errors.New("no command given")
	}
	if err := o.setupMachine(); err != nil {
		return err
	}
	var err error
	if o.Dir == "" {
		if o.Dir, err = os.Getwd(); err != nil {
			return fmt.Errorf("current directory: %w", err)
		}
	}
	if o.Dir, err = filepath.Abs(o.Dir); err != nil {
		return fmt.Errorf("working directory: %w", err)
	}
	if o.Env == nil {
		o.Env = os.Environ()
	}
	if o.Stdin == nil {
		o.Stdin = strings.NewReader("")
	}
	if o.Stdout == nil {
		o.Stdout = io.Discard
	}
	if o.Stderr == nil {
		o.Stderr = io.Discard
	}
	return nil
}

// setupMachine fills in what a machine is made of.
func (o *Options) setupMachine() error {
	if o.CPUs == 0 {
		o.CPUs = defaultCPUs
	}
	if o.CPUs < 1 || o.CPUs > maxCPUs {
		return fmt.Errorf("%d CPUs: must be 1 to %d", o.CPUs, maxCPUs)
	}
	o.anyMem = o.Mem == 0
	if o.anyMem {
		mem, err := memoryDefault()
		if err != nil {
			return err
		}
		o.Mem = mem
	}
	if o.Mem < minMem {
		return fmt.Errorf("%d MiB of memory: the emulated machine needs at least %d MiB", o.Mem>>20, minMem>>20)
	}
	if o.CPU == "" {
		o.CPU = os.Getenv("CULVERT_EMULATE_CPU")
	}
	if o.CPU == "" {
		o.CPU = "default"
	}
	if m, ok := CPUModels()[o.CPU]; ok {
		o.CPU = m
	}
	if o.Idle == 0 {
		o.Idle = defaultIdle
	}
	var err error
	if o.Init == "" {
		if o.Init, err = os.Executable(); err != nil {
			return fmt.Errorf("find this program: %w", err)
		}
	}
	if o.Cache == "" {
		if o.Cache, err = cacheDir(); err != nil {
			return err
		}
	}
	return nil
}

// cacheDir is $XDG_CACHE_HOME/culvert, as the XDG base directory specification has it.
func cacheDir() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("cache directory: %w", err)
	}
	return filepath.Join(dir, "culvert"), nil
}

// memoryDefault is what a machine may use without pushing the host into
// swapping. It is taken page by page as the machine touches it.
func memoryDefault() (int64, error) {
	b, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, fmt.Errorf("free memory: %w", err)
	}
	for _, line := range strings.Split(string(b), "\n") {
		f := strings.Fields(line)
		if len(f) == 3 && f[0] == "MemAvailable:" {
			kib, err := strconv.ParseInt(f[1], 10, 64)
			if err != nil {
				return 0, fmt.Errorf("free memory: %w", err)
			}
			const unit = 256 << 20 // so that a kept machine's size does not change with every page
			return max(min(defaultMem, kib<<10*3/4), minMem) / unit * unit, nil
		}
	}
	return 0, errors.New("free memory: /proc/meminfo has no MemAvailable")
}

// ParseSize reads a size with its unit: K, M, G or T, optionally followed by
// B or iB; all are powers of 1024.
func ParseSize(s string) (int64, error) {
	digits := strings.TrimRight(s, "KMGTkmgtiB")
	unit := strings.TrimSuffix(strings.TrimSuffix(s[len(digits):], "B"), "i")
	shift, ok := map[string]uint{"K": 10, "k": 10, "M": 20, "m": 20, "G": 30, "g": 30, "T": 40, "t": 40}[unit]
	if !ok {
		return 0, fmt.Errorf("size %q: needs a unit, as in 512M or 4G", s)
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n <= 0 || n > 1<<62>>shift {
		return 0, fmt.Errorf("size %q: not a number in range", s)
	}
	return n << shift, nil
}

// resolveShares makes absolute, link-free paths of o.Shares and creates files
// that are missing. Paths that are the machine's own inside, such as /dev/null,
// need no sharing and are left out.
func (o *Options) resolveShares() ([]resolved, error) {
	var out []resolved
	for _, name := range o.Shares {
		if !filepath.IsAbs(name) {
			name = filepath.Join(o.Dir, name)
		}
		name = filepath.Clean(name)
		if ownPath(name) {
			continue
		}
		r, err := resolveShare(name)
		if err != nil {
			return nil, fmt.Errorf("share %s: %w", name, err)
		}
		out = append(out, r)
	}
	return out, nil
}

// resolved is a shared path without links.
type resolved struct {
	path string
	file bool
}

// ownPath tells of paths that mean the machine's own: devices and processes.
func ownPath(p string) bool {
	if p == "/dev/shm" || strings.HasPrefix(p, "/dev/shm/") {
		return false
	}
	for _, dir := range []string{"/dev", "/proc", "/sys"} {
		if p == dir || strings.HasPrefix(p, dir+"/") {
			return true
		}
	}
	return false
}

func resolveShare(name string) (resolved, error) {
	real, err := filepath.EvalSymlinks(name)
	if errors.Is(err, os.ErrNotExist) {
		f, cerr := os.OpenFile(name, os.O_CREATE|os.O_WRONLY, 0o666)
		if cerr != nil {
			return resolved{}, cerr
		}
		f.Close()
		real, err = filepath.EvalSymlinks(name)
	}
	if err != nil {
		return resolved{}, err
	}
	st, err := os.Stat(real)
	switch {
	case err != nil:
		return resolved{}, err
	case real == "/":
		return resolved{}, errors.New("the root directory cannot be shared")
	case !st.IsDir() && !st.Mode().IsRegular():
		return resolved{}, fmt.Errorf("is neither a file nor a directory (%v)", st.Mode().Type())
	}
	return resolved{real, !st.IsDir()}, nil
}

// inherited returns the umask and the hard limit of open files of this process.
func inherited() (umask int, nofile uint64) {
	umask = 0o022
	if b, err := os.ReadFile("/proc/self/status"); err == nil { // umask(2) can only be read by setting it
		for _, line := range strings.Split(string(b), "\n") {
			if v, ok := strings.CutPrefix(line, "Umask:"); ok {
				if n, err := strconv.ParseInt(strings.TrimSpace(v), 8, 32); err == nil {
					umask = int(n)
				}
			}
		}
	}
	var lim unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &lim); err == nil {
		nofile = lim.Max
	}
	return umask, nofile
}
