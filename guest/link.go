package guest

import (
	"culvert/pipes"
	"culvert/pipes/link"
	"culvert/shim/abi"
)

// A link is a pipe whose other end is another VM's (package link). Its operations are those of pipes, between a look
// at what the other VM has done and word of what was done here.

// linkKind is added to the kind of a record on a pipe to make it one on a link.
const linkKind = abi.WaitLinkRead - abi.WaitRead

// linkEnd is the end of a link that a record's operation is on.
//
//go:nosplit
func linkEnd(kind uint64) uint64 {
	if kind == abi.WaitLinkRead {
		return pipes.ReadEnd
	}
	return pipes.WriteEnd
}

// linkWords are the words before the ring that pipe is a view of.
//
//go:nosplit
func linkWords(pipe *pipes.Pipe) *link.Words {
	return (*link.Words)(at(load(&pipe.Data) - link.RingOffset))
}

// linkPull takes over what the other VM has done.
//
//go:nosplit
func linkPull(t *Thread, f *File) {
	pipe := pipeOf(f)
	link.Pull(pipe, linkWords(pipe), linkEnd(t.Wait.Kind))
}

// linkPush tells the other VM what an operation did. It reports true if the operation, which is not done, is to be
// tried again, and false if t, in the wait set, may sleep: then the bell is asked for.
//
//go:nosplit
func linkPush(p *PerCPU, t *Thread, f *File, done bool) (again bool) {
	pipe, end := pipeOf(f), linkEnd(t.Wait.Kind)
	words := linkWords(pipe)
	if link.Publish(pipe, words, end, link.Later) {
		p.Call.Args[0] = f.Index
		hypercall(p, t, abi.KindNote, abi.NoteLink)
	}
	if done {
		return false
	}
	link.Want(words, end)
	link.Pull(pipe, words, end)
	if end == pipes.ReadEnd {
		if again = pipe.Readable(); again {
			pipe.RWait.Leave(t.Index)
		}
	} else if again = pipe.Writable(); again {
		pipe.WWait.Leave(t.Index)
	}
	return again
}
