package shim

// processTimers are the timers of setitimer(2), alarm(2) and timer_create(2).
type processTimers struct{}
