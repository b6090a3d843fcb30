package cryptoki

import (
	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// DigestEncryptUpdate digests and encrypts a part. PKCS#11 v3.2, C_DigestEncryptUpdate.
func (l *Library) DigestEncryptUpdate(h SessionHandle, part []byte, encrypted *pkcs11.Out) error {
	return l.dual("DigestEncryptUpdate", h, hsm.OpEncrypt, hsm.OpDigest, part, encrypted)
}

// DecryptDigestUpdate decrypts a part and digests the plaintext. PKCS#11 v3.2, C_DecryptDigestUpdate.
func (l *Library) DecryptDigestUpdate(h SessionHandle, part []byte, data *pkcs11.Out) error {
	return l.dual("DecryptDigestUpdate", h, hsm.OpDecrypt, hsm.OpDigest, part, data)
}

// SignEncryptUpdate signs and encrypts a part. PKCS#11 v3.2, C_SignEncryptUpdate.
func (l *Library) SignEncryptUpdate(h SessionHandle, part []byte, encrypted *pkcs11.Out) error {
	return l.dual("SignEncryptUpdate", h, hsm.OpEncrypt, hsm.OpSign, part, encrypted)
}

// DecryptVerifyUpdate decrypts a part and verifies the plaintext. PKCS#11 v3.2, C_DecryptVerifyUpdate.
func (l *Library) DecryptVerifyUpdate(h SessionHandle, part []byte, data *pkcs11.Out) error {
	return l.dual("DecryptVerifyUpdate", h, hsm.OpDecrypt, hsm.OpVerify, part, data)
}

// dual runs an update of two operations over the same plaintext. Without output (an error, a size query, a short buffer)
// the second one sees nothing. An error ends both, but for one that has not touched either.
func (l *Library) dual(function string, h SessionHandle, cipher, second hsm.OpKind, part []byte, out *pkcs11.Out) error {
	return l.inSession(function, h, func(x *session) error {
		if x.running(cipher) == nil || x.running(second) == nil {
			return pkcs11.CKR_OPERATION_NOT_INITIALIZED
		}
		if x.operations[second].pending != nil {
			return pkcs11.Errorf(pkcs11.CKR_OPERATION_ACTIVE, "the end of an operation is pending")
		}
		err := x.use(cipher, func(op *operation) (bool, error) {
			return op.update(x, part, out, func(output []byte) error {
				plain := part
				if cipher == hsm.OpDecrypt {
					plain = output
				}
				return x.use(second, func(op *operation) (bool, error) { return op.feed(x, plain) })
			})
		})
		if err != nil && x.operations[cipher] == nil { // one that waits for its PIN is ended too
			x.cancel(second)
		}
		return err
	})
}
