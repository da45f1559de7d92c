package sig

// Queue holds the pending signals of a thread or a process: struct sigpending. The zero value is empty.
type Queue struct {
	set   Set
	infos []Info // in the order of arrival; a signal of set may have none (see Push)
}

// Set returns which signals are pending.
func (q *Queue) Set() Set { return q.set }

// Len returns how many siginfos are held: what RLIMIT_SIGPENDING counts.
func (q *Queue) Len() int { return len(q.infos) }

// Push adds a signal as __send_signal_locked does. A standard signal that is pending already is not queued again.
// room says that another siginfo may be held; without it a real-time signal sent by a program is refused (false: the
// caller answers EAGAIN), any other one becomes pending without its siginfo.
func (q *Queue) Push(i Info, room bool) bool {
	n := int(i.Signo)
	if n < SIGRTMIN && q.set.Has(n) {
		return true
	}
	if room {
		q.infos = append(q.infos, i)
	} else if n >= SIGRTMIN && i.Code != SI_USER && i.Code != SI_KERNEL {
		return false
	}
	q.set |= Of(n)
	return true
}

// Pop takes the next signal that is in want: next_signal and collect_signal.
func (q *Queue) Pop(want Set) (Info, bool) {
	n := (q.set & want).next()
	if n == 0 {
		return Info{}, false
	}
	found := -1
	more := false
	for k := range q.infos {
		if int(q.infos[k].Signo) != n {
			continue
		}
		if found >= 0 {
			more = true
			break
		}
		found = k
	}
	if !more {
		q.set &^= Of(n)
	}
	if found < 0 {
		return User(n, SI_USER, 0, 0), true
	}
	i := q.infos[found]
	q.infos = append(q.infos[:found], q.infos[found+1:]...)
	return i, true
}

// Discard removes all signals of a set: flush_sigqueue_mask.
func (q *Queue) Discard(s Set) {
	if q.set&s == 0 {
		return
	}
	q.set &^= s
	kept := q.infos[:0]
	for _, i := range q.infos {
		if !s.Has(int(i.Signo)) {
			kept = append(kept, i)
		}
	}
	q.infos = kept
}

// DiscardTimer removes the signals of a timer that was deleted.
func (q *Queue) DiscardTimer(id int32) {
	var gone, left Set
	kept := q.infos[:0]
	for _, i := range q.infos {
		if i.Code == SI_TIMER && i.TimerID() == id {
			gone |= Of(int(i.Signo))
			continue
		}
		left |= Of(int(i.Signo))
		kept = append(kept, i)
	}
	q.infos = kept
	q.set &^= gone &^ left
}

// HasTimer reports whether a timer's signal is pending.
func (q *Queue) HasTimer(id int32) bool {
	for k := range q.infos {
		if q.infos[k].Code == SI_TIMER && q.infos[k].TimerID() == id {
			return true
		}
	}
	return false
}
