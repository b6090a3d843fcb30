package conformance

import "github.com/coffer-hsm/coffer/pkcs11"

// message notes that a message of a process has come to its end, in one part or, with CKF_MULTI_MESSAGE, in several.
func (r *recorder) message(function string, h session, flag pkcs11.Flags, o *out, err error, more pkcs11.Flags) error {
	if err == nil && (o == nil || !o.Query) {
		r.mu.Lock()
		if m, ok := r.active[running{h, flag}]; ok {
			r.pairs[pair{m, flag}] = true
			if more != 0 {
				r.pairs[pair{m, more}] = true
			}
		}
		r.mu.Unlock()
	}
	return r.saw(function, err)
}

func (x *recorded) MessageEncryptInit(h session, m *mech, key handle) error {
	return x.r.began("MessageEncryptInit", h, pkcs11.CKF_MESSAGE_ENCRYPT, m, x.Module.MessageEncryptInit(h, m, key))
}

func (x *recorded) MessageEncryptFinal(h session) error {
	return x.r.saw("MessageEncryptFinal", x.Module.MessageEncryptFinal(h))
}

func (x *recorded) MessageDecryptInit(h session, m *mech, key handle) error {
	return x.r.began("MessageDecryptInit", h, pkcs11.CKF_MESSAGE_DECRYPT, m, x.Module.MessageDecryptInit(h, m, key))
}

func (x *recorded) MessageDecryptFinal(h session) error {
	return x.r.saw("MessageDecryptFinal", x.Module.MessageDecryptFinal(h))
}

func (x *recorded) MessageSignInit(h session, m *mech, key handle) error {
	return x.r.began("MessageSignInit", h, pkcs11.CKF_MESSAGE_SIGN, m, x.Module.MessageSignInit(h, m, key))
}

func (x *recorded) MessageSignFinal(h session) error {
	return x.r.saw("MessageSignFinal", x.Module.MessageSignFinal(h))
}

func (x *recorded) MessageVerifyInit(h session, m *mech, key handle) error {
	return x.r.began("MessageVerifyInit", h, pkcs11.CKF_MESSAGE_VERIFY, m, x.Module.MessageVerifyInit(h, m, key))
}

func (x *recorded) MessageVerifyFinal(h session) error {
	return x.r.saw("MessageVerifyFinal", x.Module.MessageVerifyFinal(h))
}

func (x *recorded) EncryptMessage(h session, parameter any, associated, in []byte, o *out) error {
	return x.r.message("EncryptMessage", h, pkcs11.CKF_MESSAGE_ENCRYPT, o, x.Module.EncryptMessage(h, parameter, associated, in, o), 0)
}

func (x *recorded) EncryptMessageBegin(h session, parameter any, associated []byte) error {
	return x.r.saw("EncryptMessageBegin", x.Module.EncryptMessageBegin(h, parameter, associated))
}

func (x *recorded) EncryptMessageNext(h session, parameter any, part []byte, o *out, flags pkcs11.Flags) error {
	err := x.Module.EncryptMessageNext(h, parameter, part, o, flags)
	if flags == 0 {
		return x.r.saw("EncryptMessageNext", err)
	}
	return x.r.message("EncryptMessageNext", h, pkcs11.CKF_MESSAGE_ENCRYPT, o, err, pkcs11.CKF_MULTI_MESSAGE)
}

func (x *recorded) DecryptMessage(h session, parameter any, associated, in []byte, o *out) error {
	return x.r.message("DecryptMessage", h, pkcs11.CKF_MESSAGE_DECRYPT, o, x.Module.DecryptMessage(h, parameter, associated, in, o), 0)
}

func (x *recorded) DecryptMessageBegin(h session, parameter any, associated []byte) error {
	return x.r.saw("DecryptMessageBegin", x.Module.DecryptMessageBegin(h, parameter, associated))
}

func (x *recorded) DecryptMessageNext(h session, parameter any, part []byte, o *out, flags pkcs11.Flags) error {
	err := x.Module.DecryptMessageNext(h, parameter, part, o, flags)
	if flags == 0 {
		return x.r.saw("DecryptMessageNext", err)
	}
	return x.r.message("DecryptMessageNext", h, pkcs11.CKF_MESSAGE_DECRYPT, o, err, pkcs11.CKF_MULTI_MESSAGE)
}

func (x *recorded) SignMessage(h session, parameter any, data []byte, o *out) error {
	return x.r.message("SignMessage", h, pkcs11.CKF_MESSAGE_SIGN, o, x.Module.SignMessage(h, parameter, data, o), 0)
}

func (x *recorded) SignMessageBegin(h session, parameter any) error {
	return x.r.saw("SignMessageBegin", x.Module.SignMessageBegin(h, parameter))
}

func (x *recorded) SignMessageNext(h session, parameter any, part []byte, o *out) error {
	err := x.Module.SignMessageNext(h, parameter, part, o)
	if o == nil {
		return x.r.saw("SignMessageNext", err)
	}
	return x.r.message("SignMessageNext", h, pkcs11.CKF_MESSAGE_SIGN, o, err, pkcs11.CKF_MULTI_MESSAGE)
}

func (x *recorded) VerifyMessage(h session, parameter any, data, signature []byte) error {
	return x.r.message("VerifyMessage", h, pkcs11.CKF_MESSAGE_VERIFY, nil, x.Module.VerifyMessage(h, parameter, data, signature), 0)
}

func (x *recorded) VerifyMessageBegin(h session, parameter any) error {
	return x.r.saw("VerifyMessageBegin", x.Module.VerifyMessageBegin(h, parameter))
}

func (x *recorded) VerifyMessageNext(h session, parameter any, part, signature []byte) error {
	err := x.Module.VerifyMessageNext(h, parameter, part, signature)
	if signature == nil {
		return x.r.saw("VerifyMessageNext", err)
	}
	return x.r.message("VerifyMessageNext", h, pkcs11.CKF_MESSAGE_VERIFY, nil, err, pkcs11.CKF_MULTI_MESSAGE)
}
