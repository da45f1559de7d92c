package shim

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"culvert/shim/abi"
	"culvert/shim/loader"
	"culvert/shim/sig"
	"culvert/shim/vfs"
	"culvert/shim/vfs/synthfs"

	"golang.org/x/sys/unix"
)

// procTaskFile is a file of /proc/PID and /proc/PID/task/TID.
type procTaskFile struct {
	name string
	mode uint32
	gen  func(t *Thread) (string, error)
	// write takes one write's bytes; nil is read-only.
	write func(t *Thread, text string) error
}

// procTaskFiles are the files of a process or thread.
func procTaskFiles() []procTaskFile {
	fixed := func(s string) func(*Thread) (string, error) {
		return func(*Thread) (string, error) { return s, nil }
	}
	return []procTaskFile{
		{"auxv", 0o400, procAuxv, nil},
		{"cgroup", 0o444, fixed("0::/\n"), nil},
		{"cmdline", 0o444, procCmdline, nil},
		{"comm", 0o644, func(t *Thread) (string, error) { return t.comm + "\n", nil }, procSetComm},
		{"coredump_filter", 0o644, fixed("00000033\n"), nil},
		{"environ", 0o400, procEnviron, nil},
		{"gid_map", 0o644, fixed("         0          0 4294967295\n"), nil},
		{"limits", 0o444, procLimits, nil},
		{"loginuid", 0o644, fixed("4294967295"), nil},
		{"maps", 0o444, procMaps, nil},
		{"mountinfo", 0o444, procMountinfo, nil},
		{"mounts", 0o444, procMounts, nil},
		{"oom_adj", 0o644, fixed("0\n"), nil},
		{"oom_score", 0o444, procOOMScore, nil},
		{"oom_score_adj", 0o644, procOOMScoreAdj, procSetOOMScoreAdj},
		{"personality", 0o400, func(t *Thread) (string, error) { return fmt.Sprintf("%08x\n", t.p.persona), nil }, nil},
		{"setgroups", 0o644, fixed("allow\n"), nil},
		{"smaps", 0o444, procSmaps, nil},
		{"stat", 0o444, procStat, nil},
		{"statm", 0o444, procStatm, nil},
		{"status", 0o444, procStatus, nil},
		{"uid_map", 0o644, fixed("         0          0 4294967295\n"), nil},
		{"wchan", 0o444, fixed("0"), nil},
	}
}

// addTask fills a directory with what processes and threads have in common. of gives the thread: of a process it is
// the leader, whose state stays readable after its end.
func (pr *procFS) addTask(d *synthfs.Dir, p *Process, of func() *Thread) {
	alive := func() (*Thread, error) {
		if t := of(); pr.k.processes[p.pid] == p {
			return t, nil
		}
		return nil, unix.ESRCH
	}
	for _, f := range procTaskFiles() {
		var write func(*vfs.Context, []byte) error
		if f.write != nil {
			write = func(c *vfs.Context, b []byte) error {
				t, err := alive()
				if err != nil {
					return err
				}
				return f.write(t, string(b))
			}
		}
		d.Add(f.name, pr.fs.NewFile(ownedBy(p, f.mode), func(*vfs.Context) ([]byte, error) {
			t, err := alive()
			if err != nil {
				return nil, err
			}
			s, err := f.gen(t)
			return []byte(s), err
		}, write))
	}
	magic := func(name string, to func(t *Thread) vfs.Path) {
		d.Add(name, pr.fs.NewMagic(ownedBy(p, 0o777), func(*vfs.Context) (vfs.Path, error) {
			t, err := alive()
			if err != nil {
				return vfs.Path{}, err
			}
			path := to(t)
			if path.IsZero() {
				return path, unix.ENOENT
			}
			return path, nil
		}))
	}
	magic("exe", func(t *Thread) vfs.Path {
		if t.p.mm == nil {
			return vfs.Path{}
		}
		return t.p.exe
	})
	magic("cwd", func(t *Thread) vfs.Path { return fsPath(t, func(c *FSContext) vfs.Path { return c.Cwd }) })
	magic("root", func(t *Thread) vfs.Path { return fsPath(t, func(c *FSContext) vfs.Path { return c.Root }) })
	d.Add("fd", pr.fs.NewDir(ownedBy(p, 0o500), &procFDs{pr: pr, of: alive, make: pr.fdLink}))
	d.Add("fdinfo", pr.fs.NewDir(ownedBy(p, 0o555), &procFDs{pr: pr, of: alive, make: pr.fdInfo}))
	d.Add("net", pr.netDir(p))
}

// fsPath is a place of the thread's FSContext; none once the thread has ended.
func fsPath(t *Thread, of func(c *FSContext) vfs.Path) vfs.Path {
	if t.fs == nil || t.exited {
		return vfs.Path{}
	}
	return of(t.fs)
}

// readUser reads a range of a process's memory, as far as it is mapped and within a bound.
func (p *Process) readUser(start, end uint64) string {
	const bound = 8 << 20 // more than arguments and environment can have
	if p.mm == nil || end <= start {
		return ""
	}
	buf := make([]byte, min(end-start, bound))
	n, err := p.mm.Space.CopyIn(start, buf)
	if err != nil && n == 0 {
		return ""
	}
	return string(buf[:n])
}

func procCmdline(t *Thread) (string, error) {
	return t.p.readUser(t.p.layout.ArgStart, t.p.layout.ArgEnd), nil
}

func procEnviron(t *Thread) (string, error) {
	return t.p.readUser(t.p.layout.EnvStart, t.p.layout.EnvEnd), nil
}

func procAuxv(t *Thread) (string, error) {
	if t.p.mm == nil {
		return "", nil
	}
	var b []byte
	for _, a := range t.p.layout.Auxv {
		b = appendAux(b, a)
	}
	return string(b), nil
}

func appendAux(b []byte, a loader.Aux) []byte {
	b = le.AppendUint64(b, a.Type)
	return le.AppendUint64(b, a.Value)
}

func procSetComm(t *Thread, s string) error {
	s, _, _ = strings.Cut(strings.TrimSuffix(s, "\n"), "\x00")
	t.setComm(s)
	return nil
}

func procMaps(t *Thread) (string, error) {
	if t.p.mm == nil {
		return "", nil
	}
	return t.p.mm.Maps(), nil
}

func procSmaps(t *Thread) (string, error) {
	if t.p.mm == nil {
		return "", nil
	}
	return t.p.mm.Smaps(), nil
}

// procLimitRows names the limits as fs/proc/base.c prints them, by number.
func procLimitRows() [numLimits]struct{ name, unit string } {
	return [numLimits]struct{ name, unit string }{
		{"Max cpu time", "seconds"}, {"Max file size", "bytes"}, {"Max data size", "bytes"},
		{"Max stack size", "bytes"}, {"Max core file size", "bytes"}, {"Max resident set", "bytes"},
		{"Max processes", "processes"}, {"Max open files", "files"}, {"Max locked memory", "bytes"},
		{"Max address space", "bytes"}, {"Max file locks", "locks"}, {"Max pending signals", "signals"},
		{"Max msgqueue size", "bytes"}, {"Max nice priority", ""}, {"Max realtime priority", ""},
		{"Max realtime timeout", "us"},
	}
}

func procLimits(t *Thread) (string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "%-25s %-20s %-20s %-10s\n", "Limit", "Soft Limit", "Hard Limit", "Units")
	value := func(v uint64) string {
		if v == rlimInfinity {
			return "unlimited"
		}
		return strconv.FormatUint(v, 10)
	}
	for i, row := range procLimitRows() {
		l := t.p.limits[i]
		fmt.Fprintf(&b, "%-25s %-20s %-20s ", row.name, value(l.cur), value(l.max))
		if row.unit != "" {
			fmt.Fprintf(&b, "%-10s", row.unit)
		}
		b.WriteByte('\n')
	}
	return b.String(), nil
}

func procOOMScoreAdj(t *Thread) (string, error) {
	return fmt.Sprintf("%d\n", t.p.oomScoreAdj), nil
}

func procSetOOMScoreAdj(t *Thread, s string) error {
	n, err := strconv.Atoi(strings.TrimSpace(s))
	if err != nil || n < -1000 || n > 1000 {
		return unix.EINVAL
	}
	t.p.oomScoreAdj = n
	return nil
}

// procOOMScore is proc_oom_score: the badness in thousandths of memory, moved so that it is not below 0.
func procOOMScore(t *Thread) (string, error) {
	score := int64(0)
	if bad, kills := t.k.badness(t.p); kills {
		u := t.k.memory.Usage()
		score = (1000 + bad*1000/int64(max(min(u.Total, u.Limit), 1))) * 2 / 3
	}
	return fmt.Sprintf("%d\n", score), nil
}

// state is the letter of a task's state (fs/proc/array.c task_state_array).
func (t *Thread) state() (letter byte, name string) {
	switch {
	case t.p.zombie || t.exited:
		return 'Z', "zombie"
	case t.p.stopped:
		return 'T', "stopped"
	case t.waiter != nil || t.slot.State == abi.StateBlocked:
		return 'S', "sleeping"
	}
	return 'R', "running"
}

// clockTicks converts to USER_HZ ticks, of which there are 100 a second.
func clockTicks(d time.Duration) int64 { return int64(d / (10 * time.Millisecond)) }

// parentPID is a process's getppid.
func (p *Process) parentPID() int {
	if p.parent == nil {
		return 0
	}
	return p.parent.pid
}

// procStat is fs/proc/array.c do_task_stat. What does not exist here is 0, as it is there without the feature.
func procStat(t *Thread) (string, error) {
	p := t.p
	letter, _ := t.state()
	u, own := p.usageSelf(), t.tid != p.pid
	if own {
		u = t.usage()
	}
	var vsize, rss, rsslim uint64
	var l loader.Start
	rsslim = p.limits[unix.RLIMIT_RSS].cur
	if p.mm != nil {
		m := p.mm.Usage()
		vsize, rss, l = m.Size, m.RSS()/abi.PageSize, p.layout
	}
	group, session := 0, 0
	if p.group != nil {
		group, session = p.group.id, p.group.session.id
	}
	start := t.start.Sub(t.k.boot)
	var b strings.Builder
	fmt.Fprintf(&b, "%d (%s) %c %d %d %d 0 -1 4194304 %d %d %d %d %d %d %d %d 20 0 %d 0 %d %d %d %d ",
		t.tid, t.comm, letter, p.parentPID(), group, session,
		u.minflt, p.childUsage.minflt, u.majflt, p.childUsage.majflt,
		clockTicks(u.user), clockTicks(u.system), clockTicks(p.childUsage.user), clockTicks(p.childUsage.system),
		len(p.threads), max(0, clockTicks(start)), vsize, rss, rsslim)
	fmt.Fprintf(&b, "%d %d %d 0 0 %d %d %d %d 0 0 0 %d 0 0 0 0 0 0 %d %d %d %d %d %d %d %d\n",
		l.StartCode, l.EndCode, l.SP,
		uint32(t.pending.Set()), uint32(t.mask()), uint32(p.signalSet(SIG_IGN)), uint32(p.caughtSet()),
		p.exitSig,
		l.StartData, l.EndData, l.Brk, l.ArgStart, l.ArgEnd, l.EnvStart, l.EnvEnd, p.exitStatus)
	return b.String(), nil
}

// signalSet is the set of signals whose disposition is handler.
func (p *Process) signalSet(handler uint64) uint64 {
	set := uint64(0)
	for n := 1; n <= sig.NSIG; n++ {
		if p.actions.get(n).handler == handler {
			set |= 1 << (n - 1)
		}
	}
	return set
}

// caughtSet is the set of signals that have handlers.
func (p *Process) caughtSet() uint64 { return ^(p.signalSet(SIG_IGN) | p.signalSet(SIG_DFL)) }

func procStatm(t *Thread) (string, error) {
	if t.p.mm == nil {
		return "0 0 0 0 0 0 0\n", nil
	}
	m := t.p.mm.Usage()
	return fmt.Sprintf("%d %d %d %d 0 %d 0\n", m.Size/abi.PageSize, m.RSS()/abi.PageSize,
		(m.File+m.Shmem)/abi.PageSize, m.Exec/abi.PageSize, (m.Data+m.Stack)/abi.PageSize), nil
}
