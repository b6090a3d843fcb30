package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"runtime/debug"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/coffer-hsm/coffer/core/cluster/member"
	"github.com/coffer-hsm/coffer/core/cluster/node"
	"github.com/coffer-hsm/coffer/core/config"
	"github.com/coffer-hsm/coffer/core/engine"
	"github.com/coffer-hsm/coffer/core/mech/all"
	"github.com/coffer-hsm/coffer/core/release"
	"github.com/coffer-hsm/coffer/core/secret"
	"github.com/coffer-hsm/coffer/core/store"
	"github.com/coffer-hsm/coffer/core/store/sqlite"
	"github.com/coffer-hsm/coffer/core/vault"
)

const (
	// stopWithin is how long what runs may take to end after SIGTERM; another few seconds go to the store.
	stopWithin = 8 * time.Second
)

// daemon is one run of cofferd.
type daemon struct {
	flags flags
	conf  *config.Node
	log   *slog.Logger
	level *slog.LevelVar

	place  place
	engine *engine.Engine
	server *node.Server

	serving atomic.Bool // place and server are there, and clients are answered
}

// place is the node's place in the world: a cluster's member, or a node without others.
type place interface {
	Root() *secret.Bytes
	Serial() string
	Identify(*x509.Certificate) (node.Identity, error)
	ServerTLS() (*tls.Config, error)
	Ready() error
	Size() *member.Size
	Expiries() map[string]time.Time
	Close() error
}

// run serves until ctx ends, or something ends the node.
func (d *daemon) run(ctx context.Context) (err error) {
	d.log.Info("cofferd starts", "version", release.Name(), "config", d.conf.Source, "state", d.conf.StateDir)
	monitor, err := newMonitor(d.conf, d.ready, d.log)
	if err != nil {
		return err
	}
	defer monitor.close()
	cluster, st, err := d.open(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.place.Close()) }()
	if err := d.openEngine(st); err != nil {
		return errors.Join(err, st.Close())
	}
	defer func() { err = errors.Join(err, d.engine.Close()) }()
	debug.FreeOSMemory() // reading all records has left as much again behind
	d.server, err = node.New(node.Options{
		HSM: d.engine, Cluster: cluster, Version: release.Name(), Identify: d.place.Identify,
		CredentialLifetime: d.conf.CredentialLifetime, Log: reasons(d.log, slog.LevelWarn, "a request was not answered as asked"),
	})
	if err != nil {
		return err
	}
	failed, err := d.listen()
	if err != nil {
		d.server.Close()
		return err
	}
	if m, ok := d.place.(*member.Member); ok {
		m.Serve(d.engine)
	}
	d.tell(monitor)
	defer monitor.close() // before what it tells of
	notify("READY=1\nSTATUS=serving")
	d.log.Info("the node serves", "cluster", cluster.ID(), "member", cluster.Self().GetId(), "socket", d.conf.Socket, "listen", d.conf.Listen, "metrics", d.conf.Metrics)
	return d.wait(ctx, failed)
}

// open takes the state directory into service and returns the node's cluster and the engine's store.
func (d *daemon) open(ctx context.Context) (node.Cluster, store.Store, error) {
	how, err := method(d.conf.Unseal, d.flags.unsealFD)
	if err != nil {
		return nil, nil, err
	}
	sum := d.conf.Policy.Digest()
	o := member.Options{Node: d.conf, Version: release.Name(), Policy: hex.EncodeToString(sum[:]), Method: how, Bootstrap: engine.Bootstrap, Log: d.log, Now: timeOfDay}
	if d.conf.Store == config.StoreFile {
		s, st, err := member.OpenSingle(ctx, o, func(path string) (store.Store, error) {
			return sqlite.Open(path, sqlite.Options{Create: true})
		})
		if err != nil {
			return nil, nil, err
		}
		d.place = s
		return s.Cluster(), st, nil
	}
	notify("STATUS=waiting for a majority of the store's voters")
	m, err := member.Open(ctx, o)
	if err != nil {
		return nil, nil, err
	}
	d.place = m
	return m, m.Store(), nil
}

func (d *daemon) openEngine(st store.Store) error {
	registry, err := all.Full()
	if err != nil {
		return err
	}
	d.engine, err = engine.New(engine.Options{
		OpenStore:  func(bool) (store.Store, error) { return st, nil },
		Mechanisms: registry,
		Policy:     d.conf.Policy,
		KDF:        vault.KDFFor(d.conf.Policy.FIPS),
		Log:        reasons(d.log, slog.LevelError, "a record or a mechanism of the token cannot be used"),
		Node:       d.nodeOptions(),
	})
	if err != nil {
		return fmt.Errorf("the token cannot be opened: %w", err)
	}
	return nil
}

func (d *daemon) nodeOptions() *engine.NodeOptions {
	o := &engine.NodeOptions{Root: d.place.Root(), Serial: d.place.Serial(), CredentialLifetime: d.conf.CredentialLifetime, Now: timeOfDay}
	if m, ok := d.place.(*member.Member); ok {
		o.Settle = m.Settle
	}
	return o
}

// listen begins to serve; what ends a listener comes from the channel.
func (d *daemon) listen() (<-chan error, error) {
	failed := make(chan error, 2)
	if d.conf.Socket != "" {
		l, err := listenUnix(d.conf)
		if err != nil {
			return nil, err
		}
		go func() {
			failed <- d.server.ServeUnix(l, node.Peers{UIDs: d.conf.AllowUIDs, GIDs: d.conf.AllowGIDs})
		}()
	}
	if d.conf.Listen != "" {
		conf, err := d.place.ServerTLS()
		if err != nil {
			return nil, err
		}
		l, err := net.Listen("tcp", d.conf.Listen)
		if err != nil {
			return nil, fmt.Errorf("cannot listen at %s: %w; stop who does, or set listen", d.conf.Listen, err)
		}
		go func() { failed <- d.server.ServeTLS(l, conf) }()
	}
	return failed, nil
}

// wait serves until something ends it, and then ends in order: requests first, then the lease that the others wait for.
func (d *daemon) wait(ctx context.Context, failed <-chan error) error {
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	sweep := time.NewTicker(sweepEvery)
	defer sweep.Stop()
	var past marks
	m, _ := d.place.(*member.Member)
	var removed <-chan struct{}
	if m != nil {
		removed = m.Removed()
	}
	var reason error
	for done := false; !done; {
		select {
		case <-hangup:
			d.reload()
		case <-sweep.C:
			if through, due := past.due(time.Now(), d.engine.Revision()); due && (m == nil || m.Leads()) {
				d.sweep(ctx, through)
			}
		case <-removed:
			reason, done = member.ErrRemoved, true
		case err := <-failed:
			reason, done = fmt.Errorf("a listener ended: %w", err), true
		case <-ctx.Done():
			done = true
		}
	}
	notify("STOPPING=1")
	d.log.Info("the node stops; requests that run are answered first")
	end, cancel := context.WithTimeout(context.Background(), stopWithin)
	defer cancel()
	d.server.Shutdown(end)
	if m != nil {
		leave, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		m.Leave(leave)
	}
	return reason
}

// reload takes over what may change while the node runs: the log's level. Certificates are read at each connection.
func (d *daemon) reload() {
	conf, err := config.LoadNode(d.conf.Source)
	if err != nil {
		d.log.Error("the configuration was not read again", "reason", err)
		return
	}
	d.level.Set(levels[conf.LogLevel])
	d.log.Info("the configuration was read again", "log_level", conf.LogLevel)
}
