package custody

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/core/secret"
	"github.com/coffer-hsm/coffer/core/vault"
)

var binding = Binding{"c1", "n1"}

func newRoot(t *testing.T) *secret.Bytes {
	t.Helper()
	root, err := vault.NewRoot()
	require.NoError(t, err)
	return root
}

func saying(s string) Passphrase {
	return Passphrase{Ask: func(context.Context, bool) (*secret.Bytes, error) { return secret.Copy([]byte(s)), nil }}
}

// people keep shares.
type people struct{ shares []string }

func (p *people) method(n, m int, give ...int) Shares {
	at := 0
	return Shares{N: n, M: m,
		Give: func(_ context.Context, s []string) error { p.shares = s; return nil },
		Take: func(context.Context, int, int) (string, error) {
			if at == len(give) {
				return "", nil
			}
			at++
			return p.shares[give[at-1]], nil
		}}
}

func TestRootComesBack(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "cred"), []byte("a credential of systemd's"), 0o400))
	var p people
	for _, c := range []struct {
		name  string
		seal  Method
		open  Method
		wrong Method
	}{
		{"file", KeyFile{filepath.Join(dir, "a", "key")}, KeyFile{filepath.Join(dir, "a", "key")}, KeyFile{filepath.Join(dir, "other")}},
		{"passphrase", saying("correct horse"), saying("correct horse"), saying("wrong horse")},
		{"credential", Credential{dir, "cred"}, Credential{dir, "cred"}, Credential{dir, "none"}},
		{"shares", p.method(5, 3), p.method(5, 3, 4, 0, 2), p.method(5, 3, 1, 3)},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, root := context.Background(), newRoot(t)
			sealed, err := Seal(ctx, root, binding, c.seal)
			require.NoError(t, err)
			require.NotContains(t, string(sealed), string(root.Expose()))
			got, err := Unseal(ctx, sealed, binding, c.open)
			require.NoError(t, err)
			require.True(t, root.Equal(got))
			_, err = Unseal(ctx, sealed, binding, c.wrong)
			require.Error(t, err)
			if c.name != "shares" { // whose shares were used up
				_, err = Unseal(ctx, sealed, Binding{"c1", "n2"}, c.open)
				require.ErrorIs(t, err, ErrKey)
			}
			for n := range sealed {
				_, err := Unseal(ctx, sealed[:n], binding, c.open)
				require.Error(t, err)
			}
		})
	}
}

func TestAnotherMethodIsSaid(t *testing.T) {
	sealed, err := Seal(context.Background(), newRoot(t), binding, saying("correct horse"))
	require.NoError(t, err)
	_, err = Unseal(context.Background(), sealed, binding, KeyFile{"none"})
	require.ErrorIs(t, err, ErrMethod)
}

func TestOthersMayNotReadTheKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	sealed, err := Seal(context.Background(), newRoot(t), binding, KeyFile{path})
	require.NoError(t, err)
	require.NoError(t, os.Chmod(path, 0o640))
	_, err = Unseal(context.Background(), sealed, binding, KeyFile{path})
	require.ErrorContains(t, err, "chmod 600")
	require.NoError(t, os.Chmod(path, 0o600))
	require.NoError(t, os.WriteFile(path, []byte("short\n"), 0o600))
	_, err = Unseal(context.Background(), sealed, binding, KeyFile{path})
	require.ErrorContains(t, err, "hexadecimal")
}

func TestSharesAreToldApart(t *testing.T) {
	ctx := context.Background()
	var p, q people
	root := newRoot(t)
	sealed, err := Seal(ctx, root, binding, p.method(4, 2))
	require.NoError(t, err)
	_, err = Seal(ctx, root, binding, q.method(4, 2))
	require.NoError(t, err)
	for i := range 4 {
		for j := range 4 {
			_, err := Unseal(ctx, sealed, binding, p.method(4, 2, i, j))
			if i == j {
				require.ErrorContains(t, err, "twice")
			} else {
				require.NoError(t, err)
			}
		}
	}
	_, err = Unseal(ctx, sealed, binding, q.method(4, 2, 0, 1))
	require.ErrorContains(t, err, "another sealing")
	mine := slices.Clone(p.shares)
	for n := range mine[0] {
		p.shares[0] = mine[0][:n]
		if n == 0 {
			continue
		}
		_, err := Unseal(ctx, sealed, binding, p.method(4, 2, 0, 1))
		require.Error(t, err)
	}
	for _, bad := range []Shares{p.method(3, 1), p.method(2, 3), p.method(300, 2)} {
		_, err := Seal(ctx, root, binding, bad)
		require.Error(t, err)
	}
}

func FuzzUnseal(f *testing.F) {
	root, err := vault.NewRoot()
	require.NoError(f, err)
	key := filepath.Join(f.TempDir(), "key")
	sealed, err := Seal(context.Background(), root, binding, KeyFile{key})
	require.NoError(f, err)
	f.Add(sealed)
	f.Fuzz(func(t *testing.T, b []byte) {
		if got, err := Unseal(context.Background(), b, binding, KeyFile{key}); err == nil && !got.Equal(root) {
			t.Fatal("another root")
		}
	})
}

func FuzzParseShare(f *testing.F) {
	var p people
	_, err := Seal(context.Background(), secret.New(vault.RootSize), binding, p.method(3, 2))
	require.NoError(f, err)
	f.Add(p.shares[0])
	f.Fuzz(func(t *testing.T, s string) {
		if p, err := parseShare(s); err == nil {
			text, err := shareText(p.set[:], p.need, p.index, p.value)
			if err != nil || text != strings.ToLower(strings.TrimSpace(s)) {
				t.Fatalf("%q came back as %q (%v)", s, text, err)
			}
		}
	})
}
