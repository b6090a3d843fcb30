package engine

import (
	"context"
	"slices"

	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/spread"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// usage is the attribute of a key that allows a kind of operation.
var usage = [hsm.NumOpKinds]pkcs11.AttributeType{
	hsm.OpEncrypt:       pkcs11.CKA_ENCRYPT,
	hsm.OpDecrypt:       pkcs11.CKA_DECRYPT,
	hsm.OpSign:          pkcs11.CKA_SIGN,
	hsm.OpVerify:        pkcs11.CKA_VERIFY,
	hsm.OpSignRecover:   pkcs11.CKA_SIGN_RECOVER,
	hsm.OpVerifyRecover: pkcs11.CKA_VERIFY_RECOVER,
}

// able says whether a row has what a kind of operation needs.
var able = [hsm.NumOpKinds]func(m *mech.Mechanism) bool{
	hsm.OpEncrypt:       func(m *mech.Mechanism) bool { return m.Encrypt != nil },
	hsm.OpDecrypt:       func(m *mech.Mechanism) bool { return m.Decrypt != nil },
	hsm.OpDigest:        func(m *mech.Mechanism) bool { return m.Digest != nil },
	hsm.OpSign:          func(m *mech.Mechanism) bool { return m.Sign != nil },
	hsm.OpVerify:        func(m *mech.Mechanism) bool { return m.Verify != nil },
	hsm.OpSignRecover:   func(m *mech.Mechanism) bool { return m.SignRecover != nil },
	hsm.OpVerifyRecover: func(m *mech.Mechanism) bool { return m.VerifyRecover != nil },
}

// starter begins a kind of operation on a row that is able to.
type starter func(to *keyOp, m *mech.Mechanism, k mech.Key, param any) error

// starters are the kinds by their constructor in the row.
var starters = [hsm.NumOpKinds]starter{
	hsm.OpEncrypt:       startCipher(func(m *mech.Mechanism) cipherMaker { return m.Encrypt }),
	hsm.OpDecrypt:       startCipher(func(m *mech.Mechanism) cipherMaker { return m.Decrypt }),
	hsm.OpSignRecover:   startCipher(func(m *mech.Mechanism) cipherMaker { return m.SignRecover }),
	hsm.OpVerifyRecover: startCipher(func(m *mech.Mechanism) cipherMaker { return m.VerifyRecover }),
	hsm.OpSign:          startSigner,
	hsm.OpVerify:        startVerifier,
}

// Begin starts an operation. PKCS#11 v3.2, C_EncryptInit and its siblings.
func (e *Engine) Begin(ctx context.Context, cred hsm.Credential, kind hsm.OpKind, m pkcs11.Mechanism, key hsm.Object) (hsm.Operation, error) {
	return e.BeginIn(ctx, nil, cred, kind, m, key)
}

// BeginIn implements hsm.Reuser.
func (e *Engine) BeginIn(_ context.Context, used hsm.Operation, cred hsm.Credential, kind hsm.OpKind, m pkcs11.Mechanism, key hsm.Object) (op hsm.Operation, err error) {
	defer answer(&err)
	row, err := e.rowFor(kind, m.Type, key)
	if err != nil {
		return nil, err
	}
	if kind == hsm.OpDigest {
		e.grants.note(kind, row)
		return e.startDigest(used, row, e.origin(cred, kind, m, ""), m.Params)
	}
	to := memoryOf(used)
	v, hold, err := e.granted(to.seat, cred, key, kind, row)
	if err != nil {
		return nil, err
	}
	if err = e.signs(kind, m.Params); err == nil {
		err = to.start(kind, row, v, m.Params)
	}
	if err != nil {
		v.letGo(hold)
		return nil, err
	}
	if kind == hsm.OpSign && row.Capacity != nil {
		to.Operation = &indexedOp{signOp: &to.signer, engine: e, cred: cred, key: key}
	}
	to.of, to.engine, to.version, to.hold, to.cred, to.mustAuthenticate = to, e, v, hold, cred, v.head.EachTime()
	if e.node != nil {
		to.origin = &beginning{cred, kind, m, v.head.ID()}
	}
	return &to.held, nil
}

// keyOp is an operation with a key, with what its kind needs, in one piece of memory that serves again.
type keyOp struct {
	held
	made     any // by the mechanism
	cipher   cipherOp
	signer   signOp
	verifier verifyOp
	idle     idle
	seat     spread.Seat // at the keys that it uses
}

// idle is what a mechanism made for an operation that has ended, and that the next of the kind can begin with.
type idle struct {
	hsm.Operation // the part of the keyOp that it is in
	made          mech.Renewer
	row           *mech.Mechanism
	kind          hsm.OpKind
}

// memoryOf returns memory for an operation that has ended: that of used, if it is there.
func memoryOf(used hsm.Operation) *keyOp {
	if h, ok := used.(*held); ok && h.version == nil {
		h.begun = false
		h.of.seat = places.Seated(h.of.seat)
		return h.of
	}
	return &keyOp{seat: spread.Nowhere}
}

var places spread.Seats

// start makes the mechanism's part.
func (to *keyOp) start(kind hsm.OpKind, row *mech.Mechanism, k mech.Key, param any) error {
	if to.idle.row == row && to.idle.kind == kind {
		if err := to.idle.made.Renew(k, param); err != nil {
			return err
		}
		to.Operation = to.idle.Operation
		return nil
	}
	to.idle = idle{}
	if err := starters[kind](to, row, k, param); err != nil {
		return err
	}
	if again, ok := to.made.(mech.Renewer); ok {
		to.idle = idle{to.Operation, again, row, kind}
	}
	return nil
}

// keyUse is what a key is wanted for.
type keyUse struct {
	row     *mech.Mechanism
	allow   pkcs11.AttributeType // must be true
	invalid pkcs11.RV            // for a handle that names no key
}

// key returns a key that may be used so, with its secret part open; it must be released.
func (e *Engine) key(cred hsm.Credential, o hsm.Object, u keyUse) (*version, error) {
	_, v, err := e.use(cred, o, u.invalid)
	if err != nil {
		return nil, err
	}
	if err := e.checkKey(v, u); err != nil {
		v.release()
		return nil, err
	}
	return v, nil
}

func (e *Engine) checkKey(v *version, u keyUse) error {
	kt, isKey := v.head.KeyType()
	if !isKey || v.head.Class() == pkcs11.CKO_DOMAIN_PARAMETERS {
		return pkcs11.Errorf(u.invalid, "the object is a %v, not a key", v.head.Class())
	}
	if !slices.Contains(u.row.KeyTypes, kt) {
		return pkcs11.Errorf(pkcs11.CKR_KEY_TYPE_INCONSISTENT, "%v does not work with a %v", u.row.Type, kt)
	}
	if !v.head.Bool(u.allow) {
		return pkcs11.Errorf(pkcs11.CKR_KEY_FUNCTION_NOT_PERMITTED, "%v of the key is false", u.allow)
	}
	if !v.head.Allows(u.row.Type) {
		return pkcs11.Errorf(pkcs11.CKR_MECHANISM_INVALID, "the key's CKA_ALLOWED_MECHANISMS does not name %v", u.row.Type)
	}
	if _, err := e.secretOf(v); err != nil {
		return err
	}
	return e.usable(v)
}

// held is an operation with the key that it uses, which must not be wiped before the operation ends.
type held struct {
	hsm.Operation
	of               *keyOp // whose part it is
	engine           *Engine
	version          *version
	hold             spread.Hold    // of the version
	cred             hsm.Credential // whose PIN Authenticate wants
	origin           *beginning     // on a node
	authenticated    int64          // on a node: the Unix time of Authenticate
	mustAuthenticate bool
	begun            bool // Update was called
}

func (h *held) MustAuthenticate() bool { return h.mustAuthenticate }

// allowed refuses all use before Authenticate.
func (h *held) allowed() error {
	if h.mustAuthenticate {
		return pkcs11.Errorf(pkcs11.CKR_USER_NOT_LOGGED_IN, "the key asks for a context-specific login")
	}
	return nil
}

func (h *held) Update(ctx context.Context, dst, part []byte) ([]byte, error) {
	if err := h.allowed(); err != nil {
		return nil, err
	}
	h.begun = true
	return h.Operation.Update(ctx, dst, part)
}

func (h *held) Finish(ctx context.Context, dst, part []byte) ([]byte, error) {
	if err := h.allowed(); err != nil {
		return nil, err
	}
	return h.Operation.Finish(ctx, dst, part)
}

func (h *held) Verify(ctx context.Context, part, signature []byte) error {
	if err := h.allowed(); err != nil {
		return err
	}
	return h.Operation.Verify(ctx, part, signature)
}

// InPlace implements hsm.InPlacer.
func (h *held) InPlace() bool {
	o, ok := h.Operation.(*cipherOp)
	if !ok {
		return false
	}
	c, ok := o.cipher.(mech.InPlacer)
	return ok && c.InPlace()
}

// Authenticate checks the user's PIN once more. PKCS#11 v3.2, C_Login with CKU_CONTEXT_SPECIFIC.
func (h *held) Authenticate(ctx context.Context, pin []byte) (err error) {
	defer answer(&err)
	if err := h.engine.verifyPIN(ctx, h.cred, pin); err != nil {
		return err
	}
	if h.engine.node != nil {
		h.authenticated = h.engine.node.now()
	}
	h.mustAuthenticate = false
	return nil
}

// Close ends the operation and lets go of the key.
func (h *held) Close() {
	if h.version == nil {
		return
	}
	h.Operation.Close()
	to := h.of
	h.version.letGo(h.hold)
	if to.idle.made == nil {
		*to = keyOp{seat: to.seat}
	}
	to.held = held{Operation: ended{}, of: to}
}

// ended is what an operation does that has been closed, whose mechanism may be at work for another one.
type ended struct{ unsupported }

func (ended) Update(context.Context, []byte, []byte) ([]byte, error) {
	return nil, pkcs11.Errorf(pkcs11.CKR_GENERAL_ERROR, "this operation has ended")
}
func (ended) Close() {}
