package custody

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/miekg/pkcs11"
	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/core/secret"
)

const (
	softHSM  = "/usr/lib/softhsm/libsofthsm2.so"
	modulePN = "12345678"
)

// otherModule returns a module with one token "vault": an AES key "aes" (id 01), an RSA pair "rsa" (id 02), an AES key
// "mute" that may not decrypt, and two AES keys "twin" (ids 03 and 04).
func otherModule(t *testing.T) Module {
	t.Helper()
	if _, err := os.Stat(softHSM); err != nil {
		t.Fatalf("SoftHSM is not installed (make deps-test): %v", err)
	}
	dir := t.TempDir()
	tokens := filepath.Join(dir, "tokens")
	require.NoError(t, os.Mkdir(tokens, 0o700))
	conf := filepath.Join(dir, "softhsm2.conf")
	require.NoError(t, os.WriteFile(conf, []byte("directories.tokendir = "+tokens+"\nlog.level = ERROR\n"), 0o600))
	t.Setenv("SOFTHSM2_CONF", conf)

	p := pkcs11.New(softHSM)
	require.NotNil(t, p)
	defer p.Destroy()
	require.NoError(t, p.Initialize())
	defer p.Finalize()
	slots, err := p.GetSlotList(false)
	require.NoError(t, err)
	require.NoError(t, p.InitToken(slots[0], modulePN, "vault"))
	if slots, err = p.GetSlotList(true); err != nil {
		t.Fatal(err)
	}
	s, err := p.OpenSession(slots[0], pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION)
	require.NoError(t, err)
	require.NoError(t, p.Login(s, pkcs11.CKU_SO, modulePN))
	require.NoError(t, p.InitPIN(s, modulePN))
	require.NoError(t, p.Logout(s))
	require.NoError(t, p.Login(s, pkcs11.CKU_USER, modulePN))
	aes := func(label string, id byte, decrypt bool) {
		_, err := p.GenerateKey(s, []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_AES_KEY_GEN, nil)}, []*pkcs11.Attribute{
			pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true), pkcs11.NewAttribute(pkcs11.CKA_LABEL, label), pkcs11.NewAttribute(pkcs11.CKA_ID, []byte{id}),
			pkcs11.NewAttribute(pkcs11.CKA_VALUE_LEN, 32), pkcs11.NewAttribute(pkcs11.CKA_ENCRYPT, true), pkcs11.NewAttribute(pkcs11.CKA_DECRYPT, decrypt)})
		require.NoError(t, err)
	}
	aes("aes", 1, true)
	aes("mute", 5, false)
	aes("twin", 3, true)
	aes("twin", 4, true)
	name := []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true), pkcs11.NewAttribute(pkcs11.CKA_LABEL, "rsa"), pkcs11.NewAttribute(pkcs11.CKA_ID, []byte{2})}
	_, _, err = p.GenerateKeyPair(s, []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_RSA_PKCS_KEY_PAIR_GEN, nil)},
		append(name[:3:3], pkcs11.NewAttribute(pkcs11.CKA_MODULUS_BITS, 2048), pkcs11.NewAttribute(pkcs11.CKA_ENCRYPT, true)),
		append(name[:3:3], pkcs11.NewAttribute(pkcs11.CKA_DECRYPT, true)))
	require.NoError(t, err)
	return Module{Library: softHSM, Token: "vault", PIN: saidPIN(modulePN)}
}

func saidPIN(pin string) func() (*secret.Bytes, error) {
	return func() (*secret.Bytes, error) { return secret.Copy([]byte(pin)), nil }
}

func TestAnotherModuleKeepsTheKey(t *testing.T) {
	module, ctx := otherModule(t), context.Background()
	with := func(change func(*Module)) Module {
		m := module
		change(&m)
		return m
	}
	aes := with(func(m *Module) { m.Label = "aes" })
	rsa := with(func(m *Module) { m.ID = []byte{2} })
	root := newRoot(t)
	for _, c := range []struct {
		name     string
		m, other Module
	}{
		{"AES", aes, with(func(m *Module) { m.ID = []byte{3} })},
		{"RSA", rsa, aes},
		{"one of two of the same label", with(func(m *Module) { m.Label, m.ID = "twin", []byte{4} }), with(func(m *Module) { m.Label, m.ID = "twin", []byte{3} })},
	} {
		t.Run(c.name, func(t *testing.T) {
			sealed, err := Seal(ctx, root, binding, c.m)
			require.NoError(t, err)
			got, err := Unseal(ctx, sealed, binding, c.m)
			require.NoError(t, err)
			require.True(t, root.Equal(got))
			_, err = Unseal(ctx, sealed, binding, c.other)
			require.Error(t, err, "another key")
			_, err = Unseal(ctx, sealed, Binding{"c1", "n2"}, c.m)
			require.ErrorIs(t, err, ErrKey)

			e, err := parse(sealed)
			require.NoError(t, err)
			for n := range e.kept {
				_, err := c.m.unwrap(ctx, binding, e.kept[:n])
				require.Error(t, err, "%d bytes", n)
			}
			e.kept[0] = 99
			_, err = c.m.unwrap(ctx, binding, e.kept)
			require.ErrorIs(t, err, ErrDamaged)
		})
	}
	for _, c := range []struct {
		name string
		m    Module
		says string
	}{
		{"no library", with(func(m *Module) { m.Library = "/nonexistent.so" }), "unseal.module"},
		{"no token", with(func(m *Module) { m.Token = "other" }), "unseal.token"},
		{"another serial", with(func(m *Module) { m.Serial = "0000" }), "unseal.serial"},
		{"no key", with(func(m *Module) { m.Label = "none" }), "unseal.key_label"},
		{"two keys", with(func(m *Module) { m.Label = "twin" }), "several keys"},
		{"a key that cannot decrypt", with(func(m *Module) { m.Label = "mute" }), "does not decrypt"},
		{"wrong PIN", with(func(m *Module) { m.Label, m.PIN = "aes", saidPIN("87654321") }), "unseal.pin_file"},
		{"no PIN", with(func(m *Module) {
			m.Label, m.PIN = "aes", func() (*secret.Bytes, error) { return nil, errors.New("no such file") }
		}), "no such file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Seal(ctx, root, binding, c.m)
			require.ErrorContains(t, err, c.says)
		})
	}

	t.Run("while the process uses the module for itself", func(t *testing.T) {
		p := pkcs11.New(softHSM)
		require.NotNil(t, p)
		defer p.Destroy()
		require.NoError(t, p.Initialize())
		sealed, err := Seal(ctx, root, binding, aes)
		require.NoError(t, err)
		_, err = Unseal(ctx, sealed, binding, aes)
		require.NoError(t, err)
		require.NoError(t, p.Finalize(), "it must not have been finalized by others")
	})
}
