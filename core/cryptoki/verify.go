package cryptoki

import (
	"bytes"

	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// VerifyInit begins a verification; nil for the mechanism cancels it. PKCS#11 v3.2, C_VerifyInit.
func (l *Library) VerifyInit(h SessionHandle, m *pkcs11.Mechanism, key ObjectHandle) error {
	return l.begin("VerifyInit", h, hsm.OpVerify, m, key)
}

// Verify verifies in one part. PKCS#11 v3.2, C_Verify.
func (l *Library) Verify(h SessionHandle, data, signature []byte) error {
	return l.verify("Verify", h, hsm.OpVerify, data, false, func(*operation) []byte { return signature })
}

// VerifyUpdate takes a part of what was signed. PKCS#11 v3.2, C_VerifyUpdate.
func (l *Library) VerifyUpdate(h SessionHandle, part []byte) error {
	return l.feed("VerifyUpdate", h, hsm.OpVerify, part)
}

// VerifyFinal verifies the signature of the parts. PKCS#11 v3.2, C_VerifyFinal.
func (l *Library) VerifyFinal(h SessionHandle, signature []byte) error {
	return l.verify("VerifyFinal", h, hsm.OpVerify, nil, true, func(*operation) []byte { return signature })
}

// verify ends a verification, whatever comes of it.
func (l *Library) verify(function string, h SessionHandle, kind hsm.OpKind, data []byte, final bool, signature func(*operation) []byte) error {
	return l.inSession(function, h, func(x *session) error {
		return x.use(kind, func(op *operation) (bool, error) {
			if op.parts && !final {
				return true, pkcs11.Errorf(pkcs11.CKR_OPERATION_ACTIVE, "a multi-part verification is running")
			}
			if x.async {
				return x.verifyAside(function, kind, op, data, signature(op))
			}
			return true, op.Verify(x.ctx, data, signature(op))
		})
	})
}

// VerifyRecoverInit begins a verification that yields the data; nil for the mechanism cancels it. PKCS#11 v3.2,
// C_VerifyRecoverInit.
func (l *Library) VerifyRecoverInit(h SessionHandle, m *pkcs11.Mechanism, key ObjectHandle) error {
	return l.begin("VerifyRecoverInit", h, hsm.OpVerifyRecover, m, key)
}

// VerifyRecover verifies; there is no multi-part form. PKCS#11 v3.2, C_VerifyRecover.
func (l *Library) VerifyRecover(h SessionHandle, signature []byte, data *pkcs11.Out) error {
	return l.oneShot("VerifyRecover", h, hsm.OpVerifyRecover, signature, data)
}

// VerifySignatureInit begins a verification whose signature is known beforehand; nil for the mechanism cancels it.
// PKCS#11 v3.2, C_VerifySignatureInit.
func (l *Library) VerifySignatureInit(h SessionHandle, m *pkcs11.Mechanism, key ObjectHandle, signature []byte) error {
	return l.inSession("VerifySignatureInit", h, func(x *session) error {
		if m == nil {
			x.cancel(opVerifySignature)
			return nil
		}
		op, err := x.begin(opVerifySignature, hsm.OpVerify, *m, key)
		if err != nil {
			return err
		}
		op.signature = bytes.Clone(signature)
		return nil
	})
}

// VerifySignature verifies in one part. PKCS#11 v3.2, C_VerifySignature.
func (l *Library) VerifySignature(h SessionHandle, data []byte) error {
	return l.verify("VerifySignature", h, opVerifySignature, data, false, (*operation).known)
}

// VerifySignatureUpdate takes a part of what was signed. PKCS#11 v3.2, C_VerifySignatureUpdate.
func (l *Library) VerifySignatureUpdate(h SessionHandle, part []byte) error {
	return l.feed("VerifySignatureUpdate", h, opVerifySignature, part)
}

// VerifySignatureFinal verifies the signature of the parts. PKCS#11 v3.2, C_VerifySignatureFinal.
func (l *Library) VerifySignatureFinal(h SessionHandle) error {
	return l.verify("VerifySignatureFinal", h, opVerifySignature, nil, true, (*operation).known)
}

func (op *operation) known() []byte { return op.signature }
