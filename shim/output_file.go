package shim

import (
	"errors"
	"fmt"
	"sync/atomic"

	"culvert/shim/abi"
	"culvert/shim/pump"

	"golang.org/x/sys/unix"
)

// output is the ring of a description that is a regular file of the host, as standard output or error. Ring 0 writes what
// fits into it; each request of the VM that reaches the shim finds it emptied first, so that the file has what the guest wrote
// before whatever is to be done, in the order in which it was written.
//
// # Errors
//
// What the host refuses (ENOSPC, EFBIG, EDQUOT, EIO) the guest was told to be written. It hears of it as of an error of a file
// system that writes later: the next write or close fails with it, once, and so does the next fsync; and writes are forwarded
// from then on, so that each tells of its own. A program that has neither ends, and culvert says in a line what was lost, and does not exit
// with 0.
//
// # What is forwarded
//
// Files with O_SYNC, O_DSYNC or O_DIRECT; and two descriptions of one file, since what is written to them has an order.
type output struct {
	*pump.File
	f    *OpenFile
	host *hostFile
	name string
	// toldWrite and toldSync say that the error was answered.
	toldWrite, toldSync bool
}

// newOutput gives a description a ring if it may have one. before are the standard files that were opened before it.
func (k *Kernel) newOutput(f *OpenFile, h *hostFile, fd int, before []*OpenFile) error {
	if h.kind != unix.S_IFREG || k.cfg.Trace != nil {
		return nil
	}
	for _, other := range before {
		if g, ok := other.impl.(*hostFile); ok && g.inode.attr.Ino == h.inode.attr.Ino && g.inode.attr.Dev == h.inode.attr.Dev {
			if g.output != nil {
				g.output.stop()
			}
			return nil
		}
	}
	if fd == unix.Stdin || f.flags&(unix.O_SYNC|unix.O_DSYNC|unix.O_DIRECT) != 0 || !f.write {
		return nil
	}
	p, err := k.ringPipe(pump.FileRing / abi.PageSize)
	if err != nil {
		return err
	}
	p.end.Pipe.OpenReader()
	p.end.Pipe.OpenWriter()
	h.output = &output{File: &pump.File{End: p.end, FD: h.fd}, f: f, host: h, name: stdioNames[fd]}
	k.outputs = append(k.outputs, h.output)
	g := k.guestFile(f.index)
	atomic.StoreUint64(&g.Obj, uint64(abi.DirectBase)+uint64(p.gpa))
	atomic.StoreUint64(&g.Kind, abi.FileOutput)
	return nil
}

var stdioNames = [...]string{"standard input", "standard output", "standard error"}

// stop has the writes forwarded from now on. The ring stays, for a vCPU that is writing to it.
func (o *output) stop() {
	if k := o.f.k; k.files.open[o.f.index] == o.f {
		atomic.StoreUint64(&k.guestFile(o.f.index).Kind, abi.FileHost)
	}
}

// flushOutputs empties the rings of files.
func (k *Kernel) flushOutputs() {
	for _, o := range k.outputs {
		if !o.Pending() {
			continue
		}
		lost := o.Lost
		if err := o.Flush(o.f.flags&unix.O_APPEND != 0); err != nil {
			k.fail(err)
		}
		if o.Lost != lost {
			o.toldWrite, o.toldSync = false, false
			o.stop()
		}
	}
}

// writeError is the error that the next write or close has to tell of.
func (h *hostFile) writeError() error {
	if h.output == nil {
		return nil
	}
	return h.output.tell(&h.output.toldWrite)
}

// syncError is that of the next fsync.
func (h *hostFile) syncError() error {
	if h.output == nil {
		return nil
	}
	return h.output.tell(&h.output.toldSync)
}

func (o *output) tell(told *bool) error {
	if o.Err == nil || *told {
		return nil
	}
	*told = true
	return hostErrno(o.Err)
}

// lostOutput says what the host refused to write.
func (k *Kernel) lostOutput() error {
	var errs []error
	for _, o := range k.outputs {
		if o.Lost > 0 {
			errs = append(errs, fmt.Errorf("%s: %d bytes that the program wrote are lost: %w", o.name, o.Lost, o.Err))
		}
	}
	return errors.Join(errs...)
}
