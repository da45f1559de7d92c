package vmm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"culvert/pipes"
	"culvert/pipes/link"
	"culvert/shim/abi"

	"golang.org/x/sys/unix"
)

// Link is memory that two VMs share as a pipe (package link), mapped into this process and, at GPA, into the VM.
type Link struct {
	Mem []byte
	GPA abi.GPA // set by New
	// Bell is an eventfd, with O_NONBLOCK, that the other VM's process adds to when this VM is to look. An Idler watches it.
	Bell int
}

// firstLinkSlot is the first KVM memory slot of links, after RAM and text.
const firstLinkSlot = 2

// linkSeals are the seals of a link's memory: nobody can shrink it under the other's accesses, or take the seals off.
const linkSeals = unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_SEAL

// NewLinkMemory makes the memory of a link whose ring has ring bytes: a power of two, from a page to what fits into
// abi.LinkStride. turns says that the two VMs cannot run at the same time.
func NewLinkMemory(ring int, turns bool) (*os.File, error) {
	if err := checkRing(int64(ring)); err != nil {
		return nil, err
	}
	fd, err := unix.MemfdCreate("culvert-link", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, fmt.Errorf("memfd for a pipe between VMs: %w", err)
	}
	f := os.NewFile(uintptr(fd), "culvert-link")
	if err := f.Truncate(int64(link.RingOffset + ring)); err != nil {
		f.Close()
		return nil, fmt.Errorf("memory for a pipe between VMs: %w", err)
	}
	var words link.Words
	if turns {
		words.Turns = 1
	}
	if err := binary.Write(f, binary.LittleEndian, &words); err != nil {
		f.Close()
		return nil, fmt.Errorf("first words of a pipe between VMs: %w", err)
	}
	if _, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, linkSeals); err != nil {
		f.Close()
		return nil, fmt.Errorf("seal a pipe between VMs: %w", err)
	}
	return f, nil
}

func checkRing(bytes int64) error {
	if bytes < abi.PageSize || bytes > pipes.MaxSize || bytes&(bytes-1) != 0 {
		return fmt.Errorf("ring of %d bytes: must be a power of two from %d to %d", bytes, abi.PageSize, pipes.MaxSize)
	}
	return nil
}

// OpenLink maps the memory of a link that another process may have made, and closes its descriptor. Nothing about it is believed: it must be a
// memfd with the seals that keep it as large as it is, of this process's user, and hold a ring.
func OpenLink(memory, bell int) (*Link, error) {
	defer unix.Close(memory)
	seals, err := unix.FcntlInt(uintptr(memory), unix.F_GET_SEALS, 0)
	if err != nil {
		return nil, fmt.Errorf("pipe between VMs: descriptor %d is no memfd: %w", memory, err)
	}
	if seals&linkSeals != linkSeals || seals&(unix.F_SEAL_WRITE|unix.F_SEAL_FUTURE_WRITE) != 0 {
		return nil, fmt.Errorf("pipe between VMs: memory with seals %#x, want %#x and no others", seals, linkSeals)
	}
	var st unix.Stat_t
	if err := unix.Fstat(memory, &st); err != nil {
		return nil, fmt.Errorf("pipe between VMs: %w", err)
	}
	if st.Uid != uint32(os.Geteuid()) {
		return nil, fmt.Errorf("pipe between VMs: memory of user %d, want %d", st.Uid, os.Geteuid())
	}
	if err := checkRing(st.Size - link.RingOffset); err != nil {
		return nil, fmt.Errorf("pipe between VMs: %w", err)
	}
	// All of a ring is used again and again, and a page that the guest touches first is a fault in KVM, with another in it
	// unless the page is mapped here.
	mem, err := unix.Mmap(memory, 0, int(st.Size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
	if err != nil {
		return nil, fmt.Errorf("map a pipe between VMs: %w", err)
	}
	return &Link{Mem: mem, Bell: bell}, nil
}

// Close unmaps the memory and closes the bell. Preconditions: no VM runs with it.
func (l *Link) Close() error {
	mem := l.Mem
	l.Mem = nil
	if mem == nil {
		return nil
	}
	return errors.Join(unix.Munmap(mem), unix.Close(l.Bell))
}
