package vault

import (
	"bytes"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/core/secret"
)

var someLabel = Label{Kind: "object", ID: "00112233445566778899aabbccddeeff", Version: 1}

func newBarrier(t testing.TB, token string) *Barrier {
	root, err := NewRoot()
	require.NoError(t, err)
	b, err := NewBarrier(root, token)
	require.NoError(t, err)
	root.Zero() // the barrier must not depend on it
	return b
}

func TestSealedOpensToThePlaintext(t *testing.T) {
	b := newBarrier(t, "token-1")
	for _, size := range []int{0, 1, 15, 16, 4096, 1 << 20} {
		plaintext := bytes.Repeat([]byte{0xa5}, size)
		sealed, err := b.Seal(someLabel, plaintext)
		require.NoError(t, err)
		require.Len(t, sealed, size+Overhead)
		opened, err := b.Open(someLabel, sealed)
		require.NoError(t, err)
		require.True(t, bytes.Equal(plaintext, opened))
	}
}

func TestSealingTwiceGivesDifferentBlobs(t *testing.T) {
	b := newBarrier(t, "token-1")
	one, err := b.Seal(someLabel, []byte("x"))
	require.NoError(t, err)
	two, err := b.Seal(someLabel, []byte("x"))
	require.NoError(t, err)
	require.NotEqual(t, one, two)
}

func TestBlobOpensOnlyWhereItBelongs(t *testing.T) {
	root, err := NewRoot()
	require.NoError(t, err)
	b, err := NewBarrier(root, "token-1")
	require.NoError(t, err)
	sealed, err := b.Seal(someLabel, []byte("x"))
	require.NoError(t, err)

	for name, l := range map[string]Label{
		"kind":        {"user", someLabel.ID, 1},
		"id":          {"object", "other", 1},
		"version":     {"object", someLabel.ID, 2},
		"moved bytes": {"object0", someLabel.ID[1:], 1},
	} {
		_, err := b.Open(l, sealed)
		require.ErrorIs(t, err, ErrSealBroken, name)
	}
	other, err := NewBarrier(root, "token-2")
	require.NoError(t, err)
	_, err = other.Open(someLabel, sealed)
	require.ErrorIs(t, err, ErrSealBroken, "token")
	_, err = newBarrier(t, "token-1").Open(someLabel, sealed)
	require.ErrorIs(t, err, ErrSealBroken, "root")
}

func TestEveryFlippedBitIsNoticed(t *testing.T) {
	b := newBarrier(t, "token-1")
	sealed, err := b.Seal(someLabel, []byte("some plaintext"))
	require.NoError(t, err)
	for bit := range len(sealed) * 8 {
		bad := bytes.Clone(sealed)
		bad[bit/8] ^= 1 << (bit % 8)
		_, err := b.Open(someLabel, bad)
		require.Error(t, err, "bit %d", bit)
	}
	for n := range len(sealed) {
		_, err := b.Open(someLabel, sealed[:n])
		require.ErrorIs(t, err, ErrSealBroken, "%d bytes", n)
	}
}

func TestLaterFormatIsToldApartFromDamage(t *testing.T) {
	b := newBarrier(t, "token-1")
	sealed, err := b.Seal(someLabel, nil)
	require.NoError(t, err)
	sealed[0] = sealFormat + 1
	_, err = b.Open(someLabel, sealed)
	require.ErrorIs(t, err, ErrSealVersion)
	sealed[0] = 0
	_, err = b.Open(someLabel, sealed)
	require.ErrorIs(t, err, ErrSealBroken)
}

func TestDestroyedBarrierRefuses(t *testing.T) {
	b := newBarrier(t, "token-1")
	sealed, err := b.Seal(someLabel, []byte("x"))
	require.NoError(t, err)
	view := b.key.Expose()
	b.Destroy()
	b.Destroy()
	require.Equal(t, make([]byte, 32), view)
	_, err = b.Open(someLabel, sealed)
	require.ErrorIs(t, err, ErrSealed)
	_, err = b.Seal(someLabel, []byte("x"))
	require.ErrorIs(t, err, ErrSealed)
}

func TestBarrierMayBeDestroyedWhileInUse(t *testing.T) {
	b := newBarrier(t, "token-1")
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				sealed, err := b.Seal(someLabel, []byte("x"))
				if err == nil {
					_, err = b.Open(someLabel, sealed)
				}
				if err != nil {
					require.ErrorIs(t, err, ErrSealed)
					return
				}
			}
		})
	}
	b.Destroy()
	wg.Wait()
}

func TestRootOfWrongLengthIsRefused(t *testing.T) {
	_, err := NewBarrier(secret.New(31), "t")
	require.ErrorIs(t, err, ErrRoot)
	_, err = NewBarrier(nil, "t")
	require.ErrorIs(t, err, ErrRoot)
	_, err = WrapRoot(secret.New(33), []byte("1234"), tinyKDF, someLabel)
	require.ErrorIs(t, err, ErrRoot)
}

func FuzzOpen(f *testing.F) {
	b := newBarrier(f, "token-1")
	sealed, err := b.Seal(someLabel, []byte("plaintext"))
	require.NoError(f, err)
	f.Add([]byte{})
	f.Add([]byte{sealFormat})
	f.Add(bytes.Repeat([]byte{sealFormat}, Overhead))
	f.Add(sealed[:len(sealed)-1])
	f.Fuzz(func(t *testing.T, blob []byte) {
		if _, err := b.Open(someLabel, blob); err == nil {
			t.Fatalf("%x opened", blob)
		}
	})
}

func BenchmarkSealAndOpen(b *testing.B) {
	barrier := newBarrier(b, "token-1")
	plaintext := make([]byte, 2048)
	for b.Loop() {
		sealed, err := barrier.Seal(someLabel, plaintext)
		require.NoError(b, err)
		_, err = barrier.Open(someLabel, sealed)
		require.NoError(b, err)
	}
}
