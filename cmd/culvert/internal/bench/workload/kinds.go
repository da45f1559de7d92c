package workload

import (
	"fmt"
	"strconv"
	"strings"
)

// loop is code of a process without a runtime: n operations, or, of a peer, all that come.
type loop func(w *work, n uint64) failure

// Kind is something that can be measured.
type Kind struct {
	Name  string
	Group string // what the command line asks for
	Op    string // what one operation is
	Block int    // bytes that one operation moves; 0: none
	Unit  int    // operations that go together: a batch has a multiple of them
	// Single says that an operation is whole and begins and ends with the measuring process, so that it can be timed alone.
	Single bool
	// Across says that the peer runs on the system that is measured and the measuring process on the host: they share no
	// pipes but the peer's standard input and output.
	Across bool
	// Pipeline says that two systems are measured, and what is between them: a program in each, the first of which writes
	// what the second reads.
	Pipeline bool

	n     int                 // the parameter: bytes or processes
	setup func(w *work) error // runs in the Go program, before the measuring process exists
	begin loop                // runs once in the measuring process, when the peer has started; nil: nothing to do
	batch loop
	peer  loop   // another process, or thread; nil: none
	wait  waiter // what waitedPing and waitedPong wait with
	spawn bool   // the peer is a thread of the measuring process
}

// Bounds of parameters.
const (
	MaxBlock     = 1 << 20
	MaxProcesses = 512
)

// Params are what kinds with a parameter are measured with.
type Params struct {
	Blocks    []int // bytes
	Processes int   // of a ring
}

// DefaultParams are what is measured if nothing else is said.
func DefaultParams() Params {
	return Params{Blocks: []int{1, 64, 512, 4096, 65536}, Processes: 64}
}

// family is a row of the table of all kinds.
type family struct {
	name, group, op string
	param           param
	kind            Kind // the rest
}

type param int

const (
	single       param = iota // no parameter
	perBlock                  // one kind for each block size
	perProcesses              // one kind, with a number of processes
)

// families is the table, in the order in which they are measured.
func families() []family {
	waited := func(setup func(*work) error, wait waiter) Kind {
		return Kind{setup: setup, batch: waitedPing, peer: waitedPong, wait: wait, Single: true}
	}
	return []family{
		{"getppid", "syscall", "getppid(2)", single, Kind{batch: getppid}},
		{"clock_gettime", "syscall", "clock_gettime(2) by system call", single, Kind{batch: clockGettime}},
		{"clock_gettime_libc", "syscall", "clock_gettime(2) as C libraries call it: in the vDSO, where there is one", single,
			Kind{setup: vdso, batch: clockLibc}},
		{"pingpong", "pingpong", "1 byte to another process and back, over two pipes", single,
			Kind{setup: pipes, batch: ping, peer: pong, Single: true}},
		{"ring", "pingpong", "1 byte passed on in a ring of %d processes", perProcesses, Kind{setup: ring, begin: beginRing, batch: ringLap}},
		{"pipe", "pipe", "a write of %d bytes, read by another process in reads of as many", perBlock,
			Kind{setup: pipes, batch: produce, peer: consume}},
		{"epoll", "epoll", "1 byte to another process and back, both woken by epoll_wait(2)", single, waited(epolls, byEpoll)},
		{"poll", "epoll", "1 byte to another process and back, both woken by poll(2)", single, waited(pipes, byPoll)},
		{"select", "epoll", "1 byte to another process and back, both woken by select(2)", single, waited(pipes, bySelect)},
		{"futex", "thread", "a turn handed to another thread and back by a futex that both wait for", single,
			Kind{batch: futexPing, peer: futexPong, spawn: true, Single: true}},
		{"thread", "thread", "clone(2) of a thread that ends at once, and waiting for its end", single, Kind{batch: threadJoin, Single: true}},
		{"signal_self", "signal", "kill(2) of itself, with a handler that counts", single, Kind{setup: counting, begin: beginSignalSelf, batch: signalSelf, Single: true}},
		{"signal", "signal", "kill(2) of another process and its kill(2) back, both waiting in sigsuspend(2), with handlers", single,
			Kind{setup: signals, begin: beginSignalPing, batch: signalPing, peer: signalPong, Single: true}},
		{"fork", "fork", "fork, exit, wait", single, Kind{batch: forkWait, Single: true}},
		{"exec", "fork", "fork, exec of a static program of 3 instructions, wait", single, Kind{setup: tinyProgram, batch: execWait, Single: true}},
		{"exec-go", "fork", "fork, exec of culvert doing nothing, wait", single, Kind{setup: selfProgram, batch: execWait, Single: true}},
		{"python", "program", "fork, exec of python3 -c pass, wait", single,
			Kind{setup: installed("python3", "-c", "pass"), batch: execWait, Single: true}},
		{"shell", "program", "fork, exec of a shell that runs /bin/true 200 times, wait", single,
			Kind{setup: installed("sh", "-c", shellLoop), batch: execWait, Single: true}},
		{"fault", "fault", fmt.Sprintf("first touch of an anonymous 4 KiB page, with 1/%d of the mmap, madvise and munmap around", faultPages),
			single, Kind{Unit: faultPages, batch: fault}},
		{"mmap", "fault", "mmap(2) and munmap(2) of 64 KiB that are not touched", single, Kind{batch: mmapUnmap, Single: true}},
		{"stdout", "stdio", "a write of %d bytes to standard output, read by a process of the host in reads of as many", perBlock,
			Kind{batch: request, peer: supply, Across: true}},
		{"stdin", "stdio", "a write of %d bytes by a process of the host, read from standard input in reads of as many", perBlock,
			Kind{batch: produce, peer: consume, Across: true}},
		{"vm-to-vm", "vm-to-vm", "a write of %d bytes to standard output in one VM, read from standard input in another", perBlock,
			Kind{Pipeline: true}},
	}
}

// kind makes the kind of a parameter.
func (f family) kindOf(n int) Kind {
	k := f.kind
	k.Name, k.Group, k.Op, k.n = f.name, f.group, f.op, n
	if f.param != single {
		k.Name, k.Op = fmt.Sprintf("%s-%d", f.name, n), fmt.Sprintf(f.op, n)
	}
	switch f.param {
	case perBlock:
		k.Block = n
	case perProcesses:
		k.Unit = n // a lap
	}
	k.Unit = max(k.Unit, 1)
	return k
}

// roles are what a process can do in a measurement of this kind.
func (k *Kind) roles() []string {
	switch {
	case k.Across:
		return []string{Peer, Host}
	case k.Pipeline:
		return []string{Source, Sink}
	}
	return []string{""}
}

// Kinds lists all, in the order in which they are measured.
func Kinds(p Params) []Kind {
	var kinds []Kind
	for _, f := range families() {
		switch f.param {
		case single:
			kinds = append(kinds, f.kindOf(0))
		case perBlock:
			for _, n := range p.Blocks {
				kinds = append(kinds, f.kindOf(n))
			}
		case perProcesses:
			kinds = append(kinds, f.kindOf(p.Processes))
		}
	}
	return kinds
}

// Find returns the kind of that name.
func Find(name string) (Kind, bool) {
	for _, f := range families() {
		if f.param == single {
			if f.name == name {
				return f.kindOf(0), true
			}
			continue
		}
		text, ok := strings.CutPrefix(name, f.name+"-")
		if !ok {
			continue
		}
		n, err := strconv.Atoi(text)
		if most := map[param]int{perBlock: MaxBlock, perProcesses: MaxProcesses}[f.param]; err != nil || n < f.least() || n > most {
			return Kind{}, false
		}
		return f.kindOf(n), true
	}
	return Kind{}, false
}

// least is the parameter's lower bound: a ring has two processes or more.
func (f family) least() int {
	if f.param == perProcesses {
		return 2
	}
	return 1
}
