package emulate

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"culvert/cmd/culvert/internal/emulate/kernel"
	"culvert/cmd/culvert/internal/emulate/wire"
)

// errNotKept says that no suitable machine stays and none was asked for.
var errNotKept = errors.New("no kept machine")

// shareTag is a keeper's one export for shared paths: the host's root. Init
// mounts it where no run reaches it, and an export can be mounted once only.
const shareTag = "host"

// keepDir is where the keeper's socket, lock and log are: private to the user.
func keepDir() (string, error) {
	dir := os.Getenv("XDG_RUNTIME_DIR")
	if dir == "" {
		var err error
		if dir, err = os.UserCacheDir(); err != nil {
			return "", fmt.Errorf("runtime directory: %w", err)
		}
	}
	dir = filepath.Join(dir, "culvert", "keep")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("runtime directory: %w", err)
	}
	var st unix.Stat_t
	if err := unix.Lstat(dir, &st); err != nil {
		return "", fmt.Errorf("runtime directory %s: %w", dir, err)
	}
	if int(st.Uid) != os.Geteuid() || st.Mode&0o077 != 0 {
		return "", fmt.Errorf("runtime directory %s: must belong to you with mode 0700", dir)
	}
	return dir, nil
}

// files of a keeper in its directory.
func socketPath(dir string) string { return filepath.Join(dir, "socket") }
func lockPath(dir string) string   { return filepath.Join(dir, "lock") }
func logPath(dir string) string    { return filepath.Join(dir, "log") }

// dial connects to the keeper, if there is one. It makes sure that the other
// end is the same user's: the request holds the environment.
func dial(dir string) (*net.UnixConn, error) {
	c, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: socketPath(dir), Net: "unix"})
	if err != nil {
		return nil, err
	}
	if err := checkPeer(c); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

func checkPeer(c *net.UnixConn) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var cred *unix.Ucred
	var cerr error
	if err := raw.Control(func(fd uintptr) {
		cred, cerr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return err
	}
	if cerr != nil {
		return fmt.Errorf("SO_PEERCRED: %w", cerr)
	}
	if int(cred.Uid) != os.Geteuid() {
		return fmt.Errorf("the other end of the keeper's socket is user %d", cred.Uid)
	}
	return nil
}

// config names what a machine is made of, its memory apart; two machines with
// the same string and memory are interchangeable.
func (o *Options) config() string {
	return strings.Join([]string{fmt.Sprint(o.CPUs), o.CPU, threadMode(), os.Getenv("CULVERT_EMULATE_APPEND")}, " ")
}

// hashFile identifies the binary whose inside and outside speak to each other.
func hashFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("hash %s: %w", path, err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// runKept runs in the machine that stays. With opt.Keep it starts one if there
// is none, and replaces one that is of another kind. Otherwise it returns
// errNotKept then.
func runKept(ctx context.Context, opt *Options, shares []resolved, signals <-chan os.Signal) (int, error) {
	dir, err := keepDir()
	if err != nil {
		if opt.Keep {
			return exitFailure, err
		}
		return 0, errNotKept
	}
	for replaced := 0; ; replaced++ {
		conn, err := dial(dir)
		if err != nil {
			if !opt.Keep {
				return 0, errNotKept
			}
			if conn, err = startKeeper(ctx, opt, dir); err != nil {
				return exitFailure, err
			}
		}
		code, err := converse(ctx, conn, opt, shares, signals)
		conn.Close()
		if !errors.Is(err, errRefused) {
			return code, err
		}
		if !opt.Keep {
			return 0, errNotKept
		}
		if replaced >= tries {
			return exitFailure, errors.New("the kept machine could not be replaced: another culvert keeps starting its own")
		}
		if err := stopKeeper(dir); err != nil {
			return exitFailure, err
		}
	}
}

// converse is one run over a connection to a keeper.
func converse(ctx context.Context, conn *net.UnixConn, opt *Options, shares []resolved, signals <-chan os.Signal) (int, error) {
	hash, err := hashFile(opt.Init)
	if err != nil {
		return exitFailure, err
	}
	const session = 1 // the keeper gives it a number of its own inside
	c := newClient(opt, wire.NewWriter(conn), session)
	go func() {
		in := wire.NewReader(bufio.NewReaderSize(conn, 64<<10))
		for {
			f, err := in.Read()
			if err != nil {
				c.finish(wire.Frame{Kind: wire.Died, Payload: []byte("the kept machine's keeper died")})
				return
			}
			c.handle(f)
		}
	}()
	var out []wire.Share
	for _, s := range shares {
		out = append(out, wire.Share{Tag: shareTag, Sub: strings.TrimPrefix(s.path, "/"), Path: s.path, File: s.file})
	}
	kept := wire.Kept{Config: opt.config(), Init: hash}
	if !opt.anyMem {
		kept.Mem = opt.Mem
	}
	payload, err := c.payload(out, kept)
	if err != nil {
		return exitFailure, err
	}
	return c.run(ctx, payload, signals)
}

// startKeeper starts the keeper, unless another client has just done so, and
// connects to it. The keeper accepts before its machine is up, so that its
// trouble with that comes as an answer.
func startKeeper(ctx context.Context, opt *Options, dir string) (*net.UnixConn, error) {
	unlock, err := kernel.Lock(ctx, lockPath(dir))
	if err != nil {
		return nil, err
	}
	defer unlock()
	if conn, err := dial(dir); err == nil {
		return conn, nil
	}
	// A download of the kernel is to be seen, so it happens here.
	if _, err := kernel.Get(ctx, opt.Cache, opt.Stderr); err != nil {
		return nil, err
	}
	if err := os.Remove(socketPath(dir)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("stale socket: %w", err)
	}
	log, err := os.OpenFile(logPath(dir), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("keeper's log: %w", err)
	}
	defer log.Close()
	rd, wr, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer rd.Close()
	cmd := exec.Cmd{
		Path:        opt.Init,
		Args:        keeperArgs(opt, dir),
		Dir:         "/",
		Stdout:      log,
		Stderr:      log,
		ExtraFiles:  []*os.File{wr}, // closed by the keeper when it listens
		SysProcAttr: &syscall.SysProcAttr{Setsid: true},
	}
	err = cmd.Start()
	wr.Close()
	if err != nil {
		return nil, fmt.Errorf("start the keeper: %w", err)
	}
	_, _ = io.Copy(io.Discard, rd) // until the keeper listens or is gone
	conn, err := dial(dir)
	if err != nil {
		return nil, fmt.Errorf("the keeper did not start (see %s): %w", logPath(dir), err)
	}
	return conn, cmd.Process.Release()
}

// Stop ends the machine that stays, with all that runs in it. It says whether
// there was one.
func Stop() (bool, error) {
	dir, err := keepDir()
	if err != nil {
		return false, err
	}
	if _, err := dial(dir); err != nil {
		return false, nil
	}
	return true, stopKeeper(dir)
}

// stopKeeper asks the keeper to end and waits until it has.
func stopKeeper(dir string) error {
	const limit = 10 * time.Second
	conn, err := dial(dir)
	if err != nil {
		return nil
	}
	defer conn.Close()
	if err := wire.NewWriter(conn).Write(wire.Frame{Kind: wire.Kill}); err != nil {
		return fmt.Errorf("stop the kept machine: %w", err)
	}
	if err := conn.SetReadDeadline(time.Now().Add(limit)); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, conn); err != nil && !errors.Is(err, unix.ECONNRESET) {
		return fmt.Errorf("the kept machine did not stop within %v: %w", limit, err)
	}
	return nil
}
