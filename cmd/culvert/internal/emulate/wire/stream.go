package wire

import (
	"errors"
	"io"
	"sync"
)

// Sender is the sending end of one stream of one run. It keeps to the credit
// that the other end gives.
type Sender struct {
	w       *Writer
	session uint32
	stream  uint8

	mu      sync.Mutex
	more    sync.Cond // credit came, or stopped
	credit  int       // bytes; guarded by mu
	stopped bool      // guarded by mu
}

// ErrStopped is returned by a Sender whose other end takes no more.
var ErrStopped = errors.New("the receiver takes no more")

// NewSender returns a Sender with the first window of credit.
func NewSender(w *Writer, session uint32, stream uint8) *Sender {
	s := &Sender{w: w, session: session, stream: stream, credit: Window}
	s.more.L = &s.mu
	return s
}

// Copy sends what r has until it ends, then End. It returns ErrStopped when
// the receiver wants no more, and r's error if it is not io.EOF.
func (s *Sender) Copy(r io.Reader) error {
	buf := make([]byte, MaxData)
	for {
		n, err := s.wait()
		if err != nil {
			return err
		}
		n, err = r.Read(buf[:min(n, len(buf))])
		if n > 0 {
			s.take(n)
			f := Frame{Kind: Data, Stream: s.stream, Session: s.session, Payload: buf[:n]}
			if werr := s.w.Write(f); werr != nil {
				return werr
			}
		}
		if err != nil {
			werr := s.w.Write(Frame{Kind: End, Stream: s.stream, Session: s.session})
			if err == io.EOF {
				err = nil
			}
			return errors.Join(err, werr)
		}
	}
}

// wait returns the credit, once there is some. Only Copy takes from it.
func (s *Sender) wait() (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.credit <= 0 && !s.stopped {
		s.more.Wait()
	}
	if s.stopped {
		return 0, ErrStopped
	}
	return s.credit, nil
}

func (s *Sender) take(n int) {
	s.mu.Lock()
	s.credit -= n
	s.mu.Unlock()
}

// Credit adds n bytes. More than a window at once is clipped: a peer cannot
// make the counter overflow.
func (s *Sender) Credit(n uint32) {
	s.mu.Lock()
	s.credit = min(s.credit+int(min(n, Window)), Window)
	s.mu.Unlock()
	s.more.Broadcast()
}

// Stop makes Copy return ErrStopped.
func (s *Sender) Stop() {
	s.mu.Lock()
	s.stopped = true
	s.mu.Unlock()
	s.more.Broadcast()
}

// Receiver is the receiving end of a stream: a queue between the goroutine that
// reads frames, which must not wait, and the one that delivers them.
type Receiver struct {
	w       *Writer
	session uint32
	stream  uint8

	mu     sync.Mutex
	ready  sync.Cond // queue is not empty, or ended
	queue  [][]byte  // guarded by mu
	queued int       // bytes in queue; guarded by mu
	ended  bool      // guarded by mu
	closed bool      // nobody takes: drop; guarded by mu
}

// NewReceiver returns an empty Receiver.
func NewReceiver(w *Writer, session uint32, stream uint8) *Receiver {
	r := &Receiver{w: w, session: session, stream: stream}
	r.ready.L = &r.mu
	return r
}

// Put queues p and does not wait. A sender that exceeds its credit gets an
// error, and its run should be ended.
func (r *Receiver) Put(p []byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed || r.ended || len(p) == 0 {
		return nil
	}
	if r.queued+len(p) > Window {
		return errors.New("stream exceeds its credit")
	}
	r.queue = append(r.queue, p)
	r.queued += len(p)
	r.ready.Broadcast()
	return nil
}

// End says that no more will be Put.
func (r *Receiver) End() {
	r.mu.Lock()
	r.ended = true
	r.mu.Unlock()
	r.ready.Broadcast()
}

// Deliver writes what comes to out until the stream ends, giving credit for what
// was written. If out fails, for example because nobody reads a pipe, it sends
// Stop, drops the rest, and returns that error.
func (r *Receiver) Deliver(out io.Writer) error {
	for {
		p, ok := r.next()
		if !ok {
			return nil
		}
		if _, err := out.Write(p); err != nil {
			r.Close()
			return errors.Join(err, r.w.Write(Frame{Kind: Stop, Stream: r.stream, Session: r.session}))
		}
		r.mu.Lock()
		r.queued -= len(p)
		r.mu.Unlock()
		c := Frame{Kind: Credit, Stream: r.stream, Session: r.session, Payload: U32(uint32(len(p)))}
		if err := r.w.Write(c); err != nil {
			return err
		}
	}
}

// Close makes the Receiver drop what it has and what comes.
func (r *Receiver) Close() {
	r.mu.Lock()
	r.closed, r.queue, r.queued = true, nil, 0
	r.mu.Unlock()
	r.ready.Broadcast()
}

func (r *Receiver) next() ([]byte, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.queue) == 0 && !r.ended && !r.closed {
		r.ready.Wait()
	}
	if len(r.queue) == 0 {
		return nil, false
	}
	p := r.queue[0]
	r.queue = r.queue[1:]
	return p, true
}
