// Package engine holds the keys of one token: users, policy, objects and mechanisms over a store of sealed records. It
// implements hsm.HSM, in the application's own process or inside a node.
//
// The store is the truth and is shared with other processes; the engine keeps an index of it in memory and brings that
// up to date at the start of each request, which costs one comparison when nothing has changed. Objects are immutable
// versions behind an atomic pointer, so a signature takes no lock. All methods may be called from many goroutines.
package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/core/index"
	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/object"
	"github.com/coffer-hsm/coffer/core/policy"
	"github.com/coffer-hsm/coffer/core/store"
	"github.com/coffer-hsm/coffer/core/vault"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// Options are what an engine is made of.
type Options struct {
	// OpenStore opens the token's store; create says that a missing one is to be made. store.ErrNotFound means that
	// there is no token yet.
	OpenStore func(create bool) (store.Store, error)
	// Mechanisms is what the token can do, before the policy.
	Mechanisms *mech.Registry
	// Policy is what its owner allows. One with FIPS set wants a process in Go's FIPS 140-3 mode.
	Policy policy.Policy
	// Now is the clock for the policy's dates; nil: time.Now.
	Now func() time.Time
	// Log is told of records that cannot be read and of mechanisms whose self-test fails, and is never given a secret; it
	// may be nil.
	Log func(err error)
	// KDF is the cost of guessing a PIN that is set from now on.
	KDF vault.KDF
	// Node makes this the engine of a node, which holds the root key itself; nil: the token is embedded in its user's
	// process, and only PINs open it.
	Node *NodeOptions
}

// Engine is one token.
type Engine struct {
	opts Options
	node *node // nil: embedded

	view atomic.Pointer[view]   // the token and its users; nil: not initialised, or not looked yet
	seen atomic.Uint64          // the store's generation that view and objects reflect
	open atomic.Pointer[opened] // nil until the store is open

	mu       sync.Mutex // one refresh, unlock or lock at a time
	closed   bool
	revision int64
	// reflected is revision for readers without mu.
	reflected atomic.Int64
	objectsAt atomic.Int64 // revision of the last change of a token object
	reviewed  atomic.Int64 // objectsAt when certificates were last found not to be as their profile has them
	objects   *index.Index[*entry]
	heads     object.Pool          // of token objects; wants mu
	holders   map[*credential]bool // the live credentials that keep the private objects open

	grants   grants   // for digests
	reserved reserved // of keys with state
	compared compared // for comparing copies
	failed   sync.Map // mechanisms whose failed self-test the log has been told of
	// uncounted are the keys of the records of users of whom a wrong PIN was met that could not be counted.
	uncounted sync.Map

	// The barriers of public and of private objects; nil while there is no token, or nobody has unlocked it.
	public, private atomic.Pointer[vault.Barrier]

	builtin *builtins

	again  chan struct{} // one place: see commitNew
	logins chan struct{} // as many places as PIN checks may run at once: see turn
}

// opened lets readers see the store without a lock.
type opened struct{ store store.Store }

var _ hsm.Portable = (*Engine)(nil)

// New returns an engine for the token that opts names. The store is opened now if it is there; a token that is not
// there yet is no error.
func New(opts Options) (e *Engine, err error) {
	defer answer(&err)
	if err := fipsMode(&opts.Policy); err != nil {
		return nil, err
	}
	opts.Mechanisms = opts.Mechanisms.Restrict(opts.Policy.May)
	if opts.Now == nil {
		opts.Now = time.Now
	}
	e = &Engine{opts: opts, objects: index.New[*entry](), holders: map[*credential]bool{}, logins: make(chan struct{}, 1), again: make(chan struct{}, 1)}
	if err := e.testAll(); err != nil {
		return nil, err
	}
	if e.builtin, err = newBuiltins(&e.opts); err != nil {
		return nil, err
	}
	if opts.Node != nil {
		if e.node, err = newNode(opts.Node); err != nil {
			return nil, err
		}
		e.logins = make(chan struct{}, loginsAtOnce)
	}
	if err := e.refresh(); err != nil && !errors.Is(err, errNoToken) {
		_ = e.Close()
		return nil, err
	}
	return e, nil
}

// Close ends all credentials, wipes what was open and closes the store.
func (e *Engine) Close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.closed = true
	e.forgetToken()
	e.node.close()
	o := e.open.Swap(nil)
	if o == nil {
		return nil
	}
	return o.store.Close()
}

// Mechanisms lists what the token can do and may, in ascending order.
func (e *Engine) Mechanisms() []pkcs11.MechanismType { return e.opts.Mechanisms.Types() }

// Mechanism describes one mechanism.
func (e *Engine) Mechanism(t pkcs11.MechanismType) (pkcs11.MechanismInfo, bool) {
	m := e.opts.Mechanisms.Mechanism(t)
	if m == nil {
		return pkcs11.MechanismInfo{}, false
	}
	return m.Info(), true
}

// store opens the store if need be. The caller holds mu.
func (e *Engine) storeLocked(create bool) (store.Store, error) {
	if o := e.open.Load(); o != nil {
		return o.store, nil
	}
	if e.closed {
		return nil, fmt.Errorf("%w: the token has been closed", store.ErrUnavailable)
	}
	s, err := e.opts.OpenStore(create)
	if err != nil {
		return nil, err
	}
	e.open.Store(&opened{s})
	return s, nil
}

// barrier returns the barrier of public or of private objects; vault.ErrSealed where it is not open.
func (e *Engine) barrier(private bool) (*vault.Barrier, error) {
	p := &e.public
	if private {
		p = &e.private
	}
	if b := p.Load(); b != nil {
		return b, nil
	}
	return nil, vault.ErrSealed
}

func (e *Engine) log(err error) {
	if e.opts.Log != nil {
		answer(&err)
		e.opts.Log(err)
	}
}

// commit writes on the condition that the token is still the one that v shows, and brings the index up to date: after a
// conflict too, for what is in the way may be the commit of a process that did not live to announce it. Once something is
// written, an error in reading it again is not the caller's: the next request will meet it. What the request c has
// committed already, when it was sent before, is not done again, and no error.
func (e *Engine) commit(ctx context.Context, c *call, s step, v *view, cmps []store.Compare, ops []store.Op) error {
	o := e.open.Load()
	if o == nil {
		return errNoToken
	}
	cmps = append(cmps, store.Compare{Key: tokenKey, Modified: v.tokenRevision})
	cmps, ops, err := c.mark(s, cmps, ops)
	if err != nil {
		return err
	}
	revision, err := o.store.Commit(ctx, cmps, ops)
	err = c.unless(ctx, s, err)
	if err != nil && !errors.Is(err, store.ErrConflict) {
		return err
	}
	if unseen := e.look(revision); unseen != nil && err == nil {
		e.log(unseen)
	} else if unseen != nil {
		return unseen
	}
	return err
}
