package strace

import (
	"fmt"
	"strings"
)

// class is a set of the classes of calls that a filter can name.
type class uint16

const (
	file    class = 1 << iota // takes a path
	process                   // life of processes
	network
	signal
	ipc    // System V
	desc   // takes or makes a descriptor
	memory // mappings
	creds
	clock
	pure // always succeeds and has no effect
)

// classes are the names of classes in a filter, with or without a percent sign.
var classes = [...]struct {
	name  string
	class class
}{
	{"file", file}, {"process", process}, {"network", network}, {"net", network}, {"signal", signal}, {"ipc", ipc},
	{"desc", desc}, {"memory", memory}, {"creds", creds}, {"clock", clock}, {"pure", pure},
}

// filterWords bounds the system calls that a filter covers.
const filterWords = (len(syscalls) + 63) / 64

// Filter is a set of system calls. The zero value holds none.
type Filter struct {
	bits    [filterWords]uint64
	unnamed bool // calls without a name
}

// All is the filter that holds every call.
func All() Filter {
	var f Filter
	f.invert()
	return f
}

// ParseFilter reads a set as strace's -e trace takes it: names of calls and classes, separated by commas; an exclamation
// mark before all of them excludes instead. "all" and the empty set hold every call, "none" holds none.
func ParseFilter(set string) (Filter, error) {
	if set == "" {
		return All(), nil
	}
	var f Filter
	list, negate := strings.CutPrefix(set, "!")
	for word := range strings.SplitSeq(list, ",") {
		if err := f.add(word); err != nil {
			return Filter{}, fmt.Errorf("set of system calls %q: %w", set, err)
		}
	}
	if negate {
		f.invert()
	}
	return f, nil
}

func (f *Filter) add(word string) error {
	switch word {
	case "all":
		*f = All()
		return nil
	case "none":
		return nil
	case "":
		return fmt.Errorf("an empty name: write names separated by commas")
	}
	name, percent := strings.CutPrefix(word, "%")
	for _, c := range classes {
		if c.name == name {
			f.addClass(c.class)
			return nil
		}
	}
	nr, ok := Number(name)
	if percent || !ok {
		return fmt.Errorf("%q is neither a system call nor a class (%s)", word, classNames())
	}
	f.bits[nr/64] |= 1 << (nr % 64)
	return nil
}

func (f *Filter) addClass(c class) {
	for nr := range syscalls {
		if syscalls[nr].class&c != 0 {
			f.bits[nr/64] |= 1 << (nr % 64)
		}
	}
}

func (f *Filter) invert() {
	for i := range f.bits {
		f.bits[i] = ^f.bits[i]
	}
	f.unnamed = !f.unnamed
}

// Has tells whether call nr belongs to the set.
func (f *Filter) Has(nr uint64) bool {
	if nr >= uint64(len(syscalls)) || syscalls[nr].name == "" {
		return f.unnamed
	}
	return f.bits[nr/64]&(1<<(nr%64)) != 0
}

func classNames() string {
	names := make([]string, len(classes))
	for i, c := range classes {
		names[i] = "%" + c.name
	}
	return strings.Join(names, ", ")
}
