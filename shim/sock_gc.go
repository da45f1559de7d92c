package shim

// Sockets that are sent over sockets can hold each other: one that lies in its own queue has a reference that nobody can ever
// receive. collectRights is unix_gc of net/unix/garbage.c.

// fly counts n more of the description among those in flight. Of files that are no sockets only the number matters.
func (k *Kernel) fly(f *OpenFile, n int) {
	k.inFlight += n
	if _, ok := f.impl.(*unixSocket); !ok {
		return
	}
	if k.flying == nil {
		k.flying = make(map[*OpenFile]int)
	}
	if k.flying[f] += n; k.flying[f] == 0 {
		delete(k.flying, f)
	}
}

// collectRights drops the descriptions in flight that no descriptor and no call leads to. It is called when a socket has
// lost its last reference outside of queues.
func (k *Kernel) collectRights() {
	if k.collecting {
		return
	}
	// Of each candidate, how many of its references do not come from other candidates.
	outside := make(map[*OpenFile]int)
	for f, n := range k.flying {
		if f.refs == n {
			outside[f] = n
		}
	}
	for f := range outside {
		f.impl.(*unixSocket).eachRight(func(held *OpenFile) {
			if _, ok := outside[held]; ok {
				outside[held]--
			}
		})
	}
	var alive []*OpenFile
	for f, n := range outside {
		if n > 0 {
			alive = append(alive, f)
		}
	}
	for len(alive) > 0 {
		f := alive[len(alive)-1]
		alive = alive[:len(alive)-1]
		if _, ok := outside[f]; ok {
			delete(outside, f)
			f.impl.(*unixSocket).eachRight(func(held *OpenFile) { alive = append(alive, held) })
		}
	}
	k.collecting = true
	defer func() { k.collecting = false }()
	var garbage []*OpenFile
	for f := range outside {
		f.impl.(*unixSocket).eachMessage(func(m *unixMsg) {
			garbage = append(garbage, m.rights...)
			m.rights = nil
		})
	}
	for _, f := range garbage {
		k.fly(f, -1)
		f.drop()
	}
}

// eachMessage calls fn for what waits to be received, by the socket or by those that it has not accepted yet.
func (s *unixSocket) eachMessage(fn func(m *unixMsg)) {
	for _, m := range s.queue {
		fn(m)
	}
	for _, server := range s.pending {
		server.eachMessage(fn)
	}
}

// eachRight calls fn for the descriptions in those messages.
func (s *unixSocket) eachRight(fn func(f *OpenFile)) {
	s.eachMessage(func(m *unixMsg) {
		for _, f := range m.rights {
			fn(f)
		}
	})
}
