package jail

import (
	"fmt"
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"culvert/shim/vfs"
)

// jailCase is something that a process in the jail does, and what must come of it: "ok", an error's text, or the death
// by SIGSYS, where a tree is shown read-only, where it is written to, and that for an ordinary user. "" is not tried.
type jailCase struct {
	name         string
	run          func(*world) error
	ro, rw, user string
	needs        int // Landlock's ABI
}

// raw makes a system call with up to four arguments.
func raw(nr uintptr, args ...uintptr) func(*world) error {
	return func(*world) error {
		var a [4]uintptr
		copy(a[:], args)
		if _, _, errno := unix.Syscall6(nr, a[0], a[1], a[2], a[3], 0, 0); errno != 0 {
			return errno
		}
		return nil
	}
}

// open opens dir/name with openat2, which only Landlock can judge.
func open(name string, flags uint64) func(*world) error {
	return func(w *world) error {
		fd, err := unix.Openat2(unix.AT_FDCWD, w.dir+"/"+name, &unix.OpenHow{Flags: flags | unix.O_CLOEXEC, Mode: (flags & unix.O_CREAT) / unix.O_CREAT * 0o600})
		if err != nil {
			return err
		}
		return unix.Close(fd)
	}
}

func openat(name string, flags int) func(*world) error {
	return func(w *world) error {
		fd, err := unix.Openat(unix.AT_FDCWD, w.dir+"/"+name, flags|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		return unix.Close(fd)
	}
}

// early runs a case in a thread that was there before the jail.
func early(f func(*world) error) func(*world) error {
	return func(w *world) error {
		w.early <- func() error { return f(w) }
		return <-w.done
	}
}

const (
	sys    = killedBySIGSYS
	eacces = "permission denied"
)

// cases are the two lists: what is not to work, and what is.
func cases() []jailCase {
	all := []jailCase{
		// Files: Landlock, and the flags that the filter sees.
		{"read what is shown", open("tree/file", unix.O_RDONLY), "ok", "ok", "ok", 0},
		{"read what is not", open("secret", unix.O_RDONLY), eacces, eacces, eacces, 1},
		{"read it in an older thread", early(open("secret", unix.O_RDONLY)), eacces, eacces, eacces, 1},
		{"read it with openat", openat("secret", unix.O_RDONLY), eacces, eacces, eacces, 1},
		{"read it through a link", open("tree/link", unix.O_RDONLY), eacces, eacces, eacces, 1},
		{"read it through ..", open("tree/../secret", unix.O_RDONLY), eacces, eacces, eacces, 1},
		{"list the directory above", open(".", unix.O_RDONLY|unix.O_DIRECTORY), eacces, eacces, eacces, 1},
		{"open to write", open("tree/file", unix.O_WRONLY), eacces, "ok", "ok", 1},
		{"open to truncate", open("tree/file", unix.O_WRONLY|unix.O_TRUNC), eacces, "ok", "ok", 1},
		{"create", open("tree/new", unix.O_WRONLY|unix.O_CREAT), eacces, "ok", "ok", 1},
		{"create elsewhere", open("new", unix.O_WRONLY|unix.O_CREAT), eacces, eacces, eacces, 1},
		{"write what is not shown", open("secret", unix.O_WRONLY), eacces, eacces, eacces, 1},
		{"openat to write", openat("tree/file", unix.O_WRONLY), sys, "ok", "ok", 0},
		{"openat to create", openat("tree/new", unix.O_WRONLY|unix.O_CREAT), sys, sys, sys, 0},
		{"link in what is not shown", func(w *world) error {
			return unix.Linkat(unix.AT_FDCWD, w.dir+"/secret", unix.AT_FDCWD, w.dir+"/tree/got", 0)
		}, sys, "invalid cross-device link", "", 2},
		{"move a file out", func(w *world) error {
			return unix.Renameat2(unix.AT_FDCWD, w.dir+"/tree/file", unix.AT_FDCWD, w.dir+"/got", 0)
		}, sys, eacces, eacces, 2},

		// Other calls: the filter.
		{"execve", func(*world) error { return syscall.Exec("/bin/true", []string{"true"}, nil) }, sys, sys, sys, 0},
		{"fork", raw(unix.SYS_FORK), sys, sys, sys, 0},
		{"clone of a process", raw(unix.SYS_CLONE, uintptr(unix.SIGCHLD)), sys, sys, sys, 0},
		{"clone3", raw(unix.SYS_CLONE3, 0, 0), "function not implemented", "function not implemented", "function not implemented", 0},
		{"socket", raw(unix.SYS_SOCKET, unix.AF_UNIX, unix.SOCK_STREAM), sys, sys, sys, 0},
		{"socket in an older thread", early(raw(unix.SYS_SOCKET, unix.AF_INET, unix.SOCK_STREAM)), sys, sys, sys, 0},
		{"ptrace", raw(unix.SYS_PTRACE, unix.PTRACE_TRACEME), sys, sys, sys, 0},
		{"bpf", raw(unix.SYS_BPF), sys, sys, sys, 0},
		{"io_uring", raw(unix.SYS_IO_URING_SETUP, 1), sys, sys, sys, 0},
		{"memfd", raw(unix.SYS_MEMFD_CREATE), sys, sys, sys, 0},
		{"unshare", raw(unix.SYS_UNSHARE, unix.CLONE_NEWUSER), sys, sys, sys, 0},
		{"a second filter", raw(unix.SYS_SECCOMP, unix.SECCOMP_GET_ACTION_AVAIL), sys, sys, sys, 0},
		{"TIOCSTI", raw(unix.SYS_IOCTL, 0, unix.TIOCSTI), sys, sys, sys, 0},
		{"KVM_CREATE_VM", raw(unix.SYS_IOCTL, 0, 0xae01), sys, sys, sys, 0},
		{"KVM_RUN", raw(unix.SYS_IOCTL, ^uintptr(0), kvmRun), "bad file descriptor", "bad file descriptor", "bad file descriptor", 0},
		{"kill another", func(*world) error { return unix.Kill(os.Getppid(), 0) }, sys, sys, sys, 0},
		{"tgkill another", raw(unix.SYS_TGKILL, 1, 1, 0), sys, sys, sys, 0},
		{"executable memory", func(*world) error {
			_, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_EXEC, unix.MAP_PRIVATE|unix.MAP_ANON)
			return err
		}, sys, sys, sys, 0},
		{"memory made executable", func(*world) error {
			m, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
			if err != nil {
				return err
			}
			return unix.Mprotect(m, unix.PROT_READ|unix.PROT_EXEC)
		}, sys, sys, sys, 0},
		{"x32 call", raw(unix.SYS_GETPID | 0x40000000), sys, sys, sys, 0},

		// What the VMM does.
		{"load", load, "ok", "ok", "ok", 0},
		{"read through hostfs", readTree, "ok", "ok", "ok", 0},
		{"write through hostfs", writeTree, "", "ok", "ok", 0},
		{"standard files", standardFiles, "ok", "ok", "ok", 0},
		// Tried by TestCrash, since it ends with much text.
		{"crash", func(*world) error { panic("on purpose") }, "", "", "", 0},
	}
	return all
}

// readTree reads what a guest may.
func readTree(w *world) error {
	c := &vfs.Context{Cred: vfs.NewCred(0, 0)}
	for range 3 {
		n, err := w.tree.Lookup(c, "file")
		if err != nil {
			return fmt.Errorf("lookup: %w", err)
		}
		if _, err := n.Stat(); err != nil {
			return fmt.Errorf("stat: %w", err)
		}
		f, err := n.Open(c, unix.O_RDONLY)
		if err != nil {
			return fmt.Errorf("open: %w", err)
		}
		buf := make([]byte, 16)
		got, err := f.ReadAt(buf, 0)
		f.Release()
		if err != nil || string(buf[:got]) != "contents" {
			return fmt.Errorf("read %q: %w", buf[:got], err)
		}
		runtime.GC()
	}
	l, err := w.tree.Lookup(c, "link")
	if err != nil {
		return err
	}
	if to, err := l.Readlink(c); err != nil || to != w.dir+"/secret" {
		return fmt.Errorf("readlink %q: %w", to, err)
	}
	d, err := w.tree.Open(c, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return fmt.Errorf("open the directory: %w", err)
	}
	defer d.Release()
	names := 0
	if err := d.Readdir(c, 0, func(vfs.Dirent) bool { names++; return true }); err != nil || names < 3 {
		return fmt.Errorf("%d names: %w", names, err)
	}
	if _, err := w.tree.Statfs(); err != nil {
		return fmt.Errorf("statfs: %w", err)
	}
	return nil
}

// writeTree makes every kind of change that hostfs can.
func writeTree(w *world) error {
	c := &vfs.Context{Cred: vfs.NewCred(0, 0)}
	uid, gid := w.uid, w.gid
	attr := func(mode uint32) vfs.CreateAttr { return vfs.CreateAttr{Mode: mode, UID: uid, GID: gid} }
	sub, err := w.tree.Lookup(c, "sub")
	if err != nil {
		return err
	}
	n, err := w.tree.Create(c, "made", attr(unix.S_IFREG|0o640))
	if err != nil {
		return fmt.Errorf("create: %w", err)
	}
	f, err := n.Open(c, unix.O_RDWR)
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	defer f.Release()
	only := func(_ any, err error) error { return err }
	for _, s := range []struct {
		name string
		do   func() error
	}{
		{"write", func() error { return only(f.WriteAt([]byte("hello"), 0)) }},
		{"append", func() error { _, _, err := f.Append([]byte("more")); return err }},
		{"truncate", func() error { return f.Truncate(4) }},
		{"allocate", func() error {
			err := f.Allocate(0, 0, 8192)
			if err == unix.EOPNOTSUPP { // the file system's answer
				return nil
			}
			return err
		}},
		{"seek", func() error { return only(f.SeekHole(0)) }},
		{"sync", func() error { return f.Sync(false) }},
		{"sync data", func() error { return f.Sync(true) }},
		{"mkdir", func() error { return only(w.tree.Mkdir(c, "dir", attr(unix.S_IFDIR|0o2775))) }},
		{"symlink", func() error { return only(w.tree.Symlink(c, "sym", "anywhere", attr(unix.S_IFLNK|0o777))) }},
		{"socket", func() error { return only(w.tree.Create(c, "sock", attr(unix.S_IFSOCK|0o666))) }},
		{"link", func() error { return w.tree.Link(c, "second", n) }},
		{"link elsewhere", func() error { return sub.Link(c, "third", n) }},
		{"rename", func() error { return w.tree.Rename(c, "made", w.tree, "named", 0) }},
		{"rename elsewhere", func() error { return w.tree.Rename(c, "named", sub, "moved", 0) }},
		{"move a directory", func() error { return w.tree.Rename(c, "dir", sub, "dir", unix.RENAME_NOREPLACE) }},
		{"unlink", func() error { return w.tree.Unlink(c, "second") }},
		{"rmdir", func() error { return sub.Rmdir(c, "dir") }},
		{"chmod", func() error { return n.SetAttr(c, vfs.Attr{Valid: vfs.AttrMode, Mode: 0o600}) }},
		{"chown", func() error { return n.SetAttr(c, vfs.Attr{Valid: vfs.AttrUID | vfs.AttrGID, UID: uid, GID: gid}) }},
		{"times", func() error { return n.SetAttr(c, vfs.Attr{Valid: vfs.AttrMtime, Mtime: unix.Timespec{Sec: 1}}) }},
		{"size", func() error { return n.SetAttr(c, vfs.Attr{Valid: vfs.AttrSize, Size: 2}) }},
		{"read an unlinked file", func() error {
			if err := sub.Unlink(c, "moved"); err != nil {
				return err
			}
			return only(f.ReadAt(make([]byte, 4), 0))
		}},
	} {
		if err := s.do(); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	if uid == 0 { // files of others, for which root's process keeps capabilities
		if err := n.SetAttr(c, vfs.Attr{Valid: vfs.AttrUID | vfs.AttrGID, UID: nobody, GID: nobody}); err != nil {
			return fmt.Errorf("give away: %w", err)
		}
		if err := n.SetAttr(c, vfs.Attr{Valid: vfs.AttrMode, Mode: 0o000}); err != nil {
			return fmt.Errorf("chmod another's: %w", err)
		}
	}
	return nil
}

// standardFiles does what the shim does with the VM's standard files.
func standardFiles(*world) error {
	for fd := range 3 {
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil {
			return err
		}
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0); err != nil {
			return err
		}
		if _, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN | unix.POLLOUT}}, 0); err != nil {
			return err
		}
		var buf [64]byte
		for _, req := range []uintptr{unix.TCGETS, tcgets2, unix.TIOCGWINSZ, unix.TIOCINQ, unix.TIOCOUTQ} {
			// No terminal: an error, but one of the kernel's.
			_, _, _ = unix.Syscall(unix.SYS_IOCTL, uintptr(fd), req, uintptr(unsafe.Pointer(&buf)))
		}
		_, _ = unix.Seek(fd, 0, unix.SEEK_CUR)
	}
	_, _ = unix.Preadv2(0, [][]byte{make([]byte, 1)}, -1, unix.RWF_NOWAIT)
	_, err := unix.Pwritev2(1, [][]byte{[]byte("")}, -1, unix.RWF_NOWAIT)
	return err
}
