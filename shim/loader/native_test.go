package loader

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

// native is a process of the host, stopped before its first instruction.
type native struct {
	regs  syscall.PtraceRegs
	maps  []area // file, if there is one, is only a token
	stack []byte // from RSP to the top
	// stat is /proc/PID/stat, fields counted from 1 as in proc(5).
	stat []string
}

// runNative executes path without address-space randomisation and stops it after exec, with ptrace.
func runNative(t *testing.T, path string, argv, envp []string) native {
	t.Helper()
	runtime.LockOSThread() // personality and ptrace are per thread
	defer runtime.UnlockOSThread()
	old, _, errno := syscall.RawSyscall(syscall.SYS_PERSONALITY, 0x0040000 /* ADDR_NO_RANDOMIZE */, 0, 0)
	if errno != 0 {
		t.Skipf("personality: %v", errno)
	}
	defer syscall.RawSyscall(syscall.SYS_PERSONALITY, old, 0, 0)
	cmd := &exec.Cmd{Path: path, Args: argv, Env: envp, SysProcAttr: &syscall.SysProcAttr{Ptrace: true}}
	if err := cmd.Start(); err != nil {
		t.Fatalf("start %s under ptrace: %v", path, err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // "signal: killed"
	}()
	var ws syscall.WaitStatus
	if _, err := syscall.Wait4(cmd.Process.Pid, &ws, 0, nil); err != nil || !ws.Stopped() {
		t.Fatalf("wait for exec's trap: status %#x, %v", ws, err)
	}
	var n native
	if err := syscall.PtraceGetRegs(cmd.Process.Pid, &n.regs); err != nil {
		t.Fatal(err)
	}
	dir := fmt.Sprintf("/proc/%d/", cmd.Process.Pid)
	maps, err := os.ReadFile(dir + "maps")
	if err != nil {
		t.Fatal(err)
	}
	var top uint64
	for line := range strings.Lines(string(maps)) {
		var a area
		var perm, dev, inode string
		if _, err := fmt.Sscanf(line, "%x-%x %s %x %s %s", &a.start, &a.end, &perm, &a.off, &dev, &inode); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if inode != "0" {
			a.file = errFile{}
		}
		for i, c := range "rwx" {
			if perm[i] == byte(c) {
				a.prot |= 1 << i // PROT_READ, PROT_WRITE, PROT_EXEC
			}
		}
		switch {
		case strings.Contains(line, "[stack]"):
			top = a.end
		case strings.Contains(line, "[v"): // vdso, vvar, vsyscall
			continue
		}
		n.maps = append(n.maps, a)
	}
	stat, err := os.ReadFile(dir + "stat")
	if err != nil {
		t.Fatal(err)
	}
	n.stat = append(n.stat, "")
	n.stat = append(n.stat, strings.Fields(string(stat))...)
	mem, err := os.Open(dir + "mem")
	if err != nil {
		t.Fatal(err)
	}
	defer mem.Close()
	n.stack = make([]byte, top-n.regs.Rsp)
	if _, err := mem.ReadAt(n.stack, int64(n.regs.Rsp)); err != nil {
		t.Fatal(err)
	}
	return n
}

// platformOf takes the values that the kernel chose from a native stack, and returns the whole vector.
func platformOf(t *testing.T, stack []byte, sp uint64) (Platform, []Aux) {
	t.Helper()
	le := binary.LittleEndian
	word := func(i int) uint64 { return le.Uint64(stack[8*i:]) }
	i := 1
	for range 2 { // argv, envp
		for word(i) != 0 {
			i++
		}
		i++
	}
	var v []Aux
	m := map[uint64]uint64{}
	for {
		a := Aux{word(i), word(i + 1)}
		v, m[a.Type] = append(v, a), a.Value
		i += 2
		if a.Type == AT_NULL {
			break
		}
	}
	pl := Platform{
		HWCap: m[AT_HWCAP], HWCap2: m[AT_HWCAP2], ClkTck: m[AT_CLKTCK], SysinfoEHDR: m[AT_SYSINFO_EHDR],
		MinSigStkSz: m[AT_MINSIGSTKSZ], RseqFeatureSize: m[AT_RSEQ_FEATURE_SIZE], RseqAlign: m[AT_RSEQ_ALIGN],
		UID: uint32(m[AT_UID]), EUID: uint32(m[AT_EUID]), GID: uint32(m[AT_GID]), EGID: uint32(m[AT_EGID]),
		Secure: m[AT_SECURE] != 0,
	}
	copy(pl.Random[:], stack[m[AT_RANDOM]-sp:])
	return pl, v
}

// writeExec makes an executable of content.
func writeExec(t testing.TB, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, content, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// lookProgram finds a program of the host, links resolved.
func lookProgram(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skip(err)
	}
	if path, err = filepath.EvalSymlinks(path); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestSameAsLinux runs programs on the host's kernel up to their first instruction, and compares registers, every
// byte of the stack and every mapping with what Load makes.
func TestSameAsLinux(t *testing.T) {
	bss := program(elf.ET_EXEC, 0x400000).
		add(elf.Prog64{Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R | elf.PF_W), Off: 0x1234, Vaddr: 0x403234,
			Filesz: 0x234, Memsz: 0x5234, Align: pageSize}).
		add(elf.Prog64{Type: uint32(elf.PT_GNU_STACK), Flags: uint32(elf.PF_R | elf.PF_W | elf.PF_X)})
	sh := lookProgram(t, "sh")
	ldso := ldso(t, sh)
	aligned := program(elf.ET_DYN, 0)
	aligned.phdrs[0].Align = 0x200000
	alignedInterp := program(elf.ET_DYN, 0).addInterp(ldso)
	alignedInterp.phdrs[0].Align = 0x200000
	unaligned := program(elf.ET_DYN, 0).addInterp(ldso)
	unaligned.phdrs[0].Align = 3
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		path string
	}{
		{"dynamic", sh},
		{"dynamic linker as program", ldso},
		{"Go test binary", self},
		{"static", writeExec(t, "static", program(elf.ET_EXEC, 0x400000).bytes())},
		{"static with bss and executable stack", writeExec(t, "bss", bss.bytes())},
		{"static with an interpreter", writeExec(t, "x", program(elf.ET_EXEC, 0x400000).addInterp(ldso).bytes())},
		{"static PIE", writeExec(t, "pie", program(elf.ET_DYN, 0).bytes())},
		{"static PIE not at 0", writeExec(t, "pie", program(elf.ET_DYN, 0x123000).bytes())},
		{"static PIE with alignment", writeExec(t, "pie", aligned.bytes())},
		{"PIE with alignment", writeExec(t, "pie", alignedInterp.bytes())},
		{"PIE with a senseless alignment", writeExec(t, "pie", unaligned.bytes())},
		{"PIE not at 0", writeExec(t, "pie", program(elf.ET_DYN, 0x7123000).addInterp(ldso).bytes())},
		{"script", writeExec(t, "script", []byte("#! "+sh+"  -e -u \t\necho"))},
		{"script of a script", writeExec(t, "outer", []byte("#!"+writeExec(t, "inner", []byte("#!"+sh+"\n"))+" an arg\n"))},
	} {
		t.Run(tt.name, func(t *testing.T) {
			argv := []string{"prog", "one", "", "three three"}
			envp := []string{"A=b", "LONG=" + strings.Repeat("x", 5000)}
			want := runNative(t, tt.path, argv, envp)
			pl, wantAux := platformOf(t, want.stack, want.regs.Rsp)
			as := newSpace(t)
			start := loadHost(t, as, tt.path, argv, envp, pl)
			if start.Entry != want.regs.Rip || start.SP != want.regs.Rsp {
				t.Errorf("RIP %#x, RSP %#x, want %#x, %#x", start.Entry, start.SP, want.regs.Rip, want.regs.Rsp)
			}
			if fmt.Sprint(start.Auxv) != fmt.Sprint(wantAux) {
				t.Errorf("auxiliary vector\n got %x\nwant %x", start.Auxv, wantAux)
			}
			got := make([]byte, len(want.stack))
			if err := as.read(want.regs.Rsp, got); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want.stack) {
				t.Errorf("stack\n got %q\nwant %q", got, want.stack)
			}
			compareMaps(t, as, want.maps)
			if start.Brk != as.brk {
				t.Errorf("break at %#x, told the address space %#x", start.Brk, as.brk)
			}
			for _, f := range []struct {
				name  string
				field int
				got   uint64
			}{
				{"start_code", 26, start.StartCode}, {"end_code", 27, start.EndCode}, {"startstack", 28, start.SP},
				{"start_data", 45, start.StartData}, {"end_data", 46, start.EndData}, {"start_brk", 47, start.Brk},
				{"arg_start", 48, start.ArgStart}, {"arg_end", 49, start.ArgEnd},
				{"env_start", 50, start.EnvStart}, {"env_end", 51, start.EnvEnd},
			} {
				if got := fmt.Sprint(f.got); got != want.stat[f.field] {
					t.Errorf("%s %s, want %s", f.name, got, want.stat[f.field])
				}
			}
		})
	}
}

// compareMaps compares page by page, because the kernel joins neighbours.
func compareMaps(t *testing.T, as *fakeSpace, want []area) {
	t.Helper()
	type page struct {
		prot int
		off  uint64
	}
	pages := func(areas []area) map[uint64]page {
		m := map[uint64]page{}
		for _, a := range areas {
			if a.end == taskSize {
				m[taskSize-pageSize] = page{a.prot, 0} // how much stack is mapped is the address space's affair
				continue
			}
			for p := a.start; p < a.end; p += pageSize {
				m[p] = page{prot: a.prot}
				if a.file != nil {
					m[p] = page{a.prot, a.off + p - a.start}
				}
			}
		}
		return m
	}
	g, w := pages(as.areas), pages(want)
	for p, v := range w {
		if g[p] != v {
			t.Errorf("page %#x: got %+v, want %+v", p, g[p], v)
		}
	}
	for p, v := range g {
		if _, ok := w[p]; !ok {
			t.Errorf("page %#x: got %+v, want none", p, v)
		}
	}
}

// ldso returns the dynamic linker of a program.
func ldso(t *testing.T, path string) string {
	t.Helper()
	f, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			b := make([]byte, p.Filesz)
			if _, err := p.ReadAt(b, 0); err != nil {
				t.Fatal(err)
			}
			return cString(b)
		}
	}
	t.Skipf("%s is not dynamic", path)
	return ""
}

func loadHost(t *testing.T, as *fakeSpace, path string, argv, envp []string, pl Platform) *Start {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	im, err := Parse(f, Args{Path: path, Argv: argv, Envp: envp, StackLimit: 8 << 20}, openHost)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := im.Close(); err != nil {
			t.Error(err)
		}
	})
	start, err := im.Load(as, pl, Random{})
	if err != nil {
		t.Fatal(err)
	}
	return start
}
