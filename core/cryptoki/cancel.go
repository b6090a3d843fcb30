package cryptoki

import (
	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// cancelFlags says which flag of CK_MECHANISM_INFO names which operation.
var cancelFlags = [numOperations]pkcs11.Flags{
	hsm.OpEncrypt:       pkcs11.CKF_ENCRYPT,
	hsm.OpDecrypt:       pkcs11.CKF_DECRYPT,
	hsm.OpDigest:        pkcs11.CKF_DIGEST,
	hsm.OpSign:          pkcs11.CKF_SIGN,
	hsm.OpVerify:        pkcs11.CKF_VERIFY,
	hsm.OpSignRecover:   pkcs11.CKF_SIGN_RECOVER,
	hsm.OpVerifyRecover: pkcs11.CKF_VERIFY_RECOVER,
	opVerifySignature:   pkcs11.CKF_VERIFY,
}

// messageFlags does the same for the message-based processes.
var messageFlags = [hsm.NumOpKinds]pkcs11.Flags{
	hsm.OpEncrypt: pkcs11.CKF_MESSAGE_ENCRYPT,
	hsm.OpDecrypt: pkcs11.CKF_MESSAGE_DECRYPT,
	hsm.OpSign:    pkcs11.CKF_MESSAGE_SIGN,
	hsm.OpVerify:  pkcs11.CKF_MESSAGE_VERIFY,
}

// makerFlags does it for the calls that make keys, which run beside an asynchronous session.
var makerFlags = map[string]pkcs11.Flags{
	"GenerateKey":     pkcs11.CKF_GENERATE,
	"GenerateKeyPair": pkcs11.CKF_GENERATE_KEY_PAIR,
	"UnwrapKey":       pkcs11.CKF_UNWRAP,
	"DeriveKey":       pkcs11.CKF_DERIVE,
}

// namedBy reports whether flags name the call.
func (p *pending) namedBy(flags pkcs11.Flags) bool {
	if p.op != nil {
		return flags&cancelFlags[p.kind] != 0
	}
	return flags&makerFlags[p.function] != 0
}

// SessionCancel ends the operations that flags name, and the pending calls, with those that have an id: which this session has
// joined, or was the last to ask for. What is not running does not matter. PKCS#11 v3.2, C_SessionCancel.
func (l *Library) SessionCancel(h SessionHandle, flags pkcs11.Flags) error {
	return l.inSession("SessionCancel", h, func(x *session) error {
		for kind, flag := range cancelFlags {
			if flags&flag != 0 {
				x.cancel(hsm.OpKind(kind))
			}
		}
		for kind, flag := range messageFlags {
			if flags&flag != 0 {
				x.endProcess(hsm.OpKind(kind))
			}
		}
		if flags&pkcs11.CKF_FIND_OBJECTS != 0 {
			x.search = nil
		}
		x.cancelPending(flags)
		return nil
	})
}

// cancelPending ends the pending calls that flags name, but for those that have ended with their operations.
func (x *session) cancelPending(flags pkcs11.Flags) {
	gone := x.slot.library.kept.cancelled(x, flags)
	for function, p := range x.pending {
		if p.namedBy(flags) {
			delete(x.pending, function)
			gone = append(gone, p)
		}
	}
	for _, p := range gone {
		p.abandon() // a call that was joined comes twice, which does no harm
	}
}
