// Package kernel gets the Linux kernel that an emulated machine runs: Debian's
// own package, downloaded by apt, reduced to what is booted and kept in a cache.
// Nothing here needs root.
//
// The cache directory has one entry per recipe, made under a lock in a
// temporary directory and renamed into place when it is complete:
//
//	lock            flock(2)ed while an entry is looked for or made
//	kernel-N/
//	  vmlinux       ELF with a PVH entry
//	  NAME.ko       the modules, uncompressed, unsigned
//	  kernel.json   release, tick rate, order of the modules
package kernel

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// recipe is part of the entry's name. A change of what an entry holds, or how
// it is made, needs another number.
const recipe = 1

// metaPackage depends on Debian's current kernel image for amd64. The -cloud
// flavour is smaller but has no 9p.
const metaPackage = "linux-image-amd64"

// wanted are the modules that the inside of a machine inserts, in this order,
// each after its dependencies. The console's port comes first, so that the
// inside can speak early.
func wanted() []string {
	return []string{"virtio_mmio", "virtio_console", "9pnet_virtio", "9p", "overlay", "kvm_amd"}
}

// Kernel is a complete entry of the cache.
type Kernel struct {
	Dir     string `json:"-"`
	Release string
	HZ      int
	Modules []string // file names in Dir, in the order to insert them
}

// Vmlinux is the path of the kernel's ELF file.
func (k *Kernel) Vmlinux() string { return filepath.Join(k.Dir, "vmlinux") }

// Get returns the kernel in cache, which it makes first if need be; then it
// writes a line to progress, since that takes a while.
func Get(ctx context.Context, cache string, progress io.Writer) (*Kernel, error) {
	dir := filepath.Join(cache, fmt.Sprintf("kernel-%d", recipe))
	if k, err := open(dir); err == nil {
		return k, nil // complete entries never change
	}
	if err := os.MkdirAll(cache, 0o700); err != nil {
		return nil, fmt.Errorf("kernel cache: %w", err)
	}
	unlock, err := Lock(ctx, filepath.Join(cache, "lock"))
	if err != nil {
		return nil, fmt.Errorf("kernel cache: %w", err)
	}
	defer unlock()
	if k, err := open(dir); err == nil {
		return k, nil // somebody else made it while this waited
	}
	if old, err := filepath.Glob(filepath.Join(cache, "tmp-*")); err == nil {
		for _, dir := range old { // of one that was killed: the lock is ours
			_ = os.RemoveAll(dir)
		}
	}
	tmp, err := os.MkdirTemp(cache, "tmp-")
	if err != nil {
		return nil, fmt.Errorf("kernel cache: %w", err)
	}
	defer os.RemoveAll(tmp)
	deb, err := download(ctx, tmp, progress)
	if err != nil {
		return nil, err
	}
	if err := make1(ctx, deb, tmp); err != nil {
		return nil, fmt.Errorf("kernel package %s: %w", filepath.Base(deb), err)
	}
	_ = os.RemoveAll(dir) // an entry that open refused
	if err := os.Rename(filepath.Join(tmp, "entry"), dir); err != nil {
		return nil, fmt.Errorf("kernel cache: %w", err)
	}
	return open(dir)
}

// Lock takes an exclusive lock on the file at path, which it creates. It waits
// until ctx ends. The lock also ends with the process.
func Lock(ctx context.Context, path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	got := make(chan error, 1)
	go func() {
		for {
			if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != unix.EINTR {
				got <- err
				return
			}
		}
	}()
	select {
	case err := <-got:
		if err != nil {
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		return func() { f.Close() }, nil
	case <-ctx.Done():
		go func() { <-got; f.Close() }() // flock cannot be called off; give it back when it comes
		return nil, fmt.Errorf("lock %s: %w", path, ctx.Err())
	}
}

func open(dir string) (*Kernel, error) {
	b, err := os.ReadFile(filepath.Join(dir, "kernel.json"))
	if err != nil {
		return nil, err
	}
	k := Kernel{Dir: dir}
	if err := json.Unmarshal(b, &k); err != nil {
		return nil, fmt.Errorf("%s/kernel.json: %w", dir, err)
	}
	for _, m := range append([]string{"vmlinux"}, k.Modules...) {
		if m != filepath.Base(m) {
			return nil, fmt.Errorf("%s/kernel.json: bad name %q", dir, m)
		}
		if _, err := os.Stat(filepath.Join(dir, m)); err != nil {
			return nil, err
		}
	}
	return &k, nil
}

// download gets the package into dir with apt, which checks its signature.
func download(ctx context.Context, dir string, progress io.Writer) (string, error) {
	out, err := run(ctx, dir, "apt-cache", "depends", "--important", metaPackage)
	if err != nil {
		return "", fmt.Errorf("find the kernel package: %w", err)
	}
	pkg := regexp.MustCompile(`Depends: (linux-image-\S+)`).FindSubmatch(out)
	if pkg == nil {
		return "", fmt.Errorf("apt knows no %s: run apt-get update (Debian's kernel is needed)", metaPackage)
	}
	fmt.Fprintf(progress, "culvert: downloading %s, once\n", pkg[1])
	// The sandbox user _apt could not write into a private directory.
	if _, err := run(ctx, dir, "apt-get", "download", "-qq", "-o", "APT::Sandbox::User=root", string(pkg[1])); err != nil {
		return "", fmt.Errorf("download the kernel package: %w (perhaps apt-get update is needed)", err)
	}
	debs, err := filepath.Glob(filepath.Join(dir, "*.deb"))
	if err != nil || len(debs) != 1 {
		return "", fmt.Errorf("apt-get download %s left %d packages, want 1", pkg[1], len(debs))
	}
	return debs[0], nil
}

// make1 unpacks the package and makes tmp/entry from it.
func make1(ctx context.Context, deb, tmp string) error {
	tree := filepath.Join(tmp, "tree")
	if _, err := run(ctx, tmp, "dpkg-deb", "-x", deb, tree); err != nil {
		return err
	}
	entry := filepath.Join(tmp, "entry")
	if err := os.Mkdir(entry, 0o700); err != nil {
		return err
	}
	return Reduce(ctx, tree, entry)
}

// Reduce makes the entry's files from an unpacked package.
func Reduce(ctx context.Context, tree, entry string) error {
	images, err := filepath.Glob(filepath.Join(tree, "boot", "vmlinuz-*"))
	if err != nil || len(images) != 1 {
		return fmt.Errorf("%d kernel images, want 1", len(images))
	}
	k := Kernel{Release: strings.TrimPrefix(filepath.Base(images[0]), "vmlinuz-")}
	k.HZ = tickRate(filepath.Join(tree, "boot", "config-"+k.Release))
	bz, err := os.ReadFile(images[0])
	if err != nil {
		return err
	}
	vmlinux, err := Vmlinux(ctx, bz)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(entry, "vmlinux"), vmlinux, 0o600); err != nil {
		return err
	}
	// Debian 13 and later have /usr/lib.
	for _, lib := range []string{"lib", "usr/lib"} {
		mods := filepath.Join(tree, lib, "modules", k.Release)
		if _, err := os.Stat(mods); err != nil {
			continue
		}
		if k.Modules, err = copyModules(ctx, mods, entry); err != nil {
			return err
		}
	}
	if k.Modules == nil {
		return fmt.Errorf("no modules for %s", k.Release)
	}
	b, err := json.MarshalIndent(k, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(entry, "kernel.json"), b, 0o600)
}

// copyModules puts the wanted modules and what they need into entry.
func copyModules(ctx context.Context, mods, entry string) ([]string, error) {
	files := map[string]string{} // canonical name to path
	err := filepath.WalkDir(filepath.Join(mods, "kernel"), func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name, _, ok := strings.Cut(d.Name(), ".ko"); ok && d.Type().IsRegular() {
			files[Canonical(name)] = path
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	list, err := os.ReadFile(filepath.Join(mods, "modules.builtin"))
	if err != nil {
		return nil, err
	}
	builtin := map[string]bool{}
	for _, line := range strings.Fields(string(list)) {
		builtin[Canonical(strings.TrimSuffix(filepath.Base(line), ".ko"))] = true
	}
	order, err := Order(wanted(), func(name string) ([]string, bool, error) {
		if builtin[name] {
			return nil, true, nil
		}
		if files[name] == "" {
			return nil, false, fmt.Errorf("no module %s", name)
		}
		ko, err := os.ReadFile(files[name])
		if err != nil {
			return nil, false, err
		}
		if ko, err = decompress(ctx, "module "+name, ko); err != nil {
			return nil, false, err
		}
		deps, err := Depends(ko)
		if err != nil {
			return nil, false, fmt.Errorf("%s: %w", files[name], err)
		}
		return deps, false, os.WriteFile(filepath.Join(entry, name+".ko"), HideBTF(StripSignature(ko)), 0o600)
	})
	for i := range order {
		order[i] += ".ko"
	}
	return order, err
}

// tickRate reads CONFIG_HZ; Debian's kernels have 250.
func tickRate(config string) int {
	const debian = 250
	b, err := os.ReadFile(config)
	if err != nil {
		return debian
	}
	m := regexp.MustCompile(`(?m)^CONFIG_HZ=(\d+)$`).FindSubmatch(b)
	if m == nil {
		return debian
	}
	hz, err := strconv.Atoi(string(m[1]))
	if err != nil || hz <= 0 {
		return debian
	}
	return hz
}

// run runs a tool in dir and returns its stdout; its stderr goes into the error.
func run(ctx context.Context, dir, name string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	var out, msg bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &msg
	err := cmd.Run()
	if errors.Is(err, exec.ErrNotFound) {
		return nil, fmt.Errorf("%s is missing: the kernel comes from Debian's packages (apt and dpkg)", name)
	}
	if err != nil {
		text := strings.ReplaceAll(strings.TrimSpace(msg.String()), "\n", "; ")
		return nil, fmt.Errorf("%s: %w: %s", name, err, text)
	}
	return out.Bytes(), nil
}
