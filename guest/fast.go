package guest

// The calls that ring 0 serves alone. Each returns false to forward the call.

//go:nosplit
func sysGetpid(_ *PerCPU, t *Thread) bool { t.RAX = t.TGID; return true }

//go:nosplit
func sysGettid(_ *PerCPU, t *Thread) bool { t.RAX = t.TID; return true }

//go:nosplit
func sysGetppid(_ *PerCPU, t *Thread) bool { t.RAX = load(&t.PPID); return true }

//go:nosplit
func sysGetuid(_ *PerCPU, t *Thread) bool { t.RAX = t.UID; return true }

//go:nosplit
func sysGeteuid(_ *PerCPU, t *Thread) bool { t.RAX = t.EUID; return true }

//go:nosplit
func sysGetgid(_ *PerCPU, t *Thread) bool { t.RAX = t.GID; return true }

//go:nosplit
func sysGetegid(_ *PerCPU, t *Thread) bool { t.RAX = t.EGID; return true }

// sysSchedYield lets another ready thread run.
//
//go:nosplit
func sysSchedYield(p *PerCPU, t *Thread) bool {
	t.RAX = 0
	if anyReady(p) {
		yield(p, t)
	}
	return true
}
