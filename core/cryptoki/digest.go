package cryptoki

import (
	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// DigestInit begins a digest; nil for the mechanism cancels it. PKCS#11 v3.2, C_DigestInit.
func (l *Library) DigestInit(h SessionHandle, m *pkcs11.Mechanism) error {
	return l.inSession("DigestInit", h, func(x *session) error {
		if m == nil {
			x.cancel(hsm.OpDigest)
			return nil
		}
		if x.running(hsm.OpDigest) != nil {
			return pkcs11.CKR_OPERATION_ACTIVE
		}
		op := x.fresh(hsm.OpDigest)
		o, err := x.beginFar(op, hsm.OpDigest, *m, nil)
		if err != nil {
			return err
		}
		x.startAs(op, hsm.OpDigest, o, *m, nil)
		return nil
	})
}

// Digest digests in one part. PKCS#11 v3.2, C_Digest.
func (l *Library) Digest(h SessionHandle, data []byte, digest *pkcs11.Out) error {
	return l.oneShot("Digest", h, hsm.OpDigest, data, digest)
}

// DigestUpdate digests a part. PKCS#11 v3.2, C_DigestUpdate.
func (l *Library) DigestUpdate(h SessionHandle, part []byte) error {
	return l.feed("DigestUpdate", h, hsm.OpDigest, part)
}

// DigestKey digests the value of a secret key. PKCS#11 v3.2, C_DigestKey.
func (l *Library) DigestKey(h SessionHandle, key ObjectHandle) error {
	return l.inSession("DigestKey", h, func(x *session) error {
		return x.use(hsm.OpDigest, func(op *operation) (bool, error) {
			if op.result != nil {
				return true, errResultWaits
			}
			k, err := x.object(key, pkcs11.CKR_KEY_HANDLE_INVALID)
			if err != nil {
				return true, err
			}
			op.parts = true
			err = op.DigestKey(x.ctx, x.cred(), k.far())
			return err != nil, x.missing(k, err, pkcs11.CKR_KEY_HANDLE_INVALID)
		})
	})
}

// DigestFinal ends a digest. PKCS#11 v3.2, C_DigestFinal.
func (l *Library) DigestFinal(h SessionHandle, digest *pkcs11.Out) error {
	return l.final("DigestFinal", h, hsm.OpDigest, digest)
}
