package cryptoki

import "github.com/coffer-hsm/coffer/pkcs11"

// unsupported answers for a function that is not there, once the session is known to be.
func (l *Library) unsupported(function string, h SessionHandle) error {
	return l.inSession(function, h, func(*session) error { return pkcs11.CKR_FUNCTION_NOT_SUPPORTED })
}

// GetFunctionStatus is a legacy of parallel sessions. PKCS#11 v3.2, C_GetFunctionStatus.
func (l *Library) GetFunctionStatus(h SessionHandle) error {
	return l.inSession("GetFunctionStatus", h, notParallel)
}

// CancelFunction is a legacy of parallel sessions. PKCS#11 v3.2, C_CancelFunction.
func (l *Library) CancelFunction(h SessionHandle) error {
	return l.inSession("CancelFunction", h, notParallel)
}

func notParallel(*session) error { return pkcs11.CKR_FUNCTION_NOT_PARALLEL }

// WrapKeyAuthenticated is not supported.
func (l *Library) WrapKeyAuthenticated(h SessionHandle, m *pkcs11.Mechanism, wrapping, key ObjectHandle, associated []byte, wrapped *pkcs11.Out) error {
	return l.unsupported("WrapKeyAuthenticated", h)
}

// UnwrapKeyAuthenticated is not supported.
func (l *Library) UnwrapKeyAuthenticated(h SessionHandle, m *pkcs11.Mechanism, unwrapping ObjectHandle, wrapped []byte, template pkcs11.Template, associated []byte) (ObjectHandle, error) {
	return 0, l.unsupported("UnwrapKeyAuthenticated", h)
}
