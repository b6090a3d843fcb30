package cryptoki

import (
	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// SignInit begins a signature or MAC; nil for the mechanism cancels it. PKCS#11 v3.2, C_SignInit.
func (l *Library) SignInit(h SessionHandle, m *pkcs11.Mechanism, key ObjectHandle) error {
	return l.begin("SignInit", h, hsm.OpSign, m, key)
}

// Sign signs in one part. PKCS#11 v3.2, C_Sign.
func (l *Library) Sign(h SessionHandle, data []byte, signature *pkcs11.Out) error {
	return l.oneShot("Sign", h, hsm.OpSign, data, signature)
}

// SignUpdate takes a part of what is to be signed. PKCS#11 v3.2, C_SignUpdate.
func (l *Library) SignUpdate(h SessionHandle, part []byte) error {
	return l.feed("SignUpdate", h, hsm.OpSign, part)
}

// SignFinal returns the signature. PKCS#11 v3.2, C_SignFinal.
func (l *Library) SignFinal(h SessionHandle, signature *pkcs11.Out) error {
	return l.final("SignFinal", h, hsm.OpSign, signature)
}

// SignRecoverInit begins a signature that holds its data; nil for the mechanism cancels it. PKCS#11 v3.2,
// C_SignRecoverInit.
func (l *Library) SignRecoverInit(h SessionHandle, m *pkcs11.Mechanism, key ObjectHandle) error {
	return l.begin("SignRecoverInit", h, hsm.OpSignRecover, m, key)
}

// SignRecover signs; there is no multi-part form. PKCS#11 v3.2, C_SignRecover.
func (l *Library) SignRecover(h SessionHandle, data []byte, signature *pkcs11.Out) error {
	return l.oneShot("SignRecover", h, hsm.OpSignRecover, data, signature)
}
