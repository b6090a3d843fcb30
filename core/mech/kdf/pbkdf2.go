package kdf

import (
	"golang.org/x/crypto/pbkdf2"

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/mech/hashes"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// maxIterations bounds what one call may cost: seconds.
const maxIterations = 10_000_000

// pbkdf2Rows make a key of a password (RFC 8018, 5.2).
var pbkdf2Rows = []mech.Mechanism{
	{Type: pkcs11.CKM_PKCS5_PBKD2, KeyTypes: secrets, Min: 1, Max: maxKey, Generate: fromPassword},
}

// pbkdf2Hashes are the hashes of the pseudorandom functions that the standard names.
var pbkdf2Hashes = map[uint]pkcs11.MechanismType{
	pkcs11.CKP_PKCS5_PBKD2_HMAC_SHA1:       pkcs11.CKM_SHA_1,
	pkcs11.CKP_PKCS5_PBKD2_HMAC_SHA224:     pkcs11.CKM_SHA224,
	pkcs11.CKP_PKCS5_PBKD2_HMAC_SHA256:     pkcs11.CKM_SHA256,
	pkcs11.CKP_PKCS5_PBKD2_HMAC_SHA384:     pkcs11.CKM_SHA384,
	pkcs11.CKP_PKCS5_PBKD2_HMAC_SHA512:     pkcs11.CKM_SHA512,
	pkcs11.CKP_PKCS5_PBKD2_HMAC_SHA512_224: pkcs11.CKM_SHA512_224,
	pkcs11.CKP_PKCS5_PBKD2_HMAC_SHA512_256: pkcs11.CKM_SHA512_256,
}

// fromPassword works on the password's own bytes: crypto/pbkdf2 wants a string, which cannot be wiped.
func fromPassword(param any, t pkcs11.Template) (pkcs11.Template, error) {
	p, ok := param.(*pkcs11.PBKD2Params)
	if !ok || p == nil {
		return nil, wrongParam(param)
	}
	h := hashes.ByMechanism(pbkdf2Hashes[p.PRF])
	switch {
	case h == nil:
		return nil, pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "no pseudorandom function %d", p.PRF)
	case p.SaltSource != pkcs11.CKZ_SALT_SPECIFIED || len(p.PRFData) > 0:
		return nil, pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "salt source %d, %d bytes of data for the function; want 1 and none",
			p.SaltSource, len(p.PRFData))
	case p.Iterations == 0 || p.Iterations > maxIterations:
		return nil, pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "%d iterations, want 1 to %d", p.Iterations, maxIterations)
	}
	n, ok := t.Uint(pkcs11.CKA_VALUE_LEN)
	if !ok {
		return nil, errNoLength
	}
	if n == 0 || n > maxKey {
		return nil, pkcs11.Errorf(pkcs11.CKR_ATTRIBUTE_VALUE_INVALID, "CKA_VALUE_LEN is %d, want 1 to %d", n, maxKey)
	}
	return mech.Secret(pbkdf2.Key(p.Password, p.Salt, int(p.Iterations), int(n), h.New)), nil
}
