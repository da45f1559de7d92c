package shim

import (
	"time"

	"culvert/shim/sig"
)

// stop makes all threads of the process park (do_signal_stop).
func (p *Process) stop(n int) {
	if p.stopped || p.exiting {
		return
	}
	p.stopped, p.stopSig, p.stopDone = true, n, false
	for _, t := range p.threads {
		t.interrupt()
	}
}

// park waits, in the thread's goroutine, until the process is continued or the thread is killed.
func (t *Thread) park(w *Waiter) {
	p := t.p
	p.parked++
	p.stopComplete()
	for p.stopped && !t.killed {
		if w.SleepKillable(time.Time{}, &p.contQueue) != nil {
			break
		}
	}
	p.parked--
}

// stopComplete tells the parent when the last running thread has parked, or gone.
func (p *Process) stopComplete() {
	if !p.stopped || p.stopDone || p.parked < len(p.threads) || len(p.threads) == 0 {
		return
	}
	p.stopDone, p.stopNews, p.contNews = true, true, false
	p.notifyStop(sig.CLD_STOPPED, p.stopSig)
}

// resume ends a stop, as SIGCONT does merely by being sent.
func (p *Process) resume() {
	if !p.stopped {
		return
	}
	done := p.stopDone
	p.stopped, p.stopDone, p.stopNews = false, false, false
	p.contQueue.Wake()
	if done {
		p.contNews = true
		p.notifyStop(sig.CLD_CONTINUED, sig.SIGCONT)
	} else {
		p.notifyStop(sig.CLD_STOPPED, p.stopSig)
	}
}
