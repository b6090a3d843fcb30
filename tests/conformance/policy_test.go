package conformance

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// material of each kind of key that holds a secret.
var secretOf = map[pkcs11.KeyType][]pkcs11.AttributeType{
	pkcs11.CKK_AES:            secret,
	pkcs11.CKK_GENERIC_SECRET: secret,
	pkcs11.CKK_EC:             secret,
	pkcs11.CKK_EC_EDWARDS:     secret,
	pkcs11.CKK_EC_MONTGOMERY:  secret,
	pkcs11.CKK_RSA: {pkcs11.CKA_PRIVATE_EXPONENT, pkcs11.CKA_PRIME_1, pkcs11.CKA_PRIME_2, pkcs11.CKA_EXPONENT_1,
		pkcs11.CKA_EXPONENT_2, pkcs11.CKA_COEFFICIENT},
}

// TestSensitiveIsNeverRevealed by reading, copying or setting; and what cannot leave cannot be read either.
func TestSensitiveIsNeverRevealed(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		h := e.user(t)
		set := newKeySet(e, h)
		for kt, hidden := range secretOf {
			k := set.of(t, kt)
			for _, protection := range []T{
				with(yes(pkcs11.CKA_SENSITIVE, pkcs11.CKA_EXTRACTABLE)),
				with(no(pkcs11.CKA_SENSITIVE, pkcs11.CKA_EXTRACTABLE)),
				with(yes(pkcs11.CKA_SENSITIVE), no(pkcs11.CKA_EXTRACTABLE), yes(pkcs11.CKA_TOKEN)),
			} {
				o := set.anew(t, k, false, protection)
				e.hides(t, h, o, hidden)
				plain, err := e.CopyObject(h, o, nil)
				require.NoError(t, err)
				e.hides(t, h, plain, hidden)
				for _, weaker := range []T{no(pkcs11.CKA_SENSITIVE), yes(pkcs11.CKA_EXTRACTABLE), readable} {
					err := e.SetAttributeValue(h, o, weaker)
					oneOf(t, err, pkcs11.CKR_OK, pkcs11.CKR_ATTRIBUTE_READ_ONLY) // OK where it is no change
					e.hides(t, h, o, hidden)
					if c, err := e.CopyObject(h, o, weaker); err == nil {
						e.hides(t, h, c, hidden)
					} else {
						rv(t, pkcs11.CKR_ATTRIBUTE_READ_ONLY, err)
					}
				}
				require.NoError(t, e.DestroyObject(h, o))
			}
			open := set.anew(t, k, false)
			e.has(t, h, open, k.values) // that there was something to hide
			require.NoError(t, e.SetAttributeValue(h, open, yes(pkcs11.CKA_SENSITIVE)))
			e.hides(t, h, open, hidden)
			e.has(t, h, open, no(pkcs11.CKA_ALWAYS_SENSITIVE))
		}
	})
}

func (e *env) hides(t *testing.T, h session, o handle, hidden []pkcs11.AttributeType) {
	t.Helper()
	for _, a := range hidden {
		require.Equal(t, pkcs11.CKR_ATTRIBUTE_SENSITIVE, e.missing(t, h, o, a), "%v", a)
	}
}

// TestPrivateStaysPrivate: no copy is easier to reach than its source.
func TestPrivateStaysPrivate(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		h := e.user(t)
		o := e.aes(t, h)
		e.has(t, h, o, yes(pkcs11.CKA_PRIVATE)) // the default of secret keys
		_, err := e.CopyObject(h, o, no(pkcs11.CKA_PRIVATE))
		rv(t, pkcs11.CKR_ATTRIBUTE_READ_ONLY, err)
		rv(t, pkcs11.CKR_ATTRIBUTE_READ_ONLY, e.SetAttributeValue(h, o, no(pkcs11.CKA_PRIVATE)))
		pub := e.create(t, h, data("public"))
		e.has(t, h, pub, no(pkcs11.CKA_PRIVATE))
		priv, err := e.CopyObject(h, pub, yes(pkcs11.CKA_PRIVATE))
		require.NoError(t, err)
		e.has(t, h, priv, yes(pkcs11.CKA_PRIVATE))
	})
}

// TestUserCannotSetTrusted, by no function; the SO can, and then the user cannot change the object.
func TestUserCannotSetTrusted(t *testing.T) {
	der, _ := certificate(t)
	cert := with(num(pkcs11.CKA_CLASS, pkcs11.CKO_CERTIFICATE), num(pkcs11.CKA_CERTIFICATE_TYPE, pkcs11.CKC_X_509),
		octets(pkcs11.CKA_VALUE, der), yes(pkcs11.CKA_TOKEN))
	trusted := yes(pkcs11.CKA_TRUSTED)
	each(t, func(t *testing.T, e *env) {
		h := e.user(t)
		key := e.aes(t, h, yes(pkcs11.CKA_WRAP, pkcs11.CKA_UNWRAP, pkcs11.CKA_DERIVE))
		o := e.create(t, h, cert)
		for name, err := range map[string]error{
			"create":   second(e.CreateObject(h, with(cert, trusted))),
			"import":   second(e.CreateObject(h, secretKey(pkcs11.CKK_AES, message(16), trusted))),
			"generate": second(e.GenerateKey(h, &mech{Type: pkcs11.CKM_AES_KEY_GEN}, with(num(pkcs11.CKA_VALUE_LEN, uint(16)), trusted))),
			"copy":     second(e.CopyObject(h, o, trusted)),
			"set":      e.SetAttributeValue(h, o, trusted),
			"set key":  e.SetAttributeValue(h, key, trusted),
			"unwrap":   second(e.UnwrapKey(h, &mech{Type: pkcs11.CKM_AES_ECB}, key, make([]byte, 16), with(kind(pkcs11.CKO_SECRET_KEY, pkcs11.CKK_AES), trusted))),
			"derive": second(e.DeriveKey(h, &mech{Type: pkcs11.CKM_AES_ECB_ENCRYPT_DATA, Params: &pkcs11.KeyDerivationString{Data: make([]byte, 16)}},
				key, with(kind(pkcs11.CKO_SECRET_KEY, pkcs11.CKK_AES), trusted))),
		} {
			rv(t, pkcs11.CKR_ATTRIBUTE_READ_ONLY, err, name)
		}
		e.has(t, h, o, no(pkcs11.CKA_TRUSTED))

		e.nobody(t)
		h = e.public(t)
		require.NoError(t, e.Login(h, pkcs11.CKU_SO, soPIN))
		o = e.find(t, h, octets(pkcs11.CKA_VALUE, der))[0]
		require.NoError(t, e.SetAttributeValue(h, o, trusted))
		require.NoError(t, e.Logout(h))
		require.NoError(t, e.Login(h, pkcs11.CKU_USER, userPIN))
		e.has(t, h, o, trusted)
		rv(t, pkcs11.CKR_ACTION_PROHIBITED, e.SetAttributeValue(h, o, text(pkcs11.CKA_LABEL, "mine")))
		c, err := e.CopyObject(h, o, nil)
		require.NoError(t, err)
		e.has(t, h, c, no(pkcs11.CKA_TRUSTED))
		require.NoError(t, e.DestroyObject(h, o))
		require.NoError(t, e.DestroyObject(h, c))
	})
}

// second drops a result.
func second[V any](_ V, err error) error { return err }

// TestAllowedMechanismsUnsetIsNotAnEmptyList: clients take an empty list for "none allowed".
func TestAllowedMechanismsUnsetIsNotAnEmptyList(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		h := e.user(t)
		require.Equal(t, pkcs11.CKR_ATTRIBUTE_TYPE_INVALID, e.missing(t, h, e.aes(t, h), pkcs11.CKA_ALLOWED_MECHANISMS))
		list := T{pkcs11.Attr(pkcs11.CKA_ALLOWED_MECHANISMS, []pkcs11.MechanismType{pkcs11.CKM_AES_GCM, pkcs11.CKM_AES_CMAC})}
		o := e.aes(t, h, list)
		e.has(t, h, o, list)
		c, err := e.CopyObject(h, o, nil)
		require.NoError(t, err)
		rv(t, pkcs11.CKR_MECHANISM_INVALID, e.EncryptInit(h, &mech{Type: pkcs11.CKM_AES_ECB}, c), "a copy is bound as well")
		all := T{pkcs11.Attr(pkcs11.CKA_ALLOWED_MECHANISMS, []pkcs11.MechanismType{pkcs11.CKM_AES_ECB})}
		rv(t, pkcs11.CKR_ATTRIBUTE_READ_ONLY, e.SetAttributeValue(h, o, all))
		_, err = e.CopyObject(h, o, all)
		rv(t, pkcs11.CKR_ATTRIBUTE_READ_ONLY, err)
	})
}

func TestGetAttributeValueFillsTheRestAfterABadAttribute(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		h := e.user(t)
		o := e.aes(t, h, text(pkcs11.CKA_LABEL, "still here"))
		values, err := e.GetAttributeValue(h, o, []pkcs11.AttributeType{
			pkcs11.CKA_VALUE, pkcs11.CKA_MODULUS, pkcs11.CKA_VENDOR_DEFINED + 5, pkcs11.CKA_LABEL, pkcs11.CKA_VALUE_LEN,
		})
		require.NoError(t, err)
		rv(t, pkcs11.CKR_ATTRIBUTE_SENSITIVE, values[0].Err)
		rv(t, pkcs11.CKR_ATTRIBUTE_TYPE_INVALID, values[1].Err)
		rv(t, pkcs11.CKR_ATTRIBUTE_TYPE_INVALID, values[2].Err)
		require.Equal(t, []byte("still here"), values[3].Value)
		require.Equal(t, uint(32), values[4].Value)
		for _, v := range values[:3] {
			require.Nil(t, v.Value)
		}
	})
}

func TestPrivateObjectsWantTheUser(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		h := e.user(t)
		mine := e.create(t, h, data("private", yes(pkcs11.CKA_TOKEN, pkcs11.CKA_PRIVATE)))
		key := e.aes(t, h, yes(pkcs11.CKA_TOKEN))
		all := e.create(t, h, data("public", yes(pkcs11.CKA_TOKEN)))
		require.NoError(t, e.Logout(h))
		require.Empty(t, e.find(t, h, text(pkcs11.CKA_LABEL, "private")))
		require.NotEmpty(t, e.find(t, h, text(pkcs11.CKA_LABEL, "public")))
		e.has(t, h, all, text(pkcs11.CKA_LABEL, "public"))
		for _, gone := range []handle{mine, key} {
			_, err := e.GetAttributeValue(h, gone, []pkcs11.AttributeType{pkcs11.CKA_LABEL})
			rv(t, pkcs11.CKR_OBJECT_HANDLE_INVALID, err)
			rv(t, pkcs11.CKR_OBJECT_HANDLE_INVALID, e.DestroyObject(h, gone))
			rv(t, pkcs11.CKR_KEY_HANDLE_INVALID, e.EncryptInit(h, &mech{Type: pkcs11.CKM_AES_ECB}, gone))
		}
		_, err := e.CreateObject(h, data("x", yes(pkcs11.CKA_PRIVATE)))
		rv(t, pkcs11.CKR_USER_NOT_LOGGED_IN, err)
		require.NoError(t, e.Login(h, pkcs11.CKU_USER, userPIN))
		require.NotEmpty(t, e.find(t, h, text(pkcs11.CKA_LABEL, "private")))
	})
}
