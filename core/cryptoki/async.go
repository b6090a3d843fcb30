package cryptoki

import (
	"bytes"
	"context"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// Asynchronous sessions (PKCS#11 v3.2, section 5.21). The slow part of a call, what the far side does, runs beside the
// session. If it takes longer than patience, the call answers CKR_PENDING, and C_AsyncComplete hands over what came of it.
// Nothing of the caller's memory is kept: inputs are copied before, and results are ours until they are asked for.
//
// Which calls may be pending: those that make one or two keys of nothing or of another key (C_GenerateKey,
// C_GenerateKeyPair, C_UnwrapKey, C_DeriveKey), and those that end an operation (C_Sign, C_SignFinal, C_Decrypt,
// C_Verify ...) where the caller's buffer is large enough whatever the output's length.

// mayPend are the calls of Library.create that may be pending.
var mayPend = map[string]bool{"GenerateKey": true, "UnwrapKey": true, "DeriveKey": true}

// patience is how long a call in an asynchronous session waits for its own end.
const patience = 2 * time.Millisecond

// AsyncData is CK_ASYNC_DATA, and what belongs to it.
type AsyncData struct {
	// Buffer is Out.Buffer of the call, where Value goes.
	Buffer             uint
	Value              []byte // the caller's to wipe
	Object, Additional ObjectHandle
}

// outcome is what the slow part of a call comes to.
type outcome struct {
	value   []byte       // output
	objects []hsm.Object // new ones: one, or the public and the private key
	err     error
}

// pending is a call whose slow part runs beside its session, or has ended and was not asked for yet. Its fields are
// constant but for these: mu guards outcome, given and held; buffer, room and under are changed by C_AsyncJoin, when no
// session asks for the call; kept is guarded by Library.kept.
type pending struct {
	function string
	output   bool // it has output,
	most     int  // of so many bytes at most
	buffer   uint // Out.Buffer
	room     int  // Out.Capacity
	kind     hsm.OpKind
	op       *operation // the operation of that kind that the call ends; nil for a call that makes keys
	slot     *slot
	hsm      hsm.HSM
	login    *login // under which it was begun
	under    *login // under which it may be asked for
	cancel   context.CancelFunc
	untie    func() bool   // C_Finalize does not cancel it any more; false: it has
	done     chan struct{} // closed when outcome is there

	mu      sync.Mutex
	outcome outcome
	given   bool // nobody asks any more
	held    bool // login is kept for it

	kept keeping
}

// aside runs the slow part of a call. y is a session in which only constant fields and the login are set, for slow has the
// session x no longer. The answer is that of C_AsyncComplete if it came in time, else CKR_PENDING.
func (x *session) aside(p *pending, slow func(y *session) outcome) (AsyncData, error) {
	if x.pending[p.function] != nil {
		return AsyncData{}, pkcs11.Errorf(pkcs11.CKR_OPERATION_ACTIVE, "another C_%s of this session is pending", p.function)
	}
	if !x.slot.use.TryRLock() { // only C_Finalize takes it exclusively
		return AsyncData{}, pkcs11.CKR_CRYPTOKI_NOT_INITIALIZED
	}
	ctx, cancel, untie := x.tie()
	p.slot, p.hsm, p.login, p.under, p.cancel, p.untie, p.done = x.slot, x.hsm, x.login, x.login, cancel, untie, make(chan struct{})
	y := &session{numbered: numbered[session]{handle: x.handle}, slot: x.slot, hsm: x.hsm, ctx: ctx, rw: x.rw, login: x.login}
	go func() {
		defer x.slot.use.RUnlock()
		p.end(guarded(func() outcome { return slow(y) }))
	}()
	in := time.NewTimer(patience)
	defer in.Stop()
	if p.op != nil {
		p.op.pending = p
	}
	select {
	case <-p.done:
		return x.settle(p)
	case <-in.C:
	}
	if x.pending == nil {
		x.pending = map[string]*pending{}
	}
	x.pending[p.function] = p
	return AsyncData{}, pkcs11.CKR_PENDING
}

// guarded turns a fault of ours into an error, as the C boundary does for what runs in the caller's thread.
func guarded(slow func() outcome) (o outcome) {
	defer func() {
		if fault := recover(); fault != nil {
			o = outcome{err: pkcs11.Errorf(pkcs11.CKR_GENERAL_ERROR, "panic: %s\n%s", fmt.Sprintf("%T", fault), debug.Stack())}
		}
	}()
	return slow()
}

// end takes what the slow part has come to.
func (p *pending) end(o outcome) {
	p.mu.Lock()
	given, held := p.given, p.held
	p.outcome = o
	close(p.done)
	p.mu.Unlock()
	if given {
		p.drop(o)
	}
	p.slot.library.kept.ended(p)
	if held {
		p.slot.letGo(p.login)
	}
}

// abandon ends a call that nobody will ask for: it is cancelled, and what it has made goes.
func (p *pending) abandon() {
	p.cancel()
	p.mu.Lock()
	given, over := p.given, false
	p.given = true
	select {
	case <-p.done:
		over = true
	default:
	}
	p.mu.Unlock()
	if over && !given {
		p.drop(p.outcome)
	}
}

// drop gives up what a call has made that was cut short: it shall have done nothing.
func (p *pending) drop(o outcome) {
	clear(o.value)
	ctx, cancel := p.slot.cleanup()
	defer cancel()
	for _, n := range o.objects {
		if !n.Token() {
			p.hsm.Discard(n)
		} else if err := p.hsm.Destroy(ctx, p.login.credential(), n); err != nil {
			p.slot.library.log(p.function, pkcs11.Errorf(pkcs11.CKR_FUNCTION_CANCELED, "the call was cut short, and an object that it has made is left: %w", err))
		}
	}
}

// settle hands over what a call that has ended has come to. One with an id whose login is not the session's any more keeps it.
func (x *session) settle(p *pending) (AsyncData, error) {
	delete(x.pending, p.function)
	buffer := p.buffer // another session may join the call, with another one, as soon as this session has left it
	if x.lost(p) && x.slot.library.kept.left(p) {
		return AsyncData{Buffer: buffer}, pkcs11.Errorf(pkcs11.CKR_USER_NOT_LOGGED_IN, "the login under which the call was joined has ended")
	}
	x.slot.library.kept.taken(p)
	p.cancel()
	if p.op != nil && x.operations[p.kind] == p.op {
		p.op.pending = nil
		x.cancel(p.kind)
	}
	p.mu.Lock()
	o, given := p.outcome, p.given
	p.given = true
	p.mu.Unlock()
	if given { // C_InitToken has given it up, while this session is closing
		return AsyncData{Buffer: buffer}, pkcs11.CKR_SESSION_CLOSED
	}
	out := AsyncData{Buffer: buffer, Value: o.value}
	if o.err != nil {
		return out, o.err
	}
	if x.lost(p) {
		p.drop(o)
		return out, pkcs11.Errorf(pkcs11.CKR_USER_NOT_LOGGED_IN, "the login under which the call was begun has ended")
	}
	if len(o.value) > p.room { // of which the C boundary knows the address alone
		clear(o.value)
		out.Value = nil
		return out, pkcs11.Errorf(pkcs11.CKR_GENERAL_ERROR, "C_%s has %d bytes of output and had announced %d", p.function, len(o.value), p.most)
	}
	made, err := x.made(p, o)
	if err != nil {
		return out, err
	}
	handles := []*ObjectHandle{&out.Object, &out.Additional}
	for i := len(made) - 1; i >= 0; i-- { // the private key first, as in GenerateKeyPair
		*handles[i] = x.adoptUnless(&err, made[i])
	}
	return out, err
}

// lost says that the login has ended under which a call may be asked for; who has logged in meanwhile may ask for what nobody
// in particular has begun.
func (x *session) lost(p *pending) bool { return p.under != nil && p.under != x.login }

// finishAside is operation.finish in an asynchronous session. What asks for a length, or might not fit, is answered at once.
func (x *session) finishAside(function string, kind hsm.OpKind, op *operation, data []byte, final bool, out *pkcs11.Out) (over bool, err error) {
	size, _ := op.FinishLen(len(data))
	if op.result != nil || out.Query || out.Capacity < size {
		return op.finish(x, kind, data, final, out)
	}
	far, own := op.Operation, bytes.Clone(data)
	d, err := x.aside(&pending{function: function, output: true, most: size, buffer: out.Buffer, room: out.Capacity, kind: kind, op: op}, func(y *session) outcome {
		defer far.Close()
		defer clear(own)
		b, err := far.Finish(y.ctx, nil, own)
		return outcome{value: b, err: err}
	})
	if err == nil {
		err = out.Put(d.Value)
	}
	if over = x.untouched(kind, op, err); over {
		clear(own)
	}
	return over, err
}

// untouched reports whether the end of an operation has failed before it began, so that nobody else ends the operation.
func (x *session) untouched(kind hsm.OpKind, op *operation, err error) bool {
	return err != nil && x.operations[kind] == op && op.pending == nil
}

// verifyAside is the end of a verification in an asynchronous session.
func (x *session) verifyAside(function string, kind hsm.OpKind, op *operation, data, signature []byte) (over bool, err error) {
	far, own, sig := op.Operation, bytes.Clone(data), bytes.Clone(signature)
	_, err = x.aside(&pending{function: function, kind: kind, op: op}, func(y *session) outcome {
		defer far.Close()
		defer clear(own)
		return outcome{err: far.Verify(y.ctx, own, sig)}
	})
	if over = x.untouched(kind, op, err); over {
		clear(own)
	}
	return over, err
}

// asynchronous says whether a handle is that of an asynchronous session, whose calls must copy what they are given.
func (l *Library) asynchronous(h SessionHandle) bool {
	r := l.run.Load()
	if r == nil {
		return false
	}
	x, ok := r.sessions.load(h)
	return ok && x.async
}

// owned copies a mechanism; its parameter is ours already, but for a password, which is wiped when the call returns. The
// copy's is for whoever copies to wipe: secretsOf.
func owned(m *pkcs11.Mechanism) *pkcs11.Mechanism {
	if m == nil {
		return nil
	}
	c := *m
	if p, ok := m.Params.(*pkcs11.PBKD2Params); ok && p != nil {
		params := *p
		params.Password = bytes.Clone(p.Password)
		c.Params = &params
	}
	return &c
}

// secretsOf are the passwords of a mechanism.
func secretsOf(m *pkcs11.Mechanism) [][]byte {
	if m == nil {
		return nil
	}
	return pkcs11.PlacesOf(m.Params).Secrets
}

func wipeAll(secrets [][]byte) {
	for _, b := range secrets {
		clear(b)
	}
}

// pendingCall returns the call of a function that runs beside the session, or has ended and waits.
func (x *session) pendingCall(function string) (*pending, error) {
	if len(function) > 2 && function[:2] == "C_" {
		if p := x.pending[function[2:]]; p != nil {
			return p, nil
		}
	}
	return nil, pkcs11.Errorf(pkcs11.CKR_OPERATION_NOT_INITIALIZED, "no call of %.64q is pending", function)
}

// AsyncComplete asks what a call has come to whose answer was CKR_PENDING. wanted says that the caller has a place for the
// results; without one a call that has results stays as it is, for they would be lost. Besides the results, Buffer is set
// whenever the call was found. PKCS#11 v3.2, C_AsyncComplete.
func (l *Library) AsyncComplete(h SessionHandle, function string, wanted bool) (d AsyncData, err error) {
	err = l.inSession("AsyncComplete", h, func(x *session) error {
		p, err := x.pendingCall(function)
		if err != nil {
			return err
		}
		select {
		case <-p.done:
		default:
			return pkcs11.CKR_PENDING
		}
		if o := &p.outcome; !wanted && o.err == nil && (o.value != nil || o.objects != nil || p.kept.objects != nil) {
			return pkcs11.Errorf(pkcs11.CKR_ARGUMENTS_BAD, "C_%s has results, and pResult is NULL", p.function)
		}
		d, err = x.settle(p)
		return err
	})
	return d, err
}
