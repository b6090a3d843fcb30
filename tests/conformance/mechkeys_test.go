package conformance

import (
	"testing"

	"github.com/stretchr/testify/require"

	rows "github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/mech/mechtest"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// generate makes keys of every size, and looks at what the token says of them.
func (b *battery) generate(t *testing.T) {
	if b.row.Generate == nil && b.row.GeneratePair == nil {
		return
	}
	if b.row.Parameters {
		b.parameters(t)
		return
	}
	kt := b.row.KeyTypes[0]
	b.param = b.r.params[0]
	from, known := materialOf(kt)
	require.True(t, known, "no recipe makes a %v: add it to materialOf", kt)
	sizes := from.sizes
	if sizes == nil {
		b.generated(t, b.keys.of(t, kt).priv, from.readable())
		b.generated(t, b.keys.of(t, kt).pub, nil)
	}
	for _, size := range sizes {
		protected := with(yes(pkcs11.CKA_SENSITIVE), no(pkcs11.CKA_EXTRACTABLE))
		if b.row.Generate != nil {
			o, err := b.GenerateKey(b.h, b.mech(), with(size, protected))
			require.NoError(t, err)
			b.generated(t, o, protected)
			b.has(t, b.h, o, with(size, kind(pkcs11.CKO_SECRET_KEY, kt)))
			one, other := b.fresh(t, size), b.fresh(t, size)
			if b.r.same {
				require.Equal(t, one, other, "the same password")
			} else if len(one) > 8 {
				require.NotEqual(t, one, other, "two keys")
			}
			continue
		}
		pub, priv, err := b.GenerateKeyPair(b.h, b.mech(), size, protected)
		require.NoError(t, err)
		b.generated(t, pub, nil)
		b.generated(t, priv, protected)
		b.has(t, b.h, pub, with(size, kind(pkcs11.CKO_PUBLIC_KEY, kt)))
		b.has(t, b.h, priv, with(size, kind(pkcs11.CKO_PRIVATE_KEY, kt)))
	}
	wrong := &mech{Type: b.row.Type, Params: stranger}
	template, private := with(from.private, from.public), T(nil)
	if from.stateful { // the private half has the parameters
		template, private = from.public, from.private
	}
	if b.row.Generate != nil {
		_, err := b.GenerateKey(b.h, wrong, template)
		rv(t, pkcs11.CKR_MECHANISM_PARAM_INVALID, err)
		_, err = b.GenerateKey(b.h, b.mech(), with(template, num(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_SEED)))
		rv(t, pkcs11.CKR_TEMPLATE_INCONSISTENT, err, "another key type")
		_, _, err = b.GenerateKeyPair(b.h, b.mech(), template, nil)
		rv(t, pkcs11.CKR_MECHANISM_INVALID, err)
		return
	}
	_, _, err := b.GenerateKeyPair(b.h, wrong, template, private)
	rv(t, pkcs11.CKR_MECHANISM_PARAM_INVALID, err)
	_, _, err = b.GenerateKeyPair(b.h, b.mech(), nil, nil)
	rv(t, pkcs11.CKR_TEMPLATE_INCOMPLETE, err)
	_, err = b.GenerateKey(b.h, b.mech(), template)
	rv(t, pkcs11.CKR_MECHANISM_INVALID, err)
}

// parameters makes domain parameters and a key pair from them.
func (b *battery) parameters(t *testing.T) {
	kt := b.row.KeyTypes[0]
	from, known := materialOf(kt)
	require.True(t, known, "no recipe makes a %v: add it to materialOf", kt)
	bits := uint(2048)
	if kt == pkcs11.CKK_DSA {
		bits = 1024 // they are searched for
	}
	o, err := b.GenerateKey(b.h, b.mech(), num(pkcs11.CKA_PRIME_BITS, bits))
	require.NoError(t, err)
	b.has(t, b.h, o, with(kind(pkcs11.CKO_DOMAIN_PARAMETERS, kt), num(pkcs11.CKA_PRIME_BITS, bits), yes(pkcs11.CKA_LOCAL)))
	var of T
	for _, a := range from.public {
		of = append(of, pkcs11.Attribute{Type: a.Type, Value: b.value(t, b.h, o, a.Type)})
	}
	again := b.create(t, b.h, with(kind(pkcs11.CKO_DOMAIN_PARAMETERS, kt), of))
	b.has(t, b.h, again, with(of, num(pkcs11.CKA_PRIME_BITS, bits), no(pkcs11.CKA_LOCAL)))
	pub, _ := b.pair(t, b.h, from.generator, of, nil)
	b.has(t, b.h, pub, of)
	_, err = b.GenerateKey(b.h, b.mech(), num(pkcs11.CKA_PRIME_BITS, bits+1))
	rv(t, pkcs11.CKR_ATTRIBUTE_VALUE_INVALID, err)
	_, err = b.GenerateKey(b.h, b.mech(), nil)
	rv(t, pkcs11.CKR_TEMPLATE_INCOMPLETE, err)
	_, err = b.GenerateKey(b.h, &mech{Type: b.row.Type, Params: stranger}, num(pkcs11.CKA_PRIME_BITS, bits))
	rv(t, pkcs11.CKR_MECHANISM_PARAM_INVALID, err)
}

// fresh is the value of a new key.
func (b *battery) fresh(t *testing.T, size T) []byte {
	t.Helper()
	o, err := b.GenerateKey(b.h, b.mech(), with(size, readable))
	require.NoError(t, err)
	value, _ := b.value(t, b.h, o, pkcs11.CKA_VALUE).([]byte)
	return value
}

// generated looks at the history that the token tells of a key; protection is nil for a public key.
func (b *battery) generated(t *testing.T, o handle, protection T) {
	t.Helper()
	b.has(t, b.h, o, with(yes(pkcs11.CKA_LOCAL), num(pkcs11.CKA_KEY_GEN_MECHANISM, b.row.Type)))
	if protection == nil {
		return
	}
	sensitive, _ := protection.Bool(pkcs11.CKA_SENSITIVE)
	extractable, _ := protection.Bool(pkcs11.CKA_EXTRACTABLE)
	b.has(t, b.h, o, with(protection, T{
		pkcs11.Attr(pkcs11.CKA_ALWAYS_SENSITIVE, sensitive), pkcs11.Attr(pkcs11.CKA_NEVER_EXTRACTABLE, !extractable),
	}))
}

// wrap moves a key of each kind out and in again.
func (b *battery) wrap(t *testing.T) {
	if b.row.Wrap == nil {
		return
	}
	for _, kt := range b.r.targets {
		target := b.keys.of(t, kt)
		wrapped := b.sized(t, func(o *out) error { return b.WrapKey(b.h, b.mech(), b.key.pub, target.priv, o) })
		template := with(target.privKind, readable)
		if b.row.SecretOnly {
			template = with(template, num(pkcs11.CKA_VALUE_LEN, uint(32)))
		}
		o, err := b.UnwrapKey(b.h, b.mech(), b.key.priv, wrapped, template)
		require.NoError(t, err, "%v", kt)
		b.has(t, b.h, o, with(target.values, no(pkcs11.CKA_LOCAL, pkcs11.CKA_ALWAYS_SENSITIVE, pkcs11.CKA_NEVER_EXTRACTABLE)))
		require.NoError(t, b.DestroyObject(b.h, o))
		b.tamperedKey(t, wrapped, target.privKind)
	}
	if b.row.SecretOnly {
		private := b.keys.of(t, pkcs11.CKK_EC)
		rv(t, pkcs11.CKR_KEY_NOT_WRAPPABLE, b.WrapKey(b.h, b.mech(), b.key.pub, private.priv, &out{Capacity: 1 << 16}))
		_, err := b.UnwrapKey(b.h, b.mech(), b.key.priv, make([]byte, 256), private.privKind)
		rv(t, pkcs11.CKR_TEMPLATE_INCONSISTENT, err)
	}
	// Lengths that the mechanism fills up: CKA_VALUE_LEN says how much of it is the key.
	for _, n := range b.r.wraps {
		value := message(int(n))
		o := b.create(t, b.h, secretKey(pkcs11.CKK_GENERIC_SECRET, value, readable))
		big := &out{Capacity: 1 << 16}
		err := b.WrapKey(b.h, b.mech(), b.key.pub, o, big)
		if n < 8 && pkcs11.RVOf(err) == pkcs11.CKR_KEY_SIZE_RANGE {
			continue
		}
		require.NoError(t, err, "%d bytes", n)
		template := with(kind(pkcs11.CKO_SECRET_KEY, pkcs11.CKK_GENERIC_SECRET), readable)
		if b.row.SecretOnly || b.row.Filled {
			template = with(template, num(pkcs11.CKA_VALUE_LEN, n))
		}
		back, err := b.UnwrapKey(b.h, b.mech(), b.key.priv, big.Bytes, template)
		require.NoError(t, err, "%d bytes", n)
		b.has(t, b.h, back, with(octets(pkcs11.CKA_VALUE, value), num(pkcs11.CKA_VALUE_LEN, n)))
	}
}

// tamperedKey changes a wrapped key.
func (b *battery) tamperedKey(t *testing.T, wrapped []byte, template T) {
	if !b.r.sealed {
		return
	}
	for _, at := range []int{0, len(wrapped) / 2, len(wrapped) - 1} {
		bad := append([]byte{}, wrapped...)
		bad[at] ^= 0x10
		_, err := b.UnwrapKey(b.h, b.mech(), b.key.priv, bad, template)
		rv(t, pkcs11.CKR_WRAPPED_KEY_INVALID, err)
	}
	_, err := b.UnwrapKey(b.h, b.mech(), b.key.priv, wrapped[:len(wrapped)-1], template)
	oneOf(t, err, pkcs11.CKR_WRAPPED_KEY_LEN_RANGE, pkcs11.CKR_WRAPPED_KEY_INVALID)
	_, err = b.UnwrapKey(b.h, b.mech(), b.key.priv, nil, template)
	oneOf(t, err, pkcs11.CKR_WRAPPED_KEY_LEN_RANGE, pkcs11.CKR_WRAPPED_KEY_INVALID)
}

// derived derives a generic secret and returns its value; length 0 asks for the natural one.
func (b *battery) derived(t *testing.T, m *mech, base handle, length uint) []byte {
	t.Helper()
	template := with(kind(pkcs11.CKO_SECRET_KEY, pkcs11.CKK_GENERIC_SECRET), readable)
	if length > 0 {
		template = with(template, num(pkcs11.CKA_VALUE_LEN, length))
	}
	o, err := b.DeriveKey(b.h, m, base, template)
	require.NoError(t, err)
	b.has(t, b.h, o, no(pkcs11.CKA_LOCAL, pkcs11.CKA_ALWAYS_SENSITIVE, pkcs11.CKA_NEVER_EXTRACTABLE))
	value, _ := b.value(t, b.h, o, pkcs11.CKA_VALUE).([]byte)
	require.NoError(t, b.DestroyObject(b.h, o))
	return value
}

// encryptsLike says with which mechanism a derivation by encryption encrypts.
var encryptsLike = map[pkcs11.MechanismType]pkcs11.MechanismType{
	pkcs11.CKM_AES_ECB_ENCRYPT_DATA: pkcs11.CKM_AES_ECB, pkcs11.CKM_AES_CBC_ENCRYPT_DATA: pkcs11.CKM_AES_CBC,
	pkcs11.CKM_DES_ECB_ENCRYPT_DATA: pkcs11.CKM_DES_ECB, pkcs11.CKM_DES_CBC_ENCRYPT_DATA: pkcs11.CKM_DES_CBC,
	pkcs11.CKM_DES3_ECB_ENCRYPT_DATA: pkcs11.CKM_DES3_ECB, pkcs11.CKM_DES3_CBC_ENCRYPT_DATA: pkcs11.CKM_DES3_CBC,
}

// derive compares with what can be had in another way.
func (b *battery) derive(t *testing.T) {
	if !b.row.Derives() {
		return
	}
	if _, ok := b.param.(*pkcs11.ECDH1DeriveParams); ok {
		b.agree(t)
		return
	}
	if b.r.derivations != nil {
		b.deriveLikeRow(t)
		return
	}
	switch b.param.(type) {
	case pkcs11.IV, *pkcs11.X942DH1DeriveParams:
		b.agreeInField(t)
		return
	}
	switch b.param.(type) {
	case *pkcs11.KeyDerivationString, *pkcs11.AESCBCEncryptDataParams, *pkcs11.DESCBCEncryptDataParams:
	default:
		b.hashed(t)
		return
	}
	plain, block := make([]byte, 64), &mech{Type: encryptsLike[b.row.Type]}
	switch p := b.param.(type) {
	case *pkcs11.AESCBCEncryptDataParams:
		block.Params = pkcs11.IV(p.IV[:])
	case *pkcs11.DESCBCEncryptDataParams:
		block.Params = pkcs11.IV(p.IV[:])
	}
	require.NoError(t, b.EncryptInit(b.h, block, b.key.pub))
	o := &out{Capacity: 64}
	require.NoError(t, b.Encrypt(b.h, plain, o))
	for _, n := range []uint{0, 1, 16, 63, 64} {
		want := o.Bytes
		if n > 0 {
			want = want[:n]
		}
		require.Equal(t, want, b.derived(t, b.mech(), b.key.priv, n))
	}
	_, err := b.DeriveKey(b.h, b.mech(), b.key.priv, with(kind(pkcs11.CKO_SECRET_KEY, pkcs11.CKK_GENERIC_SECRET), num(pkcs11.CKA_VALUE_LEN, uint(65))))
	oneOf(t, err, pkcs11.CKR_DATA_LEN_RANGE, pkcs11.CKR_KEY_SIZE_RANGE)
}

// hashed derives by hashing, and compares with the row, which has its vectors.
func (b *battery) hashed(t *testing.T) {
	base := valueKey(b.key)
	natural := true
	for _, n := range []uint{0, 1, 16} {
		want, err := b.row.Derive(base, b.param, int(n))
		if n == 0 && pkcs11.RVOf(err) == pkcs11.CKR_TEMPLATE_INCOMPLETE {
			natural = false
			continue
		}
		require.NoError(t, err)
		require.Equal(t, want, b.derived(t, b.mech(), b.key.priv, n))
	}
	// A type that fixes the length of its keys says how much is derived.
	o, err := b.DeriveKey(b.h, b.mech(), b.key.priv, with(kind(pkcs11.CKO_SECRET_KEY, pkcs11.CKK_CHACHA20), readable))
	if want, e := b.row.Derive(base, b.param, 32); e == nil {
		require.NoError(t, err)
		b.has(t, b.h, o, octets(pkcs11.CKA_VALUE, want))
	} else {
		rv(t, pkcs11.CKR_KEY_SIZE_RANGE, err)
	}
	_, err = b.DeriveKey(b.h, b.mech(), b.key.priv, with(kind(pkcs11.CKO_SECRET_KEY, pkcs11.CKK_GENERIC_SECRET), num(pkcs11.CKA_VALUE_LEN, uint(1<<17))))
	oneOf(t, err, pkcs11.CKR_DATA_LEN_RANGE, pkcs11.CKR_KEY_SIZE_RANGE)
	if !natural {
		_, err = b.DeriveKey(b.h, b.mech(), b.key.priv, kind(pkcs11.CKO_SECRET_KEY, pkcs11.CKK_GENERIC_SECRET))
		rv(t, pkcs11.CKR_TEMPLATE_INCOMPLETE, err)
	}
}

// valueKey is a key of the set as a mechanism sees it.
func valueKey(m *madeKey) rows.Key {
	kt, _ := m.privKind.Uint(pkcs11.CKA_KEY_TYPE)
	return mechtest.Secret(pkcs11.KeyType(kt), m.values.Bytes(pkcs11.CKA_VALUE))
}

// agreeInField is agree for Diffie-Hellman over a prime field.
func (b *battery) agreeInField(t *testing.T) {
	kt, _ := b.key.privKind.Uint(pkcs11.CKA_KEY_TYPE)
	from, _ := materialOf(pkcs11.KeyType(kt))
	otherPub, other := b.pair(t, b.h, from.generator, from.public, with(readable, yes(pkcs11.CKA_DERIVE)))
	otherValue, _ := b.value(t, b.h, otherPub, pkcs11.CKA_VALUE).([]byte)
	with := func(y []byte) *mech {
		if p, ok := b.param.(*pkcs11.X942DH1DeriveParams); ok {
			return &mech{Type: b.row.Type, Params: &pkcs11.X942DH1DeriveParams{KDF: p.KDF, OtherInfo: p.OtherInfo, PublicData: y}}
		}
		return &mech{Type: b.row.Type, Params: pkcs11.IV(y)}
	}
	for _, n := range []uint{16, 32, 200} {
		one := b.derived(t, with(otherValue), b.key.priv, n)
		require.Len(t, one, int(n))
		require.Equal(t, one, b.derived(t, with(b.key.pubValues.Bytes(pkcs11.CKA_VALUE)), other, n))
	}
	for _, bad := range [][]byte{{}, {0}, {1}, from.public.Bytes(pkcs11.CKA_PRIME)} {
		_, err := b.DeriveKey(b.h, with(bad), b.key.priv, num(pkcs11.CKA_VALUE_LEN, uint(16)))
		rv(t, pkcs11.CKR_MECHANISM_PARAM_INVALID, err, "%x", bad)
	}
}

// agree lets two keys find the same secret, with each kind of key derivation function.
func (b *battery) agree(t *testing.T) {
	kt, _ := b.key.privKind.Uint(pkcs11.CKA_KEY_TYPE)
	from, _ := materialOf(pkcs11.KeyType(kt))
	otherPub, other := b.pair(t, b.h, from.generator, from.public, with(readable, yes(pkcs11.CKA_DERIVE)))
	otherPoint, _ := b.value(t, b.h, otherPub, pkcs11.CKA_EC_POINT).([]byte)
	point := b.key.pubValues.Bytes(pkcs11.CKA_EC_POINT)
	for _, kdf := range []pkcs11.KDFType{pkcs11.CKD_NULL, pkcs11.CKD_SHA1_KDF, pkcs11.CKD_SHA256_KDF, pkcs11.CKD_SHA3_512_KDF, pkcs11.CKD_SHA256_KDF_SP800} {
		seen := map[string]bool{}
		for _, n := range []uint{0, 16, 32} {
			if n == 0 && kdf != pkcs11.CKD_NULL {
				continue
			}
			one := b.derived(t, &mech{Type: b.row.Type, Params: &pkcs11.ECDH1DeriveParams{KDF: kdf, PublicData: otherPoint}}, b.key.priv, n)
			two := b.derived(t, &mech{Type: b.row.Type, Params: &pkcs11.ECDH1DeriveParams{KDF: kdf, PublicData: point}}, other, n)
			require.Equal(t, one, two, "KDF %v", kdf)
			if n > 0 {
				require.Len(t, one, int(n))
				seen[string(one)] = true
			}
			bare := otherPoint[2:]
			again := b.derived(t, &mech{Type: b.row.Type, Params: &pkcs11.ECDH1DeriveParams{KDF: kdf, PublicData: bare}}, b.key.priv, n)
			require.Equal(t, one, again, "the point without its DER frame")
		}
		require.Len(t, seen, 2)
	}
	bad := append([]byte{}, point[2:]...)
	if kt == uint(pkcs11.CKK_EC) {
		bad[len(bad)-1] ^= 1 // off the curve
	} else {
		clear(bad) // of small order
	}
	_, err := b.DeriveKey(b.h, &mech{Type: b.row.Type, Params: &pkcs11.ECDH1DeriveParams{KDF: pkcs11.CKD_NULL, PublicData: bad}}, b.key.priv,
		kind(pkcs11.CKO_SECRET_KEY, pkcs11.CKK_GENERIC_SECRET))
	rv(t, pkcs11.CKR_MECHANISM_PARAM_INVALID, err)
}
