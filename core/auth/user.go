package auth

import (
	"encoding/json"
	"fmt"

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
	Root     []byte `json:"root"`     // the token's root key, wrapped under the PIN
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
	if u.Format != userFormat {
		return nil, fmt.Errorf("auth: user record of format %d, this build knows %d", u.Format, userFormat)
	}
	if u.Failures < 0 || len(u.Root) == 0 {
		return nil, fmt.Errorf("auth: user record out of range")
	}
	return &u, nil
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
