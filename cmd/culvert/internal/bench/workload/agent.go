package workload

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
)

// An agent runs one workload after another on a system that takes long to start: a line of its standard input names a
// workload, with its role if it has one, and the workload inherits the agent's standard input and output. When it has
// ended, the agent says so in a line of JSON, and takes the next. Its first line, which nothing has ended before, says that
// the system has started.
//
// A workload cannot be told the end of its input here. "x" instead of a number ends it, or the peer's own stop.
const (
	Agent = "agent"
	Guest = "guest" // the agent's argument when it is the first process of a Linux guest
	End   = "x\n"
	Ready = "ready" // what the first line says
)

// Ended is the agent's line about a workload.
type Ended struct {
	Code *int   `json:"ended"` // exit code; present in no other line
	Said string `json:"said,omitempty"`
}

func agentMain(args []string) int {
	if len(args) == 1 && args[0] == Guest {
		if err := guestSetup(); err != nil {
			fmt.Fprintf(os.Stderr, "culvert %s: %v\n", Word, err)
			return exitFailed // the kernel panics
		}
	}
	ready := 0
	if err := json.NewEncoder(os.Stdout).Encode(Ended{Code: &ready, Said: Ready}); err != nil {
		return exitFailed
	}
	for {
		line, err := readLine(os.Stdin)
		if err == io.EOF {
			return 0
		}
		if err != nil {
			fmt.Fprintf(os.Stderr, "culvert %s: %v\n", Word, err)
			return exitFailed
		}
		words := strings.Fields(line)
		if len(words) == 0 || isCommand(words[0]) {
			continue // left over by a workload that ended before it was told to do it
		}
		if err := json.NewEncoder(os.Stdout).Encode(runOne(words)); err != nil {
			return exitFailed
		}
	}
}

// isCommand tells the lines that are for a workload from those for the agent: no workload's name begins with a digit.
func isCommand(word string) bool {
	return word == strings.TrimSpace(End) || word[0] >= '0' && word[0] <= '9'
}

// runOne runs a workload to its end.
func runOne(args []string) Ended {
	code := exitFailed
	self, err := os.Executable()
	if err != nil {
		return Ended{Code: &code, Said: err.Error()}
	}
	cmd := exec.Command(self, append([]string{Word}, args...)...)
	var said bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, &said
	err = cmd.Run()
	var exit *exec.ExitError
	if err == nil || errors.As(err, &exit) {
		code = cmd.ProcessState.ExitCode()
		return Ended{Code: &code, Said: strings.TrimSpace(said.String())}
	}
	return Ended{Code: &code, Said: err.Error()}
}

// readLine reads a line byte by byte: what follows is the workload's.
func readLine(r io.Reader) (string, error) {
	const most = 256
	var line []byte
	var b [1]byte
	for len(line) < most {
		if _, err := io.ReadFull(r, b[:]); err != nil {
			return "", err
		}
		if b[0] == '\n' {
			return string(line), nil
		}
		line = append(line, b[0])
	}
	return "", fmt.Errorf("a line of more than %d bytes", most)
}
