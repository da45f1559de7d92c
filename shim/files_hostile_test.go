package shim

import (
	"math/rand/v2"
	"testing"
	"time"

	"culvert/shim/abi"

	"golang.org/x/sys/unix"
)

// TestHostileArguments calls every file call with arguments that no program means: the shim answers with an error or
// a result, and neither panics nor hangs. A call that waits is ended by a signal.
func TestHostileArguments(t *testing.T) {
	rounds := 60
	if testing.Short() {
		rounds = 8
	}
	vm := newFileVM(t)
	rng := rand.New(rand.NewPCG(42, 1))
	var child *Thread
	respawn := func() {
		child = vm.fork(0)
		vm.in(func() {
			for _, n := range []unix.Signal{unix.SIGPIPE, unix.SIGXFSZ} {
				child.p.actions.put(int(n), sigAction{handler: SIG_IGN})
			}
		})
	}
	// Descriptors of every kind at 0 to about 20, in all children.
	vm.pipe(0)
	vm.open("/tmp/file", unix.O_RDWR|unix.O_CREAT, 0o600)
	vm.open("/tmp", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	vm.open("/etc/passwd", unix.O_PATH, 0)
	vm.open("/dev/zero", unix.O_RDWR, 0)
	vm.open("/proc/self/status", unix.O_RDONLY, 0)
	vm.open("/proc/self/fd", unix.O_RDONLY, 0)
	vm.must(unix.SYS_EPOLL_CREATE1, 0)
	vm.must(unix.SYS_EVENTFD2, 1, 0)
	vm.must(unix.SYS_TIMERFD_CREATE, unix.CLOCK_MONOTONIC, 0)
	vm.must(unix.SYS_SIGNALFD4, ^uint64(0), vm.put(make([]byte, 8)), 8, 0)
	vm.must(unix.SYS_MEMFD_CREATE, vm.str("m"), unix.MFD_ALLOW_SEALING)
	for _, typ := range []uint64{unix.SOCK_STREAM, unix.SOCK_DGRAM, unix.SOCK_SEQPACKET} {
		vm.must(unix.SYS_SOCKETPAIR, unix.AF_UNIX, typ, 0, vm.alloc(8))
	}
	vm.must(unix.SYS_SOCKET, unix.AF_UNIX, unix.SOCK_STREAM, 0)
	good := vm.alloc(1 << 16)
	paths := []uint64{vm.str("/tmp/file"), vm.str("/tmp"), vm.str(""), vm.str("x"), vm.str("/proc/self/fd/3"), vm.str("/tmp/new")}
	pool := func() uint64 {
		switch rng.IntN(12) {
		case 0, 1, 2:
			return rng.Uint64N(22)
		case 3, 4:
			return good + rng.Uint64N(1<<16)
		case 5:
			return paths[rng.IntN(len(paths))]
		case 6:
			return uint64(abi.UserEnd) - rng.Uint64N(64)
		case 7:
			return 1<<63 | rng.Uint64()
		case 8:
			return -rng.Uint64N(300)
		case 9:
			return 1 << rng.Uint64N(64)
		case 10:
			return vm.base + userArea - rng.Uint64N(32)
		}
		return rng.Uint64()
	}
	respawn()
	for range rounds {
		for _, row := range fileCalls() {
			var args [6]uint64
			for i := range args {
				args[i] = pool()
			}
			p := vm.start(child, uintptr(row.Nr), args[:]...)
			for start := time.Now(); p.blocked(); time.Sleep(50 * time.Microsecond) {
				if time.Since(start) > time.Millisecond {
					vm.in(func() { vm.k.send(child.p, nil, sigUser(unix.SIGKILL, vm.t)) })
				}
				if time.Since(start) > 10*time.Second {
					t.Fatalf("%s%x hangs and does not die", row.Name, args)
				}
			}
			var gone bool
			vm.in(func() { gone = child.killed || child.exited })
			if gone || rng.IntN(50) == 0 {
				vm.end(child)
				respawn()
			}
		}
	}
	if st := vm.k.Status(); st.Err != nil {
		t.Fatal(st.Err)
	}
	vm.end(child)
	vm.checkClosed()
}
