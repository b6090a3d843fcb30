package ceremonies

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/core/cluster/client"
	ck "github.com/coffer-hsm/coffer/pkcs11"
	"github.com/coffer-hsm/coffer/tests/harness"
)

// TestActivation: until the administrator has set a password with the code, nothing can be done with a node, and only he can
// set it.
func TestActivation(t *testing.T) {
	c := newCluster(t)
	defer c.end()
	a := c.place(t, "a")
	code := c.create(t, a)
	require.NotEmpty(t, code)
	a.start(t)
	a.serves(t)

	k, err := client.New(client.Options{Socket: a.sock, Only: true, Timeout: patience})
	require.NoError(t, err)
	defer k.Close()
	info, err := k.Info(t.Context())
	require.NoError(t, err)
	require.Zero(t, info.Flags&ck.CKF_TOKEN_INITIALIZED)

	refusedEach := map[string]func(ctx context.Context) error{
		"C_InitToken": func(ctx context.Context) error { return k.InitToken(ctx, []byte("somebody-else"), "mine") },
		"login":       func(ctx context.Context) error { _, err := k.Login(ctx, ck.CKU_USER, "", []byte(code)); return err },
		"administrator with another word": func(ctx context.Context) error {
			_, err := k.Login(ctx, ck.CKU_SO, "", []byte(harness.SOPIN))
			return err
		},
		"create": func(ctx context.Context) error {
			_, err := k.Create(ctx, nil, secretKey("early", make([]byte, 32), true))
			return err
		},
		"wrong code": func(ctx context.Context) error {
			_, err := k.SetPIN(ctx, ck.CKU_SO, "", []byte("AAAA-AAAA-AAAA-AAAA"), []byte(harness.SOPIN))
			return err
		},
	}
	for name, f := range refusedEach {
		require.Error(t, f(t.Context()), name)
	}
	for _, args := range [][]string{
		{"cluster", "invite"}, {"user", "create", "early"}, {"pin", "reset"}, {"key", "generate", "--type", "aes:256", "--label", "early"},
		{"cluster", "certify", "early"},
	} {
		o := c.tryWith(t, []string{"COFFER_NEW_PIN=" + harness.UserPIN}, append(args, "--socket", a.sock)...)
		require.NotZero(t, o.code, "%v: %s", args, o.out)
	}
	info, err = k.Info(t.Context())
	require.NoError(t, err)
	require.Zero(t, info.Flags&ck.CKF_TOKEN_INITIALIZED, "none of it has activated the cluster")

	c.activate(t, a, code)
	o := c.tryWith(t, []string{"COFFER_SO_PIN=" + code, "COFFER_NEW_PIN=" + harness.SOPIN}, "cluster", "activate", "--socket", a.sock)
	require.NotZero(t, o.code)
	require.Contains(t, o.err, "active already")
	_, err = k.SetPIN(t.Context(), ck.CKU_SO, "", []byte(code), []byte("another-password"))
	answers(t, ck.CKR_PIN_INCORRECT, err)
	officer(t, k)
	user(t, k)
}

// TestJoinTokens: a token is good once, until it expires, as it was given, and for its own cluster. Whoever comes with
// anything else hears why, and the node that he asked goes on.
func TestJoinTokens(t *testing.T) {
	c := shared(t)
	a := c.nodes[0]
	try := func(t *testing.T, token string, more ...string) outcome {
		dir := t.TempDir()
		file := filepath.Join(dir, "token")
		require.NoError(t, os.WriteFile(file, []byte(token), 0o600))
		n := &node{name: "x" + filepath.Base(dir), conf: filepath.Join(dir, "x.toml"), dir: dir, addr: "127.0.0.1:11000"}
		return c.try(t, append(append([]string{"cluster", "join", "--token-file", file}, n.flags()...), more...)...)
	}
	refused := func(t *testing.T, want string, token string, more ...string) {
		o := try(t, token, more...)
		require.NotZero(t, o.code, o.out)
		t.Log(strings.TrimSpace(o.err))
		require.Contains(t, o.err, want)
		require.NotContains(t, o.err, "goroutine ")
		require.True(t, a.runs(), a.tail())
	}
	fresh := func(t *testing.T) string {
		b, err := os.ReadFile(c.invite(t, a, "x"))
		require.NoError(t, err)
		return strings.TrimSpace(string(b))
	}

	t.Run("mistyped", func(t *testing.T) {
		token := fresh(t)
		for _, at := range []int{len(token) / 3, len(token) / 2, len(token) - 2} {
			b := []byte(token)
			if b[at] == 'b' {
				b[at] = 'c'
			} else {
				b[at] = 'b'
			}
			refused(t, "the invitation is mistyped or cut off", string(b))
		}
		refused(t, "the invitation is mistyped or cut off", token[:len(token)/2])
		refused(t, "this is no invitation", "hello")
	})
	t.Run("expired", func(t *testing.T) {
		k := c.through(t, a)
		i, err := k.Invite(t.Context(), officer(t, k), time.Second)
		require.NoError(t, err)
		time.Sleep(2100 * time.Millisecond)
		refused(t, "expired", i.GetToken())
	})
	t.Run("used twice", func(t *testing.T) {
		defer func() { c.nodes = c.nodes[:3] }()
		file := c.invite(t, a, "twice")
		b, err := os.ReadFile(file)
		require.NoError(t, err)
		n := c.place(t, "twice")
		c.coffer(t, append([]string{"cluster", "join", "--token-file", file}, n.flags()...)...)
		refused(t, "the invitation is not accepted", string(b))
		// The same place is tried again with the same command and a fresh token, as an operator would.
		again := c.place(t, "again")
		require.NoError(t, os.WriteFile(file+".bad", b, 0o600))
		c.refused(t, "the invitation is not accepted", append([]string{"cluster", "join", "--token-file", file + ".bad"}, again.flags()...)...)
		c.coffer(t, append([]string{"cluster", "join", "--token-file", c.invite(t, a, "again")}, again.flags()...)...)
		c.refused(t, "says something else", append([]string{"cluster", "join", "--token-file", file, "--zone", "cellar"}, again.flags()...)...)
		c.coffer(t, "cluster", "remove", "again", "--yes", "--socket", a.sock)
		c.coffer(t, "cluster", "remove", "twice", "--yes", "--socket", a.sock)
	})
	t.Run("another cluster's", func(t *testing.T) {
		other := newCluster(t)
		defer other.end()
		n := other.place(t, "o")
		code := other.create(t, n)
		n.start(t)
		n.serves(t)
		other.activate(t, n, code)
		b, err := os.ReadFile(other.invite(t, n, "x"))
		require.NoError(t, err)
		n.kill()
		refused(t, "not from the authority that the invitation names", string(b), "--address", a.addr)
	})
	c.settled(t, a, 3, 3)
}
