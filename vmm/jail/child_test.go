package jail

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"

	ll "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"culvert/shim/vfs"
	"culvert/shim/vfs/hostfs"
)

func landlockABI() int {
	abi, err := ll.LandlockGetABIVersion()
	if err != nil {
		return 0
	}
	return abi
}

// world is what a child has when its case runs.
type world struct {
	dir      string
	write    bool
	tree     vfs.Inode         // dir/tree, through hostfs
	early    chan func() error // runs in a locked thread that was there before the jail
	done     chan error
	event    int // an eventfd that nobody writes to
	uid, gid uint32
}

// threads are made before the jail, each waiting in a thread of its own.
const threads = 6

func newWorld() (*world, error) {
	w := &world{dir: os.Getenv(childDir), write: os.Getenv(childMode) == "rw", early: make(chan func() error), done: make(chan error),
		uid: uint32(os.Getuid()), gid: uint32(os.Getgid())}
	pool, err := hostfs.NewPool(64)
	if err != nil {
		return nil, err
	}
	fs, err := hostfs.New(pool, w.dir+"/tree", hostfs.Options{ReadOnly: !w.write})
	if err != nil {
		return nil, err
	}
	w.tree = fs.Root()
	var started sync.WaitGroup
	for range threads {
		started.Add(1)
		go func() {
			runtime.LockOSThread()
			started.Done()
			for f := range w.early {
				w.done <- f()
			}
		}()
	}
	started.Wait()
	w.event, err = unix.Eventfd(0, unix.EFD_CLOEXEC)
	return w, err
}

func (w *world) enter() ([]string, error) {
	return Enter(Config{Paths: []Path{{Host: w.dir + "/tree", Write: w.write}}})
}

// childMain runs a case and prints what came of it.
func childMain(name string) int {
	if special := specials()[name]; special != nil {
		return special()
	}
	w, err := newWorld()
	if err == nil {
		_, err = w.enter()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 3
	}
	for _, c := range cases() {
		if c.name == name {
			if err := c.run(w); err != nil {
				fmt.Print(err)
			} else {
				fmt.Print("ok")
			}
			return 0
		}
	}
	fmt.Fprintf(os.Stderr, "no case %q\n", name)
	return 3
}

// specials are cases that have their own way into the jail.
func specials() map[string]func() int {
	say := func(what []string, err error) int {
		if err != nil {
			fmt.Print(err)
			return 0
		}
		fmt.Print(strings.Join(what, " "))
		return 0
	}
	return map[string]func() int{
		"wait": func() int {
			w, err := newWorld()
			if err != nil {
				return say(nil, err)
			}
			go func() { // a poll with a time limit is there to be restarted
				for {
					_, _ = unix.Poll([]unix.PollFd{{Fd: int32(w.event), Events: unix.POLLIN}}, 15)
				}
			}()
			if _, err := w.enter(); err != nil {
				return say(nil, err)
			}
			os.Stdout.WriteString("in\n")
			if _, err := io.ReadAll(os.Stdin); err != nil {
				return say(nil, err)
			}
			return 0
		},
		"inherited": func() int {
			high, _ := strconv.Atoi(os.Getenv("JAIL_TEST_HIGH"))
			if _, err := unix.FcntlInt(3, unix.F_GETFD, 0); err != nil {
				return say(nil, fmt.Errorf("the test passed nothing on: %w", err))
			}
			if _, err := Enter(Config{}); err != nil {
				return say(nil, err)
			}
			var got []string
			for _, fd := range []int{3, 4, high} {
				_, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
				got = append(got, fmt.Sprint(err))
			}
			return say([]string{strings.Join(got, ", ")}, nil)
		},
		"lacks landlock": func() int {
			if err := deny(unix.SYS_LANDLOCK_CREATE_RULESET, 0, unix.ENOSYS); err != nil {
				return say(nil, err)
			}
			return say(Enter(Config{}))
		},
		"lacks seccomp": func() int {
			if err := deny(unix.SYS_SECCOMP, unix.SECCOMP_GET_ACTION_AVAIL, unix.EINVAL); err != nil {
				return say(nil, err)
			}
			return say(Enter(Config{}))
		},
		"missing path": func() int { return say(Enter(Config{Paths: []Path{{Host: "/no/such/path"}}})) },
		"torn filters": func() int {
			result, hold := make(chan error), make(chan struct{})
			go func() {
				runtime.LockOSThread()
				result <- denyWith(0, unix.SYS_MOUNT, 0, unix.ENOSYS)
				<-hold
			}()
			if err := <-result; err != nil {
				return say(nil, err)
			}
			defer close(hold)
			return say(Enter(Config{}))
		},
		"time": timeEnter,
	}
}

// deny installs a filter that makes a call with that first argument fail, as on a kernel without it.
func deny(nr, arg uint32, errno unix.Errno) error {
	return denyWith(unix.SECCOMP_FILTER_FLAG_TSYNC, nr, arg, errno)
}

func denyWith(flags uintptr, nr, arg uint32, errno unix.Errno) error {
	prog, err := bpf.Assemble([]bpf.Instruction{
		bpf.LoadAbsolute{Off: offNr, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: nr, SkipFalse: 3},
		bpf.LoadAbsolute{Off: offArgs, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: arg, SkipFalse: 1},
		bpf.RetConstant{Val: unix.SECCOMP_RET_ERRNO | uint32(errno)},
		bpf.RetConstant{Val: unix.SECCOMP_RET_ALLOW},
	})
	if err != nil {
		return err
	}
	return install(prog, flags)
}

// timeEnter prints in microseconds what the jail costs, and what calls cost in it: getpid is decided by the kernel's
// bitmap, ioctl by the program.
func timeEnter() int {
	w, err := newWorld()
	if err != nil {
		fmt.Print(err)
		return 0
	}
	const calls = 20000
	measure := func(nr, a, b uintptr) float64 {
		best := time.Hour
		for range 5 {
			start := time.Now()
			for range calls {
				_, _, _ = unix.RawSyscall(nr, a, b, 0)
			}
			best = min(best, time.Since(start))
		}
		return float64(best.Nanoseconds()) / calls
	}
	const badFD = ^uintptr(0)
	pid, ioctl := measure(unix.SYS_GETPID, 0, 0), measure(unix.SYS_IOCTL, badFD, kvmRun)
	c := Config{Paths: []Path{{Host: w.dir + "/tree", Write: w.write}}}
	for _, p := range []string{"/usr", "/proc/cpuinfo", "/etc/passwd", "/etc/group", "/etc/hosts", "/etc/ssl", "/etc/alternatives"} {
		if _, err := os.Stat(p); err == nil {
			c.Paths = append(c.Paths, Path{Host: p})
		}
	}
	start := time.Now()
	for _, s := range steps() {
		if _, err := s.do(c); err != nil {
			fmt.Print(err)
			return 0
		}
		now := time.Now()
		fmt.Printf("%s-us=%.1f ", strings.ReplaceAll(s.name, " ", "-"), float64(now.Sub(start).Nanoseconds())/1e3)
		start = now
	}
	fmt.Printf("getpid-before-ns=%.0f getpid-ns=%.0f ioctl-before-ns=%.0f ioctl-ns=%.0f", pid, measure(unix.SYS_GETPID, 0, 0),
		ioctl, measure(unix.SYS_IOCTL, badFD, kvmRun))
	return 0
}

// load makes threads come and go, collects garbage, and uses timers and signals, as a busy VMM does.
func load(*world) error {
	var wg sync.WaitGroup
	ch := make(chan os.Signal, 64)
	signal.Notify(ch, unix.SIGUSR1, unix.SIGWINCH)
	defer signal.Stop(ch)
	signal.Ignore(unix.SIGPIPE)
	var fired sync.WaitGroup
	fired.Add(8)
	for range 8 {
		time.AfterFunc(time.Millisecond, fired.Done)
	}
	for range 40 {
		wg.Go(func() {
			runtime.LockOSThread() // the thread ends with the goroutine
			keep := make([][]byte, 0, 64)
			for i := range 64 {
				keep = append(keep, make([]byte, 64<<10+i))
			}
			time.Sleep(time.Millisecond)
			runtime.KeepAlive(keep)
		})
	}
	for range 4 { // preempted by signals of the runtime
		wg.Go(func() {
			for start := time.Now(); time.Since(start) < 50*time.Millisecond; {
			}
		})
	}
	for range 5 {
		runtime.GC()
		debug.FreeOSMemory()
		runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + 1)
	}
	wg.Wait()
	fired.Wait()
	if err := unix.Kill(unix.Getpid(), unix.SIGUSR1); err != nil {
		return err
	}
	select {
	case <-ch:
	case <-time.After(10 * time.Second):
		return errors.New("the signal did not come")
	}
	return nil
}

// killedBySIGSYS is how a call outside the list ends.
const killedBySIGSYS = "bad system call"
