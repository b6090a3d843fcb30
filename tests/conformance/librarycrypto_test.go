package conformance

func (m *cModule) EncryptInit(h session, x *mech, key handle) error {
	return m.in(h, "C_EncryptInit").mechanism(x).word(uint(key)).do()
}

func (m *cModule) Encrypt(h session, data []byte, o *out) error {
	return m.in(h, "C_Encrypt").data(data).output(o).do()
}

func (m *cModule) EncryptUpdate(h session, part []byte, o *out) error {
	return m.in(h, "C_EncryptUpdate").data(part).output(o).do()
}

func (m *cModule) EncryptFinal(h session, o *out) error {
	return m.in(h, "C_EncryptFinal").output(o).do()
}

func (m *cModule) DecryptInit(h session, x *mech, key handle) error {
	return m.in(h, "C_DecryptInit").mechanism(x).word(uint(key)).do()
}

func (m *cModule) Decrypt(h session, data []byte, o *out) error {
	return m.in(h, "C_Decrypt").data(data).output(o).do()
}

func (m *cModule) DecryptUpdate(h session, part []byte, o *out) error {
	return m.in(h, "C_DecryptUpdate").data(part).output(o).do()
}

func (m *cModule) DecryptFinal(h session, o *out) error {
	return m.in(h, "C_DecryptFinal").output(o).do()
}

func (m *cModule) DigestInit(h session, x *mech) error {
	return m.in(h, "C_DigestInit").mechanism(x).do()
}

func (m *cModule) Digest(h session, data []byte, o *out) error {
	return m.in(h, "C_Digest").data(data).output(o).do()
}

func (m *cModule) DigestUpdate(h session, part []byte) error {
	return m.in(h, "C_DigestUpdate").data(part).do()
}

func (m *cModule) DigestKey(h session, key handle) error {
	return m.in(h, "C_DigestKey").word(uint(key)).do()
}

func (m *cModule) DigestFinal(h session, o *out) error {
	return m.in(h, "C_DigestFinal").output(o).do()
}

func (m *cModule) DigestEncryptUpdate(h session, part []byte, o *out) error {
	return m.in(h, "C_DigestEncryptUpdate").data(part).output(o).do()
}

func (m *cModule) DecryptDigestUpdate(h session, part []byte, o *out) error {
	return m.in(h, "C_DecryptDigestUpdate").data(part).output(o).do()
}

func (m *cModule) SignEncryptUpdate(h session, part []byte, o *out) error {
	return m.in(h, "C_SignEncryptUpdate").data(part).output(o).do()
}

func (m *cModule) DecryptVerifyUpdate(h session, part []byte, o *out) error {
	return m.in(h, "C_DecryptVerifyUpdate").data(part).output(o).do()
}

func (m *cModule) SignInit(h session, x *mech, key handle) error {
	return m.in(h, "C_SignInit").mechanism(x).word(uint(key)).do()
}

func (m *cModule) Sign(h session, data []byte, o *out) error {
	return m.in(h, "C_Sign").data(data).output(o).do()
}

func (m *cModule) SignUpdate(h session, part []byte) error {
	return m.in(h, "C_SignUpdate").data(part).do()
}

func (m *cModule) SignFinal(h session, o *out) error { return m.in(h, "C_SignFinal").output(o).do() }

func (m *cModule) SignRecoverInit(h session, x *mech, key handle) error {
	return m.in(h, "C_SignRecoverInit").mechanism(x).word(uint(key)).do()
}

func (m *cModule) SignRecover(h session, data []byte, o *out) error {
	return m.in(h, "C_SignRecover").data(data).output(o).do()
}

func (m *cModule) VerifyInit(h session, x *mech, key handle) error {
	return m.in(h, "C_VerifyInit").mechanism(x).word(uint(key)).do()
}

func (m *cModule) Verify(h session, data, signature []byte) error {
	return m.in(h, "C_Verify").data(data).data(signature).do()
}

func (m *cModule) VerifyUpdate(h session, part []byte) error {
	return m.in(h, "C_VerifyUpdate").data(part).do()
}

func (m *cModule) VerifyFinal(h session, signature []byte) error {
	return m.in(h, "C_VerifyFinal").data(signature).do()
}

func (m *cModule) VerifyRecoverInit(h session, x *mech, key handle) error {
	return m.in(h, "C_VerifyRecoverInit").mechanism(x).word(uint(key)).do()
}

func (m *cModule) VerifyRecover(h session, signature []byte, o *out) error {
	return m.in(h, "C_VerifyRecover").data(signature).output(o).do()
}

func (m *cModule) VerifySignatureInit(h session, x *mech, key handle, signature []byte) error {
	return m.in(h, "C_VerifySignatureInit").mechanism(x).word(uint(key)).data(signature).do()
}

func (m *cModule) VerifySignature(h session, data []byte) error {
	return m.in(h, "C_VerifySignature").data(data).do()
}

func (m *cModule) VerifySignatureUpdate(h session, part []byte) error {
	return m.in(h, "C_VerifySignatureUpdate").data(part).do()
}

func (m *cModule) VerifySignatureFinal(h session) error {
	return m.in(h, "C_VerifySignatureFinal").do()
}

func (m *cModule) GenerateKey(h session, x *mech, t T) (made handle, err error) {
	err = m.in(h, "C_GenerateKey").mechanism(x).template(t).handle(&made).do()
	return made, err
}

func (m *cModule) GenerateKeyPair(h session, x *mech, public, private T) (pub, priv handle, err error) {
	err = m.in(h, "C_GenerateKeyPair").mechanism(x).template(public).template(private).handle(&pub).handle(&priv).do()
	return pub, priv, err
}

func (m *cModule) WrapKey(h session, x *mech, wrapping, key handle, o *out) error {
	return m.in(h, "C_WrapKey").mechanism(x).word(uint(wrapping)).word(uint(key)).output(o).do()
}

func (m *cModule) UnwrapKey(h session, x *mech, unwrapping handle, wrapped []byte, t T) (made handle, err error) {
	err = m.in(h, "C_UnwrapKey").mechanism(x).word(uint(unwrapping)).data(wrapped).template(t).handle(&made).do()
	return made, err
}

func (m *cModule) WrapKeyAuthenticated(h session, x *mech, wrapping, key handle, associated []byte, o *out) error {
	return m.in(h, "C_WrapKeyAuthenticated").mechanism(x).word(uint(wrapping)).word(uint(key)).data(associated).output(o).do()
}

func (m *cModule) UnwrapKeyAuthenticated(h session, x *mech, unwrapping handle, wrapped []byte, t T, associated []byte) (made handle, err error) {
	err = m.in(h, "C_UnwrapKeyAuthenticated").mechanism(x).word(uint(unwrapping)).data(wrapped).template(t).data(associated).handle(&made).do()
	return made, err
}

func (m *cModule) DeriveKey(h session, x *mech, base handle, t T) (made handle, err error) {
	err = m.in(h, "C_DeriveKey").mechanism(x).word(uint(base)).template(t).handle(&made).do()
	return made, err
}

func (m *cModule) EncapsulateKey(h session, x *mech, public handle, t T, o *out) (made handle, err error) {
	err = m.in(h, "C_EncapsulateKey").mechanism(x).word(uint(public)).template(t).output(o).handle(&made).do()
	return made, err
}

func (m *cModule) DecapsulateKey(h session, x *mech, private handle, t T, ciphertext []byte) (made handle, err error) {
	err = m.in(h, "C_DecapsulateKey").mechanism(x).word(uint(private)).template(t).data(ciphertext).handle(&made).do()
	return made, err
}
