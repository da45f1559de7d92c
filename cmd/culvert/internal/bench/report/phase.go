package report

// Phases of a start. The first is from the exec of a culvert that does nothing to its end; those of the VM are from the
// start of its making, and the last two from the exec.
const (
	PhaseProcess = "process"
	PhaseOpen    = "open"
	PhaseCreate  = "create"
	PhaseLoad    = "load"
	PhaseKernel  = "guest_kernel"
	PhaseProgram = "program"
	PhaseEnd     = "end"
)

// phaseRows are the phases in order, as the table shows them.
func phaseRows() []struct{ key, text string } {
	return []struct{ key, text string }{
		{PhaseProcess, "a culvert that does nothing, from exec to its end"},
		{PhaseOpen, "VM: /dev/kvm is open"},
		{PhaseCreate, "VM: memory and vCPUs are made"},
		{PhaseLoad, "VM: files and the program are loaded"},
		{PhaseKernel, "VM: the guest kernel runs"},
		{PhaseProgram, "from exec: the program's byte has come"},
		{PhaseEnd, "from exec: culvert has ended"},
	}
}
