package conformance

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// element is one tag-length-value of DER, by where its parts begin.
type element struct{ tag, value, end int }

// elements are all that b holds, from the outside in. OCTET STRINGs are looked into where that makes sense.
func elements(b []byte, from, to int) (list []element) {
	for at := from; at+2 <= to; {
		value, n := at+2, int(b[at+1])
		if n >= 0x80 {
			octets := n & 0x7f
			if n == 0x80 || octets > 3 || value+octets > to {
				return list
			}
			n = 0
			for _, o := range b[value : value+octets] {
				n = n<<8 | int(o)
			}
			value += octets
		}
		if value+n > to {
			return list
		}
		list = append(list, element{at, value, value + n})
		if tag := b[at]; tag&0x20 != 0 || tag == 4 && n > 2 && (b[value] == 0x30 || b[value] == 4) {
			list = append(list, elements(b, value, value+n)...)
		}
		at = value + n
	}
	return list
}

// outOfShape are forms of b that are no DER, or not of this structure, each with what was done to it.
func outOfShape(b []byte) map[string][]byte {
	bad := map[string][]byte{"nothing": {}, "a zero": {0}, "a byte too many": append(slices.Clone(b), 0), "twice": append(slices.Clone(b), b...)}
	step := max(len(b)/60, 1)
	for n := 1; n < len(b); n += step {
		bad[fmt.Sprintf("the first %d of %d bytes", n, len(b))] = b[:n]
	}
	all := elements(b, 0, len(b))
	for _, x := range all[:min(len(all), 12)] {
		header, rest := slices.Clone(b[:x.tag+1]), b[x.value:]
		n := x.end - x.value
		with := func(length ...byte) []byte { return append(append(slices.Clone(header), length...), rest...) }
		at := fmt.Sprintf(" at %d", x.tag)
		bad["no definite length"+at] = with(0x80)
		bad["a length of 2^32-1"+at] = with(0x84, 0xff, 0xff, 0xff, 0xff)
		bad["a length of 127 bytes"+at] = with(bytes.Repeat([]byte{0xff}, 128)...)
		bad["a length with zeros in front"+at] = with(0x84, 0, 0, byte(n>>8), byte(n))
	}
	return bad
}

// TestMalformedDEROfPrivateKeys: what comes out of an unwrapping and is no PKCS #8 in DER is refused, whatever is wrong
// with it; where a bit is wrong, the key is refused or is a key.
func TestMalformedDEROfPrivateKeys(t *testing.T) {
	m := &mech{Type: pkcs11.CKM_AES_CBC_PAD, Params: pkcs11.IV(make([]byte, 16))}
	refusals := []pkcs11.RV{pkcs11.CKR_WRAPPED_KEY_INVALID, pkcs11.CKR_WRAPPED_KEY_LEN_RANGE}
	each(t, func(t *testing.T, e *env) {
		h := e.user(t)
		kek := e.aes(t, h, wrapping, yes(pkcs11.CKA_ENCRYPT, pkcs11.CKA_DECRYPT))
		for _, kt := range []pkcs11.KeyType{pkcs11.CKK_RSA, pkcs11.CKK_EC, pkcs11.CKK_EC_EDWARDS, pkcs11.CKK_EC_MONTGOMERY,
			pkcs11.CKK_ML_DSA, pkcs11.CKK_ML_KEM, pkcs11.CKK_SLH_DSA, pkcs11.CKK_DH, pkcs11.CKK_DSA} {
			from, _ := materialOf(kt)
			if _, err := e.GetMechanismInfo(e.slot, from.generator); err != nil {
				continue // the stack's policy has no old ones
			}
			_, priv := e.pair(t, h, from.generator, from.public, with(from.private, leaves))
			der, err := e.decrypted(h, m, kek, e.wrapped(t, h, m, kek, priv))
			require.NoError(t, err)
			unwrap := func(kt pkcs11.KeyType, der []byte) error {
				made, err := e.UnwrapKey(h, m, kek, e.sealed(t, h, m, kek, der), kind(pkcs11.CKO_PRIVATE_KEY, kt))
				if err == nil {
					require.NoError(t, e.DestroyObject(h, made))
				}
				return err
			}
			require.NoError(t, unwrap(kt, der), "%v as it was", kt)
			for what, bad := range outOfShape(der) {
				require.Contains(t, refusals, pkcs11.RVOf(unwrap(kt, bad)), "%v, %s", kt, what)
			}
			for i := 0; i < len(der); i += max(len(der)/40, 1) {
				bad := slices.Clone(der)
				bad[i] ^= 1 << (i % 8)
				require.Contains(t, append(refusals, pkcs11.CKR_OK, pkcs11.CKR_TEMPLATE_INCONSISTENT), pkcs11.RVOf(unwrap(kt, bad)), "%v, bit %d of byte %d", kt, i%8, i)
			}
			for _, other := range []pkcs11.KeyType{pkcs11.CKK_RSA, pkcs11.CKK_EC, pkcs11.CKK_EC_EDWARDS, pkcs11.CKK_ML_DSA} {
				if other != kt {
					oneOf(t, unwrap(other, der), pkcs11.CKR_WRAPPED_KEY_INVALID, pkcs11.CKR_TEMPLATE_INCONSISTENT)
				}
			}
		}
	})
}

// TestMalformedDEROfCurves: names of curves and points that are no DER are refused, and so are curves given by their
// equation.
func TestMalformedDEROfCurves(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		h := e.user(t)
		for _, c := range []struct {
			kt     pkcs11.KeyType
			params []byte
		}{{pkcs11.CKK_EC, p256}, {pkcs11.CKK_EC_EDWARDS, ed25519}, {pkcs11.CKK_EC_MONTGOMERY, x25519}} {
			good := newKeySet(e, h).of(t, c.kt).pubValues.Bytes(pkcs11.CKA_EC_POINT)
			public := func(params, point []byte) error {
				return second(e.CreateObject(h, with(kind(pkcs11.CKO_PUBLIC_KEY, c.kt), octets(pkcs11.CKA_EC_PARAMS, params), octets(pkcs11.CKA_EC_POINT, point))))
			}
			require.NoError(t, public(c.params, good))
			explicit := append([]byte{0x30, byte(len(c.params)) + 3, 2, 1, 1}, c.params...)
			for what, bad := range outOfShape(c.params) {
				oneOf(t, public(bad, good), pkcs11.CKR_ATTRIBUTE_VALUE_INVALID, pkcs11.CKR_DOMAIN_PARAMS_INVALID, pkcs11.CKR_CURVE_NOT_SUPPORTED)
				_, _, err := e.GenerateKeyPair(h, &mech{Type: pkcs11.CKM_EC_KEY_PAIR_GEN}, octets(pkcs11.CKA_EC_PARAMS, bad), nil)
				require.Contains(t, []pkcs11.RV{pkcs11.CKR_ATTRIBUTE_VALUE_INVALID, pkcs11.CKR_DOMAIN_PARAMS_INVALID, pkcs11.CKR_CURVE_NOT_SUPPORTED}, pkcs11.RVOf(err), what)
			}
			oneOf(t, public(explicit, good), pkcs11.CKR_ATTRIBUTE_VALUE_INVALID, pkcs11.CKR_DOMAIN_PARAMS_INVALID, pkcs11.CKR_CURVE_NOT_SUPPORTED)
			for what, bad := range outOfShape(good) {
				if len(bad) == len(good)-2 {
					continue // as long as a point without its frame, which is taken too
				}
				if strings.Contains(what, " at ") && !strings.HasSuffix(what, " at 0") {
					continue // inside the point, whose bytes have no form and by chance look like one
				}
				require.Contains(t, []pkcs11.RV{pkcs11.CKR_ATTRIBUTE_VALUE_INVALID, pkcs11.CKR_DOMAIN_PARAMS_INVALID}, pkcs11.RVOf(public(c.params, bad)), what)
			}
		}
	})
}
