// Package doctor is `culvert doctor`: what this machine offers, in one screen, and what falls back to what.
package doctor

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"culvert/vmm"

	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"
)

// finding is a line of the report.
type finding struct {
	what, state string
	fallback    string // what happens without it; "" if nothing is missing
}

// Command prints the report. It returns 0 if a VM can run here, natively or emulated, else 1.
func Command(args []string, stdout, stderr io.Writer) int {
	fs := pflag.NewFlagSet("doctor", pflag.ContinueOnError)
	fs.SetOutput(io.Discard)
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, pflag.ErrHelp) {
			fmt.Fprint(stdout, "usage: culvert doctor\n\nSays what this machine offers to culvert. Exits with 1 if no VM can run.\n")
			return 0
		}
		fmt.Fprintf(stderr, "culvert doctor: %v\n", err)
		return 125
	}
	if fs.NArg() > 0 {
		fmt.Fprintf(stderr, "culvert doctor: unexpected argument: %s\n", fs.Arg(0))
		return 125
	}
	native, kvmLine := checkKVM()
	emulated, emuLine := checkEmulator()
	lines := []finding{kvmLine}
	lines = append(lines, capabilities()...)
	lines = append(lines, processor(), virtualised(), emuLine, cgroup(), userns(), landlock(), seccomp())
	for _, l := range lines {
		fmt.Fprintf(stdout, "%-18s %s\n", l.what, l.state)
		if l.fallback != "" {
			fmt.Fprintf(stdout, "%-18s -> %s\n", "", l.fallback)
		}
	}
	switch {
	case native:
		fmt.Fprintln(stdout, "\nVMs run on this machine's KVM.")
	case emulated:
		fmt.Fprintln(stdout, "\nVMs run on an emulated machine: slow, and no boundary for strangers' code.")
	default:
		fmt.Fprintln(stdout, "\nNo VM can run here: there is no usable KVM and no emulator.")
		return 1
	}
	return 0
}

// probeMem is enough for the guest kernel's self-test.
const probeMem = 32 << 20

// checkKVM makes a VM and runs the guest kernel's self-test in it.
func checkKVM() (bool, finding) {
	f := finding{what: "/dev/kvm", state: "works"}
	vm, err := vmm.New(vmm.Config{Mem: probeMem, CPUs: 1})
	if err == nil {
		err = vm.Close()
	}
	if err != nil {
		f.state, f.fallback = err.Error(), "culvert run uses an emulated machine"
	}
	return err == nil, f
}

// capabilities lists what KVM says of itself.
func capabilities() []finding {
	have, lack, err := vmm.Capabilities()
	if err != nil {
		return nil
	}
	state := strings.Join(have, " ")
	if len(lack) > 0 {
		state += "; not " + strings.Join(lack, " ")
	}
	return []finding{{what: "KVM capabilities", state: state}}
}

// processor lists the features that the guest kernel uses where they are.
func processor() finding {
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return finding{what: "processor", state: err.Error()}
	}
	model, flags := "unknown", " "
	for _, line := range strings.Split(string(info), "\n") {
		k, v, _ := strings.Cut(line, ":")
		switch strings.TrimSpace(k) {
		case "model name":
			model = strings.TrimSpace(v)
		case "flags":
			flags = " " + strings.TrimSpace(v) + " "
		}
	}
	var have, lack []string
	for _, f := range []string{"svm", "vmx", "fsgsbase", "smep", "smap", "umip", "xsave", "avx2", "avx512f", "constant_tsc", "nonstop_tsc"} {
		if strings.Contains(flags, " "+f+" ") {
			have = append(have, f)
		} else {
			lack = append(lack, f)
		}
	}
	return finding{what: "processor", state: fmt.Sprintf("%s: %s (not %s)", model, strings.Join(have, " "), strings.Join(lack, " "))}
}

// virtualised says whether this machine is itself a virtual one.
func virtualised() finding {
	f := finding{what: "this machine", state: "bare metal, as far as it shows"}
	if info, err := os.ReadFile("/proc/cpuinfo"); err == nil && strings.Contains(string(info), " hypervisor ") {
		f.state = "virtual: VMs are nested"
	}
	if name, err := os.ReadFile("/sys/class/dmi/id/sys_vendor"); err == nil && strings.Contains(string(name), "QEMU") {
		f.state = "virtual, QEMU: VMs are nested, or emulated if QEMU emulates"
	}
	if modules := kvmModules(); modules != "" {
		f.state += "; KVM is " + modules
	}
	return f
}

// kvmModules names the KVM back ends that are loaded or built in.
func kvmModules() string {
	paths, _ := filepath.Glob("/sys/module/kvm_*")
	var names []string
	for _, p := range paths {
		names = append(names, filepath.Base(p))
	}
	return strings.Join(names, " ")
}

// checkEmulator looks for what `culvert emulate` needs.
func checkEmulator() (bool, finding) {
	f := finding{what: "emulator", state: "qemu-system-x86_64"}
	if _, err := exec.LookPath("qemu-system-x86_64"); err != nil {
		f.state, f.fallback = "no qemu-system-x86_64", "no emulated machine; the package qemu-system-x86 brings it"
		return false, f
	}
	return true, f
}

func cgroup() finding {
	var st unix.Statfs_t
	if err := unix.Statfs("/sys/fs/cgroup", &st); err == nil && st.Type == unix.CGROUP2_SUPER_MAGIC {
		return finding{what: "cgroup v2", state: "mounted"}
	}
	return finding{what: "cgroup v2", state: "not mounted", fallback: "memory and CPU of the VMM process are bounded by rlimits only"}
}

func userns() finding {
	data, err := os.ReadFile("/proc/sys/user/max_user_namespaces")
	if n := strings.TrimSpace(string(data)); err == nil && n != "0" {
		return finding{what: "user namespaces", state: "available (at most " + n + ")"}
	}
	return finding{what: "user namespaces", state: "not available", fallback: "the VMM process keeps its user"}
}

func landlock() finding {
	abi, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return finding{what: "Landlock", state: "not available: " + errno.Error(), fallback: "the VMM process is not bound to its files"}
	}
	return finding{what: "Landlock", state: fmt.Sprintf("ABI %d", abi)}
}

func seccomp() finding {
	data, err := os.ReadFile("/proc/sys/kernel/seccomp/actions_avail")
	if err != nil {
		return finding{what: "seccomp", state: "not available", fallback: "the VMM process's system calls are not filtered"}
	}
	return finding{what: "seccomp", state: strings.TrimSpace(string(data))}
}
