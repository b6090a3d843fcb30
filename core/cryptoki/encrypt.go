package cryptoki

import (
	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// EncryptInit begins an encryption; nil for the mechanism cancels it. If an IV is made (Slot.CloudHSMIV), it is written over
// that of the parameter, which is zeros: nothing else of m is changed. PKCS#11 v3.2, C_EncryptInit.
func (l *Library) EncryptInit(h SessionHandle, m *pkcs11.Mechanism, key ObjectHandle) error {
	return l.inSession("EncryptInit", h, func(x *session) error {
		iv, err := x.makeIV(m)
		if err != nil {
			return err
		}
		if err = x.initialise(hsm.OpEncrypt, m, key); err != nil {
			clear(iv)
		}
		return err
	})
}

// Encrypt encrypts in one part. PKCS#11 v3.2, C_Encrypt.
func (l *Library) Encrypt(h SessionHandle, data []byte, encrypted *pkcs11.Out) error {
	return l.oneShot("Encrypt", h, hsm.OpEncrypt, data, encrypted)
}

// EncryptUpdate encrypts a part. PKCS#11 v3.2, C_EncryptUpdate.
func (l *Library) EncryptUpdate(h SessionHandle, part []byte, encrypted *pkcs11.Out) error {
	return l.update("EncryptUpdate", h, hsm.OpEncrypt, part, encrypted)
}

// EncryptFinal ends an encryption. PKCS#11 v3.2, C_EncryptFinal.
func (l *Library) EncryptFinal(h SessionHandle, encrypted *pkcs11.Out) error {
	return l.final("EncryptFinal", h, hsm.OpEncrypt, encrypted)
}
