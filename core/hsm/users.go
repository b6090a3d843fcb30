package hsm

import (
	"context"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// User is what may be known of a user.
type User struct {
	Type     pkcs11.UserType
	Name     string // empty: the token's own user of that type
	Role     string // "PRECO", "CO", "CU"
	Failures int    // wrong PINs in a row
	Locked   bool
}

// Users is the management of users by an administrator (the SO).
type Users interface {
	// ListUsers needs a login of any role.
	ListUsers(ctx context.Context, cred Credential) ([]User, error)
	// CreateUser makes a user of type CKU_SO or CKU_USER. A name has 1 to 31 characters, none of them a colon or a
	// control character; CKR_ARGUMENTS_BAD otherwise, or where the name is taken.
	CreateUser(ctx context.Context, cred Credential, user pkcs11.UserType, name string, pin []byte) error
	// DeleteUser ends the user and his credentials. The last administrator stays: CKR_ACTION_PROHIBITED.
	DeleteUser(ctx context.Context, cred Credential, user pkcs11.UserType, name string) error
	// ResetPIN gives a user a new PIN and unlocks him; his credentials end.
	ResetPIN(ctx context.Context, cred Credential, user pkcs11.UserType, name string, pin []byte) error
}
