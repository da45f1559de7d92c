package loader

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// Limits of include/uapi/linux/binfmts.h and limits.h, in bytes.
const (
	// MAX_ARG_STRLEN bounds one string with its NUL: 32 pages.
	MAX_ARG_STRLEN = 32 * 4096
	// ARG_MAX is the room for strings that even the smallest stack limit leaves.
	ARG_MAX = 131072
	// _STK_LIM is the default stack limit; three quarters of it bound the strings whatever the limit is.
	_STK_LIM = 8 << 20

	wordSize = 8
)

// vector is the argument vector while `#!` lines change it, with Linux's accounting: room is how many bytes the strings
// may still take (bprm->p - bprm->argmin).
type vector struct {
	argv []string
	room int64
	used uint64 // bytes below the stack's top that hold strings
	cap  uint64 // the soft stack limit, which the stack cannot outgrow while strings are copied
}

// newVector mirrors bprm_stack_limits and copy_strings.
func newVector(args Args) (*vector, error) {
	limit := min(uint64(_STK_LIM/4*3), args.StackLimit/4)
	limit = max(limit, ARG_MAX)
	// The pointers to the strings lie on the stack too. Lengths of slices: no overflow.
	pointers := wordSize * uint64(max(len(args.Argv), 1)+len(args.Envp))
	if limit <= pointers {
		return nil, fmt.Errorf("%d arguments and %d environment strings: pointers alone exceed %d bytes: %w",
			len(args.Argv), len(args.Envp), limit, unix.E2BIG)
	}
	v := &vector{
		argv: args.Argv,
		room: int64(limit - pointers),
		used: wordSize, // a NULL word ends the stack
		cap:  max(args.StackLimit, pageSize),
	}
	if len(v.argv) == 0 {
		v.argv = []string{""}
	}
	if err := v.take(args.Path); err != nil {
		return nil, fmt.Errorf("the file name: %w", err)
	}
	for _, set := range []struct {
		what string
		list []string
	}{{"environment string", args.Envp}, {"argument", v.argv}} {
		for i, s := range set.list {
			if err := v.take(s); err != nil {
				return nil, fmt.Errorf("%s %d: %w", set.what, i, err)
			}
		}
	}
	return v, nil
}

// take accounts for one string (valid_arg_len and bprm_hit_stack_limit).
func (v *vector) take(s string) error {
	n := int64(len(s)) + 1
	if n > MAX_ARG_STRLEN {
		return fmt.Errorf("%d bytes are more than %d: %w", n, MAX_ARG_STRLEN, unix.E2BIG)
	}
	if strings.IndexByte(s, 0) >= 0 {
		return fmt.Errorf("it contains a NUL byte: %w", unix.EINVAL)
	}
	v.room -= n
	v.used += uint64(n)
	if v.room < 0 {
		return fmt.Errorf("all strings together are %d bytes too long: %w", -v.room, unix.E2BIG)
	}
	if pageAlign(v.used) > v.cap {
		return fmt.Errorf("all strings together exceed the stack limit of %d bytes: %w", v.cap, unix.E2BIG)
	}
	return nil
}

// splice replaces argv[0] by the interpreter's name, its argument if any, and the script's name.
func (v *vector) splice(script string, b shebang) error {
	old := int64(len(v.argv[0])) + 1
	v.room += old // remove_arg_zero
	v.used -= uint64(old)
	front := []string{b.name}
	if b.hasArg {
		front = append(front, b.arg)
	}
	front = append(front, script)
	for i := len(front) - 1; i >= 0; i-- {
		if err := v.take(front[i]); err != nil {
			return err
		}
	}
	v.argv = append(front, v.argv[1:]...)
	return nil
}

func pageStart(a uint64) uint64  { return a &^ pageMask }
func pageOffset(a uint64) uint64 { return a & pageMask }
func pageAlign(a uint64) uint64  { return (a + pageMask) &^ pageMask }
