package shim

import (
	"fmt"
	"slices"
	"strconv"

	"culvert/shim/vfs"
	"culvert/shim/vfs/synthfs"

	"golang.org/x/sys/unix"
)

// procFS is /proc: directories and files that are computed from the Kernel's state when they are looked at (proc(5)).
// Everything here runs inside a file call, so with Kernel.mu held; Lookup and Resolve also with the Namespace locked.
type procFS struct {
	k  *Kernel
	fs *synthfs.FS
	// dirs keeps the directory of each process and thread, so that the same one is found again.
	dirs map[procKey]*synthfs.Dir
}

// procKey names a directory: the process, and the thread if it is one of /proc/PID/task.
type procKey struct {
	p *Process
	t *Thread
}

const (
	procDev    = 0x50     // device number of /proc
	procBudget = 64 << 20 // bytes of generated text that open files may hold
)

// mountProc mounts /proc if the tree has a place for it.
func (k *Kernel) mountProc() error {
	ns := k.cfg.Namespace
	c := &vfs.Context{Cred: vfs.NewCred(0, 0), Root: ns.Root(), Cwd: ns.Root()}
	if _, err := ns.Walk(c, vfs.Path{}, "/proc", vfs.Directory); err != nil {
		return nil //nolint:nilerr // a root directory without /proc gets none
	}
	pr := &procFS{k: k, fs: synthfs.New(procDev, unix.PROC_SUPER_MAGIC, procBudget), dirs: make(map[procKey]*synthfs.Dir)}
	err := ns.Mount(c, vfs.Path{}, "/proc", vfs.Mount{
		Root: pr.root(), FSType: "proc", Source: "proc", Flags: vfs.MountNoSuid | vfs.MountNoDev | vfs.MountNoExec,
	})
	if err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	k.proc = pr
	return nil
}

// processOf is the process whose /proc/PID the inode is; nil if it is none.
func (pr *procFS) processOf(i vfs.Inode) *Process {
	if pr == nil {
		return nil
	}
	for key, d := range pr.dirs {
		if key.t == nil && vfs.Inode(d) == i {
			return key.p
		}
	}
	return nil
}

// text makes a read-only file of generated text.
func (pr *procFS) text(gen func(t *Thread) string) vfs.Inode {
	return pr.fs.NewFile(synthfs.Perm(0o444), func(c *vfs.Context) ([]byte, error) {
		return []byte(gen(taskOf(c))), nil
	}, nil)
}

// link makes a symbolic link.
func (pr *procFS) link(text func(t *Thread) string) vfs.Inode {
	return pr.fs.NewLink(synthfs.Perm(0o777), func(c *vfs.Context) (string, error) {
		t := taskOf(c)
		if t == nil {
			return "", unix.ENOENT
		}
		return text(t), nil
	})
}

// taskOf is the thread whose call this is, nil outside calls.
func taskOf(c *vfs.Context) *Thread {
	t, _ := c.Task.(*Thread)
	return t
}

func (pr *procFS) root() *synthfs.Dir {
	d := pr.fs.NewDir(synthfs.Perm(0o555), procPIDs{pr})
	d.Add("self", pr.link(func(t *Thread) string { return strconv.Itoa(t.p.pid) }))
	d.Add("thread-self", pr.link(func(t *Thread) string { return fmt.Sprintf("%d/task/%d", t.p.pid, t.tid) }))
	d.Add("mounts", pr.link(func(*Thread) string { return "self/mounts" }))
	d.Add("net", pr.link(func(*Thread) string { return "self/net" }))
	for _, f := range procFiles() {
		d.Add(f.name, pr.text(func(*Thread) string { return f.gen(pr.k) }))
	}
	return d.Add("sys", pr.sys())
}

// procPIDs lists the processes in /proc.
type procPIDs struct{ pr *procFS }

func (s procPIDs) Lookup(_ *vfs.Context, name string) (vfs.Inode, error) {
	id, ok := procNumber(name)
	if !ok {
		return nil, unix.ENOENT
	}
	// A thread's number works too, although it is not listed.
	if p := s.pr.k.processes[id]; p != nil {
		return s.pr.processDir(p), nil
	}
	if t := s.pr.k.threads[id]; t != nil {
		return s.pr.processDir(t.p), nil
	}
	return nil, unix.ENOENT
}

func (s procPIDs) List(_ *vfs.Context, from int64) ([]synthfs.Entry, error) {
	return numberEntries(s.pr.k.processes, from, unix.S_IFDIR), nil
}

// procNumber parses a name that is a number as /proc prints it: without sign and leading zeros.
func procNumber(name string) (int, bool) {
	id, err := strconv.Atoi(name)
	return id, err == nil && id >= 0 && strconv.Itoa(id) == name
}

// numberEntries lists the keys of a map as names.
func numberEntries[V any](m map[int]V, from int64, typ uint32) []synthfs.Entry {
	ids := make([]int, 0, len(m))
	for id := range m {
		if int64(id) >= from {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	out := make([]synthfs.Entry, len(ids))
	for i, id := range ids {
		out[i] = synthfs.Entry{Name: strconv.Itoa(id), Type: typ, Key: int64(id)}
	}
	return out
}

// sweep forgets the directories of processes that are gone, now and then.
func (pr *procFS) sweep() {
	if len(pr.dirs) < 2*len(pr.k.threads)+64 {
		return
	}
	for key := range pr.dirs {
		if pr.k.processes[key.p.pid] != key.p || key.t != nil && pr.k.threads[key.t.tid] != key.t {
			delete(pr.dirs, key)
		}
	}
}

// processDir is /proc/PID.
func (pr *procFS) processDir(p *Process) *synthfs.Dir {
	return pr.dir(procKey{p, nil}, func(d *synthfs.Dir, owner synthfs.Attr) {
		main := func() *Thread { return p.leader }
		pr.addTask(d, p, main)
		tasks := owner
		tasks.Mode = 0o555
		d.Add("task", pr.fs.NewDir(tasks, procTasks{pr, p}))
	})
}

// taskDir is /proc/PID/task/TID.
func (pr *procFS) taskDir(t *Thread) *synthfs.Dir {
	return pr.dir(procKey{t.p, t}, func(d *synthfs.Dir, _ synthfs.Attr) {
		pr.addTask(d, t.p, func() *Thread { return t })
	})
}

// dir finds or makes a directory that belongs to the process's user.
func (pr *procFS) dir(key procKey, fill func(d *synthfs.Dir, owner synthfs.Attr)) *synthfs.Dir {
	if d := pr.dirs[key]; d != nil {
		return d
	}
	pr.sweep()
	a := ownedBy(key.p, 0o555)
	d := pr.fs.NewDir(a, nil)
	fill(d, a)
	pr.dirs[key] = d
	return d
}

// ownedBy is an Attr of a process's files: they belong to its effective user.
func ownedBy(p *Process, mode uint32) synthfs.Attr {
	return synthfs.Attr{Mode: mode, Owner: func() (uint32, uint32) { return p.leader.cred.EUID, p.leader.cred.EGID }}
}

// procTasks lists the threads of a process.
type procTasks struct {
	pr *procFS
	p  *Process
}

func (s procTasks) Lookup(_ *vfs.Context, name string) (vfs.Inode, error) {
	id, ok := procNumber(name)
	if !ok || s.p.threads[id] == nil {
		return nil, unix.ENOENT
	}
	return s.pr.taskDir(s.p.threads[id]), nil
}

func (s procTasks) List(_ *vfs.Context, from int64) ([]synthfs.Entry, error) {
	return numberEntries(s.p.threads, from, unix.S_IFDIR), nil
}
