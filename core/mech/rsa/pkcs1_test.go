package rsa

import (
	"testing"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// TestPKCS1SaysThatDataIsTooLong, for which there cannot be a signature, instead of calling one bad.
func TestPKCS1SaysThatDataIsTooLong(t *testing.T) {
	private, public := testPair()
	m := row(t, pkcs11.CKM_RSA_PKCS)
	data := make([]byte, testBits/8-pkcs1Overhead)
	sig, err := sign(t, m, private, nil, data)
	if err != nil {
		t.Fatal(err)
	}
	wantRV(t, verify(t, m, public, nil, data, sig), pkcs11.CKR_OK)
	long := append(data, 0)
	_, err = sign(t, m, private, nil, long)
	wantRV(t, err, pkcs11.CKR_DATA_LEN_RANGE)
	wantRV(t, verify(t, m, public, nil, long, sig), pkcs11.CKR_DATA_LEN_RANGE)
}
