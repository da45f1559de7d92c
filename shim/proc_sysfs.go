package shim

import (
	"fmt"

	"culvert/shim/vfs"
	"culvert/shim/vfs/synthfs"

	"golang.org/x/sys/unix"
)

// sysfs is the little of /sys that programs look at to count processors and to choose page sizes (sysfs(5)).

// sysDev is the device number of /sys.
const sysDev = 0x51

// mountSys mounts /sys if the tree has an empty place for it.
func (k *Kernel) mountSys() error {
	ns := k.cfg.Namespace
	c := &vfs.Context{Cred: vfs.NewCred(0, 0), Root: ns.Root(), Cwd: ns.Root()}
	if _, err := ns.Walk(c, vfs.Path{}, "/sys", vfs.Directory); err != nil {
		return nil //nolint:nilerr // a root directory without /sys gets none
	}
	pr := &procFS{k: k, fs: synthfs.New(sysDev, unix.SYSFS_MAGIC, procBudget)}
	err := ns.Mount(c, vfs.Path{}, "/sys", vfs.Mount{
		Root: pr.sysRoot(), FSType: "sysfs", Source: "sysfs", Flags: vfs.MountNoSuid | vfs.MountNoDev | vfs.MountNoExec | vfs.MountReadOnly,
	})
	if err != nil {
		return fmt.Errorf("mount /sys: %w", err)
	}
	return nil
}

func (pr *procFS) sysRoot() vfs.Inode {
	dir := func() *synthfs.Dir { return pr.fs.NewDir(synthfs.Perm(0o555), nil) }
	file := func(s string) vfs.Inode { return pr.text(func(*Thread) string { return s + "\n" }) }
	n := pr.k.cfg.NumCPUs
	cpu := dir()
	for i := range n {
		topology := dir().Add("core_id", file(fmt.Sprint(i))).Add("physical_package_id", file("0")).
			Add("thread_siblings_list", file(fmt.Sprint(i))).Add("core_cpus_list", file(fmt.Sprint(i)))
		cpu.Add(fmt.Sprintf("cpu%d", i), dir().Add("online", file("1")).Add("topology", topology))
	}
	for _, name := range []string{"online", "possible", "present"} {
		cpu.Add(name, file(cpuRange(n)))
	}
	cpu.Add("kernel_max", file("31")).Add("offline", file("")).Add("isolated", file(""))
	node := dir().Add("online", file("0")).Add("possible", file("0")).
		Add("node0", dir().Add("cpulist", file(cpuRange(n))))
	thp := dir().Add("enabled", file("always madvise [never]")).Add("hpage_pmd_size", file("2097152")).
		Add("defrag", file("always defer defer+madvise madvise [never]"))
	devices := dir().Add("system", dir().Add("cpu", cpu).Add("node", node))
	kernel := dir().Add("mm", dir().Add("transparent_hugepage", thp))
	return dir().Add("devices", devices).Add("kernel", kernel).Add("fs", dir().Add("cgroup", dir())).
		Add("class", dir().Add("net", dir())).Add("block", dir()).Add("bus", dir())
}
