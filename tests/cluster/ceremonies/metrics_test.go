package ceremonies

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/coffer-hsm/coffer/core/cluster/client"
	"github.com/coffer-hsm/coffer/core/cluster/metrics"
	ck "github.com/coffer-hsm/coffer/pkcs11"
	"github.com/coffer-hsm/coffer/tests/harness"
	"github.com/miekg/pkcs11"
)

// measured has a node tell a monitoring system how it does, from its next start on: on a socket in its directory.
func (n *node) measured(t testing.TB) {
	n.configure(t, fmt.Sprintf("metrics = %q", "unix:"+n.watched()))
}

func (n *node) watched() string { return filepath.Join(n.dir, "metrics.sock") }

// configure adds lines to a node's configuration, before its tables.
func (n *node) configure(t testing.TB, lines string) {
	t.Helper()
	b, err := os.ReadFile(n.conf)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(n.conf, []byte(lines+"\n"+string(b)), 0o600))
}

// fetch asks a node's monitor; address is empty for its socket.
func (n *node) fetch(address, method, path string) (code int, body string, err error) {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		if address == "" {
			return new(net.Dialer).DialContext(ctx, "unix", n.watched())
		}
		return new(net.Dialer).DialContext(ctx, "tcp", address)
	}
	c := http.Client{Timeout: patience, Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}
	q, err := http.NewRequest(method, "http://node"+path, nil)
	if err != nil {
		return 0, "", err
	}
	r, err := c.Do(q)
	if err != nil {
		return 0, "", err
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	return r.StatusCode, string(b), err
}

// health is what a node says of itself.
func (n *node) health(t testing.TB) (code int, sentence string) {
	t.Helper()
	code, sentence, err := n.fetch("", "GET", "/healthz")
	require.NoError(t, err)
	return code, sentence
}

// scraped is what a node tells, as Prometheus reads it.
type scraped map[string]*dto.MetricFamily

func (n *node) scrape(t testing.TB, address string) (scraped, string) {
	t.Helper()
	code, body, err := n.fetch(address, "GET", "/metrics")
	require.NoError(t, err)
	require.Equal(t, 200, code, body)
	p := expfmt.NewTextParser(model.LegacyValidation)
	m, err := p.TextToMetricFamilies(strings.NewReader(body))
	require.NoError(t, err)
	for name, f := range m {
		if !strings.HasPrefix(name, "coffer_") || name == "coffer_build_info" {
			continue
		}
		for _, one := range f.Metric {
			for _, l := range one.Label {
				require.Contains(t, metrics.Labels()[l.GetName()], l.GetValue(), "%s may not have that label", name)
			}
		}
	}
	return m, body
}

// of is a metric's value; labels are values of its labels. Of a histogram it is how many there were.
func (s scraped) of(name string, labels ...string) float64 {
	for _, m := range s[name].GetMetric() {
		values := map[string]bool{}
		for _, l := range m.Label {
			values[l.GetValue()] = true
		}
		all := true
		for _, l := range labels {
			all = all && values[l]
		}
		if all {
			return m.GetGauge().GetValue() + m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return 0
}

// TestNodeTellsWhatItDoes: what the library asks of a node shows, as many as there were, and nothing that says whose it was.
func TestNodeTellsWhatItDoes(t *testing.T) {
	c := newCluster(t)
	defer c.end()
	n := c.place(t, "watched")
	code := c.create(t, n, "--store", "file")
	at := fmt.Sprintf("127.0.0.1:%d", harness.FreePort(t))
	n.configure(t, fmt.Sprintf("metrics = %q", at))
	n.start(t)
	n.serves(t)
	c.activate(t, n, code)
	require.NoError(t, os.WriteFile(c.slotFile(), []byte(fmt.Sprintf("[[slot]]\nid = 0\nsocket = %q\n", n.sock)), 0o600))
	healthy, sentence, err := n.fetch(at, "GET", "/healthz")
	require.NoError(t, err)
	require.Equal(t, 200, healthy)
	require.Equal(t, "the node is ready\n", sentence)

	p := c.library(t)
	s := session(t, p)
	value := []byte("thirty-two bytes of a key, a key")
	key, err := p.CreateObject(s, append(hmacKey("canary", value, true), pkcs11.NewAttribute(pkcs11.CKA_VERIFY, true)))
	require.NoError(t, err)
	before, _ := n.scrape(t, at)
	const signatures = 7
	for i := range signatures {
		require.NoError(t, signs(p, s, key, value, fmt.Sprint(i)))
	}
	require.NoError(t, p.VerifyInit(s, hmacSHA256, key))
	require.Equal(t, pkcs11.Error(pkcs11.CKR_SIGNATURE_INVALID), p.Verify(s, []byte("data"), make([]byte, 32)))
	_, err = p.CreateObject(s, hmacKey("canary", value, true))
	require.NoError(t, err)
	h, err := client.New(client.Options{Socket: n.sock, Only: true, Timeout: patience})
	require.NoError(t, err)
	defer h.Close()
	_, err = h.Login(t.Context(), ck.CKU_USER, "", []byte("a wrong PIN"))
	answers(t, ck.CKR_PIN_INCORRECT, err)
	after, body := n.scrape(t, at)

	for _, w := range []struct {
		by     float64
		name   string
		labels []string
	}{
		{signatures, "coffer_requests_total", []string{"Sign", "CKR_OK"}},
		{signatures, "coffer_request_duration_seconds", []string{"Sign"}},
		{1, "coffer_requests_total", []string{"Verify", "CKR_SIGNATURE_INVALID"}},
		{0, "coffer_requests_total", []string{"Verify", "CKR_OK"}},
		{1, "coffer_requests_total", []string{"CreateObject", "CKR_OK"}},
		{1, "coffer_requests_total", []string{"Login", "CKR_PIN_INCORRECT"}},
		{1, "coffer_logins_failed_total", []string{"CKR_PIN_INCORRECT"}},
		{0, "coffer_logins_failed_total", []string{"CKR_PIN_LOCKED"}},
		{1, "coffer_token_objects", nil},
		{0, "coffer_users_locked", nil},
	} {
		require.Equal(t, w.by, after.of(w.name, w.labels...)-before.of(w.name, w.labels...), "%s %v", w.name, w.labels)
	}
	require.Positive(t, after.of("coffer_streams"))
	require.Greater(t, after.of("coffer_streams_opened_total"), before.of("coffer_streams_opened_total"))
	require.Positive(t, after.of("coffer_store_bytes"))
	require.Positive(t, after.of("coffer_certificate_expiry_timestamp_seconds", "node"))
	require.Len(t, after["coffer_certificate_expiry_timestamp_seconds"].Metric, 2)
	require.Equal(t, 1.0, after.of("coffer_ready"))
	require.Equal(t, 1.0, after.of("coffer_build_info"))
	for _, secret := range []string{"canary", "ceremony", harness.UserPIN, c.dir, "uid:"} {
		require.NotContains(t, body, secret)
	}
	require.NotContains(t, body, "etcd_", "there is no etcd in this node")

	for _, w := range []struct {
		method, path string
		code         int
	}{{"GET", "/", 404}, {"GET", "/debug/pprof/", 404}, {"GET", "/debug/vars", 404}, {"GET", "/metrics/x", 404}, {"POST", "/metrics", 405}, {"DELETE", "/healthz", 405}} {
		code, body, err := n.fetch(at, w.method, w.path)
		require.NoError(t, err)
		require.Equal(t, w.code, code, "%s %s: %s", w.method, w.path, body)
	}
	require.NoError(t, n.cmd.Process.Signal(syscall.SIGTERM))
	n.ends(t)
	_, _, err = n.fetch(at, "GET", "/healthz")
	require.ErrorContains(t, err, "refused")
}

// TestMonitorsAddressIsTaken: the daemon says so before it opens anything.
func TestMonitorsAddressIsTaken(t *testing.T) {
	c := newCluster(t)
	defer c.end()
	n := c.place(t, "taken")
	c.create(t, n, "--store", "file")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	n.configure(t, fmt.Sprintf("metrics = %q", l.Addr()))
	n.start(t)
	n.ends(t)
	require.Contains(t, n.tail(), "cannot listen at "+l.Addr().String())
	require.Contains(t, n.tail(), "set metrics")
	require.NoFileExists(t, n.sock)
}

// TestClusterTellsOfItsMajority: what the nodes tell is that all is well, then which of it is not, then that it is again; and
// all that the alert rules name is told.
func TestClusterTellsOfItsMajority(t *testing.T) {
	c := newCluster(t)
	defer c.end()
	a := c.place(t, "a")
	code := c.create(t, a)
	a.measured(t)
	a.start(t)
	a.serves(t)
	c.activate(t, a, code)
	for _, name := range []string{"b", "c"} {
		n := c.joined(t, a, name)
		n.measured(t)
		n.start(t)
		n.serves(t)
	}
	c.settled(t, a, 3, 3)
	ready := func(n *node) func() error {
		return func() error {
			if code, sentence := n.health(t); code != 200 {
				return fmt.Errorf("%s: %d %s", n.name, code, sentence)
			}
			return nil
		}
	}
	for _, n := range c.nodes {
		within(t, patience, ready(n))
	}
	before, _ := a.scrape(t, "")
	c.coffer(t, "key", "generate", "--type", "aes:256", "--label", "canary", "--socket", a.sock)
	leaders, names := 0.0, map[string]bool{"up": true}
	for _, n := range c.nodes {
		m, body := n.scrape(t, "")
		require.NotContains(t, body, "canary")
		leaders += m.of("coffer_cluster_leads")
		for name, want := range map[string]float64{"coffer_ready": 1, "coffer_cluster_quorum": 1, "coffer_cluster_votes": 1, "coffer_cluster_voters": 3, "coffer_token_objects": 1, "etcd_server_has_leader": 1} {
			require.Equal(t, want, m.of(name), "%s of %s", name, n.name)
		}
		require.Equal(t, 3.0, m.of("coffer_cluster_members", "ready"))
		require.Positive(t, m.of("etcd_disk_wal_fsync_duration_seconds"))
		require.Less(t, m.of("coffer_store_bytes"), m.of("coffer_store_limit_bytes"))
		for name, f := range m {
			names[name] = true
			if f.GetType() == dto.MetricType_HISTOGRAM {
				names[name+"_bucket"], names[name+"_sum"], names[name+"_count"] = true, true, true
			}
		}
	}
	require.Equal(t, 1.0, leaders)
	after, _ := a.scrape(t, "")
	require.Greater(t, after.of("coffer_change_settle_seconds"), before.of("coffer_change_settle_seconds"))
	require.Greater(t, after.of("coffer_cluster_revision"), before.of("coffer_cluster_revision"))
	named := 0
	for _, rule := range alerts(t) {
		for _, name := range regexp.MustCompile(`\b(up|(coffer|etcd|process|go)_\w+)\b`).FindAllString(rule.Expr, -1) {
			require.True(t, names[name], "%s names %s, which nobody tells", rule.Alert, name)
			named++
		}
	}
	require.Greater(t, named, 8)

	for _, n := range c.nodes[1:] {
		n.kill()
	}
	within(t, patience, func() error {
		if code, sentence := a.health(t); code != 503 || !strings.Contains(sentence, "no majority") {
			return fmt.Errorf("%d %s", code, sentence)
		}
		return nil
	})
	m, _ := a.scrape(t, "")
	require.Zero(t, m.of("coffer_ready")+m.of("coffer_cluster_quorum"))
	require.Positive(t, m.of("coffer_cluster_unconfirmed_seconds"))

	// Started again, and still alone: it tells that from the beginning.
	a.kill()
	a.start(t)
	within(t, patience, func() error { _, _, err := a.fetch("", "GET", "/healthz"); return err })
	now, sentence := a.health(t)
	require.Equal(t, 503, now)
	require.Contains(t, sentence, "waits for a majority")
	m, _ = a.scrape(t, "")
	require.Zero(t, m.of("coffer_ready"))
	require.Contains(t, m, "coffer_cluster_quorum", "without it CofferNoMajority knows nothing")
	require.Zero(t, m.of("coffer_cluster_quorum"))
	require.NotContains(t, m, "coffer_requests_total")
	c.nodes[1].start(t)
	within(t, patience, ready(a))
	within(t, patience, ready(c.nodes[1]))
	within(t, patience, func() error { // the third has not answered the others for long enough
		m, _ := a.scrape(t, "")
		if m.of("coffer_cluster_members", "ready") != 2 || m.of("coffer_cluster_members", "dead") != 1 {
			return fmt.Errorf("members: %v", m["coffer_cluster_members"])
		}
		return nil
	})
}

// alert is a rule of dist/prometheus-alerts.yml.
type alert struct {
	Alert, Expr, For    string
	Labels, Annotations map[string]string
}

func alerts(t testing.TB) (list []alert) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(harness.Root(), "dist", "prometheus-alerts.yml"))
	require.NoError(t, err)
	var file struct {
		Groups []struct {
			Name  string
			Rules []alert
		}
	}
	d := yaml.NewDecoder(strings.NewReader(string(b)))
	d.KnownFields(true)
	require.NoError(t, d.Decode(&file))
	for _, g := range file.Groups {
		for _, rule := range g.Rules {
			require.NotEmpty(t, rule.Expr, rule.Alert)
			require.NotEmpty(t, rule.Annotations["summary"], rule.Alert)
			require.Contains(t, []string{"warning", "critical"}, rule.Labels["severity"], rule.Alert)
		}
		list = append(list, g.Rules...)
	}
	require.GreaterOrEqual(t, len(list), 5)
	return list
}
