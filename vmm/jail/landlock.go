package jail

import (
	"fmt"
	"os"

	"github.com/landlock-lsm/go-landlock/landlock"
	ll "github.com/landlock-lsm/go-landlock/landlock/syscall"
)

// Rights below the paths. Nothing may be executed, nor may devices and FIFOs be made.
const (
	readFile  = ll.AccessFSReadFile
	readDir   = readFile | ll.AccessFSReadDir
	writeFile = readFile | ll.AccessFSWriteFile | ll.AccessFSTruncate
	writeDir  = readDir | writeFile | ll.AccessFSRemoveDir | ll.AccessFSRemoveFile | ll.AccessFSMakeDir |
		ll.AccessFSMakeReg | ll.AccessFSMakeSock | ll.AccessFSMakeSym
)

const (
	firstRefer = 2 // the ABI that can allow a rename from one directory to another; before, all are refused
	firstScope = 6 // the ABI that keeps signals inside
	// errSignals is the bit of the erratum by which ABI 6 kept signals from other threads of the process. Without
	// it go-landlock leaves scopes out.
	errSignals = 1 << 1
)

// restrictFiles puts all threads under a ruleset that allows c.Paths. What was opened before is not touched by it, nor
// is a descriptor opened with O_PATH; but opening such a one through /proc/self/fd is checked, by the file's own place.
// go-landlock sets no_new_privs in all threads, without which an ordinary user may not do this.
func restrictFiles(c Config) ([]string, error) {
	abi, err := ll.LandlockGetABIVersion()
	if err != nil {
		return nil, nil // ENOSYS, EOPNOTSUPP if switched off at boot, or denied by a container's filter: not there
	}
	if errata, err := ll.LandlockGetErrata(); abi >= firstScope && (err != nil || errata&errSignals == 0) {
		abi = firstScope - 1
	}
	rules := make([]landlock.Rule, 0, len(c.Paths))
	for _, p := range c.Paths {
		st, err := os.Stat(p.Host)
		if err != nil {
			return nil, err
		}
		rules = append(rules, landlock.PathAccess(rights(p.Write, st.IsDir(), abi), p.Host))
	}
	if err := landlock.V11.BestEffort().Restrict(rules...); err != nil {
		return nil, err
	}
	return []string{fmt.Sprintf("landlock/%d", abi)}, nil
}

// rights are those of a path: the kernel refuses directories' rights for a file.
func rights(write, dir bool, abi int) landlock.AccessFSSet {
	switch {
	case !dir && write:
		return writeFile
	case !dir:
		return readFile
	case !write:
		return readDir
	case abi < firstRefer:
		// Asked for more than there is, go-landlock does without any ruleset.
		return writeDir
	}
	return writeDir | ll.AccessFSRefer
}
