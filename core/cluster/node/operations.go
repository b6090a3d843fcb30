package node

import (
	"github.com/coffer-hsm/coffer/core/cluster/wire"
	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// Operations: the node keeps none between two requests.

// opened is an operation with what it was made from.
type opened struct {
	hsm.Operation
	kind      hsm.OpKind
	mechanism pkcs11.Mechanism
	key       hsm.Object
}

// begun starts an operation, or goes on from its state.
func (c *call) begun(number uint32, mechanism *wire.Mechanism, key *wire.Object, state, digestState []byte) (o opened, err error) {
	if number >= uint32(hsm.NumOpKinds) {
		return o, pkcs11.Errorf(pkcs11.CKR_FUNCTION_NOT_SUPPORTED, "an operation of kind %d", number)
	}
	o.kind = hsm.OpKind(number)
	if o.mechanism, err = wire.ToMechanism(mechanism); err != nil {
		return o, err
	}
	if o.kind != hsm.OpDigest {
		if o.key, err = c.toObject(key, pkcs11.CKR_KEY_HANDLE_INVALID); err != nil {
			return o, err
		}
	}
	switch {
	case len(state) > 0:
		o.Operation, err = c.hsm().OpenOperation(c.ctx, c.cred, o.kind, o.mechanism, o.key, state)
	case len(digestState) > 0 && o.kind == hsm.OpDigest:
		o.Operation, err = c.hsm().ResumeDigest(c.ctx, c.cred, o.mechanism, digestState)
	case len(digestState) > 0:
		err = pkcs11.Errorf(pkcs11.CKR_ARGUMENTS_BAD, "the state of a digest for an operation that is none")
	default:
		o.Operation, err = c.hsm().Begin(c.ctx, c.cred, o.kind, o.mechanism, o.key)
	}
	return o, err
}

func begin(c *call, b *wire.Request_Begin) error {
	o, err := c.begun(b.Begin.GetKind(), b.Begin.GetMechanism(), b.Begin.GetKey(), nil, nil)
	if err != nil {
		return err
	}
	defer o.Close()
	return c.answerWith(&wire.Reply{Body: &wire.Reply_Begun{Begun: wire.FromDescription(c.hsm().Describe(o.Operation))}})
}

// kinds is a set of hsm.OpKind.
type kinds uint

const anyKind kinds = 1<<hsm.NumOpKinds - 1

func kindSet(k hsm.OpKind) kinds { return 1 << k }

// acts is what a Step does, and of which kinds of operation; goesOn says that a state is to be returned.
var acts = map[wire.Act]struct {
	of     kinds
	goesOn bool
	run    func(c *call, o opened, m *wire.Step) (output []byte, err error)
}{
	wire.Act_ACT_UPDATE: {anyKind, true, func(c *call, o opened, m *wire.Step) ([]byte, error) {
		return o.Update(c.ctx, nil, m.Data)
	}},
	wire.Act_ACT_FINISH: {anyKind &^ kindSet(hsm.OpVerify), false, func(c *call, o opened, m *wire.Step) ([]byte, error) {
		return o.Finish(c.ctx, nil, m.Data)
	}},
	wire.Act_ACT_VERIFY: {kindSet(hsm.OpVerify), false, func(c *call, o opened, m *wire.Step) ([]byte, error) {
		return nil, o.Verify(c.ctx, m.Data, m.Signature)
	}},
	wire.Act_ACT_FINISH_DIGEST: {kindSet(hsm.OpSign), false, func(c *call, o opened, m *wire.Step) ([]byte, error) {
		return c.hsm().FinishDigest(c.ctx, o.Operation, nil, m.Data)
	}},
	wire.Act_ACT_VERIFY_DIGEST: {kindSet(hsm.OpVerify), false, func(c *call, o opened, m *wire.Step) ([]byte, error) {
		return nil, c.hsm().VerifyDigest(c.ctx, o.Operation, m.Data, m.Signature)
	}},
	wire.Act_ACT_DIGEST_KEY: {kindSet(hsm.OpDigest), true, func(c *call, o opened, m *wire.Step) ([]byte, error) {
		key, err := c.toObject(m.Digested, pkcs11.CKR_KEY_HANDLE_INVALID)
		if err != nil {
			return nil, err
		}
		return nil, o.DigestKey(c.ctx, c.cred, key)
	}},
	wire.Act_ACT_AUTHENTICATE: {anyKind &^ kindSet(hsm.OpDigest), true, func(c *call, o opened, m *wire.Step) ([]byte, error) {
		return nil, o.Authenticate(c.ctx, m.Data)
	}},
}

func step(c *call, b *wire.Request_Step) error {
	m := b.Step
	act, known := acts[m.GetAct()]
	if !known {
		return pkcs11.Errorf(pkcs11.CKR_FUNCTION_NOT_SUPPORTED, "act %d", m.GetAct())
	}
	o, err := c.begun(m.GetKind(), m.GetMechanism(), m.GetKey(), m.GetState(), m.GetDigestState())
	if err != nil {
		return err
	}
	defer o.Close()
	if act.of&kindSet(o.kind) == 0 {
		return pkcs11.Errorf(pkcs11.CKR_ARGUMENTS_BAD, "%v cannot be done in an operation of kind %v", m.GetAct(), o.kind)
	}
	out := &wire.Stepped{}
	if out.Output, err = act.run(c, o, m); err != nil {
		return err
	}
	if act.goesOn {
		if out.State, err = c.hsm().SealOperation(o.Operation); err != nil {
			return err
		}
	}
	return c.answerWith(&wire.Reply{Body: &wire.Reply_Stepped{Stepped: out}})
}

const maxRandom = 1 << 20 // bytes in one answer

func random(c *call, b *wire.Request_Random) error {
	n := b.Random.GetBytes()
	if n > maxRandom {
		return pkcs11.Errorf(pkcs11.CKR_ARGUMENTS_BAD, "%d random bytes, at most %d in one request", n, maxRandom)
	}
	p := make([]byte, n)
	if err := c.hsm().Random(c.ctx, p); err != nil {
		return err
	}
	return c.bytes(p)
}

func seed(c *call, b *wire.Request_Seed) error { return c.hsm().Seed(c.ctx, b.Seed.GetSeed()) }
