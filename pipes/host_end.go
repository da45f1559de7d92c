package pipes

import "fmt"

// Init makes p a new pipe over the ring at data, with no open end. Nobody else may use p yet.
// Preconditions: size is a result of RoundSize, at most MaxSize.
func Init(p *Pipe, data, size uint64) {
	g := p.Generation + 1
	*p = Pipe{Size: size, Data: data, Generation: g, ReaderOpens: 1, WriterOpens: 1}
}

// End is a pipe as the host uses it: the words in guest RAM and the ring that they name, as this process maps it.
// What the words say is not believed: a span that is not inside Ring is a CorruptError, after which the host has no more
// to do with the pipe.
type End struct {
	Pipe  *Pipe
	Ring  []byte
	Pause func() // between tries for a lock, such as runtime.Gosched
}

// CorruptError says that a pipe's words name bytes outside its ring: the guest kernel was subverted. The VM must end.
type CorruptError struct {
	Span Span
	Ring int
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("pipe in guest memory names bytes %d+%d and 0+%d of a ring of %d: end the VM",
		e.Span.Off, e.Span.N1, e.Span.N2, e.Ring)
}

// BeginRead is Pipe.BeginRead with the bytes in place of the span.
func (e End) BeginRead(max uint64) (a, b []byte, st Status, err error) {
	s, st := e.Pipe.BeginRead(max, e.Pause)
	if st != OK {
		return nil, nil, st, nil
	}
	a, b, err = e.bytes(s, max)
	if err != nil {
		e.Pipe.EndRead(0)
	}
	return a, b, st, err
}

// BeginWrite is Pipe.BeginWrite with the room in place of the span.
func (e End) BeginWrite(n uint64, mode Mode) (a, b []byte, st Status, err error) {
	s, st := e.Pipe.BeginWrite(n, mode, e.Pause)
	if st != OK {
		return nil, nil, st, nil
	}
	a, b, err = e.bytes(s, n)
	if err != nil {
		e.Pipe.EndWrite(0, mode)
	}
	return a, b, st, err
}

// Read copies up to len(buf) bytes out of the pipe. The wake is to be obeyed after OK.
func (e End) Read(buf []byte) (n int, w Wake, st Status, err error) {
	a, b, st, err := e.BeginRead(uint64(len(buf)))
	if st != OK || err != nil {
		return 0, w, st, err
	}
	n = copy(buf, a)
	n += copy(buf[n:], b)
	return n, e.Pipe.EndRead(uint64(n)), OK, nil
}

// Write copies as much of buf into the pipe as the mode allows. The wake is to be obeyed after OK.
func (e End) Write(buf []byte, mode Mode) (n int, w Wake, st Status, err error) {
	a, b, st, err := e.BeginWrite(uint64(len(buf)), mode)
	if st != OK || err != nil {
		return 0, w, st, err
	}
	n = copy(a, buf)
	n += copy(b, buf[n:])
	return n, e.Pipe.EndWrite(uint64(n), mode), OK, nil
}

// bytes maps the span that was got for want bytes into Ring.
func (e End) bytes(s Span, want uint64) (a, b []byte, err error) {
	ring := uint64(len(e.Ring))
	if s.Off > ring || s.N1 > ring-s.Off || s.N2 > ring || s.N1 == 0 && want != 0 {
		return nil, nil, &CorruptError{s, len(e.Ring)}
	}
	return e.Ring[s.Off : s.Off+s.N1 : s.Off+s.N1], e.Ring[:s.N2:s.N2], nil
}

// CopySpan copies the bytes of one span to another in another ring, as splice, tee and a resize need it.
func CopySpan(to []byte, t Span, from []byte, f Span) error {
	for i := 0; i < 3; i++ { // two cuts make at most three pieces
		fo, so, n := Piece(&f, &t)
		if n == 0 {
			return nil
		}
		if fo > uint64(len(from)) || n > uint64(len(from))-fo {
			return &CorruptError{f, len(from)}
		}
		if so > uint64(len(to)) || n > uint64(len(to))-so {
			return &CorruptError{t, len(to)}
		}
		copy(to[so:so+n], from[fo:fo+n])
	}
	return nil
}
