package jail

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

const testPID = 4321

// call is a system call as a filter sees it.
type call struct {
	nr, arch uint32
	args     [6]uint64
}

// data is the call's struct seccomp_data, each word big-endian, since package bpf reads packets.
func (c call) data() []byte {
	b := binary.BigEndian.AppendUint32(nil, c.nr)
	b = binary.BigEndian.AppendUint32(b, c.arch)
	b = binary.BigEndian.AppendUint64(b, 0)
	for _, a := range c.args {
		b = binary.BigEndian.AppendUint32(b, uint32(a))
		b = binary.BigEndian.AppendUint32(b, uint32(a>>32))
	}
	return b
}

// filter is a compiled policy on package bpf's machine.
func filter(t *testing.T, writes bool) func(call) uint32 {
	t.Helper()
	raw, err := compile(policy(testPID, writes))
	if err != nil {
		t.Fatal(err)
	}
	prog, ok := bpf.Disassemble(raw)
	if !ok {
		t.Fatal("the program does not disassemble")
	}
	vm, err := bpf.NewVM(prog)
	if err != nil {
		t.Fatal(err)
	}
	return func(c call) uint32 {
		got, err := vm.Run(c.data())
		if err != nil {
			t.Fatal(err)
		}
		return uint32(got)
	}
}

const (
	allowed = unix.SECCOMP_RET_ALLOW
	killed  = unix.SECCOMP_RET_KILL_PROCESS
	enosys  = unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)
)

// verdict is what the rules say, read without a program.
func verdict(rules []rule, c call) uint32 {
	if c.arch != unix.AUDIT_ARCH_X86_64 {
		return killed
	}
	for _, r := range rules {
		if r.nr != c.nr {
			continue
		}
		for _, k := range r.checks {
			ok := false
			for _, w := range k.want {
				ok = ok || c.args[k.arg]>>32 == 0 && uint32(c.args[k.arg])&k.mask == w
			}
			if !ok {
				return killed
			}
		}
		if r.errno != 0 {
			return unix.SECCOMP_RET_ERRNO | uint32(r.errno)
		}
		return allowed
	}
	return killed
}

// The compiled program says what the rules say, for all calls, with arguments near those that are checked.
func TestProgramFollowsRules(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for _, writes := range []bool{false, true} {
		run, rules := filter(t, writes), policy(testPID, writes)
		var values []uint64
		for _, r := range rules {
			for _, k := range r.checks {
				for _, w := range k.want {
					values = append(values, uint64(w), uint64(w)|uint64(^k.mask), uint64(w)+1, uint64(w)|1<<32, uint64(k.mask))
				}
			}
		}
		counts := map[uint32]int{}
		for nr := range uint32(1024) {
			for range 500 {
				c := call{nr: nr, arch: unix.AUDIT_ARCH_X86_64}
				for i := range c.args {
					c.args[i] = values[rnd.IntN(len(values))]
				}
				want := verdict(rules, c)
				if got := run(c); got != want {
					t.Fatalf("writes %v: %+v: %#x, want %#x", writes, c, got, want)
				}
				counts[want]++
			}
		}
		if counts[allowed] < 1000 || counts[killed] < 1000 || counts[enosys] != 500 {
			t.Errorf("writes %v: the calls tried do not tell much: %v", writes, counts)
		}
	}
}

func TestNoRuleTwice(t *testing.T) {
	seen := map[uint32]bool{}
	for _, r := range policy(testPID, true) {
		if seen[r.nr] {
			t.Errorf("call %d has two rules, of which the second counts for nothing", r.nr)
		}
		seen[r.nr] = true
	}
}

// What the list must say of particular calls, whatever the rules are.
func TestVerdicts(t *testing.T) {
	const x86 = unix.AUDIT_ARCH_X86_64
	ro, rw := filter(t, false), filter(t, true)
	for _, c := range []struct {
		name   string
		call   call
		ro, rw uint32
	}{
		{"KVM_RUN", call{unix.SYS_IOCTL, x86, [6]uint64{9, 0xae80}}, allowed, allowed},
		{"KVM_INTERRUPT", call{unix.SYS_IOCTL, x86, [6]uint64{9, 0x4004ae86}}, allowed, allowed},
		{"KVM_CREATE_VM", call{unix.SYS_IOCTL, x86, [6]uint64{9, 0xae01}}, killed, killed},
		{"KVM_SET_USER_MEMORY_REGION", call{unix.SYS_IOCTL, x86, [6]uint64{9, 0x4020ae46}}, killed, killed},
		{"TIOCSTI", call{unix.SYS_IOCTL, x86, [6]uint64{0, unix.TIOCSTI}}, killed, killed},
		{"KVM_RUN with a high half", call{unix.SYS_IOCTL, x86, [6]uint64{9, 1<<32 | 0xae80}}, killed, killed},
		{"own thread", call{unix.SYS_TGKILL, x86, [6]uint64{testPID, 1, 23}}, allowed, allowed},
		{"another's thread", call{unix.SYS_TGKILL, x86, [6]uint64{1, 1, 9}}, killed, killed},
		{"another process", call{unix.SYS_KILL, x86, [6]uint64{1, 9}}, killed, killed},
		{"all processes", call{unix.SYS_KILL, x86, [6]uint64{^uint64(0), 9}}, killed, killed},
		{"anonymous memory", call{unix.SYS_MMAP, x86, [6]uint64{0, 4096, 3, 0x22}}, allowed, allowed},
		{"executable memory", call{unix.SYS_MMAP, x86, [6]uint64{0, 4096, 7, 0x22}}, killed, killed},
		{"a file's memory", call{unix.SYS_MMAP, x86, [6]uint64{0, 4096, 1, 2, 5}}, killed, killed},
		{"mprotect", call{unix.SYS_MPROTECT, x86, [6]uint64{0, 4096, 3}}, allowed, allowed},
		{"mprotect to code", call{unix.SYS_MPROTECT, x86, [6]uint64{0, 4096, 5}}, killed, killed},
		{"a thread", call{unix.SYS_CLONE, x86, [6]uint64{goThread}}, allowed, allowed},
		{"a process", call{unix.SYS_CLONE, x86, [6]uint64{uint64(unix.SIGCHLD)}}, killed, killed},
		{"a thread with a namespace", call{unix.SYS_CLONE, x86, [6]uint64{goThread | unix.CLONE_NEWUSER}}, killed, killed},
		{"clone3", call{unix.SYS_CLONE3, x86, [6]uint64{}}, enosys, enosys},
		{"open to read", call{unix.SYS_OPENAT, x86, [6]uint64{5, 0, unix.O_RDONLY | unix.O_CLOEXEC}}, allowed, allowed},
		{"open to write", call{unix.SYS_OPENAT, x86, [6]uint64{5, 0, unix.O_WRONLY | unix.O_CLOEXEC}}, killed, allowed},
		{"open and create", call{unix.SYS_OPENAT, x86, [6]uint64{5, 0, unix.O_WRONLY | unix.O_CREAT}}, killed, killed},
		{"unlinkat", call{unix.SYS_UNLINKAT, x86, [6]uint64{}}, killed, allowed},
		{"a socket's name", call{unix.SYS_MKNODAT, x86, [6]uint64{5, 0, unix.S_IFSOCK | 0o600}}, killed, allowed},
		{"a device", call{unix.SYS_MKNODAT, x86, [6]uint64{5, 0, unix.S_IFBLK | 0o600}}, killed, killed},
		{"poison memory", call{unix.SYS_MADVISE, x86, [6]uint64{0, 4096, unix.MADV_HWPOISON}}, killed, killed},
		{"x32", call{0x40000000 | unix.SYS_READ, x86, [6]uint64{}}, killed, killed},
		{"i386", call{3, unix.AUDIT_ARCH_I386, [6]uint64{}}, killed, killed},
	} {
		if got := ro(c.call); got != c.ro {
			t.Errorf("%s, read-only: %#x, want %#x", c.name, got, c.ro)
		}
		if got := rw(c.call); got != c.rw {
			t.Errorf("%s, writing: %#x, want %#x", c.name, got, c.rw)
		}
	}
	for _, nr := range []uint32{
		unix.SYS_EXECVE, unix.SYS_EXECVEAT, unix.SYS_FORK, unix.SYS_VFORK, unix.SYS_PTRACE, unix.SYS_PROCESS_VM_READV,
		unix.SYS_PROCESS_VM_WRITEV, unix.SYS_SOCKET, unix.SYS_CONNECT, unix.SYS_SENDMSG, unix.SYS_BPF, unix.SYS_KEYCTL,
		unix.SYS_ADD_KEY, unix.SYS_IO_URING_SETUP, unix.SYS_USERFAULTFD, unix.SYS_PERF_EVENT_OPEN, unix.SYS_MOUNT,
		unix.SYS_UNSHARE, unix.SYS_SETNS, unix.SYS_SETUID, unix.SYS_CAPSET, unix.SYS_SECCOMP, unix.SYS_MEMFD_CREATE,
		unix.SYS_PIDFD_GETFD, unix.SYS_OPEN_BY_HANDLE_AT, unix.SYS_OPEN, unix.SYS_CREAT, unix.SYS_CHMOD, unix.SYS_RENAME,
		unix.SYS_PERSONALITY, unix.SYS_INIT_MODULE, unix.SYS_KEXEC_LOAD, unix.SYS_MREMAP, unix.SYS_PKEY_MPROTECT,
		unix.SYS_PRLIMIT64, unix.SYS_ARCH_PRCTL, unix.SYS_MODIFY_LDT,
	} {
		c := call{nr: nr, arch: x86}
		if a, b := ro(c), rw(c); a != killed || b != killed {
			t.Errorf("call %d: %#x and %#x", nr, a, b)
		}
	}
}
