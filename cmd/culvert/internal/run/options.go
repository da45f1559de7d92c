package run

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"culvert/cmd/culvert/internal/emulate"
	"culvert/shim/abi"
	"culvert/shim/strace"
	"culvert/shim/vfs/rootfs"

	"github.com/spf13/pflag"
)

const usage = `usage: culvert run [flags] -- PROGRAM [ARG...]

Runs a Linux program in a VM of its own. Its standard input, output and error are
culvert's. The exit code is the program's, or 128+n when signal n ended it; 126 if
it cannot be executed, 127 if there is no such program, 124 if --timeout ended it,
125 if culvert itself failed.

Without --root the program sees the host's /usr and friends read-only, a minimal
/etc, and empty /tmp and /home; what it writes is gone when it ends. A PROGRAM
outside that is shown to it, that one file, at the same path; so is the script
that is the first ARG of an interpreter, as in "python3 ./x.py", unless it lies
in a --mount or is named relative to a --workdir.

`

// options are what the command line says.
type options struct {
	cpus      int
	mem       int64
	timeout   time.Duration
	env       []string // K=V, or K to take the caller's
	workdir   string
	root      string
	mounts    []rootfs.HostMount
	stats     string         // a file; "-" is standard error; "" is off
	strace    *strace.Filter // nil is off
	noEmulate bool
	noJail    bool
	linkFD    [2]int // first descriptors of the pipes to other VMs in place of standard input and output; -1 is none
	args      []string
}

// Defaults.
const (
	defaultMem     = 1 << 30
	defaultSet     = "all"
	defaultWorkdir = "/"
)

// errHelp says that help was asked for and printed.
var errHelp = errors.New("help")

// parse reads the command line. Help goes to out.
func parse(args []string, out io.Writer) (*options, error) {
	o := &options{}
	fs := pflag.NewFlagSet("run", pflag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.SetInterspersed(false)
	fs.IntVar(&o.cpus, "cpus", 1, "virtual CPUs")
	mem := fs.String("mem", "1G", "memory of the VM, as in 512M or 2G")
	fs.DurationVar(&o.timeout, "timeout", 0, "end the program after this long, as in 90s")
	fs.StringArrayVar(&o.env, "env", nil, "set K=V in the program's environment; K alone takes the caller's value")
	fs.StringVar(&o.workdir, "workdir", defaultWorkdir, "the program's working directory")
	fs.StringVar(&o.root, "root", "", "host directory that is the program's root, read-only below what it writes")
	mounts := fs.StringArray("mount", nil, "show host file or directory HOST at GUEST, as HOST:GUEST[:ro|rw]; ro is the default")
	fs.StringVar(&o.stats, "stats", "", "write statistics as JSON to FILE, or to standard error")
	fs.Lookup("stats").NoOptDefVal = "-"
	set := fs.String("strace", "", "print system calls, or a SET of them, as in strace -e trace=SET")
	fs.Lookup("strace").NoOptDefVal = defaultSet
	fs.BoolVar(&o.noEmulate, "no-emulate", false, "fail on a machine without a usable /dev/kvm instead of emulating one")
	fs.BoolVar(&o.noJail, "no-jail", false, "do not confine culvert's own process (for debugging; not safe with a stranger's program)")
	for i, name := range []string{"link-in", "link-out"} {
		fs.IntVar(&o.linkFD[i], name, -1, "descriptors of a pipe to another VM, for culvert pipe")
		fs.Lookup(name).Hidden = true
	}
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, pflag.ErrHelp) {
			fmt.Fprint(out, usage+fs.FlagUsages())
			return nil, errHelp
		}
		return nil, err
	}
	o.args = fs.Args()
	var err error
	if *set != "" {
		filter, err := strace.ParseFilter(*set)
		if err != nil {
			return nil, fmt.Errorf("--strace: %w", err)
		}
		o.strace = &filter
	}
	if o.mem, err = emulate.ParseSize(*mem); err != nil {
		return nil, fmt.Errorf("--mem: %w", err)
	}
	for _, m := range *mounts {
		hm, err := parseMount(m)
		if err != nil {
			return nil, fmt.Errorf("--mount %s: %w", m, err)
		}
		o.mounts = append(o.mounts, hm)
	}
	return o, o.check()
}

// check refuses what cannot be.
func (o *options) check() error {
	switch {
	case len(o.args) == 0 || o.args[0] == "":
		return errors.New("no program given (culvert run [flags] -- PROGRAM [ARG...])")
	case o.cpus < 1 || o.cpus > abi.MaxVCPUs:
		return fmt.Errorf("--cpus %d: must be 1 to %d", o.cpus, abi.MaxVCPUs)
	case o.mem < abi.MinRAM || o.mem > abi.MaxRAM:
		return fmt.Errorf("--mem: must be %dM to %dG", abi.MinRAM>>20, abi.MaxRAM>>30)
	case o.timeout < 0:
		return fmt.Errorf("--timeout %v: must not be negative", o.timeout)
	case !filepath.IsAbs(o.workdir):
		return fmt.Errorf("--workdir %s: must be an absolute path in the guest", o.workdir)
	}
	for _, e := range o.env {
		if k, _, _ := strings.Cut(e, "="); k == "" {
			return fmt.Errorf("--env %q: has no name", e)
		}
	}
	if o.root != "" {
		st, err := os.Stat(o.root)
		if err != nil {
			return fmt.Errorf("--root: %w", err)
		}
		if !st.IsDir() {
			return fmt.Errorf("--root %s: not a directory", o.root)
		}
		if o.root, err = filepath.Abs(o.root); err != nil {
			return fmt.Errorf("--root: %w", err)
		}
	}
	return nil
}

// parseMount reads HOST:GUEST[:ro|rw].
func parseMount(s string) (rootfs.HostMount, error) {
	parts := strings.Split(s, ":")
	rw := false
	if len(parts) == 3 {
		switch parts[2] {
		case "rw":
			rw = true
		case "ro":
		default:
			return rootfs.HostMount{}, fmt.Errorf("%q: want ro or rw", parts[2])
		}
		parts = parts[:2]
	}
	if len(parts) != 2 || parts[0] == "" || parts[1] == "" {
		return rootfs.HostMount{}, errors.New("want HOST:GUEST[:ro|rw]")
	}
	if !filepath.IsAbs(parts[1]) {
		return rootfs.HostMount{}, fmt.Errorf("%s: the guest's path must be absolute", parts[1])
	}
	host, err := filepath.Abs(parts[0])
	if err != nil {
		return rootfs.HostMount{}, err
	}
	if _, err := os.Stat(host); err != nil {
		return rootfs.HostMount{}, err
	}
	return rootfs.HostMount{Host: host, Guest: filepath.Clean(parts[1]), ReadWrite: rw}, nil
}

// defaultPath is where programs are looked for if --env sets no PATH.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// environ is the program's environment. The caller's is not passed on: it may hold secrets.
func (o *options) environ() []string {
	env := []string{"PATH=" + defaultPath, "HOME=/root"}
	if term, ok := os.LookupEnv("TERM"); ok {
		env = append(env, "TERM="+term)
	}
	for _, e := range o.env {
		k, _, hasValue := strings.Cut(e, "=")
		if !hasValue {
			v, ok := os.LookupEnv(k)
			if !ok {
				continue
			}
			e = k + "=" + v
		}
		env = setEnv(env, k, e)
	}
	return env
}

// setEnv replaces or adds the entry of name k.
func setEnv(env []string, k, entry string) []string {
	for i := range env {
		if strings.HasPrefix(env[i], k+"=") {
			env[i] = entry
			return env
		}
	}
	return append(env, entry)
}
