package shim

import (
	"errors"
	"fmt"
)

// restart is an internal result of an interrupted call: signal delivery turns it into EINTR or into a second
// execution of the call (include/linux/errno.h). Programs never see it.
type restart int

const (
	// ERESTARTSYS restarts if no handler runs or the handler has SA_RESTART.
	ERESTARTSYS restart = 512
	// ERESTARTNOINTR always restarts.
	ERESTARTNOINTR restart = 513
	// ERESTARTNOHAND restarts only if no handler runs.
	ERESTARTNOHAND restart = 514
	// ERESTART_RESTARTBLOCK goes on through restart_syscall if no handler runs: see Thread.restartFn.
	ERESTART_RESTARTBLOCK restart = 516
)

func (e restart) Error() string { return fmt.Sprintf("interrupted (restart %d)", int(e)) }

// Results of handlers and sleeps that are no errno.
var (
	// errBlock is what Thread.Block returns: the call is completed by its goroutine.
	errBlock = errors.New("the call blocks")
	// errTimeout ends a Sleep whose deadline passed.
	errTimeout = errors.New("the deadline passed")
	// errKilled ends a Sleep of a thread that is to die; handlers hand it on.
	errKilled = errors.New("the thread is being killed")
	// errNoReturn is the result of calls that leave the registers as they want them: exec, sigreturn.
	errNoReturn = errors.New("the call does not return")
)

// HostileError reports a request or a shared structure that a correct guest kernel cannot have produced. It ends the
// VM; the host goes on.
type HostileError struct {
	What string
}

func (e *HostileError) Error() string { return "guest kernel: " + e.What }
