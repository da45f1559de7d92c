package guest

import (
	"cmp"
	"fmt"
	"maps"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"unsafe"

	"culvert/epoll"
	"culvert/guest/futex"
	"culvert/guest/signals"
	"culvert/pipes"
	"culvert/pipes/eventfd"
	"culvert/pipes/link"
	"culvert/shim/abi"
)

// This file runs on the host only: it finds the guest kernel's code in the running binary.

// Code holds the addresses, in this process, of everything that boot puts into tables and registers.
type Code struct {
	// Assembly, in the order of codeAddrs.
	SysEntry, StartCPU, PanicCPU                                                 uintptr
	Copy, LoadUser, Out, Save, SetCR3, Invlpg, RDTSC, Pause                      uintptr
	Gate0, Gate1, Gate2, Gate3, Gate4, Gate5, Gate6, Gate7, Gate8                uintptr
	Gate10, Gate11, Gate12, Gate13, Gate14, Gate16, Gate17, Gate18, Gate19, Kick uintptr
	// Compiled functions.
	OnSyscall, OnTrap, OnStart, OnPanic uintptr
}

const numAddrs = 30

func codeAddrs(p *[numAddrs]uintptr)

// The assembly's symbols, declared so that vet knows them. They are never called from Go.
func sysEntry()
func startCPU()
func panicCPU()
func resume()
func gate()
func gateDie()
func die()
func copied()
func repMovs()
func smallMovs()
func probe8()
func copyMem()
func loadUser()
func outPort()
func save()
func setCR3()
func invlpg()
func rdtsc()
func pause()
func gate0()
func gate1()
func gate2()
func gate3()
func gate4()
func gate5()
func gate6()
func gate7()
func gate8()
func gate10()
func gate11()
func gate12()
func gate13()
func gate14()
func gate16()
func gate17()
func gate18()
func gate19()
func gate32()

// codePC returns the address of a function's code: a func value points to a word that holds it.
func codePC[F any](f F) uintptr { return **(**uintptr)(unsafe.Pointer(&f)) }

// Addresses returns the code addresses of this binary.
func Addresses() Code {
	var c Code
	codeAddrs((*[numAddrs]uintptr)(unsafe.Pointer(&c)))
	c.OnSyscall = codePC(onSyscall)
	c.OnTrap = codePC(onTrap)
	c.OnStart = codePC(onStart)
	c.OnPanic = codePC(onPanic)
	return c
}

// Gates returns the handler of each vector that has one.
func (c *Code) Gates() map[int]uintptr {
	return map[int]uintptr{
		0: c.Gate0, 1: c.Gate1, 2: c.Gate2, 3: c.Gate3, 4: c.Gate4, 5: c.Gate5, 6: c.Gate6, 7: c.Gate7, 8: c.Gate8,
		10: c.Gate10, 11: c.Gate11, 12: c.Gate12, 13: c.Gate13, 14: c.Gate14, 16: c.Gate16, 17: c.Gate17,
		18: c.Gate18, 19: c.Gate19, abi.VecKick: c.Kick,
	}
}

// Helpers returns the code of PerCPU's func values, in their order.
func (c *Code) Helpers() [NumHelpers]uintptr {
	return [NumHelpers]uintptr{c.Copy, c.LoadUser, c.Out, c.Save, c.SetCR3, c.Invlpg, c.RDTSC, c.Pause}
}

// FastCalls returns the code that serves system calls in ring 0, by number.
func FastCalls() map[int]uintptr {
	return map[int]uintptr{
		abi.SYS_READ:          codePC(sysReadWrite),
		abi.SYS_WRITE:         codePC(sysReadWrite),
		abi.SYS_CLOSE:         codePC(sysClose),
		abi.SYS_READV:         codePC(sysReadv),
		abi.SYS_WRITEV:        codePC(sysWritev),
		abi.SYS_SCHED_YIELD:   codePC(sysSchedYield),
		abi.SYS_EXIT:          codePC(sysExit),
		abi.SYS_FUTEX:         codePC(sysFutex),
		abi.SYS_CLOCK_GETTIME: codePC(sysClockGettime),
		abi.SYS_EPOLL_WAIT:    codePC(sysEpollWait),
		abi.SYS_EPOLL_PWAIT:   codePC(sysEpollPwait),
		abi.SYS_EPOLL_PWAIT2:  codePC(sysEpollPwait2),
		abi.SYS_POLL:          codePC(sysPoll),
		abi.SYS_PPOLL:         codePC(sysPpoll),
		abi.SYS_SELECT:        codePC(sysSelect),
		abi.SYS_PSELECT6:      codePC(sysPselect6),

		abi.SYS_RT_SIGACTION:    codePC(sysRtSigaction),
		abi.SYS_RT_SIGPROCMASK:  codePC(sysRtSigprocmask),
		abi.SYS_RT_SIGRETURN:    codePC(sysRtSigreturn),
		abi.SYS_RT_SIGSUSPEND:   codePC(sysRtSigsuspend),
		abi.SYS_PAUSE:           codePC(sysPause),
		abi.SYS_KILL:            codePC(sysKill),
		abi.SYS_TKILL:           codePC(sysTkill),
		abi.SYS_TGKILL:          codePC(sysTgkill),
		abi.SYS_SET_ROBUST_LIST: codePC(sysSetRobustList),
		abi.SYS_SET_TID_ADDRESS: codePC(sysSetTIDAddress),
		abi.SYS_RSEQ:            codePC(sysAbsent),
	}
}

// QuickCalls returns the system calls that answer a word of the thread's slot, and the word's index.
func QuickCalls() map[int]uint8 {
	var h ThreadHead
	word := func(offset uintptr) uint8 { return uint8(offset / 8) }
	return map[int]uint8{
		abi.SYS_GETPID:  word(unsafe.Offsetof(h.TGID)),
		abi.SYS_GETTID:  word(unsafe.Offsetof(h.TID)),
		abi.SYS_GETPPID: word(unsafe.Offsetof(h.PPID)),
		abi.SYS_GETUID:  word(unsafe.Offsetof(h.UID)),
		abi.SYS_GETEUID: word(unsafe.Offsetof(h.EUID)),
		abi.SYS_GETGID:  word(unsafe.Offsetof(h.GID)),
		abi.SYS_GETEGID: word(unsafe.Offsetof(h.EGID)),
	}
}

// Serve returns what PerCPU.Serve holds where ring 0 serves all that it can, by system call.
func Serve() map[int]uint8 {
	serve := QuickCalls()
	for i, nr := range slices.Sorted(maps.Keys(FastCalls())) {
		serve[nr] = ServeCode + uint8(i)
	}
	return serve
}

// Page is a page of guest-kernel text: the functions that run in ring 0, INT3 elsewhere.
type Page struct {
	Addr  uintptr // in this process; all pages have the same distance from a page boundary there
	Bytes [abi.PageSize]byte
}

// Text collects the pages of the functions that may run in ring 0, in ascending order: those of this package and of the
// packages it shares with the host, except what lies in host_*.go.
func Text() ([]*Page, error) {
	var funcs []span
	for _, seed := range textSeeds() {
		f, err := packageFuncs(seed)
		if err != nil {
			return nil, err
		}
		funcs = append(funcs, f...)
	}
	cut := pageCut(hotRuns(funcs))
	var pages []*Page
	for _, f := range funcs {
		pages = addFunc(pages, cut, f.start, f.end)
	}
	slices.SortFunc(pages, func(a, b *Page) int { return cmp.Compare(a.Addr, b.Addr) })
	return pages, nil
}

// hotRuns returns the runs of functions that pipe calls and switches of threads go through. The sources are in such an
// order that these functions follow each other: see the files' names.
func hotRuns(funcs []span) []span {
	code := Addresses()
	runs := []span{
		{codePC((*pipes.Pipe).BeginRead), codePC((*pipes.WaitSet).Take)},
		{codePC(sysReadWrite), code.SetCR3},
	}
	for i := range runs {
		last := slices.IndexFunc(funcs, func(f span) bool { return f.start == runs[i].end })
		if last >= 0 {
			runs[i].end = funcs[last].end
		}
	}
	return runs
}

// pageCut returns where to cut the text into pages, as a distance from a page boundary of this process: where the runs
// take the fewest pages. After a switch of address spaces each page costs a TLB miss.
func pageCut(runs []span) uintptr {
	const align = 64 // of functions
	best, fewest := uintptr(0), ^uintptr(0)
	for cut := uintptr(0); cut < abi.PageSize; cut += align {
		n := uintptr(0)
		for _, r := range runs {
			n += pagesOf(r, cut)
		}
		if n < fewest {
			best, fewest = cut, n
		}
	}
	return best
}

// pagesOf returns how many pages a run takes with that cut.
func pagesOf(r span, cut uintptr) uintptr {
	return (r.end-1-cut)>>abi.PageShift - (r.start-cut)>>abi.PageShift + 1
}

// addFunc copies the bytes [start, end) of this process into the pages that hold them, adding pages as needed.
func addFunc(pages []*Page, cut, start, end uintptr) []*Page {
	for off := start; off < end; {
		base := (off-cut)&^abi.PageMask + cut
		stop := min(end, base+abi.PageSize)
		var page *Page
		for _, p := range pages {
			if p.Addr == base {
				page = p
			}
		}
		if page == nil {
			page = &Page{Addr: base}
			for i := range page.Bytes {
				page.Bytes[i] = 0xcc
			}
			pages = append(pages, page)
		}
		copy(page.Bytes[off-base:stop-base], unsafe.Slice((*byte)(at(uint64(off))), stop-off))
		off = stop
	}
	return pages
}

type span struct{ start, end uintptr }

// packageFuncs returns the ring-0 functions of the package that has code at seed. The linker keeps a package's
// functions together: their end is searched for, and the walk goes down from there, function by function, until another
// package begins. To look a function up takes microseconds, and this is on a VM's way to its first instruction.
func packageFuncs(seed uintptr) ([]span, error) {
	pkg, _, ok := funcAt(seed)
	if !ok {
		return nil, fmt.Errorf("guest: no function at %#x: is this binary's symbol information intact?", seed)
	}
	inside := func(pc uintptr) bool {
		p, _, ok := funcAt(pc)
		return ok && p == pkg
	}
	const align = 16 // functions begin at multiples of this
	low, high := seed&^(align-1), seed&^(align-1)+abi.PageSize
	for inside(high) {
		low, high = high, high+abi.PageSize
	}
	for high-low > align {
		if mid := (low + (high-low)/2) &^ (align - 1); inside(mid) {
			low = mid
		} else {
			high = mid
		}
	}
	var spans []span
	for end := high; ; {
		p, file, ok := funcAt(end - 1)
		if !ok || p != pkg {
			return spans, nil
		}
		start := runtime.FuncForPC(end - 1).Entry()
		if !strings.HasPrefix(filepath.Base(file), "host_") {
			spans = append(spans, span{start, end})
		}
		end = start
	}
}

// funcAt names the package and file of the outermost function at pc.
func funcAt(pc uintptr) (pkg, file string, ok bool) {
	f := runtime.FuncForPC(pc)
	if f == nil {
		return "", "", false
	}
	frames := runtime.CallersFrames([]uintptr{f.Entry() + 1})
	var last runtime.Frame
	for {
		fr, more := frames.Next()
		if fr.Func != nil || fr.Function != "" {
			last = fr
		}
		if !more {
			break
		}
	}
	name := last.Function
	if name == "" {
		name = f.Name()
	}
	slash := strings.LastIndexByte(name, '/')
	dot := strings.IndexByte(name[slash+1:], '.')
	if dot < 0 {
		return "", "", false
	}
	return name[:slash+1+dot], last.File, true
}

// textSeeds has one code address in each package whose functions run in ring 0.
func textSeeds() []uintptr {
	return []uintptr{
		codePC(onSyscall), codePC((*pipes.Pipe).BeginRead), codePC((*eventfd.EventFD).Read), codePC(link.Pull), codePC((*epoll.Pass).Next),
		codePC((*futex.Table).Leave), codePC((*signals.Table).Load),
	}
}
