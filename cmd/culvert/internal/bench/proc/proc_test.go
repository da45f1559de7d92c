package proc

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestParseSmaps(t *testing.T) {
	const text = `00400000-00401000 r-xp 00000000 08:01 12      /usr/bin/a b
Size:                  4 kB
Rss:                   4 kB
Pss:                   2 kB
Pss_Dirty:             0 kB
VmFlags: rd ex
7f0000000000-7f0020000000 rw-p 00000000 00:00 0
Size:             524288 kB
Pss:                 100 kB
`
	got, err := parseSmaps(strings.NewReader(text))
	want := []Mapping{{0x400000, 0x401000, "/usr/bin/a b", 4 << 10, 2 << 10}, {0x7f0000000000, 0x7f0020000000, "", 0, 100 << 10}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
	for _, bad := range []string{"x-y r-xp 00000000 08:01 12\n", "2-1 r 0 0 0\n", "1-2 r 0 0 0\nPss: -1 kB\n"} {
		if _, err := parseSmaps(strings.NewReader(bad)); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func TestMappings(t *testing.T) {
	list, err := Mappings(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	sum := uint64(0)
	for i := range list {
		sum += list[i].PSS
	}
	if sum < 100<<10 || sum > 4<<30 {
		t.Errorf("this process takes %d bytes", sum)
	}
}

// Time is counted of a process, of its living children, and of those that it has waited for.
func TestTreeCPU(t *testing.T) {
	cmd := exec.Command("sh", "-c", `sh -c 'i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done'; echo; sleep 60 & wait`)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	took, err := TreeCPU(cmd.Process.Pid)
	if err != nil || took < tick || took > time.Hour {
		t.Errorf("%v, %v", took, err)
	}
	tree, err := Tree(cmd.Process.Pid)
	if err != nil || tree[0] != cmd.Process.Pid {
		t.Errorf("tree %v, %v", tree, err)
	}
	for _, pid := range slices.Backward(tree) {
		if p, err := os.FindProcess(pid); err == nil {
			_ = p.Kill()
		}
	}
	_ = cmd.Wait()
	if _, err := TreeCPU(cmd.Process.Pid); err == nil {
		t.Error("a process that has ended has a tree")
	}
}

func TestSelfCPU(t *testing.T) {
	a, err := SelfCPU()
	for sum := 0; sum < 1e7; sum++ { // takes a moment
		_ = sum
	}
	b, err2 := SelfCPU()
	if err != nil || err2 != nil || b <= a {
		t.Errorf("%v then %v: %v, %v", a, b, err, err2)
	}
}
