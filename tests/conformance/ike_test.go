package conformance

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// TestIKEKeyTypes: the first key is one for the function that the next derivation works with, and has its length.
func TestIKEKeyTypes(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		h := e.user(t)
		base := e.create(t, h, secretKey(pkcs11.CKK_AES, message(16), yes(pkcs11.CKA_DERIVE), readable))
		gxy := e.create(t, h, secretKey(pkcs11.CKK_GENERIC_SECRET, message(32), yes(pkcs11.CKA_DERIVE), readable))
		first := &mech{Type: pkcs11.CKM_IKE_PRF_DERIVE, Params: &pkcs11.IKEPRFParams{PRF: pkcs11.CKM_AES_CMAC, Ni: []byte("Ni"), Nr: []byte("Nr")}}
		id, err := e.DeriveKey(h, first, base, with(yes(pkcs11.CKA_DERIVE), readable))
		require.NoError(t, err)
		e.has(t, h, id, T{pkcs11.AttrUlong(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_AES), pkcs11.AttrUlong(pkcs11.CKA_VALUE_LEN, 16)})
		_, err = e.DeriveKey(h, first, base, with(num(pkcs11.CKA_VALUE_LEN, uint(8)), kind(pkcs11.CKO_SECRET_KEY, pkcs11.CKK_GENERIC_SECRET), readable))
		rv(t, pkcs11.CKR_KEY_SIZE_RANGE, err)

		next := &mech{Type: pkcs11.CKM_IKE1_PRF_DERIVE, Params: &pkcs11.IKE1PRFParams{PRF: pkcs11.CKM_AES_CMAC, KeyGXY: pkcs11.Handle(gxy), CKYi: message(8), CKYr: message(8)}}
		_, err = e.DeriveKey(h, next, id, readable)
		rv(t, pkcs11.CKR_TEMPLATE_INCOMPLETE, err)
		_, err = e.DeriveKey(h, next, id, with(kind(pkcs11.CKO_SECRET_KEY, pkcs11.CKK_GENERIC_SECRET), readable))
		require.NoError(t, err)
	})
}
