package guest

import (
	"runtime"
	"testing"
)

// TestSmallSize: the gate takes a fault in smallSize bytes from smallMovs on for one of its copy. They end with it.
func TestSmallSize(t *testing.T) {
	code := Addresses() // so that the linker keeps all of it
	funcs, err := packageFuncs(code.OnSyscall)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range funcs {
		if name := runtime.FuncForPC(f.start).Name(); name != "culvert/guest.smallMovs" {
			continue
		}
		if size := f.end - f.start; size < smallSize || size >= smallSize+16 {
			t.Errorf("smallMovs takes %d bytes with its padding, smallSize is %d", size, smallSize)
		}
		return
	}
	t.Error("smallMovs is not among the package's functions")
}
