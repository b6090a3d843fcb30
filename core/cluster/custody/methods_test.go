package custody

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/core/secret"
)

func TestRootGoesFromMethodToMethod(t *testing.T) {
	ctx, root := context.Background(), newRoot(t)
	old, new := KeyFile{filepath.Join(t.TempDir(), "key")}, saying("correct horse")
	sealed, err := Seal(ctx, root, binding, old)
	require.NoError(t, err)
	again, err := Rewrap(ctx, sealed, binding, old, new)
	require.NoError(t, err)
	method, err := MethodOf(again)
	require.NoError(t, err)
	require.Equal(t, "passphrase", method)
	got, err := Unseal(ctx, again, binding, new)
	require.NoError(t, err)
	require.True(t, root.Equal(got))
	_, err = Unseal(ctx, again, binding, old)
	require.ErrorIs(t, err, ErrMethod)

	_, err = Rewrap(ctx, sealed, binding, new, old)
	require.ErrorIs(t, err, ErrMethod)
	_, err = Rewrap(ctx, sealed, Binding{"c2", "n1"}, old, new)
	require.ErrorIs(t, err, ErrKey)
}

func TestLaterVersionIsToldApartFromDamage(t *testing.T) {
	sealed, err := Seal(context.Background(), newRoot(t), binding, KeyFile{filepath.Join(t.TempDir(), "key")})
	require.NoError(t, err)
	sealed[0] = format + 1
	_, err = MethodOf(sealed)
	require.ErrorIs(t, err, ErrDamaged)
	require.ErrorContains(t, err, "version 2")
	_, err = MethodOf(nil)
	require.ErrorContains(t, err, "backup")
}

// TestEveryFlippedBitIsNoticed: in the method's part as in the root's.
func TestEveryFlippedBitIsNoticed(t *testing.T) {
	ctx := context.Background()
	var p people
	sealed, err := Seal(ctx, newRoot(t), binding, p.method(3, 2))
	require.NoError(t, err)
	// How many shares were made is only told: after format, the name with its length, the length of what is kept, the threshold.
	const made = 1 + 1 + len("shares") + 3 + 1
	for at := range sealed {
		if at == made {
			continue
		}
		bad := append([]byte(nil), sealed...)
		bad[at] ^= 0x01
		_, err := Unseal(ctx, bad, binding, p.method(3, 2, 0, 2))
		require.Error(t, err, "byte %d", at)
	}
}

func TestRefusedShareIsAskedForAgain(t *testing.T) {
	ctx, root := context.Background(), newRoot(t)
	var p, other people
	sealed, err := Seal(ctx, root, binding, p.method(5, 3))
	require.NoError(t, err)
	_, err = Seal(ctx, root, binding, other.method(5, 3))
	require.NoError(t, err)
	typed := []string{"hello", p.shares[1], p.shares[1], other.shares[0], strings.ToUpper(p.shares[4]), p.shares[0][:30], " " + p.shares[2] + "\n"}
	var refused []string
	m := Shares{Refused: func(err error) { refused = append(refused, err.Error()) },
		Take: func(_ context.Context, have, need int) (string, error) {
			require.Equal(t, 3, need)
			next := typed[0]
			typed = typed[1:]
			return next, nil
		}}
	got, err := Unseal(ctx, sealed, binding, m)
	require.NoError(t, err)
	require.True(t, root.Equal(got))
	require.Empty(t, typed)
	for i, says := range []string{"no share", "twice", "another sealing", "cut off"} {
		require.Contains(t, refused[i], says)
	}
	require.Len(t, refused, 4)
}

func TestForgedSharesOpenNothing(t *testing.T) {
	ctx := context.Background()
	var p people
	sealed, err := Seal(ctx, newRoot(t), binding, p.method(3, 2))
	require.NoError(t, err)
	share, err := parseShare(p.shares[0])
	require.NoError(t, err)
	forge := func(m, index int) string {
		text, err := shareText(share.set[:], m, index, share.value)
		require.NoError(t, err)
		return text
	}
	for _, c := range []struct {
		name, text string
		says       string
	}{
		{"a value at another place", forge(2, 3), ErrKey.Error()},
		{"place 0", forge(2, 0), "damaged"},
		{"another threshold", forge(3, 2), "another sealing"},
		{"later version", "coffer-share-2-" + p.shares[1][len(sharePrefix):], "later version"},
		{"one letter wrong", flipped(p.shares[1], 40), "checksum"},
		{"not its letters", p.shares[1][:40] + "!" + p.shares[1][41:], "mistyped"},
		{"too long", p.shares[1] + "a", "mistyped"},
	} {
		t.Run(c.name, func(t *testing.T) {
			give := []string{p.shares[0], c.text}
			if c.name == "a value at another place" {
				give[0] = p.shares[1]
			}
			m := Shares{Take: func(context.Context, int, int) (string, error) {
				next := give[0]
				give = give[1:]
				return next, nil
			}}
			_, err := Unseal(ctx, sealed, binding, m)
			require.ErrorContains(t, err, c.says)
			require.NotContains(t, err.Error(), c.text, "a share must not be in a message")
		})
	}
}

func flipped(s string, at int) string {
	letter := byte('a')
	if s[at] == letter {
		letter = 'b'
	}
	return s[:at] + string(letter) + s[at+1:]
}

func TestSharesThatNobodyGot(t *testing.T) {
	lost := errors.New("printer on fire")
	_, err := Seal(context.Background(), newRoot(t), binding, Shares{N: 3, M: 2, Give: func(context.Context, []string) error { return lost }})
	require.ErrorIs(t, err, lost)
}

func TestKeyFileIsMadeOnceAndForItsOwner(t *testing.T) {
	ctx, dir := context.Background(), t.TempDir()
	f := KeyFile{filepath.Join(dir, "sub", "unseal.key")}
	_, err := Seal(ctx, newRoot(t), binding, f)
	require.NoError(t, err)
	info, err := os.Stat(f.Path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	before, err := os.ReadFile(f.Path)
	require.NoError(t, err)
	require.Len(t, before, 2*keySize+1)
	_, err = Seal(ctx, newRoot(t), binding, f)
	require.NoError(t, err)
	after, err := os.ReadFile(f.Path)
	require.NoError(t, err)
	require.Equal(t, before, after, "another root may depend on it")
}

func TestWhatIsNoSecretFile(t *testing.T) {
	ctx, dir := context.Background(), t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	require.NoError(t, syscall.Mkfifo(pipe, 0o600))
	large := filepath.Join(dir, "large")
	require.NoError(t, os.WriteFile(large, make([]byte, maxSecret+1), 0o600))
	open := filepath.Join(dir, "open")
	require.NoError(t, os.WriteFile(open, []byte("correct horse\n"), 0o604))
	for _, c := range []struct{ path, says string }{
		{dir, "not a regular file"},
		{pipe, "not a regular file"},
		{large, "too long"},
		{open, "chmod 600"},
		{filepath.Join(dir, "none"), "no such file"},
	} {
		_, err := FromFile(c.path)(ctx, false)
		require.ErrorContains(t, err, c.says)
	}
}

func TestPassphraseComesFromAFileOrADescriptor(t *testing.T) {
	ctx, root := context.Background(), newRoot(t)
	path := filepath.Join(t.TempDir(), "passphrase")
	require.NoError(t, os.WriteFile(path, []byte("correct horse\r\nsecond line\n"), 0o600))
	sealed, err := Seal(ctx, root, binding, saying("correct horse"))
	require.NoError(t, err)
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer r.Close()
	fmt.Fprint(w, "correct horse")
	require.NoError(t, w.Close())
	fd, err := syscall.Dup(int(r.Fd())) // FromDescriptor closes the one that it reads
	require.NoError(t, err)
	for name, ask := range map[string]func(context.Context, bool) (*secret.Bytes, error){"file": FromFile(path), "descriptor": FromDescriptor(fd)} {
		got, err := Unseal(ctx, sealed, binding, Passphrase{Ask: ask})
		require.NoError(t, err, name)
		require.True(t, root.Equal(got), name)
	}
	_, err = FromDescriptor(fd)(ctx, false)
	require.Error(t, err, "it is closed")
}

func TestShortSecretsAreNotTaken(t *testing.T) {
	ctx, dir := context.Background(), t.TempDir()
	_, err := Seal(ctx, newRoot(t), binding, saying("1234567"))
	require.ErrorContains(t, err, "at least 8")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "short"), []byte("fifteen bytes.."), 0o400))
	for _, c := range []struct {
		m    Credential
		says string
	}{
		{Credential{dir, "short"}, "less than 16"},
		{Credential{dir, "none"}, "systemd"},
		{Credential{"", "short"}, "LoadCredential"},
	} {
		_, err := Seal(ctx, newRoot(t), binding, c.m)
		require.ErrorContains(t, err, c.says)
	}
}
