package cryptoki

import "github.com/coffer-hsm/coffer/pkcs11"

// The message functions (PKCS#11 v3.2, sections 5.9, 5.11, 5.14, 5.16) are not supported yet. parameter is the message's
// parameter struct, decoded; a token writes into it what the caller is to get back. A nil Out or signature says that
// more parts come.

// MessageEncryptInit is not supported.
func (l *Library) MessageEncryptInit(h SessionHandle, m *pkcs11.Mechanism, key ObjectHandle) error {
	return l.unsupported("MessageEncryptInit", h)
}

// EncryptMessage is not supported.
func (l *Library) EncryptMessage(h SessionHandle, parameter any, associated, plaintext []byte, ciphertext *pkcs11.Out) error {
	return l.unsupported("EncryptMessage", h)
}

// EncryptMessageBegin is not supported.
func (l *Library) EncryptMessageBegin(h SessionHandle, parameter any, associated []byte) error {
	return l.unsupported("EncryptMessageBegin", h)
}

// EncryptMessageNext is not supported.
func (l *Library) EncryptMessageNext(h SessionHandle, parameter any, part []byte, ciphertext *pkcs11.Out, flags pkcs11.Flags) error {
	return l.unsupported("EncryptMessageNext", h)
}

// MessageEncryptFinal is not supported.
func (l *Library) MessageEncryptFinal(h SessionHandle) error {
	return l.unsupported("MessageEncryptFinal", h)
}

// MessageDecryptInit is not supported.
func (l *Library) MessageDecryptInit(h SessionHandle, m *pkcs11.Mechanism, key ObjectHandle) error {
	return l.unsupported("MessageDecryptInit", h)
}

// DecryptMessage is not supported.
func (l *Library) DecryptMessage(h SessionHandle, parameter any, associated, ciphertext []byte, plaintext *pkcs11.Out) error {
	return l.unsupported("DecryptMessage", h)
}

// DecryptMessageBegin is not supported.
func (l *Library) DecryptMessageBegin(h SessionHandle, parameter any, associated []byte) error {
	return l.unsupported("DecryptMessageBegin", h)
}

// DecryptMessageNext is not supported.
func (l *Library) DecryptMessageNext(h SessionHandle, parameter any, part []byte, plaintext *pkcs11.Out, flags pkcs11.Flags) error {
	return l.unsupported("DecryptMessageNext", h)
}

// MessageDecryptFinal is not supported.
func (l *Library) MessageDecryptFinal(h SessionHandle) error {
	return l.unsupported("MessageDecryptFinal", h)
}

// MessageSignInit is not supported.
func (l *Library) MessageSignInit(h SessionHandle, m *pkcs11.Mechanism, key ObjectHandle) error {
	return l.unsupported("MessageSignInit", h)
}

// SignMessage is not supported.
func (l *Library) SignMessage(h SessionHandle, parameter any, data []byte, signature *pkcs11.Out) error {
	return l.unsupported("SignMessage", h)
}

// SignMessageBegin is not supported.
func (l *Library) SignMessageBegin(h SessionHandle, parameter any) error {
	return l.unsupported("SignMessageBegin", h)
}

// SignMessageNext is not supported.
func (l *Library) SignMessageNext(h SessionHandle, parameter any, part []byte, signature *pkcs11.Out) error {
	return l.unsupported("SignMessageNext", h)
}

// MessageSignFinal is not supported.
func (l *Library) MessageSignFinal(h SessionHandle) error {
	return l.unsupported("MessageSignFinal", h)
}

// MessageVerifyInit is not supported.
func (l *Library) MessageVerifyInit(h SessionHandle, m *pkcs11.Mechanism, key ObjectHandle) error {
	return l.unsupported("MessageVerifyInit", h)
}

// VerifyMessage is not supported.
func (l *Library) VerifyMessage(h SessionHandle, parameter any, data, signature []byte) error {
	return l.unsupported("VerifyMessage", h)
}

// VerifyMessageBegin is not supported.
func (l *Library) VerifyMessageBegin(h SessionHandle, parameter any) error {
	return l.unsupported("VerifyMessageBegin", h)
}

// VerifyMessageNext is not supported.
func (l *Library) VerifyMessageNext(h SessionHandle, parameter any, part, signature []byte) error {
	return l.unsupported("VerifyMessageNext", h)
}

// MessageVerifyFinal is not supported.
func (l *Library) MessageVerifyFinal(h SessionHandle) error {
	return l.unsupported("MessageVerifyFinal", h)
}
