package cryptoki

import (
	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// The message functions: PKCS#11 v3.2, sections 5.9, 5.11, 5.14, 5.16. A process lasts from C_Message...Init to
// C_Message...Final and has one key and one mechanism; each message in it is an operation of the far side, made for that
// message alone. parameter is the message's parameter, decoded; what the caller is to get back is written into it.

// messages is a message-based process of a session.
type messages struct {
	kind      hsm.OpKind
	mechanism pkcs11.Mechanism
	key       *object
	vectors   vectors    // of an encryption
	op        *operation // the message that is under way, or what the next signature will be made with; nil: neither
	begun     bool       // the message is one in parts
	tag       int        // bytes of its tag
}

// messageFunctions are the functions that work on one message, and the kind of their process; true for those whose failure
// ends the message.
var messageFunctions = map[string]struct {
	kind hsm.OpKind
	ends bool
}{
	"EncryptMessage": {hsm.OpEncrypt, false}, "EncryptMessageBegin": {hsm.OpEncrypt, false}, "EncryptMessageNext": {hsm.OpEncrypt, true},
	"DecryptMessage": {hsm.OpDecrypt, false}, "DecryptMessageBegin": {hsm.OpDecrypt, false}, "DecryptMessageNext": {hsm.OpDecrypt, true},
	"SignMessage": {hsm.OpSign, false}, "SignMessageBegin": {hsm.OpSign, false}, "SignMessageNext": {hsm.OpSign, true},
	"VerifyMessage": {hsm.OpVerify, false}, "VerifyMessageBegin": {hsm.OpVerify, false}, "VerifyMessageNext": {hsm.OpVerify, true},
}

// MessageMechanism tells the mechanism of the process that a message function works in, which says how its parameter is to
// be read; ok is false where there is none.
func (l *Library) MessageMechanism(function string, h SessionHandle) (t pkcs11.MechanismType, ok bool) {
	f, known := messageFunctions[function]
	if !known {
		return 0, false
	}
	_ = l.inSession(function, h, func(x *session) error {
		if p := x.process(f.kind); p != nil {
			t, ok = p.mechanism.Type, true
		}
		return nil
	})
	return t, ok
}

// process returns the process of a kind; nil if there is none, or its login has ended.
func (x *session) process(kind hsm.OpKind) *messages {
	p := x.messages[kind]
	if p != nil && p.key.login != nil && p.key.login != x.login {
		x.endProcess(kind)
		return nil
	}
	return p
}

// endProcess ends the process of a kind, if there is one, with the message that is under way.
func (x *session) endProcess(kind hsm.OpKind) {
	if p := x.messages[kind]; p != nil {
		p.endMessage()
		x.messages[kind] = nil
	}
}

// endMessage ends the message that is under way, if there is one, and wipes it.
func (p *messages) endMessage() {
	if p.op != nil {
		p.op.Close()
		if p.op.result != nil {
			clear(p.op.result.bytes)
		}
	}
	p.op, p.begun, p.tag = nil, false, 0
}

// messageInit begins a process; nil for the mechanism ends the one that is there. check finds out whether the key may do
// what the messages will ask of it.
func (l *Library) messageInit(function string, h SessionHandle, kind hsm.OpKind, m *pkcs11.Mechanism, key ObjectHandle, check func(*session, *messages) error) error {
	return l.inSession(function, h, func(x *session) error {
		if m == nil {
			x.endProcess(kind)
			return nil
		}
		if x.process(kind) != nil {
			return pkcs11.Errorf(pkcs11.CKR_OPERATION_ACTIVE, "another process of this kind is running")
		}
		k, err := x.object(key, pkcs11.CKR_KEY_HANDLE_INVALID)
		if err != nil {
			return err
		}
		p := &messages{kind: kind, mechanism: *m, key: k}
		if err := check(x, p); err != nil {
			return err
		}
		x.messages[kind] = p
		return nil
	})
}

// messageFinal ends a process, unless a message in parts is under way.
func (l *Library) messageFinal(function string, h SessionHandle, kind hsm.OpKind) error {
	return l.inSession(function, h, func(x *session) error {
		p := x.process(kind)
		switch {
		case p == nil:
			return pkcs11.CKR_OPERATION_NOT_INITIALIZED
		case p.begun:
			return errMessageRuns
		}
		x.endProcess(kind)
		return nil
	})
}

var errMessageRuns = pkcs11.Errorf(pkcs11.CKR_OPERATION_ACTIVE, "a message in parts is under way")

// newMessage runs f where a message may begin.
func (l *Library) newMessage(function string, h SessionHandle, f func(*session, *messages) error) error {
	return l.inSession(function, h, func(x *session) error {
		p := x.process(messageFunctions[function].kind)
		switch {
		case p == nil:
			return pkcs11.CKR_OPERATION_NOT_INITIALIZED
		case p.begun:
			return errMessageRuns
		}
		return f(x, p)
	})
}

// nextPart runs f on the message that is under way, and ends the message when f says that it is over.
func (l *Library) nextPart(function string, h SessionHandle, f func(*session, *messages) (over bool, err error)) error {
	return l.inSession(function, h, func(x *session) error {
		p := x.process(messageFunctions[function].kind)
		if p == nil || !p.begun {
			return pkcs11.CKR_OPERATION_NOT_INITIALIZED
		}
		over, err := f(x, p)
		if over {
			p.endMessage()
		}
		return err
	})
}

// operation begins the far side's operation for one message.
func (p *messages) operation(x *session, params any) (*operation, error) {
	op, err := x.hsm.Begin(x.ctx, x.cred(), p.kind, pkcs11.Mechanism{Type: p.mechanism.Type, Params: params}, p.key.far())
	if err != nil {
		return nil, x.missing(p.key, err, pkcs11.CKR_KEY_HANDLE_INVALID)
	}
	return &operation{course: course{Operation: op}}, nil
}
