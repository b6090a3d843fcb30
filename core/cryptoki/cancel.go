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

// SessionCancel ends the operations that flags name; those that are not running do not matter. PKCS#11 v3.2,
// C_SessionCancel.
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
		return nil
	})
}
