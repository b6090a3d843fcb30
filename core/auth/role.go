// Package auth says who may do what: roles and their actions in one table, users with their PINs, and lockout.
//
// It holds no state and does no I/O: the engine reads and writes the user records and asks here what they mean.
package auth

import (
	"fmt"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// Role is what a login makes of a caller.
type Role uint8

// The roles. Public is nobody in particular: a session without a login. Outsider is the same before a cluster is
// activated, and Preliminary its temporary administrator.
const (
	Public Role = iota
	SecurityOfficer
	CryptoUser
	Outsider
	Preliminary
	numRoles
)

// Action is something that a role may be allowed to do.
type Action uint8

// The actions.
const (
	ReadPublic    Action = iota // see and use objects that are not private
	ReadPrivate                 // see and use private objects
	WritePublic                 // create, change and destroy objects that are not private
	WritePrivate                // the same for private objects
	SetTrusted                  // set CKA_TRUSTED
	SetUserPIN                  // give the normal user a PIN
	SetOwnPIN                   // replace one's own PIN
	SeeUsers                    // list users with their state
	ManageUsers                 // create, delete and unlock users with names
	ManageCluster               // add, remove and drain members
	EraseToken                  // make the token anew
	numActions
)

// allowed is the one table of permissions (PKCS#11 v3.2, section 5.6, access types by session state).
var allowed = [numRoles][numActions]bool{
	Public: {ReadPublic: true, WritePublic: true},
	SecurityOfficer: {ReadPublic: true, WritePublic: true, SetTrusted: true, SetUserPIN: true, SetOwnPIN: true,
		SeeUsers: true, ManageUsers: true, ManageCluster: true, EraseToken: true},
	CryptoUser:  {ReadPublic: true, WritePublic: true, ReadPrivate: true, WritePrivate: true, SetOwnPIN: true, SeeUsers: true},
	Outsider:    {},
	Preliminary: {SetOwnPIN: true},
}

// May reports whether the role may do the action.
func (r Role) May(a Action) bool { return r < numRoles && a < numActions && allowed[r][a] }

// roleNames are the names of the roles that a user can have.
var roleNames = [numRoles]string{SecurityOfficer: "CO", CryptoUser: "CU", Preliminary: "PRECO"}

// String is the role's name for people and records; empty for a role that no user has.
func (r Role) String() string {
	if r >= numRoles {
		return ""
	}
	return roleNames[r]
}

// ParseRole is the inverse of String.
func ParseRole(name string) (Role, error) {
	for r, n := range roleNames {
		if n != "" && n == name {
			return Role(r), nil
		}
	}
	return 0, fmt.Errorf("auth: no role %q", name)
}

// activated is what a role becomes with the first PIN that its user chooses himself.
var activated = map[Role]Role{Preliminary: SecurityOfficer}

// Activated returns what the role becomes when its user sets his own PIN; changes is false for a role that stays.
func (r Role) Activated() (next Role, changes bool) {
	next, changes = activated[r]
	if !changes {
		return r, false
	}
	return next, true
}

// Account is where a user is kept, and what a login to him is. A token has one user of its own of each type, and users with
// names besides.
type Account struct {
	Role   Role // that a user of this type is made with
	User   pkcs11.UserType
	Record string // the key of the user record in the store
	// The token flags that tell the state of this user's PIN (PKCS#11 v3.2, CK_TOKEN_INFO).
	CountLow, FinalTry, Locked pkcs11.Flags
	Initialized                pkcs11.Flags
	Name                       string // empty: the token's own user of that type
}

var accounts = []Account{
	{SecurityOfficer, pkcs11.CKU_SO, "user/so",
		pkcs11.CKF_SO_PIN_COUNT_LOW, pkcs11.CKF_SO_PIN_FINAL_TRY, pkcs11.CKF_SO_PIN_LOCKED, 0, ""},
	{CryptoUser, pkcs11.CKU_USER, "user/cu",
		pkcs11.CKF_USER_PIN_COUNT_LOW, pkcs11.CKF_USER_PIN_FINAL_TRY, pkcs11.CKF_USER_PIN_LOCKED,
		pkcs11.CKF_USER_PIN_INITIALIZED, ""},
}

// Accounts lists the token's own accounts. The slice is not to be changed.
func Accounts() []Account { return accounts }

// AccountOf returns the token's own account that a user type logs in to; CKR_USER_TYPE_INVALID for others.
func AccountOf(user pkcs11.UserType) (Account, error) {
	for _, a := range accounts {
		if a.User == user {
			return a, nil
		}
	}
	return Account{}, pkcs11.Errorf(pkcs11.CKR_USER_TYPE_INVALID, "no account for user type %d", uint(user))
}

// Named returns the account of a user with a name, of the same type.
func (a Account) Named(name, record string) Account {
	return Account{Role: a.Role, User: a.User, Record: record, Name: name}
}
