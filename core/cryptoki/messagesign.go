package cryptoki

import (
	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// No signature mechanism has a parameter for each message; each begins anew with that of the process.

// MessageSignInit begins a process of signatures; nil for the mechanism ends it. PKCS#11 v3.2, C_MessageSignInit.
func (l *Library) MessageSignInit(h SessionHandle, m *pkcs11.Mechanism, key ObjectHandle) error {
	return l.messageInit("MessageSignInit", h, hsm.OpSign, m, key, (*session).makeReady)
}

// MessageVerifyInit begins a process of verifications; nil for the mechanism ends it. PKCS#11 v3.2, C_MessageVerifyInit.
func (l *Library) MessageVerifyInit(h SessionHandle, m *pkcs11.Mechanism, key ObjectHandle) error {
	return l.messageInit("MessageVerifyInit", h, hsm.OpVerify, m, key, (*session).makeReady)
}

// MessageSignFinal ends a process. PKCS#11 v3.2, C_MessageSignFinal.
func (l *Library) MessageSignFinal(h SessionHandle) error {
	return l.messageFinal("MessageSignFinal", h, hsm.OpSign)
}

// MessageVerifyFinal ends a process. PKCS#11 v3.2, C_MessageVerifyFinal.
func (l *Library) MessageVerifyFinal(h SessionHandle) error {
	return l.messageFinal("MessageVerifyFinal", h, hsm.OpVerify)
}

// makeReady begins the operation for the next message, unless it is there. With a key that is CKA_ALWAYS_AUTHENTICATE it
// waits for the PIN, for each message again.
func (x *session) makeReady(p *messages) error {
	if p.op != nil && p.op.result == nil {
		return nil
	}
	p.endMessage()
	op, err := p.operation(x, p.mechanism.Params)
	if err != nil {
		return err
	}
	p.op = op
	return nil
}

// newSignature is newMessage with an operation that is ready and allowed. A result that waits for a larger buffer is for the
// same call again.
func (l *Library) newSignature(function string, h SessionHandle, parameter any, f func(*session, *messages) error) error {
	return l.newMessage(function, h, func(x *session, p *messages) error {
		if parameter != nil {
			return pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "a message of %v takes no parameter", p.mechanism.Type)
		}
		if p.op == nil {
			if err := x.makeReady(p); err != nil {
				return err
			}
		}
		if p.op.MustAuthenticate() {
			return errEachMessage
		}
		return f(x, p)
	})
}

var errEachMessage = pkcs11.Errorf(pkcs11.CKR_USER_NOT_LOGGED_IN, "this key wants C_Login with CKU_CONTEXT_SPECIFIC for each message")

// SignMessage signs a message at once. PKCS#11 v3.2, C_SignMessage.
func (l *Library) SignMessage(h SessionHandle, parameter any, data []byte, signature *pkcs11.Out) error {
	return l.newSignature("SignMessage", h, parameter, func(x *session, p *messages) error {
		over, err := p.op.finish(x, p.kind, data, false, signature)
		if over {
			p.endMessage()
		}
		return err
	})
}

// VerifyMessage verifies the signature of a message at once. PKCS#11 v3.2, C_VerifyMessage.
func (l *Library) VerifyMessage(h SessionHandle, parameter any, data, signature []byte) error {
	return l.newSignature("VerifyMessage", h, parameter, func(x *session, p *messages) error {
		defer p.endMessage()
		return p.op.Verify(x.ctx, data, signature)
	})
}

// SignMessageBegin begins a message in parts. PKCS#11 v3.2, C_SignMessageBegin.
func (l *Library) SignMessageBegin(h SessionHandle, parameter any) error {
	return l.newSignature("SignMessageBegin", h, parameter, beginParts)
}

// VerifyMessageBegin begins a message in parts. PKCS#11 v3.2, C_VerifyMessageBegin.
func (l *Library) VerifyMessageBegin(h SessionHandle, parameter any) error {
	return l.newSignature("VerifyMessageBegin", h, parameter, beginParts)
}

func beginParts(x *session, p *messages) error {
	if err := x.makeReady(p); err != nil {
		return err
	}
	if p.op.MustAuthenticate() {
		return errEachMessage
	}
	p.begun = true
	return nil
}

// SignMessageNext takes a part; with a place for the signature the last one. PKCS#11 v3.2, C_SignMessageNext.
func (l *Library) SignMessageNext(h SessionHandle, parameter any, part []byte, signature *pkcs11.Out) error {
	return l.nextPart("SignMessageNext", h, func(x *session, p *messages) (over bool, err error) {
		switch {
		case parameter != nil:
			return true, pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "a message of %v takes no parameter", p.mechanism.Type)
		case signature == nil:
			return p.op.feed(x, part)
		}
		return p.op.finish(x, p.kind, part, true, signature)
	})
}

// VerifyMessageNext takes a part; with a signature the last one. PKCS#11 v3.2, C_VerifyMessageNext.
func (l *Library) VerifyMessageNext(h SessionHandle, parameter any, part, signature []byte) error {
	return l.nextPart("VerifyMessageNext", h, func(x *session, p *messages) (over bool, err error) {
		switch {
		case parameter != nil:
			return true, pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "a message of %v takes no parameter", p.mechanism.Type)
		case signature == nil:
			return p.op.feed(x, part)
		}
		return true, p.op.Verify(x.ctx, part, signature)
	})
}
