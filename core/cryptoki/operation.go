package cryptoki

import (
	"bytes"
	"crypto/sha256"
	"slices"

	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// A session runs one operation of each kind at once. C_VerifySignatureInit's is a kind of its own here, a verification
// for the far side.
const (
	opVerifySignature = hsm.NumOpKinds
	numOperations     = hsm.NumOpKinds + 1
)

// operation is a running operation of a session.
type operation struct {
	course
	own  ownParam      // memory for the parameter, kept for the next operation
	used hsm.Operation // one that has ended, whose memory the next may have
}

// course is what an operation is of while it runs.
type course struct {
	hsm.Operation
	mechanism pkcs11.Mechanism
	key       *object // nil for a digest
	login     *login  // of a private key: the login that it may be used under
	parts     bool    // there was an update: the one-shot function is out of order
	result    *result
	signature []byte   // of C_VerifySignatureInit
	pending   *pending // its end runs beside the session
}

// ownParam is a copy of the parameter of CKM_AES_GCM, the one that changes with each operation: whoever calls may use his
// again at once.
type ownParam struct {
	gcm     pkcs11.GCMParams
	iv, aad []byte
}

// mostOwn is how many bytes of a parameter an operation keeps room for.
const mostOwn = 256

// hold returns the mechanism with a parameter that lives as long as the operation.
func (p *ownParam) hold(m pkcs11.Mechanism) pkcs11.Mechanism {
	given, ok := m.Params.(*pkcs11.GCMParams)
	if !ok || given == nil {
		return m
	}
	p.iv = append(p.iv[:0], given.IV...)
	if len(given.AAD) > 0 {
		p.aad = append(p.aad[:0], given.AAD...)
	}
	p.gcm = pkcs11.GCMParams{IV: slices.Clip(p.iv), IVBits: given.IVBits, AAD: slices.Clip(p.aad), TagBits: given.TagBits}
	m.Params = &p.gcm
	return m
}

// clear forgets the parameter. What was associated with a message may be as private as the message.
func (p *ownParam) clear() {
	clear(p.aad)
	p.aad, p.gcm = p.aad[:0], pkcs11.GCMParams{}
	if cap(p.iv)+cap(p.aad) > mostOwn {
		p.iv, p.aad = nil, nil
	}
}

// result is output that the caller's buffer could not hold and that could not be foreseen: only a bound was known.
type result struct {
	final bool     // of the Final function, not of the one-shot one
	input [32]byte // hash of the one-shot function's input
	bytes []byte
}

// running returns the operation of a kind; nil if there is none, or its login has ended.
func (x *session) running(kind hsm.OpKind) *operation {
	op := x.operations[kind]
	if op != nil && op.login != nil && op.login != x.login {
		x.cancel(kind)
		return nil
	}
	return op
}

// cancel ends the operation of a kind, if there is one, and wipes it.
func (x *session) cancel(kind hsm.OpKind) {
	op := x.operations[kind]
	if op == nil {
		return
	}
	x.operations[kind] = nil
	if p := op.pending; p != nil { // the far operation is the pending call's to close
		delete(x.pending, p.function)
		p.abandon()
		return
	}
	op.Close()
	if op.result != nil {
		clear(op.result.bytes)
	}
	if x.hsm.reuser != nil && !x.async { // there the end of an operation may run beside the session
		op.used = op.Operation
	}
	op.own.clear()
	op.course = course{}
	x.spares[kind] = op
}

// fresh returns an operation that is not the session's yet; whoever makes nothing of it leaves it in spares.
func (x *session) fresh(kind hsm.OpKind) *operation {
	if x.spares[kind] == nil {
		x.spares[kind] = new(operation)
	}
	return x.spares[kind]
}

// beginFar starts an operation of the far side for op.
func (x *session) beginFar(op *operation, kind hsm.OpKind, m pkcs11.Mechanism, key hsm.Object) (hsm.Operation, error) {
	if x.hsm.reuser != nil {
		return x.hsm.reuser.BeginIn(x.ctx, op.used, x.cred(), kind, m, key)
	}
	return x.hsm.Begin(x.ctx, x.cred(), kind, m, key)
}

// start makes an operation of the far side the session's. key is nil for a digest.
func (x *session) start(kind hsm.OpKind, far hsm.Operation, m pkcs11.Mechanism, key *object) *operation {
	return x.startAs(x.fresh(kind), kind, far, m, key)
}

func (x *session) startAs(op *operation, kind hsm.OpKind, far hsm.Operation, m pkcs11.Mechanism, key *object) *operation {
	op.Operation, op.mechanism, op.key, op.used = far, m, key, nil
	if key != nil {
		op.login = key.login
	}
	x.operations[kind], x.spares[kind] = op, nil
	return op
}

// begin is the Init functions but C_DigestInit's and C_VerifySignatureInit's. No mechanism cancels what is running.
func (l *Library) begin(function string, h SessionHandle, kind hsm.OpKind, m *pkcs11.Mechanism, key ObjectHandle) error {
	return l.inSession(function, h, func(x *session) error { return x.initialise(kind, m, key) })
}

func (x *session) initialise(kind hsm.OpKind, m *pkcs11.Mechanism, key ObjectHandle) error {
	if m == nil {
		x.cancel(kind)
		return nil
	}
	_, err := x.begin(kind, kind, *m, key)
	return err
}

// begin starts an operation with a key. kind is its place in the session, far what the far side knows it as.
func (x *session) begin(kind, far hsm.OpKind, m pkcs11.Mechanism, key ObjectHandle) (*operation, error) {
	if x.running(kind) != nil {
		return nil, pkcs11.Errorf(pkcs11.CKR_OPERATION_ACTIVE, "another one of this kind is running")
	}
	k, err := x.object(key, pkcs11.CKR_KEY_HANDLE_INVALID)
	if err != nil {
		return nil, err
	}
	op := x.fresh(kind)
	m = op.own.hold(m)
	o, err := x.beginFar(op, far, m, k.far())
	if err != nil {
		op.own.clear()
		return nil, x.missing(k, err, pkcs11.CKR_KEY_HANDLE_INVALID)
	}
	return x.startAs(op, kind, o, m, k), nil
}

// use runs f on the running operation of a kind and ends the operation when f says that it is over. Then it is another
// operation's: nobody looks at it after that.
func (x *session) use(kind hsm.OpKind, f func(*operation) (over bool, err error)) error {
	op := x.running(kind)
	if op == nil {
		return pkcs11.CKR_OPERATION_NOT_INITIALIZED
	}
	if op.pending != nil {
		return pkcs11.Errorf(pkcs11.CKR_OPERATION_ACTIVE, "the end of this operation is pending")
	}
	over, err := true, error(nil)
	switch {
	case op.MustAuthenticate():
		err = pkcs11.Errorf(pkcs11.CKR_USER_NOT_LOGGED_IN, "this key wants C_Login with CKU_CONTEXT_SPECIFIC for each use")
	default:
		over, err = f(op)
	}
	if over {
		x.cancel(kind)
	}
	return err
}

// errResultWaits: the operation is done and only its result is still to be fetched, by the same call again.
var errResultWaits = pkcs11.Errorf(pkcs11.CKR_OPERATION_ACTIVE, "a result waits for a larger buffer")

// update is the Update functions that have output.
func (l *Library) update(function string, h SessionHandle, kind hsm.OpKind, part []byte, out *pkcs11.Out) error {
	return l.inSession(function, h, func(x *session) error {
		return x.use(kind, func(op *operation) (bool, error) {
			return op.update(x, part, out, nil)
		})
	})
}

// update takes a part. Its output's size is exact, so a short buffer is refused before anything happens. then, which may
// be nil, sees the output before the caller does.
func (op *operation) update(x *session, part []byte, out *pkcs11.Out, then func([]byte) error) (over bool, err error) {
	if op.result != nil {
		return true, errResultWaits
	}
	size := op.UpdateLen(len(part))
	if ok, err := out.Fits(size); !ok {
		return false, err
	}
	op.parts = true
	b, err := op.Update(x.ctx, place(out, size), part)
	if err != nil {
		return true, err
	}
	if len(b) != size {
		return true, pkcs11.Errorf(pkcs11.CKR_GENERAL_ERROR, "update returned %d bytes and had announced %d", len(b), size)
	}
	if then != nil {
		if err := then(b); err != nil {
			clear(b)
			return true, err
		}
	}
	return false, out.Put(b)
}

// feed is the Update functions without output.
func (l *Library) feed(function string, h SessionHandle, kind hsm.OpKind, part []byte) error {
	return l.inSession(function, h, func(x *session) error {
		return x.use(kind, func(op *operation) (bool, error) {
			return op.feed(x, part)
		})
	})
}

func (op *operation) feed(x *session, part []byte) (over bool, err error) {
	if op.result != nil {
		return true, errResultWaits
	}
	op.parts = true
	_, err = op.Update(x.ctx, nil, part)
	return err != nil, err
}

// oneShot is the functions that do everything at once. After an update they end the operation with CKR_OPERATION_ACTIVE:
// they "cannot be used to terminate a multi-part operation", and what is no success ends it.
func (l *Library) oneShot(function string, h SessionHandle, kind hsm.OpKind, data []byte, out *pkcs11.Out) error {
	return l.inSession(function, h, func(x *session) error {
		return x.use(kind, func(op *operation) (bool, error) {
			if op.parts {
				return true, pkcs11.Errorf(pkcs11.CKR_OPERATION_ACTIVE, "a multi-part operation is running")
			}
			if x.async {
				return x.finishAside(function, kind, op, data, false, out)
			}
			return op.finish(x, kind, data, false, out)
		})
	})
}

// final is the Final functions that have output.
func (l *Library) final(function string, h SessionHandle, kind hsm.OpKind, out *pkcs11.Out) error {
	return l.inSession(function, h, func(x *session) error {
		return x.use(kind, func(op *operation) (bool, error) {
			if x.async {
				return x.finishAside(function, kind, op, nil, true, out)
			}
			return op.finish(x, kind, nil, true, out)
		})
	})
}

// finish produces the operation's last output under the size rule (PKCS#11 v3.2, section 5.2). Where only a bound of its
// size is known and the buffer is shorter, it may still be large enough: the operation is done, and what turns out not
// to fit is kept for the next call.
func (op *operation) finish(x *session, kind hsm.OpKind, data []byte, final bool, out *pkcs11.Out) (over bool, err error) {
	if op.result != nil {
		return op.fetch(data, final, out)
	}
	size, exact := op.FinishLen(len(data))
	if kind == hsm.OpVerifyRecover {
		exact = false // A bad signature is to be told before a short buffer.
	}
	if out.Query || exact && out.Capacity < size {
		_, err := out.Fits(size)
		return false, err
	}
	b, err := op.Finish(x.ctx, op.over(out, size, exact), data)
	if err != nil {
		return true, err
	}
	if err := out.Put(b); err != nil {
		op.result = &result{final: final, input: sha256.Sum256(data), bytes: bytes.Clone(b)}
		clear(b)
		return false, err
	}
	return true, nil
}

// over is place for the output of a one-shot call, which may go over its input. Where only a bound of the size is known, the
// input may be asked for again (fetch).
func (op *operation) over(out *pkcs11.Out, n int, exact bool) []byte {
	if exact && 0 < n && n <= cap(out.Over) {
		if p, ok := op.Operation.(hsm.InPlacer); ok && p.InPlace() {
			return out.Over[:0:n]
		}
	}
	return place(out, n)
}

// place returns where n bytes of output go: what the caller has brought along in out.Bytes, if it is large enough. It has
// room for them and nothing else, so that whoever wipes the result to its capacity has wiped all.
func place(out *pkcs11.Out, n int) []byte {
	if n <= cap(out.Bytes) {
		return out.Bytes[:0:n]
	}
	return make([]byte, 0, n)
}

// fetch hands over a result that was kept. The input is the same as before, or the caller has mixed up two messages.
func (op *operation) fetch(data []byte, final bool, out *pkcs11.Out) (over bool, err error) {
	hash := sha256.Sum256(data)
	if op.result.final != final || !bytes.Equal(op.result.input[:], hash[:]) {
		return true, errResultWaits
	}
	b := op.result.bytes
	if ok, err := out.Fits(len(b)); !ok {
		return false, err
	}
	op.result = nil
	return true, out.Put(b)
}
