package shim

import (
	"container/list"
	"fmt"
	"math"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// epollFile is an epoll instance: fs/eventpoll.c. An interest is keyed by open file description and descriptor
// number. Whatever changes a file's readiness puts its interests on the ready list (their watch); epoll_wait asks the
// files on the list again, and so sees the state as it is (level) while an edge is what brought the file there.
type epollFile struct {
	noopSeek
	k     *Kernel
	of    *OpenFile // the description; set right after it is made
	items map[epollKey]*epollItem
	// pending lists the interests that may have events, oldest first.
	pending list.List
	// sleepers are threads in epoll_wait, woken one by one; waiters is who polls the instance itself.
	sleepers Queue
	waiters  readiness
}

type epollKey struct {
	f  *OpenFile
	fd int32
}

// epollItem is an interest.
type epollItem struct {
	ep     *epollFile
	key    epollKey
	events uint32
	data   uint64
	elem   *list.Element // on the ready list; nil if not there
	watch  *watch
}

const (
	// epollPrivate are the bits that are no events (EP_PRIVATE_BITS).
	epollPrivate = unix.EPOLLWAKEUP | unix.EPOLLONESHOT | epollET | epollExclusive
	// epollExclusiveOK may be asked for together with EPOLLEXCLUSIVE.
	epollExclusiveOK = unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLERR | unix.EPOLLHUP | unix.EPOLLWAKEUP | epollET | epollExclusive
	epollET          = 1 << 31
	epollExclusive   = 1 << 28
	// epollNests is how deep instances may nest (EP_MAX_NESTS).
	epollNests = 4
	// maxEpollItems bounds the interests of a VM (/proc/sys/fs/epoll/max_user_watches).
	maxEpollItems = 1 << 17
)

func (ep *epollFile) read(*ioCall) error  { return unix.EINVAL }
func (ep *epollFile) write(*ioCall) error { return unix.EINVAL }
func (ep *epollFile) ready() *readiness   { return &ep.waiters }

// poll says POLLIN if an interest really has events; what has none leaves the ready list (ep_eventpoll_poll).
func (ep *epollFile) poll() uint32 { return ep.pollDepth(0) }

func (ep *epollFile) pollDepth(depth int) uint32 {
	if depth > epollNests {
		return 0
	}
	for e := ep.pending.Front(); e != nil; {
		next := e.Next()
		it := e.Value.(*epollItem)
		if it.pollDepth(depth+1) != 0 {
			return unix.POLLIN | pollRDNORM
		}
		it.unlink()
		e = next
	}
	return 0
}

func (it *epollItem) pollDepth(depth int) uint32 {
	if ep, ok := it.key.f.impl.(*epollFile); ok {
		return ep.pollDepth(depth) & it.events
	}
	return it.key.f.poll() & it.events
}

func (ep *epollFile) release() {
	for _, it := range ep.items {
		it.remove()
	}
}

// fdinfo lists the interests (ep_show_fdinfo).
func (ep *epollFile) fdinfo() string {
	var b strings.Builder
	keys := make([]epollKey, 0, len(ep.items))
	for key := range ep.items {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, func(a, b epollKey) int { return int(a.fd) - int(b.fd) })
	for _, key := range keys {
		it := ep.items[key]
		fmt.Fprintf(&b, "tfd: %8d events: %8x data: %16x  pos:%d\n", key.fd, it.events, it.data, key.f.off)
	}
	return b.String()
}

// insert makes an interest (ep_insert).
func (ep *epollFile) insert(key epollKey, events uint32, data uint64) error {
	if ep.k.epollItems >= maxEpollItems {
		return unix.ENOSPC
	}
	it := &epollItem{ep: ep, key: key, events: events, data: data}
	ep.items[key] = it
	ep.k.epollItems++
	if key.f.epolls == nil {
		key.f.epolls = make(map[*epollItem]struct{})
	}
	key.f.epolls[it] = struct{}{}
	if !ep.pathsOK(key.f) {
		it.remove()
		return unix.EINVAL
	}
	// Watch first, look then: what happens in between is not missed.
	if r := key.f.impl.ready(); r != nil {
		it.watch = r.watch(events&epollExclusive != 0, it.notify)
	}
	it.arm()
	return nil
}

// modify changes an interest, which may be ready at once (ep_modify).
func (it *epollItem) modify(events uint32, data uint64) {
	it.events, it.data = events, data
	it.key.f.impl.ready() // ring 0 may have been told that nobody watches
	it.arm()
}

// arm puts the interest on the ready list if it has events now.
func (it *epollItem) arm() {
	if it.pollDepth(1) == 0 {
		return
	}
	it.link()
	it.ep.sleepers.WakeOne()
	it.ep.waiters.notify(unix.POLLIN | pollRDNORM)
}

// remove ends an interest (ep_remove).
func (it *epollItem) remove() {
	it.unlink()
	if it.watch != nil {
		it.watch.cancel()
	}
	delete(it.ep.items, it.key)
	delete(it.key.f.epolls, it)
	it.ep.k.epollItems--
}

func (it *epollItem) link() {
	if it.elem == nil {
		it.elem = it.ep.pending.PushBack(it)
	}
}

func (it *epollItem) unlink() {
	if it.elem != nil {
		it.ep.pending.Remove(it.elem)
		it.elem = nil
	}
}

// notify is ep_poll_callback. It answers whether somebody was woken, which ends the search for the one waiter that
// an exclusive wake-up is for.
func (it *epollItem) notify(events uint32) bool {
	if it.events&^epollPrivate == 0 || events != 0 && events&it.events == 0 {
		return false
	}
	it.link()
	ep := it.ep
	woken := false
	if !ep.sleepers.Empty() {
		switch events & (unix.EPOLLIN | unix.EPOLLOUT) {
		case unix.EPOLLIN:
			woken = it.events&unix.EPOLLIN != 0
		case unix.EPOLLOUT:
			woken = it.events&unix.EPOLLOUT != 0
		case 0:
			woken = true
		}
		ep.sleepers.WakeOne()
	}
	ep.waiters.notify(unix.POLLIN | pollRDNORM)
	return woken || it.events&epollExclusive == 0
}

// collect takes up to max events off the ready list (ep_send_events). What is level-triggered goes to the list's
// end, what was not reached stays at its front: so every file's turn comes. put stores event i; if it fails the
// interest stays ready.
func (ep *epollFile) collect(maxEvents int, put func(i int, events uint32, data uint64) error) (int, error) {
	n := 0
	for todo := ep.pending.Len(); todo > 0 && n < maxEvents; todo-- {
		it := ep.pending.Front().Value.(*epollItem)
		it.unlink()
		events := it.pollDepth(1)
		if events == 0 {
			continue
		}
		if err := put(n, events, it.data); err != nil {
			it.elem = ep.pending.PushFront(it)
			if n == 0 {
				return 0, err
			}
			break
		}
		n++
		switch {
		case it.events&unix.EPOLLONESHOT != 0:
			it.events &= epollPrivate
		case it.events&epollET == 0:
			it.link()
		}
	}
	if ep.pending.Len() > 0 {
		ep.sleepers.WakeOne()
	}
	return n, nil
}

// loops reports whether watching instance to would make a circle or nest too deep (ep_loop_check).
func (ep *epollFile) loops(to *epollFile) bool {
	down := to.depth(ep, make(map[*epollFile]int), 0)
	if down > epollNests {
		return true
	}
	return down+1+ep.height(make(map[*epollFile]int), 0) > epollNests
}

// depth is how deep the instances below ep nest; math.MaxInt32 if root is among them.
func (ep *epollFile) depth(root *epollFile, seen map[*epollFile]int, level int) int {
	if d, ok := seen[ep]; ok {
		return d
	}
	seen[ep] = 0
	d := 0
	for key := range ep.items {
		sub, ok := key.f.impl.(*epollFile)
		if !ok {
			continue
		}
		if sub == root || level > epollNests {
			d = math.MaxInt32
			break
		}
		if below := sub.depth(root, seen, level+1); below > epollNests {
			d = math.MaxInt32
			break
		} else {
			d = max(d, below+1)
		}
	}
	seen[ep] = d
	return d
}

// height is how many instances lie above ep.
func (ep *epollFile) height(seen map[*epollFile]int, level int) int {
	if h, ok := seen[ep]; ok {
		return h
	}
	seen[ep] = 0
	h := 0
	for it := range ep.of.epolls {
		if level > epollNests {
			h = epollNests + 1
			break
		}
		h = max(h, it.ep.height(seen, level+1)+1)
	}
	seen[ep] = h
	return h
}

// pathsOK bounds the wake-ups that one event can cause: how many paths of each length lead from a file to instances
// that nothing watches (reverse_path_check).
func (ep *epollFile) pathsOK(f *OpenFile) bool {
	if sub, ok := f.impl.(*epollFile); ok {
		for key := range sub.items {
			if !sub.pathsOK(key.f) {
				return false
			}
		}
		return true
	}
	var count [epollNests + 1]int
	return countPaths(f, 0, &count)
}

func countPaths(f *OpenFile, depth int, count *[epollNests + 1]int) bool {
	if depth > epollNests {
		return false
	}
	limits := [...]int{math.MaxInt, 500, 100, 50, 10}
	for it := range f.epolls {
		if len(it.ep.of.epolls) > 0 {
			if !countPaths(it.ep.of, depth+1, count) {
				return false
			}
			continue
		}
		if count[depth]++; count[depth] > limits[depth] {
			return false
		}
	}
	return true
}
