package epoll

import "sync/atomic"

// Limbo keeps what the host has unlinked until no vCPU can stand on it any more. The host's lock guards it.
type Limbo struct {
	// Walks are the vCPUs' words: odd while a vCPU walks or collects.
	Walks []*uint64
	queue []retired
}

type retired struct {
	seen []uint64 // Walks, at the time of unlinking
	free func()
}

// Retire has free called, by a later Reclaim, when all walks that run now have ended. Preconditions: what is to be
// freed cannot be reached by a walk that begins after this call.
func (l *Limbo) Retire(free func()) {
	seen := make([]uint64, len(l.Walks))
	walking := false
	for i, w := range l.Walks {
		seen[i] = atomic.LoadUint64(w)
		walking = walking || seen[i]&1 != 0
	}
	if !walking && len(l.queue) == 0 {
		free()
		return
	}
	l.queue = append(l.queue, retired{seen, free})
}

// Reclaim frees what no walk can reach any more, in the order in which it was retired.
func (l *Limbo) Reclaim() {
	n := 0
	for ; n < len(l.queue); n++ {
		if !l.passed(l.queue[n].seen) {
			break
		}
	}
	ready := l.queue[:n:n]
	l.queue = l.queue[n:]
	for _, r := range ready {
		r.free()
	}
}

// passed reports whether all walks that ran when seen was taken have ended.
func (l *Limbo) passed(seen []uint64) bool {
	for i, w := range l.Walks {
		if seen[i]&1 != 0 && atomic.LoadUint64(w) == seen[i] {
			return false
		}
	}
	return true
}

// Len is how many things wait.
func (l *Limbo) Len() int { return len(l.queue) }
