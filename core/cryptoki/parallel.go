package cryptoki

import "github.com/coffer-hsm/coffer/pkcs11"

// GetFunctionStatus is a legacy of parallel sessions. PKCS#11 v3.2, C_GetFunctionStatus.
func (l *Library) GetFunctionStatus(h SessionHandle) error {
	return l.inSession("GetFunctionStatus", h, notParallel)
}

// CancelFunction is a legacy of parallel sessions. PKCS#11 v3.2, C_CancelFunction.
func (l *Library) CancelFunction(h SessionHandle) error {
	return l.inSession("CancelFunction", h, notParallel)
}

func notParallel(*session) error { return pkcs11.CKR_FUNCTION_NOT_PARALLEL }
