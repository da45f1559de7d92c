package shim

import (
	"bytes"
	"encoding/binary"
	"sync/atomic"
	"testing"
	"time"

	"culvert/guest"
	"culvert/shim/abi"
	"culvert/shim/vfs"
	"culvert/shim/vfs/memfs"

	"golang.org/x/sys/unix"
)

// fakeMachine is a machine without processors: RAM and counters. The test plays ring 0.
type fakeMachine struct {
	ram    []byte
	kicks  atomic.Int64
	shoots atomic.Int64
}

func (m *fakeMachine) RAM() []byte                 { return m.ram }
func (m *fakeMachine) Kick(int)                    { m.kicks.Add(1) }
func (m *fakeMachine) WakeIdle(int)                {}
func (m *fakeMachine) Shootdown(*guest.Space, int) { m.shoots.Add(1) }

// Where the harness puts things in RAM.
const (
	testRAM     = 64 << 20
	testThreads = 128
	testBase    = 0x20000000 // of the scratch memory that every program has
	testScratch = 1 << 20
)

func testLayout() Layout {
	return Layout{
		VMPage: 0x1000, Threads: 0x100000, NumThreads: testThreads, ThreadSize: abi.ThreadSize, Files: 0x200000, NumFiles: 1024, Refs: 0x300000, Futexes: 0x320000,
		Pools: []abi.GPA{0x3000, 0x5000}, KernelCR3: 0x7000, FirstFree: 0x400000,
		XSaveSize: 832, XCR0: 7,
	}
}

// world is a VM whose programs are the test's own words.
type world struct {
	tb     testing.TB
	m      *fakeMachine
	k      *Kernel
	ns     *vfs.Namespace
	loaded uint64 // GVA of the guest.Space in the vCPU's CR3
}

// testELF is a static program that maps a page of code and a page of data; nobody executes it.
func testELF() []byte {
	var b bytes.Buffer
	le := binary.LittleEndian
	b.Write([]byte{0x7f, 'E', 'L', 'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	put := func(vs ...any) {
		for _, v := range vs {
			_ = binary.Write(&b, le, v)
		}
	}
	put(uint16(2), uint16(62), uint32(1), uint64(0x400078), uint64(64), uint64(0), uint32(0), uint16(64), uint16(56), uint16(1), uint16(0), uint16(0), uint16(0))
	put(uint32(1), uint32(7), uint64(0), uint64(0x400000), uint64(0x400000), uint64(0x1000), uint64(0x2000), uint64(0x1000))
	return append(b.Bytes(), make([]byte, 0x1000-b.Len())...)
}

// testRoot is a tree in memory with /prog, /script and /tmp.
func testRoot(tb testing.TB) *vfs.Namespace {
	tb.Helper()
	fs, err := memfs.New(memfs.Options{Dev: unix.Mkdev(0, 40), Mode: 0o755, Quota: memfs.NewQuota(16<<20, 1000)})
	if err != nil {
		tb.Fatal(err)
	}
	ns := vfs.New(vfs.Mount{Root: fs.Root(), FSType: "tmpfs", Source: "root"})
	c := &vfs.Context{Cred: vfs.NewCred(0, 0), Root: ns.Root(), Cwd: ns.Root()}
	for name, content := range map[string][]byte{
		"/prog": testELF(), "/script": []byte("#!/prog one two\n"), "/text": []byte("neither\n"),
	} {
		o, err := ns.Open(c, vfs.Path{}, name, vfs.How{Flags: unix.O_CREAT | unix.O_WRONLY, Mode: 0o755})
		if err != nil {
			tb.Fatal(err)
		}
		if _, err := o.File.WriteAt(content, 0); err != nil {
			tb.Fatal(err)
		}
		o.File.Release()
	}
	if err := ns.Mkdir(c, vfs.Path{}, "/tmp", 0o777); err != nil {
		tb.Fatal(err)
	}
	return ns
}

// newWorld starts /prog as pid 1 and gives it scratch memory.
func newWorld(tb testing.TB) (*world, *task) { return newWorldIn(tb, testLayout()) }

func newWorldIn(tb testing.TB, layout Layout) (*world, *task) {
	tb.Helper()
	ram, err := unix.Mmap(-1, 0, testRAM, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		tb.Fatal(err)
	}
	m := &fakeMachine{ram: ram}
	w := &world{tb: tb, m: m, ns: testRoot(tb)}
	k, err := New(Config{
		Machine: m, Layout: layout, NumCPUs: 2, Program: "/prog", Args: []string{"/prog"}, Namespace: w.ns,
	})
	if err != nil {
		tb.Fatal(err)
	}
	w.k = k
	tb.Cleanup(func() {
		if err := k.Close(); err != nil {
			tb.Errorf("Close: %v", err)
		}
		if err := unix.Munmap(ram); err != nil {
			tb.Errorf("munmap: %v", err)
		}
	})
	if err := k.Start(); err != nil {
		tb.Fatal(err)
	}
	x := w.task(1)
	x.resume()
	x.mustCall(unix.SYS_MMAP, testBase, testScratch, unix.PROT_READ|unix.PROT_WRITE,
		unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_FIXED, ^uint64(0), 0)
	return w, x
}

// task is a thread as ring 0 sees it: a slot.
type task struct {
	w    *world
	slot *guest.Thread
	i    int
	cpu  int
	gone bool
}

// task finds the thread with a tid.
func (w *world) task(tid int) *task {
	w.tb.Helper()
	w.k.mu.Lock()
	defer w.k.mu.Unlock()
	t := w.k.threads[tid]
	if t == nil {
		w.tb.Fatalf("there is no thread %d", tid)
	}
	return &task{w: w, slot: t.slot, i: t.index}
}

// setSpace is ring 0's.
func (w *world) setSpace(gva uint64) {
	at := func(g uint64) *guest.Space { return structAt[guest.Space](w.m.ram, abi.GPA(g-uint64(abi.DirectBase))) }
	if w.loaded == gva {
		return
	}
	old := w.loaded
	if gva != 0 {
		atomic.OrUint64(&at(gva).Active, 1)
	}
	w.loaded = gva
	if old != 0 {
		atomic.AndUint64(&at(old).Active, ^uint64(1))
	}
}

func (x *task) space() uint64 { return slotSpace(x.slot) }

// hypercall makes a request of the thread and acts on the answer as ring 0 does; it reports whether the thread still
// has the vCPU.
func (x *task) hypercall(c guest.Call) bool {
	c.Version, c.Thread = abi.Version, uint64(x.i)
	x.w.k.Call(x.cpu, &c)
	switch c.Action {
	case abi.ActExit:
		x.w.setSpace(0)
		atomic.StoreUint64(&x.slot.OnCPU, 0)
		atomic.StoreUint64(&x.slot.State, abi.StateFree)
		x.gone = true
		return false
	case abi.ActBlock:
		atomic.StoreUint64(&x.slot.OnCPU, 0)
		if atomic.CompareAndSwapUint64(&x.slot.State, abi.StateRun, abi.StateBlocked) {
			return false
		}
		atomic.StoreUint64(&x.slot.OnCPU, uint64(x.cpu+1))
		atomic.StoreUint64(&x.slot.State, abi.StateRun)
		return x.record()
	}
	if c.Flags&abi.FlagSpace != 0 {
		x.w.setSpace(x.space())
	}
	return true
}

// attend answers Attn until it is clear; false if the thread lost the vCPU.
func (x *task) attend() bool {
	for atomic.LoadUint64(&x.slot.Attn) != 0 {
		if !x.hypercall(guest.Call{Kind: abi.KindNote, NR: abi.NoteAttention}) {
			return false
		}
	}
	return true
}

// record is resumeRecord.
func (x *task) record() bool {
	for atomic.LoadUint64(&x.slot.Wait.Kind) != abi.WaitNone {
		if x.leaveFutex() {
			continue
		}
		if atomic.LoadUint64(&x.slot.Attn) != 0 {
			if !x.hypercall(guest.Call{Kind: abi.KindNote, NR: abi.NoteAttention}) {
				return false
			}
			continue
		}
		atomic.StoreUint64(&x.slot.OnCPU, 0)
		if atomic.CompareAndSwapUint64(&x.slot.State, abi.StateRun, abi.StateBlocked) {
			return false
		}
		atomic.StoreUint64(&x.slot.OnCPU, uint64(x.cpu+1))
		atomic.StoreUint64(&x.slot.State, abi.StateRun)
	}
	return x.attend()
}

// tryResume takes the thread if it becomes ready within d.
func (x *task) tryResume(d time.Duration) bool {
	for end := time.Now().Add(d); ; time.Sleep(50 * time.Microsecond) {
		bit := uint64(1) << (x.i % 64)
		if atomic.AndUint64(&x.w.k.vm.Ready[x.i/64], ^bit)&bit != 0 {
			atomic.StoreUint64(&x.slot.OnCPU, uint64(x.cpu+1))
			x.w.setSpace(x.space())
			if x.record() || x.gone {
				return true
			}
		}
		if time.Now().After(end) {
			return false
		}
	}
}

// resume waits until the thread runs again, or is gone.
func (x *task) resume() {
	x.w.tb.Helper()
	if !x.tryResume(5 * time.Second) {
		x.w.tb.Fatalf("thread slot %d does not become ready: state %d, record %d", x.i, x.slot.State, x.slot.Wait.Kind)
	}
}

// blocked is what a call gives that did not return.
const blockedResult = -1 << 40

// call makes a system call. The result is RAX, or blockedResult if the thread blocked or ended.
func (x *task) call(nr uint64, args ...uint64) int64 {
	x.w.tb.Helper()
	if x.gone {
		x.w.tb.Fatalf("a call of a thread that is gone")
	}
	var a [6]uint64
	copy(a[:], args)
	x.w.setSpace(x.space())
	x.slot.RAX, x.slot.OrigRAX = nr, nr
	x.slot.RDI, x.slot.RSI, x.slot.RDX, x.slot.R10, x.slot.R8, x.slot.R9 = a[0], a[1], a[2], a[3], a[4], a[5]
	x.slot.RIP += 2
	x.slot.Iret = 0
	if !x.hypercall(guest.Call{Kind: abi.KindSyscall, NR: nr, Args: a}) || !x.attend() {
		return blockedResult
	}
	return int64(x.slot.RAX)
}

// mustCall is a call that succeeds.
func (x *task) mustCall(nr uint64, args ...uint64) uint64 {
	x.w.tb.Helper()
	r := x.call(nr, args...)
	if r < 0 {
		x.w.tb.Fatalf("call %d%v = %s", nr, args, resultString(r))
	}
	return uint64(r)
}

// wantCall is a call with a known result: a value, or an errno.
func (x *task) wantCall(want any, nr uint64, args ...uint64) {
	x.w.tb.Helper()
	w := int64(0)
	switch v := want.(type) {
	case unix.Errno:
		w = -int64(v)
	case int:
		w = int64(v)
	}
	if r := x.call(nr, args...); r != w {
		x.w.tb.Errorf("call %d%v = %s, want %v", nr, args, resultString(r), want)
	}
}

func resultString(r int64) string {
	switch {
	case r == blockedResult:
		return "blocked"
	case r < 0 && r > -4096:
		return unix.ErrnoName(unix.Errno(-r))
	}
	return itoa(int(r))
}

// finish resumes a blocked call and checks its result.
func (x *task) finish(want int64) {
	x.w.tb.Helper()
	x.resume()
	if x.gone {
		x.w.tb.Fatalf("the thread is gone, want result %s", resultString(want))
	}
	if r := int64(x.slot.RAX); r != want {
		x.w.tb.Fatalf("the call ended with %s, want %s", resultString(r), resultString(want))
	}
}

// die runs the thread until it is gone.
func (x *task) die() {
	x.w.tb.Helper()
	if x.gone || atomic.LoadUint64(&x.slot.OnCPU) != 0 && !x.attend() && x.gone {
		return
	}
	x.resume()
	if !x.gone {
		x.w.tb.Fatalf("the thread lives on")
	}
}

// poke and peek reach the scratch memory of the task at an offset.
func (x *task) poke(off uint64, words ...uint64) uint64 {
	x.w.tb.Helper()
	t := x.thread()
	x.w.k.mu.Lock()
	defer x.w.k.mu.Unlock()
	for i, v := range words {
		if err := t.writeU64(testBase+off+8*uint64(i), v); err != nil {
			x.w.tb.Fatal(err)
		}
	}
	return testBase + off
}

func (x *task) pokeString(off uint64, s string) uint64 {
	x.w.tb.Helper()
	t := x.thread()
	x.w.k.mu.Lock()
	defer x.w.k.mu.Unlock()
	if err := t.copyOut(testBase+off, append([]byte(s), 0)); err != nil {
		x.w.tb.Fatal(err)
	}
	return testBase + off
}

func (x *task) peek(addr uint64) uint64 {
	x.w.tb.Helper()
	t := x.thread()
	x.w.k.mu.Lock()
	defer x.w.k.mu.Unlock()
	v, err := t.readU64(addr)
	if err != nil {
		x.w.tb.Fatalf("read %#x: %v", addr, err)
	}
	return v
}

func (x *task) peek32(addr uint64) uint32 { return uint32(x.peek(addr)) }

func (x *task) thread() *Thread {
	x.w.k.mu.Lock()
	defer x.w.k.mu.Unlock()
	t := x.w.k.slots[x.i]
	if t == nil {
		x.w.tb.Fatalf("slot %d has no thread", x.i)
	}
	return t
}

// fork makes a child process and takes it.
func (x *task) fork() (*task, int) {
	x.w.tb.Helper()
	pid := int(x.mustCall(unix.SYS_FORK))
	c := x.w.task(pid)
	c.resume()
	if c.slot.RAX != 0 {
		x.w.tb.Fatalf("fork returned %d in the child", c.slot.RAX)
	}
	return c, pid
}

// action installs a handler.
func (x *task) action(n int, handler, flags uint64, mask uint64) {
	x.w.tb.Helper()
	x.wantCall(0, unix.SYS_RT_SIGACTION, uint64(n), x.poke(0xff000, handler, flags|SA_RESTORER, 0x400100, mask), 0, 8)
}

// status is how the VM ended.
func (w *world) status() ExitStatus {
	w.tb.Helper()
	select {
	case <-w.k.Done():
	case <-time.After(5 * time.Second):
		w.tb.Fatal("the VM does not end")
	}
	return w.k.Status()
}

// ended reports whether the VM has ended.
func (w *world) ended() bool {
	select {
	case <-w.k.Done():
		return true
	default:
		return false
	}
}
