package conformance

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// TestMasterSecretIsForTLS: what a master secret may be used for is the mechanism's to say; a template may say less (PKCS#11
// v3.2, TLS 1.2, Master key derivation).
func TestMasterSecretIsForTLS(t *testing.T) {
	type list = []pkcs11.MechanismType
	all := list{pkcs11.CKM_TLS12_KEY_AND_MAC_DERIVE, pkcs11.CKM_TLS12_KEY_SAFE_DERIVE, pkcs11.CKM_TLS_KDF, pkcs11.CKM_TLS_MAC,
		pkcs11.CKM_TLS12_KDF, pkcs11.CKM_TLS12_MAC}
	allowed := func(l list) T { return T{pkcs11.Attr(pkcs11.CKA_ALLOWED_MECHANISMS, l)} }
	random := pkcs11.SSL3RandomData{Client: message(32), Server: message(33)[1:]}
	plain := func() any { return &pkcs11.TLS12MasterKeyDeriveParams{Random: random, Hash: pkcs11.CKM_SHA256} }
	extended := func() any {
		return &pkcs11.TLS12ExtendedMasterKeyDeriveParams{SessionHash: message(32), Hash: pkcs11.CKM_SHA256}
	}
	each(t, func(t *testing.T, e *env) {
		h := e.user(t)
		premaster := e.create(t, h, with(kind(pkcs11.CKO_SECRET_KEY, pkcs11.CKK_GENERIC_SECRET), octets(pkcs11.CKA_VALUE, message(48)), yes(pkcs11.CKA_DERIVE)))
		for m, params := range map[pkcs11.MechanismType]func() any{
			pkcs11.CKM_TLS12_MASTER_KEY_DERIVE: plain, pkcs11.CKM_TLS12_MASTER_KEY_DERIVE_DH: plain,
			pkcs11.CKM_TLS12_EXTENDED_MASTER_KEY_DERIVE: extended, pkcs11.CKM_TLS12_EXTENDED_MASTER_KEY_DERIVE_DH: extended,
		} {
			derive := func(t T) (handle, error) { return e.DeriveKey(h, &mech{Type: m, Params: params()}, premaster, t) }
			for _, less := range []list{all, {pkcs11.CKM_TLS12_KEY_SAFE_DERIVE}, {pkcs11.CKM_TLS_MAC, pkcs11.CKM_TLS_KDF}} {
				o, err := derive(with(allowed(less), yes(pkcs11.CKA_SIGN, pkcs11.CKA_DERIVE)))
				require.NoError(t, err)
				e.has(t, h, o, allowed(less))
			}
			for _, more := range []list{{pkcs11.CKM_SHA256_HMAC}, append(list{pkcs11.CKM_CONCATENATE_BASE_AND_DATA}, all...), {pkcs11.CKM_TLS_MAC, m}} {
				_, err := derive(allowed(more))
				rv(t, pkcs11.CKR_TEMPLATE_INCONSISTENT, err)
			}
			o, err := derive(yes(pkcs11.CKA_SIGN, pkcs11.CKA_DERIVE))
			require.NoError(t, err)
			e.has(t, h, o, allowed(all))
			rv(t, pkcs11.CKR_MECHANISM_INVALID, e.SignInit(h, &mech{Type: pkcs11.CKM_SHA256_HMAC}, o))
			require.Error(t, e.SetAttributeValue(h, o, allowed(list{pkcs11.CKM_SHA256_HMAC})))
			_, err = e.CopyObject(h, o, allowed(list{pkcs11.CKM_SHA256_HMAC}))
			require.Error(t, err)
		}
	})
}
