package guest

// leaveWaits takes t out of the wait sets that its record names, first thing after it was woken.
//
//go:nosplit
func leaveWaits(_ *PerCPU, _ *Thread) {}

// retry continues the operation of t's record. It reports true when the call is done: RAX is set, the record cleared.
//
//go:nosplit
func retry(_ *PerCPU, _ *Thread) bool { return false }
