package bench

import (
	"encoding/json"
	"testing"

	"culvert/cmd/culvert/internal/bench/report"
	"culvert/cmd/culvert/internal/bench/workload"
)

// Every measurement works in a VM and on bare Linux, and has what the JSON promises. Nothing is said of the times.
func TestKVMAll(t *testing.T) {
	requireKVM(t)
	out, errs, code := command(t, "all", "--no-emulate", "--against", "native", "--samples", "1", "--duration", "1ms",
		"--size", "1,64K", "--processes", "8", "--format", "json")
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, errs)
	}
	var r report.Report
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, m := range r.Measurements {
		names[m.Name] = true
		if m.Skipped != "" {
			continue // a program that this machine does not have
		}
		if m.Name == memoryName {
			// The promise is 12 MiB; here the VM is this test binary's.
			if m.Error != "" || m.Bytes < 1<<20 || m.Bytes > 64<<20 || len(m.Samples) != memoryRuns {
				t.Errorf("%s: %+v", m.Name, m)
			}
			continue
		}
		if m.Error != "" || m.NSPerOp <= 0 || (m.PerOp == nil) != (m.Group == "vm-to-vm") || m.Ratio == nil || len(m.Samples) != 1 || len(m.Against) != 1 {
			t.Errorf("%s: %+v", m.Name, m)
		}
		if (m.Block > 0) != (m.MBPerS != nil) || (m.Block > 0) != (m.HostCPUPerByte != nil) {
			t.Errorf("%s moves %d bytes in an operation, and its MB/s are %v", m.Name, m.Block, m.MBPerS)
		}
	}
	want := []string{startupName, memoryName}
	for _, k := range workload.Kinds(workload.Params{Blocks: []int{1, 65536}, Processes: 8}) {
		want = append(want, k.Name)
	}
	for _, name := range want {
		if !names[name] {
			t.Errorf("%s was not measured", name)
		}
	}
}

// A pipe between processes that are both ready costs no exit, but for what an empty batch costs, which is subtracted.
func TestKVMNoExits(t *testing.T) {
	requireKVM(t)
	out, errs, code := command(t, "pingpong", "--no-emulate", "--samples", "3", "--duration", "300ms", "--format", "json")
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, errs)
	}
	var r report.Report
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatal(err)
	}
	m := r.Measurements[0]
	var exits, ops uint64
	for _, s := range m.Samples {
		exits += *s.Exits
		ops += s.Ops
	}
	// A round trip with exits would take 4 of them or more.
	if exits > ops/2+5 {
		t.Errorf("%d round trips took %d exits", ops, exits)
	}
}
