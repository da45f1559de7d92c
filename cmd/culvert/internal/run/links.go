package run

import (
	"fmt"
	"os"

	"culvert/shim"
	"culvert/vmm"

	"golang.org/x/sys/unix"
)

// The descriptors of a pipe to another VM, in the order in which they follow each other.
const (
	LinkMemory = iota // the memfd of vmm.NewLinkMemory
	LinkBell          // the eventfd that this VM hears
	LinkRing          // the eventfd that the other VM hears
	LinkAlive         // one end of a pair of sockets, which tells of the other VM's end
	LinkFiles
)

// links are the pipes to other VMs that stand for standard input and output; nil is none.
type links [2]*linkEnd

type linkEnd struct {
	mem   *vmm.Link
	ring  int // an eventfd
	alive *os.File
}

// openLinks takes over the descriptors of the command line. After an error the process is to end: they stay open.
func (o *options) openLinks() (links, error) {
	var l links
	for i, fd := range o.linkFD {
		if fd < 0 {
			continue
		}
		end, err := openLink(fd)
		if err != nil {
			return l, err
		}
		l[i] = end
	}
	return l, nil
}

func openLink(fd int) (*linkEnd, error) {
	for i := fd; i < fd+LinkFiles; i++ {
		unix.CloseOnExec(i) // the jail closes what is not marked
		if err := unix.SetNonblock(i, true); err != nil {
			return nil, fmt.Errorf("pipe between VMs: descriptor %d: %w", i, err)
		}
	}
	cred, err := unix.GetsockoptUcred(fd+LinkAlive, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return nil, fmt.Errorf("pipe between VMs: descriptor %d is no socket: %w", fd+LinkAlive, err)
	}
	if int(cred.Uid) != os.Geteuid() {
		return nil, fmt.Errorf("pipe between VMs: the other side is of user %d, want %d", cred.Uid, os.Geteuid())
	}
	mem, err := vmm.OpenLink(fd+LinkMemory, fd+LinkBell)
	if err != nil {
		return nil, err
	}
	return &linkEnd{mem: mem, ring: fd + LinkRing, alive: os.NewFile(uintptr(fd+LinkAlive), "pipe between VMs")}, nil
}

// memory is what the machine maps.
func (l links) memory() (out []*vmm.Link) {
	for _, end := range l {
		if end != nil {
			out = append(out, end.mem)
		}
	}
	return out
}

// ends is what the personality opens. The machine has set the addresses.
func (l links) ends() (out [2]*shim.Link) {
	for i, end := range l {
		if end != nil {
			out[i] = &shim.Link{GPA: end.mem.GPA, Mem: end.mem.Mem, Bell: end.mem.Bell, Ring: end.ring, Alive: end.alive}
		}
	}
	return out
}
