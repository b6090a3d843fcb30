package auth

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// TestWhoMayWhat says the table once more, the other way round: a cell that is changed by mistake shows.
func TestWhoMayWhat(t *testing.T) {
	for action, roles := range map[Action][]Role{
		ReadPublic:    {Public, SecurityOfficer, CryptoUser},
		ReadPrivate:   {CryptoUser},
		WritePublic:   {Public, SecurityOfficer, CryptoUser},
		WritePrivate:  {CryptoUser},
		SetTrusted:    {SecurityOfficer},
		SetUserPIN:    {SecurityOfficer},
		SetOwnPIN:     {SecurityOfficer, CryptoUser, Preliminary},
		SeeUsers:      {SecurityOfficer, CryptoUser},
		ManageUsers:   {SecurityOfficer},
		ManageCluster: {SecurityOfficer},
		EraseToken:    {SecurityOfficer},
	} {
		var may []Role
		for r := range numRoles {
			if r.May(action) {
				may = append(may, r)
			}
		}
		require.Equal(t, roles, may, "action %d", action)
	}
	require.False(t, Role(99).May(ReadPublic))
	require.False(t, SecurityOfficer.May(numActions))
}

func TestRolesHaveNames(t *testing.T) {
	for _, name := range []string{"CO", "CU", "PRECO"} {
		r, err := ParseRole(name)
		require.NoError(t, err)
		require.Equal(t, name, r.String())
	}
	for _, name := range []string{"", "co", "root"} {
		_, err := ParseRole(name)
		require.Error(t, err)
	}
	next, changes := Preliminary.Activated()
	require.True(t, changes)
	require.Equal(t, SecurityOfficer, next)
	for _, r := range []Role{SecurityOfficer, CryptoUser} {
		next, changes = r.Activated()
		require.False(t, changes)
		require.Equal(t, r, next)
	}
}

func TestNames(t *testing.T) {
	for name, good := range map[string]bool{
		"a": true, "alice": true, "älice": true, "a b": true, strings.Repeat("ä", 31): true,
		"": false, strings.Repeat("a", 32): false, "a:b": false, "a\x00": false, "a\n": false, "\xff": false,
	} {
		require.Equal(t, good, CheckName(name) == nil, "%q", name)
	}
}

func TestSealedUsersComeBackWhole(t *testing.T) {
	u := &User{Epoch: 7, Failures: 3, Root: []byte{1}, Type: pkcs11.CKU_USER, Name: "alice", Role: "CU"}
	plain, err := u.MarshalSealed()
	require.NoError(t, err)
	back, account, role, err := OpenUser(plain)
	require.NoError(t, err)
	require.Equal(t, u, back)
	require.Equal(t, CryptoUser, role)
	require.Equal(t, "user/cu", account.Record)
	for _, change := range []func(*User){
		func(u *User) { u.Type = 9 },
		func(u *User) { u.Role = "" },
		func(u *User) { u.Root = nil },
		func(u *User) { u.Failures = -1 },
	} {
		bad := *u
		change(&bad)
		plain, err := bad.MarshalSealed()
		require.NoError(t, err)
		_, _, _, err = OpenUser(plain)
		require.Error(t, err)
	}
	_, _, _, err = OpenUser([]byte("{"))
	require.Error(t, err)
}

// TestTheRecordOfAnEmbeddedUserIsAsItWas: what only nodes write is not in it.
func TestTheRecordOfAnEmbeddedUserIsAsItWas(t *testing.T) {
	b, err := (&User{Epoch: 1, Root: []byte{1}}).Marshal()
	require.NoError(t, err)
	require.Equal(t, `{"format":1,"epoch":1,"failures":0,"root":"AQ=="}`, string(b[32:]))
	u, err := ParseUser(b)
	require.NoError(t, err)
	require.Equal(t, uint64(1), u.Epoch)
}
