package loader

import (
	"bytes"
	"debug/elf"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// Outcomes of an execve other than an errno.
const (
	ranIt  = "exit 42"
	killed = "killed" // SIGSEGV or SIGBUS: by Load's error, or by running at a bad address
)

const (
	rx = uint32(elf.PF_R | elf.PF_X)
	rw = uint32(elf.PF_R | elf.PF_W)
)

// hostileCase is one crafted file. The file is run by the host's kernel and by Parse and Load, and both must end as
// want says.
type hostileCase struct {
	name string
	make func(dir string) []byte
	want string
	// since is a kernel, major*100+minor, that behaves so where 6.1 does not; older ones are not asked.
	since int
}

// young marks a case in which 6.18 differs from 6.1.
func young(c hostileCase) hostileCase {
	c.since = 618
	return c
}

// exe makes a case of an ET_EXEC program at 4 MiB with a change.
func exe(name, want string, change func(im *image)) hostileCase {
	return hostileCase{name: name, want: want, make: func(string) []byte {
		im := program(elf.ET_EXEC, 0x400000)
		change(im)
		return im.bytes()
	}}
}

// dyn makes a case of an ET_DYN program at 0 with a change.
func dyn(name, want string, change func(im *image)) hostileCase {
	return hostileCase{name: name, want: want, make: func(string) []byte {
		im := program(elf.ET_DYN, 0)
		change(im)
		return im.bytes()
	}}
}

// raw makes a case of plain bytes.
func raw(name, want, content string) hostileCase {
	return hostileCase{name: name, want: want, make: func(string) []byte { return []byte(content) }}
}

// withInterp makes a case of a good program with a crafted interpreter. interp may return nil: no such file.
func withInterp(name, want string, interp func() []byte) hostileCase {
	return hostileCase{name: name, want: want, make: func(dir string) []byte {
		path := filepath.Join(dir, "interp")
		if b := interp(); b != nil {
			if err := os.WriteFile(path, b, 0o755); err != nil {
				panic(err)
			}
		}
		return program(elf.ET_EXEC, 0x400000).addInterp(path).bytes()
	}}
}

func changed(im *image, change func(im *image)) func() []byte {
	return func() []byte { change(im); return im.bytes() }
}

// seg is a PT_LOAD.
func seg(flags uint32, off, vaddr, filesz, memsz uint64) elf.Prog64 {
	return elf.Prog64{Type: uint32(elf.PT_LOAD), Flags: flags, Off: off, Vaddr: vaddr, Filesz: filesz, Memsz: memsz, Align: pageSize}
}

var headerCases = []hostileCase{
	exe("good", ranIt, func(*image) {}),
	raw("empty", "ENOEXEC", ""),
	raw("text", "ENOEXEC", "echo hello\n"),
	raw("magic only", "ENOEXEC", elf.ELFMAG),
	exe("header cut", "ENOEXEC", func(im *image) { im.size = 63 }),
	exe("program headers cut", "ENOEXEC", func(im *image) { im.size = headerSize + phdrSize - 1 }),
	exe("program headers beyond the file", "ENOEXEC", func(im *image) { im.head.Phoff = 0x2000 }),
	exe("program headers at a negative offset", "ENOEXEC", func(im *image) { im.head.Phoff = 1 << 63 }),
	exe("program headers at the last offset", "ENOEXEC", func(im *image) { im.head.Phoff = 1<<63 - 1 }),
	exe("no program headers", "ENOEXEC", func(im *image) { im.head.Phnum = 0 }),
	young(exe("1170 program headers", ranIt, func(im *image) { im.head.Phnum = 1170; im.moveTable() })),
	exe("1171 program headers", "ENOEXEC", func(im *image) { im.head.Phnum = 1171; im.moveTable() }),
	exe("65535 program headers", "ENOEXEC", func(im *image) { im.head.Phnum = 0xffff }),
	exe("program headers too small", "ENOEXEC", func(im *image) { im.head.Phentsize = 55 }),
	exe("program headers of 32 bits", "ENOEXEC", func(im *image) { im.head.Phentsize = 32 }),
	exe("program headers of size 0", "ENOEXEC", func(im *image) { im.head.Phentsize = 0 }),
	exe("wrong machine", "ENOEXEC", func(im *image) { im.head.Machine = uint16(elf.EM_AARCH64) }),
	exe("machine in the other byte order", "ENOEXEC", func(im *image) { im.head.Machine = uint16(elf.EM_X86_64) << 8 }),
	exe("class of 32 bits", ranIt, func(im *image) { im.head.Ident[elf.EI_CLASS] = byte(elf.ELFCLASS32) }),
	exe("data big-endian", ranIt, func(im *image) { im.head.Ident[elf.EI_DATA] = byte(elf.ELFDATA2MSB) }),
	exe("version 77", ranIt, func(im *image) { im.head.Ident[elf.EI_VERSION] = 77; im.head.Version = 77 }),
	exe("magic wrong", "ENOEXEC", func(im *image) { im.head.Ident[3] = 'f' }),
	exe("relocatable", "ENOEXEC", func(im *image) { im.head.Type = uint16(elf.ET_REL) }),
	exe("core", "ENOEXEC", func(im *image) { im.head.Type = uint16(elf.ET_CORE) }),
	exe("entry in the kernel", killed, func(im *image) { im.head.Entry = 0xffff_ffff_8000_0000 }),
	exe("entry at the end of user memory", killed, func(im *image) { im.head.Entry = taskSize }),
	exe("entry in no segment", killed, func(im *image) { im.head.Entry = 0x800000 }),
	exe("entry 0", killed, func(im *image) { im.head.Entry = 0 }),
	exe("TLS is ignored", ranIt, func(im *image) {
		im.add(elf.Prog64{Type: uint32(elf.PT_TLS), Off: ^uint64(0), Vaddr: ^uint64(0), Filesz: ^uint64(0), Memsz: 1})
	}),
	exe("property note is ignored", ranIt, func(im *image) {
		im.add(elf.Prog64{Type: uint32(elf.PT_GNU_PROPERTY), Off: codeOff, Filesz: 16, Memsz: 16})
	}),
}

var segmentCases = []hostileCase{
	exe("no segments", killed, func(im *image) { im.phdrs[0].Type = uint32(elf.PT_NOTE) }),
	dyn("no segments in a PIE", killed, func(im *image) { im.phdrs[0].Type = uint32(elf.PT_NOTE) }),
	exe("file shorter than the segment", ranIt, func(im *image) { im.phdrs[0].Filesz, im.phdrs[0].Memsz = 1<<20, 1<<20 }),
	exe("code beyond the file", killed, func(im *image) { im.size = codeOff }),
	exe("code cut within its page", killed, func(im *image) { im.size = codeOff + 1 }),
	exe("p_filesz above p_memsz", killed, func(im *image) { im.phdrs[0].Memsz-- }),
	exe("p_filesz all ones", killed, func(im *image) { im.phdrs[0].Filesz = ^uint64(0) }),
	exe("both sizes all ones", killed, func(im *image) { im.phdrs[0].Filesz, im.phdrs[0].Memsz = ^uint64(0), ^uint64(0) }),
	exe("p_filesz wraps to nothing", killed, func(im *image) {
		im.add(seg(rw, 1, 0x600001, ^uint64(0), ^uint64(0)))
	}),
	exe("p_memsz all ones", killed, func(im *image) { im.phdrs[0].Memsz = ^uint64(0) }),
	exe("p_memsz wraps to the start", killed, func(im *image) { im.add(seg(rw, 0, 0x600000, 0, ^uint64(0)-0x5fffff)) }),
	exe("p_memsz of all user memory", killed, func(im *image) { im.add(seg(rw, 0, 0x600000, 0, taskSize)) }),
	exe("p_vaddr all ones", killed, func(im *image) { im.add(seg(rw, 0, ^uint64(0), 16, 16)) }),
	exe("p_vaddr in the kernel", killed, func(im *image) { im.add(seg(rw, 0, 0xffff_8000_0000_0000, 0x1000, 0x1000)) }),
	exe("p_vaddr at the end of user memory", killed, func(im *image) { im.add(seg(rw, 0, taskSize, 0x1000, 0x1000)) }),
	exe("empty segment at the end of user memory", killed, func(im *image) { im.add(seg(rw, 0, taskSize, 0, 0)) }),
	exe("empty segment", ranIt, func(im *image) { im.add(seg(rw, 0, 0x600010, 0, 0)) }),
	exe("empty segment over the code", ranIt, func(im *image) { im.add(seg(rw, 0, 0x401000, 0, 0)) }),
	exe("segment ends beyond user memory", killed, func(im *image) { im.add(seg(rw, 0, taskSize-0x1000, 0x2000, 0x2000)) }),
	exe("segment over the stack", ranIt, func(im *image) { im.add(seg(rw, 0, taskSize-0x1000, 0x1000, 0x1000)) }),
	exe("offset and address differ within a page", killed, func(im *image) { im.phdrs[0].Off = 8 }),
	exe("empty one differs within a page", ranIt, func(im *image) { im.add(seg(rw, 8, 0x600000, 0, 0x100)) }),
	exe("p_offset all ones", killed, func(im *image) { im.add(seg(rw, ^uint64(0), 0x600fff, 1, 1)) }),
	exe("p_offset wraps below 0", killed, func(im *image) { im.add(seg(rw, 1, 0x600801, 16, 16)) }),
	exe("p_offset at half of all", killed, func(im *image) { im.add(seg(rw, 1<<63, 0x600000, 16, 16)) }),
	exe("zeros over the code", killed, func(im *image) { im.add(seg(rw, 0, 0x401000, 0, 0x1000)) }),
	exe("overlapping segment brings the code again", ranIt, func(im *image) { im.add(seg(rx, codeOff, 0x401000, 0x1000, 0x1000)) }),
	exe("code not executable", killed, func(im *image) { im.phdrs[0].Flags = uint32(elf.PF_R) }),
	exe("segments in descending order", ranIt, func(im *image) { im.add(seg(rw, 0, 0x200000, 0x1000, 0x1000)) }),
	exe("bss of a segment that is not writable", ranIt, func(im *image) { im.phdrs[0].Filesz = 0x1800 }),
	young(exe("bss after the end of the file", killed, func(im *image) { im.add(seg(rw, 0x100000, 0x600000, 0x1800, 0x3000)) })),
	exe("p_align is senseless", ranIt, func(im *image) { im.phdrs[0].Align = 12345 }),
	dyn("PIE of all user memory", killed, func(im *image) { im.add(seg(rw, 0, taskSize-0x2000, 0, 0x1000)) }),
	dyn("PIE with alignment of half of all", killed, func(im *image) { im.phdrs[0].Align = 1 << 63; im.phdrs[0].Vaddr = 0x1000 }),
	dyn("PIE whose span wraps to nothing", killed, func(im *image) {
		im.phdrs[0].Memsz, im.phdrs[0].Filesz = ^uint64(0), 0x2000
	}),
	dyn("PIE at the end of user memory", ranIt, func(im *image) {
		im.phdrs[0].Vaddr = taskSize - 0x3000
		im.head.Entry = taskSize - 0x3000 + codeOff
	}),
}

var interpCases = []hostileCase{
	withInterp("good interpreter", ranIt, program(elf.ET_DYN, 0).bytes),
	withInterp("good fixed interpreter", ranIt, program(elf.ET_EXEC, 0x800000).bytes),
	withInterp("fixed interpreter over the program", ranIt, program(elf.ET_EXEC, 0x400000).bytes),
	withInterp("hinted interpreter", ranIt, program(elf.ET_DYN, 0x900000).bytes),
	withInterp("interpreter hinted into the kernel", ranIt, program(elf.ET_DYN, 0xffff_8000_0000_0000).bytes),
	withInterp("no interpreter", "ENOENT", func() []byte { return nil }),
	withInterp("empty interpreter", "EIO", func() []byte { return []byte{} }),
	withInterp("short interpreter", "EIO", func() []byte { return program(elf.ET_DYN, 0).bytes()[:63] }),
	withInterp("interpreter cut after the header", "ELIBBAD", func() []byte { return program(elf.ET_DYN, 0).bytes()[:64] }),
	withInterp("interpreter is a script", "ELIBBAD", func() []byte { return []byte("#!/bin/sh\n" + strings.Repeat("#", 100)) }),
	withInterp("interpreter of wrong machine", "ELIBBAD", changed(program(elf.ET_DYN, 0), func(im *image) { im.head.Machine = 3 })),
	withInterp("interpreter without program headers", "ELIBBAD", changed(program(elf.ET_DYN, 0), func(im *image) { im.head.Phnum = 0 })),
	withInterp("interpreter with small program headers", "ELIBBAD", changed(program(elf.ET_DYN, 0), func(im *image) { im.head.Phentsize = 32 })),
	withInterp("relocatable interpreter", killed, changed(program(elf.ET_DYN, 0), func(im *image) { im.head.Type = uint16(elf.ET_REL) })),
	withInterp("interpreter without segments", killed, changed(program(elf.ET_DYN, 0), func(im *image) { im.phdrs[0].Type = 4 })),
	withInterp("interpreter with entry outside", killed, changed(program(elf.ET_DYN, 0), func(im *image) { im.head.Entry = 1 << 50 })),
	withInterp("interpreter too large", killed, changed(program(elf.ET_DYN, 0), func(im *image) { im.add(seg(rw, 0, 0x10000, 0, taskSize)) })),
	withInterp("interpreter's p_filesz above p_memsz", killed, changed(program(elf.ET_DYN, 0), func(im *image) { im.phdrs[0].Memsz-- })),
	withInterp("interpreter has an interpreter", ranIt, func() []byte { return program(elf.ET_DYN, 0).addInterp("/nonexistent").bytes() }),
	exe("path of the interpreter too long", "ENOEXEC", func(im *image) { im.addInterp("/x").phdrs[1].Filesz = 4097 }),
	exe("path of the interpreter fills PATH_MAX", "ENAMETOOLONG", func(im *image) {
		im.addInterp("/" + strings.Repeat("x", 4094))
		im.size = 0x4000
	}),
	exe("path of the interpreter huge", "ENOEXEC", func(im *image) { im.addInterp("/x").phdrs[1].Filesz = ^uint64(0) }),
	exe("path of the interpreter of one byte", "ENOEXEC", func(im *image) { im.addInterp("/x").phdrs[1].Filesz = 1 }),
	exe("path of the interpreter without NUL", "ENOEXEC", func(im *image) { im.addInterp("/xyz").phdrs[1].Filesz = 3 }),
	exe("path of the interpreter empty", "EACCES", func(im *image) { im.addInterp("\x00") }),
	exe("path of the interpreter beyond the file", "EIO", func(im *image) { im.addInterp("/x").phdrs[1].Off = 1 << 40 }),
	exe("path of the interpreter at a negative offset", "EINVAL", func(im *image) { im.addInterp("/x").phdrs[1].Off = 1 << 63 }),
	exe("interpreter is a directory", "EACCES", func(im *image) { im.addInterp("/") }),
	exe("interpreter not executable", "EACCES", func(im *image) { im.addInterp("/etc/passwd") }),
	exe("path of the interpreter with a NUL inside", "ENOENT", func(im *image) { im.addInterp("/nonexistent\x00/bin/sh") }),
	exe("second interpreter is ignored", "ENOENT", func(im *image) {
		im.addInterp("/nonexistent").add(elf.Prog64{Type: uint32(elf.PT_INTERP), Filesz: 1 << 20})
	}),
}

var scriptCases = []hostileCase{
	raw("#! alone", "EACCES", "#!"),
	raw("#! and newline", "ENOEXEC", "#!\n/bin/sh"),
	raw("#! and blanks", "ENOEXEC", "#! \t \n"),
	raw("#! and blanks to the end of the buffer", "ENOEXEC", "#!"+strings.Repeat(" ", 300)),
	raw("#! and NUL", "EACCES", "#!\x00\n"),
	raw("blank before #!", "ENOEXEC", " #!/bin/sh\n"),
	raw("script", ranIt, "#!/bin/sh\nexit 42\n"),
	{name: "script without newline", want: ranIt, make: func(dir string) []byte {
		return bytes.TrimRight(nested(dir, 0), "\n")
	}},
	raw("script with blanks around", ranIt, "#! \t/bin/sh \t \nexit 42\n"),
	raw("script with a carriage return", "ENOENT", "#!/bin/sh\r\nexit 42\n"),
	raw("script with NUL after the name", ranIt, "#!/bin/sh\x00 -z\nexit 42\n"),
	raw("name too long for the line", "ENOEXEC", "#!/"+strings.Repeat("x", 253)+"\n"),
	raw("name fits the line", "ENOENT", "#!/"+strings.Repeat("x", 252)+"\n"),
	raw("name fits the line and blank", "ENOENT", "#!/"+strings.Repeat("x", 252)+" x\n"),
	raw("no such interpreter", "ENOENT", "#!/nonexistent\n"),
	raw("interpreter is a directory", "EACCES", "#!/\n"),
	raw("interpreter without execute permission", "EACCES", "#!/etc/passwd\n"),
	{name: "script runs itself", want: "ELOOP", make: func(dir string) []byte { return []byte("#!" + dir + "/file\n") }},
	{name: "five nested", want: ranIt, make: func(dir string) []byte { return nested(dir, 4) }},
	{name: "six nested", want: "ELOOP", make: func(dir string) []byte { return nested(dir, 5) }},
	{name: "script of an unknown format", want: "ENOEXEC", make: func(dir string) []byte {
		if err := os.WriteFile(dir+"/text", []byte("exit 42\n"), 0o755); err != nil {
			panic(err)
		}
		return []byte("#!" + dir + "/text\n")
	}},
}

// nested makes n scripts above a program, and returns another that runs the first of them.
func nested(dir string, n int) []byte {
	next := dir + "/prog"
	content := program(elf.ET_EXEC, 0x400000).bytes()
	for i := range n + 1 {
		if err := os.WriteFile(next, content, 0o755); err != nil {
			panic(err)
		}
		content = []byte("#!" + next + "\n")
		next = dir + "/s" + string(rune('a'+i))
	}
	return content
}

func TestHostile(t *testing.T) {
	release := kernelRelease(t)
	for _, set := range []struct {
		name  string
		cases []hostileCase
	}{{"header", headerCases}, {"segment", segmentCases}, {"interp", interpCases}, {"script", scriptCases}} {
		for _, tt := range set.cases {
			t.Run(set.name+"/"+tt.name, func(t *testing.T) {
				dir := t.TempDir()
				path := filepath.Join(dir, "file")
				if err := os.WriteFile(path, tt.make(dir), 0o755); err != nil {
					t.Fatal(err)
				}
				if got := modelOutcome(t, path); got != tt.want {
					t.Errorf("Parse and Load: %s, want %s", got, tt.want)
				}
				if release < tt.since {
					return
				}
				if got := hostOutcome(t, path); got != tt.want {
					t.Errorf("the host's kernel: %s, want %s", got, tt.want)
				}
			})
		}
	}
}

func kernelRelease(t *testing.T) int {
	var uts unix.Utsname
	if err := unix.Uname(&uts); err != nil {
		t.Fatal(err)
	}
	n := [2]int{}
	i := 0
	for _, c := range uts.Release {
		if c < '0' || c > '9' {
			if i++; i == 2 {
				break
			}
			continue
		}
		n[i] = n[i]*10 + int(c-'0')
	}
	return n[0]*100 + n[1]
}

// hostOutcome runs path on the host.
func hostOutcome(t *testing.T, path string) string {
	t.Helper()
	err := (&exec.Cmd{Path: path, Args: []string{path}}).Run()
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return unix.ErrnoName(errno)
	}
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		t.Fatalf("run %s: %v", path, err)
	}
	ws := exit.Sys().(syscall.WaitStatus)
	if ws.Signaled() && (ws.Signal() == syscall.SIGSEGV || ws.Signal() == syscall.SIGBUS) {
		return killed
	}
	return strings.Replace(exit.Error(), "exit status", "exit", 1)
}

// modelOutcome loads path and foretells how it ends from what is mapped at its entry point.
func modelOutcome(t *testing.T, path string) string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	im, err := Parse(f, Args{Path: path, Argv: []string{path}, StackLimit: 8 << 20}, openHost)
	var errno unix.Errno
	if errors.As(err, &errno) {
		if !strings.HasPrefix(err.Error(), path) && !strings.Contains(err.Error(), filepath.Dir(path)) {
			t.Errorf("error names no file: %v", err)
		}
		return unix.ErrnoName(errno)
	}
	if err != nil {
		t.Fatalf("error without errno: %v", err)
	}
	defer im.Close()
	as := newSpace(t)
	start, err := im.Load(as, Platform{}, Random{})
	if err != nil {
		if !errors.As(err, &errno) {
			t.Fatalf("error without errno: %v", err)
		}
		return killed
	}
	if len(im.interpPath()) > 0 && strings.HasPrefix(filepath.Base(im.interpPath()), "ld-") {
		return ranIt // a real dynamic program: /bin/sh of the scripts
	}
	code := make([]byte, len(exit42))
	a := as.at(start.Entry)
	if a == nil || a.prot&unix.PROT_EXEC == 0 || as.read(start.Entry, code) != nil || !bytes.Equal(code, exit42) {
		return killed
	}
	return ranIt
}

func (im *Image) interpPath() string {
	if im.interp == nil {
		return ""
	}
	return im.interp.path
}
