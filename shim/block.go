package shim

import (
	"container/list"
	"sync/atomic"
	"time"

	"culvert/shim/abi"
)

// Queue is a set of waiters for a change of some object. Kernel.mu guards it; the zero value is empty.
type Queue struct {
	nodes list.List // of *waitNode, in the order of arrival
}

// waitNode is a Waiter in a Queue, or a callback.
type waitNode struct {
	w  *Waiter
	fn func()
}

// Wake wakes all waiters and runs all callbacks.
func (q *Queue) Wake() {
	for e := q.nodes.Front(); e != nil; e = e.Next() {
		e.Value.(*waitNode).wake()
	}
}

// WakeOne wakes the waiter that came first and has not been woken yet, and runs the callbacks before it. It reports
// whether a waiter was woken.
func (q *Queue) WakeOne() bool {
	for e := q.nodes.Front(); e != nil; e = e.Next() {
		n := e.Value.(*waitNode)
		if n.w != nil && n.w.woken {
			continue
		}
		n.wake()
		if n.w != nil {
			return true
		}
	}
	return false
}

// Empty reports whether nobody waits.
func (q *Queue) Empty() bool { return q.nodes.Len() == 0 }

// Watch has fn called at each Wake, with Kernel.mu held, until cancel is called. fn must not wake q itself nor change
// its waiters.
func (q *Queue) Watch(fn func()) (cancel func()) {
	e := q.nodes.PushBack(&waitNode{fn: fn})
	return func() { q.nodes.Remove(e) }
}

func (n *waitNode) wake() {
	if n.fn != nil {
		n.fn()
		return
	}
	n.w.woken = true
	n.w.signal()
}

// Waiter is a thread's blocked call: what its goroutine sleeps with, or what stands for it while there is none.
type Waiter struct {
	t     *Thread
	ch    chan struct{} // capacity 1: something happened, look; nil without a goroutine
	woken bool          // a queue woke this sleep
	call  *pendingCall  // not nil: no goroutine waits. See Await
}

func newWaiter(t *Thread) *Waiter { return &Waiter{t: t, ch: make(chan struct{}, 1)} }

// signal makes the sleeper look again; it never waits.
func (w *Waiter) signal() {
	if w.call != nil {
		w.t.k.lookSoon(w)
		return
	}
	select {
	case w.ch <- struct{}{}:
	default:
	}
}

// Sleep waits until one of the queues is woken (nil), the deadline passes (errTimeout; the zero time never does), a
// signal is to be delivered (ERESTARTSYS; the caller maps it to the restart that its call wants) or the thread is
// killed (errKilled). Preconditions: Kernel.mu is held, and the condition waited for was seen false under it; it is
// not held during the sleep.
func (w *Waiter) Sleep(deadline time.Time, queues ...*Queue) error {
	return w.sleep(deadline, true, queues)
}

// SleepKillable is Sleep that only a death ends early (TASK_KILLABLE).
func (w *Waiter) SleepKillable(deadline time.Time, queues ...*Queue) error {
	return w.sleep(deadline, false, queues)
}

func (w *Waiter) sleep(deadline time.Time, interruptible bool, queues []*Queue) error {
	k := w.t.k
	var expired <-chan time.Time
	if !deadline.IsZero() {
		left := time.Until(deadline)
		if left > 0 {
			timer := time.NewTimer(left)
			defer timer.Stop()
			expired = timer.C
		} else if err := w.interrupted(interruptible); err != nil {
			return err
		} else {
			return errTimeout
		}
	}
	w.woken = false
	for _, q := range queues {
		e := q.nodes.PushBack(&waitNode{w: w})
		defer q.nodes.Remove(e)
	}
	for {
		if err := w.interrupted(interruptible); err != nil {
			return err
		}
		timedOut := false
		k.mu.Unlock()
		select {
		case <-w.ch:
		case <-expired:
			timedOut = true
		}
		k.mu.Lock()
		switch {
		case w.woken:
			return nil
		case timedOut:
			if err := w.interrupted(interruptible); err != nil {
				return err
			}
			return errTimeout
		}
	}
}

// interrupted reports why the thread may not go on sleeping.
func (w *Waiter) interrupted(interruptible bool) error {
	switch {
	case w.t.killed || w.t.k.ended:
		return errKilled
	case interruptible && w.t.signalPending():
		return ERESTARTSYS
	}
	return nil
}

// Unlocked runs fn without Kernel.mu: for host work that may take long. Signals do not end fn; interrupt, if not nil,
// is called (with Kernel.mu held, possibly more than once) when one comes, and should make fn return early.
func (w *Waiter) Unlocked(interrupt func(), fn func()) {
	k := w.t.k
	if interrupt != nil && w.interrupted(true) != nil {
		interrupt()
	}
	w.t.onInterrupt = interrupt
	k.mu.Unlock()
	defer func() {
		k.mu.Lock()
		w.t.onInterrupt = nil
	}()
	fn()
}

// Block is what a handler returns when its call must wait: fn completes it, in a goroutine that holds Kernel.mu but
// for its sleeps. Everything the call refers to must be in fn's closure: nothing may be looked up again.
func (t *Thread) Block(fn func(w *Waiter) (uint64, error)) (uint64, error) {
	t.blockFn = fn
	return 0, errBlock
}

// pendingCall is a call that waits without a goroutine.
type pendingCall struct {
	queue         *Queue
	node          *list.Element // in queue
	interruptible bool
	try           func() (uint64, error)
	slow          func(*Waiter) (uint64, error) // nil, or what completes the call in a goroutine if it is interrupted
	due           bool                          // somebody is on the way to look
}

// Await is Block for a call that waits for one queue and is done as soon as it finds what it looks for: try is asked,
// with Kernel.mu held, each time the queue is woken, and answers errWait to wait on. No goroutine exists meanwhile: a
// vCPU whose call wakes the queue looks for the waiter too, before it goes back to the guest, so that a wake costs no
// switch between threads of the host. Signals end the wait with ERESTARTSYS if it is interruptible, a death always.
// Preconditions: try has just been asked.
func (t *Thread) Await(queue *Queue, interruptible bool, try func() (uint64, error)) (uint64, error) {
	if interruptible && t.signalPending() {
		return 0, ERESTARTSYS
	}
	t.blockOn = &pendingCall{queue: queue, interruptible: interruptible, try: try}
	return 0, errBlock
}

// AwaitOr is an interruptible Await whose end by a signal or a death takes more than an answer: slow, as Block has it, is
// then run in a goroutine. It finds the call as it was before and does all that is left.
func (t *Thread) AwaitOr(queue *Queue, try func() (uint64, error), slow func(w *Waiter) (uint64, error)) (uint64, error) {
	if t.signalPending() {
		return t.Block(slow)
	}
	t.blockOn = &pendingCall{queue: queue, interruptible: true, try: try, slow: slow}
	return 0, errBlock
}

// startAwait makes c the record of t's call.
func (t *Thread) startAwait(c *pendingCall) {
	t.waiter = &Waiter{t: t, call: c}
	c.node = c.queue.nodes.PushBack(&waitNode{w: t.waiter})
	atomic.StoreUint64(&t.slot.Wait.Kind, abi.WaitShim)
}

// lookSoon has w look, by the vCPU whose call is being served, or by a goroutine if what woke w comes from outside: the
// caller is in the midst of changing something.
func (k *Kernel) lookSoon(w *Waiter) {
	if w.call.due || k.ended {
		return
	}
	w.call.due = true
	if k.serving.Load() >= 0 {
		k.due = append(k.due, w)
		return
	}
	k.blocked.Add(1)
	go func() {
		defer k.blocked.Done()
		k.mu.Lock()
		defer k.mu.Unlock()
		defer k.guard()
		w.look()
	}()
}

// lookNow lets those look whom the call that has been served woke. What one of them does may wake others.
func (k *Kernel) lookNow() {
	for len(k.due) > 0 && !k.ended {
		w := k.due[0]
		k.due = k.due[1:]
		w.look()
	}
	k.due = k.due[:0]
}

// look completes the call if it has found what it waits for, or may not wait on.
func (w *Waiter) look() {
	if w.t.k.ended || w.t.waiter != w {
		return // the call was completed by an earlier look, in which something woke w once more
	}
	w.woken, w.call.due = false, false
	ret, err := w.call.try()
	if err == errWait {
		if err = w.interrupted(w.call.interruptible); err == nil {
			return
		}
		if w.call.slow != nil {
			w.call.queue.nodes.Remove(w.call.node)
			w.t.startBlock(w.call.slow)
			return
		}
	}
	w.call.queue.nodes.Remove(w.call.node)
	w.t.finishBlocked(nil, ret, err)
}
