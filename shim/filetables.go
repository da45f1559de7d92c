package shim

import "slices"

// fileCalls are the rows of the system calls on files.
func fileCalls() []Syscall {
	return slices.Concat(ioCalls(), openCalls(), statCalls(), dirCalls(), attrCalls(), fcntlCalls(), pipeCalls(), pollCalls(),
		eventfdCalls(), timerfdCalls(), signalfdCalls(), spliceCalls(), xattrCalls(), socketCalls(),
		fileMiscCalls())
}
