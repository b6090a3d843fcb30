package modes

import "github.com/coffer-hsm/coffer/pkcs11"

// NoParam refuses any parameter.
func NoParam(param any) error {
	if param != nil {
		return pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "a parameter of Go type %T; the mechanism takes none", param)
	}
	return nil
}

// IVParam wants an IV of this size.
func IVParam(param any, size int) ([]byte, error) {
	iv, ok := param.(pkcs11.IV)
	if !ok || len(iv) != size {
		return nil, pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "a parameter of Go type %T and %d bytes; want an IV of %d", param, len(iv), size)
	}
	return iv, nil
}

// StructParam wants one of the parameter structs.
func StructParam[T any](param any) (*T, error) {
	p, _ := param.(*T)
	if p == nil {
		return nil, pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "a parameter of Go type %T; want %T", param, p)
	}
	return p, nil
}

// MACSize wants the length of a tag in bytes, 1 to most: CK_MAC_GENERAL_PARAMS.
func MACSize(param any, most int) (int, error) {
	n, ok := param.(pkcs11.MACGeneralParams)
	if !ok || n < 1 || n > pkcs11.MACGeneralParams(most) {
		return 0, pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "a parameter of Go type %T, %d; want a tag of 1 to %d bytes", param, n, most)
	}
	return int(n), nil
}
