package interop

import (
	"bytes"
	"fmt"
	"net"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/tests/harness"
)

func freePort(t *testing.T) int { return harness.FreePort(t) }

// patience bounds what a test waits for that happens sooner or later, on a machine that may have other things to do.
const patience = 2 * time.Minute

// service is a program that runs beside the test.
type service struct {
	cmd *exec.Cmd
	out lockedBuffer
	end chan struct{} // closed when it has ended
	err error         // of its end; read after end
}

// serve starts a program in a process group of its own, and ends it, with all that it has started, with the test. What it
// says is shown if the test fails.
func serve(t *testing.T, cmd *exec.Cmd) *service {
	t.Helper()
	s := &service{cmd: cmd, end: make(chan struct{})}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Stdout, cmd.Stderr = &s.out, &s.out
	cmd.WaitDelay = 5 * time.Second
	require.NoError(t, cmd.Start())
	go func() {
		s.err = cmd.Wait()
		close(s.end)
	}()
	t.Cleanup(func() {
		s.stop(syscall.SIGTERM)
		if t.Failed() {
			t.Logf("%s:\n%s", cmd, s.out.String())
		}
	})
	return s
}

// stop asks the group to end, and makes it after ten seconds.
func (s *service) stop(how syscall.Signal) {
	_ = syscall.Kill(-s.cmd.Process.Pid, how)
	select {
	case <-s.end:
	case <-time.After(10 * time.Second):
	}
	_ = syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL)
	<-s.end
}

// listens waits until the service accepts connections.
func (s *service) listens(t *testing.T, port int) {
	t.Helper()
	s.until(t, fmt.Sprintf("something listens on port %d", port), func() bool {
		c, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", port), time.Second)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
}

// says waits until the service has written a text.
func (s *service) says(t *testing.T, text string) {
	t.Helper()
	s.until(t, fmt.Sprintf("it says %q", text), func() bool { return strings.Contains(s.out.String(), text) })
}

func (s *service) until(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		if is() {
			return
		}
		select {
		case <-s.end:
			if is() {
				return
			}
			t.Fatalf("%s ended (%v) before %s:\n%s", s.cmd.Path, s.err, what, s.out.String())
		default:
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %v have passed and not yet: %s\n%s", s.cmd.Path, patience, what, s.out.String())
		}
	}
}

// lockedBuffer is written by a program and read by the test.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
