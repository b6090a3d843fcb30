package client

import (
	"context"

	"github.com/coffer-hsm/coffer/core/cluster/wire"
	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// running is what all operations have: what they were begun with, and their state at a node, sealed.
type running struct {
	client    *Client
	cred      *credential
	kind      hsm.OpKind
	mechanism *wire.Mechanism
	key       *wire.Object // nil for a digest
	private   bool         // the key is
	what      hsm.Description
	state     []byte // sealed; empty: from the beginning
	locked    bool   // Authenticate must come first
	over      bool
}

// start makes the operation that fits a description.
func (o running) start(d hsm.Description) hsm.Operation {
	o.what, o.locked = d, d.MustAuthenticate
	h := newHash(d.Hash)
	switch {
	case h != nil && o.kind == hsm.OpDigest:
		return &digesting{running: o, hash: h}
	case h != nil && (o.kind == hsm.OpSign || o.kind == hsm.OpVerify):
		return &hashing{running: o, hash: h}
	case d.Parts && d.Resumable:
		return &stepwise{running: o}
	}
	return &atOnce{running: o}
}

// who is the credential that a step carries: the user's newest, and none for a public key whose user has logged out.
func (o *running) who() (*credential, error) {
	k := o.cred.latest()
	if k == nil || !k.ended.Load() {
		return k, nil
	}
	if o.private {
		return nil, errLoginEnded
	}
	return nil, nil
}

// ready answers why the operation cannot go on.
func (o *running) ready() error {
	switch {
	case o.over:
		return pkcs11.Errorf(pkcs11.CKR_OPERATION_NOT_INITIALIZED, "the operation has ended")
	case o.locked:
		return pkcs11.Errorf(pkcs11.CKR_USER_NOT_LOGGED_IN, "the key asks for a context-specific login")
	}
	return nil
}

// step has a node do one part, from the state that the part before has left. It goes to another node if one dies: the
// state is the same there.
func (o *running) step(ctx context.Context, s *wire.Step) (*wire.Stepped, error) {
	k, err := o.who()
	if err != nil {
		return nil, err
	}
	return o.stepAs(ctx, k, s)
}

func (o *running) stepAs(ctx context.Context, k *credential, s *wire.Step) (*wire.Stepped, error) {
	s.Kind, s.Mechanism, s.Key, s.State = uint32(o.kind), o.mechanism, o.key, o.state
	t := stepping
	t.changes = s.Act == wire.Act_ACT_AUTHENTICATE // it counts
	r, err := o.client.do(ctx, t, k, &wire.Request{Body: &wire.Request_Step{Step: s}})
	if err != nil {
		return nil, err
	}
	done := r.GetStepped()
	if done == nil {
		return nil, unexpected(r)
	}
	if goesOn[s.Act] && len(done.State) == 0 {
		return nil, pkcs11.Errorf(pkcs11.CKR_DEVICE_ERROR, "the node answered without the state to go on from")
	}
	o.state = done.State
	return done, nil
}

// goesOn are the acts after which there is another one.
var goesOn = map[wire.Act]bool{
	wire.Act_ACT_UPDATE:       true,
	wire.Act_ACT_DIGEST_KEY:   true,
	wire.Act_ACT_AUTHENTICATE: true,
}

// output runs a step and appends what comes of it to dst.
func (o *running) output(ctx context.Context, dst []byte, s *wire.Step) ([]byte, error) {
	done, err := o.step(ctx, s)
	if err != nil {
		o.over = true
		return nil, err
	}
	dst = append(dst, done.Output...)
	clear(done.Output) // it may be plaintext
	return dst, nil
}

// verdict runs the last step of a verification.
func (o *running) verdict(ctx context.Context, s *wire.Step) error {
	o.over = true
	_, err := o.step(ctx, s)
	return err
}

func (o *running) MustAuthenticate() bool { return o.locked }

// Authenticate checks the user's PIN once more. PKCS#11 v3.2, C_Login with CKU_CONTEXT_SPECIFIC.
func (o *running) Authenticate(ctx context.Context, pin []byte) error {
	defer o.client.info.drop()
	if o.over || !o.locked {
		return pkcs11.CKR_OPERATION_NOT_INITIALIZED
	}
	if _, err := o.step(ctx, &wire.Step{Act: wire.Act_ACT_AUTHENTICATE, Data: pin}); err != nil {
		return err
	}
	o.locked = false
	return nil
}

// Close ends the operation. Its state at the node is nothing but what is here.
func (o *running) Close() {
	o.over = true
	o.state = nil
}

// What an operation does not have; the near side never asks a signature to digest a key.

func (*running) UpdateLen(int) int { return 0 }

func (o *running) FinishLen(n int) (int, bool) { return o.what.Shape.FinishLen(0, n) }

func (*running) DigestKey(context.Context, hsm.Credential, hsm.Object) error {
	return pkcs11.Errorf(pkcs11.CKR_GENERAL_ERROR, "this operation digests nothing")
}

// inParts answers an update of a mechanism that works in one part only.
func (o *running) inParts() error {
	if o.what.Parts {
		return nil
	}
	return pkcs11.Errorf(pkcs11.CKR_FUNCTION_NOT_SUPPORTED, "%v works in one part only", pkcs11.MechanismType(o.mechanism.Type))
}

// tooLong answers for more data than an operation takes.
func (o *running) tooLong(n, limit int) error {
	rv := pkcs11.CKR_DATA_LEN_RANGE
	if o.kind == hsm.OpDecrypt {
		rv = pkcs11.CKR_ENCRYPTED_DATA_LEN_RANGE
	}
	return pkcs11.Errorf(rv, "%d bytes, at most %d can be sent to a node in one operation of %v", n, limit, pkcs11.MechanismType(o.mechanism.Type))
}
