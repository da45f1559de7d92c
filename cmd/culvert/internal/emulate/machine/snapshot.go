package machine

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// A snapshot is a machine's state right after its inside said Hello: nothing is
// mounted from the host yet and no run has begun, so it holds nothing of the
// host's but the init binary. To start from it takes a third of the time of a
// start from cold. Its file's name has the hash of all that it depends on.

const (
	snapshotPrefix   = "snapshot-"
	snapshotsKept    = 3 // the rest, least recently used first, is removed; 150 MB each
	unfinishedPrefix = "unfinished-"

	restoreLimit = 20 * time.Second
)

// snapshotPath names the snapshot of cfg's machine.
func snapshotPath(cfg Config, qemu string) (string, error) {
	h := sha256.New()
	plain := cfg
	plain.Exports = slices.Clone(cfg.Exports)
	for i := range plain.Exports {
		plain.Exports[i].Path = "" // nothing of it is in the state
	}
	fmt.Fprintln(h, arguments(plain, 0))
	init, err := os.ReadFile(cfg.Init)
	if err != nil {
		return "", fmt.Errorf("init of the emulated machine: %w", err)
	}
	h.Write(init)
	for _, file := range []string{qemu, cfg.Kernel.Vmlinux()} {
		st, err := os.Stat(file)
		if err != nil {
			return "", err
		}
		fmt.Fprintln(h, file, st.Size(), st.ModTime().UnixNano())
	}
	// The counter's rate, which the kernel inside knows, is the processor's.
	cpu, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "", err
	}
	for line := range bytes.Lines(cpu) {
		if bytes.HasPrefix(line, []byte("model name")) {
			h.Write(line)
			break
		}
	}
	return filepath.Join(cfg.Snapshots, snapshotPrefix+hex.EncodeToString(h.Sum(nil)[:12])), nil
}

// save writes the machine's state to path, all or nothing.
func (m *Machine) save(path string) error {
	f, err := os.CreateTemp(filepath.Dir(path), unfinishedPrefix)
	if err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	defer f.Close()
	if err := m.monitor.save(f); err != nil {
		_ = os.Remove(f.Name())
		return fmt.Errorf("snapshot: %w", err)
	}
	if err := os.Rename(f.Name(), path); err != nil {
		_ = os.Remove(f.Name())
		return fmt.Errorf("snapshot: %w", err)
	}
	prune(filepath.Dir(path))
	return nil
}

// prune removes the snapshots that were not used for longest, and what a process
// that was killed left unfinished. Whoever is reading one has it open.
func prune(dir string) {
	type entry struct {
		path string
		used time.Time
	}
	var all []entry
	names, err := filepath.Glob(filepath.Join(dir, snapshotPrefix+"*"))
	if err != nil {
		return
	}
	for _, n := range names {
		if st, err := os.Stat(n); err == nil {
			all = append(all, entry{n, st.ModTime()})
		}
	}
	slices.SortFunc(all, func(a, b entry) int { return cmp.Compare(b.used.UnixNano(), a.used.UnixNano()) })
	for _, e := range all[min(len(all), snapshotsKept):] {
		_ = os.Remove(e.path) // gone already, perhaps
	}
	if names, err = filepath.Glob(filepath.Join(dir, unfinishedPrefix+"*")); err != nil {
		return
	}
	for _, n := range names {
		if st, err := os.Stat(n); err == nil && time.Since(st.ModTime()) > 10*qmpLimit {
			_ = os.Remove(n)
		}
	}
}

// openSnapshot opens path and notes that it was used.
func openSnapshot(path string) (*os.File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	_ = os.Chtimes(path, now, now) // it may be used all the same
	return f, nil
}

// restore waits until QEMU has read the snapshot, and lets the machine run.
func (m *Machine) restore(ctx context.Context) error {
	for end := time.Now().Add(restoreLimit); ; {
		running, err := m.monitor.incoming()
		if err != nil {
			return err
		}
		if running {
			break
		}
		if time.Now().After(end) {
			return fmt.Errorf("QEMU did not read the snapshot within %v", restoreLimit)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-m.gone:
			return m.Cause()
		case <-time.After(2 * time.Millisecond):
		}
	}
	_, err := m.monitor.do("cont", nil, nil) // it was saved while it was stopped
	return err
}
