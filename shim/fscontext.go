package shim

import (
	"fmt"

	"culvert/shim/vfs"

	"golang.org/x/sys/unix"
)

// FSContext is what threads share under CLONE_FS: working directory, root and umask (struct fs_struct).
type FSContext struct {
	vfs.Context
}

// DirError says that the first process cannot start in its working directory: the set-up is at fault, not the program.
type DirError struct {
	Dir string
	Err error
}

func (e *DirError) Error() string { return fmt.Sprintf("working directory %s: %v", e.Dir, e.Err) }
func (e *DirError) Unwrap() error { return e.Err }

// newFSContext starts in directory dir of the tree.
func newFSContext(ns *vfs.Namespace, cred *vfs.Cred, dir string) (*FSContext, error) {
	c := &FSContext{Context: vfs.Context{Cred: cred, Root: ns.Root(), Cwd: ns.Root(), Umask: 0o022}}
	if dir == "" {
		return c, nil
	}
	p, err := ns.Walk(&c.Context, vfs.Path{}, dir, vfs.Directory)
	if err == nil {
		err = ns.CheckDir(&c.Context, p)
	}
	if err != nil {
		return nil, &DirError{dir, err}
	}
	c.Cwd = p
	return c, nil
}

// clone copies the context for a process that does not share it.
func (c *FSContext) clone() *FSContext {
	d := *c
	return &d
}

// vctx is the context of a call of this thread. Threads that share an FSContext have credentials of their own, so
// both are put together here; Kernel.mu is held from here to the end of the call.
func (t *Thread) vctx() *vfs.Context {
	t.fs.Cred = &t.cred.Cred
	t.fs.Task = t
	return &t.fs.Context
}

// ns is the file tree.
func (t *Thread) ns() *vfs.Namespace { return t.k.cfg.Namespace }

// at is where relative names of an *at call start: the zero Path is the working directory.
func (t *Thread) at(dirfd int32) (vfs.Path, error) {
	if dirfd == unix.AT_FDCWD {
		return vfs.Path{}, nil
	}
	f, err := t.files.get(dirfd)
	if err != nil {
		return vfs.Path{}, err
	}
	return f.path, nil
}

// pathAt reads a path and finds where it starts. A bad dirfd does not matter to an absolute path (path_init).
func (t *Thread) pathAt(dirfd int32, addr uint64) (vfs.Path, string, error) {
	name, err := t.readPath(addr)
	if err != nil {
		return vfs.Path{}, "", err
	}
	if name != "" && name[0] == '/' {
		return vfs.Path{}, name, nil
	}
	at, err := t.at(dirfd)
	return at, name, err
}

// walkAt finds what an *at call names. flags are AT_SYMLINK_NOFOLLOW and AT_EMPTY_PATH.
func (t *Thread) walkAt(dirfd int32, addr uint64, flags int32) (vfs.Path, error) {
	at, name, err := t.pathAt(dirfd, addr)
	if err != nil {
		return vfs.Path{}, err
	}
	var how vfs.WalkFlags
	if flags&unix.AT_SYMLINK_NOFOLLOW != 0 {
		how |= vfs.NoFollow
	}
	if flags&unix.AT_EMPTY_PATH != 0 {
		how |= vfs.EmptyPath
	}
	return t.ns().Walk(t.vctx(), at, name, how)
}

// raise sends the thread a signal that its own call has earned.
func (t *Thread) raise(n unix.Signal) { t.k.send(t.p, t, sigUser(n, t)) }
