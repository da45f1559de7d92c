package wire

import (
	"bytes"
	"encoding/gob"
	"fmt"
	"io"
	"path"
	"strings"
)

// HelloInfo is the payload of Hello.
type HelloInfo struct {
	Version int
	Kernel  string           // release of the kernel inside
	Phases  map[string]int64 // microseconds since the kernel's start
}

// Request is the payload of Start: one run.
type Request struct {
	Args   []string // the command; Args[0] is looked up in Env's PATH inside
	Env    []string
	Dir    string // absolute
	UID    int
	GID    int
	Umask  int
	NoFile uint64 // hard RLIMIT_NOFILE; 0 to leave it
	Groups []int
	TTY    bool // stdin and stdout are a pty; so is stderr if TTYErr
	TTYErr bool
	Size   Size
	Shares []Share

	Hostname string
	Now      int64  // the host's CLOCK_REALTIME, ns
	Seed     []byte // random bytes

	Kept Kept // for a keeper only
}

// Kept says which machine a client wants. A keeper refuses a request for another.
type Kept struct {
	Config string // CPUs, processor and the like
	Mem    int64  // bytes; 0 for any
	Init   string // hash of the binary that is the machine's init
}

// Share makes one host path mean the host's own path inside.
type Share struct {
	Tag  string // the 9p export that has it
	Sub  string // its path below the export's root, "." for the root itself
	Path string // absolute; where it appears
	File bool
}

// Check refuses a request that the inside could not act on, or that would
// reach outside what it names.
func (r *Request) Check() error {
	if len(r.Args) == 0 || r.Args[0] == "" {
		return fmt.Errorf("%w: no command", ErrFrame)
	}
	if !path.IsAbs(r.Dir) {
		return fmt.Errorf("%w: directory %q is not absolute", ErrFrame, r.Dir)
	}
	for _, s := range r.Shares {
		if !path.IsAbs(s.Path) || path.Clean(s.Path) != s.Path || s.Path == "/" {
			return fmt.Errorf("%w: shared path %q is not an absolute clean path", ErrFrame, s.Path)
		}
		if s.Sub != path.Clean(s.Sub) || path.IsAbs(s.Sub) || s.Sub == ".." || strings.HasPrefix(s.Sub, "../") {
			return fmt.Errorf("%w: shared path %q leaves its export", ErrFrame, s.Sub)
		}
		if s.Tag == "" || strings.ContainsAny(s.Tag, "/,") {
			return fmt.Errorf("%w: export tag %q", ErrFrame, s.Tag)
		}
	}
	return nil
}

// Encode encodes the payload of a Hello or Start. The format is gob, because
// arguments and environment may hold any bytes, which JSON would replace.
func Encode(v any) ([]byte, error) {
	var b bytes.Buffer
	if err := gob.NewEncoder(&b).Encode(v); err != nil {
		return nil, fmt.Errorf("encode %T: %w", v, err)
	}
	if b.Len() > MaxPayload {
		return nil, fmt.Errorf("arguments and environment need %d bytes, at most %d", b.Len(), MaxPayload)
	}
	return b.Bytes(), nil
}

// Decode decodes what Encode made.
func Decode(r io.Reader, v any) error {
	if err := gob.NewDecoder(r).Decode(v); err != nil {
		return fmt.Errorf("%w: %T: %w", ErrFrame, v, err)
	}
	return nil
}

// GetHello decodes the payload of Hello.
func GetHello(p []byte) (*HelloInfo, error) {
	var h HelloInfo
	if err := Decode(bytes.NewReader(p), &h); err != nil {
		return nil, err
	}
	if h.Version != Version {
		return nil, fmt.Errorf("the machine speaks version %d, need %d", h.Version, Version)
	}
	return &h, nil
}

// GetRequest decodes and checks the payload of Start.
func GetRequest(p []byte) (*Request, error) {
	var r Request
	if err := Decode(bytes.NewReader(p), &r); err != nil {
		return nil, err
	}
	if err := r.Check(); err != nil {
		return nil, err
	}
	return &r, nil
}
