package ceremonies

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/miekg/pkcs11"
	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/core/cluster/client"
	"github.com/coffer-hsm/coffer/core/config"
	"github.com/coffer-hsm/coffer/core/cryptoki"
	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/core/remote"
	ck "github.com/coffer-hsm/coffer/pkcs11"
)

const paysPIN = "pay-pin-5678"

func (c *cluster) userCreate(t testing.TB, name string) {
	t.Helper()
	o := c.tryWith(t, []string{"COFFER_NEW_PIN=" + paysPIN}, "user", "create", name)
	require.Zero(t, o.code, o.err)
}

// TestNamedUsers: a user who was made once logs in by name through every node and in every way, and is gone everywhere when
// he was removed.
func TestNamedUsers(t *testing.T) {
	c := shared(t)
	c.userCreate(t, "pays")
	o := c.tryWith(t, []string{"COFFER_NEW_PIN=" + paysPIN}, "user", "create", "pays")
	require.NotZero(t, o.code, "there is one already")

	p := c.library(t)
	s, err := p.OpenSession(0, pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION)
	require.NoError(t, err)
	for _, wrong := range []string{"pays:" + paysPIN + "x", "nobody:" + paysPIN, paysPIN} {
		require.Equal(t, pkcs11.Error(pkcs11.CKR_PIN_INCORRECT), p.Login(s, pkcs11.CKU_USER, wrong), wrong)
	}
	require.NoError(t, p.Login(s, pkcs11.CKU_USER, "pays:"+paysPIN))
	value := []byte("thirty-two bytes of a key, a key")
	key, err := p.CreateObject(s, hmacKey("pays", value, true))
	require.NoError(t, err)
	require.NoError(t, signs(p, s, key, value, "an invoice"))

	// C_LoginUser, for which the binding has no function: the same machine without the C.
	conf, err := config.FromFile(c.slotFile())
	require.NoError(t, err)
	l := cryptoki.New(cryptoki.Options{Slots: func() ([]cryptoki.Slot, error) {
		return []cryptoki.Slot{{Open: func() (hsm.HSM, error) { return remote.Open(conf.Slots[0], nil) }}}, nil
	}})
	require.NoError(t, l.Initialize(nil))
	defer l.Finalize(false)
	h, err := l.OpenSession(0, ck.CKF_SERIAL_SESSION|ck.CKF_RW_SESSION)
	require.NoError(t, err)
	answers(t, ck.CKR_PIN_INCORRECT, l.LoginUser(h, ck.CKU_USER, []byte(paysPIN), []byte("nobody")))
	require.NoError(t, l.LoginUser(h, ck.CKU_USER, []byte(paysPIN), []byte("pays")))
	require.NoError(t, l.Logout(h))

	views := map[*node]*client.Client{}
	creds := map[*node]hsm.Credential{}
	for _, n := range c.nodes {
		views[n] = c.through(t, n)
		creds[n], err = views[n].Login(t.Context(), ck.CKU_USER, "pays", []byte(paysPIN))
		require.NoError(t, err)
		require.Len(t, found(t, views[n], creds[n], "pays"), 1)
	}
	var list struct {
		Users []struct {
			Type, Name string
			Locked     bool
		}
	}
	c.answer(t, &list, "user", "list")
	require.Contains(t, fmt.Sprint(list.Users), "{crypto pays false}")

	c.coffer(t, "user", "delete", "pays")
	for _, n := range c.nodes {
		_, err := views[n].Find(t.Context(), creds[n], nil)
		answers(t, ck.CKR_USER_NOT_LOGGED_IN, err)
		_, err = views[n].Login(t.Context(), ck.CKU_USER, "pays", []byte(paysPIN))
		answers(t, ck.CKR_PIN_INCORRECT, err)
	}
	require.Error(t, signs(p, s, key, value, "another invoice"), "the library's login has ended")
	c.coffer(t, "key", "delete", "pays", "--yes")
}

// TestLockout: wrong PINs are counted for the cluster, so that asking another node gives nobody more guesses.
func TestLockout(t *testing.T) {
	c := shared(t)
	c.userCreate(t, "guessed")
	views := c.views(t)
	wrong := func(v view) error {
		_, err := v.Login(t.Context(), ck.CKU_USER, "guessed", []byte("not-the-pin"))
		return err
	}
	for i := range 10 {
		require.Error(t, wrong(views[i%2]), "guess %d", i)
	}
	for _, v := range views {
		_, err := v.Login(t.Context(), ck.CKU_USER, "guessed", []byte(paysPIN))
		answers(t, ck.CKR_PIN_LOCKED, err)
	}
	user(t, views[0]) // nobody else is
	o := c.tryWith(t, []string{"COFFER_NEW_PIN=" + paysPIN}, "user", "reset", "guessed")
	require.Zero(t, o.code, o.err)
	for _, v := range views {
		_, err := v.Login(t.Context(), ck.CKU_USER, "guessed", []byte(paysPIN))
		require.NoError(t, err)
	}
	c.coffer(t, "user", "delete", "guessed")
}

// TestSecondAdministrator: administrators have names too, and the last one stays.
func TestSecondAdministrator(t *testing.T) {
	c := shared(t)
	o := c.tryWith(t, []string{"COFFER_NEW_PIN=alices-password"}, "user", "create", "alice", "--type", "admin")
	require.Zero(t, o.code, o.err)
	o = c.tryWith(t, []string{"COFFER_SO_PIN=alices-password"}, "cluster", "invite", "--admin", "alice", "--out", filepath.Join(c.dir, "alice.token"))
	require.Zero(t, o.code, o.err)
	c.coffer(t, "user", "delete", "alice", "--type", "admin")
	o = c.tryWith(t, []string{"COFFER_SO_PIN=alices-password"}, "cluster", "invite", "--admin", "alice")
	require.NotZero(t, o.code)
}
