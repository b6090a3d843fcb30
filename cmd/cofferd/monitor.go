package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/coffer-hsm/coffer/core/cluster/member"
	"github.com/coffer-hsm/coffer/core/cluster/metrics"
	"github.com/coffer-hsm/coffer/core/config"
	"github.com/coffer-hsm/coffer/core/release"
)

// What whoever reaches the monitor's address may cost. A monitoring system asks once in some seconds, and a connection is for one
// request: one that is kept would be a place taken for nothing.
const (
	monitorConnections = 32
	scrapesAtOnce      = 4
	scrapeTime         = 10 * time.Second
	askTime            = 2 * time.Second // for a request to come
	maxAsked           = 8 << 10         // bytes of headers
	monitorParting     = time.Second
)

// monitor tells a monitoring system how the node does, from before it serves until it has stopped: GET /metrics and GET
// /healthz, and nothing else.
type monitor struct {
	registry *metrics.Registry
	http     *http.Server // nil: nobody is told
}

// newMonitor listens where the configuration says. ready says why the node is not ready, or nil.
func newMonitor(n *config.Node, ready func() error, log *slog.Logger) (*monitor, error) {
	m := &monitor{registry: metrics.New(release.Name(), ready)}
	if n.Store != config.StoreFile {
		m.registry.Wait()
	}
	if n.Metrics == "" {
		return m, nil
	}
	l, err := listenMetrics(n)
	if err != nil {
		return nil, err
	}
	m.http = &http.Server{
		Handler: answered(m.handler(ready, log)), ConnContext: withPlace, ReadHeaderTimeout: askTime, ReadTimeout: askTime, WriteTimeout: scrapeTime + askTime,
		MaxHeaderBytes: maxAsked, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	m.http.SetKeepAlivesEnabled(false)
	go func() {
		if err := m.http.Serve(&few{Listener: l, most: monitorConnections}); !errors.Is(err, http.ErrServerClosed) {
			log.Error("nothing is told to a monitoring system any more", "reason", err)
		}
	}()
	return m, nil
}

func listenMetrics(n *config.Node) (net.Listener, error) {
	if path, isSocket := strings.CutPrefix(n.Metrics, config.UnixPrefix); isSocket {
		return listenUnixAt(path, "metrics", n)
	}
	l, err := net.Listen("tcp", n.Metrics)
	if err != nil {
		return nil, fmt.Errorf("cannot listen at %s: %w; stop who does, or set metrics", n.Metrics, err)
	}
	return l, nil
}

func (m *monitor) handler(ready func() error, log *slog.Logger) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn), ErrorHandling: promhttp.ContinueOnError,
		MaxRequestsInFlight: scrapesAtOnce, Timeout: scrapeTime,
	}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		code, text := http.StatusOK, "the node is ready"
		if err := ready(); err != nil {
			code, text = http.StatusServiceUnavailable, err.Error()
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(code)
		_, _ = io.WriteString(w, text+"\n")
	})
	return mux
}

// close stops telling. It may be called more than once.
func (m *monitor) close() {
	if m.http == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), monitorParting)
	defer cancel()
	if m.http.Shutdown(ctx) != nil {
		_ = m.http.Close()
	}
}

// few keeps no more connections than most. One that is too many takes the place of the oldest whose request has not come, so that
// silent ones shut nobody out; it is closed at once where all are being answered.
type few struct {
	net.Listener
	most int

	mu   sync.Mutex
	held []*placed // the oldest first
}

// Accept implements net.Listener.
func (f *few) Accept() (net.Conn, error) {
	for {
		c, err := f.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if p := f.place(c); p != nil {
			return p, nil
		}
		_ = c.Close()
	}
}

// place returns nil where there is no room.
func (f *few) place(c net.Conn) *placed {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.held) >= f.most {
		i := slices.IndexFunc(f.held, func(p *placed) bool { return !p.asked })
		if i < 0 {
			return nil
		}
		_ = f.held[i].Conn.Close() // whoever reads from it closes it once more
		f.held = slices.Delete(f.held, i, i+1)
	}
	p := &placed{Conn: c, few: f}
	f.held = append(f.held, p)
	return p
}

// placed gives its place back with its end.
type placed struct {
	net.Conn
	few   *few
	asked bool // its request has come; guarded by few.mu
}

// Close implements net.Conn.
func (p *placed) Close() error {
	p.few.mu.Lock()
	p.few.held = slices.DeleteFunc(p.few.held, func(q *placed) bool { return q == p })
	p.few.mu.Unlock()
	return p.Conn.Close()
}

// placedKey is the context key of a request's *placed.
type placedKey struct{}

func withPlace(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, placedKey{}, c)
}

// answered keeps a request's connection until it is answered.
func answered(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if p, ok := r.Context().Value(placedKey{}).(*placed); ok {
			p.few.mu.Lock()
			p.asked = true
			p.few.mu.Unlock()
		}
		h.ServeHTTP(w, r)
	})
}

var (
	errStarting = errors.New("the node starts, or waits for a majority of the store's voters")
	errStopping = errors.New("the node stops")
)

// ready says why the node is not what "coffer cluster status" calls ready; nil while it is.
func (d *daemon) ready() error {
	switch {
	case !d.serving.Load():
		return errStarting
	case d.server.Stopping():
		return errStopping
	}
	return d.place.Ready()
}

// tell has the monitor tell what there is of a node that serves.
func (d *daemon) tell(m *monitor) {
	s := metrics.Sources{Node: d.server.Stats, Size: d.place.Size, Expiries: d.place.Expiries}
	if c, ok := d.place.(*member.Member); ok {
		s.Cluster = c.Stats
	}
	m.registry.Serve(s)
	d.serving.Store(true)
}
