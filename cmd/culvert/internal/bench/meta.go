package bench

import (
	"encoding/binary"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"culvert/cmd/culvert/internal/bench/report"

	"golang.org/x/sys/unix"
)

// newMeta says where and how a report is made.
func newMeta(o *options, kvmErr error) report.Meta {
	m := report.Meta{Date: time.Now().UTC().Format(time.RFC3339), Culvert: "(devel)", Go: runtime.Version(), Processor: processor(),
		Kernel: kernel(), Host: host(), KVMEvents: "counted", CPUs: o.cpus, Samples: o.plan.samples, Duration: o.plan.duration.String(),
		Command: strings.Join(append([]string{"bench"}, o.inner()...), " ")}
	if kvmErr != nil {
		m.KVMEvents = kvmErr.Error()
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		if info.Main.Version != "" {
			m.Culvert = info.Main.Version
		}
		for _, s := range info.Settings {
			switch s.Key {
			case "vcs.revision":
				m.Revision = s.Value + m.Revision
			case "vcs.modified":
				if s.Value == "true" {
					m.Revision += "+modified"
				}
			}
		}
	}
	return m
}

func processor() string {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "unknown"
	}
	for _, line := range strings.Split(string(text), "\n") {
		if k, v, _ := strings.Cut(line, ":"); strings.TrimSpace(k) == "model name" {
			return strings.TrimSpace(v)
		}
	}
	return "unknown"
}

func kernel() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "unknown"
	}
	return unix.ByteSliceToString(u.Sysname[:]) + " " + unix.ByteSliceToString(u.Release[:])
}

// load is the load average over the last minute, 0 if it is not known.
func load() float64 {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return 0
	}
	first, _, _ := strings.Cut(string(text), " ")
	x, err := strconv.ParseFloat(first, 64)
	if err != nil {
		return 0
	}
	return x
}

// cpuid executes CPUID with ECX 0.
func cpuid(leaf uint32) (eax, ebx, ecx, edx uint32)

// host tells hardware from hypervisors by the leaf that these answer, which exists if bit 31 of leaf 1's ECX is set.
func host() string {
	if _, _, features, _ := cpuid(1); features>>31 == 0 {
		return "KVM"
	}
	_, b, c, d := cpuid(0x40000000)
	name := make([]byte, 0, 12)
	for _, r := range []uint32{b, c, d} {
		name = binary.LittleEndian.AppendUint32(name, r)
	}
	return hostNamed(strings.TrimRight(string(name), "\x00"))
}

func hostNamed(hypervisor string) string {
	switch hypervisor {
	case "TCGTCGTCGTCG":
		return "KVM, emulated by QEMU"
	case "":
		return "KVM, nested in a hypervisor without a name"
	}
	return "KVM, nested in " + hypervisor
}
