package shim

import (
	"crypto/rand"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"culvert/pipes"
	"culvert/shim/vfs"
	"culvert/shim/vfs/synthfs"

	"golang.org/x/sys/unix"
)

// procFile is a file of /proc that tells of the whole VM.
type procFile struct {
	name string
	gen  func(k *Kernel) string
}

func procFiles() []procFile {
	return []procFile{
		{"cmdline", func(*Kernel) string { return "culvert\n" }},
		{"cpuinfo", (*Kernel).procCPUInfo},
		{"devices", func(*Kernel) string { return "Character devices:\n  1 mem\n  5 /dev/tty\n\nBlock devices:\n" }},
		{"filesystems", func(*Kernel) string {
			return "nodev\tproc\nnodev\ttmpfs\nnodev\toverlay\nnodev\tpipefs\nnodev\tsockfs\n"
		}},
		{"loadavg", (*Kernel).procLoadavg},
		{"meminfo", (*Kernel).procMeminfo},
		{"stat", (*Kernel).procKernelStat},
		{"swaps", func(*Kernel) string { return "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n" }},
		{"uptime", (*Kernel).procUptime},
		{"version", (*Kernel).procVersion},
	}
}

func (k *Kernel) procVersion() string {
	u := uts()
	return fmt.Sprintf("%s version %s (culvert@culvert) (%s) %s\n", u.sysname, u.release, runtime.Version(), u.version)
}

func (k *Kernel) procUptime() string {
	up := time.Since(k.boot).Seconds()
	return fmt.Sprintf("%.2f %.2f\n", up, 0.0)
}

// procLoadavg counts the threads that run now: averages are not kept.
func (k *Kernel) procLoadavg() string {
	running := 0
	for _, t := range k.threads {
		if letter, _ := t.state(); letter == 'R' {
			running++
		}
	}
	return fmt.Sprintf("0.00 0.00 0.00 %d/%d %d\n", running, len(k.threads), k.lastTID)
}

func (k *Kernel) procMeminfo() string {
	u := k.memory.Usage()
	free := u.Total - min(u.InUse, u.Total)
	var b strings.Builder
	for _, row := range []struct {
		name  string
		bytes uint64
	}{
		{"MemTotal", u.Total}, {"MemFree", free}, {"MemAvailable", free + u.Cache}, {"Buffers", 0}, {"Cached", u.Cache},
		{"SwapCached", 0}, {"Active", u.InUse - min(u.Cache, u.InUse)}, {"Inactive", u.Cache}, {"SwapTotal", 0}, {"SwapFree", 0},
		{"Dirty", 0}, {"Writeback", 0}, {"AnonPages", u.InUse - min(u.Cache, u.InUse)}, {"Mapped", u.Cache}, {"Shmem", 0},
		{"CommitLimit", u.Total / 2}, {"Committed_AS", u.InUse},
		{"VmallocTotal", 0}, {"VmallocUsed", 0}, {"HugePages_Total", 0},
	} {
		if row.name == "HugePages_Total" {
			fmt.Fprintf(&b, "HugePages_Total:       0\nHugePages_Free:        0\nHugepagesize:       2048 kB\n")
			continue
		}
		fmt.Fprintf(&b, "%-15s %8d kB\n", row.name+":", row.bytes>>10)
	}
	return b.String()
}

// procKernelStat is /proc/stat.
func (k *Kernel) procKernelStat() string {
	var b strings.Builder
	u := k.usage
	running := 0
	for _, t := range k.threads {
		u.addThread(t)
		if letter, _ := t.state(); letter == 'R' {
			running++
		}
	}
	n := k.cfg.NumCPUs
	up := clockTicks(time.Since(k.boot))
	user := min(clockTicks(u.user), up*int64(n))
	system := min(clockTicks(u.system), up*int64(n)-user)
	fmt.Fprintf(&b, "cpu  %d 0 %d %d 0 0 0 0 0 0\n", user, system, up*int64(n)-user-system)
	for i := range n {
		// Time is counted by thread, not by vCPU.
		u, s := user/int64(n), system/int64(n)
		fmt.Fprintf(&b, "cpu%d %d 0 %d %d 0 0 0 0 0 0\n", i, u, s, up-u-s)
	}
	fmt.Fprintf(&b, "intr 0\nctxt %d\nbtime %d\nprocesses %d\nprocs_running %d\nprocs_blocked 0\nsoftirq 0\n",
		u.nvcsw+u.nivcsw, k.boot.Unix(), k.forks, max(1, running))
	return b.String()
}

// hiddenCPUFlags are features that vCPUs do not have although their host may.
func hiddenCPUFlags(flag string) bool {
	for _, prefix := range []string{"amx", "pku", "ospke", "shstk", "ibt", "user_shstk", "vmx", "svm"} {
		if strings.HasPrefix(flag, prefix) {
			return true
		}
	}
	return false
}

// procCPUInfo shows each vCPU with what the host says of its first processor: vCPUs have its CPUID, less what is
// hidden.
func (k *Kernel) procCPUInfo() string {
	host, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return ""
	}
	first, _, _ := strings.Cut(string(host), "\n\n")
	n := k.cfg.NumCPUs
	var b strings.Builder
	for i := range n {
		own := map[string]int{"processor": i, "core id": i, "apicid": i, "initial apicid": i, "siblings": n, "cpu cores": n, "physical id": 0}
		for line := range strings.Lines(first) {
			key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
			key, value = strings.TrimSpace(key), strings.TrimSpace(value)
			if v, ok := own[key]; ok {
				value = strconv.Itoa(v)
			}
			if key == "flags" {
				value = strings.Join(slices.DeleteFunc(strings.Fields(value), hiddenCPUFlags), " ")
			}
			tab := "\t"
			if len(key) < 8 {
				tab = "\t\t"
			}
			fmt.Fprintf(&b, "%s%s: %s\n", key, tab, value)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// sys is /proc/sys.
func (pr *procFS) sys() vfs.Inode {
	k := pr.k
	dir := func(files map[string]func() string, order ...string) *synthfs.Dir {
		d := pr.fs.NewDir(synthfs.Perm(0o555), nil)
		for _, name := range order {
			gen := files[name]
			d.Add(name, pr.text(func(*Thread) string { return gen() + "\n" }))
		}
		return d
	}
	is := func(format string, v any) func() string { return func() string { return fmt.Sprintf(format, v) } }
	random := dir(map[string]func() string{
		"boot_id": is("%s", uuid()), "uuid": uuid, "entropy_avail": is("%d", 256), "poolsize": is("%d", 256),
	}, "boot_id", "entropy_avail", "poolsize", "uuid")
	kernel := dir(map[string]func() string{
		"cap_last_cap": is("%d", unix.CAP_LAST_CAP), "core_pattern": is("%s", "core"),
		"hostname": func() string { return k.hostname }, "domainname": func() string { return k.domainname },
		"ngroups_max": is("%d", 65536), "osrelease": is("%s", uts().release), "ostype": is("%s", uts().sysname),
		"version": is("%s", uts().version), "pid_max": is("%d", maxTID), "threads-max": is("%d", k.cfg.Limits.Processes),
		"randomize_va_space": is("%d", 2), "overflowuid": is("%d", 65534), "overflowgid": is("%d", 65534),
		"sem": is("%s", "32000\t1024000000\t500\t32000"), "shmmax": is("%d", uint64(1<<63-1<<24-1)), "tainted": is("%d", 0),
	}, "cap_last_cap", "core_pattern", "domainname", "hostname", "ngroups_max", "osrelease", "ostype", "overflowgid",
		"overflowuid", "pid_max", "randomize_va_space", "sem", "shmmax", "tainted", "threads-max", "version")
	kernel.Add("random", random)
	vm := dir(map[string]func() string{
		"overcommit_memory": is("%d", 0), "max_map_count": is("%d", 65530), "mmap_min_addr": is("%d", 65536),
		"swappiness": is("%d", 0), "overcommit_ratio": is("%d", 50), "nr_hugepages": is("%d", 0),
	}, "max_map_count", "mmap_min_addr", "nr_hugepages", "overcommit_memory", "overcommit_ratio", "swappiness")
	fs := dir(map[string]func() string{
		"pipe-max-size": is("%d", pipes.MaxSize), "nr_open": is("%d", nrOpen), "file-max": is("%d", k.files.limit),
		"file-nr":              func() string { return fmt.Sprintf("%d\t0\t%d", k.files.used(), k.files.limit) },
		"pipe-user-pages-soft": is("%d", pipes.DefaultLimits().SoftPage),
		"pipe-user-pages-hard": is("%d", 0),
	}, "file-max", "file-nr", "nr_open", "pipe-max-size", "pipe-user-pages-hard", "pipe-user-pages-soft")
	fs.Add("epoll", dir(map[string]func() string{"max_user_watches": is("%d", maxEpollItems)}, "max_user_watches"))
	net := pr.fs.NewDir(synthfs.Perm(0o555), nil)
	net.Add("core", dir(map[string]func() string{"somaxconn": is("%d", maxBacklog)}, "somaxconn"))
	return pr.fs.NewDir(synthfs.Perm(0o555), nil).Add("fs", fs).Add("kernel", kernel).Add("net", net).Add("vm", vm)
}

// maxBacklog is /proc/sys/net/core/somaxconn.
const maxBacklog = 4096

// uuid is a random one (RFC 4122, version 4).
func uuid() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[0:4], b[4:6], b[6:8], b[8:10], b[10:16])
}
