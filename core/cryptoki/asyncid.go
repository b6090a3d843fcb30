package cryptoki

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"sync"
	"time"

	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// Calls that outlive their session (PKCS#11 v3.2, C_AsyncGetID, C_AsyncJoin). A pending call that was given an id belongs
// to no session any more. It goes on, and under the login that it was begun under: a logout, of C_CloseSession and
// C_Finalize too, takes away the application's login at once, and the token's when the call has ended. C_Finalize waits for
// it. Its result waits here, in the memory of the process, for a session of the same slot, token and user.

const (
	// mostKept is how many calls may have an id at a time.
	mostKept = 64
	// keptFor is how long a result waits to be joined.
	keptFor = time.Hour
)

// kept are the calls that have an id, of one Library.
type kept struct {
	mu    sync.Mutex // also guards keeping of each
	calls map[uint]*pending
	limit time.Duration // keptFor, but for tests

	once sync.Once
	key  [32]byte // for person
}

// person tells the users of one type apart: by their name, or for whoever gives "name:PIN" to C_Login by what stands before
// the colon. That may be part of a PIN, so it is kept as a hash.
type person [sha256.Size]byte

func (k *kept) personOf(name string, pin []byte) (who person) {
	b := []byte(name)
	if name == "" {
		prefix, _, named := bytes.Cut(pin, []byte{':'})
		if !named {
			return who
		}
		b = prefix
	}
	k.once.Do(func() { rand.Read(k.key[:]) })
	h := hmac.New(sha256.New, k.key[:])
	h.Write(b)
	h.Sum(who[:0])
	return who
}

// keeping is what a call with an id has besides.
type keeping struct {
	id      uint // 0: none
	slot    SlotID
	serial  string // the token's
	public  bool   // nobody was logged in
	user    pkcs11.UserType
	person  person
	joined  *session      // that asks for it; nil: none
	from    SessionHandle // that has asked for the id last, and so has let go of it
	timer   *time.Timer
	objects []string // after a C_Finalize: the token objects that it has made, by CKA_UNIQUE_ID
}

// newID is hard to guess, though whoever is in this process needs not guess.
func (k *kept) newID() uint {
	for {
		var b [8]byte
		rand.Read(b[:])
		if id := uint(binary.NativeEndian.Uint64(b[:])); id != 0 && k.calls[id] == nil {
			return id
		}
	}
}

// AsyncGetID gives a pending call an id, by which C_AsyncJoin finds it until it has been completed. From then on it belongs
// to no session, and nothing is written to the buffer that it was given. CKR_STATE_UNSAVEABLE where as many calls as may
// be have an id. PKCS#11 v3.2, C_AsyncGetID.
func (l *Library) AsyncGetID(h SessionHandle, function string) (id uint, err error) {
	err = l.inSession("AsyncGetID", h, func(x *session) error {
		p, err := x.pendingCall(function)
		if err != nil {
			return err
		}
		info, err := x.hsm.Info(x.ctx)
		if err != nil {
			return err
		}
		if id, err = l.kept.add(p, h, info.Serial); err != nil {
			return err
		}
		delete(x.pending, p.function)
		if p.op != nil && x.operations[p.kind] == p.op {
			x.operations[p.kind] = nil // the far operation is the call's to close
		}
		return nil
	})
	return id, err
}

func (k *kept) add(p *pending, from SessionHandle, serial string) (uint, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if p.kept.id != 0 { // it was joined, and is let go
		p.kept.joined, p.kept.from = nil, from
		return p.kept.id, nil
	}
	if len(k.calls) >= mostKept {
		return 0, pkcs11.Errorf(pkcs11.CKR_STATE_UNSAVEABLE, "%d calls have an id already", len(k.calls))
	}
	if !p.untie() {
		return 0, pkcs11.CKR_CRYPTOKI_NOT_INITIALIZED
	}
	p.kept = keeping{id: k.newID(), from: from, slot: p.slot.ID, serial: serial, public: p.login == nil}
	if p.login != nil {
		p.kept.user, p.kept.person = p.login.user, p.login.person
	}
	if k.calls == nil {
		k.calls = map[uint]*pending{}
	}
	k.calls[p.kept.id] = p
	if over := p.holdLogin(); over {
		k.startClock(p)
	}
	return p.kept.id, nil
}

// startClock begins the time for which a result waits. The caller holds mu.
func (k *kept) startClock(p *pending) {
	if p.kept.timer != nil {
		return
	}
	limit := k.limit
	if limit == 0 {
		limit = keptFor
	}
	p.kept.timer = time.AfterFunc(limit, func() { k.expire(p) })
}

// ended is told of each call that has ended.
func (k *kept) ended(p *pending) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if p.kept.id != 0 {
		k.startClock(p)
	}
}

// expire gives up a result that nobody has asked for; a session that has joined it may still do so.
func (k *kept) expire(p *pending) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.calls[p.kept.id] != p {
		return
	}
	if p.kept.joined != nil {
		p.kept.timer = nil
		k.startClock(p)
		return
	}
	k.forget(p)
}

// forget gives up a call that has ended, and wipes its result. Keys on the token stay: they were asked for, and are there.
// The caller holds mu.
func (k *kept) forget(p *pending) {
	k.remove(p)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.given = true
	clear(p.outcome.value)
	for _, o := range p.outcome.objects {
		if !o.Token() {
			p.hsm.Discard(o)
		}
	}
	p.outcome = outcome{}
}

// remove takes a call's id away. The caller holds mu.
func (k *kept) remove(p *pending) {
	delete(k.calls, p.kept.id)
	if p.kept.timer != nil {
		p.kept.timer.Stop()
	}
	p.kept.id, p.kept.joined = 0, nil
}

// taken ends the keeping of a call whose result is handed over.
func (k *kept) taken(p *pending) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if p.kept.id != 0 {
		k.remove(p)
	}
}

// left is told that a session does not ask any more. It reports whether the call goes on without it.
func (k *kept) left(p *pending) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	p.kept.joined = nil
	return p.kept.id != 0
}

// erased gives up the calls of a slot whose token was initialised anew.
func (k *kept) erased(slot SlotID) {
	for _, p := range k.removeAll(slot) {
		p.abandon() // which may ask the token: no call of another slot waits for that
	}
}

func (k *kept) removeAll(slot SlotID) (gone []*pending) {
	return k.removeThose(func(p *pending) bool { return p.kept.slot == slot })
}

// cancelled takes away the calls that a session cancels.
func (k *kept) cancelled(x *session, flags pkcs11.Flags) []*pending {
	return k.removeThose(func(p *pending) bool {
		return p.namedBy(flags) && (p.kept.joined == x || p.kept.joined == nil && p.kept.from == x.handle)
	})
}

func (k *kept) removeThose(are func(*pending) bool) (gone []*pending) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, p := range k.calls {
		if are(p) {
			k.remove(p)
			gone = append(gone, p)
		}
	}
	return gone
}

// finalized goes over to what outlives a C_Finalize: all calls have ended, and their tokens are closed. Session objects
// have ended with them, and with those the calls that have made any.
func (k *kept) finalized() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, p := range k.calls {
		p.kept.joined = nil
		for _, o := range p.outcome.objects {
			if !o.Token() {
				k.forget(p)
				break
			}
			p.kept.objects = append(p.kept.objects, o.ID())
		}
		p.outcome.objects = nil
	}
}

// AsyncJoin takes up a call that has an id: from then on C_AsyncComplete of this session asks for it, and a result goes to
// buffer. It finds calls of the same function, slot and token, that were begun by the user who is logged in, or by nobody;
// what it does not find is CKR_SAVED_STATE_INVALID, and so is a call that another open session has joined. A call without
// output does not look at buffer; with it, NULL is CKR_ARGUMENTS_BAD, for there is no place for a length, and a buffer that
// might be too short, or is, CKR_BUFFER_TOO_SMALL. PKCS#11 v3.2, C_AsyncJoin.
func (l *Library) AsyncJoin(h SessionHandle, function string, id uint, buffer *pkcs11.Out) error {
	return l.inSession("AsyncJoin", h, func(x *session) error {
		info, err := x.hsm.Info(x.ctx)
		if err != nil {
			return err
		}
		return l.kept.join(x, function, id, info.Serial, buffer)
	})
}

func (k *kept) join(x *session, function string, id uint, serial string, buffer *pkcs11.Out) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	p := k.calls[id]
	if p == nil || "C_"+p.function != function || !p.kept.mayJoin(x, serial) {
		return pkcs11.Errorf(pkcs11.CKR_SAVED_STATE_INVALID, "no call of %.64q has this id, or it is another slot's, token's or user's", function)
	}
	if p.kept.joined != nil && p.kept.joined != x {
		return pkcs11.Errorf(pkcs11.CKR_SAVED_STATE_INVALID, "another session has joined the call")
	}
	if other := x.pending[p.function]; other != nil && other != p {
		return pkcs11.Errorf(pkcs11.CKR_OPERATION_ACTIVE, "another C_%s of this session is pending", p.function)
	}
	if need, output := p.need(); output {
		if buffer.Query {
			return pkcs11.Errorf(pkcs11.CKR_ARGUMENTS_BAD, "pData is NULL, and C_%s has output of up to %d bytes", p.function, need)
		}
		if buffer.Capacity < need {
			return pkcs11.Errorf(pkcs11.CKR_BUFFER_TOO_SMALL, "a buffer of %d bytes for the output of C_%s, up to %d bytes", buffer.Capacity, p.function, need)
		}
	}
	if p.output { // of a call that has failed too: it is the buffer that the application then gets back
		p.buffer, p.room = buffer.Buffer, buffer.Capacity
	}
	p.kept.joined, p.under = x, x.login
	if x.pending == nil {
		x.pending = map[string]*pending{}
	}
	x.pending[p.function] = p
	return nil
}

// mayJoin reports whether the call is one of the session's slot, token and user.
func (c *keeping) mayJoin(x *session, serial string) bool {
	if c.slot != x.slot.ID || c.serial != serial {
		return false
	}
	return c.public || x.login != nil && x.login.user == c.user && x.login.person == c.person
}

// need is how long a buffer has to be; output says that there is to be one.
func (p *pending) need() (n int, output bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.done:
		return len(p.outcome.value), p.output && p.outcome.err == nil
	default:
		return p.most, p.output
	}
}

// made are the objects of a call that has ended, as the session's token knows them.
func (x *session) made(p *pending, o outcome) ([]hsm.Object, error) {
	if len(p.kept.objects) == 0 {
		return o.objects, nil
	}
	var out []hsm.Object
	for _, id := range p.kept.objects {
		found, err := x.hsm.Find(x.ctx, x.cred(), pkcs11.Template{pkcs11.Attr(pkcs11.CKA_UNIQUE_ID, []byte(id))})
		if err != nil {
			return nil, err
		}
		if len(found) != 1 {
			return nil, pkcs11.Errorf(pkcs11.CKR_OBJECT_HANDLE_INVALID, "a key that the call has made is not there any more")
		}
		out = append(out, found[0])
	}
	return out, nil
}

// holds counts the calls that go on under a login although the application may have logged out.
type holds struct {
	mu    sync.Mutex
	n     int
	ended bool
}

// holdLogin keeps the call's login for it until it has ended; over says that it has.
func (p *pending) holdLogin() (over bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.done:
		return true
	default:
	}
	if p.login != nil {
		p.held = true
		p.login.holds.mu.Lock()
		p.login.holds.n++
		p.login.holds.mu.Unlock()
	}
	return false
}

// letGo ends the token's login if the application's has ended before.
func (s *slot) letGo(who *login) {
	h := &who.holds
	h.mu.Lock()
	h.n--
	last := h.n == 0 && h.ended
	h.mu.Unlock()
	if last {
		s.logout(who.credential())
	}
}

// free says that the application's login has ended, and reports whether the token's may end too.
func (h *holds) free() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ended = true
	return h.n == 0
}

// tie makes a context that ends with the run, unless the call is given an id.
func (x *session) tie() (ctx context.Context, cancel context.CancelFunc, untie func() bool) {
	ctx, end := context.WithCancel(context.WithoutCancel(x.ctx))
	untie = context.AfterFunc(x.ctx, end)
	return ctx, func() { untie(); end() }, untie
}
