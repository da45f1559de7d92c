// Package wire is the protocol between the outside and the inside of an
// emulated machine: frames that carry many runs over one byte stream.
//
// The stream is a virtio-serial port between the host and init, and a UNIX
// socket between a client and the keeper of a machine. Both ends of a stream
// must always read: a receiver never waits for its own writer, and the bytes
// it may have to hold are bounded by the credit it has given. So neither a slow
// terminal nor a stopped command can block another run's frames.
//
// A frame is a header of 12 bytes, little-endian, and a payload:
//
//	0  u8   kind
//	1  u8   stream (Stdin, Stdout, Stderr; 0 where it means nothing)
//	2  u16  zero
//	4  u32  session: which run
//	8  u32  length of the payload, at most MaxPayload
package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
)

// Version is part of Hello; an end that meets another version gives up. The
// two ends are normally one binary, so it differs only around a rebuild.
const Version = 1

// Limits of a frame and of what may be under way.
const (
	HeaderSize = 12
	MaxPayload = 4 << 20   // bytes; a request carries arguments and environment
	MaxData    = 32 << 10  // bytes of one Data frame: what virtio-console sends at once
	Window     = 256 << 10 // bytes of a stream that may be sent before a Credit
)

// Kind says what a frame means.
type Kind uint8

// The frames, with who sends them.
const (
	Hello  Kind = 1 + iota // inside: it is up; payload: HelloInfo
	Beat                   // inside, once a second: it is alive
	Start                  // outside: a run; payload: Request
	Ready                  // inside: all is prepared, the command has not begun
	Go                     // outside: begin
	Data                   // both: bytes of a stream
	End                    // sender of a stream: no more bytes
	Stop                   // receiver of a stream: send no more, nobody reads
	Credit                 // receiver of a stream: u32 more bytes may be sent
	Signal                 // outside: u32 signal number for the command
	Resize                 // outside: 4 x u16: rows, columns, x and y pixels
	Exit                   // inside: the run is over; u32 exit code
	Fail                   // inside: the run did not begin; u32 exit code, text
	Kill                   // outside: end the run now
	Died                   // keeper: the machine died
	Refuse                 // keeper: u8 reason: another configuration or binary
	kindEnd
)

// Streams of a run.
const (
	Stdin  = 0
	Stdout = 1
	Stderr = 2
)

// Frame is one message.
type Frame struct {
	Kind    Kind
	Stream  uint8
	Session uint32
	Payload []byte
}

// ErrFrame reports bytes that are no frame. The stream cannot be used after it.
var ErrFrame = errors.New("bad frame")

// Reader reads frames.
type Reader struct {
	r   io.Reader
	hdr [HeaderSize]byte
}

// NewReader returns a Reader of r, which should be buffered.
func NewReader(r io.Reader) *Reader { return &Reader{r: r} }

// Read returns the next frame, whose payload is the caller's. At a clean end of
// the stream the error is io.EOF.
func (r *Reader) Read() (Frame, error) {
	if _, err := io.ReadFull(r.r, r.hdr[:]); err != nil {
		return Frame{}, err
	}
	f := Frame{
		Kind:    Kind(r.hdr[0]),
		Stream:  r.hdr[1],
		Session: binary.LittleEndian.Uint32(r.hdr[4:]),
	}
	n := binary.LittleEndian.Uint32(r.hdr[8:])
	zero := binary.LittleEndian.Uint16(r.hdr[2:])
	if f.Kind == 0 || f.Kind >= kindEnd || f.Stream > Stderr || zero != 0 || n > MaxPayload {
		return Frame{}, fmt.Errorf("%w: kind %d, stream %d, length %d", ErrFrame, f.Kind, f.Stream, n)
	}
	if n > 0 {
		f.Payload = make([]byte, n)
		if _, err := io.ReadFull(r.r, f.Payload); err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return Frame{}, err
		}
	}
	return f, nil
}

// Writer writes frames, each with one Write, from any goroutine.
type Writer struct {
	mu  sync.Mutex
	w   io.Writer // guarded by mu
	buf []byte    // guarded by mu
}

// NewWriter returns a Writer to w.
func NewWriter(w io.Writer) *Writer { return &Writer{w: w} }

// Write sends one frame.
func (w *Writer) Write(f Frame) error {
	if len(f.Payload) > MaxPayload {
		return fmt.Errorf("%w: payload of %d bytes, at most %d", ErrFrame, len(f.Payload), MaxPayload)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.buf = Append(w.buf[:0], f)
	if _, err := w.w.Write(w.buf); err != nil {
		return fmt.Errorf("send frame: %w", err)
	}
	return nil
}

// Append appends the encoding of f to b.
func Append(b []byte, f Frame) []byte {
	b = append(b, byte(f.Kind), f.Stream, 0, 0)
	b = binary.LittleEndian.AppendUint32(b, f.Session)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(f.Payload)))
	return append(b, f.Payload...)
}

// U32 encodes the payload of Credit, Signal and Exit.
func U32(v uint32) []byte { return binary.LittleEndian.AppendUint32(nil, v) }

// GetU32 decodes a payload that begins with a u32.
func GetU32(p []byte) (uint32, error) {
	if len(p) < 4 {
		return 0, fmt.Errorf("%w: payload of %d bytes, need 4", ErrFrame, len(p))
	}
	return binary.LittleEndian.Uint32(p), nil
}

// Size is a terminal's size, as in struct winsize.
type Size struct {
	Rows, Cols, X, Y uint16
}

// Bytes encodes the payload of Resize.
func (s Size) Bytes() []byte {
	var b []byte
	for _, v := range []uint16{s.Rows, s.Cols, s.X, s.Y} {
		b = binary.LittleEndian.AppendUint16(b, v)
	}
	return b
}

// GetSize decodes the payload of Resize.
func GetSize(p []byte) (Size, error) {
	if len(p) != 8 {
		return Size{}, fmt.Errorf("%w: size of %d bytes, need 8", ErrFrame, len(p))
	}
	u := binary.LittleEndian.Uint16
	return Size{u(p), u(p[2:]), u(p[4:]), u(p[6:])}, nil
}
