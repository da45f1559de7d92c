package bench

import (
	"errors"
	"fmt"

	"culvert/cmd/culvert/internal/bench/exits"

	"golang.org/x/sys/unix"
)

// bind binds this process and all that it will start to n of the processors it may use. undo frees it again.
func bind(n int) (undo func() error, err error) {
	var may unix.CPUSet
	if err := unix.SchedGetaffinity(0, &may); err != nil {
		return nil, fmt.Errorf("sched_getaffinity: %w", err)
	}
	if may.Count() < n {
		return nil, fmt.Errorf("--cpus %d: this machine lets us use %d", n, may.Count())
	}
	var chosen unix.CPUSet
	for cpu := 0; chosen.Count() < n; cpu++ {
		if may.IsSet(cpu) {
			chosen.Set(cpu)
		}
	}
	if err := setAll(&chosen); err != nil {
		return nil, errors.Join(err, setAll(&may))
	}
	return func() error { return setAll(&may) }, nil
}

// setAll binds every thread; new ones inherit it. One that is made by an unbound thread meanwhile is seen in the second
// look.
func setAll(set *unix.CPUSet) error {
	for range 2 {
		tids, err := exits.Threads()
		if err != nil {
			return err
		}
		for _, tid := range tids {
			if err := unix.SchedSetaffinity(tid, set); err != nil && !errors.Is(err, unix.ESRCH) {
				return fmt.Errorf("sched_setaffinity: %w", err)
			}
		}
	}
	return nil
}
