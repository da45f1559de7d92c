package shim

import (
	"golang.org/x/sys/unix"
)

// identityCalls are the rows of the calls on user and group ids, capabilities, process groups and sessions.
func identityCalls() []Syscall {
	return []Syscall{
		{unix.SYS_GETPID, "getpid", sysGetpid, Full, "", "constant"},
		{unix.SYS_GETTID, "gettid", sysGettid, Full, "", "constant"},
		{unix.SYS_GETPPID, "getppid", sysGetppid, Full, "", "constant"},
		{unix.SYS_GETUID, "getuid", sysGetuid, Full, "", "constant"},
		{unix.SYS_GETEUID, "geteuid", sysGeteuid, Full, "", "constant"},
		{unix.SYS_GETGID, "getgid", sysGetgid, Full, "", "constant"},
		{unix.SYS_GETEGID, "getegid", sysGetegid, Full, "", "constant"},
		{unix.SYS_SETUID, "setuid", sysSetuid, Full, "", "constant"},
		{unix.SYS_SETGID, "setgid", sysSetgid, Full, "", "constant"},
		{unix.SYS_SETREUID, "setreuid", sysSetreuid, Full, "", "constant"},
		{unix.SYS_SETREGID, "setregid", sysSetregid, Full, "", "constant"},
		{unix.SYS_SETRESUID, "setresuid", sysSetresuid, Full, "", "constant"},
		{unix.SYS_SETRESGID, "setresgid", sysSetresgid, Full, "", "constant"},
		{unix.SYS_GETRESUID, "getresuid", sysGetresuid, Full, "", "constant"},
		{unix.SYS_GETRESGID, "getresgid", sysGetresgid, Full, "", "constant"},
		{unix.SYS_SETFSUID, "setfsuid", sysSetfsuid, Full, "", "constant"},
		{unix.SYS_SETFSGID, "setfsgid", sysSetfsgid, Full, "", "constant"},
		{unix.SYS_GETGROUPS, "getgroups", sysGetgroups, Full, "", "65536 groups"},
		{unix.SYS_SETGROUPS, "setgroups", sysSetgroups, Full, "", "65536 groups"},
		{unix.SYS_CAPGET, "capget", sysCapget, Full, "", "constant"},
		{unix.SYS_CAPSET, "capset", sysCapset, Full, "", "constant"},
		{unix.SYS_SETPGID, "setpgid", sysSetpgid, Full, "", "processes"},
		{unix.SYS_GETPGID, "getpgid", sysGetpgid, Full, "", "constant"},
		{unix.SYS_GETPGRP, "getpgrp", sysGetpgrp, Full, "", "constant"},
		{unix.SYS_SETSID, "setsid", sysSetsid, Full, "", "processes"},
		{unix.SYS_GETSID, "getsid", sysGetsid, Full, "", "constant"},
	}
}

func sysGetpid(t *Thread, _ Args) (uint64, error)  { return uint64(t.p.pid), nil }
func sysGettid(t *Thread, _ Args) (uint64, error)  { return uint64(t.tid), nil }
func sysGetuid(t *Thread, _ Args) (uint64, error)  { return uint64(t.cred.UID), nil }
func sysGeteuid(t *Thread, _ Args) (uint64, error) { return uint64(t.cred.EUID), nil }
func sysGetgid(t *Thread, _ Args) (uint64, error)  { return uint64(t.cred.GID), nil }
func sysGetegid(t *Thread, _ Args) (uint64, error) { return uint64(t.cred.EGID), nil }

func sysGetppid(t *Thread, _ Args) (uint64, error) {
	if t.p.parent == nil {
		return 0, nil
	}
	return uint64(t.p.parent.pid), nil
}

func sysSetpgid(t *Thread, a Args) (uint64, error) {
	pid, pgid := int(a.int32(0)), int(a.int32(1))
	if pid == 0 {
		pid = t.p.pid
	}
	if pgid == 0 {
		pgid = pid
	}
	if pgid < 0 {
		return 0, unix.EINVAL
	}
	p := t.k.processes[pid]
	if p == nil {
		return 0, unix.ESRCH
	}
	switch {
	case p != t.p && p.parent != t.p:
		return 0, unix.ESRCH
	case p.group == nil:
		return 0, unix.ESRCH
	case p != t.p && p.group.session != t.p.group.session:
		return 0, unix.EPERM
	case p != t.p && p.didExec:
		return 0, unix.EACCES
	case p.group.session.id == p.pid:
		return 0, unix.EPERM // a session leader
	}
	g := t.k.groups[pgid]
	switch {
	case g == nil && pgid != pid:
		return 0, unix.EPERM
	case g == nil:
		g = p.newGroup(p.group.session)
	case g.session != t.p.group.session:
		return 0, unix.EPERM
	}
	if p.group != g {
		p.joinGroup(g)
	}
	return 0, nil
}

// groupOf returns the process with a pid, 0 being the caller, for getpgid and getsid.
func (t *Thread) groupOf(pid int32) (*ProcessGroup, error) {
	p := t.p
	if pid != 0 {
		p = t.k.processOfTID(pid)
	}
	if p == nil || p.group == nil {
		return nil, unix.ESRCH
	}
	return p.group, nil
}

func sysGetpgid(t *Thread, a Args) (uint64, error) {
	g, err := t.groupOf(a.int32(0))
	if err != nil {
		return 0, err
	}
	return uint64(g.id), nil
}

func sysGetpgrp(t *Thread, _ Args) (uint64, error) { return uint64(t.p.group.id), nil }

func sysGetsid(t *Thread, a Args) (uint64, error) {
	g, err := t.groupOf(a.int32(0))
	if err != nil {
		return 0, err
	}
	return uint64(g.session.id), nil
}

func sysSetsid(t *Thread, _ Args) (uint64, error) {
	if t.k.groups[t.p.pid] != nil || t.p.group.session.id == t.p.pid {
		return 0, unix.EPERM
	}
	t.p.newSession()
	return uint64(t.p.pid), nil
}
