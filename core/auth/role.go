// Package auth says who may do what: roles and their actions in one table, users with their PINs, and lockout.
//
// It holds no state and does no I/O: the engine reads and writes the user records and asks here what they mean.
package auth

import "github.com/coffer-hsm/coffer/pkcs11"

// Role is what a login makes of a caller.
type Role uint8

// The roles. Public is nobody in particular: a session without a login.
const (
	Public Role = iota
	SecurityOfficer
	CryptoUser
	numRoles
)

// Action is something that a role may be allowed to do.
type Action uint8

// The actions.
const (
	ReadPublic   Action = iota // see and use objects that are not private
	ReadPrivate                // see and use private objects
	WritePublic                // create, change and destroy objects that are not private
	WritePrivate               // the same for private objects
	SetTrusted                 // set CKA_TRUSTED
	SetUserPIN                 // give the normal user a PIN
	numActions
)

// allowed is the one table of permissions (PKCS#11 v3.2, section 5.6, access types by session state).
var allowed = [numRoles][numActions]bool{
	Public:          {ReadPublic: true, WritePublic: true},
	SecurityOfficer: {ReadPublic: true, WritePublic: true, SetTrusted: true, SetUserPIN: true},
	CryptoUser:      {ReadPublic: true, WritePublic: true, ReadPrivate: true, WritePrivate: true},
}

// May reports whether the role may do the action.
func (r Role) May(a Action) bool { return r < numRoles && a < numActions && allowed[r][a] }

// Account is where a role's own user is kept: one embedded token has one user of each type.
type Account struct {
	Role   Role
	User   pkcs11.UserType
	Record string // the key of the user record in the store
	// The token flags that tell the state of this user's PIN (PKCS#11 v3.2, CK_TOKEN_INFO).
	CountLow, FinalTry, Locked pkcs11.Flags
	Initialized                pkcs11.Flags
}

var accounts = []Account{
	{SecurityOfficer, pkcs11.CKU_SO, "user/so",
		pkcs11.CKF_SO_PIN_COUNT_LOW, pkcs11.CKF_SO_PIN_FINAL_TRY, pkcs11.CKF_SO_PIN_LOCKED, 0},
	{CryptoUser, pkcs11.CKU_USER, "user/cu",
		pkcs11.CKF_USER_PIN_COUNT_LOW, pkcs11.CKF_USER_PIN_FINAL_TRY, pkcs11.CKF_USER_PIN_LOCKED,
		pkcs11.CKF_USER_PIN_INITIALIZED},
}

// Accounts lists the accounts of a token. The slice is not to be changed.
func Accounts() []Account { return accounts }

// AccountOf returns the account that a user type logs in to; CKR_USER_TYPE_INVALID for others.
func AccountOf(user pkcs11.UserType) (Account, error) {
	for _, a := range accounts {
		if a.User == user {
			return a, nil
		}
	}
	return Account{}, pkcs11.Errorf(pkcs11.CKR_USER_TYPE_INVALID, "no account for user type %d", uint(user))
}
