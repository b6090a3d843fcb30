package conformance

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// TestLengthOfWhatIsJoined: the cases of key type and length that the standard lists for keys that are joined and cut
// (PKCS#11 v3.2, Miscellaneous simple key derivation mechanisms).
func TestLengthOfWhatIsJoined(t *testing.T) {
	length := func(n uint) T { return num(pkcs11.CKA_VALUE_LEN, n) }
	of := func(kt pkcs11.KeyType) T { return num(pkcs11.CKA_KEY_TYPE, kt) }
	const all = 0 // bytes that the mechanism has
	const generic, incomplete, inconsistent = pkcs11.CKK_GENERIC_SECRET, pkcs11.CKR_TEMPLATE_INCOMPLETE, pkcs11.CKR_TEMPLATE_INCONSISTENT
	cases := map[string]struct {
		template T
		made     pkcs11.KeyType
		size     int
		refused  pkcs11.RV
	}{
		"neither":                               {nil, generic, all, 0},
		"a length":                              {length(20), generic, 20, 0},
		"a length of more than there is":        {length(81), 0, 0, pkcs11.CKR_KEY_SIZE_RANGE},
		"a type of one length":                  {of(pkcs11.CKK_CHACHA20), pkcs11.CKK_CHACHA20, 32, 0},
		"a type of one length, with parity":     {of(pkcs11.CKK_DES3), pkcs11.CKK_DES3, 24, 0},
		"a type of several lengths":             {of(pkcs11.CKK_AES), 0, 0, incomplete},
		"a type of any length":                  {of(generic), 0, 0, incomplete},
		"another type of any length":            {of(pkcs11.CKK_SHA256_HMAC), 0, 0, incomplete},
		"type and length":                       {with(of(pkcs11.CKK_AES), length(32)), pkcs11.CKK_AES, 32, 0},
		"generic secret and length":             {with(of(generic), length(5)), generic, 5, 0},
		"a length and the type's, the same":     {with(of(pkcs11.CKK_CHACHA20), length(32)), pkcs11.CKK_CHACHA20, 32, 0},
		"a length and the type's, another":      {with(of(pkcs11.CKK_CHACHA20), length(16)), 0, 0, inconsistent},
		"a length that the type does not have":  {with(of(pkcs11.CKK_AES), length(20)), 0, 0, pkcs11.CKR_ATTRIBUTE_VALUE_INVALID},
		"type and length of more than there is": {with(of(generic), length(81)), 0, 0, pkcs11.CKR_KEY_SIZE_RANGE},
	}
	each(t, func(t *testing.T, e *env) {
		h := e.user(t)
		_, old := e.GetMechanismInfo(e.slot, pkcs11.CKM_DES3_CBC) // which nodes do not have
		first, second, data := message(40), message(80)[40:], message(80)[40:]
		base := e.create(t, h, with(kind(pkcs11.CKO_SECRET_KEY, generic), octets(pkcs11.CKA_VALUE, first), readable, yes(pkcs11.CKA_DERIVE)))
		other := e.create(t, h, with(kind(pkcs11.CKO_SECRET_KEY, generic), octets(pkcs11.CKA_VALUE, second), readable, yes(pkcs11.CKA_DERIVE)))
		xored := make([]byte, len(first))
		for i := range xored {
			xored[i] = first[i] ^ data[i]
		}
		for _, m := range []struct {
			mech
			whole []byte
		}{
			{mech{Type: pkcs11.CKM_CONCATENATE_BASE_AND_KEY, Params: pkcs11.Handle(other)}, message(80)},
			{mech{Type: pkcs11.CKM_CONCATENATE_BASE_AND_DATA, Params: &pkcs11.KeyDerivationString{Data: data}}, message(80)},
			{mech{Type: pkcs11.CKM_CONCATENATE_DATA_AND_BASE, Params: &pkcs11.KeyDerivationString{Data: data}}, append(append([]byte{}, data...), first...)},
			{mech{Type: pkcs11.CKM_XOR_BASE_AND_DATA, Params: &pkcs11.KeyDerivationString{Data: data}}, xored},
		} {
			for name, c := range cases {
				if c.made == pkcs11.CKK_DES3 && old != nil {
					rv(t, pkcs11.CKR_MECHANISM_INVALID, old)
					continue
				}
				o, err := e.DeriveKey(h, &m.mech, base, with(c.template, readable))
				if c.refused != 0 {
					require.Equal(t, c.refused, pkcs11.RVOf(err), "%v, %s: %v", m.Type, name, err)
					continue
				}
				require.NoError(t, err, "%v, %s", m.Type, name)
				want := m.whole
				if c.size != all {
					want = want[:c.size]
				}
				if c.made == pkcs11.CKK_DES3 {
					want = oddParity(want)
				}
				e.has(t, h, o, with(kind(pkcs11.CKO_SECRET_KEY, c.made), octets(pkcs11.CKA_VALUE, want)))
				require.NoError(t, e.DestroyObject(h, o))
			}
			_, err := e.DeriveKey(h, &m.mech, base, with(num(pkcs11.CKA_CLASS, pkcs11.CKO_DATA)))
			rv(t, inconsistent, err)
		}
	})
}

// TestBaseSaysTheType: a type that the base key's CKA_DERIVE_TEMPLATE demands is one that the template says.
func TestBaseSaysTheType(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		h := e.user(t)
		aes := T{pkcs11.Attr(pkcs11.CKA_DERIVE_TEMPLATE, num(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_AES))}
		base := e.create(t, h, with(kind(pkcs11.CKO_SECRET_KEY, pkcs11.CKK_GENERIC_SECRET), octets(pkcs11.CKA_VALUE, message(16)), readable, yes(pkcs11.CKA_DERIVE), aes))
		m := &mech{Type: pkcs11.CKM_CONCATENATE_BASE_AND_DATA, Params: &pkcs11.KeyDerivationString{Data: message(16)}}
		_, err := e.DeriveKey(h, m, base, nil)
		rv(t, pkcs11.CKR_TEMPLATE_INCOMPLETE, err)
		o, err := e.DeriveKey(h, m, base, num(pkcs11.CKA_VALUE_LEN, uint(32)))
		require.NoError(t, err)
		e.has(t, h, o, kind(pkcs11.CKO_SECRET_KEY, pkcs11.CKK_AES))
	})
}

// oddParity sets the last bit of each byte so that it has an odd number of ones.
func oddParity(key []byte) []byte {
	out := make([]byte, len(key))
	for i, b := range key {
		ones := 0
		for bit := range 7 {
			ones += int(b>>(bit+1)) & 1
		}
		out[i] = b&0xfe | byte(1-ones%2)
	}
	return out
}
