package ec

import (
	"golang.org/x/crypto/cryptobyte"
	der "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/mech/aes"
	"github.com/coffer-hsm/coffer/core/secret"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// aesWrapping is CKM_ECDH_AES_KEY_WRAP and its like: the target key under AES-KWP with the key that a new key pair and the
// wrapping key agree on, and the new pair's public point in front of it. PKCS#11 v3.2, ECDH AES KEY WRAP and what follows.
//
// For CKM_ECDH_AES_KEY_WRAP the standard does not say in which form the point stands there. It is the uncompressed point
// without DER, the one form that CKM_ECDH1_DERIVE must take and whose length is that of the unwrapping key's own.
type aesWrapping struct {
	mechanism pkcs11.MechanismType
	keyType   pkcs11.KeyType
	boxed     bool // the point is in a DER OCTET STRING
}

var aesWrappings = []aesWrapping{
	{pkcs11.CKM_ECDH_AES_KEY_WRAP, pkcs11.CKK_EC, false},
	{pkcs11.CKM_ECDH_COF_AES_KEY_WRAP, pkcs11.CKK_EC, true}, // all curves of CKK_EC here have cofactor 1
	{pkcs11.CKM_ECDH_X_AES_KEY_WRAP, pkcs11.CKK_EC_MONTGOMERY, false},
}

// split parts a wrapped key into the point, which is nil if it is none, and the rest.
func (w aesWrapping) split(c *curve, wrapped []byte) (point, body []byte) {
	rest := cryptobyte.String(wrapped)
	var given cryptobyte.String
	if w.boxed {
		if !rest.ReadASN1(&given, der.OCTET_STRING) {
			return nil, nil
		}
	} else if !rest.ReadBytes((*[]byte)(&given), c.pointLen) {
		return nil, nil
	}
	return c.uncompressed(given), rest
}

// aesWrapKDF checks the parameter and returns the function from a shared secret to the AES key.
func aesWrapKDF(param any) (func(z []byte) ([]byte, error), error) {
	p, ok := param.(*pkcs11.ECDHAESKeyWrapParams)
	if !ok || p == nil {
		return nil, pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "CK_ECDH_AES_KEY_WRAP_PARAMS needed, got %T", param)
	}
	switch p.AESKeyBits {
	case 128, 192, 256:
	default:
		return nil, pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "an AES key of %d bits", p.AESKeyBits)
	}
	size := int(p.AESKeyBits / 8)
	kdf, err := kdfOf(&pkcs11.ECDH1DeriveParams{KDF: p.KDF, SharedData: p.SharedData})
	if err != nil {
		return nil, err
	}
	if p.KDF == pkcs11.CKD_NULL { // not the last bytes of the shared secret: the first ones of the key that all of it makes
		kdf = func(z []byte, size int) ([]byte, error) { return last(z[:min(size, len(z))], size) }
	}
	return func(z []byte) ([]byte, error) {
		kek, err := kdf(z, size)
		if err != nil {
			return nil, pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "the shared secret gives no AES key of %d bits: %w", p.AESKeyBits, err)
		}
		return kek, nil
	}, nil
}

func (w aesWrapping) wrap(k mech.Key, param any, plain []byte) ([]byte, error) {
	kdf, err := aesWrapKDF(param)
	if err != nil {
		return nil, err
	}
	peer, err := publicFor(k, w.keyType)
	if err != nil {
		return nil, err
	}
	bare, err := peer.barePoint(k.Bytes(pkcs11.CKA_EC_POINT))
	if err != nil {
		return nil, pkcs11.Errorf(pkcs11.CKR_KEY_FUNCTION_NOT_PERMITTED, "CKA_EC_POINT: %w", err)
	}
	made, err := peer.arith.generate(peer.curve)
	if err != nil {
		return nil, pkcs11.Errorf(pkcs11.CKR_FUNCTION_FAILED, "key generation: %w", err)
	}
	own := &privateKey{peer.curve, made}
	defer own.Wipe()
	point, err := own.point()
	if err != nil {
		return nil, err
	}
	if w.boxed {
		point = emitPoint(point)
	}
	kek, err := own.kek(ephemeral{k}, bare, kdf)
	if err != nil {
		return nil, err
	}
	defer secret.Wipe(kek)
	body, err := aes.WrapKWP(kek, plain)
	if err != nil {
		return nil, err
	}
	return append(point, body...), nil
}

func (w aesWrapping) unwrap(k mech.Key, param any, wrapped []byte) ([]byte, error) {
	kdf, err := aesWrapKDF(param)
	if err != nil {
		return nil, err
	}
	own, err := privateFor(k, w.keyType)
	if err != nil {
		return nil, err
	}
	if !w.boxed && len(wrapped) <= own.pointLen {
		return nil, pkcs11.Errorf(pkcs11.CKR_WRAPPED_KEY_LEN_RANGE, "%d bytes, expected more than %d", len(wrapped), own.pointLen)
	}
	point, body := w.split(own.curve, wrapped)
	if point == nil {
		return nil, pkcs11.CKR_WRAPPED_KEY_INVALID
	}
	kek, err := own.kek(k, point, kdf)
	if err != nil {
		if pkcs11.RVOf(err) == pkcs11.CKR_MECHANISM_PARAM_INVALID {
			return nil, err
		}
		return nil, pkcs11.CKR_WRAPPED_KEY_INVALID
	}
	defer secret.Wipe(kek)
	plain, err := aes.UnwrapKWP(kek, body)
	if err != nil {
		return nil, pkcs11.CKR_WRAPPED_KEY_INVALID
	}
	return plain, nil
}

// kek is the AES key that a private key and a point agree on.
func (key *privateKey) kek(k mech.Key, point []byte, kdf func([]byte) ([]byte, error)) ([]byte, error) {
	z, err := key.arith.agree(k, key, point)
	if err != nil {
		return nil, err
	}
	defer secret.Wipe(z)
	return kdf(z)
}
