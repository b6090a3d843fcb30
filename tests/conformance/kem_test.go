package conformance

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// encapsulators are the functions for key encapsulation.
type encapsulators interface {
	EncapsulateKey(h session, m *mech, public handle, template T, ciphertext *out) (handle, error)
	DecapsulateKey(h session, m *mech, private handle, template T, ciphertext []byte) (handle, error)
}

func (x *recorded) EncapsulateKey(h session, m *mech, public handle, template T, ciphertext *out) (handle, error) {
	v, err := x.Module.EncapsulateKey(h, m, public, template, ciphertext)
	return v, x.r.did("EncapsulateKey", pkcs11.CKF_ENCAPSULATE, m, ciphertext, err)
}

func (x *recorded) DecapsulateKey(h session, m *mech, private handle, template T, ciphertext []byte) (handle, error) {
	v, err := x.Module.DecapsulateKey(h, m, private, template, ciphertext)
	return v, x.r.did("DecapsulateKey", pkcs11.CKF_DECAPSULATE, m, nil, err)
}

// kems are the mechanism with the parameters that it takes for encapsulation.
func (b *battery) kems() []*mech {
	if _, ok := b.param.(*pkcs11.ECDH1DeriveParams); !ok {
		return []*mech{b.mech()}
	}
	var list []*mech
	for _, kdf := range []pkcs11.KDFType{pkcs11.CKD_NULL, pkcs11.CKD_SHA256_KDF, pkcs11.CKD_SHA3_512_KDF} {
		list = append(list, &mech{Type: b.row.Type, Params: &pkcs11.ECDH1DeriveParams{KDF: kdf}})
	}
	return list
}

// encapsulate makes a key at one side and gets it back at the other.
func (b *battery) encapsulate(t *testing.T) {
	if b.row.Encapsulate == nil {
		return
	}
	lengths := b.r.secrets
	if lengths == nil {
		lengths = []uint{16, 32}
	}
	for _, m := range b.kems() {
		for _, n := range lengths {
			template := with(kind(pkcs11.CKO_SECRET_KEY, pkcs11.CKK_GENERIC_SECRET), readable)
			if n > 0 {
				template = with(template, num(pkcs11.CKA_VALUE_LEN, n))
			}
			var one handle
			ciphertext := b.sized(t, func(o *out) (err error) {
				before := len(b.find(t, b.h, nil))
				one, err = b.EncapsulateKey(b.h, m, b.key.pub, template, o)
				if err != nil || o.Query {
					require.Len(t, b.find(t, b.h, nil), before, "no ciphertext, no key")
				}
				return err
			})
			two, err := b.DecapsulateKey(b.h, m, b.key.priv, template, ciphertext)
			require.NoError(t, err)
			value, _ := b.value(t, b.h, one, pkcs11.CKA_VALUE).([]byte)
			require.NotEmpty(t, value)
			for _, o := range []handle{one, two} {
				b.has(t, b.h, o, with(octets(pkcs11.CKA_VALUE, value), num(pkcs11.CKA_VALUE_LEN, uint(len(value))),
					no(pkcs11.CKA_LOCAL, pkcs11.CKA_ALWAYS_SENSITIVE, pkcs11.CKA_NEVER_EXTRACTABLE)))
				require.NoError(t, b.DestroyObject(b.h, o))
			}
			b.otherCiphertexts(t, m, template, ciphertext, value)
		}
	}
}

// otherCiphertexts never give the same key.
func (b *battery) otherCiphertexts(t *testing.T, m *mech, template T, ciphertext, value []byte) {
	for _, at := range []int{0, len(ciphertext) / 2, len(ciphertext) - 1} {
		bad := append([]byte{}, ciphertext...)
		bad[at] ^= 1
		o, err := b.DecapsulateKey(b.h, m, b.key.priv, template, bad)
		if err != nil {
			oneOf(t, err, pkcs11.CKR_WRAPPED_KEY_INVALID, pkcs11.CKR_WRAPPED_KEY_LEN_RANGE)
			continue
		}
		require.NotEqual(t, value, b.value(t, b.h, o, pkcs11.CKA_VALUE), "byte %d", at)
		require.NoError(t, b.DestroyObject(b.h, o))
	}
	for _, n := range []int{0, 1, len(ciphertext) - 1} {
		_, err := b.DecapsulateKey(b.h, m, b.key.priv, template, ciphertext[:n])
		oneOf(t, err, pkcs11.CKR_WRAPPED_KEY_INVALID, pkcs11.CKR_WRAPPED_KEY_LEN_RANGE)
	}
}

// encapsulation are the uses of a row with key encapsulation, for the battery of refusals.
func (b *battery) encapsulation() []use {
	h, m := b.h, b.row
	target := with(kind(pkcs11.CKO_SECRET_KEY, pkcs11.CKK_GENERIC_SECRET), num(pkcs11.CKA_VALUE_LEN, uint(16)))
	bare := func(m *mech) *mech {
		if p, ok := m.Params.(*pkcs11.ECDH1DeriveParams); ok {
			return &mech{Type: m.Type, Params: &pkcs11.ECDH1DeriveParams{KDF: p.KDF}}
		}
		return m
	}
	return []use{
		{"encapsulate", m.Encapsulate != nil, pkcs11.CKA_ENCAPSULATE, true, func(m *mech, key handle) error {
			_, err := b.EncapsulateKey(h, bare(m), key, target, &out{Capacity: 1 << 16})
			return err
		}, nil, pkcs11.CKR_KEY_TYPE_INCONSISTENT, pkcs11.CKR_KEY_HANDLE_INVALID},
		{"decapsulate", m.Decapsulate != nil, pkcs11.CKA_DECAPSULATE, false, func(m *mech, key handle) error {
			_, err := b.DecapsulateKey(h, bare(m), key, target, make([]byte, 512))
			return err
		}, nil, pkcs11.CKR_UNWRAPPING_KEY_TYPE_INCONSISTENT, pkcs11.CKR_UNWRAPPING_KEY_HANDLE_INVALID},
	}
}

// TestEncapsulatedKeys: templates of both keys are obeyed, defaults are the standard's, and what a session may not do is
// refused.
func TestEncapsulatedKeys(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		h := e.user(t)
		kem := &mech{Type: pkcs11.CKM_ECDH1_DERIVE, Params: &pkcs11.ECDH1DeriveParams{KDF: pkcs11.CKD_SHA256_KDF}}
		derived := T{pkcs11.Attr(pkcs11.CKA_ENCAPSULATE_TEMPLATE, with(text(pkcs11.CKA_LABEL, "made"), no(pkcs11.CKA_EXTRACTABLE)))}
		back := T{pkcs11.Attr(pkcs11.CKA_DECAPSULATE_TEMPLATE, with(text(pkcs11.CKA_LABEL, "got"), yes(pkcs11.CKA_SENSITIVE)))}
		pub, priv := e.pair(t, h, pkcs11.CKM_EC_KEY_PAIR_GEN, with(octets(pkcs11.CKA_EC_PARAMS, p256), yes(pkcs11.CKA_ENCAPSULATE), derived),
			with(yes(pkcs11.CKA_DECAPSULATE), back))
		aes := with(aesKind, num(pkcs11.CKA_VALUE_LEN, uint(32)))
		o := &out{Capacity: 65}
		made, err := e.EncapsulateKey(h, kem, pub, aes, o)
		require.NoError(t, err)
		e.has(t, h, made, with(text(pkcs11.CKA_LABEL, "made"), no(pkcs11.CKA_EXTRACTABLE, pkcs11.CKA_NEVER_EXTRACTABLE, pkcs11.CKA_TOKEN)))
		got, err := e.DecapsulateKey(h, kem, priv, aes, o.Bytes)
		require.NoError(t, err)
		e.has(t, h, got, with(text(pkcs11.CKA_LABEL, "got"), yes(pkcs11.CKA_EXTRACTABLE, pkcs11.CKA_SENSITIVE), no(pkcs11.CKA_ALWAYS_SENSITIVE)))
		require.Equal(t, e.value(t, h, made, pkcs11.CKA_CHECK_VALUE), e.value(t, h, got, pkcs11.CKA_CHECK_VALUE))
		e.hides(t, h, got, secret)

		for name, c := range map[string]struct {
			template T
			want     pkcs11.RV
		}{
			"with a value":     {with(aes, octets(pkcs11.CKA_VALUE, message(32))), pkcs11.CKR_ATTRIBUTE_READ_ONLY},
			"as data":          {num(pkcs11.CKA_CLASS, pkcs11.CKO_DATA), pkcs11.CKR_TEMPLATE_INCONSISTENT},
			"as a private key": {kind(pkcs11.CKO_PRIVATE_KEY, pkcs11.CKK_EC), pkcs11.CKR_TEMPLATE_INCONSISTENT},
			"of no length":     {aesKind, pkcs11.CKR_TEMPLATE_INCOMPLETE},
			"without end":      {with(aesKind, num(pkcs11.CKA_VALUE_LEN, ^uint(0))), pkcs11.CKR_KEY_SIZE_RANGE},
			"trusted":          {with(aes, yes(pkcs11.CKA_TRUSTED)), pkcs11.CKR_ATTRIBUTE_READ_ONLY},
		} {
			_, err := e.EncapsulateKey(h, kem, pub, c.template, &out{Capacity: 99})
			rv(t, c.want, err, "encapsulate", name)
			_, err = e.DecapsulateKey(h, kem, priv, c.template, o.Bytes)
			rv(t, c.want, err, "decapsulate", name)
		}
		against := with(aes, text(pkcs11.CKA_LABEL, "other")) // what the keys' templates demand
		_, err = e.EncapsulateKey(h, kem, pub, against, &out{Capacity: 99})
		rv(t, pkcs11.CKR_KEY_HANDLE_INVALID, err)
		_, err = e.DecapsulateKey(h, kem, priv, against, o.Bytes)
		rv(t, pkcs11.CKR_TEMPLATE_INCONSISTENT, err)
		for name, m := range map[string]*mech{
			"no mechanism":          nil,
			"no encapsulation":      {Type: pkcs11.CKM_ECDSA},
			"somebody's public key": {Type: kem.Type, Params: &pkcs11.ECDH1DeriveParams{KDF: pkcs11.CKD_NULL, PublicData: o.Bytes}},
		} {
			_, err := e.EncapsulateKey(h, m, pub, aes, &out{Capacity: 99})
			oneOf(t, err, pkcs11.CKR_ARGUMENTS_BAD, pkcs11.CKR_MECHANISM_INVALID, pkcs11.CKR_MECHANISM_PARAM_INVALID)
			_, err = e.DecapsulateKey(h, m, priv, aes, o.Bytes)
			oneOf(t, err, pkcs11.CKR_ARGUMENTS_BAD, pkcs11.CKR_MECHANISM_INVALID, pkcs11.CKR_MECHANISM_PARAM_INVALID)
			require.Error(t, err, name)
		}

		token := with(aes, yes(pkcs11.CKA_TOKEN))
		ro := e.open(t, 0)
		_, err = e.EncapsulateKey(ro, kem, pub, token, &out{Capacity: 99})
		rv(t, pkcs11.CKR_SESSION_READ_ONLY, err)
		_, err = e.DecapsulateKey(ro, kem, priv, token, o.Bytes)
		rv(t, pkcs11.CKR_SESSION_READ_ONLY, err)
		kept, err := e.EncapsulateKey(h, kem, pub, token, o)
		require.NoError(t, err)
		again, err := e.DecapsulateKey(h, kem, priv, token, o.Bytes)
		require.NoError(t, err)
		e.has(t, h, kept, yes(pkcs11.CKA_TOKEN))
		require.Equal(t, e.value(t, h, kept, pkcs11.CKA_CHECK_VALUE), e.value(t, h, again, pkcs11.CKA_CHECK_VALUE))

		_, asks := e.pair(t, h, pkcs11.CKM_EC_KEY_PAIR_GEN, octets(pkcs11.CKA_EC_PARAMS, p256), yes(pkcs11.CKA_DECAPSULATE, pkcs11.CKA_ALWAYS_AUTHENTICATE))
		_, err = e.DecapsulateKey(h, kem, asks, aes, o.Bytes)
		rv(t, pkcs11.CKR_USER_NOT_LOGGED_IN, err)
	})
}
