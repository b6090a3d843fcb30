package selftest

import (
	"bytes"
	"crypto/sha256"
	"slices"

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/mech/ff"
	"github.com/coffer-hsm/coffer/core/mech/hashes"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// curveOf is the CKA_EC_PARAMS that a test's keys are on.
func curveOf(oid ...byte) pkcs11.Attribute { return pkcs11.Attr(pkcs11.CKA_EC_PARAMS, oid) }

var (
	p256    = curveOf(6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7)
	x25519  = curveOf(6, 3, 0x2b, 0x65, 0x6e)
	x448    = curveOf(6, 3, 0x2b, 0x65, 0x6f)
	ed25519 = curveOf(6, 3, 0x2b, 0x65, 0x70)
	ed448   = curveOf(6, 3, 0x2b, 0x65, 0x71)
)

func publicTests() []test {
	pkcs1 := mechanisms{pkcs11.CKM_RSA_PKCS, pkcs11.CKM_RSA_X_509, pkcs11.CKM_RSA_PKCS_KEY_PAIR_GEN}
	pss := mechanisms{pkcs11.CKM_RSA_PKCS_PSS}
	ecdsa := mechanisms{pkcs11.CKM_ECDSA, pkcs11.CKM_EC_KEY_PAIR_GEN, pkcs11.CKM_EC_KEY_PAIR_GEN_W_EXTRA_BITS}
	for _, h := range hashes.All {
		if h.RSAPKCS != 0 {
			pkcs1 = append(pkcs1, h.RSAPKCS)
		}
		if h.RSAPSS != 0 {
			pss = append(pss, h.RSAPSS)
		}
		if h.ECDSA != 0 {
			ecdsa = append(ecdsa, h.ECDSA)
		}
	}
	return []test{
		{"RSA-PKCS", pkcs1, rsaPKCS},
		{"RSA-PSS", pss, rsaPSS},
		{"RSA-OAEP", mechanisms{pkcs11.CKM_RSA_PKCS_OAEP, pkcs11.CKM_RSA_AES_KEY_WRAP}, rsaOAEP},
		{"ECDSA", ecdsa, ecdsaP256},
		{"ECDH", mechanisms{pkcs11.CKM_ECDH1_DERIVE, pkcs11.CKM_ECDH1_COFACTOR_DERIVE, pkcs11.CKM_ECDH_AES_KEY_WRAP, pkcs11.CKM_ECDH_COF_AES_KEY_WRAP},
			ecdhP256},
		{"X25519", mechanisms{pkcs11.CKM_ECDH1_DERIVE, pkcs11.CKM_ECDH_X_AES_KEY_WRAP, pkcs11.CKM_EC_MONTGOMERY_KEY_PAIR_GEN}, montgomery(x25519)},
		{"X448", mechanisms{pkcs11.CKM_ECDH1_DERIVE, pkcs11.CKM_ECDH_X_AES_KEY_WRAP, pkcs11.CKM_EC_MONTGOMERY_KEY_PAIR_GEN}, montgomery(x448)},
		{"ED25519", mechanisms{pkcs11.CKM_EDDSA, pkcs11.CKM_EC_EDWARDS_KEY_PAIR_GEN}, edwards(ed25519)},
		{"ED448", mechanisms{pkcs11.CKM_EDDSA, pkcs11.CKM_EC_EDWARDS_KEY_PAIR_GEN}, edwards(ed448)},
		{"DSA", mechanisms{pkcs11.CKM_DSA_KEY_PAIR_GEN, pkcs11.CKM_DSA_PARAMETER_GEN, pkcs11.CKM_DSA, pkcs11.CKM_DSA_SHA1, pkcs11.CKM_DSA_SHA224,
			pkcs11.CKM_DSA_SHA256, pkcs11.CKM_DSA_SHA384, pkcs11.CKM_DSA_SHA512, pkcs11.CKM_DSA_SHA3_224, pkcs11.CKM_DSA_SHA3_256,
			pkcs11.CKM_DSA_SHA3_384, pkcs11.CKM_DSA_SHA3_512}, dsa},
		{"DH", mechanisms{pkcs11.CKM_DH_PKCS_KEY_PAIR_GEN, pkcs11.CKM_DH_PKCS_DERIVE, pkcs11.CKM_DH_PKCS_PARAMETER_GEN}, func(b *bench) error {
			return b.agree(pkcs11.CKM_DH_PKCS_KEY_PAIR_GEN, pkcs11.CKM_DH_PKCS_DERIVE, pkcs11.CKK_DH, func(y []byte) any { return pkcs11.IV(y) })
		}},
		{"X9.42-DH", mechanisms{pkcs11.CKM_X9_42_DH_KEY_PAIR_GEN, pkcs11.CKM_X9_42_DH_DERIVE, pkcs11.CKM_X9_42_DH_PARAMETER_GEN}, func(b *bench) error {
			return b.agree(pkcs11.CKM_X9_42_DH_KEY_PAIR_GEN, pkcs11.CKM_X9_42_DH_DERIVE, pkcs11.CKK_X9_42_DH, func(y []byte) any {
				return &pkcs11.X942DH1DeriveParams{KDF: uint(pkcs11.CKD_NULL), PublicData: y}
			})
		}},
	}
}

func rsaPKCS(b *bench) error {
	material, err := b.registry.KeyType(pkcs11.CKK_RSA).ParsePKCS8(b.field(0))
	if err != nil {
		return err
	}
	private, public := privateKey(pkcs11.CKK_RSA, material...), publicKey(pkcs11.CKK_RSA, material...)
	message, m := []byte("the quick brown fox"), pkcs11.CKM_SHA256_RSA_PKCS
	sig, err := b.sign(m, private, nil, message)
	if err := all(same("signing", sig, b.field(1), err), b.verify(m, public, nil, message, sig)); err != nil {
		return err
	}
	sealed, err := finish(b.row(pkcs11.CKM_RSA_PKCS).Encrypt, public, nil, message)
	if err != nil {
		return err
	}
	return b.decrypt(pkcs11.CKM_RSA_PKCS, private, nil, message, sealed)
}

// rsaKey is a private key of modulus and exponents, as the first three fields of an answer give it.
func (b *bench) rsaKey() (private, public mech.Key, err error) {
	t := pkcs11.Template{pkcs11.Attr(pkcs11.CKA_MODULUS, b.field(0)), pkcs11.Attr(pkcs11.CKA_PUBLIC_EXPONENT, b.field(1)),
		pkcs11.Attr(pkcs11.CKA_PRIVATE_EXPONENT, b.field(2))}
	add, err := b.registry.KeyType(pkcs11.CKK_RSA).Check(pkcs11.CKO_PRIVATE_KEY, t)
	for _, a := range add {
		t = t.Set(a.Type, a.Value)
	}
	return privateKey(pkcs11.CKK_RSA, t...), publicKey(pkcs11.CKK_RSA, t[:2]...), err
}

func rsaPSS(b *bench) error {
	private, public, err := b.rsaKey()
	if err != nil {
		return err
	}
	p, m := &pkcs11.PSSParams{HashAlg: pkcs11.CKM_SHA_1, MGF: pkcs11.CKG_MGF1_SHA1, SaltLen: 20}, pkcs11.CKM_SHA1_RSA_PKCS_PSS
	q := &pkcs11.PSSParams{HashAlg: pkcs11.CKM_SHA256, MGF: pkcs11.CKG_MGF1_SHA256, SaltLen: 32}
	return all(b.verify(m, public, p, b.field(3), b.field(4)), b.consistent(pkcs11.CKM_RSA_PKCS_PSS, private, public, q))
}

func rsaOAEP(b *bench) error {
	private, _, err := b.rsaKey()
	if err != nil {
		return err
	}
	p := &pkcs11.OAEPParams{HashAlg: pkcs11.CKM_SHA_1, MGF: pkcs11.CKG_MGF1_SHA1, Source: pkcs11.CKZ_DATA_SPECIFIED}
	return b.decrypt(pkcs11.CKM_RSA_PKCS_OAEP, private, p, b.field(3), b.field(4))
}

func ecdsaP256(b *bench) error {
	point := slices.Concat([]byte{4}, b.field(1), b.field(2))
	public, sig := publicKey(pkcs11.CKK_EC, p256, pkcs11.Attr(pkcs11.CKA_EC_POINT, point)), slices.Concat(b.field(3), b.field(4))
	digest := sha256.Sum256(b.field(0))
	if err := all(b.verify(pkcs11.CKM_ECDSA_SHA256, public, nil, b.field(0), sig), b.verify(pkcs11.CKM_ECDSA, public, nil, digest[:], sig)); err != nil {
		return err
	}
	for _, m := range []pkcs11.MechanismType{pkcs11.CKM_EC_KEY_PAIR_GEN, pkcs11.CKM_EC_KEY_PAIR_GEN_W_EXTRA_BITS} {
		private, public, err := b.pair(m, pkcs11.CKK_EC, pkcs11.Template{p256}, nil)
		if err := all(err, b.consistent(pkcs11.CKM_ECDSA, private, public, nil)); err != nil {
			return err
		}
	}
	return nil
}

func ecdhP256(b *bench) error {
	material, err := b.registry.KeyType(pkcs11.CKK_EC).ParsePKCS8(b.field(0))
	if err != nil {
		return err
	}
	k, p := privateKey(pkcs11.CKK_EC, material...), &pkcs11.ECDH1DeriveParams{KDF: pkcs11.CKD_NULL, PublicData: b.field(1)[len(b.field(1))-65:]}
	return all(b.derive(pkcs11.CKM_ECDH1_DERIVE, k, p, 0, b.field(2)), b.derive(pkcs11.CKM_ECDH1_COFACTOR_DERIVE, k, p, 0, b.field(2)))
}

func montgomery(curve pkcs11.Attribute) func(b *bench) error {
	return func(b *bench) error {
		k := privateKey(pkcs11.CKK_EC_MONTGOMERY, curve, pkcs11.Attr(pkcs11.CKA_VALUE, b.field(0)))
		return b.derive(pkcs11.CKM_ECDH1_DERIVE, k, &pkcs11.ECDH1DeriveParams{KDF: pkcs11.CKD_NULL, PublicData: b.field(1)}, 0, b.field(2))
	}
}

func edwards(curve pkcs11.Attribute) func(b *bench) error {
	return func(b *bench) error {
		private := privateKey(pkcs11.CKK_EC_EDWARDS, curve, pkcs11.Attr(pkcs11.CKA_VALUE, b.field(0)))
		public := publicKey(pkcs11.CKK_EC_EDWARDS, curve, pkcs11.Attr(pkcs11.CKA_EC_POINT, b.field(1)))
		sig, err := b.sign(pkcs11.CKM_EDDSA, private, nil, b.field(2))
		return all(same("signing", sig, b.field(3), err), b.verify(pkcs11.CKM_EDDSA, public, nil, b.field(2), b.field(3)))
	}
}

func dsa(b *bench) error {
	group := pkcs11.Template{pkcs11.Attr(pkcs11.CKA_PRIME, b.field(0)), pkcs11.Attr(pkcs11.CKA_SUBPRIME, b.field(1)), pkcs11.Attr(pkcs11.CKA_BASE, b.field(2))}
	known := publicKey(pkcs11.CKK_DSA, append(group.Clone(), pkcs11.Attr(pkcs11.CKA_VALUE, b.field(3)))...)
	private, public, err := b.pair(pkcs11.CKM_DSA_KEY_PAIR_GEN, pkcs11.CKK_DSA, group, nil)
	if err != nil {
		return err
	}
	return all(b.verify(pkcs11.CKM_DSA_SHA256, known, nil, b.field(4), b.field(5)), b.consistent(pkcs11.CKM_DSA, private, public, nil))
}

// agree makes two pairs in ffdhe2048, and wants both sides to get the same secret.
func (b *bench) agree(generate, derive pkcs11.MechanismType, kt pkcs11.KeyType, param func(y []byte) any) error {
	g := ff.Named(2048)
	group := pkcs11.Template{pkcs11.Attr(pkcs11.CKA_PRIME, g.P.Bytes()), pkcs11.Attr(pkcs11.CKA_BASE, g.G.Bytes())}
	if kt == pkcs11.CKK_X9_42_DH {
		group = append(group, pkcs11.Attr(pkcs11.CKA_SUBPRIME, g.Q.Bytes()))
	}
	ours, our, err := b.pair(generate, kt, group, nil)
	if err != nil {
		return err
	}
	theirs, their, err := b.pair(generate, kt, group, nil)
	if err != nil {
		return err
	}
	z, err := b.row(derive).Run(&mech.Derivation{Base: ours, Param: param(their.Bytes(pkcs11.CKA_VALUE)), Sizes: []int{0}})
	if err != nil {
		return err
	}
	return b.derive(derive, theirs, param(our.Bytes(pkcs11.CKA_VALUE)), 0, bytes.Clone(z.Keys[0].Bytes(pkcs11.CKA_VALUE)))
}
