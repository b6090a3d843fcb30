package rsa

import (
	"bytes"
	"crypto/rsa"
	"crypto/sha256"
	"math/big"
	"testing"

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/mech/mechtest"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// TestRawKEM holds the encapsulation of CKM_RSA_X_509 to the battery, which its other functions do not fit.
func TestRawKEM(t *testing.T) {
	private, public := testPair()
	m := row(t, pkcs11.CKM_RSA_X_509)
	kem := &mech.Mechanism{Type: m.Type, Encapsulate: m.Encapsulate, Decapsulate: m.Decapsulate, CiphertextLen: m.CiphertextLen}
	mechtest.Run(t, mechtest.Case{Row: kem, Key: private, Public: public, Costly: true})
}

// TestRawKEMIsRSASVE computes the ciphertext once more with math/big, and looks at the numbers that SP 800-56B leaves out.
func TestRawKEMIsRSASVE(t *testing.T) {
	private, public := testPair()
	pub, err := publicOf(public)
	if err != nil {
		t.Fatal(err)
	}
	n := pub.std.N
	value, ciphertext, err := generateRaw(public, nil, 0)
	if err != nil || len(value) != pub.size {
		t.Fatalf("a secret of %d bytes, error %v", len(value), err)
	}
	if want := new(big.Int).Exp(new(big.Int).SetBytes(value), big.NewInt(int64(pub.std.E)), n); want.Cmp(new(big.Int).SetBytes(ciphertext)) != 0 {
		t.Error("the ciphertext is not the secret to the public exponent")
	}
	for name, number := range map[string]*big.Int{
		"0": new(big.Int), "1": big.NewInt(1), "n-1": new(big.Int).Sub(n, big.NewInt(1)), "n": n, "n+1": new(big.Int).Add(n, big.NewInt(1)),
	} {
		if _, err := recoverRaw(private, nil, number.FillBytes(make([]byte, pub.size)), 0); pkcs11.RVOf(err) != pkcs11.CKR_WRAPPED_KEY_INVALID {
			t.Errorf("the ciphertext %s: %v", name, err)
		}
	}
}

// TestPaddedKEMIsEncryption opens what was encapsulated with crypto/rsa alone.
func TestPaddedKEMIsEncryption(t *testing.T) {
	private, public := testPair()
	priv, err := privateOf(private)
	if err != nil {
		t.Fatal(err)
	}
	oaep := &pkcs11.OAEPParams{HashAlg: pkcs11.CKM_SHA256, MGF: pkcs11.CKG_MGF1_SHA256, Source: pkcs11.CKZ_DATA_SPECIFIED, SourceData: []byte("label")}
	value, ciphertext, err := row(t, pkcs11.CKM_RSA_PKCS_OAEP).Encapsulate(public, oaep, 32)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := rsa.DecryptOAEP(sha256.New(), nil, priv.std, ciphertext, oaep.SourceData); err != nil || !bytes.Equal(got, value) {
		t.Errorf("OAEP: another secret, error %v", err)
	}
	value, ciphertext, err = row(t, pkcs11.CKM_RSA_PKCS).Encapsulate(public, nil, 48)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := rsa.DecryptPKCS1v15(nil, priv.std, ciphertext); err != nil || !bytes.Equal(got, value) {
		t.Errorf("PKCS #1 v1.5: another secret, error %v", err)
	}
	if again, _, err := row(t, pkcs11.CKM_RSA_PKCS).Encapsulate(public, nil, 48); err != nil || bytes.Equal(again, value) {
		t.Errorf("the same secret twice, error %v", err)
	}
}

// TestDecapsulateWantsTheLength: a secret of another length than the template's is refused, not cut.
func TestDecapsulateWantsTheLength(t *testing.T) {
	private, public := testPair()
	m := row(t, pkcs11.CKM_RSA_PKCS)
	_, ciphertext, err := m.Encapsulate(public, nil, 48)
	if err != nil {
		t.Fatal(err)
	}
	_, err = m.Decapsulate(private, nil, ciphertext, 32)
	wantRV(t, err, pkcs11.CKR_WRAPPED_KEY_LEN_RANGE)
	empty, err := m.Wrap(public, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = m.Decapsulate(private, nil, empty, 0)
	wantRV(t, err, pkcs11.CKR_WRAPPED_KEY_LEN_RANGE)
}
