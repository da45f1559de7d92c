package kernel

import (
	"bytes"
	"context"
	"debug/elf"
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestOrder(t *testing.T) {
	deps := map[string][]string{
		"kvm_amd": {"kvm", "ccp"}, "kvm": {"irqbypass"}, "irqbypass": nil, "ccp": {"rng_core"},
		"9p": {"9pnet", "netfs"}, "9pnet": nil, "netfs": nil, "a": {"b"}, "b": {"c"}, "c": {"a"}, "broken": {"absent"},
	}
	ask := func(name string) ([]string, bool, error) {
		if name == "rng_core" {
			return nil, true, nil
		}
		d, ok := deps[name]
		if !ok {
			return nil, false, errors.New("no module " + name)
		}
		return d, false, nil
	}
	got, err := Order([]string{"9p", "kvm-amd", "kvm"}, ask)
	want := []string{"9pnet", "netfs", "9p", "irqbypass", "kvm", "ccp", "kvm_amd"}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v, %v; want %v", got, err, want)
	}
	if _, err := Order([]string{"a"}, ask); err == nil || !strings.Contains(err.Error(), "a -> b -> c -> a") {
		t.Errorf("circle: %v", err)
	}
	if _, err := Order([]string{"broken"}, ask); err == nil || !strings.Contains(err.Error(), "absent") {
		t.Errorf("missing: %v", err)
	}
}

func TestStripSignature(t *testing.T) {
	body := []byte("module body")
	sign := func(length uint32) []byte {
		b := append(bytes.Clone(body), "SIGNATURE"...)
		b = append(b, make([]byte, 8)...)
		b = binary.BigEndian.AppendUint32(b, length)
		return append(b, sigMagic...)
	}
	if got := StripSignature(sign(9)); !bytes.Equal(got, body) {
		t.Errorf("signed: %q, want %q", got, body)
	}
	for name, in := range map[string][]byte{
		"unsigned": body, "length too large": sign(1 << 31), "magic only": []byte(sigMagic), "empty": nil,
	} {
		if got := StripSignature(in); !bytes.Equal(got, in) {
			t.Errorf("%s: changed to %q", name, got)
		}
	}
}

// section makes an ELF file that has one section.
func section(t *testing.T, name, content string) []byte {
	t.Helper()
	shstr := "\x00.shstrtab\x00" + name + "\x00"
	var b bytes.Buffer
	h := elf.Header64{Type: uint16(elf.ET_REL), Machine: uint16(elf.EM_X86_64), Version: 1, Ehsize: 64, Shentsize: 64, Shnum: 3, Shstrndx: 1}
	copy(h.Ident[:], "\x7fELF\x02\x01\x01")
	h.Shoff = uint64(64 + len(shstr) + len(content))
	put := func(v any) {
		if err := binary.Write(&b, binary.LittleEndian, v); err != nil {
			t.Fatal(err)
		}
	}
	put(h)
	b.WriteString(shstr + content)
	put(elf.Section64{})
	put(elf.Section64{Name: 1, Type: uint32(elf.SHT_STRTAB), Off: 64, Size: uint64(len(shstr))})
	put(elf.Section64{Name: 11, Type: uint32(elf.SHT_PROGBITS), Off: uint64(64 + len(shstr)), Size: uint64(len(content))})
	return b.Bytes()
}

func TestDepends(t *testing.T) {
	for info, want := range map[string][]string{
		"license=GPL\x00depends=kvm,ccp-x\x00name=a\x00": {"kvm", "ccp_x"},
		"depends=\x00": nil,
		"":             nil,
	} {
		got, err := Depends(section(t, ".modinfo", info))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %v, %v; want %v", info, got, err, want)
		}
	}
	for _, bad := range [][]byte{nil, []byte("not ELF"), section(t, ".other", "depends=a\x00")} {
		if _, err := Depends(bad); err == nil {
			t.Errorf("%.10q was accepted", bad)
		}
	}
}

func TestHideBTF(t *testing.T) {
	in := section(t, ".BTF", "types")
	f, err := elf.NewFile(bytes.NewReader(HideBTF(in)))
	if err != nil {
		t.Fatal(err)
	}
	if f.Section(".BTF") != nil || f.Section(".XTF") == nil {
		t.Error("the section is still there")
	}
	if other := section(t, ".other", "x"); !bytes.Equal(HideBTF(other), other) {
		t.Error("a module without it was changed")
	}
}

// TestTrim runs this test binary, trimmed.
func TestTrim(t *testing.T) {
	exe, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	cut, err := Trim(exe)
	if err != nil {
		t.Fatal(err)
	}
	if len(cut) >= len(exe) {
		t.Errorf("%d bytes of %d are left", len(cut), len(exe))
	}
	path := filepath.Join(t.TempDir(), "trimmed")
	if err := os.WriteFile(path, cut, 0o700); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(path, "-test.run=^$").CombinedOutput(); err != nil {
		t.Errorf("the trimmed binary: %v: %s", err, out)
	}
	for _, bad := range [][]byte{nil, []byte("\x7fELF"), exe[:len(cut)-1]} {
		if _, err := Trim(bad); err == nil {
			t.Errorf("%d bytes were accepted", len(bad))
		}
	}
}

func TestBadKernelImages(t *testing.T) {
	image := make([]byte, 4096)
	copy(image[0x202:], "HdrS")
	binary.LittleEndian.PutUint32(image[0x248:], 0)
	binary.LittleEndian.PutUint32(image[0x24c:], 1<<31)
	for name, in := range map[string][]byte{"empty": nil, "zeros": make([]byte, 4096), "payload outside": image} {
		if _, err := Vmlinux(context.Background(), in); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestDecompress(t *testing.T) {
	gz := []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0x4b, 4, 0, 0x43, 0xbe, 0xb7, 0xe8, 1, 0, 0, 0} // "a"
	for _, in := range [][]byte{gz, append(bytes.Clone(gz), "more after the stream"...)} {
		if got, err := decompress(context.Background(), "test", in); err != nil || string(got) != "a" {
			t.Errorf("%q, %v; want a", got, err)
		}
	}
	if got, err := decompress(context.Background(), "test", []byte("plain")); err != nil || string(got) != "plain" {
		t.Errorf("plain: %q, %v", got, err)
	}
	if _, err := decompress(context.Background(), "test", gz[:4]); err == nil {
		t.Error("a stream that is cut short was accepted")
	}
}

func TestLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	unlock, err := Lock(context.Background(), path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if _, err := Lock(ctx, path); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a second lock: %v", err)
	}
	unlock()
	again, err := Lock(context.Background(), path)
	if err != nil {
		t.Fatal(err)
	}
	again()
}

func TestOpenRefusesDamage(t *testing.T) {
	for name, text := range map[string]string{
		"no JSON": "x", "missing file": `{"Modules":["a.ko"]}`, "a path": `{"Modules":["../vmlinux"]}`,
	} {
		dir := t.TempDir()
		for file, body := range map[string]string{"kernel.json": text, "vmlinux": ""} {
			if err := os.WriteFile(filepath.Join(dir, file), []byte(body), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := open(dir); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestTickRate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config")
	for text, want := range map[string]int{"CONFIG_HZ=1000\n": 1000, "# CONFIG_HZ=7\n": 250, "CONFIG_HZ=0\n": 250} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := tickRate(path); got != want {
			t.Errorf("%q: %d, want %d", text, got, want)
		}
	}
	if got := tickRate("/nonexistent"); got != 250 {
		t.Errorf("no file: %d, want 250", got)
	}
}
