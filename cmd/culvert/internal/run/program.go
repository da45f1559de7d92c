package run

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"culvert/shim"
	"culvert/shim/vfs/rootfs"

	"golang.org/x/sys/unix"
)

// interpreters are the programs whose first argument is a script, if it is no flag, without the version in their names.
var interpreters = []string{
	"ash", "bash", "dash", "ksh", "lua", "node", "perl", "php", "python", "ruby", "sh", "tclsh", "zsh",
}

// command is what is to be run, and what the guest has to be shown for it.
type command struct {
	program string   // as it was given, or absolute if it names a file by a path
	args    []string // with the program's name; a script that is shown is absolute, as the kernel makes it for #!
	shown   []string // files of the host, absolute: the program and its script, without a root of the guest's own
}

// command works out what the command line runs.
func (o *options) command() command {
	c := command{program: o.args[0], args: o.args}
	if o.root != "" {
		return c
	}
	if strings.ContainsRune(c.program, '/') {
		if abs, err := filepath.Abs(c.program); err == nil {
			c.program = abs
			if st, err := os.Stat(abs); err == nil && !st.IsDir() {
				c.shown = append(c.shown, abs)
			}
		}
	}
	if script, ok := o.script(); ok {
		c.args = slices.Clone(o.args)
		c.args[1] = script
		c.shown = append(c.shown, script)
	}
	return c
}

// script returns the host's file that is the script of an interpreter: its first argument, if that is a regular file which
// may be read. What the guest has of its own goes before: all of /proc and /sys, what lies in a mount, and with --workdir names
// relative to that.
func (o *options) script() (string, bool) {
	if len(o.args) < 2 || o.args[1] == "" || o.args[1][0] == '-' {
		return "", false
	}
	name := strings.TrimRight(filepath.Base(o.args[0]), ".0123456789")
	if !slices.Contains(interpreters, name) {
		return "", false
	}
	arg := o.args[1]
	abs, err := filepath.Abs(arg)
	if err != nil {
		return "", false
	}
	guest := abs
	if !filepath.IsAbs(arg) {
		if o.workdir != defaultWorkdir {
			return "", false
		}
		guest = filepath.Join(o.workdir, arg)
	}
	own := []string{"/proc", "/sys"}
	for _, m := range o.mounts {
		own = append(own, m.Guest)
	}
	if slices.ContainsFunc(own, func(dir string) bool {
		return guest == dir || strings.HasPrefix(guest, strings.TrimRight(dir, "/")+"/")
	}) {
		return "", false
	}
	if st, err := os.Stat(abs); err != nil || !st.Mode().IsRegular() || unix.Access(abs, unix.R_OK) != nil {
		return "", false
	}
	return abs, true
}

// findProgram looks for the program in the guest's tree, along the guest's PATH if it has no slash, as execvp(3).
func findProgram(root *rootfs.Root, name string, env []string) (string, int, error) {
	c := root.Context()
	dirs := []string{""}
	if !strings.ContainsRune(name, '/') {
		for _, e := range env {
			if v, ok := strings.CutPrefix(e, "PATH="); ok {
				dirs = strings.Split(v, ":")
			}
		}
	}
	code, reason := exitNotFound, error(unix.ENOENT)
	for _, d := range dirs {
		full := filepath.Join(d, name)
		p, err := root.NS.Walk(c, root.NS.Root(), full, 0)
		if err != nil {
			if !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ENOTDIR) {
				code, reason = exitNotExecutable, err
			}
			continue
		}
		if err := root.NS.CheckExec(c, p); err != nil {
			code, reason = exitNotExecutable, err
			continue
		}
		return full, 0, nil
	}
	return "", code, fmt.Errorf("%s: %w", name, reason)
}

// startFailure is the exit code of a program that could not be started.
func startFailure(err error) int {
	if _, ok := errors.AsType[*shim.DirError](err); ok {
		return exitFailure
	}
	if errors.Is(err, fs.ErrNotExist) {
		return exitNotFound
	}
	var errno unix.Errno
	if errors.As(err, &errno) && errno != unix.ENOMEM {
		return exitNotExecutable
	}
	return exitFailure
}
