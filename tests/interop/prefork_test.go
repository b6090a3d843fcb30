package interop

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/tests/harness"
)

// ask sends data to a server, and returns what the key web shall have signed: a digest and the signature's two halves in one,
// and which process did it.
type ask func(data []byte) (digest, signature []byte, pid string, err error)

// signed asks from four sides until so many answers have come and often enough a process has ended, verifies each with Go's
// crypto/ecdsa, and returns by which processes. Nothing may fail. meanwhile runs beside it.
func signed(t *testing.T, k *harness.Token, answers, processes int, meanwhile func(), asks ask) map[string]int {
	t.Helper()
	block, _ := pem.Decode([]byte(k.Run(t, harness.Coffer(t), "key", "export", "web")))
	require.NotNil(t, block)
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	require.NoError(t, err)
	public := parsed.(*ecdsa.PublicKey)

	var mu sync.Mutex
	var wait sync.WaitGroup
	by := map[string]int{}
	n := 0
	var failed error
	deadline := time.Now().Add(patience)
	for range 4 {
		wait.Go(func() {
			for {
				data := make([]byte, 32)
				_, _ = rand.Read(data)
				digest, sig, pid, err := asks(data)
				if err == nil && (len(sig) != 64 || !ecdsa.Verify(public, digest, new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:]))) {
					err = fmt.Errorf("process %s has signed wrongly: %x", pid, sig)
				}
				mu.Lock()
				n++
				by[pid]++
				if err != nil {
					failed = err
				}
				done := failed != nil || n >= answers && len(by) >= processes || time.Now().After(deadline)
				mu.Unlock()
				if done {
					return
				}
			}
		})
	}
	meanwhile()
	wait.Wait()
	t.Logf("%d signatures by %d processes", n, len(by))
	require.NoError(t, failed)
	require.GreaterOrEqual(t, n, answers)
	require.GreaterOrEqual(t, len(by), processes)
	return by
}

// TestPrefork: a C server that has logged in before it forks; children sign, end after 50 answers and are replaced; one is
// killed.
func TestPrefork(t *testing.T) {
	client(t, "prefork")
	k := harness.NewToken(t, "demo")
	k.Run(t, harness.Coffer(t), "key", "generate", "--type", "ec:p256", "--label", "web")
	program := filepath.Join(k.Dir, "prefork")
	k.Run(t, "cc", "-Wall", "-Wextra", "-Werror", "-O2", "-I", filepath.Join(harness.Root(), "include"), "-o", program,
		filepath.Join(harness.Root(), "tests", "interop", "hosts", "prefork.c"))
	port := freePort(t)
	server := serve(t, k.Command(t, program, harness.Module(t), harness.UserPIN, "web", fmt.Sprint(port), "3", "50"))
	server.listens(t, port)
	require.NoError(t, syscall.Kill(server.children(t)[0], syscall.SIGKILL)) // before anybody can be waiting for it
	signed(t, k, 400, 8, func() {}, func(data []byte) (digest, signature []byte, pid string, err error) {
		c, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", port), patience)
		if err != nil {
			return nil, nil, "", err
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(patience))
		if _, err = c.Write(data); err != nil {
			return nil, nil, "", err
		}
		line, err := io.ReadAll(c)
		if err != nil {
			return nil, nil, "", err
		}
		pid, text, _ := strings.Cut(strings.TrimSpace(string(line)), " ")
		signature, err = hex.DecodeString(text)
		return data, signature, pid, err
	})
	require.Empty(t, server.out.String())
}

// heredoc is a file that a page's recipe writes.
func heredoc(t *testing.T, page, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(harness.Root(), "docs", "clients", page+".md"))
	require.NoError(t, err)
	m := regexp.MustCompile(`(?ms)^cat >` + regexp.QuoteMeta(name) + ` <<'END'\n(.*?)^END$`).FindSubmatch(text)
	require.NotNil(t, m)
	return string(m[1])
}

// TestGunicorn: the recipe's application, loaded before the fork; workers end after 40 requests and are replaced, a reload
// comes, and every signature is good.
func TestGunicorn(t *testing.T) {
	client(t, "gunicorn")
	harness.Need(t, "gunicorn")
	k := harness.NewToken(t, "demo")
	k.Run(t, harness.Coffer(t), "key", "generate", "--type", "ec:p256", "--label", "web")
	require.NoError(t, os.WriteFile(filepath.Join(k.Dir, "app.py"), []byte(heredoc(t, "gunicorn", "app.py")), 0o600))
	port := freePort(t)
	cmd := k.Command(t, "gunicorn", "--preload", "--workers", "2", "--max-requests", "40", "--bind", fmt.Sprintf("127.0.0.1:%d", port), "app:app")
	cmd.Env = append(cmd.Env, "MODULE="+harness.Module(t))
	server := serve(t, cmd)
	server.listens(t, port)
	clientOf := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	by := signed(t, k, 300, 6, func() {
		time.Sleep(500 * time.Millisecond)
		require.NoError(t, syscall.Kill(server.cmd.Process.Pid, syscall.SIGHUP))
	}, func(data []byte) (digest, signature []byte, pid string, err error) {
		answer, err := clientOf.Post(fmt.Sprintf("http://127.0.0.1:%d/", port), "application/octet-stream", bytes.NewReader(data))
		if err != nil {
			return nil, nil, "", err
		}
		defer answer.Body.Close()
		text, err := io.ReadAll(answer.Body)
		if err != nil || answer.StatusCode != http.StatusOK {
			return nil, nil, "", fmt.Errorf("%s %s %w", answer.Status, text, err)
		}
		sum := sha256.Sum256(data)
		signature, err = hex.DecodeString(strings.TrimSpace(string(text)))
		return sum[:], signature, answer.Header.Get("X-Pid"), err
	})
	require.NotContains(t, by, fmt.Sprint(server.cmd.Process.Pid), "the parent serves nobody")
	require.NotContains(t, server.out.String(), "Traceback")
}

// TestGunicornRecipe pastes docs/clients/gunicorn.md.
func TestGunicornRecipe(t *testing.T) {
	client(t, "gunicorn")
	require.Regexp(t, `(?m)^[0-9a-f]{128}$`, pasted(t, "gunicorn"))
}
