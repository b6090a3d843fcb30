package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// The measuring host is a C program: it loads a module as applications do, and nothing of Go's runtime is in its way.
const (
	benchHostName  = "coffer-bench"
	benchHostEnv   = "COFFER_BENCH" // where it is, if not beside this program
	benchOneAnswer = time.Minute    // what takes no measuring at all
)

// findBenchHost returns the path of the measuring host.
func findBenchHost(env func(string) string) (string, error) {
	if path := env(benchHostEnv); path != "" {
		if _, err := os.Stat(path); err != nil {
			return "", notFound("there is no %s, which %s names", "correct or unset "+benchHostEnv, path, benchHostEnv)
		}
		return path, nil
	}
	return besideProgram(benchHostName, "the measuring host", "name it in "+benchHostEnv+", or build both with make")
}

// findOwnModule returns the path of Coffer's own module.
func findOwnModule() (string, error) {
	if path, ok := installedLibrary(); ok {
		return path, nil
	}
	return besideProgram(libraryName, "the module", "name it with --module, or build both with make")
}

func besideProgram(name, what, hint string) (string, error) {
	self, err := os.Executable()
	if err == nil {
		self, err = filepath.EvalSymlinks(self)
	}
	if err != nil {
		return "", failed("this program cannot find itself: %v", hint, err)
	}
	path := filepath.Join(filepath.Dir(self), name)
	if _, err := os.Stat(path); err != nil {
		return "", notFound("%s, %s, is not beside this program in %s", hint, what, name, filepath.Dir(self))
	}
	return path, nil
}

// benchOperation is one row of the host's table.
type benchOperation struct {
	Name    string `json:"operation"`
	Text    string `json:"text"`
	Objects int    `json:"objects"` // how many it makes beforehand
}

// benchOperations asks the host what it can measure.
func benchOperations(ctx context.Context, host string) ([]benchOperation, error) {
	out, err := runBenchHost(ctx, host, nil, "--list")
	if err != nil {
		return nil, err
	}
	var list []benchOperation
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var op benchOperation
		if err := dec.Decode(&op); errors.Is(err, io.EOF) {
			return list, nil
		} else if err != nil {
			return nil, failed("%s is not this version's measuring host: %v", "build both with make", host, err)
		}
		list = append(list, op)
	}
}

// runBenchHost runs the host for something short and returns what it prints.
func runBenchHost(ctx context.Context, host string, env []string, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, benchOneAnswer)
	defer cancel()
	cmd := exec.CommandContext(ctx, host, args...)
	cmd.Env = env
	cmd.WaitDelay = time.Second
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); err != nil {
		return nil, failed("the measuring host failed: %s", "", lastWords(err, &errOut))
	}
	return out.Bytes(), nil
}

// lastWords is why a host ended: what it said, or how it ended.
func lastWords(err error, errOut *bytes.Buffer) string {
	lines := strings.Split(strings.TrimSpace(errOut.String()), "\n")
	if said, ok := strings.CutPrefix(lines[len(lines)-1], benchHostName+": "); ok {
		return said
	}
	if err == nil {
		return "it ended by itself"
	}
	return err.Error()
}

// benchHost is a host that serves measurements.
type benchHost struct {
	cmd     *exec.Cmd
	in      io.WriteCloser
	lines   chan string // what it prints; closed when it has ended
	errOut  *bytes.Buffer
	waitErr error // how it ended; these two may be read when lines is closed
}

// startBenchHost starts a host in a process group of its own: an interrupt at the terminal reaches it through us.
func startBenchHost(host string, env []string, args ...string) (*benchHost, error) {
	out, outWrite, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer outWrite.Close()
	h := &benchHost{cmd: exec.Command(host, args...), lines: make(chan string, 1), errOut: &bytes.Buffer{}}
	h.cmd.Env = env
	h.cmd.Stdout, h.cmd.Stderr = outWrite, h.errOut
	h.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	h.cmd.WaitDelay = time.Second
	h.in, err = h.cmd.StdinPipe()
	if err == nil {
		err = h.cmd.Start()
	}
	if err != nil {
		out.Close()
		return nil, failed("the measuring host cannot be started: %v", "", err)
	}
	go h.read(out)
	return h, nil
}

// read passes on what the host prints, until it has ended. A process that a module left behind may hold the pipe open.
func (h *benchHost) read(out *os.File) {
	defer out.Close()
	ended := make(chan struct{})
	go func() {
		h.waitErr = h.cmd.Wait()
		out.SetReadDeadline(time.Now().Add(h.cmd.WaitDelay))
		close(ended)
	}()
	for s := bufio.NewScanner(out); s.Scan(); {
		h.lines <- s.Text()
	}
	<-ended
	close(h.lines)
}

// line waits for the next line.
func (h *benchHost) line(ctx context.Context, limit time.Duration) (string, error) {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case l, ok := <-h.lines:
		if !ok {
			return "", fmt.Errorf("the measuring host ended: %s", lastWords(h.waitErr, h.errOut))
		}
		return l, nil
	case <-timer.C:
		return "", fmt.Errorf("no answer within %v", limit)
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// benchRun is one measurement as the host reports it. Exactly one of Rate, Unsupported and Error is set.
type benchRun struct {
	Count       uint64  `json:"count,omitempty"`
	Seconds     float64 `json:"seconds,omitempty"`
	Rate        float64 `json:"rate,omitempty"` // operations a second
	Median      uint64  `json:"median_ns,omitempty"`
	P99         uint64  `json:"p99_ns,omitempty"`
	Unsupported string  `json:"unsupported,omitempty"` // the return value that says so
	Error       string  `json:"error,omitempty"`
	Call        string  `json:"call,omitempty"` // the function that failed
}

func (r benchRun) failed() bool { return r.Unsupported != "" || r.Error != "" }

// measure asks for one measurement. An error means that the host is of no more use.
func (h *benchHost) measure(ctx context.Context, name string, threads int, seconds float64, limit time.Duration) (benchRun, error) {
	if _, err := fmt.Fprintf(h.in, "measure %s %d %g\n", name, threads, seconds); err != nil && !errors.Is(err, syscall.EPIPE) {
		return benchRun{}, err
	}
	line, err := h.line(ctx, limit)
	if err != nil {
		return benchRun{}, err
	}
	var r benchRun
	if err := json.Unmarshal([]byte(line), &r); err != nil {
		return benchRun{}, fmt.Errorf("the measuring host answered %q", line)
	}
	return r, nil
}

// stop ends the host: it may tidy up for as long as grace, then it is killed.
func (h *benchHost) stop(grace time.Duration) {
	h.in.Close()
	h.cmd.Process.Signal(syscall.SIGTERM)
	timer := time.AfterFunc(grace, func() { syscall.Kill(-h.cmd.Process.Pid, syscall.SIGKILL) })
	defer timer.Stop()
	for range h.lines {
	}
}
