// Command goexec uses the Go runtime as servers do: goroutines, timers, garbage, os/exec, signals and sockets.
package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

func main() {
	workers()
	garbage()
	commands()
	sockets()
	signals()
	os.Exit(9)
}

// workers passes values through goroutines that block on channels, on a mutex and in the kernel.
func workers() {
	in, out := make(chan int), make(chan int)
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			for v := range in {
				runtime.Gosched()
				out <- v * v
			}
		})
	}
	go func() {
		for i := range 1000 {
			in <- i
		}
		close(in)
		wg.Wait()
		close(out)
	}()
	sum := 0
	for v := range out {
		sum += v
	}
	var n atomic.Int64
	for range 20 {
		wg.Go(func() {
			time.Sleep(5 * time.Millisecond)
			n.Add(1)
		})
	}
	wg.Wait()
	// A loop without calls: only a signal preempts it.
	stop := make(chan bool)
	go func() {
		time.Sleep(20 * time.Millisecond)
		close(stop)
	}()
	var spin atomic.Bool
	go func() {
		for !spin.Load() {
		}
	}()
	<-stop
	runtime.GC()
	spin.Store(true)
	fmt.Println(sum, n.Load())
}

// garbage makes the collector run while others allocate.
func garbage() {
	var wg sync.WaitGroup
	var total atomic.Int64
	for range 4 {
		wg.Go(func() {
			var keep [][]byte
			for i := range 500 {
				keep = append(keep, bytes.Repeat([]byte{byte(i)}, 4000))
				if len(keep) > 50 {
					keep = nil
				}
				total.Add(int64(len(keep)))
			}
		})
	}
	wg.Wait()
	fmt.Println(total.Load())
}

func commands() {
	out, err := exec.Command("sh", "-c", "echo out; echo err >&2; exit 4").Output()
	fmt.Printf("%q %v\n", out, err)
	cmd := exec.Command("cat")
	cmd.Stdin = bytes.NewReader(make([]byte, 300000))
	out, err = cmd.Output()
	fmt.Println(len(out), err)
	var wg sync.WaitGroup
	results := make([]string, 8)
	for i := range results {
		wg.Go(func() {
			b, err := exec.Command("sh", "-c", fmt.Sprintf("echo %d; exit %d", i, i%2)).CombinedOutput()
			results[i] = fmt.Sprintf("%q %v", b, err)
		})
	}
	wg.Wait()
	fmt.Println(results)
	cmd = exec.Command("sleep", "1000")
	if err := cmd.Start(); err != nil {
		fmt.Println(err)
		return
	}
	cmd.Process.Kill()
	fmt.Println(cmd.Wait())
	_, err = exec.Command("/no/such").Output()
	fmt.Println(err)
	r, w, _ := os.Pipe()
	a, b := exec.Command("seq", "1000"), exec.Command("wc", "-l")
	a.Stdout, b.Stdin, b.Stdout = w, r, os.Stdout
	a.Start()
	b.Start()
	w.Close()
	r.Close()
	fmt.Println(a.Wait(), b.Wait())
}

func sockets() {
	l, err := net.Listen("unix", "go.sock")
	if err != nil {
		fmt.Println(err)
		return
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go io.Copy(c, c)
		}
	}()
	var wg sync.WaitGroup
	var n atomic.Int64
	for i := range 10 {
		wg.Go(func() {
			c, err := net.Dial("unix", "go.sock")
			if err != nil {
				return
			}
			defer c.Close()
			fmt.Fprintf(c, "hello %d\n", i)
			if s, _ := bufio.NewReader(c).ReadString('\n'); s == fmt.Sprintf("hello %d\n", i) {
				n.Add(1)
			}
		})
	}
	wg.Wait()
	c, err := net.Dial("unix", "go.sock")
	if err == nil {
		c.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
		_, err = c.Read(make([]byte, 1))
	}
	fmt.Println(n.Load(), os.IsTimeout(err))
	l.Close()
}

func signals() {
	ch := make(chan os.Signal, 1)
	signal.Notify(ch, syscall.SIGUSR1)
	syscall.Kill(os.Getpid(), syscall.SIGUSR1)
	fmt.Println(<-ch)
	func() {
		defer func() { fmt.Println(recover()) }()
		var p *int
		*p = 1
	}()
}
