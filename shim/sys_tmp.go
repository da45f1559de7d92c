package shim

func processCalls() []Syscall  { return nil }
func identityCalls() []Syscall { return nil }
func signalCalls() []Syscall   { return nil }
func futexCalls() []Syscall    { return nil }
func timeCalls() []Syscall     { return nil }
func timerCalls() []Syscall    { return nil }
func schedCalls() []Syscall    { return nil }
func memoryCalls() []Syscall   { return nil }
