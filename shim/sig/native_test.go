package sig

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"culvert/guest/signals"
)

// nativeFrame is a signal frame that Linux built.
type nativeFrame struct {
	at, fpAt  uint64
	frame, fp []byte
}

// buildNative runs testdata/frame.c on this machine's kernel.
func buildNative(t *testing.T, args ...string) nativeFrame {
	t.Helper()
	cc, err := exec.LookPath("gcc")
	if err != nil {
		t.Skip("gcc is not installed: package gcc")
	}
	bin := filepath.Join(t.TempDir(), "frame")
	if out, err := exec.Command(cc, "-O1", "-o", bin, "testdata/frame.c").CombinedOutput(); err != nil {
		t.Fatalf("gcc: %v\n%s", err, out)
	}
	out, err := exec.Command(bin, args...).Output()
	if err != nil {
		t.Fatal(err)
	}
	var n nativeFrame
	for line := range strings.Lines(string(out)) {
		var what, digits string
		var at uint64
		if _, err := fmt.Sscanf(line, "%s %x %s", &what, &at, &digits); err != nil {
			t.Fatal(err)
		}
		b, err := hex.DecodeString(digits)
		if err != nil {
			t.Fatal(err)
		}
		if what == "frame" {
			n.at, n.frame = at, b
		} else {
			n.fpAt, n.fp = at, b
		}
	}
	if len(n.frame) != FrameSize {
		t.Fatalf("%d bytes of frame", len(n.frame))
	}
	return n
}

// TestFrameIsLinux: what Unmarshal reads of a frame of the kernel, Marshal writes again, byte for byte.
func TestFrameIsLinux(t *testing.T) {
	for _, args := range [][]string{nil, {"altstack"}} {
		n := buildNative(t, args...)
		le := binary.LittleEndian
		// Padding and reserved words, which the kernel does not write.
		clear(n.frame[offStack+12 : offStack+16])
		clear(n.frame[offFPState+8 : offMask])
		var f Frame
		f.Unmarshal((*[FrameSize]byte)(n.frame))
		f.Restorer = le.Uint64(n.frame[0:])
		f.Err, f.Trapno, f.CR2 = le.Uint64(n.frame[offErr:]), le.Uint64(n.frame[offTrapno:]), le.Uint64(n.frame[offCR2:])
		info := UnmarshalInfo((*[InfoSize]byte)(n.frame[InfoOffset:]))
		f.Info = &info
		if got := f.Marshal(); !bytes.Equal(got[:], n.frame) {
			t.Errorf("%v: the frame differs:\n%x\n%x", args, got[:], n.frame)
		}
		if f.Mask != Of(SIGHUP) || f.FPState != n.fpAt || info.Signo != SIGUSR1 || info.Code != SI_TKILL {
			t.Errorf("%v: mask %#x, fpstate %#x (at %#x), signal %d, code %d", args, f.Mask, f.FPState, n.fpAt, info.Signo, info.Code)
		}
		if want := uint64(signals.UC_SIGCONTEXT_SS | signals.UC_STRICT_RESTORE_SS | signals.UC_FP_XSTATE); f.Flags != want {
			t.Errorf("%v: uc_flags %#x, want %#x", args, f.Flags, want)
		}
		// Where the kernel put it is where Place does.
		at, fpAt, ok := signals.Place(f.Regs.RSP, &f.Stack, len(args) > 0, uint64(len(n.fp)))
		if !ok || at != n.at || fpAt != n.fpAt {
			t.Errorf("%v: Place gives %#x, %#x, %t; Linux %#x, %#x", args, at, fpAt, ok, n.at, n.fpAt)
		}
	}
}

// TestXStateIsLinux: the FPU state of a frame of the kernel is restored, and saved as it was.
func TestXStateIsLinux(t *testing.T) {
	n := buildNative(t)
	if len(n.fp) <= signals.FXSaveSize {
		t.Skip("the processor or kernel has no XSAVE")
	}
	le := binary.LittleEndian
	x := XState{Size: int(le.Uint32(n.fp[offSW+16:])), XCR0: le.Uint64(n.fp[offSW+8:])}
	if x.FrameSize() != len(n.fp) {
		t.Fatalf("FrameSize %d, Linux %d", x.FrameSize(), len(n.fp))
	}
	area := make([]byte, x.Size)
	x.Init(area)
	if err := x.Restore(area, n.fp, n.fpAt); err != nil {
		t.Fatal(err)
	}
	if v := le.Uint64(area[160+5*16:]); v != 0x1122334455667788 {
		t.Errorf("XMM5 is %#x", v)
	}
	got := x.Save(area)
	le.PutUint32(got[signals.OffMXCSRMask:], le.Uint32(n.fp[signals.OffMXCSRMask:]))
	if !bytes.Equal(got, n.fp) {
		for i := range got {
			if got[i] != n.fp[i] {
				t.Errorf("byte %d is %#x, Linux %#x", i, got[i], n.fp[i])
			}
		}
	}
}
