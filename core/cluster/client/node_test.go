package client_test

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/core/cluster/client"
	"github.com/coffer-hsm/coffer/core/cluster/node"
	"github.com/coffer-hsm/coffer/core/engine"
	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/core/mech/all"
	"github.com/coffer-hsm/coffer/core/store"
	"github.com/coffer-hsm/coffer/core/store/mem"
	"github.com/coffer-hsm/coffer/core/vault"
	"github.com/coffer-hsm/coffer/pkcs11"
)

var (
	ctx     = context.Background()
	soPIN   = []byte("officer's PIN")
	userPIN = []byte("the user's PIN")
)

// newEngine returns a node's engine over a store in memory.
func newEngine(t testing.TB) *engine.Engine {
	t.Helper()
	registry, err := all.Registry()
	require.NoError(t, err)
	root, err := vault.NewRoot()
	require.NoError(t, err)
	defer root.Zero()
	s := mem.New()
	e, err := engine.New(engine.Options{
		OpenStore:  func(bool) (store.Store, error) { return s, nil },
		Mechanisms: registry,
		KDF:        vault.KDF{Time: 1, MemoryKiB: 64, Threads: 1},
		Node:       &engine.NodeOptions{Root: root, Serial: "0123456789ABCDEF"},
	})
	require.NoError(t, err)
	t.Cleanup(func() { _ = e.Close() })
	return e
}

// newToken serves an engine on a socket, makes a token over a client and logs its user in.
func newToken(t testing.TB) (*engine.Engine, *client.Client, hsm.Credential) {
	t.Helper()
	e := newEngine(t)
	s, err := node.New(node.Options{HSM: e, Version: "test"})
	require.NoError(t, err)
	dir, err := os.MkdirTemp("", "cn")
	require.NoError(t, err)
	path := filepath.Join(dir, "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	require.NoError(t, err)
	go s.ServeUnix(l, node.Peers{})
	c, err := client.New(client.Options{Socket: path})
	require.NoError(t, err)
	t.Cleanup(func() {
		c.Close()
		s.Close()
		os.RemoveAll(dir)
	})
	require.NoError(t, c.InitToken(ctx, soPIN, "token"))
	so, err := c.Login(ctx, pkcs11.CKU_SO, "", soPIN)
	require.NoError(t, err)
	require.NoError(t, c.InitPIN(ctx, so, userPIN))
	require.NoError(t, c.Logout(ctx, so))
	user, err := c.Login(ctx, pkcs11.CKU_USER, "", userPIN)
	require.NoError(t, err)
	return e, c, user
}

var p256 = []byte{0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07}

func newPair(t testing.TB, h hsm.HSM, cred hsm.Credential, token bool) (pub, priv hsm.Object) {
	t.Helper()
	pub, priv, err := h.GenerateKeyPair(ctx, cred, pkcs11.Mechanism{Type: pkcs11.CKM_EC_KEY_PAIR_GEN},
		pkcs11.Template{pkcs11.Attr(pkcs11.CKA_TOKEN, token), pkcs11.Attr(pkcs11.CKA_EC_PARAMS, p256), pkcs11.Attr(pkcs11.CKA_VERIFY, true)},
		pkcs11.Template{pkcs11.Attr(pkcs11.CKA_TOKEN, token), pkcs11.Attr(pkcs11.CKA_SIGN, true)})
	require.NoError(t, err)
	return pub, priv
}

func newSecret(t testing.TB, h hsm.HSM, cred hsm.Credential) hsm.Object {
	t.Helper()
	o, err := h.GenerateKey(ctx, cred, pkcs11.Mechanism{Type: pkcs11.CKM_AES_KEY_GEN}, pkcs11.Template{
		pkcs11.Attr(pkcs11.CKA_TOKEN, false), pkcs11.AttrUlong(pkcs11.CKA_VALUE_LEN, uint(32)),
		pkcs11.Attr(pkcs11.CKA_ENCRYPT, true), pkcs11.Attr(pkcs11.CKA_DECRYPT, true), pkcs11.Attr(pkcs11.CKA_SIGN, true), pkcs11.Attr(pkcs11.CKA_VERIFY, true)})
	require.NoError(t, err)
	return o
}

// run does an operation in parts of a size and returns all its output.
func run(t testing.TB, h hsm.HSM, cred hsm.Credential, kind hsm.OpKind, m pkcs11.Mechanism, key hsm.Object, data []byte, size int) []byte {
	t.Helper()
	op, err := h.Begin(ctx, cred, kind, m, key)
	require.NoError(t, err)
	defer op.Close()
	var out []byte
	for len(data) > size && size > 0 {
		n := op.UpdateLen(size)
		before := len(out)
		out, err = op.Update(ctx, out, data[:size])
		require.NoError(t, err)
		require.Len(t, out, before+n)
		data = data[size:]
	}
	bound, exact := op.FinishLen(len(data))
	before := len(out)
	out, err = op.Finish(ctx, out, data)
	require.NoError(t, err)
	assert.LessOrEqual(t, len(out)-before, bound)
	if exact {
		assert.Len(t, out, before+bound)
	}
	return out
}

func TestNodeSigns(t *testing.T) {
	_, c, user := newToken(t)
	for _, token := range []bool{true, false} {
		pub, priv := newPair(t, c, user, token)
		data := make([]byte, 5000)
		for _, m := range []pkcs11.MechanismType{pkcs11.CKM_ECDSA_SHA256, pkcs11.CKM_ECDSA_SHA3_384} {
			signature := run(t, c, user, hsm.OpSign, pkcs11.Mechanism{Type: m}, priv, data, 999)
			op, err := c.Begin(ctx, user, hsm.OpVerify, pkcs11.Mechanism{Type: m}, pub)
			require.NoError(t, err)
			require.NoError(t, op.Verify(ctx, data, signature))
			signature[3] ^= 1
			op, err = c.Begin(ctx, user, hsm.OpVerify, pkcs11.Mechanism{Type: m}, pub)
			require.NoError(t, err)
			assert.Equal(t, pkcs11.CKR_SIGNATURE_INVALID, pkcs11.RVOf(op.Verify(ctx, data, signature)))
		}
	}
}

func TestNodeCiphers(t *testing.T) {
	_, c, user := newToken(t)
	key := newSecret(t, c, user)
	data := make([]byte, 1<<12)
	for i := range data {
		data[i] = byte(i)
	}
	iv := make(pkcs11.IV, 16)
	for _, m := range []pkcs11.Mechanism{
		{Type: pkcs11.CKM_AES_CBC, Params: iv}, {Type: pkcs11.CKM_AES_CBC_PAD, Params: iv}, {Type: pkcs11.CKM_AES_ECB},
		{Type: pkcs11.CKM_AES_CTR, Params: &pkcs11.CTRParams{CounterBits: 128}},
		{Type: pkcs11.CKM_AES_GCM, Params: &pkcs11.GCMParams{IV: make([]byte, 12), TagBits: 128}},
	} {
		whole := run(t, c, user, hsm.OpEncrypt, m, key, data, 0)
		for _, size := range []int{7, 16, 100} {
			assert.Equal(t, whole, run(t, c, user, hsm.OpEncrypt, m, key, data, size), "%v in parts of %d", m.Type, size)
			assert.Equal(t, data, run(t, c, user, hsm.OpDecrypt, m, key, whole, size), "%v in parts of %d", m.Type, size)
		}
	}
	cmac := pkcs11.Mechanism{Type: pkcs11.CKM_AES_CMAC}
	assert.Equal(t, run(t, c, user, hsm.OpSign, cmac, key, data, 0), run(t, c, user, hsm.OpSign, cmac, key, data, 33))
}

func TestNodeDigestsAKey(t *testing.T) {
	e, c, user := newToken(t)
	value := []byte("a secret of 24 bytes ...")
	key, err := c.Create(ctx, user, pkcs11.Template{
		pkcs11.AttrUlong(pkcs11.CKA_CLASS, pkcs11.CKO_SECRET_KEY), pkcs11.AttrUlong(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_GENERIC_SECRET),
		pkcs11.Attr(pkcs11.CKA_TOKEN, false), pkcs11.Attr(pkcs11.CKA_VALUE, value)})
	require.NoError(t, err)
	for _, m := range []pkcs11.MechanismType{pkcs11.CKM_SHA256, pkcs11.CKM_SHA512, pkcs11.CKM_SHA3_256} {
		op, err := c.Begin(ctx, user, hsm.OpDigest, pkcs11.Mechanism{Type: m}, nil)
		require.NoError(t, err)
		_, err = op.Update(ctx, nil, []byte("before"))
		require.NoError(t, err)
		require.NoError(t, op.DigestKey(ctx, user, key))
		_, err = op.Update(ctx, nil, []byte("after"))
		require.NoError(t, err)
		got, err := op.Finish(ctx, nil, []byte("wards"))
		require.NoError(t, err)
		assert.Equal(t, run(t, e, nil, hsm.OpDigest, pkcs11.Mechanism{Type: m}, nil, []byte("before"+string(value)+"afterwards"), 0), got)
	}
}

func TestNodeSessionObject(t *testing.T) {
	_, c, user := newToken(t)
	key := newSecret(t, c, user)
	class, ok := key.Attribute(pkcs11.CKA_CLASS)
	assert.True(t, ok)
	assert.Equal(t, uint(pkcs11.CKO_SECRET_KEY), class)
	_, ok = key.Attribute(pkcs11.CKA_VALUE)
	assert.False(t, ok)
	require.NoError(t, c.SetAttributes(ctx, user, key, pkcs11.Template{pkcs11.AttrString(pkcs11.CKA_LABEL, "new")}))
	label, _ := key.Attribute(pkcs11.CKA_LABEL)
	assert.Equal(t, []byte("new"), label)
	values, err := c.Attributes(ctx, user, key, []pkcs11.AttributeType{pkcs11.CKA_LABEL, pkcs11.CKA_MODULUS})
	require.NoError(t, err)
	assert.Equal(t, []byte("new"), values[0].Value)
	assert.Equal(t, pkcs11.CKR_ATTRIBUTE_TYPE_INVALID, pkcs11.RVOf(values[1].Err))
	require.NoError(t, c.Destroy(ctx, user, key))
	_, err = c.Size(ctx, user, key)
	assert.Equal(t, pkcs11.CKR_OBJECT_HANDLE_INVALID, pkcs11.RVOf(err))
}

func TestNodeForgetsWhatIsDestroyed(t *testing.T) {
	_, c, user := newToken(t)
	_, priv := newPair(t, c, user, true)
	m := pkcs11.Mechanism{Type: pkcs11.CKM_ECDSA}
	run(t, c, user, hsm.OpSign, m, priv, make([]byte, 32), 0)
	require.NoError(t, c.Destroy(ctx, user, priv))
	_, err := c.Begin(ctx, user, hsm.OpSign, m, priv)
	assert.Equal(t, pkcs11.CKR_KEY_HANDLE_INVALID, pkcs11.RVOf(err), "what was said before does not count any more")
	require.NoError(t, c.Logout(ctx, user))
	_, err = c.Find(ctx, user, nil)
	assert.Equal(t, pkcs11.CKR_USER_NOT_LOGGED_IN, pkcs11.RVOf(err))
}

// sign is what an application does again and again.
func sign(b *testing.B, h hsm.HSM, cred hsm.Credential, key hsm.Object, digest, room []byte) {
	op, err := h.Begin(ctx, cred, hsm.OpSign, pkcs11.Mechanism{Type: pkcs11.CKM_ECDSA}, key)
	if err == nil {
		_, err = op.Finish(ctx, room[:0], digest)
		op.Close()
	}
	if err != nil {
		b.Error(err)
	}
}

func BenchmarkSign(b *testing.B) {
	e, c, user := newToken(b)
	_, priv := newPair(b, c, user, true)
	direct, err := e.Login(ctx, pkcs11.CKU_USER, "", userPIN)
	require.NoError(b, err)
	key := e.TokenObject(priv.ID(), true)
	for _, by := range []struct {
		name string
		hsm  hsm.HSM
		cred hsm.Credential
		key  hsm.Object
	}{{"engine", e, direct, key}, {"node", c, user, priv}} {
		b.Run(by.name, func(b *testing.B) {
			b.Run("one", func(b *testing.B) {
				b.ReportAllocs()
				digest, room := make([]byte, 32), make([]byte, 64)
				for b.Loop() {
					sign(b, by.hsm, by.cred, by.key, digest, room)
				}
			})
			b.Run("64", func(b *testing.B) {
				b.SetParallelism(32) // times two processors
				b.RunParallel(func(pb *testing.PB) {
					digest, room := make([]byte, 32), make([]byte, 64)
					for pb.Next() {
						sign(b, by.hsm, by.cred, by.key, digest, room)
					}
				})
			})
		})
	}
}
