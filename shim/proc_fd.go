package shim

import (
	"fmt"
	"strconv"

	"culvert/shim/vfs"
	"culvert/shim/vfs/synthfs"

	"golang.org/x/sys/unix"
)

// procFDs is /proc/PID/fd or fdinfo: a child per open descriptor.
type procFDs struct {
	pr   *procFS
	of   func() (*Thread, error)
	make func(s *procFDs, fd int, f *OpenFile) vfs.Inode
	// made keeps the children, so that the same one is found while the descriptor is open on the same description.
	made map[int]procFD
}

type procFD struct {
	f     *OpenFile
	inode vfs.Inode
}

// table is the descriptor table, nil of a process that has ended.
func (s *procFDs) table() *FDTable {
	t, err := s.of()
	if err != nil || t.exited {
		return nil
	}
	return t.files
}

func (s *procFDs) Lookup(_ *vfs.Context, name string) (vfs.Inode, error) {
	fd, ok := procNumber(name)
	d := s.table()
	if !ok || d == nil {
		return nil, unix.ENOENT
	}
	e := d.entry(fd)
	if e == nil {
		delete(s.made, fd)
		return nil, unix.ENOENT
	}
	if m, ok := s.made[fd]; ok && m.f == e.f {
		return m.inode, nil
	}
	if s.made == nil {
		s.made = make(map[int]procFD)
	}
	inode := s.make(s, fd, e.f)
	s.made[fd] = procFD{e.f, inode}
	return inode, nil
}

// List lists the descriptors; those of what is closed are forgotten on the way.
func (s *procFDs) List(_ *vfs.Context, from int64) ([]synthfs.Entry, error) {
	d := s.table()
	if d == nil || from >= nrOpen {
		return nil, nil
	}
	for fd, m := range s.made {
		if e := d.entry(fd); e == nil || e.f != m.f {
			delete(s.made, fd)
		}
	}
	var out []synthfs.Entry
	d.eachFrom(int(from), nrOpen-1, func(fd int, _ *fdEntry) {
		out = append(out, synthfs.Entry{Name: strconv.Itoa(fd), Type: unix.S_IFLNK, Key: int64(fd)})
	})
	return out, nil
}

// current is the description that a child stands for, as long as the descriptor is open on it.
func (s *procFDs) current(fd int, f *OpenFile) (*OpenFile, error) {
	d := s.table()
	if d == nil {
		return nil, unix.ENOENT
	}
	if e := d.entry(fd); e == nil || e.f != f {
		return nil, unix.ENOENT
	}
	return f, nil
}

// fdLink is /proc/PID/fd/N: a link to the file itself. Its mode shows the access mode.
func (pr *procFS) fdLink(s *procFDs, fd int, f *OpenFile) vfs.Inode {
	mode := uint32(0)
	if f.read {
		mode |= 0o500
	}
	if f.write {
		mode |= 0o300
	}
	return pr.fs.NewMagic(synthfs.Attr{Mode: mode, Size: 64}, func(*vfs.Context) (vfs.Path, error) {
		f, err := s.current(fd, f)
		if err != nil {
			return vfs.Path{}, err
		}
		return f.path, nil
	})
}

// fdInfo is /proc/PID/fdinfo/N.
func (pr *procFS) fdInfo(s *procFDs, fd int, f *OpenFile) vfs.Inode {
	return pr.fs.NewFile(synthfs.Perm(0o444), func(*vfs.Context) ([]byte, error) {
		f, err := s.current(fd, f)
		if err != nil {
			return nil, err
		}
		flags := f.flags
		if s.table().entry(fd).cloexec {
			flags |= unix.O_CLOEXEC
		}
		ino := uint64(0)
		if st, err := f.stat(); err == nil {
			ino = st.Ino
		}
		text := fmt.Sprintf("pos:\t%d\nflags:\t0%o\nmnt_id:\t0\nino:\t%d\n", f.off, flags, ino)
		if i, ok := f.impl.(fdInfoer); ok {
			text += i.fdinfo()
		}
		return []byte(text), nil
	}, nil)
}

// netDir is /proc/PID/net: there are no network devices.
func (pr *procFS) netDir(p *Process) vfs.Inode {
	d := pr.fs.NewDir(ownedBy(p, 0o555), nil)
	d.Add("dev", pr.text(func(*Thread) string {
		return "Inter-|   Receive                                                |  Transmit\n" +
			" face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n"
	}))
	d.Add("unix", pr.text(func(*Thread) string {
		return "Num       RefCount Protocol Flags    Type St Inode Path\n"
	}))
	return d
}
