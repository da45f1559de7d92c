package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
	"time"
)

// built returns the program that command makes of source files, from a cache in the user's cache directory: on an emulated
// machine, which sees that cache, a compiler takes seconds for each. OUT in the command stands for the program.
func built(t *testing.T, sources []string, command ...string) string {
	t.Helper()
	h := sha256.New()
	fmt.Fprintf(h, "%q\n", command)
	for _, s := range sources {
		b, err := os.ReadFile(s)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(h, "%s %d\n%s", s, len(b), b)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = t.TempDir() // no HOME: built each time
	}
	dir := filepath.Join(cache, "culvert", "test-programs")
	prog := filepath.Join(dir, fmt.Sprintf("%x", h.Sum(nil)[:12]))
	if _, err := os.Stat(prog); err == nil {
		return prog
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	// Under its final name it is whole, whoever else builds it at the same time.
	part := fmt.Sprintf("%s.%d", prog, os.Getpid())
	defer os.Remove(part)
	args := slices.Clone(command)
	args[slices.Index(args, "OUT")] = part
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if msg, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%q: %v\n%s", cmd.Args, err, msg)
	}
	if err := os.Rename(part, prog); err != nil {
		t.Fatal(err)
	}
	return prog
}

// builtC is built with gcc, statically linked; headers are further files that the program includes.
func builtC(t *testing.T, source string, headers ...string) string {
	t.Helper()
	return built(t, append([]string{source}, headers...), "gcc", "-O1", "-static", "-pthread", "-w", source, "-o", "OUT")
}

// builtGo is built with the go command.
func builtGo(t *testing.T, source string) string {
	t.Helper()
	return built(t, []string{source}, "go", "build", "-trimpath", "-o", "OUT", source)
}

// plainEnv is the environment that culvert run gives a program, which programs without a VM are to have too.
var plainEnv = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root"}

// program is a program of somebody else, and what it is to do.
type program struct {
	file    string   // in testdata/programs; the command's last argument
	command []string // without the file; nil: the file is built with go, and is the command
	args    []string // after the file
	debian  string   // package that has the command
	cpus    []string
}

var programs = []program{
	{"pipes.bash", []string{"/bin/bash"}, nil, "bash", oneAndTwo},
	{"jobs.bash", []string{"/bin/bash"}, nil, "bash", oneAndTwo},
	{"posix.dash", []string{"/bin/dash"}, []string{"-a", "-b", "val", "-c"}, "dash", oneAndTwo},
	{"coreutils.bash", []string{"/bin/bash"}, nil, "bash", two},
	{"tools.bash", []string{"/bin/bash"}, nil, "bash", two},
	{"parallel.mk", []string{"/usr/bin/make", "-j4", "-f"}, nil, "make", two},
	{"fork.pl", []string{"/usr/bin/perl"}, nil, "perl", two},
	{"malformed.py", []string{"/usr/bin/python3"}, nil, "python3", two},
	{"processes.py", []string{"/usr/bin/python3"}, nil, "python3", two},
	{"threads.py", []string{"/usr/bin/python3"}, nil, "python3", two},
	{"workers.js", []string{"/usr/bin/node"}, nil, "nodejs", two},
	{"goexec", nil, nil, "golang", two},
}

// What has threads, or takes many seconds on an emulated processor, runs with two vCPUs only: one makes it easier.
var (
	two       = []string{"2"}
	oneAndTwo = []string{"1", "2"}
)

// jobPID is where bash names a process in what it says about its jobs.
var jobPID = regexp.MustCompile(`: +[0-9]+ `)

// programCommand is the command that runs a program, and the file that culvert run has to show to the guest.
func programCommand(t *testing.T, p program) (command []string, file string) {
	t.Helper()
	file, err := filepath.Abs(filepath.Join("testdata/programs", p.file))
	if err != nil {
		t.Fatal(err)
	}
	if p.command == nil {
		return []string{builtGo(t, filepath.Join("testdata/programs", p.file, "main.go"))}, file
	}
	needProgram(t, p.command[0], p.debian)
	return append(append(slices.Clone(p.command), file), p.args...), file
}

// TestPrograms runs each program twice on Linux: it must not depend on how fast it runs. It also builds, where that is fast,
// what the tests in VMs run.
func TestPrograms(t *testing.T) {
	for _, p := range programs {
		t.Run(p.file, func(t *testing.T) {
			command, _ := programCommand(t, p)
			if a, b := native(t, command), native(t, command); a != b {
				t.Errorf("code %d\n%s%s\nand then code %d\n%s%s", a.code, a.stdout, a.stderr, b.code, b.stdout, b.stderr)
			}
		})
	}
}

func TestKVMPrograms(t *testing.T) {
	needKVM(t)
	for _, p := range programs {
		t.Run(p.file, func(t *testing.T) {
			command, file := programCommand(t, p)
			want := native(t, command)
			for _, cpus := range p.cpus {
				t.Run("cpus"+cpus, func(t *testing.T) {
					args := []string{"run", "--cpus", cpus, "--workdir", "/tmp", "--mount", file + ":" + file, "--"}
					got := culvert(t, "", append(args, command...)...)
					got.stderr = jobPID.ReplaceAllString(got.stderr, ": PID ")
					if got != want {
						t.Errorf("in the VM: code %d\n%s%s\non Linux: code %d\n%s%s",
							got.code, got.stdout, got.stderr, want.code, want.stdout, want.stderr)
					}
				})
			}
		})
	}
}

// needProgram skips a test of a program that is not installed; where nothing is to be skipped, that is a failure, since
// scripts/test installs them all.
func needProgram(t *testing.T, prog, debian string) {
	t.Helper()
	if _, err := os.Stat(prog); err == nil {
		return
	}
	msg := fmt.Sprintf("not run: there is no %s (Debian package %s)", prog, debian)
	if os.Getenv("REQUIRE_KVM") == "1" {
		t.Fatal(msg)
	}
	t.Skip(msg)
}

// native runs command without a VM, in an empty directory and with the signals' default actions, as in a VM.
func native(t *testing.T, command []string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), commandLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, "env", append([]string{"--default-signal"}, command...)...)
	cmd.Dir, cmd.Env, cmd.WaitDelay = t.TempDir(), plainEnv, 10*time.Second
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) || ctx.Err() != nil {
		t.Fatalf("this machine is at fault: without a VM, %q: %v\n%s%s", command, err, stdout.String(), stderr.String())
	}
	return result{cmd.ProcessState.ExitCode(), stdout.String(), jobPID.ReplaceAllString(stderr.String(), ": PID ")}
}
