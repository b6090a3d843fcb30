package main

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"crypto/x509"
	"errors"
	"hash"
	"math/big"
	"slices"

	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/core/secret"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// What becomes of a proof that a key of the token is the source's.
var (
	errDiffers  = errors.New("the keys differ")
	errUnproven = errors.New("nothing shows whether the keys are the same")
)

// signProof is a mechanism to sign with. Without a hash the data is signed as it is.
type signProof struct {
	key  pkcs11.KeyType
	m    pkcs11.MechanismType
	hash crypto.Hash
}

var signProofs = []signProof{
	{pkcs11.CKK_RSA, pkcs11.CKM_SHA256_RSA_PKCS, crypto.SHA256},
	{pkcs11.CKK_RSA, pkcs11.CKM_SHA384_RSA_PKCS, crypto.SHA384},
	{pkcs11.CKK_RSA, pkcs11.CKM_SHA512_RSA_PKCS, crypto.SHA512},
	{pkcs11.CKK_RSA, pkcs11.CKM_SHA256_RSA_PKCS_PSS, crypto.SHA256},
	{pkcs11.CKK_RSA, pkcs11.CKM_SHA384_RSA_PKCS_PSS, crypto.SHA384},
	{pkcs11.CKK_RSA, pkcs11.CKM_SHA512_RSA_PKCS_PSS, crypto.SHA512},
	{pkcs11.CKK_RSA, pkcs11.CKM_RSA_PKCS, 0},
	{pkcs11.CKK_EC, pkcs11.CKM_ECDSA_SHA256, crypto.SHA256},
	{pkcs11.CKK_EC, pkcs11.CKM_ECDSA_SHA384, crypto.SHA384},
	{pkcs11.CKK_EC, pkcs11.CKM_ECDSA_SHA512, crypto.SHA512},
	{pkcs11.CKK_EC, pkcs11.CKM_ECDSA, 0},
	{pkcs11.CKK_EC_EDWARDS, pkcs11.CKM_EDDSA, 0},
	{pkcs11.CKK_DSA, pkcs11.CKM_DSA, 0},
	{pkcs11.CKK_ML_DSA, pkcs11.CKM_ML_DSA, 0},
	{pkcs11.CKK_SLH_DSA, pkcs11.CKM_SLH_DSA, 0},
}

// proofLen is what is signed: random, as long as a SHA-256 value, for CKM_ECDSA signs such.
const proofLen = 32

// prove says how a key of the token was shown to be the source's; "" for objects that are no private or secret keys.
func (m *mover) prove(ctx context.Context, ref hsm.Object, s *subject) (string, error) {
	switch s.class() {
	case pkcs11.CKO_PRIVATE_KEY:
		return m.provePrivate(ctx, object{ref: ref}, s)
	case pkcs11.CKO_SECRET_KEY:
		return m.proveSecret(ctx, object{ref: ref}, s)
	}
	return "", nil
}

// allows reports whether CKA_ALLOWED_MECHANISMS lets a key be used so.
func (f *foreign) allows(m pkcs11.MechanismType) bool {
	v, _ := f.attrs.Get(pkcs11.CKA_ALLOWED_MECHANISMS)
	list, _ := v.([]pkcs11.MechanismType)
	return len(list) == 0 || slices.Contains(list, m)
}

func (m *mover) provePrivate(ctx context.Context, o object, s *subject) (string, error) {
	publics, err := m.publics(s)
	if err != nil {
		return "", err
	}
	data := make([]byte, proofLen)
	rand.Read(data)
	for _, p := range signProofs {
		if p.key != s.keyType() || !s.flag(pkcs11.CKA_SIGN) || !s.allows(p.m) {
			continue
		}
		if len(publics) == 0 {
			if err := m.sourceSigns(ctx, o, s, p, data); !errors.Is(err, errUnproven) {
				return "signature of the source", err
			}
			continue
		}
		signature, err := m.compute(ctx, hsm.OpSign, p.m, o, data)
		if fatal(err) {
			return "", err
		}
		if err != nil {
			continue // such as a policy without this mechanism, or a date
		}
		for _, public := range publics {
			if ok, err := m.verifies(ctx, public, p, data, signature); ok || err != nil {
				return "signature", err
			}
		}
		return "", errDiffers
	}
	if len(publics) == 0 {
		return "", errUnproven
	}
	if proof, err := m.proveDecrypt(ctx, o, s, publics, data); !errors.Is(err, errUnproven) {
		return proof, err
	}
	return m.samePublic(ctx, o, publics)
}

// publics are the public keys that a private one may have at the source: the one in the key itself (RSA), or made of its
// value, else the only one among the public keys and certificates with its id. None where the source keeps the value and
// several could be meant: one id may belong to many keys. errDiffers where the value has another public key than those that
// are shown.
func (m *mover) publics(s *subject) ([]pkcs11.Template, error) {
	if s.keyType() == pkcs11.CKK_RSA && s.attrs.Has(pkcs11.CKA_MODULUS) && s.attrs.Has(pkcs11.CKA_PUBLIC_EXPONENT) {
		return []pkcs11.Template{{pkcs11.AttrUlong(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_RSA), pkcs11.Attr(pkcs11.CKA_MODULUS, s.attrs.Bytes(pkcs11.CKA_MODULUS)),
			pkcs11.Attr(pkcs11.CKA_PUBLIC_EXPONENT, s.attrs.Bytes(pkcs11.CKA_PUBLIC_EXPONENT))}}, nil
	}
	shown, keys := m.ofID(s)
	if own := publicOf(s); own != nil {
		fits := slices.ContainsFunc(shown, func(p pkcs11.Template) bool { return samePublicKey(p, own) })
		if !fits && len(shown) >= keys { // as many as there are keys, and none is this one's: nothing else tells of a damaged value
			return nil, errDiffers
		}
		return []pkcs11.Template{own}, nil
	}
	if keys > 1 || len(shown) > 1 {
		return nil, nil
	}
	return shown, nil
}

// ofID are the public keys that the source shows with the id and type of a private key, each once, and the number of private
// keys that have them too.
func (m *mover) ofID(s *subject) (shown []pkcs11.Template, keys int) {
	if s.id() == "" {
		return nil, 1
	}
	for _, f := range m.all {
		if f.fault != nil || f.id() != s.id() {
			continue
		}
		var public pkcs11.Template
		switch {
		case f.class() == pkcs11.CKO_PRIVATE_KEY && f.keyType() == s.keyType():
			keys++
		case f.class() == pkcs11.CKO_PUBLIC_KEY && f.keyType() == s.keyType():
			public = append(pkcs11.Template{pkcs11.AttrUlong(pkcs11.CKA_KEY_TYPE, s.keyType())}, f.valueOf()...)
		case f.class() == pkcs11.CKO_CERTIFICATE:
			if cert, err := x509.ParseCertificate(f.attrs.Bytes(pkcs11.CKA_VALUE)); err == nil {
				if tm, err := publicAttributes(cert.PublicKey); err == nil && (object{attrs: tm}).keyType() == s.keyType() {
					public = tm
				}
			}
		}
		if public != nil && !slices.ContainsFunc(shown, func(p pkcs11.Template) bool { return samePublicKey(p, public) }) {
			shown = append(shown, public)
		}
	}
	return shown, keys
}

// publicOf makes the public key of a value; nil where the value is not known, or its algorithm is not known here.
func publicOf(s *subject) pkcs11.Template {
	if s.secret == nil {
		return nil
	}
	key, err := privateKey(slices.Concat(s.attrs, s.secret))
	if err != nil {
		return nil
	}
	switch key := key.(type) {
	case *ecdsa.PrivateKey:
		defer func() { clear(key.D.Bits()) }()
	case ed25519.PrivateKey:
		defer secret.Wipe(key)
	}
	signer, ok := key.(interface{ Public() crypto.PublicKey })
	if !ok {
		return nil
	}
	tm, err := publicAttributes(signer.Public())
	if err != nil {
		return nil
	}
	return tm
}

// samePublicKey compares two public keys of one type.
func samePublicKey(a, b pkcs11.Template) bool {
	return sameValue(a, b, carriedOf(pkcs11.CKO_PUBLIC_KEY).value)
}

// compute encrypts, decrypts or signs with a key of the token.
func (m *mover) compute(ctx context.Context, kind hsm.OpKind, mt pkcs11.MechanismType, o object, data []byte) ([]byte, error) {
	mech, err := parameterOf(mt, "SHA256", nil)
	if err != nil {
		return nil, err
	}
	return m.computeWith(ctx, kind, mech, o, data)
}

func (m *mover) computeWith(ctx context.Context, kind hsm.OpKind, mech pkcs11.Mechanism, o object, data []byte) ([]byte, error) {
	op, err := m.operation(ctx, kind, mech, o)
	if err != nil {
		return nil, err
	}
	defer op.Close()
	return op.Finish(ctx, nil, data)
}

// verifies checks a signature outside of the token, where the standard library has the algorithm, else in the token with
// the source's public key.
func (m *mover) verifies(ctx context.Context, public pkcs11.Template, p signProof, data, signature []byte) (bool, error) {
	if key, err := publicKey(public); err == nil {
		if ok, known := goVerifies(key, p, data, signature); known {
			return ok, nil
		}
	}
	ref, err := m.sessionPublic(ctx, public)
	if err != nil {
		return false, nil // not a key
	}
	defer m.Discard(ref)
	mech, err := parameterOf(p.m, "SHA256", nil)
	if err != nil {
		return false, err
	}
	op, err := m.operation(ctx, hsm.OpVerify, mech, object{ref: ref})
	if err != nil {
		return false, err
	}
	defer op.Close()
	err = op.Verify(ctx, data, signature)
	if rv := pkcs11.RVOf(err); rv == pkcs11.CKR_SIGNATURE_INVALID || rv == pkcs11.CKR_SIGNATURE_LEN_RANGE {
		return false, nil
	}
	return err == nil, err
}

func (m *mover) sessionPublic(ctx context.Context, public pkcs11.Template) (hsm.Object, error) {
	tm := append(pkcs11.Template{pkcs11.AttrUlong(pkcs11.CKA_CLASS, pkcs11.CKO_PUBLIC_KEY), pkcs11.Attr(pkcs11.CKA_TOKEN, false),
		pkcs11.Attr(pkcs11.CKA_VERIFY, true)}, public...)
	return m.Create(ctx, m.cred, tm)
}

// goVerifies checks a signature with the standard library; known is false where it does not have the algorithm.
func goVerifies(key crypto.PublicKey, p signProof, data, signature []byte) (ok, known bool) {
	digest := data
	if p.hash != 0 {
		h := p.hash.New()
		h.Write(data)
		digest = h.Sum(nil)
	}
	switch key := key.(type) {
	case *rsa.PublicKey:
		if p.m.ParamKind() == pkcs11.ParamPSS {
			return rsa.VerifyPSS(key, p.hash, digest, signature, nil) == nil, true
		}
		return rsa.VerifyPKCS1v15(key, p.hash, digest, signature) == nil, true
	case *ecdsa.PublicKey:
		half := len(signature) / 2
		r, s := new(big.Int).SetBytes(signature[:half]), new(big.Int).SetBytes(signature[half:])
		return ecdsa.Verify(key, digest, r, s), true
	case ed25519.PublicKey:
		return ed25519.Verify(key, data, signature), true
	}
	return false, false
}

// sourceSigns is for a private key whose public key the source shows nowhere: the source signs, and the public key that
// the token has computed verifies.
func (m *mover) sourceSigns(ctx context.Context, o object, s *subject, p signProof, data []byte) error {
	if p.m.ParamKind() != pkcs11.ParamNone && !p.m.ParamOptional() {
		return errUnproven
	}
	signature, err := m.src.use(s.foreign, hsm.OpSign, p.m, data)
	if err != nil {
		return errUnproven
	}
	full, err := m.read(ctx, o.ref, publicTypes)
	if err != nil {
		return err
	}
	key, err := publicKey(full.attrs)
	if err != nil {
		return errUnproven
	}
	switch ok, known := goVerifies(key, p, data, signature); {
	case !known:
		return errUnproven
	case !ok:
		return errDiffers
	}
	return nil
}

// proveDecrypt has the token decrypt what was encrypted for the source's key.
func (m *mover) proveDecrypt(ctx context.Context, o object, s *subject, publics []pkcs11.Template, data []byte) (string, error) {
	if !s.flag(pkcs11.CKA_DECRYPT) || s.keyType() != pkcs11.CKK_RSA || !s.allows(pkcs11.CKM_RSA_PKCS_OAEP) {
		return "", errUnproven
	}
	key, err := publicKey(publics[0])
	if err != nil {
		return "", errUnproven
	}
	public, ok := key.(*rsa.PublicKey)
	if !ok {
		return "", errUnproven
	}
	for i, h := range []hash.Hash{sha256.New(), sha1.New()} {
		encrypted, err := rsa.EncryptOAEP(h, rand.Reader, public, data, nil)
		if err != nil {
			continue
		}
		mech := pkcs11.Mechanism{Type: pkcs11.CKM_RSA_PKCS_OAEP,
			Params: &pkcs11.OAEPParams{HashAlg: oaeps[i].hash, MGF: oaeps[i].mgf, Source: pkcs11.CKZ_DATA_SPECIFIED}}
		back, err := m.computeWith(ctx, hsm.OpDecrypt, mech, o, encrypted)
		switch rv := pkcs11.RVOf(err); {
		case err == nil && bytes.Equal(back, data):
			return "decryption", nil
		case err == nil, rv == pkcs11.CKR_ENCRYPTED_DATA_INVALID, rv == pkcs11.CKR_ENCRYPTED_DATA_LEN_RANGE:
			return "", errDiffers
		case fatal(err):
			return "", err
		}
	}
	return "", errUnproven
}

// samePublic is for keys that neither sign nor decrypt: the token has computed the public key of the private one.
func (m *mover) samePublic(ctx context.Context, o object, publics []pkcs11.Template) (string, error) {
	mine, err := m.read(ctx, o.ref, []pkcs11.AttributeType{pkcs11.CKA_PUBLIC_KEY_INFO})
	if err != nil {
		return "", err
	}
	if len(mine.attrs.Bytes(pkcs11.CKA_PUBLIC_KEY_INFO)) == 0 {
		return "", errUnproven
	}
	compared := false
	for _, public := range publics {
		ref, err := m.sessionPublic(ctx, public)
		if err != nil {
			continue
		}
		theirs, err := m.read(ctx, ref, []pkcs11.AttributeType{pkcs11.CKA_PUBLIC_KEY_INFO})
		m.Discard(ref)
		if err != nil || len(theirs.attrs) == 0 {
			continue
		}
		compared = true
		if sameValue(mine.attrs, theirs.attrs, []pkcs11.AttributeType{pkcs11.CKA_PUBLIC_KEY_INFO}) {
			return "public value", nil
		}
	}
	if !compared {
		return "", errUnproven
	}
	return "", errDiffers
}

// sameSecret compares what two keys made of the same data.
func sameSecret(a, b []byte) bool { return len(a) > 0 && subtle.ConstantTimeCompare(a, b) == 1 }

var _ = sha512.New // crypto.SHA384 and crypto.SHA512 are in it
