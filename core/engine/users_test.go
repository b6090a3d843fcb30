package engine

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/core/auth"
	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/core/store/mem"
	"github.com/coffer-hsm/coffer/pkcs11"
)

func TestUsersWithNames(t *testing.T) {
	a, b, so, user := newGroup(t).ready()
	alice := []byte("alice's PIN")
	require.NoError(t, a.CreateUser(bg, so, pkcs11.CKU_USER, "alice", alice))
	wantRV(t, pkcs11.CKR_ARGUMENTS_BAD, a.CreateUser(bg, so, pkcs11.CKU_USER, "alice", alice))
	require.NoError(t, a.CreateUser(bg, so, pkcs11.CKU_SO, "alice", otherPIN), "another type is another user")
	for _, name := range []string{"", "a:b", "tab\t", "0123456789012345678901234567890_", "\xff"} {
		wantRV(t, pkcs11.CKR_ARGUMENTS_BAD, a.CreateUser(bg, so, pkcs11.CKU_USER, name, alice))
	}
	wantRV(t, pkcs11.CKR_PIN_LEN_RANGE, a.CreateUser(bg, so, pkcs11.CKU_USER, "bob", []byte("123")))
	wantRV(t, pkcs11.CKR_USER_NOT_LOGGED_IN, a.CreateUser(bg, user, pkcs11.CKU_USER, "bob", alice))
	wantRV(t, pkcs11.CKR_USER_NOT_LOGGED_IN, a.CreateUser(bg, nil, pkcs11.CKU_USER, "bob", alice))

	for _, c := range []struct {
		name string
		pin  string
		rv   pkcs11.RV
	}{
		{"alice", "alice's PIN", pkcs11.CKR_OK},
		{"", "alice:alice's PIN", pkcs11.CKR_OK},
		{"", "user-pin", pkcs11.CKR_OK},
		{"alice", "user-pin", pkcs11.CKR_PIN_INCORRECT},
		{"", "alice's PIN", pkcs11.CKR_PIN_INCORRECT},
		{"", "alice:another-pin", pkcs11.CKR_PIN_INCORRECT},
		{"", "bob:user-pin", pkcs11.CKR_PIN_INCORRECT},
		{"bob", "user-pin", pkcs11.CKR_PIN_INCORRECT},
	} {
		_, err := b.Login(bg, pkcs11.CKU_USER, c.name, []byte(c.pin))
		wantRV(t, c.rv, err)
	}
	list, err := b.ListUsers(bg, carry(t, a, b, user))
	require.NoError(t, err)
	require.Equal(t, []hsm.User{
		{Type: pkcs11.CKU_SO, Role: "CO"}, {Type: pkcs11.CKU_USER, Role: "CU", Failures: 2},
		{Type: pkcs11.CKU_SO, Name: "alice", Role: "CO"}, {Type: pkcs11.CKU_USER, Name: "alice", Role: "CU", Failures: 2},
	}, list)

	// All crypto users see the same private objects.
	key := newKey(t, a, bg, user, onToken)
	cred, err := b.Login(bg, pkcs11.CKU_USER, "alice", alice)
	require.NoError(t, err)
	_, err = b.Size(bg, cred, b.TokenObject(key.ID(), true))
	require.NoError(t, err)
}

func TestAPinWithAColonIsTheOwnUsersUnlessItNamesOne(t *testing.T) {
	a, b, so, _ := newGroup(t).ready()
	colon := []byte("alice:1234")
	require.NoError(t, a.InitPIN(bg, so, colon))
	_, err := b.Login(bg, pkcs11.CKU_USER, "", colon)
	require.NoError(t, err)
	require.NoError(t, a.CreateUser(bg, so, pkcs11.CKU_USER, "alice", []byte("5678:9")))
	_, err = b.Login(bg, pkcs11.CKU_USER, "", colon)
	wantRV(t, pkcs11.CKR_PIN_INCORRECT, err)
	_, err = b.Login(bg, pkcs11.CKU_USER, "", []byte("alice:5678:9"))
	require.NoError(t, err, "only the first colon cuts")

	name := []byte("carol1234")
	require.NoError(t, a.InitPIN(bg, so, name))
	require.NoError(t, a.CreateUser(bg, so, pkcs11.CKU_USER, string(name), []byte("5678:9")))
	_, err = b.Login(bg, pkcs11.CKU_USER, "", name)
	require.NoError(t, err, "without a colon it names nobody")
}

func TestANewPINOrDeletionEndsAUsersCredentials(t *testing.T) {
	a, b, so, _ := newGroup(t).ready()
	for _, c := range []struct {
		what string
		do   func(there hsm.Credential) error
	}{
		{"SetPIN", func(hsm.Credential) error {
			_, err := b.SetPIN(bg, pkcs11.CKU_USER, "alice", pin, otherPIN)
			return err
		}},
		{"SetPIN with the name in the PINs", func(hsm.Credential) error {
			_, err := b.SetPIN(bg, pkcs11.CKU_USER, "", []byte("alice:user-pin"), []byte("alice:another-pin"))
			return err
		}},
		{"ResetPIN", func(there hsm.Credential) error {
			return b.ResetPIN(bg, there, pkcs11.CKU_USER, "alice", otherPIN)
		}},
		{"DeleteUser, and one of the same name comes", func(there hsm.Credential) error {
			if err := b.DeleteUser(bg, there, pkcs11.CKU_USER, "alice"); err != nil {
				return err
			}
			return b.CreateUser(bg, there, pkcs11.CKU_USER, "alice", otherPIN)
		}},
	} {
		t.Run(c.what, func(t *testing.T) {
			require.NoError(t, a.CreateUser(bg, so, pkcs11.CKU_USER, "alice", pin))
			cred, err := a.Login(bg, pkcs11.CKU_USER, "alice", pin)
			require.NoError(t, err)
			sealed, err := a.SealCredential(cred)
			require.NoError(t, err)
			_, err = b.OpenCredential(sealed, "")
			require.NoError(t, err)
			require.NoError(t, c.do(carry(t, a, b, so)))
			for _, e := range []*Engine{a, b} {
				_, err = e.OpenCredential(sealed, "")
				wantRV(t, pkcs11.CKR_USER_NOT_LOGGED_IN, err)
			}
			_, err = a.Find(bg, cred, nil)
			wantRV(t, pkcs11.CKR_USER_NOT_LOGGED_IN, err)
			_, err = a.SealCredential(cred)
			wantRV(t, pkcs11.CKR_USER_NOT_LOGGED_IN, err)
			_, err = a.Login(bg, pkcs11.CKU_USER, "alice", otherPIN)
			require.NoError(t, err)
			require.NoError(t, a.DeleteUser(bg, so, pkcs11.CKU_USER, "alice"))
		})
	}
}

func TestAnAdministratorAlwaysStays(t *testing.T) {
	a, b, so, _ := newGroup(t).ready()
	wantRV(t, pkcs11.CKR_ACTION_PROHIBITED, a.DeleteUser(bg, so, pkcs11.CKU_SO, ""))
	wantRV(t, pkcs11.CKR_ACTION_PROHIBITED, a.ResetPIN(bg, so, pkcs11.CKU_SO, "", pin))
	require.NoError(t, a.CreateUser(bg, so, pkcs11.CKU_SO, "bob", pin))
	bob, err := b.Login(bg, pkcs11.CKU_SO, "bob", pin)
	require.NoError(t, err)
	there := carry(t, a, b, so)
	require.NoError(t, b.DeleteUser(bg, bob, pkcs11.CKU_SO, ""))
	wantRV(t, pkcs11.CKR_USER_NOT_LOGGED_IN, b.DeleteUser(bg, there, pkcs11.CKU_SO, "bob"))
	wantRV(t, pkcs11.CKR_ARGUMENTS_BAD, b.DeleteUser(bg, bob, pkcs11.CKU_SO, "nobody"))
	// The token's own SO is gone; the administrator who is left may still erase it.
	wantRV(t, pkcs11.CKR_USER_PIN_NOT_INITIALIZED, a.InitToken(bg, officerPIN, "new"))
	require.NoError(t, a.InitToken(bg, []byte("bob:user-pin"), "new"))
	_, err = b.Login(bg, pkcs11.CKU_SO, "", []byte("bob:user-pin"))
	require.NoError(t, err, "the same PIN logs in to the new token")
}

func TestLockoutIsOfOneUser(t *testing.T) {
	a, b, so, _ := newGroup(t).ready()
	require.NoError(t, a.CreateUser(bg, so, pkcs11.CKU_USER, "alice", pin))
	for range auth.MaxFailures {
		_, err := a.Login(bg, pkcs11.CKU_USER, "alice", otherPIN)
		wantRV(t, pkcs11.CKR_PIN_INCORRECT, err)
	}
	_, err := b.Login(bg, pkcs11.CKU_USER, "alice", pin)
	wantRV(t, pkcs11.CKR_PIN_LOCKED, err)
	_, err = b.Login(bg, pkcs11.CKU_USER, "", pin)
	require.NoError(t, err)
	list, err := a.ListUsers(bg, so)
	require.NoError(t, err)
	require.True(t, list[len(list)-1].Locked)
	require.NoError(t, a.ResetPIN(bg, so, pkcs11.CKU_USER, "alice", pin))
	_, err = b.Login(bg, pkcs11.CKU_USER, "alice", pin)
	require.NoError(t, err)
}

func TestAnEmbeddedTokenLetsNothingOut(t *testing.T) {
	e, cred := withPINs(t, mem.New())
	_, err := e.SealCredential(cred)
	wantRV(t, pkcs11.CKR_FUNCTION_NOT_SUPPORTED, err)
	_, _, err = e.SealObject(privateKey(t, e, cred))
	wantRV(t, pkcs11.CKR_FUNCTION_NOT_SUPPORTED, err)
}
