package shim

import (
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"

	"culvert/epoll"
	"culvert/shim/abi"

	"golang.org/x/sys/unix"
)

// epollFile is an epoll instance: fs/eventpoll.c. Its items, ready bits and sleepers lie in guest RAM (package epoll),
// where ring 0 waits and collects; making and removing interests is done here, and so is all that concerns files that
// only the shim knows: their changes set the ready bits from here, and the shim collects when ring 0 meets them.
type epollFile struct {
	noopSeek
	k     *Kernel
	of    *OpenFile // the description; set right after it is made
	owner *epoll.Owner
	items map[epollKey]*epollItem
	// watchers are the interests of other instances in this one.
	watchers epoll.Watchers
	// sleepers are epoll_waits that ring 0 does not serve; waiters is who polls the instance from the shim. While there
	// are any, HostWatch is set.
	sleepers Queue
	waiters  readiness
}

type epollKey struct {
	f  *OpenFile
	fd int32
}

// epollItem is an interest.
type epollItem struct {
	ep    *epollFile
	key   epollKey
	ref   *epoll.Ref
	watch *watch // of a file that only the shim knows
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
	// epollReady is what an instance with events says.
	epollReady = unix.POLLIN | pollRDNORM
)

// watchable is a ringObject whose changes ring 0 tells epoll items of.
type watchable interface {
	ringObject
	// watched returns the object's list of items, and the ends that the description has of it.
	watched() (list *epoll.Watchers, ends uint64)
}

// newEpoll makes an instance.
func (k *Kernel) newEpoll() (*epollFile, error) {
	if k.limbo.Walks == nil {
		for i := range k.cfg.NumCPUs {
			k.limbo.Walks = append(k.limbo.Walks, &k.vm.Walks[i][0])
		}
	}
	owner, err := epoll.NewOwner(epollPages{k}, &k.limbo)
	if err != nil {
		return nil, unix.ENOMEM
	}
	ep := &epollFile{k: k, owner: owner, items: make(map[epollKey]*epollItem)}
	ep.watchers.Head = &owner.Instance().Watch
	return ep, nil
}

// epollPages gives instances their memory.
type epollPages struct{ k *Kernel }

func (p epollPages) NewPage() (uint64, error) {
	gpa, err := p.k.memory.AllocBlock(0)
	return uint64(abi.DirectBase) + uint64(gpa), err
}

func (p epollPages) FreePage(addr uint64) { p.k.freeBlock(abi.GPA(addr - uint64(abi.DirectBase))) }

func (p epollPages) Instance(addr uint64) *epoll.Instance {
	return structAt[epoll.Instance](p.k.ram, abi.GPA(addr-uint64(abi.DirectBase)))
}

func (p epollPages) Chunk(addr uint64) *epoll.Chunk {
	return structAt[epoll.Chunk](p.k.ram, abi.GPA(addr-uint64(abi.DirectBase)))
}

func (ep *epollFile) ringFile() (kind, obj, since uint64) { return abi.FileEpoll, ep.owner.Addr(), 0 }

func (ep *epollFile) watched() (*epoll.Watchers, uint64) { return &ep.watchers, 0 }

func (ep *epollFile) read(*ioCall) error  { return unix.EINVAL }
func (ep *epollFile) write(*ioCall) error { return unix.EINVAL }

// ready also makes ring 0 tell of events from now on.
func (ep *epollFile) ready() *readiness {
	ep.watch()
	return &ep.waiters
}

func (ep *epollFile) watch() { atomic.StoreUint64(&ep.owner.Instance().HostWatch, 1) }

// changed serves a note of ring 0: the instance has events.
func (ep *epollFile) changed() {
	ep.sleepers.WakeOne()
	ep.waiters.notify(epollReady)
	if ep.sleepers.Empty() && !ep.waiters.watched() {
		atomic.StoreUint64(&ep.owner.Instance().HostWatch, 0)
	}
}

// poll says POLLIN if an interest really has events; what has none and comes before it is not ready any more
// (ep_eventpoll_poll).
func (ep *epollFile) poll() uint32 { return ep.pollDepth(0) }

func (ep *epollFile) pollDepth(depth int) uint32 {
	if depth > epollNests {
		return 0
	}
	var p epoll.Pass
	inst := ep.owner.Instance()
	if !p.Begin(inst, runtime.Gosched) {
		return ep.pollBusy(depth)
	}
	bits := uint32(0)
	for bits == 0 {
		i, what := p.Next(inst)
		chunk, ok := ep.owner.Chunk(i)
		if what == epoll.End || !ok {
			break
		}
		if what == epoll.Scan {
			p.Scan(inst, chunk)
		} else if p.Look(inst, chunk) && ep.ask(&p, i, chunk, depth+1) != 0 {
			bits = epollReady
			p.Restore(inst, chunk)
		}
	}
	ep.k.wakeSlot(p.End(inst))
	return bits
}

// pollBusy is poll while a vCPU collects: it only looks.
func (ep *epollFile) pollBusy(depth int) (bits uint32) {
	ep.owner.EachReady(func(r *epoll.Ref) bool {
		if r.Value.(*epollItem).pollDepth(depth+1) != 0 {
			bits = epollReady
		}
		return bits == 0
	})
	return bits
}

// ask asks the file of the item that p is at.
func (ep *epollFile) ask(p *epoll.Pass, n uint64, chunk *epoll.Chunk, depth int) (got uint32) {
	for ask := true; ask; ask = got == 0 && p.Miss(ep.owner.Instance(), chunk) {
		if ref := ep.owner.Ref(n, p.Index()); ref != nil {
			got = ref.Value.(*epollItem).pollDepth(depth) & uint32(p.Want)
		}
	}
	return got
}

func (it *epollItem) pollDepth(depth int) uint32 {
	want := it.ref.Events()
	if want&^epollPrivate == 0 {
		return 0
	}
	if ep, ok := it.key.f.impl.(*epollFile); ok {
		return ep.pollDepth(depth) & want
	}
	return it.key.f.poll() & want
}

func (ep *epollFile) release() {
	for _, it := range ep.items {
		it.remove()
	}
	ep.owner.Close()
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
		fmt.Fprintf(&b, "tfd: %8d events: %8x data: %16x  pos:%d\n", key.fd, it.ref.Events(), it.ref.Data(), key.f.off)
	}
	return b.String()
}

// insert makes an interest (ep_insert).
func (ep *epollFile) insert(key epollKey, events uint32, data uint64) error {
	if ep.k.epollItems >= maxEpollItems {
		return unix.ENOSPC
	}
	it := &epollItem{ep: ep, key: key}
	var what epoll.Watched
	ring, shared := key.f.impl.(watchable)
	var list *epoll.Watchers
	if shared {
		what.Kind, what.Obj, what.Since = ring.ringFile()
		list, what.Ends = ring.watched()
	}
	ref, err := ep.owner.Insert(what, it)
	switch {
	case errors.Is(err, epoll.ErrFull):
		return unix.ENOSPC
	case err != nil:
		return unix.ENOMEM
	}
	it.ref = ref
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
	exclusive := events&epollExclusive != 0
	if shared {
		list.Add(ref, exclusive)
	} else if r := key.f.impl.ready(); r != nil {
		it.watch = r.watch(exclusive, it.notify)
	}
	it.modify(events, data)
	return nil
}

// modify changes an interest, which may be ready at once (ep_modify).
func (it *epollItem) modify(events uint32, data uint64) {
	it.ref.Set(events, data)
	if it.pollDepth(1) != 0 && !it.ref.Marked() {
		it.notify(0)
	}
}

// remove ends an interest (ep_remove).
func (it *epollItem) remove() {
	it.ref.Remove()
	if it.watch != nil {
		it.watch.cancel()
	}
	delete(it.ep.items, it.key)
	delete(it.key.f.epolls, it)
	it.ep.k.epollItems--
}

// notify is ep_poll_callback: events, 0 if unknown, have come on the file. It answers whether this ends the search for
// the one waiter that an exclusive wake-up is for.
func (it *epollItem) notify(events uint32) bool {
	thread, heard, last := it.ref.Tell(uint64(events))
	if !heard {
		return false
	}
	ep := it.ep
	if thread >= 0 {
		ep.k.wakeSlot(thread)
	} else if !ep.sleepers.Empty() {
		ep.sleepers.WakeOne()
		last = it.ref.Ends(uint64(events))
	}
	ep.hasEvents()
	return last
}

// hasEvents tells those who watch the instance.
func (ep *epollFile) hasEvents() {
	tellItems(&ep.watchers, epollReady)
	ep.waiters.notify(epollReady)
}

// tellItems tells the epoll items of an object that lies in guest RAM of what the shim did to it.
func tellItems(list *epoll.Watchers, events uint32) {
	list.Each(func(r *epoll.Ref) bool { return r.Value.(*epollItem).notify(events) })
}

// collect takes up to max events (ep_send_events). put stores event i; if it fails the interest stays ready. errBusy: a
// vCPU collects.
func (ep *epollFile) collect(maxEvents int, put func(i int, events uint32, data uint64) error) (int, error) {
	var p epoll.Pass
	inst := ep.owner.Instance()
	if !p.Begin(inst, runtime.Gosched) {
		return 0, errBusy
	}
	n := 0
	var err error
	for n < maxEvents && err == nil {
		i, what := p.Next(inst)
		chunk, ok := ep.owner.Chunk(i)
		if what == epoll.End || !ok {
			break
		}
		if what == epoll.Scan {
			p.Scan(inst, chunk)
			continue
		}
		if !p.Look(inst, chunk) {
			continue
		}
		var stored bool
		if stored, err = ep.visit(&p, i, chunk, n, put); stored {
			n++
		}
	}
	if thread := p.End(inst); thread >= 0 {
		ep.k.wakeSlot(thread)
	} else if inst.Any() {
		ep.sleepers.WakeOne()
	}
	if p.Told {
		ep.hasEvents()
	}
	if n > 0 {
		err = nil
	}
	return n, err
}

// visit asks the file of the item that p is at, and stores its event if there is one.
func (ep *epollFile) visit(p *epoll.Pass, n uint64, chunk *epoll.Chunk, i int, put func(int, uint32, uint64) error) (bool, error) {
	inst := ep.owner.Instance()
	got := ep.ask(p, n, chunk, 1)
	if got == 0 || !p.Same(inst, chunk) {
		return false, nil
	}
	if err := put(i, got, p.Data); err != nil {
		p.Restore(inst, chunk)
		return false, err
	}
	return p.Done(inst, chunk), nil
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
