package mech

import "github.com/coffer-hsm/coffer/pkcs11"

// messageFlags says what the message functions may do with the mechanism. A message is an operation of its own, so a row that
// signs can sign messages; one that encrypts can encrypt them if the standard gives each message a parameter
// (pkcs11.MessageParams).
func (m *Mechanism) messageFlags() (flags pkcs11.Flags) {
	ciphers := m.Type.NewMessage() != nil
	for _, c := range []struct {
		has  bool
		flag pkcs11.Flags
	}{
		{ciphers && m.Encrypt != nil, pkcs11.CKF_MESSAGE_ENCRYPT},
		{ciphers && m.Decrypt != nil, pkcs11.CKF_MESSAGE_DECRYPT},
		{m.Sign != nil, pkcs11.CKF_MESSAGE_SIGN},
		{m.Verify != nil, pkcs11.CKF_MESSAGE_VERIFY},
	} {
		if c.has {
			flags |= c.flag
		}
	}
	if flags != 0 && !m.OnePart {
		flags |= pkcs11.CKF_MULTI_MESSAGE
	}
	return flags
}
