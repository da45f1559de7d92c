package workload

import (
	"errors"
	"fmt"
	"os"

	"culvert/cmd/culvert/internal/bench/tinyelf"
)

// tinyProgram writes the program to be executed to a temporary file.
func tinyProgram(w *work) error {
	image, err := tinyelf.Exit()
	if err != nil {
		return err
	}
	f, err := os.CreateTemp("", "culvert-bench-")
	if err != nil {
		return fmt.Errorf("file for the program to execute: %w", err)
	}
	w.cleanup = func() { os.Remove(f.Name()) }
	_, err = f.Write(image)
	if err := errors.Join(err, f.Chmod(0o755), f.Close()); err != nil {
		return fmt.Errorf("write the program to execute: %w", err)
	}
	return w.program(f.Name())
}

// selfProgram has this program executed, with a word that makes it end at once.
func selfProgram(w *work) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	return w.program(self, Word, Nothing)
}

// program lays out execve's arguments in the workload's memory: strings from stringsAt on, then the vectors. The
// environment is empty.
func (w *work) program(args ...string) error {
	at := stringsAt
	w.path = w.base + uintptr(at)
	w.argv = w.base + argvAt
	w.envp = w.argv + 8*uintptr(len(args)) // argv's last word, which is 0: an empty vector
	store64(w.envp, 0)
	for i, s := range args {
		if at+len(s)+1 > lineAt || i >= maxArgs-1 {
			return fmt.Errorf("program %s: its arguments are too long", args[0])
		}
		store64(w.argv+8*uintptr(i), uint64(w.base)+uint64(at))
		at += copy(w.memory[at:], s+"\x00")
	}
	return nil
}
