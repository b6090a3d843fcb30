package engine_test

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/core/auth"
	"github.com/coffer-hsm/coffer/core/engine"
	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/core/store"
	"github.com/coffer-hsm/coffer/core/store/sqlite"
	"github.com/coffer-hsm/coffer/pkcs11"
)

var (
	alicePIN = []byte("alice's PIN")
	bobPIN   = []byte("bob's PIN")
)

// staffed is a token with a crypto user alice, an administrator bob, a key of the token's own user, and the officer's login.
func staffed(t *testing.T) (e *engine.Engine, path string, so hsm.Credential, key hsm.Object) {
	t.Helper()
	e, path, user := ready(t)
	key = aesKey(t, e, user)
	require.NoError(t, e.Logout(ctx, user))
	so, err := e.Login(ctx, pkcs11.CKU_SO, "", soPIN)
	require.NoError(t, err)
	require.NoError(t, e.CreateUser(ctx, so, pkcs11.CKU_USER, "alice", alicePIN))
	require.NoError(t, e.CreateUser(ctx, so, pkcs11.CKU_SO, "bob", bobPIN))
	return e, path, so, key
}

func userOf(t *testing.T, e *engine.Engine, cred hsm.Credential, name string) (u hsm.User) {
	t.Helper()
	list, err := e.ListUsers(ctx, cred)
	require.NoError(t, err)
	for _, u := range list {
		if u.Name == name {
			return u
		}
	}
	require.Fail(t, "no user "+name)
	return u
}

// TestUsersWithNamesOfAFile: their PINs open the token, in every process, for what their type may do.
func TestUsersWithNamesOfAFile(t *testing.T) {
	e, path, so, key := staffed(t)
	rv(t, pkcs11.CKR_ARGUMENTS_BAD, e.CreateUser(ctx, so, pkcs11.CKU_USER, "alice", alicePIN))
	rv(t, pkcs11.CKR_ARGUMENTS_BAD, e.CreateUser(ctx, so, pkcs11.CKU_USER, "a:b", alicePIN))
	rv(t, pkcs11.CKR_PIN_LEN_RANGE, e.CreateUser(ctx, so, pkcs11.CKU_USER, "carol", []byte("123")))
	rv(t, pkcs11.CKR_USER_NOT_LOGGED_IN, e.CreateUser(ctx, nil, pkcs11.CKU_USER, "carol", alicePIN))
	other := open(t, path)
	for _, c := range []struct {
		user pkcs11.UserType
		name string
		pin  string
		want pkcs11.RV
	}{
		{pkcs11.CKU_USER, "alice", "alice's PIN", pkcs11.CKR_OK},
		{pkcs11.CKU_USER, "", "alice:alice's PIN", pkcs11.CKR_OK},
		{pkcs11.CKU_USER, "", "user-pin", pkcs11.CKR_OK},
		{pkcs11.CKU_SO, "bob", "bob's PIN", pkcs11.CKR_OK},
		{pkcs11.CKU_USER, "alice", "user-pin", pkcs11.CKR_PIN_INCORRECT},
		{pkcs11.CKU_USER, "bob", "bob's PIN", pkcs11.CKR_PIN_INCORRECT},
		{pkcs11.CKU_SO, "alice", "alice's PIN", pkcs11.CKR_PIN_INCORRECT},
		{pkcs11.CKU_USER, "", "alice's PIN", pkcs11.CKR_PIN_INCORRECT},
		{pkcs11.CKU_USER, "", "carol:user-pin", pkcs11.CKR_PIN_INCORRECT},
	} {
		for _, p := range []*engine.Engine{e, other} {
			cred, err := p.Login(ctx, c.user, c.name, []byte(c.pin))
			rv(t, c.want, err)
			require.NoError(t, p.Logout(ctx, cred))
		}
	}
	require.NoError(t, e.Logout(ctx, so))

	alice, err := other.Login(ctx, pkcs11.CKU_USER, "alice", alicePIN)
	require.NoError(t, err)
	keys, err := other.Find(ctx, alice, nil)
	require.NoError(t, err)
	require.Len(t, keys, 1, "all crypto users have the same keys")
	require.Equal(t, key.ID(), keys[0].ID())
	mine := aesKey(t, other, alice)
	rv(t, pkcs11.CKR_USER_NOT_LOGGED_IN, other.CreateUser(ctx, alice, pkcs11.CKU_USER, "carol", alicePIN))
	require.NoError(t, other.Logout(ctx, alice))
	_, err = other.Size(ctx, nil, mine)
	rv(t, pkcs11.CKR_USER_NOT_LOGGED_IN, err)

	bob, err := e.Login(ctx, pkcs11.CKU_SO, "bob", bobPIN)
	require.NoError(t, err)
	_, err = e.Size(ctx, bob, mine)
	rv(t, pkcs11.CKR_USER_NOT_LOGGED_IN, err)
	require.NoError(t, e.CreateUser(ctx, bob, pkcs11.CKU_USER, "carol", []byte("carol")), "one administrator makes the next user")
	list, err := e.ListUsers(ctx, bob)
	require.NoError(t, err)
	require.Len(t, list, 5)
	require.Equal(t, hsm.User{Type: pkcs11.CKU_USER, Name: "alice", Role: "CU", Failures: 0}, userOf(t, e, bob, "alice"))
	carol, err := other.Login(ctx, pkcs11.CKU_USER, "carol", []byte("carol"))
	require.NoError(t, err)
	_, err = other.Size(ctx, carol, mine)
	require.NoError(t, err)
}

// TestEachUserIsLockedByHimself, and unlocked by an administrator.
func TestEachUserIsLockedByHimself(t *testing.T) {
	e, path, so, key := staffed(t)
	for range auth.MaxFailures {
		_, err := e.Login(ctx, pkcs11.CKU_USER, "alice", []byte("wrong"))
		rv(t, pkcs11.CKR_PIN_INCORRECT, err)
	}
	_, err := open(t, path).Login(ctx, pkcs11.CKU_USER, "alice", alicePIN)
	rv(t, pkcs11.CKR_PIN_LOCKED, err)
	require.True(t, userOf(t, e, so, "alice").Locked)
	info, err := e.Info(ctx)
	require.NoError(t, err)
	require.Zero(t, info.Flags&pkcs11.CKF_USER_PIN_LOCKED, "the token's own user is not")
	login(t, e)
	require.NoError(t, e.ResetPIN(ctx, so, pkcs11.CKU_USER, "alice", []byte("another PIN")))
	_, err = e.Login(ctx, pkcs11.CKU_USER, "alice", alicePIN)
	rv(t, pkcs11.CKR_PIN_INCORRECT, err)
	alice, err := e.Login(ctx, pkcs11.CKU_USER, "alice", []byte("another PIN"))
	require.NoError(t, err)
	_, err = e.Size(ctx, alice, key)
	require.NoError(t, err)
	rv(t, pkcs11.CKR_ARGUMENTS_BAD, e.ResetPIN(ctx, so, pkcs11.CKU_USER, "nobody", alicePIN))
	rv(t, pkcs11.CKR_ACTION_PROHIBITED, e.ResetPIN(ctx, so, pkcs11.CKU_SO, "", soPIN))
}

// TestAUsersLoginsEnd with his PIN and with himself, in every process; and those of one user with nobody else's.
func TestAUsersLoginsEnd(t *testing.T) {
	e, path, so, key := staffed(t)
	other := open(t, path)
	in := func() (here, there hsm.Credential) {
		here, err := e.Login(ctx, pkcs11.CKU_USER, "alice", alicePIN)
		require.NoError(t, err)
		there, err = other.Login(ctx, pkcs11.CKU_USER, "alice", alicePIN)
		require.NoError(t, err)
		return here, there
	}
	ended := func(here, there hsm.Credential) {
		t.Helper()
		_, err := e.Size(ctx, here, key)
		rv(t, pkcs11.CKR_USER_NOT_LOGGED_IN, err)
		keys, err := other.Find(ctx, there, nil)
		rv(t, pkcs11.CKR_USER_NOT_LOGGED_IN, err)
		require.Empty(t, keys)
	}
	own := login(t, e)
	here, there := in()
	fresh, err := e.SetPIN(ctx, pkcs11.CKU_USER, "alice", alicePIN, bobPIN)
	require.NoError(t, err)
	ended(here, there)
	_, err = e.Size(ctx, fresh, key)
	require.NoError(t, err)
	_, err = e.SetPIN(ctx, pkcs11.CKU_USER, "", append([]byte("alice:"), bobPIN...), append([]byte("alice:"), alicePIN...))
	require.NoError(t, err, "a client that knows no names")

	here, there = in()
	require.NoError(t, e.DeleteUser(ctx, so, pkcs11.CKU_USER, "alice"))
	ended(here, there)
	for _, p := range []*engine.Engine{e, other} {
		_, err := p.Login(ctx, pkcs11.CKU_USER, "alice", alicePIN)
		rv(t, pkcs11.CKR_PIN_INCORRECT, err)
	}
	require.NoError(t, e.CreateUser(ctx, so, pkcs11.CKU_USER, "alice", alicePIN))
	ended(here, there) // he is another
	in()
	_, err = e.Size(ctx, own, key)
	require.NoError(t, err, "the token's own user was not asked")

	bob, err := e.Login(ctx, pkcs11.CKU_SO, "bob", bobPIN)
	require.NoError(t, err)
	rv(t, pkcs11.CKR_ACTION_PROHIBITED, e.DeleteUser(ctx, bob, pkcs11.CKU_SO, "bob"))
	rv(t, pkcs11.CKR_ARGUMENTS_BAD, e.DeleteUser(ctx, bob, pkcs11.CKU_USER, "nobody"))
	require.NoError(t, e.DeleteUser(ctx, so, pkcs11.CKU_SO, "bob"))
	rv(t, pkcs11.CKR_USER_NOT_LOGGED_IN, e.CreateUser(ctx, bob, pkcs11.CKU_USER, "dave", alicePIN))
}

// TestInitTokenRemovesUsersWithNames, and an administrator with a name may do it.
func TestInitTokenRemovesUsersWithNames(t *testing.T) {
	e, path, _, _ := staffed(t)
	rv(t, pkcs11.CKR_PIN_INCORRECT, e.InitToken(ctx, []byte("bob:wrong"), "again"))
	require.NoError(t, e.InitToken(ctx, []byte("bob:bob's PIN"), "again"))
	for _, p := range []*engine.Engine{e, open(t, path)} {
		_, err := p.Login(ctx, pkcs11.CKU_SO, "bob", bobPIN)
		rv(t, pkcs11.CKR_PIN_INCORRECT, err)
		so, err := p.Login(ctx, pkcs11.CKU_SO, "", []byte("bob:bob's PIN"))
		require.NoError(t, err)
		list, err := p.ListUsers(ctx, so)
		require.NoError(t, err)
		require.Len(t, list, 1)
	}
}

// TestAContextLoginWantsTheUsersOwnPIN.
func TestAContextLoginWantsTheUsersOwnPIN(t *testing.T) {
	e, _, _, _ := staffed(t)
	alice, err := e.Login(ctx, pkcs11.CKU_USER, "alice", alicePIN)
	require.NoError(t, err)
	_, priv, err := e.GenerateKeyPair(ctx, alice, pkcs11.Mechanism{Type: pkcs11.CKM_EC_KEY_PAIR_GEN},
		pkcs11.Template{pkcs11.Attr(pkcs11.CKA_EC_PARAMS, []byte{6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7})},
		pkcs11.Template{pkcs11.Attr(pkcs11.CKA_ALWAYS_AUTHENTICATE, true), pkcs11.Attr(pkcs11.CKA_SIGN, true)})
	require.NoError(t, err)
	op, err := e.Begin(ctx, alice, hsm.OpSign, pkcs11.Mechanism{Type: pkcs11.CKM_ECDSA}, priv)
	require.NoError(t, err)
	defer op.Close()
	rv(t, pkcs11.CKR_PIN_INCORRECT, op.Authenticate(ctx, userPIN))
	require.NoError(t, op.Authenticate(ctx, alicePIN))
	_, err = op.Finish(ctx, nil, make([]byte, 32))
	require.NoError(t, err)
}

// TestUsersRecordsAreBoundToTheirUser: none serves another, and one that is damaged harms nobody else.
func TestUsersRecordsAreBoundToTheirUser(t *testing.T) {
	e, path, _, _ := staffed(t)
	require.NoError(t, e.Close())
	edit := func(f func(recs map[string]store.Record) []store.Op) {
		t.Helper()
		s, err := sqlite.Open(path, sqlite.Options{})
		require.NoError(t, err)
		defer s.Close()
		list, _, err := s.List(ctx, "user/")
		require.NoError(t, err)
		recs := map[string]store.Record{}
		for _, r := range list {
			for _, name := range []string{"alice", "bob"} {
				if bytes.Contains(r.Value, []byte(`"name":"`+name+`"`)) {
					recs[name] = r
				}
			}
		}
		_, err = s.Commit(ctx, nil, f(recs))
		require.NoError(t, err)
	}
	var alice, bob store.Record
	edit(func(recs map[string]store.Record) []store.Op {
		alice, bob = recs["alice"], recs["bob"]
		return []store.Op{{Key: bob.Key, Value: alice.Value}}
	})
	e = open(t, path)
	_, err := e.Login(ctx, pkcs11.CKU_SO, "bob", alicePIN)
	rv(t, pkcs11.CKR_PIN_INCORRECT, err)
	_, err = e.Login(ctx, pkcs11.CKU_USER, "alice", alicePIN)
	require.NoError(t, err)
	require.NoError(t, e.Close())

	damaged := bytes.Clone(bob.Value)
	damaged[len(damaged)/2] ^= 1
	edit(func(map[string]store.Record) []store.Op { return []store.Op{{Key: bob.Key, Value: damaged}} })
	e = open(t, path)
	login(t, e)
	so, err := e.Login(ctx, pkcs11.CKU_SO, "", soPIN)
	require.NoError(t, err)
	list, err := e.ListUsers(ctx, so)
	require.NoError(t, err)
	require.Len(t, list, 3, "bob is nobody")
	require.NoError(t, e.CreateUser(ctx, so, pkcs11.CKU_SO, "bob", bobPIN), "and can be made anew")
	_, err = e.Login(ctx, pkcs11.CKU_SO, "bob", bobPIN)
	require.NoError(t, err)
}
