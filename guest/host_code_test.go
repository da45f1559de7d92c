package guest

import (
	"runtime"
	"slices"
	"testing"

	"culvert/pipes"
	"culvert/shim/abi"
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

// TestHotRuns: what pipe calls and switches of threads go through lies in the runs that Text packs into few pages. A file
// that is renamed moves its functions.
func TestHotRuns(t *testing.T) {
	code := Addresses()
	var funcs []span
	for _, seed := range textSeeds() {
		f, err := packageFuncs(seed)
		if err != nil {
			t.Fatal(err)
		}
		funcs = append(funcs, f...)
	}
	runs := hotRuns(funcs)
	for _, pc := range []uintptr{
		codePC((*pipes.Pipe).BeginRead), codePC((*pipes.Pipe).EndRead), codePC((*pipes.Pipe).BeginWrite),
		codePC((*pipes.Pipe).EndWrite), codePC((*pipes.WaitSet).Take),
		codePC(sysReadWrite), codePC(pipeRetry), codePC(pipeAgain), codePC(pipeLeave), codePC(pipeRead), codePC(pipeWrite),
		codePC(getFile), codePC(wake), codePC(take), codePC(block), codePC(schedule), codePC(resumeRecord),
		codePC(setSpace), codePC(onSyscall), codePC(due),
		code.SysEntry, code.Copy, code.Save, code.SetCR3,
	} {
		if !slices.ContainsFunc(runs, func(r span) bool { return r.start <= pc && pc < r.end }) {
			t.Errorf("%s is in none of the runs", runtime.FuncForPC(pc).Name())
		}
	}
	cut, bytes, pages := pageCut(runs), uintptr(0), uintptr(0)
	for _, r := range runs {
		bytes += r.end - r.start
		pages += pagesOf(r, cut)
	}
	if least := (bytes + abi.PageSize - 1) / abi.PageSize; pages > least+1 {
		t.Errorf("the runs have %d bytes and take %d pages", bytes, pages)
	}
	t.Logf("%d bytes in %d pages, cut at %#x", bytes, pages, cut)
}
