package emulate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"culvert/cmd/culvert/internal/emulate/inside"
	"culvert/cmd/culvert/internal/emulate/kernel"
	"culvert/cmd/culvert/internal/emulate/machine"
	"culvert/cmd/culvert/internal/emulate/wire"
)

// exitFailure is the exit code of a run that failed through no fault of the command's.
const exitFailure = 125

// errRefused says that a machine that stays is not the one that was asked for.
var errRefused = errors.New("the kept machine is another one")

// IsInit tells whether this process must call Init at once and exit with what it
// returns: it is init or a supervisor within an emulated machine, or the keeper
// of one. Call it before anything else in main.
func IsInit() bool { return inside.Is() || isKeeper() }

// Init does what IsInit found and returns the exit code.
func Init() int {
	if isKeeper() {
		return keeperMain()
	}
	return inside.Main()
}

// Run runs a command in an emulated machine. While it runs, the signals that end
// a command are passed on to it. The code is the command's (128+n if a signal
// ended it); 127 or 126 with an error if it cannot be executed; 125 with an error
// if the machine failed.
func Run(ctx context.Context, opt Options) (int, error) {
	if err := opt.setup(); err != nil {
		return exitFailure, err
	}
	shares, err := opt.resolveShares()
	if err != nil {
		return exitFailure, err
	}
	signals, stop := watchSignals()
	defer stop()
	for try := 1; ; try++ {
		code, err := runOnce(ctx, &opt, shares, try, signals)
		var died *diedError
		var dead *machine.DeadError
		switch {
		case errors.As(err, &died) && died.begun:
			return exitFailure, fmt.Errorf("the emulated machine died while the command was running; what it had done is lost: %w", err)
		case try >= tries || !errors.As(err, &died) && !errors.As(err, &dead):
			return code, err
		}
		fmt.Fprintf(opt.Stderr, "culvert: %v; the command had not begun: trying again (%d of %d)\n", err, try+1, tries)
	}
}

// runOnce tries a machine that stays, then one of its own.
func runOnce(ctx context.Context, opt *Options, shares []resolved, try int, signals <-chan os.Signal) (int, error) {
	if !opt.Fresh {
		code, err := runKept(ctx, opt, shares, signals)
		if !errors.Is(err, errNotKept) {
			return code, err
		}
	}
	snapshots := opt.Cache
	if try > 1 || opt.NoSnapshot {
		snapshots = ""
	}
	return runFresh(ctx, opt, shares, snapshots, signals)
}

// runFresh boots a machine for this run. It can write only to what is shared.
func runFresh(ctx context.Context, opt *Options, shares []resolved, snapshots string, signals <-chan os.Signal) (int, error) {
	exports, wireShares := exportEach(shares)
	if len(exports) > exportSlots {
		snapshots = ""
	}
	// All snapshots have the same exports; those that nothing is shared by lead nowhere.
	empty := filepath.Join(opt.Cache, "empty")
	if err := errors.Join(os.MkdirAll(opt.Cache, 0o700), os.MkdirAll(empty, 0o500)); err != nil {
		return exitFailure, fmt.Errorf("cache: %w", err)
	}
	for i := len(exports); i < exportSlots; i++ {
		exports = append(exports, machine.Export{Tag: shareSlot(i), Path: empty})
	}
	type booted struct {
		m   *machine.Machine
		err error
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan booted, 1)
	go func() {
		m, err := opt.boot(ctx, 1, exports, snapshots, opt.Stderr)
		done <- booted{m, err}
	}()
	var b booted
	select {
	case b = <-done:
	case s := <-signals:
		cancel()
		if b = <-done; b.m != nil {
			b.m.Close()
		}
		return exitBySignal(s), nil
	}
	if b.err != nil {
		return exitFailure, b.err
	}
	defer b.m.Close()
	if os.Getenv("CULVERT_EMULATE_DEBUG") != "" {
		fmt.Fprintln(opt.Stderr, b.m)
	}
	var c *client
	attached := make(chan struct{})
	s, err := b.m.Open(func(f wire.Frame) { <-attached; c.handle(f) })
	if err != nil {
		return exitFailure, err
	}
	c = newClient(opt, s.Writer(), s.ID)
	close(attached)
	payload, err := c.payload(wireShares, wire.Kept{})
	if err != nil {
		return exitFailure, err
	}
	code, err := c.run(ctx, payload, signals)
	var died *diedError
	if errors.As(err, &died) {
		if cause := b.m.Cause(); cause != nil {
			died.cause = cause.Error()
		}
	}
	return code, err
}

// boot boots a machine as the options say.
func (o *Options) boot(ctx context.Context, roots int, exports []machine.Export, snapshots string, progress io.Writer) (*machine.Machine, error) {
	k, err := kernel.Get(ctx, o.Cache, progress)
	if err != nil {
		return nil, err
	}
	return machine.Boot(ctx, machine.Config{
		CPUs: o.CPUs, Mem: o.Mem, CPU: o.CPU, Thread: threadMode(),
		Init: o.Init, Roots: roots, Exports: exports, Kernel: k,
		Append: os.Getenv("CULVERT_EMULATE_APPEND"), Limit: bootLimit, Snapshots: snapshots,
	})
}

// threadMode lets measurements choose; see package machine.
func threadMode() string {
	if v := os.Getenv("CULVERT_EMULATE_THREAD"); v != "" {
		return v
	}
	return thread
}

// exportSlots is how many exports each machine for one run has at least.
const exportSlots = 4

func shareSlot(i int) string { return fmt.Sprintf("share%d", i) }

// exportEach gives each shared directory, or shared file's directory, an export.
func exportEach(shares []resolved) ([]machine.Export, []wire.Share) {
	tags := map[string]string{} // by exported directory
	var exports []machine.Export
	var out []wire.Share
	for _, s := range shares {
		dir, sub := s.path, "."
		if s.file {
			dir, sub = filepath.Split(s.path)
			dir = filepath.Clean(dir)
		}
		if tags[dir] == "" {
			tags[dir] = shareSlot(len(tags))
			exports = append(exports, machine.Export{Tag: tags[dir], Path: dir})
		}
		out = append(out, wire.Share{Tag: tags[dir], Sub: sub, Path: s.path, File: s.file})
	}
	return exports, out
}

// payload encodes the run's request.
func (c *client) payload(shares []wire.Share, kept wire.Kept) ([]byte, error) {
	req, err := c.request(shares)
	if err != nil {
		return nil, err
	}
	req.Kept = kept
	return wire.Encode(req)
}
