package member

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"github.com/coffer-hsm/coffer/core/cluster/wire"
	"github.com/coffer-hsm/coffer/core/config"
	"github.com/coffer-hsm/coffer/core/store/etcd"
)

// connect starts this node's copy of the store, if it has one, and the client.
func (m *Member) connect() error {
	n := m.opts.Node
	var conf *tls.Config
	var err error
	if m.id.Store == config.StoreExternal {
		conf, err = externalTLS(n)
	} else {
		conf, err = m.storeTLS()
	}
	if err != nil {
		return err
	}
	if m.id.Store == config.StoreEmbedded && (m.state.hasCopy() || m.state.has(fileBootstrap)) {
		if err := m.ensureRevocations(); err != nil {
			return err
		}
		s, err := startServer(m.serverOptions())
		if err != nil {
			return err
		}
		m.server.Store(s)
	}
	list := m.servers(m.state.neighbours())
	if len(list) == 0 {
		return errors.New("no server of the store is known; put members.json back from a backup, or zeroize this node and join again")
	}
	if m.client, err = dialStore(conf, list[:1]); err != nil {
		return err
	}
	m.endpoints = &endpoints{client: m.client, log: m.log}
	m.endpoints.set(list)
	m.peers = &peers{version: m.opts.Version, credentials: func(member string) (credentials.TransportCredentials, error) {
		conf, err := m.peerTLS(member)
		if err != nil {
			return nil, err
		}
		return credentials.NewTLS(conf), nil
	}}
	return nil
}

// servers returns the store's servers in this node's order.
func (m *Member) servers(list []neighbour) []string {
	n := m.opts.Node
	if m.id.Store == config.StoreExternal {
		return preferred("", slices.Clone(n.EtcdEndpoints), m.id.Member)
	}
	own := ""
	if s := m.server.Load(); s != nil && s.working() {
		own = n.StoreAdvertise
	}
	var others []string
	for _, o := range list {
		if o.Votes && o.ID != m.id.Member {
			others = append(others, o.StoreAddress)
		}
	}
	return preferred(own, others, m.id.Member)
}

func (m *Member) serverOptions() serverOptions {
	n := m.opts.Node
	return serverOptions{
		state: m.state, id: m.id, timing: m.opts.Timing, log: m.log,
		peerListen: n.PeerListen, peer: n.PeerAdvertise, listen: n.StoreListen, address: n.StoreAdvertise,
	}
}

// openStores lists the records, again and again until it succeeds; where there is no quorum for long, from this node's
// own copy.
func (m *Member) openStores(ctx context.Context) error {
	told, refused, began := false, 0, time.Now()
	for {
		err := m.openStoresOnce(ctx, nil)
		if err == nil {
			break
		}
		if refused++; !m.turnedAway(ctx) {
			refused = 0
		} else if refused == refusalsBelieved {
			return ErrRemoved
		}
		if s := m.server.Load(); s != nil && !s.working() && s.broken.Load() == nil {
			// Its seat was taken while it was away.
			if err := m.dropCopy(s, "the vote went to another node while this one was away"); err != nil {
				return err
			}
		}
		if ctx.Err() != nil {
			return fmt.Errorf("the store did not answer: %w; start more of the voters, or see docs/cluster.md on the loss of a majority", err)
		}
		level := slog.LevelDebug
		if !told {
			level, told = slog.LevelWarn, true
		}
		m.log.Log(ctx, level, "waiting for the store: a majority of its voters must be running", "reason", err)
		if refused == 0 && time.Since(began) >= m.opts.Timing.Alone && m.openAlone(ctx) {
			break
		}
		m.endpoints.fail()
		m.endpoints.fail()
		sleep(ctx, 200*time.Millisecond)
	}
	return m.openRecords()
}

func (m *Member) openRecords() (err error) {
	m.records, err = newRecords(elected{m.cluster, m.leaderChanged}, m.root, m.id.Cluster, func(err error) { m.log.Error(err.Error()) })
	return err
}

// refusalsBelieved is how often all others have to refuse this node in a row. Who has just joined is not known everywhere
// at once.
const refusalsBelieved = 3

// turnedAway reports whether the other nodes answer, and all that do refuse this one's certificate although it is good by
// its date: as they do when it was removed while it was away.
func (m *Member) turnedAway(ctx context.Context) bool {
	cert, err := m.state.certificate(fileNodeCert, fileNodeKey)
	if err != nil || time.Now().After(cert.Leaf.NotAfter) {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	var refuse, accept atomic.Int32
	var wg sync.WaitGroup
	for _, o := range m.state.neighbours() {
		if o.ID == m.id.Member || o.Address == "" {
			continue
		}
		wg.Go(func() {
			_, err := m.peers.ask(ctx, Record{ID: o.ID, Name: o.ID, Address: o.Address}, &wire.Request{Body: &wire.Request_Ping{Ping: &wire.Ping{}}})
			switch {
			case err == nil:
				accept.Add(1)
			case status.Code(err) == codes.PermissionDenied:
				refuse.Add(1)
			}
		})
	}
	wg.Wait()
	return refuse.Load() > 0 && accept.Load() == 0
}

// openStoresOnce fails when the store does not answer a request in time; reading all of it takes as long as it takes.
// local is this node's own copy, if what that has is to do.
func (m *Member) openStoresOnce(ctx context.Context, local clientv3.KV) (err error) {
	open := func(to **etcd.Store, prefix, apart string) {
		if err != nil || *to != nil {
			return
		}
		*to, err = etcd.Open(ctx, etcd.Options{Client: m.client, Prefix: m.prefix + prefix, Apart: apart, Local: local, Timeout: storeWithin, Moved: m.endpoints.moved, Log: func(err error) {
			m.log.Info("the store's changes are not followed at the moment", "reason", err)
		}})
	}
	open(&m.token, prefixToken, prefixOperation)
	open(&m.cluster, prefixCluster, "")
	return err
}

// storeWithin bounds each request to the store. It is longer than an election, and short enough that whoever waits for an
// answer that will not come asks again soon.
const storeWithin = 2 * time.Second
