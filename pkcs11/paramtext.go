package pkcs11

import (
	"encoding/json"
	"fmt"
)

// MarshalParams encodes the parameter of a mechanism, and UnmarshalParams gives it back for that mechanism. The encoding is
// no format: who reads it is the same program. A parameter is a number, bytes or a struct of such, and what is nil stays
// nil. Their errors name no return value.
func MarshalParams(params any) ([]byte, error) {
	if params == nil {
		return nil, nil
	}
	b, err := json.Marshal(params)
	if err != nil {
		return nil, fmt.Errorf("a parameter of type %T: %w", params, err)
	}
	return b, nil
}

// UnmarshalParams is the inverse of MarshalParams.
func UnmarshalParams(m MechanismType, b []byte) (params any, err error) {
	if len(b) == 0 {
		return nil, nil
	}
	switch kind := m.ParamKind(); kind {
	case ParamIV:
		var iv IV
		err = json.Unmarshal(b, &iv)
		params = iv
	case ParamUlong:
		var n MACGeneralParams
		err = json.Unmarshal(b, &n)
		params = n
	case ParamHandle:
		var h Handle
		err = json.Unmarshal(b, &h)
		params = h
	default:
		if params = kind.newStruct(); params == nil {
			return nil, fmt.Errorf("%v takes no parameter", m)
		}
		err = json.Unmarshal(b, params)
	}
	if err != nil {
		return nil, fmt.Errorf("a parameter of %v: %w", m, err)
	}
	return params, nil
}
