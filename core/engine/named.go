package engine

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"

	"github.com/coffer-hsm/coffer/core/auth"
	"github.com/coffer-hsm/coffer/core/store"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// Users with names in a token of one machine (docs/storage-format.md). A node seals its users' records; here a record is
// readable, and its key follows from type and name.

const userDomain = "coffer/user/1"

// namedRecord is the key of a user's record.
func namedRecord(user pkcs11.UserType, name string) string {
	sum := sha256.Sum256(joined([]byte(userDomain), []byte(strconv.FormatUint(uint64(user), 10)), []byte(name)))
	return userPrefix + hex.EncodeToString(sum[:16])
}

// parseNamed decodes the record of a user with a name, and refuses one that is not what its key says.
func parseNamed(rec store.Record) (userView, error) {
	u, err := auth.ParseUser(rec.Value)
	if err != nil {
		return userView{}, fmt.Errorf("%w: %w", store.ErrDamaged, err)
	}
	own, err := auth.AccountOf(u.Type)
	switch {
	case err != nil:
		return userView{}, fmt.Errorf("%w: %w", store.ErrDamaged, err)
	case auth.CheckName(u.Name) != nil, rec.Key != namedRecord(u.Type, u.Name), u.Role != own.Role.String():
		return userView{}, fmt.Errorf("%w: the record is another user's", store.ErrDamaged)
	}
	return userView{u, own.Named(u.Name, rec.Key), own.Role, rec.Modified}, nil
}
