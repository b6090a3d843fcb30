package cryptoki

import (
	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// DecryptInit begins a decryption; nil for the mechanism cancels it. PKCS#11 v3.2, C_DecryptInit.
func (l *Library) DecryptInit(h SessionHandle, m *pkcs11.Mechanism, key ObjectHandle) error {
	return l.begin("DecryptInit", h, hsm.OpDecrypt, m, key)
}

// Decrypt decrypts in one part. PKCS#11 v3.2, C_Decrypt.
func (l *Library) Decrypt(h SessionHandle, encrypted []byte, data *pkcs11.Out) error {
	return l.oneShot("Decrypt", h, hsm.OpDecrypt, encrypted, data)
}

// DecryptUpdate decrypts a part. PKCS#11 v3.2, C_DecryptUpdate.
func (l *Library) DecryptUpdate(h SessionHandle, part []byte, data *pkcs11.Out) error {
	return l.update("DecryptUpdate", h, hsm.OpDecrypt, part, data)
}

// DecryptFinal ends a decryption. PKCS#11 v3.2, C_DecryptFinal.
func (l *Library) DecryptFinal(h SessionHandle, data *pkcs11.Out) error {
	return l.final("DecryptFinal", h, hsm.OpDecrypt, data)
}
