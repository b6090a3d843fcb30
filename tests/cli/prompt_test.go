package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// terminal opens a pseudo-terminal.
func terminal(t *testing.T) (near, far *os.File) {
	t.Helper()
	near, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skip("no pseudo-terminals here: ", err)
	}
	t.Cleanup(func() { near.Close() })
	if err := unix.IoctlSetPointerInt(int(near.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(near.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	far, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { far.Close() })
	return near, far
}

// echoes reports whether the terminal shows what is typed.
func echoes(t *testing.T, far *os.File) bool {
	t.Helper()
	state, err := unix.IoctlGetTermios(int(far.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return state.Lflag&unix.ECHO != 0
}

// atPrompt starts coffer on a terminal and returns once it asks for a PIN.
func atPrompt(t *testing.T, far *os.File, args ...string) (cmd *exec.Cmd, said *bytes.Buffer, rest func()) {
	t.Helper()
	home := t.TempDir()
	cmd = exec.Command(filepath.Join(binDir, "coffer"), args...)
	cmd.Env = []string{"HOME=" + home, "XDG_DATA_HOME=" + home}
	cmd.Stdin = far
	errOut, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill() })
	said = &bytes.Buffer{}
	for !strings.HasSuffix(said.String(), ": ") {
		if _, err := io.CopyN(said, errOut, 1); err != nil {
			t.Fatalf("no prompt: %v, said %q", err, said)
		}
	}
	// The prompt is written just before the echo goes off; the test waits for it by looking.
	for deadline := time.Now().Add(time.Minute); echoes(t, far); {
		if time.Now().After(deadline) {
			t.Fatal("the echo stays on")
		}
	}
	return cmd, said, func() { io.Copy(said, errOut) }
}

func TestPromptDoesNotEcho(t *testing.T) {
	near, far := terminal(t)
	cmd, said, rest := atPrompt(t, far, "token", "init", "--label", "demo")
	if _, err := near.WriteString("12345678\n87654321\n"); err != nil {
		t.Fatal(err)
	}
	rest()
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 4 {
		t.Errorf("ended with %v, said %s", err, said)
	}
	if !strings.Contains(said.String(), "the two are not the same") {
		t.Errorf("said %q", said)
	}
	if !echoes(t, far) {
		t.Error("the terminal stays silent after the end")
	}
	// What the terminal showed is all that can be read from its near end.
	fd := int(near.Fd())
	if err := unix.SetNonblock(fd, true); err != nil {
		t.Fatal(err)
	}
	shown := make([]byte, 4096)
	n, _ := unix.Read(fd, shown)
	if n > 0 && bytes.Contains(shown[:n], []byte("12345678")) {
		t.Errorf("the terminal showed %q", shown[:n])
	}
}

func TestInterruptAtThePromptGivesTheTerminalBack(t *testing.T) {
	_, far := terminal(t)
	cmd, _, rest := atPrompt(t, far, "token", "init", "--label", "demo")
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	rest()
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 130 {
		t.Errorf("ended with %v", err)
	}
	if !echoes(t, far) {
		t.Error("the terminal stays silent")
	}
}
