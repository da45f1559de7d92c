package shim

import (
	"fmt"
	"strings"

	"culvert/shim/vfs"
)

// procStatus is /proc/PID/status: fs/proc/array.c proc_pid_status.
func procStatus(t *Thread) (string, error) {
	var b strings.Builder
	p, c := t.p, t.cred
	letter, name := t.state()
	umask := uint32(0)
	if t.fs != nil {
		umask = t.fs.Umask
	}
	fdSize := 0
	if t.files != nil {
		fdSize = max(64, len(t.files.leaves)*leafSize)
	}
	fmt.Fprintf(&b, "Name:\t%s\nUmask:\t%04o\nState:\t%c (%s)\nTgid:\t%d\nNgid:\t0\nPid:\t%d\nPPid:\t%d\nTracerPid:\t0\n",
		t.comm, umask, letter, name, p.pid, t.tid, p.parentPID())
	fmt.Fprintf(&b, "Uid:\t%d\t%d\t%d\t%d\nGid:\t%d\t%d\t%d\t%d\nFDSize:\t%d\nGroups:\t",
		c.UID, c.EUID, c.suid, c.FSUID, c.GID, c.EGID, c.sgid, c.FSGID, fdSize)
	for _, g := range c.Groups {
		fmt.Fprintf(&b, "%d ", g)
	}
	group, session := 0, 0
	if p.group != nil {
		group, session = p.group.id, p.group.session.id
	}
	fmt.Fprintf(&b, "\nNStgid:\t%d\nNSpid:\t%d\nNSpgid:\t%d\nNSsid:\t%d\nKthread:\t0\n", p.pid, t.tid, group, session)
	if p.mm != nil {
		procStatusMemory(&b, p)
	}
	procStatusSignals(&b, t)
	fmt.Fprintf(&b, "CapInh:\t%016x\nCapPrm:\t%016x\nCapEff:\t%016x\nCapBnd:\t%016x\nCapAmb:\t%016x\n",
		c.inheritable, c.permitted, c.Caps, c.bounding, c.ambient)
	cpus := t.k.cfg.NumCPUs
	fmt.Fprintf(&b, "NoNewPrivs:\t%d\nSeccomp:\t0\nSeccomp_filters:\t0\n"+
		"Cpus_allowed:\t%x\nCpus_allowed_list:\t%s\nMems_allowed:\t1\nMems_allowed_list:\t0\n"+
		"voluntary_ctxt_switches:\t0\nnonvoluntary_ctxt_switches:\t0\n",
		boolInt(c.noNewPrivs), uint64(1)<<cpus-1, cpuRange(cpus))
	return b.String(), nil
}

func procStatusMemory(b *strings.Builder, p *Process) {
	m := p.mm.Usage()
	for _, row := range []struct {
		name  string
		bytes uint64
	}{
		{"VmPeak", m.PeakSize}, {"VmSize", m.Size}, {"VmLck", m.Locked}, {"VmPin", 0}, {"VmHWM", m.PeakRSS},
		{"VmRSS", m.RSS()}, {"RssAnon", m.Anon}, {"RssFile", m.File}, {"RssShmem", m.Shmem}, {"VmData", m.Data},
		{"VmStk", m.Stack}, {"VmExe", p.layout.EndCode - p.layout.StartCode}, {"VmLib", m.Exec}, {"VmPTE", m.Tables},
		{"VmSwap", 0},
	} {
		fmt.Fprintf(b, "%s:\t%8d kB\n", row.name, row.bytes>>10)
	}
	b.WriteString("HugetlbPages:\t       0 kB\nCoreDumping:\t0\nTHP_enabled:\t0\n")
}

func procStatusSignals(b *strings.Builder, t *Thread) {
	p := t.p
	fmt.Fprintf(b, "Threads:\t%d\nSigQ:\t%d/%d\nSigPnd:\t%016x\nShdPnd:\t%016x\nSigBlk:\t%016x\nSigIgn:\t%016x\nSigCgt:\t%016x\n",
		len(p.threads), t.k.queuedSignals, maxQueuedSignals,
		uint64(t.pending.Set()), uint64(p.pending.Set()), uint64(t.mask()), p.signalSet(SIG_IGN), p.caughtSet())
}

// cpuRange is a list of the first n CPUs.
func cpuRange(n int) string {
	if n == 1 {
		return "0"
	}
	return fmt.Sprintf("0-%d", n-1)
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// mountOptions prints a mount's options as /proc/mounts does.
func mountOptions(f vfs.MountFlags) string {
	out := "rw"
	if f&vfs.MountReadOnly != 0 {
		out = "ro"
	}
	for _, o := range []struct {
		flag vfs.MountFlags
		name string
	}{{vfs.MountNoSuid, "nosuid"}, {vfs.MountNoDev, "nodev"}, {vfs.MountNoExec, "noexec"}} {
		if f&o.flag != 0 {
			out += "," + o.name
		}
	}
	return out + ",relatime"
}

// mangle escapes a name as seq_file does for tables separated by blanks.
func mangle(s string) string {
	return strings.NewReplacer(" ", `\040`, "\t", `\011`, "\n", `\012`, `\`, `\134`).Replace(s)
}

// mounts are the mounts below the thread's root.
func (t *Thread) mounts() []vfs.MountInfo {
	if t.fs == nil {
		return nil
	}
	return t.ns().Mounts(t.vctx())
}

func procMounts(t *Thread) (string, error) {
	var b strings.Builder
	for _, m := range t.mounts() {
		fmt.Fprintf(&b, "%s %s %s %s 0 0\n", mangle(m.Source), mangle(m.Point), m.FSType, mountOptions(m.Flags))
	}
	return b.String(), nil
}

func procMountinfo(t *Thread) (string, error) {
	var b strings.Builder
	for _, m := range t.mounts() {
		dev := uint64(0)
		if st, err := m.Root.Stat(); err == nil {
			dev = st.Dev
		}
		fmt.Fprintf(&b, "%d %d %d:%d / %s %s - %s %s %s\n", m.ID, m.ParentID, dev>>8&0xfff, dev&0xff,
			mangle(m.Point), mountOptions(m.Flags), m.FSType, mangle(m.Source), mountOptions(m.Flags)[:2])
	}
	return b.String(), nil
}
