package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"slices"

	p11 "github.com/miekg/pkcs11"

	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// carrier is an AES-256 key that two tokens share for the time of a migration. The source makes it and wraps it under an
// RSA key whose private half never leaves Coffer; all of these keys live in sessions.
type carrier struct {
	t      *token
	there  p11.ObjectHandle // of the AES key at the source
	here   hsm.Object       // the same here
	ways   []wrapWay        // that both tokens have; the one that worked last is the first
	failed error            // why there is none
}

// wrapWay is a mechanism of the source and the one that undoes it here.
type wrapWay struct {
	source, target pkcs11.MechanismType
	iv             int  // bytes of an initialisation vector
	secretOnly     bool // not for private keys
}

// wrapWays are in the order of preference: those that tell whether the wrapped key was changed come first.
// CKM_AES_KEY_WRAP_PAD is KWP in most modules, this one among them, and PKCS #7 with KW in others.
var wrapWays = []wrapWay{
	{pkcs11.CKM_AES_KEY_WRAP_KWP, pkcs11.CKM_AES_KEY_WRAP_KWP, 0, false},
	{pkcs11.CKM_AES_KEY_WRAP_PAD, pkcs11.CKM_AES_KEY_WRAP_PAD, 0, false},
	{pkcs11.CKM_AES_KEY_WRAP_PAD, pkcs11.CKM_AES_KEY_WRAP_KWP, 0, false},
	{pkcs11.CKM_AES_KEY_WRAP_PAD, pkcs11.CKM_AES_KEY_WRAP_PKCS7, 0, false},
	{pkcs11.CKM_AES_KEY_WRAP_PKCS7, pkcs11.CKM_AES_KEY_WRAP_PKCS7, 0, false},
	{pkcs11.CKM_AES_KEY_WRAP, pkcs11.CKM_AES_KEY_WRAP, 0, true},
	{pkcs11.CKM_AES_CBC_PAD, pkcs11.CKM_AES_CBC_PAD, 16, false},
}

// oaeps are the hashes of the RSA-OAEP that carries the AES key, best first. SoftHSM2 knows SHA-1 alone, which is no weakness
// in OAEP.
var oaeps = []hashRow{hashes[0], hashes[1]}

const carrierBits = 3072

// wrap moves a key that the source does not show but lets out under another one.
func (m *foreignModule) wrap(ctx context.Context, t *token, f *foreign, template pkcs11.Template) (hsm.Object, string, error) {
	switch {
	case !f.flag(pkcs11.CKA_EXTRACTABLE):
		return nil, "", failed("its CKA_EXTRACTABLE is false: the module lets it out in no form",
			"make a new key in its place, or move it by the vendor's own means; of SoftHSM2, --from-softhsm reads the files")
	case f.flag(pkcs11.CKA_WRAP_WITH_TRUSTED):
		return nil, "", failed("its CKA_WRAP_WITH_TRUSTED is true: only a key that the source's security officer trusts may wrap it",
			"make a new key in its place, or move it by the vendor's own means")
	}
	if m.carrier == nil {
		m.carrier = &carrier{t: t}
		m.carrier.failed = m.share(ctx, m.carrier)
	}
	c := m.carrier
	if c.failed != nil {
		return nil, "", c.failed
	}
	if n, ok := f.attrs.Uint(pkcs11.CKA_VALUE_LEN); ok && f.class() == pkcs11.CKO_SECRET_KEY {
		template = template.Set(pkcs11.CKA_VALUE_LEN, n) // some modules wrap zeros with the key
	}
	var first error
	for i, way := range c.ways {
		if way.secretOnly && f.class() != pkcs11.CKO_SECRET_KEY {
			continue
		}
		ref, err := m.carry(ctx, c, way, f, template)
		if err == nil {
			c.ways[0], c.ways[i] = c.ways[i], c.ways[0]
			return ref, way.source.String(), nil
		}
		first = cmp.Or(first, err)
		if rv := pkcs11.RVOf(err); rv != pkcs11.CKR_GENERAL_ERROR && !slices.Contains(notThisWay, rv) {
			return nil, "", err // the key itself is refused here, whichever way it comes
		}
	}
	return nil, "", first
}

// notThisWay is what unwrapping answers where another mechanism may do.
var notThisWay = []pkcs11.RV{pkcs11.CKR_WRAPPED_KEY_INVALID, pkcs11.CKR_WRAPPED_KEY_LEN_RANGE, pkcs11.CKR_MECHANISM_INVALID,
	pkcs11.CKR_MECHANISM_PARAM_INVALID, pkcs11.CKR_ENCRYPTED_DATA_INVALID, pkcs11.CKR_ENCRYPTED_DATA_LEN_RANGE}

// carry moves one key one way.
func (m *foreignModule) carry(ctx context.Context, c *carrier, way wrapWay, f *foreign, template pkcs11.Template) (hsm.Object, error) {
	there, here := p11.NewMechanism(uint(way.source), nil), pkcs11.Mechanism{Type: way.target}
	if way.iv > 0 {
		iv := make([]byte, way.iv)
		rand.Read(iv)
		there, here.Params = p11.NewMechanism(uint(way.source), iv), pkcs11.IV(iv)
	}
	wrapped, err := m.p.WrapKey(m.session, []*p11.Mechanism{there}, c.there, f.at.(p11.ObjectHandle))
	if err != nil {
		return nil, failed("the module does not wrap it with %v: %v", "of SoftHSM2, --from-softhsm reads the files; of another module, its documentation may say more",
			way.source, moduleRV(err))
	}
	return c.t.UnwrapKey(ctx, c.t.cred, here, c.here, wrapped, template)
}

// share makes the key that both tokens have.
func (m *foreignModule) share(ctx context.Context, c *carrier) error {
	for _, way := range wrapWays {
		info, here := c.t.Mechanism(way.target)
		if there := m.can(way.source, pkcs11.CKF_WRAP); there && here && info.Flags&pkcs11.CKF_UNWRAP != 0 {
			c.ways = append(c.ways, way)
		}
	}
	if len(c.ways) == 0 || !m.can(pkcs11.CKM_RSA_PKCS_OAEP, pkcs11.CKF_WRAP) || !m.can(pkcs11.CKM_AES_KEY_GEN, pkcs11.CKF_GENERATE) {
		return failed("the module and this token share no way to wrap keys",
			"it takes CKM_AES_KEY_GEN, CKM_RSA_PKCS_OAEP and one of CKM_AES_KEY_WRAP_KWP, CKM_AES_KEY_WRAP_PAD, CKM_AES_KEY_WRAP and CKM_AES_CBC_PAD, to wrap with")
	}
	pub, priv, err := c.t.GenerateKeyPair(ctx, c.t.cred, pkcs11.Mechanism{Type: pkcs11.CKM_RSA_PKCS_KEY_PAIR_GEN},
		pkcs11.Template{pkcs11.Attr(pkcs11.CKA_TOKEN, false), pkcs11.AttrUlong(pkcs11.CKA_MODULUS_BITS, carrierBits),
			pkcs11.Attr(pkcs11.CKA_WRAP, true)},
		pkcs11.Template{pkcs11.Attr(pkcs11.CKA_TOKEN, false), pkcs11.Attr(pkcs11.CKA_UNWRAP, true)})
	if err != nil {
		return err
	}
	defer c.t.Discard(priv)
	defer c.t.Discard(pub)
	o, err := c.t.read(ctx, pub, []pkcs11.AttributeType{pkcs11.CKA_MODULUS, pkcs11.CKA_PUBLIC_EXPONENT})
	if err != nil {
		return err
	}
	under, err := m.p.CreateObject(m.session, []*p11.Attribute{
		p11.NewAttribute(p11.CKA_CLASS, p11.CKO_PUBLIC_KEY), p11.NewAttribute(p11.CKA_KEY_TYPE, p11.CKK_RSA),
		p11.NewAttribute(p11.CKA_TOKEN, false), p11.NewAttribute(p11.CKA_WRAP, true),
		p11.NewAttribute(p11.CKA_MODULUS, o.attrs.Bytes(pkcs11.CKA_MODULUS)),
		p11.NewAttribute(p11.CKA_PUBLIC_EXPONENT, o.attrs.Bytes(pkcs11.CKA_PUBLIC_EXPONENT)),
	})
	if err != nil {
		return m.problem("does not take a public key to wrap under", err)
	}
	defer m.p.DestroyObject(m.session, under)
	c.there, err = m.p.GenerateKey(m.session, []*p11.Mechanism{p11.NewMechanism(p11.CKM_AES_KEY_GEN, nil)}, []*p11.Attribute{
		p11.NewAttribute(p11.CKA_TOKEN, false), p11.NewAttribute(p11.CKA_VALUE_LEN, 32), p11.NewAttribute(p11.CKA_WRAP, true),
		p11.NewAttribute(p11.CKA_SENSITIVE, true), p11.NewAttribute(p11.CKA_EXTRACTABLE, true),
	})
	if err != nil {
		return m.problem("does not make a key to wrap with", err)
	}
	for _, h := range oaeps {
		if err = m.hand(ctx, c, h, under, priv); err == nil {
			return nil
		}
	}
	return err
}

// hand brings the AES key here, under OAEP with a hash.
func (m *foreignModule) hand(ctx context.Context, c *carrier, h hashRow, under p11.ObjectHandle, priv hsm.Object) error {
	params := p11.NewOAEPParams(uint(h.hash), uint(h.mgf), p11.CKZ_DATA_SPECIFIED, nil)
	wrapped, err := m.p.WrapKey(m.session, []*p11.Mechanism{p11.NewMechanism(p11.CKM_RSA_PKCS_OAEP, params)}, under, c.there)
	if err != nil {
		return m.problem("does not wrap with RSA-OAEP", err)
	}
	here := pkcs11.Mechanism{Type: pkcs11.CKM_RSA_PKCS_OAEP,
		Params: &pkcs11.OAEPParams{HashAlg: h.hash, MGF: h.mgf, Source: pkcs11.CKZ_DATA_SPECIFIED}}
	c.here, err = c.t.UnwrapKey(ctx, c.t.cred, here, priv, wrapped, pkcs11.Template{
		pkcs11.AttrUlong(pkcs11.CKA_CLASS, pkcs11.CKO_SECRET_KEY), pkcs11.AttrUlong(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_AES),
		pkcs11.Attr(pkcs11.CKA_TOKEN, false), pkcs11.Attr(pkcs11.CKA_UNWRAP, true),
		pkcs11.Attr(pkcs11.CKA_SENSITIVE, true), pkcs11.Attr(pkcs11.CKA_EXTRACTABLE, false)})
	return err
}

// can reports whether the source has a mechanism for something.
func (m *foreignModule) can(mt pkcs11.MechanismType, flag pkcs11.Flags) bool {
	info, err := m.p.GetMechanismInfo(m.slot, []*p11.Mechanism{p11.NewMechanism(uint(mt), nil)})
	return err == nil && info.Flags&uint(flag) != 0
}

// end gives up the half of the key that is here; the source's ends with its session.
func (c *carrier) end() {
	if c.here != nil && c.t.HSM != nil {
		c.t.Discard(c.here)
	}
	c.here = nil
}
