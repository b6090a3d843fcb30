package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/core/config"
)

// TestFewConnections: who is too many takes the place of the oldest that has not asked, and is sent away where all have; a place
// that is given up is another's.
func TestFewConnections(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	f := &few{Listener: l, most: 2}
	accepted := make(chan *placed)
	go func() {
		defer close(accepted)
		for {
			c, err := f.Accept()
			if err != nil {
				return
			}
			accepted <- c.(*placed)
		}
	}()
	dial := func() net.Conn {
		c, err := net.Dial("tcp", l.Addr().String())
		require.NoError(t, err)
		t.Cleanup(func() { c.Close() })
		return c
	}
	asks := func(p *placed) {
		r, err := http.NewRequestWithContext(withPlace(t.Context(), p), "GET", "/", nil)
		require.NoError(t, err)
		answered(http.NotFoundHandler()).ServeHTTP(httptest.NewRecorder(), r)
	}
	dial()
	first := <-accepted
	asks(first)
	silent := dial()
	second := <-accepted
	dial()
	third := <-accepted
	_, err = silent.Read(make([]byte, 1))
	require.Error(t, err, "the one that has not asked goes, not the oldest")
	_ = second.Close() // has no place any more
	asks(third)
	_, err = dial().Read(make([]byte, 1))
	require.Error(t, err)
	require.NoError(t, first.Close())
	_ = first.Close() // gives back one place only
	dial()
	fourth := <-accepted
	asks(fourth)
	_, err = dial().Read(make([]byte, 1))
	require.Error(t, err)
	require.NoError(t, third.Close())
	require.NoError(t, fourth.Close())
	require.Empty(t, f.held)
	require.NoError(t, l.Close())
	_, open := <-accepted
	require.False(t, open)
}

// TestSilentConnectionsShutNobodyOut: not those that never ask, not those that begin to, and not those that were answered.
func TestSilentConnectionsShutNobodyOut(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m")
	m, err := newMonitor(&config.Node{Metrics: config.UnixPrefix + path, SocketMode: 0o600}, func() error { return nil }, slog.Default())
	require.NoError(t, err)
	defer m.close()
	dial := func() net.Conn {
		c, err := net.Dial("unix", path)
		require.NoError(t, err)
		t.Cleanup(func() { c.Close() })
		return c
	}
	for said, ends := range map[string]bool{
		"":                            false,
		"GET /metrics HTTP/1.1\r\nHo": false,
		"GET /healthz HTTP/1.1\r\nHost: node\r\nConnection: keep-alive\r\n\r\n": true,
	} {
		for range monitorConnections {
			c := dial()
			_, err := c.Write([]byte(said))
			require.NoError(t, err)
			if ends {
				b, err := io.ReadAll(c)
				require.NoError(t, err)
				require.Contains(t, string(b), "the node is ready")
			}
		}
		c := dial()
		_, err = c.Write([]byte("GET /metrics HTTP/1.1\r\nHost: node\r\n\r\n"))
		require.NoError(t, err)
		b, err := io.ReadAll(c)
		require.NoError(t, err, "after %q", said)
		require.Contains(t, string(b), "\ncoffer_ready 1\n", "after %q", said)
	}
}

func TestMonitorOnASocket(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "m")
	var log bytes.Buffer
	var reason atomic.Pointer[error]
	ready := func() error {
		if e := reason.Load(); e != nil {
			return *e
		}
		return nil
	}
	n := &config.Node{Metrics: config.UnixPrefix + path, SocketMode: 0o640}
	m, err := newMonitor(n, ready, slog.New(slog.NewTextHandler(&log, nil)))
	require.NoError(t, err)
	defer m.close()
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o640), info.Mode().Perm())
	_, err = newMonitor(n, ready, slog.Default())
	require.ErrorContains(t, err, "set metrics")

	c := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}}}
	get := func(path string) (int, string) {
		r, err := c.Get("http://node" + path)
		require.NoError(t, err)
		defer r.Body.Close()
		b, err := io.ReadAll(r.Body)
		require.NoError(t, err)
		return r.StatusCode, string(b)
	}
	code, text := get("/healthz")
	require.Equal(t, 200, code, text)
	code, text = get("/metrics")
	require.Equal(t, 200, code)
	require.Contains(t, text, "\ncoffer_ready 1\n")
	why := errors.New("the reason")
	reason.Store(&why)
	code, text = get("/healthz")
	require.Equal(t, 503, code)
	require.Equal(t, "the reason\n", text)
	_, text = get("/metrics")
	require.Contains(t, text, "\ncoffer_ready 0\n")
	m.close()
	m.close()
	_, err = os.Stat(path)
	require.ErrorIs(t, err, os.ErrNotExist)
	require.Empty(t, log.String())
}

// TestSilenceIsNotWaitedForLong: a request that does not come ends its connection.
func TestSilenceIsNotWaitedForLong(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m")
	m, err := newMonitor(&config.Node{Metrics: config.UnixPrefix + path, SocketMode: 0o600}, func() error { return nil }, slog.Default())
	require.NoError(t, err)
	defer m.close()
	c, err := net.Dial("unix", path)
	require.NoError(t, err)
	defer c.Close()
	_, err = c.Write([]byte("GET /metrics HTTP/1.1\r\nHost: "))
	require.NoError(t, err)
	require.NoError(t, c.SetReadDeadline(time.Now().Add(20*askTime)))
	_, err = io.ReadAll(c)
	require.NoError(t, err, "the node has not ended the connection")
}

// TestQuorumIsToldFromTheStart of a node that may have to wait for one, and of no other.
func TestQuorumIsToldFromTheStart(t *testing.T) {
	for store, told := range map[string]bool{config.StoreEmbedded: true, config.StoreExternal: true, config.StoreFile: false} {
		m, err := newMonitor(&config.Node{Store: store}, func() error { return errStarting }, slog.Default())
		require.NoError(t, err)
		list, err := m.registry.Gather()
		require.NoError(t, err)
		at := slices.IndexFunc(list, func(f *dto.MetricFamily) bool { return f.GetName() == "coffer_cluster_quorum" })
		require.Equal(t, told, at >= 0, store)
		if told {
			require.Zero(t, list[at].Metric[0].GetGauge().GetValue())
		}
	}
}

func TestMonitorIsOffWhereNothingIsSaid(t *testing.T) {
	m, err := newMonitor(&config.Node{}, func() error { return nil }, slog.Default())
	require.NoError(t, err)
	require.Nil(t, m.http)
	m.close()
}
