package shim

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"io"
	mrand "math/rand/v2"
	"path"
	"time"

	"culvert/shim/abi"
	"culvert/shim/loader"
	"culvert/shim/mm"
	"culvert/shim/sig"
	"culvert/shim/vfs"

	"golang.org/x/sys/unix"
)

// execFile is a program's file as the loader reads it.
type execFile struct {
	k    *Kernel
	path vfs.Path
	file vfs.File
}

func (f *execFile) ReadAt(p []byte, off int64) (int, error) {
	total := 0
	for total < len(p) {
		n, err := f.file.ReadAt(p[total:], off+int64(total))
		if err != nil {
			return total, err
		}
		if n == 0 {
			return total, io.EOF
		}
		total += n
	}
	return total, nil
}

func (f *execFile) Close() error {
	f.file.Release()
	return nil
}

// openExec opens a file to be executed (do_open_execat).
func (t *Thread) openExec(at vfs.Path, name string, flags vfs.WalkFlags) (*execFile, error) {
	ns, c := t.ns(), t.vctx()
	p, err := ns.Walk(c, at, name, flags)
	if err != nil {
		return nil, err
	}
	if p.Inode().Type() == unix.S_IFLNK {
		return nil, unix.ELOOP // AT_SYMLINK_NOFOLLOW
	}
	if err := ns.CheckExec(c, p); err != nil {
		return nil, err
	}
	// Execution needs no read permission.
	f, err := ns.OpenPath(&vfs.Context{Cred: vfs.NewCred(0, 0), Root: c.Root, Cwd: c.Cwd}, p, unix.O_RDONLY)
	if err != nil {
		return nil, err
	}
	return &execFile{k: t.k, path: p, file: f}, nil
}

// execRequest is an exec that has been parsed: it can still fail with an errno.
type execRequest struct {
	file  *execFile
	image *loader.Image
	name  string // as it was passed
}

func (r *execRequest) close() {
	_ = r.image.Close() // files opened for reading: nothing is lost
	_ = r.file.Close()
}

// prepareExec opens and parses a program.
func (t *Thread) prepareExec(at vfs.Path, name, shown string, flags vfs.WalkFlags, hidden bool, argv, envp []string) (*execRequest, error) {
	f, err := t.openExec(at, name, flags)
	if err != nil {
		return nil, err
	}
	image, err := loader.Parse(f, loader.Args{
		Path: shown, Argv: argv, Envp: envp, StackLimit: t.p.limits[unix.RLIMIT_STACK].cur, PathInaccessible: hidden,
	}, func(p string) (loader.File, error) {
		f, err := t.openExec(vfs.Path{}, p, 0)
		if err != nil {
			return nil, err
		}
		return f, nil
	})
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return &execRequest{file: f, image: image, name: shown}, nil
}

// exec replaces the program of t's process. Other threads die first, which may have to be waited for.
func (t *Thread) exec(r *execRequest) (uint64, error) {
	if len(t.p.threads) == 1 {
		return 0, t.commitExec(r)
	}
	p := t.p
	if p.execing != nil || p.exiting {
		r.close()
		return 0, unix.EAGAIN
	}
	p.execing = t
	t.killOthers(0)
	return t.Block(func(w *Waiter) (uint64, error) {
		for len(p.threads) > 1 {
			if err := w.SleepKillable(time.Time{}, &p.execQueue); err != nil {
				p.execing = nil
				r.close()
				return 0, err
			}
		}
		p.execing = nil
		t.becomeLeader()
		return 0, t.commitExec(r)
	})
}

// becomeLeader gives the only thread of a process the process's number (de_thread).
func (t *Thread) becomeLeader() {
	p := t.p
	if p.leader == t {
		return
	}
	delete(t.k.threads, t.tid)
	delete(p.threads, t.tid)
	for _, c := range p.children {
		if c.parentThread == p.leader {
			c.parentThread = t
		}
	}
	p.leader = t
	isSeen(t.slot)
	if tr := t.k.cfg.Trace; tr != nil {
		tr.Superseded(p.pid, t.tid)
	}
	t.tid = p.pid
	t.k.threads[t.tid] = t
	p.threads[t.tid] = t
	t.slot.TID = uint64(t.tid)
}

// commitExec is begin_new_exec and what follows: an error past it kills the process, as there is nothing to go back
// to.
func (t *Thread) commitExec(r *execRequest) error {
	defer r.close()
	space, err := t.newSpace()
	if err != nil {
		return err
	}
	if t.files.shared() {
		files, err := t.files.clone(t.k)
		if err != nil {
			space.Release()
			return err
		}
		t.setFiles(files)
	}
	if t.p.actions.refs > 1 {
		actions, err := t.p.actions.clone()
		if err != nil {
			space.Release()
			return err
		}
		t.p.useActions(actions)
	}
	secure := t.gainPrivileges(r)
	start, err := t.load(r, space, secure)
	if err != nil {
		space.Release()
		t.force(sig.Kernel(sig.SIGSEGV))
		t.p.exitGroup(sig.SIGSEGV)
		return errNoReturn
	}
	space.SetStack(start.SP)
	t.enterProgram(r, space, start)
	return errNoReturn
}

// load fills a new address space with the program.
func (t *Thread) load(r *execRequest, space *addressSpace, secure bool) (*loader.Start, error) {
	vdso, err := t.mapVDSO(space)
	if err != nil {
		return nil, err
	}
	platform := t.platform(secure)
	platform.SysinfoEHDR = vdso
	return r.image.Load(&execSpace{t: t, space: space}, platform, t.layoutRandom())
}

// enterProgram makes the loaded program the one that runs.
func (t *Thread) enterProgram(r *execRequest, space *addressSpace, start *loader.Start) {
	p := t.p
	// The old program's memory (exec_mm_release): its waiters are told, robust futexes are given up.
	t.releaseRobust()
	t.releasePI()
	t.clearChildTID()
	p.addPeak(&p.usage)
	t.leaveSpace()
	t.dropSpace()
	t.useSpace(space)
	p.mm = space
	p.vforkReleased()

	if f, ok := r.image.File().(*execFile); ok {
		p.exe = f.path
	}
	p.argv = r.image.Argv()
	p.didExec = true
	p.exitSig = sig.SIGCHLD
	p.layout = *start
	t.setComm(path.Base(r.name))
	t.files.closeOnExec(t)
	p.actions.reset()
	t.storeAltstack(sig.Stack{Flags: t.altstack.Flags})
	t.goOnBy(nil)
	t.call.restart = 0
	p.timers.exec()

	s := t.slot
	regs := sig.Regs{RIP: start.Entry, RSP: start.SP, RFLAGS: abi.FlagsForced}
	s.SetRegs(&regs)
	s.OrigRAX = ^uint64(0)
	s.FSBase, s.GSBase = 0, 0
	t.k.xstate.Init(t.fpu())
	t.flags |= abi.FlagSpace | abi.FlagFPU
	t.returnByIret()
}

// gainPrivileges applies the set-user-ID and set-group-ID bits (bprm_fill_uid) and computes the capabilities of the
// new program; it reports AT_SECURE.
func (t *Thread) gainPrivileges(r *execRequest) bool {
	old := t.cred
	c := old.clone()
	f, ok := r.image.File().(*execFile)
	if ok && !old.noNewPrivs && f.path.MountFlags()&vfs.MountNoSuid == 0 {
		if st, err := f.file.Inode().Stat(); err == nil {
			if st.Mode&unix.S_ISUID != 0 {
				c.EUID = st.UID
			}
			if st.Mode&(unix.S_ISGID|unix.S_IXGRP) == unix.S_ISGID|unix.S_IXGRP {
				c.EGID = st.GID
			}
		}
	}
	c.suid, c.FSUID = c.EUID, c.EUID
	c.sgid, c.FSGID = c.EGID, c.EGID
	c.execCaps()
	secure := c.EUID != old.UID || c.EGID != old.GID
	if c.EUID != old.EUID || c.EGID != old.EGID {
		t.pdeathsig = 0
		t.p.persona &^= perClearOnSetid
	}
	t.setCred(c)
	return secure
}

// platform is what the auxiliary vector says about the machine and the user.
func (t *Thread) platform(secure bool) loader.Platform {
	pl := loader.Platform{
		HWCap: t.k.cfg.HWCap, HWCap2: t.k.cfg.HWCap2, ClkTck: 100, MinSigStkSz: t.k.sigFrameSize(),
		UID: t.cred.UID, EUID: t.cred.EUID, GID: t.cred.GID, EGID: t.cred.EGID, Secure: secure,
	}
	_, _ = rand.Read(pl.Random[:]) // never fails
	return pl
}

// layoutRandom is the randomisation of addresses that the loader decides.
func (t *Thread) layoutRandom() loader.Random {
	if t.p.persona&addrNoRandomize != 0 {
		return loader.Random{}
	}
	return loader.Random{
		PIE: mrand.Uint64N(1<<28) << abi.PageShift,
		SP:  mrand.Uint64N(8192),
		Brk: mrand.Uint64N(1<<30>>abi.PageShift) << abi.PageShift,
	}
}

// execSpace is the new address space as the loader fills it.
type execSpace struct {
	t     *Thread
	space *addressSpace
}

func (s *execSpace) MapFile(f loader.File, off, addr, length uint64, prot int, how loader.Placement) (uint64, error) {
	ef, ok := f.(*execFile)
	if !ok {
		return 0, unix.ENODEV
	}
	obj := s.t.k.memory.Object(s.t.k.newBacking(ef.path, ef.file.Inode()))
	defer obj.Put()
	flags := uint32(unix.MAP_PRIVATE)
	switch how {
	case loader.Fixed:
		flags |= unix.MAP_FIXED
	case loader.FixedNoReplace:
		flags |= unix.MAP_FIXED_NOREPLACE
	}
	return s.space.Mmap(mm.MmapArgs{
		Addr: addr, Len: length, Prot: uint32(prot), Flags: flags, Off: off, Object: obj,
		Name: s.t.k.mapName(ef.path, ef.file.Inode()), Readable: true,
	})
}

func (s *execSpace) MapAnonymous(addr, length uint64, prot int) error {
	_, err := s.space.Mmap(mm.MmapArgs{
		Addr: addr, Len: length, Prot: uint32(prot), Flags: unix.MAP_PRIVATE | unix.MAP_ANONYMOUS | unix.MAP_FIXED,
	})
	return err
}

func (s *execSpace) Unmap(addr, length uint64) error { return s.space.Munmap(addr, length) }

// MapStack maps the first stack: what the strings need and some more (setup_arg_pages), growing down.
func (s *execSpace) MapStack(size uint64, prot int) (uint64, error) {
	const expand = 128 << 10
	top := s.space.StackTop()
	n := (size + expand + abi.PageMask) &^ abi.PageMask
	if n > top {
		return 0, unix.ENOMEM
	}
	_, err := s.space.Mmap(mm.MmapArgs{
		Addr: top - n, Len: n, Prot: uint32(prot),
		Flags: unix.MAP_PRIVATE | unix.MAP_ANONYMOUS | unix.MAP_FIXED | unix.MAP_GROWSDOWN,
	})
	return top, err
}

func (s *execSpace) SetBrk(start uint64) { s.space.SetBrk(start, 0) }

func (s *execSpace) CopyOut(addr uint64, p []byte) (int, error) {
	return s.space.Space.CopyOut(addr, p)
}

// Bounds of an argument vector: what the loader checks more exactly is cut off here first.
const (
	maxArgStrings = 1 << 20
	maxArgBytes   = 6<<20 + 1
	maxArgString  = 32 * abi.PageSize // MAX_ARG_STRLEN
)

// readStrings reads a vector of strings that ends with a null pointer; left is the room that is left for all.
func (t *Thread) readStrings(addr uint64, left *int) ([]string, error) {
	var out []string
	if addr == 0 {
		return nil, nil // as Linux, which warns and takes it for an empty one
	}
	var page [abi.PageSize]byte
	for i := 0; ; {
		n := int(abi.PageSize - addr&abi.PageMask)
		if n < 8 || addr&7 != 0 {
			n = 8
		}
		if err := t.copyIn(addr, page[:n]); err != nil {
			return nil, err
		}
		for off := 0; off+8 <= n; off += 8 {
			p := binary.LittleEndian.Uint64(page[off:])
			if p == 0 {
				return out, nil
			}
			if i++; i > maxArgStrings {
				return nil, unix.E2BIG
			}
			s, err := t.readString(p, min(maxArgString, *left))
			if errors.Is(err, unix.ENAMETOOLONG) {
				return nil, unix.E2BIG
			}
			if err != nil {
				return nil, err
			}
			*left -= len(s) + 1 + 8
			if *left <= 0 {
				return nil, unix.E2BIG
			}
			out = append(out, s)
		}
		addr += uint64(n)
	}
}

// readArgs reads argv and envp.
func (t *Thread) readArgs(argvAt, envpAt uint64) (argv, envp []string, err error) {
	left := maxArgBytes
	if argv, err = t.readStrings(argvAt, &left); err != nil {
		return nil, nil, err
	}
	envp, err = t.readStrings(envpAt, &left)
	return argv, envp, err
}

func sysExecve(t *Thread, a Args) (uint64, error) {
	name, err := t.readPath(a[0])
	if err != nil {
		return 0, err
	}
	argv, envp, err := t.readArgs(a[1], a[2])
	if err != nil {
		return 0, err
	}
	if name == "" {
		return 0, unix.ENOENT
	}
	r, err := t.prepareExec(vfs.Path{}, name, name, 0, false, argv, envp)
	if err != nil {
		return 0, err
	}
	return t.exec(r)
}

func sysExecveat(t *Thread, a Args) (uint64, error) {
	dirfd, flags := a.int32(0), a.int32(4)
	if flags&^(unix.AT_SYMLINK_NOFOLLOW|unix.AT_EMPTY_PATH) != 0 {
		return 0, unix.EINVAL
	}
	name, err := t.readPath(a[1])
	if err != nil {
		return 0, err
	}
	argv, envp, err := t.readArgs(a[2], a[3])
	if err != nil {
		return 0, err
	}
	var how vfs.WalkFlags
	if flags&unix.AT_SYMLINK_NOFOLLOW != 0 {
		how |= vfs.NoFollow
	}
	shown, hidden := name, false
	at := vfs.Path{}
	switch {
	case name == "" && flags&unix.AT_EMPTY_PATH == 0:
		return 0, unix.ENOENT
	case name == "" || name[0] != '/' && dirfd != unix.AT_FDCWD:
		if at, err = t.at(dirfd); err != nil {
			return 0, err
		}
		shown = "/dev/fd/" + itoa(int(dirfd))
		if name != "" {
			shown += "/" + name
		} else {
			how |= vfs.EmptyPath
		}
		if e := t.files.entry(int(dirfd)); e != nil {
			hidden = e.cloexec
		}
	}
	r, err := t.prepareExec(at, name, shown, how, hidden, argv, envp)
	if err != nil {
		return 0, err
	}
	return t.exec(r)
}
