package vault

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"
)

var (
	tinyKDF   = KDF{Time: 1, MemoryKiB: 8, Threads: 1}
	userLabel = Label{Kind: "user", ID: "so", Version: 1}
)

func TestRootComesBackWithThePIN(t *testing.T) {
	root, err := NewRoot()
	require.NoError(t, err)
	for _, kdf := range []KDF{tinyKDF, {Time: 2, MemoryKiB: 64, Threads: 3}, {Iterations: minIterations}} {
		blob, err := WrapRoot(root, []byte("1234"), kdf, userLabel)
		require.NoError(t, err)
		require.Len(t, blob, wrappedSize)
		got, err := UnwrapRoot(blob, []byte("1234"), userLabel)
		require.NoError(t, err)
		require.True(t, root.Equal(got))
	}
}

func TestRootStaysShutForOthers(t *testing.T) {
	root, err := NewRoot()
	require.NoError(t, err)
	blob, err := WrapRoot(root, []byte("1234"), tinyKDF, userLabel)
	require.NoError(t, err)

	for _, pin := range []string{"", "1235", "12345", "1234\x00"} {
		_, err := UnwrapRoot(blob, []byte(pin), userLabel)
		require.ErrorIs(t, err, ErrWrongPIN, "PIN %q", pin)
	}
	for _, l := range []Label{{"user", "cu", 1}, {"user", "so", 2}, {"users", "o", 1}} {
		_, err := UnwrapRoot(blob, []byte("1234"), l)
		require.ErrorIs(t, err, ErrWrongPIN, "label %s", l)
	}
}

func TestTamperedRootNeverOpens(t *testing.T) {
	root, err := NewRoot()
	require.NoError(t, err)
	blob, err := WrapRoot(root, []byte("1234"), tinyKDF, userLabel)
	require.NoError(t, err)
	for i := range blob {
		if i >= 2 && i < 9 {
			continue // cost bytes: within the bounds they may ask for gigabytes, and are tried below
		}
		bad := bytes.Clone(blob)
		bad[i] ^= 1
		_, err := UnwrapRoot(bad, []byte("1234"), userLabel)
		require.Error(t, err, "byte %d", i)
	}
	for n := range blob {
		_, err := UnwrapRoot(blob[:n], []byte("1234"), userLabel)
		require.ErrorIs(t, err, ErrSealBroken, "%d bytes", n)
	}
	_, err = UnwrapRoot(append(bytes.Clone(blob), 0), []byte("1234"), userLabel)
	require.ErrorIs(t, err, ErrSealBroken)

	stronger := bytes.Clone(blob)
	stronger[5] = 2
	_, err = UnwrapRoot(stronger, []byte("1234"), userLabel)
	require.ErrorIs(t, err, ErrWrongPIN)
}

func TestCostIsBoundedBeforeAnythingIsAllocated(t *testing.T) {
	root, err := NewRoot()
	require.NoError(t, err)
	blob, err := WrapRoot(root, []byte("1234"), tinyKDF, userLabel)
	require.NoError(t, err)
	for _, kdf := range []KDF{
		{Time: 0, MemoryKiB: 64, Threads: 1}, {Time: 65, MemoryKiB: 64, Threads: 1}, {Time: 1, MemoryKiB: 7, Threads: 1}, {Time: 1, MemoryKiB: 0, Threads: 1}, {Time: 1, MemoryKiB: 31, Threads: 4}, {Time: 1, MemoryKiB: 64, Threads: 0}, {Time: 1, MemoryKiB: 1024, Threads: 17},
		{Time: 1, MemoryKiB: maxMemoryKiB + 1, Threads: 1}, {Time: 1, MemoryKiB: 1<<32 - 1, Threads: 1}, {Time: 1<<32 - 1, MemoryKiB: 1<<32 - 1, Threads: 255}, {Time: 64, MemoryKiB: maxMemoryKiB, Threads: 4}, {Time: 5, MemoryKiB: maxMemoryKiB, Threads: 4},
	} {
		_, err := WrapRoot(root, []byte("1234"), kdf, userLabel)
		require.ErrorIs(t, err, ErrKDF, "%+v", kdf)

		binary.BigEndian.PutUint32(blob[2:], kdf.Time)
		binary.BigEndian.PutUint32(blob[6:], kdf.MemoryKiB)
		blob[10] = kdf.Threads
		_, err = UnwrapRoot(blob, []byte("1234"), userLabel)
		require.ErrorIs(t, err, ErrSealBroken, "%+v", kdf)
	}
	for _, kdf := range []KDF{{Iterations: minIterations - 1}, {Iterations: maxIterations + 1}, {Iterations: minIterations, Time: 1},
		{Iterations: minIterations, MemoryKiB: 64}, {Iterations: minIterations, Threads: 1}} {
		_, err := WrapRoot(root, []byte("1234"), kdf, userLabel)
		require.ErrorIs(t, err, ErrKDF, "%+v", kdf)
	}
	for _, iterations := range []uint32{0, 1, minIterations - 1, maxIterations + 1, 1<<32 - 1} {
		blob[1] = kdfPBKDF2
		binary.BigEndian.PutUint32(blob[2:], iterations)
		binary.BigEndian.PutUint32(blob[6:], 0)
		blob[10] = 0
		_, err = UnwrapRoot(blob, []byte("1234"), userLabel)
		require.ErrorIs(t, err, ErrSealBroken, "%d iterations", iterations)
	}
	for _, kdf := range []KDF{ // the bounds themselves are within
		{Time: 1, MemoryKiB: 8, Threads: 1}, {Time: maxTime, MemoryKiB: 8 * maxThreads, Threads: maxThreads},
		{Time: maxWorkKiB / maxMemoryKiB, MemoryKiB: maxMemoryKiB, Threads: 1}, {Iterations: minIterations}, {Iterations: maxIterations},
	} {
		require.NoError(t, kdf.check(), "%+v", kdf)
	}
	require.NoError(t, DefaultKDF.check())
	require.NoError(t, FIPSKDF.check())
	require.Equal(t, FIPSKDF, KDFFor(true))
	require.Equal(t, DefaultKDF, KDFFor(false))
}

// TestDerivationsAreToldApart: a blob that says PBKDF2 is not opened by Argon2id's key, nor the other way round.
func TestDerivationsAreToldApart(t *testing.T) {
	root, err := NewRoot()
	require.NoError(t, err)
	blob, err := WrapRoot(root, []byte("1234"), KDF{Iterations: minIterations}, userLabel)
	require.NoError(t, err)
	require.Equal(t, []byte{rootFormat, kdfPBKDF2, 0, 0, 3, 0xe8, 0, 0, 0, 0, 0}, blob[:11])
	_, err = UnwrapRoot(blob, []byte("1235"), userLabel)
	require.ErrorIs(t, err, ErrWrongPIN)
	blob[1] = kdfArgon2id
	_, err = UnwrapRoot(blob, []byte("1234"), userLabel)
	require.ErrorIs(t, err, ErrSealBroken)
}

func TestLaterRootFormatIsToldApart(t *testing.T) {
	root, err := NewRoot()
	require.NoError(t, err)
	blob, err := WrapRoot(root, []byte("1234"), tinyKDF, userLabel)
	require.NoError(t, err)
	for _, head := range [][2]byte{{2, 1}, {1, 3}, {255, 0}} {
		later := append(head[:], blob[2:]...)
		_, err := UnwrapRoot(later, []byte("1234"), userLabel)
		require.ErrorIs(t, err, ErrSealVersion, "%v", head)
		for _, n := range []int{2, 40} {
			_, err = UnwrapRoot(later[:n], []byte("1234"), userLabel)
			require.ErrorIs(t, err, ErrSealVersion, "a later format may have another length")
		}
	}
	for _, head := range [][2]byte{{0, 1}, {0, 3}, {1, 0}} { // there has been no such format: damage, and no wrong PIN to be counted
		_, err := UnwrapRoot(append(head[:], blob[2:]...), []byte("1234"), userLabel)
		require.ErrorIs(t, err, ErrSealBroken, "%v", head)
	}
}

func FuzzUnwrapRoot(f *testing.F) {
	root, err := NewRoot()
	require.NoError(f, err)
	blob, err := WrapRoot(root, []byte("1234"), tinyKDF, userLabel)
	require.NoError(f, err)
	f.Add([]byte{})
	f.Add(blob[:headerSize])
	f.Add(blob[:len(blob)-1])
	f.Add(append([]byte{rootFormat, kdfArgon2id}, make([]byte, wrappedSize-2)...))
	f.Fuzz(func(t *testing.T, blob []byte) {
		kdf, err := parseHeader(blob)
		if err == nil && uint64(kdf.Time)*uint64(kdf.MemoryKiB) > 1024 || kdf.Iterations > 2*minIterations {
			return // allowed, but too slow to fuzz
		}
		if _, err := UnwrapRoot(blob, []byte("other"), userLabel); err == nil {
			t.Fatalf("%x opened", blob)
		}
	})
}

func BenchmarkUnwrapRootDefaultKDF(b *testing.B) {
	root, err := NewRoot()
	require.NoError(b, err)
	blob, err := WrapRoot(root, []byte("1234"), DefaultKDF, userLabel)
	require.NoError(b, err)
	for b.Loop() {
		_, err := UnwrapRoot(blob, []byte("1234"), userLabel)
		require.NoError(b, err)
	}
}
