package cryptoki

import (
	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// MessageEncryptInit begins a process of encryptions; nil for the mechanism ends it. The mechanism's parameter is that of a
// message or nil, and does not count. PKCS#11 v3.2, C_MessageEncryptInit.
func (l *Library) MessageEncryptInit(h SessionHandle, m *pkcs11.Mechanism, key ObjectHandle) error {
	return l.messageInit("MessageEncryptInit", h, hsm.OpEncrypt, m, key, checkCipher)
}

// MessageDecryptInit begins a process of decryptions; nil for the mechanism ends it. PKCS#11 v3.2, C_MessageDecryptInit.
func (l *Library) MessageDecryptInit(h SessionHandle, m *pkcs11.Mechanism, key ObjectHandle) error {
	return l.messageInit("MessageDecryptInit", h, hsm.OpDecrypt, m, key, checkCipher)
}

// checkCipher tries a message that anybody may have.
func checkCipher(x *session, p *messages) error {
	empty := p.mechanism.Type.NewMessage()
	if empty == nil {
		return pkcs11.Errorf(pkcs11.CKR_MECHANISM_INVALID, "%v has no messages", p.mechanism.Type)
	}
	if params := p.mechanism.Params; params != nil && !p.mechanism.Type.TakesMessage(params) {
		return pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "a parameter of Go type %T", params)
	}
	op, err := p.operation(x, empty.Sample().Whole(nil, 0))
	if err != nil {
		return err
	}
	op.Close()
	return nil
}

// MessageEncryptFinal ends a process. PKCS#11 v3.2, C_MessageEncryptFinal.
func (l *Library) MessageEncryptFinal(h SessionHandle) error {
	return l.messageFinal("MessageEncryptFinal", h, hsm.OpEncrypt)
}

// MessageDecryptFinal ends a process. PKCS#11 v3.2, C_MessageDecryptFinal.
func (l *Library) MessageDecryptFinal(h SessionHandle) error {
	return l.messageFinal("MessageDecryptFinal", h, hsm.OpDecrypt)
}

// EncryptMessage encrypts a message at once. The vector, if it is generated, and the tag are in the parameter afterwards.
// PKCS#11 v3.2, C_EncryptMessage.
func (l *Library) EncryptMessage(h SessionHandle, parameter any, associated, plaintext []byte, ciphertext *pkcs11.Out) error {
	return l.newMessage("EncryptMessage", h, func(x *session, p *messages) error {
		m, tag, err := p.withTag(parameter)
		if err != nil {
			return err
		}
		if ok, err := ciphertext.Fits(len(plaintext)); !ok {
			return err
		}
		op, err := p.encryption(x, m, associated, len(plaintext))
		if err != nil {
			return err
		}
		defer op.Close()
		return seal(x, op, plaintext, tag, ciphertext, len(plaintext))
	})
}

// DecryptMessage decrypts a message at once. PKCS#11 v3.2, C_DecryptMessage.
func (l *Library) DecryptMessage(h SessionHandle, parameter any, associated, ciphertext []byte, plaintext *pkcs11.Out) error {
	return l.newMessage("DecryptMessage", h, func(x *session, p *messages) error {
		m, tag, err := p.withTag(parameter)
		if err != nil {
			return err
		}
		if ok, err := plaintext.Fits(len(ciphertext)); !ok {
			return err
		}
		op, err := p.operation(x, m.Whole(associated, len(ciphertext)))
		if err != nil {
			return err
		}
		defer op.Close()
		return unseal(x, op, ciphertext, tag, plaintext, len(ciphertext))
	})
}

// EncryptMessageBegin begins a message in parts. The vector is in the parameter afterwards. PKCS#11 v3.2,
// C_EncryptMessageBegin.
func (l *Library) EncryptMessageBegin(h SessionHandle, parameter any, associated []byte) error {
	return l.newMessage("EncryptMessageBegin", h, func(x *session, p *messages) error {
		m, err := p.parameter(parameter)
		if err != nil {
			return err
		}
		op, err := p.encryption(x, m, associated, -1)
		if err != nil {
			return err
		}
		p.inParts(op, m)
		return nil
	})
}

// DecryptMessageBegin begins a message in parts. PKCS#11 v3.2, C_DecryptMessageBegin.
func (l *Library) DecryptMessageBegin(h SessionHandle, parameter any, associated []byte) error {
	return l.newMessage("DecryptMessageBegin", h, func(x *session, p *messages) error {
		m, err := p.parameter(parameter)
		if err != nil {
			return err
		}
		op, err := p.operation(x, m.Whole(associated, -1))
		if err != nil {
			return err
		}
		p.inParts(op, m)
		return nil
	})
}

func (p *messages) inParts(op *operation, m pkcs11.MessageParams) {
	p.op, p.begun = op, true
	_, p.tag = m.TagSpace()
}

// EncryptMessageNext takes a part, or with CKF_END_OF_MESSAGE the last one; then the tag is in the parameter afterwards,
// and else the parameter does not count. Ciphertext may come late, the last of it with the last part. PKCS#11 v3.2,
// C_EncryptMessageNext.
func (l *Library) EncryptMessageNext(h SessionHandle, parameter any, part []byte, ciphertext *pkcs11.Out, flags pkcs11.Flags) error {
	return l.messageNext("EncryptMessageNext", h, parameter, part, ciphertext, flags, seal)
}

// DecryptMessageNext takes a part, or with CKF_END_OF_MESSAGE the last one and the parameter with the tag. No plaintext comes
// before the tag has been checked. PKCS#11 v3.2, C_DecryptMessageNext.
func (l *Library) DecryptMessageNext(h SessionHandle, parameter any, part []byte, plaintext *pkcs11.Out, flags pkcs11.Flags) error {
	return l.messageNext("DecryptMessageNext", h, parameter, part, plaintext, flags, unseal)
}

// finisher ends a message: its last part, its tag, and size bytes of output.
type finisher func(x *session, op *operation, part, tag []byte, out *pkcs11.Out, size int) error

func (l *Library) messageNext(function string, h SessionHandle, parameter any, part []byte, out *pkcs11.Out, flags pkcs11.Flags, finish finisher) error {
	return l.nextPart(function, h, func(x *session, p *messages) (over bool, err error) {
		switch flags {
		case 0:
			return p.op.update(x, part, out, nil)
		case pkcs11.CKF_END_OF_MESSAGE:
		default:
			return true, pkcs11.Errorf(pkcs11.CKR_ARGUMENTS_BAD, "flags %#x", uint(flags))
		}
		_, tag, err := p.withTag(parameter)
		if err != nil {
			return true, err
		}
		if len(tag) != p.tag {
			return true, pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "a tag of %d bytes, the message was begun for one of %d", len(tag), p.tag)
		}
		size := p.left(len(part))
		if ok, err := out.Fits(size); !ok {
			return false, err
		}
		return true, finish(x, p.op, part, tag, out, size)
	})
}

// left is how many bytes come out with a last part of n bytes.
func (p *messages) left(n int) int {
	if p.kind == hsm.OpDecrypt {
		size, _ := p.op.FinishLen(n + p.tag)
		return size
	}
	size, _ := p.op.FinishLen(n)
	return size - p.tag
}

// parameter checks the parameter of a message.
func (p *messages) parameter(parameter any) (pkcs11.MessageParams, error) {
	if !p.mechanism.Type.TakesMessage(parameter) {
		return nil, pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "a message of %v with a parameter of Go type %T", p.mechanism.Type, parameter)
	}
	return parameter.(pkcs11.MessageParams), nil
}

// withTag is parameter where the tag, or the place for it, must be there.
func (p *messages) withTag(parameter any) (m pkcs11.MessageParams, tag []byte, err error) {
	if m, err = p.parameter(parameter); err != nil {
		return nil, nil, err
	}
	tag, size := m.TagSpace()
	if len(tag) != size || size == 0 {
		return nil, nil, pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "%d bytes for a tag of %d", len(tag), size)
	}
	return m, tag, nil
}

// encryption makes the vector of a message and begins it.
func (p *messages) encryption(x *session, m pkcs11.MessageParams, associated []byte, n int) (*operation, error) {
	if err := p.vectors.fill(m.Vector()); err != nil {
		return nil, err
	}
	return p.operation(x, m.Whole(associated, n))
}

// seal ends an encryption and parts the ciphertext from the tag.
func seal(x *session, op *operation, part, tag []byte, out *pkcs11.Out, size int) error {
	b, err := op.Finish(x.ctx, place(out, size+len(tag)), part)
	if err != nil {
		return err
	}
	if len(b) != size+len(tag) {
		clear(b)
		return pkcs11.Errorf(pkcs11.CKR_GENERAL_ERROR, "%d bytes for a ciphertext of %d and a tag of %d", len(b), size, len(tag))
	}
	copy(tag, b[size:])
	return out.Put(b[:size])
}

// unseal ends a decryption.
func unseal(x *session, op *operation, part, tag []byte, out *pkcs11.Out, size int) error {
	sealed := append(append(make([]byte, 0, len(part)+len(tag)), part...), tag...)
	b, err := op.Finish(x.ctx, place(out, size), sealed)
	switch {
	case pkcs11.RVOf(err) == pkcs11.CKR_ENCRYPTED_DATA_INVALID:
		return pkcs11.Errorf(pkcs11.CKR_AEAD_DECRYPT_FAILED, "%w", err)
	case err != nil:
		return err
	case len(b) != size:
		clear(b)
		return pkcs11.Errorf(pkcs11.CKR_GENERAL_ERROR, "%d bytes of plaintext, %d were announced", len(b), size)
	}
	return out.Put(b)
}
