package machine

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// monitor speaks QMP, QEMU's control protocol: one JSON object a line.
type monitor struct {
	c  *net.UnixConn
	in *bufio.Scanner
}

// qmpLimit bounds each answer of QEMU, which is local and does little.
const qmpLimit = 20 * time.Second

// newMonitor does the handshake on a socket to QEMU, which it takes over.
func newMonitor(sock *os.File) (*monitor, error) {
	defer sock.Close() // FileConn duplicates it
	c, err := net.FileConn(sock)
	if err != nil {
		return nil, fmt.Errorf("QMP: %w", err)
	}
	m := &monitor{c: c.(*net.UnixConn), in: bufio.NewScanner(c)}
	if _, err := m.do("qmp_capabilities", nil, nil); err != nil {
		c.Close()
		return nil, err
	}
	return m, nil
}

// do executes one command. file, if not nil, goes with it (SCM_RIGHTS). Events
// and the greeting, which come between, are skipped.
func (m *monitor) do(name string, args any, file *os.File) (json.RawMessage, error) {
	req := map[string]any{"execute": name}
	if args != nil {
		req["arguments"] = args
	}
	b, err := json.Marshal(req)
	if err != nil {
		return nil, fmt.Errorf("QMP %s: %w", name, err)
	}
	var rights []byte
	if file != nil {
		rights = unix.UnixRights(int(file.Fd()))
	}
	if err := m.c.SetDeadline(time.Now().Add(qmpLimit)); err != nil {
		return nil, fmt.Errorf("QMP %s: %w", name, err)
	}
	if _, _, err := m.c.WriteMsgUnix(append(b, '\n'), rights, nil); err != nil {
		return nil, fmt.Errorf("QMP %s: %w", name, err)
	}
	for m.in.Scan() {
		var answer struct {
			Return json.RawMessage `json:"return"`
			Error  *struct {
				Desc string `json:"desc"`
			} `json:"error"`
		}
		if err := json.Unmarshal(m.in.Bytes(), &answer); err != nil {
			return nil, fmt.Errorf("QMP %s: %w", name, err)
		}
		if answer.Error != nil {
			return nil, fmt.Errorf("QMP %s: %s", name, answer.Error.Desc)
		}
		if answer.Return != nil {
			return answer.Return, nil
		}
	}
	return nil, fmt.Errorf("QMP %s: %w", name, errors.Join(m.in.Err(), errors.New("no answer")))
}

// save writes the machine's state to file and lets the machine go on.
func (m *monitor) save(file *os.File) error {
	type args = map[string]any
	if _, err := m.do("stop", nil, nil); err != nil {
		return err
	}
	// The default is a bandwidth that is kind to a network.
	if _, err := m.do("migrate-set-parameters", args{"max-bandwidth": int64(1) << 40}, nil); err != nil {
		return err
	}
	if _, err := m.do("getfd", args{"fdname": "state"}, file); err != nil {
		return err
	}
	if _, err := m.do("migrate", args{"uri": "fd:state"}, nil); err != nil {
		return err
	}
	for end := time.Now().Add(qmpLimit); ; time.Sleep(5 * time.Millisecond) {
		b, err := m.do("query-migrate", nil, nil)
		if err != nil {
			return err
		}
		var st struct{ Status string }
		if err := json.Unmarshal(b, &st); err != nil {
			return fmt.Errorf("QMP query-migrate: %w", err)
		}
		switch {
		case st.Status == "completed":
			_, err := m.do("cont", nil, nil)
			return err
		case st.Status == "failed" || st.Status == "cancelled":
			return fmt.Errorf("QEMU could not save the machine: %s", st.Status)
		case time.Now().After(end):
			return fmt.Errorf("QEMU did not save the machine within %v", qmpLimit)
		}
	}
}

// incoming tells whether QEMU has read the state that it was started with.
func (m *monitor) incoming() (done bool, err error) {
	b, err := m.do("query-status", nil, nil)
	if err != nil {
		return false, err
	}
	var st struct{ Status string }
	if err := json.Unmarshal(b, &st); err != nil {
		return false, fmt.Errorf("QMP query-status: %w", err)
	}
	return st.Status != "inmigrate", nil
}
