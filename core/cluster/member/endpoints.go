package member

import (
	"crypto/tls"
	"hash/fnv"
	"log/slog"
	"slices"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"

	"github.com/coffer-hsm/coffer/core/store/etcd"
)

// endpoints has the store's client use one server at a time: this node's own, or one of the others'. A server that was
// stopped in its tracks keeps its connections, and a client that spread its requests over all would hang on a part of
// them; so who fails is left as a whole, and the watches move with it: by moved, for the client leaves them where they are.
type endpoints struct {
	client *clientv3.Client
	log    *slog.Logger

	mu     sync.Mutex
	list   []string // https://host:port, in order of preference
	at     int
	failed int // renewals in a row
	using  string
	moves  chan struct{} // closed when another server is in use, and replaced; nil until somebody asks
}

// dialStore returns a client that is connected to nothing yet.
func dialStore(tls *tls.Config, first []string) (*clientv3.Client, error) {
	return clientv3.New(clientv3.Config{
		Endpoints:            first,
		TLS:                  tls,
		Logger:               zap.NewNop(),
		DialKeepAliveTime:    10 * time.Second,
		DialKeepAliveTimeout: 3 * time.Second,
		MaxCallSendMsgSize:   etcd.MaxCallSendBytes,
		MaxCallRecvMsgSize:   1 << 30, // lists come in pages of a few MiB
		DialOptions: []grpc.DialOption{grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second},
			MinConnectTimeout: 2 * time.Second,
		})},
	})
}

// preferred orders the addresses of servers for a member: its own, then the others from a place that differs from member
// to member, so that those without a copy spread.
func preferred(own string, others []string, member string) []string {
	others = slices.DeleteFunc(slices.Compact(slices.Sorted(slices.Values(others))), func(a string) bool { return a == own || a == "" })
	if n := len(others); n > 0 {
		h := fnv.New32a()
		_, _ = h.Write([]byte(member))
		from := int(h.Sum32() % uint32(n))
		others = append(slices.Clone(others[from:]), others[:from]...)
	}
	if own != "" {
		others = append([]string{own}, others...)
	}
	for i, a := range others {
		others[i] = "https://" + a
	}
	return others
}

// set replaces the list. The server in use stays in use if it is still there, unless own is to be preferred and is new.
func (e *endpoints) set(list []string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(list) == 0 || slices.Equal(list, e.list) {
		return
	}
	var using string
	if len(e.list) > 0 {
		using = e.list[e.at]
	}
	at := slices.Index(list, using)
	if at < 0 || list[0] != e.first() {
		at = 0
	}
	e.list, e.at, e.failed = list, at, 0
	e.use()
}

func (e *endpoints) first() string {
	if len(e.list) == 0 {
		return ""
	}
	return e.list[0]
}

// fail counts a failure, and turns to the next server after two in a row.
func (e *endpoints) fail() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.failed++; e.failed < 2 || len(e.list) < 2 {
		return
	}
	e.failed = 0
	e.at = (e.at + 1) % len(e.list)
	e.log.Debug("another server of the store is tried", "server", e.list[e.at])
	e.use()
}

// atFirst reports whether the server in use is the one that is preferred.
func (e *endpoints) atFirst() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.at == 0
}

// succeed notes that the server in use works.
func (e *endpoints) succeed() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.failed = 0
}

func (e *endpoints) use() {
	e.client.SetEndpoints(e.list[e.at])
	if e.using != e.list[e.at] && e.moves != nil {
		close(e.moves)
		e.moves = nil
	}
	e.using = e.list[e.at]
}

// moved returns a channel that is closed when another server is in use.
func (e *endpoints) moved() <-chan struct{} {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.moves == nil {
		e.moves = make(chan struct{})
	}
	return e.moves
}
