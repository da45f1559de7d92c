package shim

import (
	"encoding/binary"
	"slices"

	"culvert/shim/vfs"

	"golang.org/x/sys/unix"
)

// credentials are a thread's (credentials(7), capabilities(7)). A value is never changed once a thread holds it, so
// threads share it; the vfs.Cred in it is what the file tree sees.
type credentials struct {
	vfs.Cred                                  // its Caps are the effective set
	suid, sgid                                uint32
	permitted, inheritable, ambient, bounding uint64
	securebits                                uint32
	noNewPrivs                                bool
}

// allCaps has every capability.
const allCaps = 1<<(unix.CAP_LAST_CAP+1) - 1

// Bits of prctl(PR_SET_SECUREBITS) (include/uapi/linux/securebits.h).
const (
	secNoRoot           = 1 << 0
	secNoSetuidFixup    = 1 << 2
	secKeepCaps         = 1 << 4
	secNoCapAmbientUp   = 1 << 6
	secAllBits          = 0x55
	secAllLocks         = secAllBits << 1
	perClearOnSetid     = addrCompatLayout | addrNoRandomize | mmapPageZero | readImpliesExec
	ngroupsMax          = 65536
	linuxCapabilityVer1 = 0x19980330
	linuxCapabilityVer2 = 0x20071026
	linuxCapabilityVer3 = 0x20080522
)

// firstCredentials are those of pid 1.
func firstCredentials(c *vfs.Cred) *credentials {
	n := &credentials{Cred: *c, suid: c.EUID, sgid: c.EGID, permitted: c.Caps, bounding: allCaps}
	n.Groups = slices.Clone(c.Groups)
	return n
}

// clone returns a copy to be changed and then set.
func (c *credentials) clone() *credentials {
	d := *c
	return &d
}

// setCred makes c the thread's credentials (commit_creds).
func (t *Thread) setCred(c *credentials) {
	if old := t.cred; old != nil && (c.EUID != old.EUID || c.EGID != old.EGID || c.FSUID != old.FSUID ||
		c.FSGID != old.FSGID || c.permitted&^old.permitted != 0) {
		t.p.noDump = true
		t.pdeathsig = 0
	}
	t.cred = c
	if t.p.mm != nil {
		t.p.mm.SetLimits(t.p.memoryLimits()) // CAP_IPC_LOCK may have come or gone
	}
	t.publishIDs()
}

// has checks an effective capability.
func (t *Thread) has(c int) bool { return t.cred.Has(c) }

// fixCaps adjusts the capabilities to changed user ids (cap_emulate_setxuid).
func (c *credentials) fixCaps(old *credentials) {
	if c.securebits&secNoSetuidFixup != 0 {
		return
	}
	wasRoot := old.UID == 0 || old.EUID == 0 || old.suid == 0
	isRoot := c.UID == 0 || c.EUID == 0 || c.suid == 0
	if wasRoot && !isRoot {
		if c.securebits&secKeepCaps == 0 {
			c.permitted, c.Caps = 0, 0
		}
		c.ambient = 0
	}
	if old.EUID == 0 && c.EUID != 0 {
		c.Caps = 0
	}
	if old.EUID != 0 && c.EUID == 0 {
		c.Caps = c.permitted
	}
}

// fsCaps are the capabilities that follow the file-system uid (CAP_FS_MASK).
const fsCaps = 1<<unix.CAP_CHOWN | 1<<unix.CAP_MKNOD | 1<<unix.CAP_DAC_OVERRIDE | 1<<unix.CAP_DAC_READ_SEARCH |
	1<<unix.CAP_FOWNER | 1<<unix.CAP_FSETID | 1<<unix.CAP_LINUX_IMMUTABLE | 1<<unix.CAP_MAC_OVERRIDE

// execCaps are the capabilities of a program without file capabilities (cap_bprm_creds_from_file).
func (c *credentials) execCaps() {
	if c.EUID != c.UID || c.EGID != c.GID {
		c.ambient = 0
	}
	permitted := c.ambient
	effective := c.ambient
	if c.securebits&secNoRoot == 0 && (c.EUID == 0 || c.UID == 0) {
		permitted |= c.bounding | c.inheritable
		if c.EUID == 0 {
			effective = permitted
		}
	}
	c.permitted, c.Caps = permitted, effective
	c.securebits &^= secKeepCaps
}

// idChange is a set*id call: it changes c, which is a copy, or fails.
func (t *Thread) changeIDs(change func(c *credentials) error) (uint64, error) {
	c := t.cred.clone()
	if err := change(c); err != nil {
		return 0, err
	}
	c.fixCaps(t.cred)
	t.setCred(c)
	return 0, nil
}

// noID is (uid_t)-1.
const noID = ^uint32(0)

func sysSetuid(t *Thread, a Args) (uint64, error) {
	uid := uint32(a[0])
	return t.changeIDs(func(c *credentials) error {
		switch {
		case uid == noID:
			return unix.EINVAL
		case c.Has(unix.CAP_SETUID):
			c.UID, c.suid = uid, uid
		case uid != c.UID && uid != c.suid:
			return unix.EPERM
		}
		c.EUID, c.FSUID = uid, uid
		return nil
	})
}

func sysSetgid(t *Thread, a Args) (uint64, error) {
	gid := uint32(a[0])
	return t.changeIDs(func(c *credentials) error {
		switch {
		case gid == noID:
			return unix.EINVAL
		case c.Has(unix.CAP_SETGID):
			c.GID, c.sgid = gid, gid
		case gid != c.GID && gid != c.sgid:
			return unix.EPERM
		}
		c.EGID, c.FSGID = gid, gid
		return nil
	})
}

// setRE is setreuid and setregid: r, e and s point at the ids to change.
func setRE(privileged bool, r, e, s, fs *uint32, wantR, wantE uint32) error {
	oldR, oldE, oldS := *r, *e, *s
	if wantR != noID {
		if wantR != oldR && wantR != oldE && !privileged {
			return unix.EPERM
		}
		*r = wantR
	}
	if wantE != noID {
		if wantE != oldR && wantE != oldE && wantE != oldS && !privileged {
			return unix.EPERM
		}
		*e = wantE
	}
	if wantR != noID || wantE != noID && wantE != oldR {
		*s = *e
	}
	*fs = *e
	return nil
}

func sysSetreuid(t *Thread, a Args) (uint64, error) {
	return t.changeIDs(func(c *credentials) error {
		return setRE(c.Has(unix.CAP_SETUID), &c.UID, &c.EUID, &c.suid, &c.FSUID, uint32(a[0]), uint32(a[1]))
	})
}

func sysSetregid(t *Thread, a Args) (uint64, error) {
	return t.changeIDs(func(c *credentials) error {
		return setRE(c.Has(unix.CAP_SETGID), &c.GID, &c.EGID, &c.sgid, &c.FSGID, uint32(a[0]), uint32(a[1]))
	})
}

// setRES is setresuid and setresgid.
func setRES(privileged bool, ids [3]*uint32, fs *uint32, want Args) error {
	old := [3]uint32{*ids[0], *ids[1], *ids[2]}
	for i, p := range ids {
		w := uint32(want[i])
		if w == noID {
			continue
		}
		if !privileged && !slices.Contains(old[:], w) {
			return unix.EPERM
		}
		*p = w
	}
	*fs = *ids[1]
	return nil
}

func sysSetresuid(t *Thread, a Args) (uint64, error) {
	return t.changeIDs(func(c *credentials) error {
		return setRES(c.Has(unix.CAP_SETUID), [3]*uint32{&c.UID, &c.EUID, &c.suid}, &c.FSUID, a)
	})
}

func sysSetresgid(t *Thread, a Args) (uint64, error) {
	return t.changeIDs(func(c *credentials) error {
		return setRES(c.Has(unix.CAP_SETGID), [3]*uint32{&c.GID, &c.EGID, &c.sgid}, &c.FSGID, a)
	})
}

// writeIDs stores three ids at three addresses.
func (t *Thread) writeIDs(a Args, ids ...uint32) (uint64, error) {
	for i, id := range ids {
		if err := t.writeU32(a[i], id); err != nil {
			return 0, err
		}
	}
	return 0, nil
}

func sysGetresuid(t *Thread, a Args) (uint64, error) {
	return t.writeIDs(a, t.cred.UID, t.cred.EUID, t.cred.suid)
}

func sysGetresgid(t *Thread, a Args) (uint64, error) {
	return t.writeIDs(a, t.cred.GID, t.cred.EGID, t.cred.sgid)
}

// sysSetfsuid returns the old id whether or not it changed anything.
func sysSetfsuid(t *Thread, a Args) (uint64, error) {
	old, uid := t.cred.FSUID, uint32(a[0])
	c := t.cred.clone()
	if uid == noID || uid != c.UID && uid != c.EUID && uid != c.suid && uid != c.FSUID && !c.Has(unix.CAP_SETUID) {
		return uint64(old), nil
	}
	c.FSUID = uid
	if c.securebits&secNoSetuidFixup == 0 {
		if old == 0 && uid != 0 {
			c.Caps &^= fsCaps
		}
		if old != 0 && uid == 0 {
			c.Caps |= c.permitted & fsCaps
		}
	}
	t.setCred(c)
	return uint64(old), nil
}

func sysSetfsgid(t *Thread, a Args) (uint64, error) {
	old, gid := t.cred.FSGID, uint32(a[0])
	c := t.cred.clone()
	if gid == noID || gid != c.GID && gid != c.EGID && gid != c.sgid && gid != c.FSGID && !c.Has(unix.CAP_SETGID) {
		return uint64(old), nil
	}
	c.FSGID = gid
	t.setCred(c)
	return uint64(old), nil
}

func sysGetgroups(t *Thread, a Args) (uint64, error) {
	n, have := a.int32(0), t.cred.Groups
	if n < 0 {
		return 0, unix.EINVAL
	}
	if n == 0 {
		return uint64(len(have)), nil
	}
	if int(n) < len(have) {
		return 0, unix.EINVAL
	}
	var b []byte
	for _, g := range have {
		b = binary.LittleEndian.AppendUint32(b, g)
	}
	return uint64(len(have)), t.copyOut(a[1], b)
}

func sysSetgroups(t *Thread, a Args) (uint64, error) {
	n := a.int32(0)
	if !t.has(unix.CAP_SETGID) {
		return 0, unix.EPERM
	}
	if n < 0 || n > ngroupsMax {
		return 0, unix.EINVAL
	}
	b := make([]byte, 4*n)
	if err := t.copyIn(a[1], b); err != nil {
		return 0, err
	}
	c := t.cred.clone()
	c.Groups = make([]uint32, n)
	for i := range c.Groups {
		if c.Groups[i] = binary.LittleEndian.Uint32(b[4*i:]); c.Groups[i] == noID {
			return 0, unix.EINVAL
		}
	}
	slices.Sort(c.Groups)
	t.setCred(c)
	return 0, nil
}

// capHeader reads a cap_user_header_t: how many words the sets have, and whose they are.
func (t *Thread) capHeader(addr uint64, quiet bool) (words int, target *Thread, err error) {
	version, err := t.readU32(addr)
	if err != nil {
		return 0, nil, err
	}
	switch version {
	case linuxCapabilityVer1:
		words = 1
	case linuxCapabilityVer2, linuxCapabilityVer3:
		words = 2
	default:
		if err := t.writeU32(addr, linuxCapabilityVer3); err != nil {
			return 0, nil, err
		}
		if quiet {
			return 0, nil, nil
		}
		return 0, nil, unix.EINVAL
	}
	id, err := t.readU32(addr + 4)
	if err != nil {
		return 0, nil, err
	}
	pid := int32(id)
	target = t
	if pid < 0 {
		return 0, nil, unix.EINVAL
	}
	if pid != 0 {
		if target = t.k.threads[int(pid)]; target == nil {
			return 0, nil, unix.ESRCH
		}
	}
	return words, target, nil
}

func sysCapget(t *Thread, a Args) (uint64, error) {
	words, target, err := t.capHeader(a[0], a[1] == 0)
	if err != nil || words == 0 || a[1] == 0 {
		return 0, err
	}
	c := target.cred
	var b []byte
	for i := range words {
		for _, set := range []uint64{c.Caps, c.permitted, c.inheritable} {
			b = binary.LittleEndian.AppendUint32(b, uint32(set>>(32*i)))
		}
	}
	return 0, t.copyOut(a[1], b)
}

func sysCapset(t *Thread, a Args) (uint64, error) {
	words, target, err := t.capHeader(a[0], false)
	if err != nil {
		return 0, err
	}
	if target != t {
		return 0, unix.EPERM
	}
	b := make([]byte, 12*words)
	if err := t.copyIn(a[1], b); err != nil {
		return 0, err
	}
	var eff, perm, inh uint64
	for i := range words {
		for j, set := range []*uint64{&eff, &perm, &inh} {
			*set |= uint64(binary.LittleEndian.Uint32(b[12*i+4*j:])) << (32 * i)
		}
	}
	eff, perm, inh = eff&allCaps, perm&allCaps, inh&allCaps
	c := t.cred.clone()
	switch {
	case !c.Has(unix.CAP_SETPCAP) && inh&^(c.inheritable|c.permitted) != 0,
		inh&^(c.inheritable|c.bounding) != 0,
		perm&^c.permitted != 0,
		eff&^perm != 0:
		return 0, unix.EPERM
	}
	c.Caps, c.permitted, c.inheritable = eff, perm, inh
	c.ambient &= perm & inh
	t.setCred(c)
	return 0, nil
}
