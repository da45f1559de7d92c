// Package loader does what execve does to a program's file: it finds out what the file is, follows `#!` lines, checks
// the ELF headers of program and interpreter, and fills a fresh address space with segments, bss, break and first
// stack. It mirrors fs/exec.c, fs/binfmt_script.c and fs/binfmt_elf.c of Linux 6.18, x86-64 only.
//
// The work is split where Linux's point of no return lies:
//
//	Parse       everything that can fail with an errno while the old program still exists
//	Image.Load  the rest, on the new address space; where Linux would by now have killed the process with
//	            SIGSEGV, Load returns an error and the caller does the same
//
// Errors are chains that end in a unix.Errno, the number that execve returns (or would have, after the point of no
// return), behind text that names the file and what is wrong with it.
//
// Every byte of an executable is hostile. Arithmetic on header fields wraps modulo 2^64 as the kernel's does, and no
// range reaches the address space before it was found to lie in user memory. What Parse reads of one file is bounded:
// 256 bytes, a header, 64 KiB of program headers, and PATH_MAX bytes of interpreter name; at most six files in a
// chain of scripts, and one interpreter.
//
// What Linux does not check is not checked here either, because programs rely on what works: EI_CLASS, EI_DATA and
// EI_VERSION are ignored, p_offset and p_vaddr may disagree for an empty segment, segments may overlap (the later one
// wins), and an entry point may lie in no segment (the program then dies of SIGSEGV at its first instruction).
package loader

import (
	"errors"
	"fmt"
	"io"

	"culvert/shim/abi"

	"golang.org/x/sys/unix"
)

const (
	// BINPRM_BUF_SIZE is how much of a file tells its format, and so the longest `#!` line
	// (include/uapi/linux/binfmts.h).
	BINPRM_BUF_SIZE = 256
	// MaxInterpreters bounds a chain of scripts: the sixth nested interpreter fails with ELOOP (fs/exec.c).
	MaxInterpreters = 5

	taskSize = uint64(abi.UserEnd)
	pageSize = uint64(abi.PageSize)
	pageMask = uint64(abi.PageMask)
)

// File is an open executable. The same value is handed to AddressSpace.MapFile, which knows what is behind it.
// ReadAt at or past the end returns io.EOF.
type File interface {
	io.ReaderAt
	io.Closer
}

// Opener opens an interpreter for execution, as open_exec does: it resolves a path of the guest against the guest's
// root and working directory, and fails with ENOENT, EACCES (no execute permission, not a regular file, noexec), ELOOP
// and so on, as a unix.Errno in its chain. The path may be relative, and is not empty.
type Opener func(path string) (File, error)

// exec opens path. An empty one means the working directory for open_exec, and a directory cannot be executed.
func (open Opener) exec(path string) (File, error) {
	if path == "" {
		return nil, unix.EACCES
	}
	return open(path)
}

// Args is what the caller of execve passed.
type Args struct {
	// Path is the file name as it was passed: AT_EXECFN, and what a script's interpreter gets to open.
	Path string
	// Argv and Envp hold no NUL bytes. An empty Argv becomes one empty string, as in Linux since 5.18.
	Argv, Envp []string
	// StackLimit is the soft RLIMIT_STACK in bytes; a quarter of it bounds argv and envp.
	StackLimit uint64
	// PathInaccessible says that Path names a close-on-exec descriptor, which a script's interpreter could not open
	// (BINPRM_FLAGS_PATH_INACCESSIBLE, set by execveat): scripts fail with ENOENT.
	PathInaccessible bool
}

// Image is a program that passed all checks of its headers. Close it, loaded or not.
type Image struct {
	file   File
	head   header
	phdrs  []phdr
	interp *interpreter
	exec   stackProt

	path string
	argv []string
	envp []string
	// stackLimit is Args.StackLimit.
	stackLimit uint64

	// opened holds the files that came from the Opener; the caller's own is not among them.
	opened []File
}

// File returns the file that is run: the one given to Parse, or the last interpreter of a script. It is what
// /proc/self/exe names, and it is valid until Close unless it is the caller's.
func (im *Image) File() File { return im.file }

// Argv returns the arguments after `#!` lines were applied.
func (im *Image) Argv() []string { return im.argv }

// Close closes the files that Parse opened.
func (im *Image) Close() error {
	var errs []error
	for _, f := range im.opened {
		if err := f.Close(); err != nil {
			errs = append(errs, fmt.Errorf("%s: close an interpreter: %w", im.path, err))
		}
	}
	im.opened = nil
	return errors.Join(errs...)
}

// Parse checks f and whatever interpreters it names. It does not close f. It mirrors exec_binprm and the part of
// load_elf_binary before begin_new_exec.
func Parse(f File, args Args, open Opener) (*Image, error) {
	im := &Image{file: f, path: args.Path, envp: args.Envp, stackLimit: args.StackLimit}
	err := im.parse(args, open)
	if err != nil {
		return nil, errors.Join(err, im.Close())
	}
	return im, nil
}

func (im *Image) parse(args Args, open Opener) error {
	vec, err := newVector(args)
	if err != nil {
		return fmt.Errorf("%s: %w", args.Path, err)
	}
	// name is the path of the file looked at: bprm->interp.
	name := args.Path
	for depth := 0; ; depth++ {
		if depth > MaxInterpreters {
			return fmt.Errorf("%s: more than %d nested interpreters: %w", args.Path, MaxInterpreters, unix.ELOOP)
		}
		var buf [BINPRM_BUF_SIZE]byte
		if _, err := readAt(im.file, buf[:], 0); err != nil {
			return fmt.Errorf("%s: read the first bytes: %w", name, err)
		}
		bang, ok := parseShebang(&buf)
		if !ok {
			im.argv = vec.argv
			return im.parseELF(name, buf[:], open)
		}
		if args.PathInaccessible {
			return fmt.Errorf("%s: a script on a close-on-exec descriptor cannot be opened by its interpreter: %w",
				name, unix.ENOENT)
		}
		if err := vec.splice(name, bang); err != nil {
			return fmt.Errorf("%s: add the arguments of its #! line: %w", name, err)
		}
		f, err := open.exec(bang.name)
		if err != nil {
			return fmt.Errorf("%s: open its interpreter %q: %w", name, bang.name, err)
		}
		im.opened = append(im.opened, f)
		im.file, name = f, bang.name
	}
}

// readAt reads until p is full or the file ends, as kernel_read does, and returns how much it got. A file's error that
// names no errno counts as EIO.
func readAt(f File, p []byte, off uint64) (int, error) {
	if off > 1<<63-1 {
		return 0, fmt.Errorf("offset %#x: %w", off, unix.EINVAL) // rw_verify_area: a negative position
	}
	n, err := f.ReadAt(p, int64(off))
	if err == nil || errors.Is(err, io.EOF) {
		return n, nil
	}
	if errno := unix.Errno(0); !errors.As(err, &errno) {
		err = fmt.Errorf("%w: %w", err, unix.EIO)
	}
	return n, err
}

// readFull reads all of p or fails with EIO, as elf_read does.
func readFull(f File, p []byte, off uint64) error {
	n, err := readAt(f, p, off)
	if err != nil {
		return err
	}
	if n < len(p) {
		return fmt.Errorf("the file has %d of the %d bytes at offset %#x: %w", n, len(p), off, unix.EIO)
	}
	return nil
}
