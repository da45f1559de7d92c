package wire

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestFrames(t *testing.T) {
	var buf bytes.Buffer
	w := NewWriter(&buf)
	want := []Frame{
		{Kind: Hello, Payload: []byte("x")},
		{Kind: Data, Stream: Stderr, Session: 7, Payload: bytes.Repeat([]byte{0, 255}, MaxData/2)},
		{Kind: End, Stream: Stdout, Session: 1<<32 - 1},
		{Kind: Resize, Payload: Size{1, 2, 3, 65535}.Bytes()},
	}
	for _, f := range want {
		if err := w.Write(f); err != nil {
			t.Fatal(err)
		}
	}
	r := NewReader(&buf)
	for i := range want {
		got, err := r.Read()
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want[i]) {
			t.Errorf("frame %d: %v, want %v", i, got, want[i])
		}
	}
	if _, err := r.Read(); err != io.EOF {
		t.Errorf("at the end: %v, want EOF", err)
	}
}

func TestBadFrames(t *testing.T) {
	good := Append(nil, Frame{Kind: Data, Stream: Stdout, Session: 1, Payload: []byte("abc")})
	change := func(at int, v byte) []byte {
		b := bytes.Clone(good)
		b[at] = v
		return b
	}
	for name, c := range map[string]struct {
		in   []byte
		want error
	}{
		"kind 0":         {change(0, 0), ErrFrame},
		"kind unknown":   {change(0, byte(kindEnd)), ErrFrame},
		"stream unknown": {change(1, 3), ErrFrame},
		"not zero":       {change(2, 1), ErrFrame},
		"too long":       {change(11, 1), ErrFrame},
		"cut in header":  {good[:5], io.ErrUnexpectedEOF},
		"cut in payload": {good[:len(good)-1], io.ErrUnexpectedEOF},
		"no payload":     {good[:HeaderSize], io.ErrUnexpectedEOF},
	} {
		if _, err := NewReader(bytes.NewReader(c.in)).Read(); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	if err := NewWriter(io.Discard).Write(Frame{Kind: Data, Payload: make([]byte, MaxPayload+1)}); !errors.Is(err, ErrFrame) {
		t.Errorf("write of a payload that is too long: %v", err)
	}
}

func FuzzRead(f *testing.F) {
	f.Add(Append(nil, Frame{Kind: Data, Stream: Stdout, Session: 1, Payload: []byte("abc")}))
	f.Add([]byte{1, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255})
	f.Fuzz(func(t *testing.T, b []byte) {
		r := NewReader(bytes.NewReader(b))
		var again []byte
		for {
			fr, err := r.Read()
			if err != nil {
				break
			}
			again = Append(again, fr)
		}
		if !bytes.HasPrefix(b, again) {
			t.Errorf("what was read encodes to other bytes than it had")
		}
	})
}

func FuzzRequest(f *testing.F) {
	b, err := Encode(&Request{Args: []string{"a"}, Dir: "/", Shares: []Share{{Tag: "t", Sub: "a", Path: "/a"}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := GetRequest(b)
		if err == nil && r.Check() != nil {
			t.Errorf("a bad request was accepted: %+v", r)
		}
	})
}

func TestRequest(t *testing.T) {
	good := Request{
		Args: []string{"a\xff\x00b", ""}, Env: []string{"A=\xfe"}, Dir: "/x", TTY: true, Size: Size{1, 2, 3, 4},
		Shares: []Share{{"t", "a/b", "/a/b", true}, {"t", ".", "/c", false}}, Seed: []byte{1}, Kept: Kept{"c", 1, "h"},
	}
	b, err := Encode(&good)
	if err != nil {
		t.Fatal(err)
	}
	got, err := GetRequest(b)
	if err != nil || !reflect.DeepEqual(*got, good) {
		t.Errorf("%+v, %v; want %+v", got, err, good)
	}
	for name, edit := range map[string]func(*Request){
		"no command":     func(r *Request) { r.Args = nil },
		"empty command":  func(r *Request) { r.Args = []string{""} },
		"relative dir":   func(r *Request) { r.Dir = "x" },
		"share of /":     func(r *Request) { r.Shares = []Share{{"t", ".", "/", false}} },
		"share relative": func(r *Request) { r.Shares = []Share{{"t", ".", "a", false}} },
		"share unclean":  func(r *Request) { r.Shares = []Share{{"t", ".", "/a/../b", false}} },
		"sub leaves":     func(r *Request) { r.Shares = []Share{{"t", "../a", "/a", false}} },
		"sub is ..":      func(r *Request) { r.Shares = []Share{{"t", "..", "/a", false}} },
		"sub absolute":   func(r *Request) { r.Shares = []Share{{"t", "/a", "/a", false}} },
		"tag empty":      func(r *Request) { r.Shares = []Share{{"", "a", "/a", false}} },
		"tag path":       func(r *Request) { r.Shares = []Share{{"../t", "a", "/a", false}} },
	} {
		r := good
		edit(&r)
		b, err := Encode(&r)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := GetRequest(b); !errors.Is(err, ErrFrame) {
			t.Errorf("%s: %v, want an error", name, err)
		}
	}
	if _, err := Encode(&Request{Args: []string{strings.Repeat("x", MaxPayload)}}); err == nil {
		t.Error("a request larger than a frame was encoded")
	}
}

// carrier gives the frames written to w to handle, as a machine's port would.
func carrier(t *testing.T, handle func(Frame)) *Writer {
	rd, wr := io.Pipe()
	t.Cleanup(func() { wr.Close() })
	go func() {
		in := NewReader(rd)
		for {
			f, err := in.Read()
			if err != nil {
				return
			}
			handle(f)
		}
	}()
	return NewWriter(wr)
}

// link makes a stream whose frames travel both ways.
func link(t *testing.T) (*Sender, *Receiver) {
	var s *Sender
	var r *Receiver
	ok := make(chan struct{})
	there := carrier(t, func(f Frame) {
		<-ok
		switch f.Kind {
		case Data:
			if err := r.Put(f.Payload); err != nil {
				t.Errorf("Put: %v", err)
			}
		case End:
			r.End()
		}
	})
	back := carrier(t, func(f Frame) {
		<-ok
		switch f.Kind {
		case Credit:
			n, err := GetU32(f.Payload)
			if err != nil {
				t.Error(err)
			}
			s.Credit(n)
		case Stop:
			s.Stop()
		}
	})
	s, r = NewSender(there, 1, Stdout), NewReceiver(back, 1, Stdout)
	close(ok)
	return s, r
}

func TestStream(t *testing.T) {
	s, r := link(t)
	data := bytes.Repeat([]byte("0123456789abcdef!"), 5*Window/17)
	done := make(chan error, 1)
	go func() { done <- s.Copy(bytes.NewReader(data)) }()
	var got bytes.Buffer
	if err := r.Deliver(&got); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), data) {
		t.Errorf("%d bytes came, differing from the %d that were sent", got.Len(), len(data))
	}
}

// slow blocks until it is released.
type slow struct{ release chan struct{} }

func (s slow) Write(p []byte) (int, error) { <-s.release; return len(p), nil }

// counting counts what is read from it; it never ends.
type counting struct{ read chan int }

func (c counting) Read(p []byte) (int, error) { c.read <- len(p); return len(p), nil }

func TestCreditBoundsSender(t *testing.T) {
	s, r := link(t)
	src := counting{make(chan int)}
	go func() { _ = s.Copy(src) }()
	out := slow{make(chan struct{})}
	go func() { _ = r.Deliver(out) }()
	total := 0
	for {
		select {
		case n := <-src.read:
			if total += n; total > Window {
				t.Fatalf("%d bytes taken without credit, at most %d", total, Window)
			}
			continue
		case <-time.After(200 * time.Millisecond):
		}
		break
	}
	if total != Window {
		t.Errorf("%d bytes taken, want the window of %d", total, Window)
	}
	out.release <- struct{}{} // one frame is delivered: its credit comes back
	if n := <-src.read; n <= 0 || n > MaxData {
		t.Errorf("%d bytes taken after credit came", n)
	}
	s.Stop()
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestBrokenOutputStopsSender(t *testing.T) {
	s, r := link(t)
	src := counting{make(chan int, 1000)}
	done := make(chan error, 1)
	go func() { done <- s.Copy(src) }()
	if err := r.Deliver(broken{}); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("Deliver: %v", err)
	}
	if err := <-done; !errors.Is(err, ErrStopped) {
		t.Errorf("Copy: %v, want %v", err, ErrStopped)
	}
}

func TestReceiverRefusesExcess(t *testing.T) {
	r := NewReceiver(NewWriter(io.Discard), 1, Stdin)
	if err := r.Put(make([]byte, Window)); err != nil {
		t.Fatal(err)
	}
	if err := r.Put([]byte{1}); err == nil {
		t.Error("more than a window was accepted")
	}
	r.Close()
	if err := r.Put(make([]byte, 2*Window)); err != nil {
		t.Errorf("a closed receiver drops: %v", err)
	}
	if err := r.Deliver(io.Discard); err != nil {
		t.Errorf("Deliver of a closed receiver: %v", err)
	}
}

func TestCreditCannotOverflow(t *testing.T) {
	s := NewSender(NewWriter(io.Discard), 1, Stdout)
	for range 10 {
		s.Credit(1<<32 - 1)
	}
	if n, err := s.wait(); n != Window || err != nil {
		t.Errorf("credit %d, %v; want %d", n, err, Window)
	}
}

func TestDamagedPayloads(t *testing.T) {
	for n := range 4 {
		if _, err := GetU32(make([]byte, n)); !errors.Is(err, ErrFrame) {
			t.Errorf("GetU32 of %d bytes: %v", n, err)
		}
	}
	if _, err := GetSize(make([]byte, 7)); !errors.Is(err, ErrFrame) {
		t.Errorf("GetSize: %v", err)
	}
	b, err := Encode(HelloInfo{Version: Version + 1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := GetHello(b); err == nil {
		t.Error("another version was accepted")
	}
}
