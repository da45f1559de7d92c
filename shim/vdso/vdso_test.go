package vdso

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"slices"
	"testing"

	"culvert/shim/abi"
)

func parse(t *testing.T) ([]byte, *elf.File) {
	t.Helper()
	b, err := Image()
	if err != nil {
		t.Fatal(err)
	}
	if len(b) != abi.PageSize {
		t.Fatalf("the image has %d bytes, not a page", len(b))
	}
	f, err := elf.NewFile(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	return b, f
}

// A linker sees the names and versions of Linux's vDSO.
func TestSymbols(t *testing.T) {
	_, f := parse(t)
	if f.Type != elf.ET_DYN || f.Machine != elf.EM_X86_64 || f.Class != elf.ELFCLASS64 {
		t.Errorf("type %v, machine %v, class %v", f.Type, f.Machine, f.Class)
	}
	if name, err := f.DynString(elf.DT_SONAME); err != nil || !slices.Equal(name, []string{soname}) {
		t.Errorf("soname %q, %v", name, err)
	}
	symbols, err := f.DynamicSymbols()
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]elf.Symbol{}
	text := f.Section(".text")
	for _, s := range symbols {
		found[s.Name] = s
		if s.Version != version {
			t.Errorf("%s has version %q", s.Name, s.Version)
		}
		if s.Name != version && (s.Value < text.Addr || s.Value+s.Size > text.Addr+text.Size || s.Size == 0) {
			t.Errorf("%s lies outside the code: %+v", s.Name, s)
		}
	}
	for _, name := range []string{"clock_gettime", "gettimeofday", "time", "clock_getres", "getcpu"} {
		strong, weak := found["__vdso_"+name], found[name]
		if strong.Value == 0 || weak.Value != strong.Value {
			t.Errorf("%s: %+v and %+v", name, strong, weak)
		}
		if elf.ST_BIND(strong.Info) != elf.STB_GLOBAL || elf.ST_BIND(weak.Info) != elf.STB_WEAK ||
			elf.ST_TYPE(strong.Info) != elf.STT_FUNC {
			t.Errorf("%s: bindings %#x and %#x", name, strong.Info, weak.Info)
		}
	}
	if len(symbols) != 11 {
		t.Errorf("%d symbols, not 11", len(symbols))
	}
}

// lookup finds a symbol through the hash table, as ld.so does.
func lookup(t *testing.T, f *elf.File, name string) bool {
	t.Helper()
	data := func(sec string) []byte {
		b, err := f.Section(sec).Data()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	hash, sym, str := data(".hash"), data(".dynsym"), data(".dynstr")
	word := func(i uint32) uint32 { return binary.LittleEndian.Uint32(hash[4*i:]) }
	buckets := word(0)
	for i, n := word(2+elfHash(name)%buckets), 0; i != 0; i = word(2 + buckets + i) {
		if n++; n > 100 {
			t.Fatal("the chain does not end")
		}
		at := binary.LittleEndian.Uint32(sym[symbolSize*i:])
		end := bytes.IndexByte(str[at:], 0)
		if string(str[at:int(at)+end]) == name {
			return true
		}
	}
	return false
}

func TestHash(t *testing.T) {
	_, f := parse(t)
	for name, want := range map[string]bool{
		"__vdso_clock_gettime": true, "getcpu": true, "time": true, "__vdso_sgx_enter_enclave": false, "": false,
	} {
		if lookup(t, f, name) != want {
			t.Errorf("%q: found is %v", name, !want)
		}
	}
	// The constant that Go's runtime compares (runtime/vdso_linux_amd64.go).
	if h := elfHash(version); h != 0x3ae75f6 {
		t.Errorf("hash of %s is %#x", version, h)
	}
}

// The code refers to nothing outside the image: no address of this process is in it.
func TestCodeIsPositionIndependent(t *testing.T) {
	code, at, err := functions()
	if err != nil {
		t.Fatal(err)
	}
	var addrs [numAddrs]uintptr
	codeAddrs(&addrs)
	for off := 0; off+4 <= len(code); off++ {
		v := uintptr(binary.LittleEndian.Uint32(code[off:]))
		if v >= addrs[atBegin] && v < addrs[atEnd] {
			t.Errorf("offset %#x holds the address %#x of this process", off, v)
		}
	}
	for i := 1; i < numAddrs; i++ {
		if at[i] <= at[i-1] {
			t.Errorf("function %d begins at %#x, the one before at %#x", i, at[i], at[i-1])
		}
	}
}

// The sections lie in the one segment that is mapped, aligned, and do not overlap.
func TestLayout(t *testing.T) {
	_, f := parse(t)
	end := uint64(headerSize + numProgs*progSize)
	for _, s := range f.Sections[1:] {
		if s.Offset < end || s.Addralign != 0 && s.Offset%s.Addralign != 0 {
			t.Errorf("%s at %#x, the one before ends at %#x", s.Name, s.Offset, end)
		}
		end = s.Offset + s.FileSize
		if s.Flags&elf.SHF_ALLOC != 0 && s.Addr != s.Offset {
			t.Errorf("%s has address %#x and offset %#x", s.Name, s.Addr, s.Offset)
		}
	}
	load := f.Progs[0]
	if load.Type != elf.PT_LOAD || load.Vaddr != 0 || load.Off != 0 || load.Flags != elf.PF_R|elf.PF_X || load.Filesz < end {
		t.Errorf("the segment %+v does not hold %#x bytes", load.ProgHeader, end)
	}
}
