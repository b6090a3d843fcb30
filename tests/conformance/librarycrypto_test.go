package conformance

import "github.com/miekg/pkcs11"

func (m *cModule) EncryptInit(h session, x *mech, key handle) error {
	list, free := cMechanism(x)
	defer free()
	return cError(m.ctx.EncryptInit(sh(h), list, oh(key)))
}

func (m *cModule) Encrypt(h session, data []byte, o *out) error {
	b, err := m.ctx.Encrypt(sh(h), data)
	return put(o, b, err)
}

func (m *cModule) EncryptUpdate(h session, part []byte, o *out) error {
	b, err := m.ctx.EncryptUpdate(sh(h), part)
	return put(o, b, err)
}

func (m *cModule) EncryptFinal(h session, o *out) error {
	b, err := m.ctx.EncryptFinal(sh(h))
	return put(o, b, err)
}

func (m *cModule) DecryptInit(h session, x *mech, key handle) error {
	list, free := cMechanism(x)
	defer free()
	return cError(m.ctx.DecryptInit(sh(h), list, oh(key)))
}

func (m *cModule) Decrypt(h session, data []byte, o *out) error {
	b, err := m.ctx.Decrypt(sh(h), data)
	return put(o, b, err)
}

func (m *cModule) DecryptUpdate(h session, part []byte, o *out) error {
	b, err := m.ctx.DecryptUpdate(sh(h), part)
	return put(o, b, err)
}

func (m *cModule) DecryptFinal(h session, o *out) error {
	b, err := m.ctx.DecryptFinal(sh(h))
	return put(o, b, err)
}

func (m *cModule) DigestInit(h session, x *mech) error {
	list, free := cMechanism(x)
	defer free()
	return cError(m.ctx.DigestInit(sh(h), list))
}

func (m *cModule) Digest(h session, data []byte, o *out) error {
	b, err := m.ctx.Digest(sh(h), data)
	return put(o, b, err)
}

func (m *cModule) DigestUpdate(h session, part []byte) error {
	return cError(m.ctx.DigestUpdate(sh(h), part))
}

func (m *cModule) DigestKey(h session, key handle) error {
	return cError(m.ctx.DigestKey(sh(h), oh(key)))
}

func (m *cModule) DigestFinal(h session, o *out) error {
	b, err := m.ctx.DigestFinal(sh(h))
	return put(o, b, err)
}

func (m *cModule) DigestEncryptUpdate(h session, part []byte, o *out) error {
	b, err := m.ctx.DigestEncryptUpdate(sh(h), part)
	return put(o, b, err)
}

func (m *cModule) DecryptDigestUpdate(h session, part []byte, o *out) error {
	b, err := m.ctx.DecryptDigestUpdate(sh(h), part)
	return put(o, b, err)
}

func (m *cModule) SignEncryptUpdate(h session, part []byte, o *out) error {
	b, err := m.ctx.SignEncryptUpdate(sh(h), part)
	return put(o, b, err)
}

func (m *cModule) DecryptVerifyUpdate(h session, part []byte, o *out) error {
	b, err := m.ctx.DecryptVerifyUpdate(sh(h), part)
	return put(o, b, err)
}

func (m *cModule) SignInit(h session, x *mech, key handle) error {
	list, free := cMechanism(x)
	defer free()
	return cError(m.ctx.SignInit(sh(h), list, oh(key)))
}

func (m *cModule) Sign(h session, data []byte, o *out) error {
	b, err := m.ctx.Sign(sh(h), data)
	return put(o, b, err)
}

func (m *cModule) SignUpdate(h session, part []byte) error {
	return cError(m.ctx.SignUpdate(sh(h), part))
}

func (m *cModule) SignFinal(h session, o *out) error {
	b, err := m.ctx.SignFinal(sh(h))
	return put(o, b, err)
}

func (m *cModule) SignRecoverInit(h session, x *mech, key handle) error {
	list, free := cMechanism(x)
	defer free()
	return cError(m.ctx.SignRecoverInit(sh(h), list, oh(key)))
}

func (m *cModule) SignRecover(h session, data []byte, o *out) error {
	b, err := m.ctx.SignRecover(sh(h), data)
	return put(o, b, err)
}

func (m *cModule) VerifyInit(h session, x *mech, key handle) error {
	list, free := cMechanism(x)
	defer free()
	return cError(m.ctx.VerifyInit(sh(h), list, oh(key)))
}

func (m *cModule) Verify(h session, data, signature []byte) error {
	return cError(m.ctx.Verify(sh(h), data, signature))
}

func (m *cModule) VerifyUpdate(h session, part []byte) error {
	return cError(m.ctx.VerifyUpdate(sh(h), part))
}

func (m *cModule) VerifyFinal(h session, signature []byte) error {
	return cError(m.ctx.VerifyFinal(sh(h), signature))
}

func (m *cModule) VerifyRecoverInit(h session, x *mech, key handle) error {
	list, free := cMechanism(x)
	defer free()
	return cError(m.ctx.VerifyRecoverInit(sh(h), list, oh(key)))
}

func (m *cModule) VerifyRecover(h session, signature []byte, o *out) error {
	b, err := m.ctx.VerifyRecover(sh(h), signature)
	return put(o, b, err)
}

func (m *cModule) GenerateKey(h session, x *mech, t T) (handle, error) {
	list, free := cMechanism(x)
	defer free()
	template, freeTemplate := cTemplate(t)
	defer freeTemplate()
	o, err := m.ctx.GenerateKey(sh(h), list, template)
	return handle(o), cError(err)
}

func (m *cModule) GenerateKeyPair(h session, x *mech, public, private T) (pub, priv handle, err error) {
	list, free := cMechanism(x)
	defer free()
	public0, freePublic := cTemplate(public)
	defer freePublic()
	private0, freePrivate := cTemplate(private)
	defer freePrivate()
	a, b, err := m.ctx.GenerateKeyPair(sh(h), list, public0, private0)
	return handle(a), handle(b), cError(err)
}

func (m *cModule) WrapKey(h session, x *mech, wrapping, key handle, o *out) error {
	list, free := cMechanism(x)
	defer free()
	b, err := m.ctx.WrapKey(sh(h), list, oh(wrapping), oh(key))
	return put(o, b, err)
}

// UnwrapKey cannot pass an empty key on: the client does not survive it.
func (m *cModule) UnwrapKey(h session, x *mech, unwrapping handle, wrapped []byte, t T) (handle, error) {
	list, free := cMechanism(x)
	defer free()
	template, freeTemplate := cTemplate(t)
	defer freeTemplate()
	if len(wrapped) == 0 {
		return 0, pkcs11.Error(pkcs11.CKR_WRAPPED_KEY_LEN_RANGE)
	}
	o, err := m.ctx.UnwrapKey(sh(h), list, oh(unwrapping), wrapped, template)
	return handle(o), cError(err)
}

func (m *cModule) DeriveKey(h session, x *mech, base handle, t T) (handle, error) {
	list, free := cMechanism(x)
	defer free()
	template, freeTemplate := cTemplate(t)
	defer freeTemplate()
	o, err := m.ctx.DeriveKey(sh(h), list, oh(base), template)
	return handle(o), cError(err)
}
