package interop

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/tests/harness"
)

// page is what every server of these tests answers.
const page = "served with a key in Coffer"

// visits asks a server for its page over and over, each time over a new connection with a full handshake: in turn with the
// RSA certificate, with the EC certificate, and with TLS 1.3.
type visits struct {
	stop chan struct{}
	wait sync.WaitGroup

	mu     sync.Mutex
	kinds  map[string]int // answers by protocol and the certificate's kind
	by     map[string]int // answers by the process that the header X-Pid names
	failed []string
}

// ways are how a visitor connects; a server with certificates of both kinds serves all.
var ways = []tls.Config{
	{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}},
	{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}},
	{MinVersion: tls.VersionTLS13},
}

// visit sends so many visitors.
func (s *site) visit(t *testing.T, port, visitors int) *visits {
	t.Helper()
	roots := s.roots(t, "rsa", "ec")
	v := &visits{stop: make(chan struct{}), kinds: map[string]int{}, by: map[string]int{}}
	url := fmt.Sprintf("https://127.0.0.1:%d/", port)
	for range visitors {
		v.wait.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-v.stop:
					return
				default:
				}
				way := ways[i%len(ways)].Clone()
				way.RootCAs = roots
				v.note(get(url, way))
			}
		})
	}
	t.Cleanup(v.ended)
	return v
}

// roots trusts certificates of the site.
func (s *site) roots(t *testing.T, labels ...string) *x509.CertPool {
	t.Helper()
	roots := x509.NewCertPool()
	for _, label := range labels {
		pem, err := os.ReadFile(filepath.Join(s.Dir, label+".crt"))
		require.NoError(t, err)
		require.True(t, roots.AppendCertsFromPEM(pem))
	}
	return roots
}

// get fetches the page over a connection of its own.
func get(url string, way *tls.Config) (*http.Response, error) {
	transport := &http.Transport{TLSClientConfig: way, DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	answer, err := (&http.Client{Transport: transport, Timeout: patience}).Get(url)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err == nil && (answer.StatusCode != http.StatusOK || !strings.Contains(string(body), page)) {
		err = fmt.Errorf("%s %q", answer.Status, body)
	}
	return answer, err
}

func (v *visits) note(answer *http.Response, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if err != nil {
		v.failed = append(v.failed, fmt.Sprintf("%s: %v", time.Now().Format("15:04:05.000"), err))
		return
	}
	v.kinds[fmt.Sprintf("%s %s", tls.VersionName(answer.TLS.Version), answer.TLS.PeerCertificates[0].PublicKeyAlgorithm)]++
	v.by[answer.Header.Get("X-Pid")]++
}

func (v *visits) ended() {
	v.mu.Lock()
	defer v.mu.Unlock()
	select {
	case <-v.stop:
	default:
		close(v.stop)
	}
	v.mu.Unlock()
	v.wait.Wait()
	v.mu.Lock()
}

// until waits for what has been answered to be as is says, as long as nothing fails.
func (v *visits) until(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		v.mu.Lock()
		done, failed := is(), len(v.failed) > 0
		v.mu.Unlock()
		if done || failed {
			return
		}
		require.True(t, time.Now().Before(deadline), "%v have passed and not yet: %s", patience, what)
	}
}

// allServed ends the visits and wants every one of them answered, and each way used. It returns how many were answered by
// each process.
func (v *visits) allServed(t *testing.T) map[string]int {
	t.Helper()
	v.until(t, "each way is used", func() bool {
		return v.kinds["TLS 1.2 RSA"] > 0 && v.kinds["TLS 1.2 ECDSA"] > 0 && v.kinds["TLS 1.3 RSA"]+v.kinds["TLS 1.3 ECDSA"] > 0
	})
	v.ended()
	t.Logf("answers: %v, by %d processes, %d failures", v.kinds, len(v.by), len(v.failed))
	require.Empty(t, v.failed[:min(len(v.failed), 5)])
	return v.by
}

// wrkLine are the lines of wrk's report that count.
var wrkLine = regexp.MustCompile(`(?m)^\s*(\d+) requests in|^\s*(Socket errors:.*|Non-2xx.*)$|^Requests/sec:\s*([\d.]+)`)

// wrk puts a server under load with Debian's wrk, each request over a new connection or all over those that stay open, and
// wants none to fail. It returns the requests per second.
func wrk(t *testing.T, port int, newConnections bool, duration time.Duration) float64 {
	t.Helper()
	harness.Need(t, "wrk")
	for range 8 { // before it measures: a process logs in when it first serves, and the other tests look at certificates
		_, err := get(fmt.Sprintf("https://127.0.0.1:%d/", port), &tls.Config{InsecureSkipVerify: true})
		require.NoError(t, err)
	}
	args := []string{"-t2", "-c16", fmt.Sprintf("-d%d", int(duration.Seconds())), "--timeout", "10s"}
	if newConnections {
		args = append(args, "-H", "Connection: close")
	}
	b, err := exec.Command("wrk", append(args, fmt.Sprintf("https://127.0.0.1:%d/", port))...).CombinedOutput()
	require.NoError(t, err, string(b))
	var requests int
	var rate float64
	for _, m := range wrkLine.FindAllStringSubmatch(string(b), -1) {
		require.Empty(t, m[2], string(b))
		if m[1] != "" {
			requests, _ = strconv.Atoi(m[1])
		}
		if m[3] != "" {
			rate, _ = strconv.ParseFloat(m[3], 64)
		}
	}
	require.NotZero(t, requests, string(b))
	return rate
}

// children are the processes that another one has started and that live.
func children(t *testing.T, pid int) []int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	require.NoError(t, err)
	var list []int
	for _, word := range strings.Fields(string(b)) {
		n, err := strconv.Atoi(word)
		require.NoError(t, err)
		list = append(list, n)
	}
	return list
}

// children waits until a server has started some.
func (s *service) children(t *testing.T) (list []int) {
	t.Helper()
	s.until(t, "it has children", func() bool {
		list = children(t, s.cmd.Process.Pid)
		return len(list) > 0
	})
	return list
}
