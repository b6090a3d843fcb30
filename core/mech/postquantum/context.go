package postquantum

import (
	"github.com/coffer-hsm/coffer/pkcs11"
)

// MaxContext is the length of the longest context, in bytes (FIPS 204, 5.2; FIPS 205, 10.2).
const MaxContext = 255

// Context is what a signature is bound to beside the message, and whether randomness goes into it.
type Context struct {
	Bytes []byte
	// Deterministic asks for a signature without fresh randomness. It is left out only where the caller forbids it, for
	// hedged signatures stand up better to faults and side channels (FIPS 204, 3.4).
	Deterministic bool
}

// ContextOf reads the optional CK_SIGN_ADDITIONAL_CONTEXT. A verification does not look at the hedge variant.
func ContextOf(param any, verify bool) (Context, error) {
	if param == nil {
		return Context{}, nil
	}
	p, ok := param.(*pkcs11.SignContextParams)
	if !ok || p == nil {
		return Context{}, pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "the mechanism takes CK_SIGN_ADDITIONAL_CONTEXT or nothing, got %T", param)
	}
	return newContext(p.Hedge, p.Context, verify)
}

// HashedContextOf reads CK_HASH_SIGN_ADDITIONAL_CONTEXT, which names the hash that made the data.
func HashedContextOf(param any, verify bool) (Context, *PreHash, error) {
	p, ok := param.(*pkcs11.HashSignContextParams)
	if !ok || p == nil {
		return Context{}, nil, pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "the mechanism takes CK_HASH_SIGN_ADDITIONAL_CONTEXT, got %T", param)
	}
	h := byMechanism(p.Hash)
	if h == nil {
		return Context{}, nil, pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "%v is no hash that may come before the signature", p.Hash)
	}
	c, err := newContext(p.Hedge, p.Context, verify)
	return c, h, err
}

func newContext(hedge pkcs11.HedgeType, context []byte, verify bool) (Context, error) {
	if len(context) > MaxContext {
		return Context{}, pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "a context of %d bytes, at most %d are allowed", len(context), MaxContext)
	}
	if !verify && hedge > pkcs11.CKH_DETERMINISTIC_REQUIRED {
		return Context{}, pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "hedge variant %d is not known", hedge)
	}
	return Context{context, hedge == pkcs11.CKH_DETERMINISTIC_REQUIRED}, nil
}

// Prefix is what stands before the message, or before the hash's identifier and the digest (FIPS 204, algorithms 2 and
// 4; FIPS 205, algorithms 22 and 23).
func (c Context) Prefix(preHashed bool) []byte {
	kind := byte(0)
	if preHashed {
		kind = 1
	}
	return append([]byte{kind, byte(len(c.Bytes))}, c.Bytes...)
}
