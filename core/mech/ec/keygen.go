package ec

import (
	"github.com/coffer-hsm/coffer/pkcs11"
)

// generator makes a pair on the curve that CKA_EC_PARAMS of the public template names. PKCS#11 v3.2, Elliptic curve key
// pair generation and its siblings for the other two kinds.
func generator(k *kind) func(param any, public, private pkcs11.Template) (pub, priv pkcs11.Template, err error) {
	return k.generator(func(c *curve) (any, error) { return c.arith.generate(c) })
}

// generator makes the private key with the function.
func (k *kind) generator(generate func(*curve) (any, error)) func(param any, public, private pkcs11.Template) (pub, priv pkcs11.Template, err error) {
	return func(param any, public, _ pkcs11.Template) (pub, priv pkcs11.Template, err error) {
		if err := noParam(param); err != nil {
			return nil, nil, err
		}
		given := public.Bytes(pkcs11.CKA_EC_PARAMS)
		c, err := k.curveOf(given)
		if err != nil {
			return nil, nil, err
		}
		key, err := generate(c)
		if err != nil {
			return nil, nil, pkcs11.Errorf(pkcs11.CKR_FUNCTION_FAILED, "key generation: %w", err)
		}
		own := &privateKey{c, key}
		defer own.Wipe()
		scalar, point, err := own.take()
		if err != nil {
			return nil, nil, pkcs11.Errorf(pkcs11.CKR_GENERAL_ERROR, "a new key: %w", err)
		}
		params := c.normalParams(given)
		pub = pkcs11.Template{
			pkcs11.Attr(pkcs11.CKA_EC_PARAMS, append([]byte{}, params...)),
			pkcs11.Attr(pkcs11.CKA_EC_POINT, emitPoint(point)),
		}
		priv = pkcs11.Template{
			pkcs11.Attr(pkcs11.CKA_EC_PARAMS, append([]byte{}, params...)),
			pkcs11.Attr(pkcs11.CKA_VALUE, scalar),
		}
		return pub, priv, nil
	}
}
