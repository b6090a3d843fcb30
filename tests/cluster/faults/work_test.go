package faults

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/core/cluster/client"
	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/pkcs11"
	"github.com/coffer-hsm/coffer/tests/harness"
)

// callLimit is the clients' time limit for a call: longer than a change waits for a node that has gone.
const callLimit = 20 * time.Second

const (
	names     = 5 // of keys
	workers   = 6
	crowded   = 4 // a name with more objects rather loses one
	remember  = 3 // destroyed objects of a name that are still used, to see that they are gone
	pauseMost = 25 * time.Millisecond
)

// workload is several applications that work with the same few names of keys.
type workload struct {
	history *history
	seed    uint64

	mu    sync.Mutex
	names map[string]*population
	seen  map[string]bool   // objects
	macs  map[string][]byte // by object: its key's HMAC of the message
	lost  []error           // logins that failed
}

// population is the objects of a name that workers have heard of.
type population struct {
	there, gone []string
}

// worker is one application with a client of its own.
type worker struct {
	w        *workload
	number   int
	hsm      *client.Client
	cred     hsm.Credential
	dice     *rand.Rand
	tries    int
	objects  map[string]hsm.Object // by identity: an object belongs to the client that has found it
	isolated atomic.Int64          // how often the client was told that a node has no quorum
}

var message = []byte("a message of which all take the code")

func newWorkload(seed uint64) *workload {
	w := &workload{history: newHistory(), seed: seed, names: map[string]*population{}, seen: map[string]bool{}, macs: map[string][]byte{}}
	for i := range names {
		w.names[fmt.Sprintf("key-%d", i)] = &population{}
	}
	return w
}

func (w *workload) worker(c *cluster, number int) *worker {
	k := &worker{w: w, number: number, dice: rand.New(rand.NewPCG(w.seed, uint64(number))), objects: map[string]hsm.Object{}}
	// The client logs each change of a node's quorum before it gives out the answer that told so.
	k.hsm = c.open(func(error) { k.isolated.Add(1) })
	c.t.Cleanup(func() { _ = k.hsm.Close() })
	cred, err := k.hsm.Login(context.Background(), pkcs11.CKU_USER, "", []byte(harness.UserPIN))
	require.NoError(c.t, err)
	k.cred = cred
	return k
}

// run works until stop is closed.
func (k *worker) run(stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		case <-time.After(time.Duration(k.dice.Int64N(int64(pauseMost)))):
			k.act()
		}
	}
}

// act does one operation, drawn by lot.
func (k *worker) act() {
	name := fmt.Sprintf("key-%d", k.dice.IntN(names))
	id, many := k.draw(name)
	o := k.object(id)
	if k.dice.IntN(loginOften) == 0 {
		k.login()
	}
	switch p := k.dice.IntN(100); {
	case p < 20:
		k.find(name)
	case o == nil || p < 35 && !many:
		k.create(name)
	case p < 50:
		k.destroy(name, o)
	default:
		k.use(name, o)
	}
}

// loginOften is between how many operations a worker logs in anew: each login costs the whole of the PIN's derivation.
const loginOften = 150

// login has the worker go on with a new login, from whatever node: it is as good as the old one on all of them.
func (k *worker) login() {
	cred, err := k.hsm.Login(context.Background(), pkcs11.CKU_USER, "", []byte(harness.UserPIN))
	if err != nil {
		k.w.mu.Lock()
		defer k.w.mu.Unlock()
		k.w.lost = append(k.w.lost, err)
		return
	}
	k.cred = cred
}

// draw returns an object of the name, which may be destroyed already, or "".
func (k *worker) draw(name string) (id string, many bool) {
	k.w.mu.Lock()
	defer k.w.mu.Unlock()
	p := k.w.names[name]
	if n := len(p.there) + len(p.gone); n > 0 {
		id = slices.Concat(p.there, p.gone)[k.dice.IntN(n)]
	}
	return id, len(p.there) > crowded
}

// object returns this worker's own object of an identity, or nil if it has never seen it and cannot find it any more.
func (k *worker) object(id string) hsm.Object {
	if o := k.objects[id]; o != nil || id == "" {
		return o
	}
	list, err := k.hsm.Find(context.Background(), k.cred, pkcs11.Template{pkcs11.AttrString(pkcs11.CKA_UNIQUE_ID, id)})
	if err != nil || len(list) == 0 {
		return nil
	}
	k.objects[id] = list[0]
	return list[0]
}

// came records that an object was seen; fresh says that nobody has seen it before.
func (k *worker) came(name string, o hsm.Object) (fresh bool) {
	k.objects[o.ID()] = o
	k.w.mu.Lock()
	defer k.w.mu.Unlock()
	p := k.w.names[name]
	fresh = !k.w.seen[o.ID()]
	if fresh {
		k.w.seen[o.ID()] = true
		p.there = append(p.there, o.ID())
	}
	return fresh
}

func (w *workload) went(name, id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	p := w.names[name]
	p.there = slices.DeleteFunc(p.there, func(x string) bool { return x == id })
	if !slices.Contains(p.gone, id) {
		p.gone = append(p.gone, id)
		p.gone = p.gone[max(0, len(p.gone)-remember):]
	}
}

func (k *worker) create(name string) {
	k.tries++
	o := k.w.history.begin(k.number, create, name, "")
	o.try = fmt.Sprintf("%d/%d", k.number, k.tries)
	made, err := k.hsm.GenerateKey(context.Background(), k.cred, pkcs11.Mechanism{Type: pkcs11.CKM_GENERIC_SECRET_KEY_GEN}, pkcs11.Template{
		pkcs11.Attr(pkcs11.CKA_TOKEN, true), pkcs11.AttrString(pkcs11.CKA_LABEL, name), pkcs11.AttrString(pkcs11.CKA_ID, o.try),
		pkcs11.AttrUlong(pkcs11.CKA_VALUE_LEN, 32), pkcs11.Attr(pkcs11.CKA_SIGN, true),
	})
	o.unknown, o.err = err != nil, err
	if err == nil {
		o.id = made.ID()
	}
	k.w.history.end(o)
	if err == nil {
		k.came(name, made)
	}
}

func (k *worker) find(name string) {
	o := k.w.history.begin(k.number, find, name, "")
	fresh := k.mayBeStale()
	list, err := k.hsm.Find(context.Background(), k.cred, pkcs11.Template{pkcs11.AttrString(pkcs11.CKA_LABEL, name)})
	o.stale, o.unknown, o.err = fresh(), err != nil, err
	for _, x := range list {
		o.found = append(o.found, x.ID())
	}
	k.w.history.end(o)
	for _, x := range list {
		if k.came(name, x) {
			k.identify(x)
		}
	}
}

// identify finds the create of an object that its creator has not told of: its outcome was unknown, or it is just ending.
func (k *worker) identify(o hsm.Object) {
	v, err := k.hsm.Attributes(context.Background(), k.cred, o, []pkcs11.AttributeType{pkcs11.CKA_ID})
	if err != nil || v[0].Err != nil {
		return
	}
	if b, ok := v[0].Value.([]byte); ok {
		k.w.history.appeared(string(b), o.ID())
	}
}

// absent are the answers for an object that is not there.
func absent(err error) bool {
	rv := pkcs11.RVOf(err)
	return err != nil && (rv == pkcs11.CKR_KEY_HANDLE_INVALID || rv == pkcs11.CKR_OBJECT_HANDLE_INVALID)
}

func (k *worker) destroy(name string, x hsm.Object) {
	o := k.w.history.begin(k.number, destroy, name, x.ID())
	err := k.hsm.Destroy(context.Background(), k.cred, x)
	o.there, o.unknown, o.err = err == nil, err != nil && !absent(err), err
	k.w.history.end(o)
	if !o.unknown {
		k.w.went(name, x.ID())
	}
}

func (k *worker) use(name string, x hsm.Object) {
	o := k.w.history.begin(k.number, use, name, x.ID())
	fresh := k.mayBeStale()
	mac, err := k.mac(x)
	o.stale, o.there, o.unknown, o.err = fresh(), err == nil, err != nil && !absent(err), err
	if err == nil {
		if was := k.w.sameMAC(x.ID(), mac); was != nil {
			o.unknown, o.err = true, fmt.Errorf("the key is another: its code was %x and is %x", was, mac)
		}
	}
	k.w.history.end(o)
}

func (k *worker) mac(x hsm.Object) ([]byte, error) {
	op, err := k.hsm.Begin(context.Background(), k.cred, hsm.OpSign, pkcs11.Mechanism{Type: pkcs11.CKM_SHA256_HMAC}, x)
	if err != nil {
		return nil, err
	}
	defer op.Close()
	return op.Finish(context.Background(), nil, message)
}

// sameMAC returns what the code was if it is another now.
func (w *workload) sameMAC(id string, mac []byte) []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	was, ok := w.macs[id]
	if !ok {
		w.macs[id] = mac
	}
	if !ok || bytes.Equal(was, mac) {
		return nil
	}
	return was
}

// mayBeStale is called before a read; what it returns, after: whether a node may have answered it that had no quorum and
// said so. A client has one call under way at a time here and learns with every answer, before the call returns, whether
// the node has a quorum. So no isolated node has answered if no connected node was known to be isolated before the call,
// nor is now, and none has changed in between. All other answers must be linearizable.
func (k *worker) mayBeStale() func() bool {
	before, any := k.isolated.Load(), k.knowsIsolated()
	return func() bool { return any || k.knowsIsolated() || k.isolated.Load() != before }
}

func (k *worker) knowsIsolated() bool {
	return slices.ContainsFunc(k.hsm.Nodes(), func(n client.NodeState) bool { return n.Isolated && n.State != "connecting" })
}

// start lets all workers run and returns what stops them.
func (w *workload) start(t *testing.T, c *cluster) (stop func()) {
	t.Helper()
	done := make(chan struct{})
	var running sync.WaitGroup
	for i := range workers {
		k := w.worker(c, i)
		running.Go(func() { k.run(done) })
	}
	return sync.OnceFunc(func() { close(done); running.Wait() })
}
