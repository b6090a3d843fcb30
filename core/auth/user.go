package auth

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/coffer-hsm/coffer/core/vault"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// The bounds of a PIN, in bytes, and how many wrong ones in a row lock it.
const (
	MinPIN       = 4
	MaxPIN       = 255
	MaxFailures  = 10
	lowCountFrom = MaxFailures / 2
)

// User is the record of one user. It holds nothing secret: the PIN shows only in that it opens Root.
type User struct {
	Format   int    `json:"format"`
	Epoch    uint64 `json:"epoch"`    // rises with each new PIN; older credentials end
	Failures int    `json:"failures"` // wrong PINs in a row
	Root     []byte `json:"root"`     // the token's root key, wrapped under the PIN; on a node a verifier of the PIN

	// What follows is of users with names, and of all users of a node.
	Type pkcs11.UserType `json:"type,omitempty"`
	Name string          `json:"name,omitempty"`
	Role string          `json:"role,omitempty"`
}

const userFormat = 1

// ParseUser decodes a user record.
func ParseUser(stamped []byte) (*User, error) {
	var u User
	b, err := vault.Unstamp(stamped)
	if err == nil {
		err = json.Unmarshal(b, &u)
	}
	if err != nil {
		return nil, fmt.Errorf("auth: user record: %w", err)
	}
	return &u, u.check()
}

// OpenUser decodes the user record of a node, which was sealed, and tells the account that it is of.
func OpenUser(plain []byte) (*User, Account, Role, error) {
	var u User
	err := json.Unmarshal(plain, &u)
	if err == nil {
		err = u.check()
	}
	if err != nil {
		return nil, Account{}, 0, fmt.Errorf("auth: user record: %w", err)
	}
	account, err := AccountOf(u.Type)
	if err != nil {
		return nil, Account{}, 0, err
	}
	role, err := ParseRole(u.Role)
	return &u, account, role, err
}

// MarshalSealed encodes the record of a node's user for sealing.
func (u *User) MarshalSealed() ([]byte, error) {
	u.Format = userFormat
	return json.Marshal(u)
}

func (u *User) check() error {
	if u.Format != userFormat {
		return fmt.Errorf("auth: user record of format %d, this build knows %d", u.Format, userFormat)
	}
	if u.Failures < 0 || len(u.Root) == 0 {
		return fmt.Errorf("auth: user record out of range")
	}
	return nil
}

// Marshal encodes the record.
func (u *User) Marshal() ([]byte, error) {
	u.Format = userFormat
	b, err := json.Marshal(u)
	return vault.Stamp(b), err
}

// Locked reports whether too many wrong PINs were given.
func (u *User) Locked() bool { return u.Failures >= MaxFailures }

// Flags are the token flags that tell this user's state.
func (a Account) Flags(u *User) pkcs11.Flags {
	if u == nil {
		return 0
	}
	flags := a.Initialized
	for _, f := range []struct {
		is   bool
		flag pkcs11.Flags
	}{
		{u.Failures >= lowCountFrom && !u.Locked(), a.CountLow},
		{u.Failures == MaxFailures-1, a.FinalTry},
		{u.Locked(), a.Locked},
	} {
		if f.is {
			flags |= f.flag
		}
	}
	return flags
}

// CheckNewPIN judges a PIN that is to be set: CKR_PIN_LEN_RANGE.
func CheckNewPIN(pin []byte) error {
	if len(pin) < MinPIN || len(pin) > MaxPIN {
		return pkcs11.Errorf(pkcs11.CKR_PIN_LEN_RANGE, "a PIN has %d to %d bytes, this one %d", MinPIN, MaxPIN, len(pin))
	}
	return nil
}

// maxName is how many characters a user's name may have.
const maxName = 31

// CheckName judges the name of a new user: 1 to 31 characters of UTF-8, none of them a colon or a control character;
// CKR_ARGUMENTS_BAD.
func CheckName(name string) error {
	bad := func(r rune) bool { return r == ':' || unicode.IsControl(r) }
	if n := utf8.RuneCountInString(name); n < 1 || n > maxName || !utf8.ValidString(name) || strings.ContainsFunc(name, bad) {
		return pkcs11.Errorf(pkcs11.CKR_ARGUMENTS_BAD, "a user's name has 1 to %d characters, no colon and no control character", maxName)
	}
	return nil
}
