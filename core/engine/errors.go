package engine

import (
	"errors"

	"github.com/coffer-hsm/coffer/core/store"
	"github.com/coffer-hsm/coffer/core/vault"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// errNoToken: the slot holds no initialised token yet.
var errNoToken = errors.New("the token is not initialised")

// returnValues maps what the lower layers say to what the standard says. Errors that name a return value themselves
// pass through.
var returnValues = []struct {
	err error
	rv  pkcs11.RV
}{
	{errNoToken, pkcs11.CKR_USER_PIN_NOT_INITIALIZED},
	{store.ErrReadOnly, pkcs11.CKR_TOKEN_WRITE_PROTECTED},
	{store.ErrFull, pkcs11.CKR_DEVICE_MEMORY},
	{store.ErrDamaged, pkcs11.CKR_TOKEN_NOT_RECOGNIZED},
	{store.ErrVersion, pkcs11.CKR_TOKEN_NOT_RECOGNIZED},
	{store.ErrUnavailable, pkcs11.CKR_DEVICE_ERROR},
	{store.ErrBusy, pkcs11.CKR_DEVICE_ERROR},
	{store.ErrConflict, pkcs11.CKR_FUNCTION_FAILED},
	{vault.ErrSealBroken, pkcs11.CKR_DEVICE_ERROR},
	{vault.ErrSealVersion, pkcs11.CKR_TOKEN_NOT_RECOGNIZED},
	{vault.ErrSealed, pkcs11.CKR_USER_NOT_LOGGED_IN},
}

// answer gives an error its return value, once, on the way out.
func answer(err *error) {
	if *err == nil {
		return
	}
	var rv pkcs11.RV
	var named *pkcs11.Error
	if errors.As(*err, &named) || errors.As(*err, &rv) {
		return
	}
	for _, m := range returnValues {
		if errors.Is(*err, m.err) {
			*err = pkcs11.Errorf(m.rv, "%w", *err)
			return
		}
	}
	*err = pkcs11.Errorf(pkcs11.CKR_GENERAL_ERROR, "%w", *err)
}
