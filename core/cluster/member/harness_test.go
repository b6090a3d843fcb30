package member

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/coffer-hsm/coffer/core/cluster/custody"
	"github.com/coffer-hsm/coffer/core/cluster/node"
	"github.com/coffer-hsm/coffer/core/config"
	"github.com/coffer-hsm/coffer/core/engine"
	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/core/mech/all"
	"github.com/coffer-hsm/coffer/core/secret"
	"github.com/coffer-hsm/coffer/core/store"
	"github.com/coffer-hsm/coffer/core/vault"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// fast is for clusters on one machine.
var fast = Timing{Lease: 2 * time.Second, Claim: 1500 * time.Millisecond, Heartbeat: 20 * time.Millisecond, Election: 300 * time.Millisecond, Tick: 100 * time.Millisecond, Alone: 2 * time.Second, noSync: true}

// patience bounds everything that a test waits for.
const patience = 2 * time.Minute

// machine is where a node may run.
type machine struct {
	t      testing.TB
	conf   *config.Node
	method custody.Method
	timing Timing

	m      *Member
	engine *engine.Engine
	server *node.Server
}

var names atomic.Int64

func newMachine(t testing.TB) *machine {
	name := fmt.Sprintf("n%d", names.Add(1))
	dir := t.TempDir()
	host := loopback()
	c := &config.Node{Name: name, StateDir: filepath.Join(dir, "state"), Store: config.StoreEmbedded,
		Listen: host + ":2223", PeerListen: host + ":2224", StoreListen: host + ":2225", ReplaceAfter: 2 * time.Second, CredentialLifetime: time.Hour}
	c.Advertise, c.PeerAdvertise, c.StoreAdvertise = c.Listen, c.PeerListen, c.StoreListen
	h := &machine{t: t, conf: c, method: custody.KeyFile{Path: filepath.Join(dir, "unseal.key")}, timing: fast}
	t.Cleanup(h.stop)
	return h
}

// loopback returns an address of this machine that nobody else uses. A port of 127.0.0.1 that is free may be somebody's by
// the time that a node listens there, or does so again.
func loopback() string {
	var b [3]byte
	rand.Read(b[:])
	return net.IPv4(127, b[0]&0x7f|1, b[1], b[2]|1).String()
}

// host is the machine's address.
func (h *machine) host() string {
	host, _, _ := net.SplitHostPort(h.conf.Listen)
	return host
}

func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

func (h *machine) log() *slog.Logger {
	// Goroutines of grpc and etcd may write after the test has ended, which testing does not take.
	return slog.New(slog.DiscardHandler)
}

func (h *machine) create(o CreateOptions) *Created {
	h.t.Helper()
	o.Node, o.Version, o.Method, o.Label = h.conf, "test", h.method, "token"
	made, err := Create(within(h.t), o)
	require.NoError(h.t, err)
	return made
}

func (h *machine) join(token string) *Joined {
	h.t.Helper()
	joined, err := Join(within(h.t), JoinOptions{Node: h.conf, Version: "test", Token: token, Method: h.method})
	require.NoError(h.t, err)
	return joined
}

func (h *machine) options() Options {
	return Options{Node: h.conf, Version: "test", Method: h.method, Bootstrap: quickBootstrap, Timing: h.timing, Log: h.log()}
}

func quickBootstrap(ctx context.Context, s store.Store, root *secret.Bytes, serial, label string, pin []byte) error {
	return engine.Bootstrap(ctx, s, root, serial, label, pin)
}

func (h *machine) start() *machine {
	h.t.Helper()
	require.NoError(h.t, h.tryStart(within(h.t)))
	return h
}

func (h *machine) tryStart(ctx context.Context) error {
	m, err := Open(ctx, h.options())
	if err != nil {
		return err
	}
	h.m = m
	registry, err := all.Registry()
	require.NoError(h.t, err)
	h.engine, err = engine.New(engine.Options{
		OpenStore:  func(bool) (store.Store, error) { return m.Store(), nil },
		Mechanisms: registry, KDF: vault.KDF{Time: 1, MemoryKiB: 64, Threads: 1},
		Node: &engine.NodeOptions{Root: m.Root(), Serial: m.Serial(), Settle: m.Settle},
	})
	require.NoError(h.t, err)
	h.server, err = node.New(node.Options{HSM: h.engine, Cluster: m, Version: "test", Identify: m.Identify, CredentialLifetime: time.Hour})
	require.NoError(h.t, err)
	conf, err := m.ServerTLS()
	require.NoError(h.t, err)
	l, err := net.Listen("tcp", h.conf.Listen)
	require.NoError(h.t, err)
	go func(s *node.Server) { _ = s.ServeTLS(l, conf) }(h.server)
	m.Serve(h.engine)
	return nil
}

// stop ends the node in order; kill leaves its lease behind, as a process that dies does.
func (h *machine) stop() { h.end(true) }

func (h *machine) kill() { h.end(false) }

func (h *machine) end(leave bool) {
	if h.m == nil {
		return
	}
	h.server.Close()
	if leave {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		h.m.Leave(ctx)
		cancel()
	}
	_ = h.engine.Close()
	_ = h.m.Close()
	h.m = nil
}

// first makes a cluster of one node that is activated.
func first(t testing.TB) *machine {
	h := newMachine(t)
	made := h.create(CreateOptions{})
	h.start()
	cred, err := h.engine.SetPIN(within(t), pkcs11.CKU_SO, "", made.Activation.Expose(), []byte(soPIN))
	require.NoError(t, err)
	require.NoError(t, h.engine.InitPIN(within(t), cred, []byte(userPIN)))
	return h
}

const (
	soPIN   = "so-pin-1"
	userPIN = "user-pin-1"
)

// grow adds n nodes to a cluster and waits until those vote who are to.
func (h *machine) grow(n int) []*machine {
	h.t.Helper()
	out := []*machine{h}
	for range n {
		inv, err := h.m.Invite(within(h.t), time.Minute)
		require.NoError(h.t, err)
		next := newMachine(h.t)
		next.join(inv.Token)
		out = append(out, next.start())
	}
	h.settled(voters(len(h.m.Members().Members)))
	return out
}

// settled waits until that many vote.
func (h *machine) settled(n int) {
	h.t.Helper()
	h.eventually(fmt.Sprintf("%d voters", n), func() bool {
		got := 0
		for _, w := range h.m.Members().Members {
			if w.Votes && w.Alive {
				got++
			}
		}
		return got == n
	})
}

func (h *machine) eventually(what string, f func() bool) {
	h.t.Helper()
	for deadline := time.Now().Add(patience); !f(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			h.t.Fatalf("this did not come about: %s; members %v", what, h.m.Members())
		}
	}
}

// current waits until a node may answer, as its server does before it answers: what is said of all nodes when a change returns
// is said of those that are alive, and on a busy machine one may not be, for a moment.
func (h *machine) current() {
	h.t.Helper()
	h.eventually("it is current", func() bool {
		isolated, err := h.m.Current(within(h.t))
		return err == nil && !isolated
	})
}

// holds says whether a node that may answer has the object.
func (h *machine) holds(id string) bool {
	h.t.Helper()
	h.current()
	return h.engine.Holds([]string{id})[0]
}

// claims waits until a node takes itself to be alive. What it returns says whether it has given that up since: a lease that was
// ended does not come back.
func (h *machine) claims() (gaveUp func() bool) {
	h.t.Helper()
	a := h.m.alive
	lease := func() clientv3.LeaseID {
		a.mu.Lock()
		defer a.mu.Unlock()
		return a.lease
	}
	var then clientv3.LeaseID
	h.eventually("it is alive", func() bool { then = lease(); return a.fresh() && then == lease() })
	return func() bool { return !a.fresh() || lease() != then }
}

func (h *machine) user() hsm.Credential {
	h.t.Helper()
	cred, err := h.engine.Login(within(h.t), pkcs11.CKU_USER, "", []byte(userPIN))
	require.NoError(h.t, err)
	return cred
}

var (
	ecMechanism = pkcs11.Mechanism{Type: pkcs11.CKM_EC_KEY_PAIR_GEN}
	p256        = []byte{0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07}
)

// generate makes a signing key on the token.
func (h *machine) generate(cred hsm.Credential) (private hsm.Object) {
	h.t.Helper()
	_, private, err := h.engine.GenerateKeyPair(within(h.t), cred, ecMechanism,
		pkcs11.Template{{Type: pkcs11.CKA_EC_PARAMS, Value: p256}, {Type: pkcs11.CKA_TOKEN, Value: true}, {Type: pkcs11.CKA_VERIFY, Value: true}},
		pkcs11.Template{{Type: pkcs11.CKA_TOKEN, Value: true}, {Type: pkcs11.CKA_PRIVATE, Value: true}, {Type: pkcs11.CKA_SIGN, Value: true}})
	require.NoError(h.t, err)
	return private
}

// sign signs with the key of that identity, which another node may have made.
func (h *machine) sign(cred hsm.Credential, id string) error {
	op, err := h.engine.Begin(within(h.t), cred, hsm.OpSign, pkcs11.Mechanism{Type: pkcs11.CKM_ECDSA}, h.engine.TokenObject(id, true))
	if err != nil {
		return err
	}
	defer op.Close()
	_, err = op.Finish(within(h.t), nil, make([]byte, 32))
	return err
}
