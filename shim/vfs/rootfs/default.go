package rootfs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"culvert/shim/vfs"
	"culvert/shim/vfs/hostfs"
	"culvert/shim/vfs/memfs"
)

// The default root, as data. Directories come before what is in them.
var (
	// hostDirs are shown as on the host: as a directory or as the link it is.
	hostDirs = [...]string{"usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32"}

	// hostEtc are paths below the host's /etc, the first component a pattern, for what programs in /usr look
	// for there and what holds no secrets: the loader's cache, alternatives,
	// certificates (not /etc/ssl/private), language run-times' settings.
	hostEtc = [...]string{
		"ld.so.cache", "ld.so.conf", "ld.so.conf.d", "alternatives",
		"ssl/certs", "ssl/openssl.cnf", "pki/tls/certs", "pki/ca-trust/extracted",
		"localtime", "os-release", "debian_version", "services", "protocols",
		"mime.types", "magic", "terminfo", "perl", "python[23]*", "java-*",
	}

	emptyDirs = [...]struct {
		name string
		mode uint32
	}{
		{"etc", 0o755}, {"proc", 0o555}, {"sys", 0o555}, {"dev", 0o755}, {"tmp", 0o1777},
		{"home", 0o755}, {"root", 0o700}, {"opt", 0o755}, {"srv", 0o755}, {"mnt", 0o755},
		{"media", 0o755}, {"run", 0o755}, {"run/lock", 0o1777}, {"var", 0o755},
		{"var/tmp", 0o1777}, {"var/log", 0o755}, {"var/cache", 0o755}, {"var/lib", 0o755},
		{"var/spool", 0o755},
	}

	links = [...]struct{ name, target string }{
		{"var/run", "/run"},
		{"var/lock", "/run/lock"},
		{"etc/mtab", "/proc/self/mounts"},
	}

	etcFiles = [...]struct{ name, text string }{
		{"passwd", "root:x:0:0:root:/root:/bin/sh\n" +
			"daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin\n" +
			"nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"},
		{"group", "root:x:0:\ndaemon:x:1:\ntty:x:5:\nusers:x:100:\nnogroup:x:65534:\n"},
		{"hosts", "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"},
		{"resolv.conf", ""},
		{"nsswitch.conf", "passwd: files\ngroup: files\nshadow: files\nhosts: files\n" +
			"networks: files\nprotocols: files\nservices: files\n"},
		{"profile", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\nexport PATH\n"},
		{"shells", "/bin/sh\n/bin/bash\n/bin/dash\n"},
	}
)

// lowerLimit bounds the composed tree, which the guest never writes to: it is
// there to catch a mistake.
const (
	lowerBytes  = 4 << 20
	lowerInodes = 4096
)

// builder composes the default root's lower tree: directories in memory, in
// which the host's trees are bound.
type builder struct {
	r    *Root
	fs   *memfs.FS
	c    *vfs.Context
	dirs map[string]*memfs.Inode
}

func (r *Root) defaultLower(hostname string) (vfs.Inode, error) {
	q := memfs.NewQuota(lowerBytes, lowerInodes)
	mem, err := memfs.New(memfs.Options{Quota: q, Dev: unix.Mkdev(0, devLower), Mode: 0o755})
	if err != nil {
		return nil, fmt.Errorf("rootfs: default root: %w", err)
	}
	b := &builder{
		r:    r,
		fs:   mem,
		c:    &vfs.Context{Cred: vfs.NewCred(0, 0)},
		dirs: map[string]*memfs.Inode{".": mem.Root()},
	}
	for _, step := range []func() error{
		b.makeDirs,
		b.bindHost,
		func() error { return b.makeFiles(hostname) },
	} {
		if err := step(); err != nil {
			return nil, fmt.Errorf("rootfs: default root: %w", err)
		}
	}
	return mem.Root(), nil
}

func (b *builder) makeDirs() error {
	for _, d := range emptyDirs {
		if err := b.mkdir(d.name, d.mode); err != nil {
			return err
		}
	}
	for _, l := range links {
		if err := b.symlink(l.name, l.target); err != nil {
			return err
		}
	}
	return nil
}

// mkdir makes a directory, and those above it with mode 0755.
func (b *builder) mkdir(name string, mode uint32) error {
	if b.dirs[name] != nil {
		return nil
	}
	if err := b.mkdir(path.Dir(name), 0o755); err != nil {
		return err
	}
	n, err := b.dirs[path.Dir(name)].Mkdir(b.c, path.Base(name), vfs.CreateAttr{Mode: unix.S_IFDIR | mode})
	if err != nil {
		return fmt.Errorf("make %s: %w", name, err)
	}
	b.dirs[name] = n.(*memfs.Inode)
	return nil
}

func (b *builder) symlink(name, target string) error {
	_, err := b.dirs[path.Dir(name)].Symlink(b.c, path.Base(name), target, vfs.CreateAttr{Mode: unix.S_IFLNK | 0o777})
	if err != nil {
		return fmt.Errorf("link %s: %w", name, err)
	}
	return nil
}

// bindHost shows the host's trees.
func (b *builder) bindHost() error {
	for _, d := range hostDirs {
		if err := b.bind(d); err != nil {
			return err
		}
	}
	etc, err := os.Open("/etc")
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer etc.Close()
	names, err := etc.Readdirnames(-1)
	if err != nil {
		return err
	}
	for _, name := range names {
		for _, pattern := range hostEtc {
			first, rest, _ := strings.Cut(pattern, "/")
			ok, err := path.Match(first, name)
			if err != nil {
				return fmt.Errorf("pattern %s: %w", pattern, err)
			}
			if !ok {
				continue
			}
			if err := b.bind(path.Join("etc", name, rest)); err != nil {
				return err
			}
		}
	}
	return nil
}

// bind shows a path of the host at the same path: a link as the link it is,
// anything else read-only. What the host does not have, the guest has not; what
// the VMM's user may not see is left out too.
func (b *builder) bind(name string) error {
	host := "/" + name
	fi, err := os.Lstat(host)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := b.mkdir(path.Dir(name), 0o755); err != nil {
		return err
	}
	if fi.Mode()&fs.ModeSymlink != 0 {
		target, err := os.Readlink(host)
		if err != nil {
			return err
		}
		return b.symlink(name, target)
	}
	n, err := b.r.host(host, hostfs.Options{ReadOnly: true, Static: true})
	if err != nil {
		return err
	}
	b.dirs[path.Dir(name)].Bind(path.Base(name), n)
	return nil
}

// makeFiles writes the synthesised part of /etc.
func (b *builder) makeFiles(hostname string) error {
	if hostname == "" {
		hostname = "culvert"
	}
	write := func(name, text string) error {
		n, err := b.dirs["etc"].Create(b.c, name, vfs.CreateAttr{Mode: unix.S_IFREG | 0o644})
		if err != nil {
			return fmt.Errorf("make /etc/%s: %w", name, err)
		}
		f, err := n.Open(b.c, unix.O_WRONLY)
		if err != nil {
			return fmt.Errorf("open /etc/%s: %w", name, err)
		}
		defer f.Release()
		if _, err := f.WriteAt([]byte(text), 0); err != nil {
			return fmt.Errorf("write /etc/%s: %w", name, err)
		}
		return nil
	}
	for _, f := range etcFiles {
		if err := write(f.name, f.text); err != nil {
			return err
		}
	}
	return write("hostname", hostname+"\n")
}
