package hmac

import (
	"bytes"
	"crypto/hmac"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/mech/hashes"
	"github.com/coffer-hsm/coffer/core/mech/mechtest"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// signing begins an HMAC that can be moved.
func signing(t testing.TB, h *hashes.Hash, k mech.Key) (mech.Signer, mech.Resumable) {
	t.Helper()
	s, err := rowOf(t, h.HMAC).Sign(k, nil)
	require.NoError(t, err)
	r, ok := s.(mech.Resumable)
	require.True(t, ok, "%v cannot be moved", h)
	return s, r
}

// TestMovedOperationsAgreeWithTheStandardLibrary over keys shorter than the block, as long and longer, that are used for
// the first time in the second process or not.
func TestMovedOperationsAgreeWithTheStandardLibrary(t *testing.T) {
	message := bytes.Repeat([]byte("a message in parts. "), 30)
	for _, h := range movables {
		block := h.New().BlockSize()
		for _, n := range []int{1, h.Size(), block - 1, block, block + 1, 3 * block} {
			value := bytes.Repeat([]byte{0xa5, 1, 2}, n)[:n]
			reference := hmac.New(h.New, value)
			reference.Write(message)
			want := reference.Sum(nil)
			second := mechtest.Secret(pkcs11.CKK_GENERIC_SECRET, value)
			for _, at := range []int{0, 1, block, len(message)} {
				from, state := signing(t, h, mechtest.Secret(pkcs11.CKK_GENERIC_SECRET, value))
				require.NoError(t, from.Update(message[:at]))
				saved, err := state.State()
				require.NoError(t, err)
				if n >= 16 {
					require.NotContains(t, string(saved), string(value))
				}
				tag, err := from.Finish(nil, message[at:])
				require.NoError(t, err)
				require.Equal(t, want, tag, "%v, key of %d bytes: State has changed the operation", h, n)
				from.Close()

				to, state := signing(t, h, second)
				require.NoError(t, state.Resume(saved))
				tag, err = to.Finish(nil, message[at:])
				require.NoError(t, err)
				require.Equal(t, want, tag, "%v, key of %d bytes, moved after %d", h, n, at)
				to.Close()
			}
			// What the moved operations have left with the key is fresh.
			s, _ := signing(t, h, second)
			tag, err := s.Finish(nil, message)
			require.NoError(t, err)
			require.Equal(t, want, tag)
			s.Close()
		}
	}
}

// TestStateWithoutTheKeyIsRefused: a hash that has not taken in the padded key is no state of an HMAC.
func TestStateWithoutTheKeyIsRefused(t *testing.T) {
	k := mechtest.Secret(pkcs11.CKK_GENERIC_SECRET, []byte("key"))
	h := hashes.ByMechanism(pkcs11.CKM_SHA256)
	bare, err := hashes.AppendState([]byte{stateVersion}, h.New())
	require.NoError(t, err)
	s, state := signing(t, h, k)
	require.Equal(t, pkcs11.CKR_SAVED_STATE_INVALID, pkcs11.RVOf(state.Resume(bare)))
	tag, err := s.Finish(nil, []byte("data"))
	require.NoError(t, err)
	reference := hmac.New(h.New, []byte("key"))
	reference.Write([]byte("data"))
	require.Equal(t, reference.Sum(nil), tag)
}

// FuzzResume: what is refused leaves a fresh operation, what is taken is given back, and nothing panics.
func FuzzResume(f *testing.F) {
	value := []byte("a key of some length")
	k := mechtest.Secret(pkcs11.CKK_GENERIC_SECRET, value)
	for i, h := range movables {
		for _, n := range []int{0, 3, 200} {
			s, state := signing(f, h, k)
			require.NoError(f, s.Update(make([]byte, n)))
			saved, err := state.State()
			require.NoError(f, err)
			f.Add(uint8(i), saved)
			s.Close()
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, saved []byte) {
		h := movables[int(which)%len(movables)]
		s, state := signing(t, h, k)
		defer s.Close()
		err := state.Resume(saved)
		if err == nil {
			again, err := state.State()
			require.NoError(t, err)
			require.Equal(t, saved, again)
		}
		tag, finished := s.Finish(nil, make([]byte, 300))
		require.NoError(t, finished)
		require.Len(t, tag, h.Size())
		if err != nil {
			require.Equal(t, pkcs11.CKR_SAVED_STATE_INVALID, pkcs11.RVOf(err))
			reference := hmac.New(h.New, value)
			reference.Write(make([]byte, 300))
			require.Equal(t, reference.Sum(nil), tag)
		}
	})
}
