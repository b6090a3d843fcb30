package ec

import (
	"bytes"
	"testing"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// TestEncapsulationIsECDH: what is encapsulated is what deriving from the ciphertext gives, on every curve.
func TestEncapsulationIsECDH(t *testing.T) {
	for _, c := range curves {
		if c.keyType == pkcs11.CKK_EC_EDWARDS {
			continue
		}
		private, public, _, _ := newPair(t, c)
		for _, kdf := range kdfs() {
			size := 20
			p := &pkcs11.ECDH1DeriveParams{KDF: kdf}
			if kdf != pkcs11.CKD_NULL {
				p.SharedData = []byte("shared")
			}
			value, ciphertext, err := encapsulate(public, p, size)
			if err != nil {
				t.Fatalf("%v, KDF %v: %v", c.names[0], kdf, err)
			}
			if len(ciphertext) != c.pointLen {
				t.Errorf("%v: a ciphertext of %d bytes", c.names[0], len(ciphertext))
			}
			want, err := derive(private, &pkcs11.ECDH1DeriveParams{KDF: kdf, SharedData: p.SharedData, PublicData: ciphertext}, size)
			if err != nil || !bytes.Equal(value, want) {
				t.Errorf("%v, KDF %v: another secret than by deriving, error %v", c.names[0], kdf, err)
			}
		}
	}
}

// TestEncapsulationTakesNoPeer: the other party's key is the function's own argument.
func TestEncapsulationTakesNoPeer(t *testing.T) {
	c := curves[1]
	private, public, _, _ := newPair(t, c)
	peer := peerPoint(t, c)
	p := &pkcs11.ECDH1DeriveParams{KDF: pkcs11.CKD_NULL, PublicData: peer}
	_, _, err := encapsulate(public, p, 0)
	wantRV(t, err, pkcs11.CKR_MECHANISM_PARAM_INVALID)
	_, err = decapsulate(private, p, peer, 0)
	wantRV(t, err, pkcs11.CKR_MECHANISM_PARAM_INVALID)
	_, err = ciphertextLen(public, p)
	wantRV(t, err, pkcs11.CKR_MECHANISM_PARAM_INVALID)
	off := bytes.Clone(peer)
	off[len(off)-1] ^= 1
	_, err = decapsulate(private, &pkcs11.ECDH1DeriveParams{KDF: pkcs11.CKD_NULL}, off, 0)
	wantRV(t, err, pkcs11.CKR_WRAPPED_KEY_INVALID)
}
