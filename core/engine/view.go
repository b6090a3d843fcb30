package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync/atomic"

	"github.com/coffer-hsm/coffer/core/auth"
	"github.com/coffer-hsm/coffer/core/secret"
	"github.com/coffer-hsm/coffer/core/store"
	"github.com/coffer-hsm/coffer/core/vault"
)

// The keys of the store's records (docs/storage-format.md).
const (
	tokenKey     = "token"
	userPrefix   = "user/"
	objectPrefix = "object/"
)

// header is the token's own record. PublicRoot opens the records of public objects; it stands here in the clear, for
// anybody who may read the file may see public objects. What it buys is that a damaged record is noticed.
type header struct {
	Format     int    `json:"format"`
	Serial     string `json:"serial"` // 16 upper-case hex digits, CK_TOKEN_INFO.serialNumber
	Label      string `json:"label"`
	PublicRoot []byte `json:"public_root"`

	// identity names this very record: the serial and the record's digest. The wrapped roots are bound to it, so that
	// no PIN opens a token whose label or public root was exchanged.
	identity string
	// life names the token from one C_InitToken to the next: what belongs to another life has ended.
	life string
	// dormant: the token waits for its activation.
	dormant bool
}

const headerFormat = 1

// view is the token and its users at one revision. It is immutable.
type view struct {
	header        header
	tokenRevision int64
	users         map[string]userView // by the key of the record
	promise       promise             // certificates.go
}

// userView is a user's record. On a node it may be there and be nobody's, so that user is nil.
type userView struct {
	user     *auth.User
	account  auth.Account
	role     auth.Role
	revision int64
}

// epoch is that of an account's user, 0 where there is none.
func (v *view) epoch(a auth.Account) uint64 {
	if u := v.users[a.Record].user; u != nil {
		return u.Epoch
	}
	return 0
}

func parseHeader(stamped []byte) (header, error) {
	var h header
	b, err := vault.Unstamp(stamped)
	if err == nil {
		err = json.Unmarshal(b, &h)
	}
	if err != nil {
		return h, fmt.Errorf("%w: token record: %v", store.ErrDamaged, err)
	}
	if h.Format != headerFormat {
		return h, fmt.Errorf("%w: token record of format %d, this build knows %d", store.ErrVersion, h.Format, headerFormat)
	}
	if len(h.PublicRoot) != 32 || len(h.Serial) != 16 {
		return h, fmt.Errorf("%w: token record out of range", store.ErrDamaged)
	}
	h.identity, h.life = identityOf(h, stamped), h.Serial
	return h, nil
}

func identityOf(h header, stamped []byte) string {
	return fmt.Sprintf("%s/%x", h.Serial, stamped[:vault.StampSize])
}

// refresh brings view and index up to what the store holds. It is cheap when nothing has changed.
func (e *Engine) refresh() error {
	if o := e.open.Load(); o != nil && o.store.Changed() == e.seen.Load() && e.view.Load() != nil {
		return nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.refreshLocked()
}

// now refreshes and returns the token as it is; errNoToken when there is none.
func (e *Engine) now() (*view, error) {
	if err := e.refresh(); err != nil {
		return nil, err
	}
	if v := e.view.Load(); v != nil {
		return v, nil
	}
	// Someone is reading a new token at this moment.
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.refreshLocked(); err != nil {
		return nil, err
	}
	return e.view.Load(), nil
}

func (e *Engine) refreshLocked() error {
	s, err := e.storeLocked(false)
	if errors.Is(err, store.ErrNotFound) {
		return errNoToken
	}
	if err != nil {
		return err
	}
	// The generation is read first: a change that comes in between is then seen again, not missed.
	generation := s.Changed()
	if generation == e.seen.Load() && e.view.Load() != nil {
		return nil
	}
	return e.catchUp(s, generation)
}

// look is a refresh that does not ask first whether anything has changed. What the commit with this revision has changed may
// have been taken in by somebody else meanwhile, who has made one at the same time; 0 stands for no commit.
func (e *Engine) look(revision int64) error {
	if revision > 0 && e.reflected.Load() >= revision {
		return nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if revision > 0 && e.revision >= revision {
		return nil
	}
	s, err := e.storeLocked(false)
	if err != nil {
		return err
	}
	return e.catchUp(s, s.Changed())
}

// catchUp takes in what has changed. The caller holds mu.
func (e *Engine) catchUp(s store.Store, generation uint64) error {
	events, now, err := s.Since(context.Background(), "", e.revision)
	if errors.Is(err, store.ErrCompacted) {
		return e.reload(s, generation)
	}
	if err != nil {
		return err
	}
	if tokenReplaced(events) && e.revision != 0 {
		return e.reload(s, generation)
	}
	next, err := e.viewOf(e.view.Load(), events)
	if err != nil {
		return err
	}
	if err := e.apply(next, events); err != nil {
		return err
	}
	return e.reflects(now, generation)
}

// reload reads everything anew. Nobody waits for it who uses or looks for an object: what stays is replaced in its place,
// and only then what is gone is forgotten. Whoever waits for the change is let go after that.
func (e *Engine) reload(s store.Store, generation uint64) error {
	recs, now, err := s.List(context.Background(), "")
	if err != nil {
		return err
	}
	events := eventsOf(recs)
	next, err := e.viewOf(nil, events)
	if err != nil {
		return err
	}
	if old := e.view.Load(); old == nil || next == nil || old.header.life != next.header.life {
		e.forgetToken()
	}
	err = e.apply(next, events)
	there := make(map[string]bool, len(recs))
	for _, r := range recs {
		there[r.Key] = true
	}
	e.forgetObjects(func(n *entry) bool { return !there[objectPrefix+n.id] })
	if err != nil {
		return err
	}
	return e.reflects(now, generation)
}

// reflects says which state of the store view and objects are now. The caller holds mu.
func (e *Engine) reflects(now int64, generation uint64) error {
	e.revision = now
	e.reflected.Store(now)
	e.seen.Store(generation)
	if e.view.Load() == nil {
		return errNoToken
	}
	return nil
}

func eventsOf(recs []store.Record) []store.Event {
	events := make([]store.Event, len(recs))
	for i, r := range recs {
		events[i] = store.Event{Record: r}
	}
	return events
}

// tokenReplaced reports whether C_InitToken went by.
func tokenReplaced(events []store.Event) bool {
	for _, ev := range events {
		if ev.Key == tokenKey {
			return true
		}
	}
	return false
}

// apply makes v the view, and takes in the objects that the store told of. The caller holds mu.
func (e *Engine) apply(v *view, events []store.Event) error {
	if v == nil {
		return nil
	}
	if e.public.Load() == nil {
		if err := e.unseal(v.header); err != nil {
			return err
		}
	}
	e.view.Store(v)
	e.dismiss(v)
	for _, ev := range events {
		id, isObject := strings.CutPrefix(ev.Key, objectPrefix)
		if !isObject {
			continue
		}
		e.objectsAt.Store(max(e.objectsAt.Load(), ev.Modified))
		if ev.Deleted {
			e.drop(id)
			continue
		}
		e.take(id, ev.Record)
	}
	return nil
}

// unseal opens the barrier of public objects; on a node, that of all objects.
func (e *Engine) unseal(h header) error {
	if e.node != nil {
		b, err := e.node.unseal(h)
		if err != nil {
			return err
		}
		e.public.Store(b)
		e.private.Store(b)
		return nil
	}
	root := secret.Copy(h.PublicRoot)
	defer root.Zero()
	b, err := vault.NewBarrier(root, h.Serial)
	if err != nil {
		return err
	}
	e.public.Store(b)
	return nil
}

// viewOf returns old with the events' token and user records taken in; nil when there is no token.
func (e *Engine) viewOf(old *view, events []store.Event) (*view, error) {
	next := &view{users: map[string]userView{}}
	known := old != nil
	if known {
		next.header, next.tokenRevision, next.promise = old.header, old.tokenRevision, old.promise
		maps.Copy(next.users, old.users)
	}
	for _, ev := range events { // the token first: its users are bound to it
		if ev.Key != tokenKey {
			continue
		}
		h, err := e.openHeader(ev.Value)
		if err != nil {
			return nil, err
		}
		next.header, next.tokenRevision, known = h, ev.Modified, true
	}
	for _, ev := range events {
		if ev.Key == certificatesKey {
			next.promise = e.openPromise(next, ev)
		}
		if !strings.HasPrefix(ev.Key, userPrefix) {
			continue
		}
		if err := e.takeUser(next, ev); err != nil {
			return nil, err
		}
	}
	if known {
		return next, nil
	}
	for _, ev := range events {
		if !ev.Deleted && !strings.HasPrefix(ev.Key, operationPrefix) { // not an empty store: a new token would bury what is left of this one
			return nil, fmt.Errorf("%w: there are records, but not the token's own", store.ErrDamaged)
		}
	}
	return nil, nil
}

// openHeader decodes the token's record.
func (e *Engine) openHeader(value []byte) (header, error) {
	if e.node != nil {
		return e.node.openHeader(value)
	}
	return parseHeader(value)
}

// takeUser takes in what became of a user.
func (e *Engine) takeUser(v *view, ev store.Event) error {
	if ev.Deleted {
		delete(v.users, ev.Key)
		return nil
	}
	if e.node != nil {
		v.users[ev.Key] = userView{revision: ev.Modified}
		if ev.Modified < v.tokenRevision { // of a token that was erased
			return nil
		}
		u, err := e.node.openUser(v.header, ev.Record)
		if err != nil {
			e.log(err) // one user who cannot be read does not take the others' token down
			return nil
		}
		v.users[ev.Key] = u
		return nil
	}
	for _, a := range auth.Accounts() {
		if a.Record != ev.Key {
			continue
		}
		u, err := auth.ParseUser(ev.Value)
		if err != nil {
			return fmt.Errorf("%w: %v", store.ErrDamaged, err)
		}
		v.users[a.Record] = userView{u, a, a.Role, ev.Modified}
		return nil
	}
	v.users[ev.Key] = userView{revision: ev.Modified}
	u, err := parseNamed(ev.Record)
	if err != nil {
		e.log(fmt.Errorf("the user's record %s cannot be read: %w", ev.Key, err))
		return nil
	}
	v.users[ev.Key] = u
	return nil
}

// forgetToken ends everything that belongs to the token that was there. The caller holds mu.
func (e *Engine) forgetToken() {
	for c := range e.holders {
		c.end()
	}
	clear(e.holders)
	e.node.forget()
	e.forgetObjects(func(*entry) bool { return true })
	for _, p := range []*atomic.Pointer[vault.Barrier]{&e.public, &e.private} {
		if b := p.Swap(nil); b != nil {
			b.Destroy()
		}
	}
	e.view.Store(nil)
	e.revision = 0
}
