package main

import "github.com/coffer-hsm/coffer/pkcs11"

// The parameters of C_WrapKey and C_UnwrapKey that are not those of C_EncryptInit, and those of the authenticated functions.

// wrapDecoders has a row for each mechanism that has a parameter of its own for wrapping (pkcs11.WrapParams).
var wrapDecoders = map[pkcs11.MechanismType]struct {
	size int
	read func(f *fields) pkcs11.WrapParams
}{
	pkcs11.CKM_AES_GCM: {7 * ulongSize, readGCMWrap},
}

// readGCMWrap reads CK_GCM_WRAP_PARAMS.
func readGCMWrap(f *fields) pkcs11.WrapParams {
	p := &pkcs11.GCMWrapParams{}
	pIv, ulIvLen := f.ulong(), f.ulong()
	set(&p.IVFixedBits, f.ulong())
	set(&p.IVGenerator, f.ulong())
	pAAD, ulAADLen := f.ulong(), f.ulong()
	set(&p.TagBits, f.ulong())
	p.IV = f.inout(pIv, ulIvLen)
	p.AAD = f.bytes(pAAD, ulAADLen)
	return p
}

// wrapping decodes the CK_MECHANISM of C_WrapKey and C_UnwrapKey. The length tells a parameter for wrapping from that of
// C_EncryptInit, which earlier versions of the standard have here, and which is taken too.
func (c *call) wrapping(p uintptr) *pkcs11.Mechanism {
	t, at, n := c.mechanismHead(p)
	d, known := wrapDecoders[t]
	if p == 0 || !known || n != uintptr(d.size) {
		return c.mechanism(p)
	}
	c.decode(t, at, n, func(f *fields) any { return d.read(f) })
	return &c.m
}

// authenticated decodes the CK_MECHANISM of C_WrapKeyAuthenticated and C_UnwrapKeyAuthenticated, whose parameter is that of
// a message.
func (c *call) authenticated(p uintptr) *pkcs11.Mechanism {
	t, at, n := c.mechanismHead(p)
	kind := t.MessageKind()
	if p == 0 || kind == pkcs11.ParamUnknown {
		return c.mechanism(p)
	}
	d := decoders[kind]
	if n != uintptr(d.size) {
		c.fail(pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "%v: %d bytes, %d expected", t, n, d.size))
		return nil
	}
	c.decode(t, at, n, func(f *fields) any { return d.read(f, false) })
	return &c.m
}

// mechanismHead reads a CK_MECHANISM: the type, and where its parameter is. A wild pointer is c.mechanism's to answer for.
func (c *call) mechanismHead(p uintptr) (t pkcs11.MechanismType, at, n uintptr) {
	var b [mechanismSize]byte
	if p == 0 || read(b[:], p) != nil {
		return 0, 0, 0
	}
	return pkcs11.MechanismType(ulongAt(b[:])), uintptr(ulongAt(b[ulongSize:])), uintptr(ulongAt(b[2*ulongSize:]))
}

// decode makes the call's mechanism, its parameter read from n bytes.
func (c *call) decode(t pkcs11.MechanismType, at, n uintptr, read func(*fields) any) {
	c.m = pkcs11.Mechanism{Type: t}
	b, err := c.take(at, n)
	if err == nil {
		f := &c.fields
		*f = fields{call: c, b: b}
		c.m.Params = read(f)
		err = f.err
	}
	if err != nil {
		c.fail(pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "%v: %w", t, err))
	}
}
