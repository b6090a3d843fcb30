package hashes

import (
	"bytes"
	"crypto"
	"encoding"
	"encoding/binary"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// TestEveryHashGivesItsStateOut: the interfaces of the standard library, the sizes and the form that state.go describes.
func TestEveryHashGivesItsStateOut(t *testing.T) {
	seen := map[string]bool{}
	for _, h := range All {
		t.Run(h.String(), func(t *testing.T) {
			s := h.New()
			if h.ID == crypto.RIPEMD160 {
				require.False(t, HasState(s))
				_, err := AppendState(nil, s)
				require.Equal(t, pkcs11.CKR_STATE_UNSAVEABLE, pkcs11.RVOf(err))
				return
			}
			require.True(t, HasState(s))
			require.Implements(t, (*encoding.BinaryMarshaler)(nil), s)
			require.Implements(t, (*encoding.BinaryAppender)(nil), s)
			require.Implements(t, (*encoding.BinaryUnmarshaler)(nil), s)

			data := bytes.Repeat([]byte("twelve bytes"), 100)[:1003]
			s.Write(data)
			state, err := AppendState([]byte("x"), s)
			require.NoError(t, err)
			require.LessOrEqual(t, len(state), 1+213)
			state = state[1:]
			marshalled, err := s.(encoding.BinaryMarshaler).MarshalBinary()
			require.NoError(t, err)
			require.Equal(t, marshalled, state)

			kind := string(state[:magicLen])
			begun := len(data) % s.BlockSize()
			switch {
			case isBLAKE2b(state):
				kind = magicB2b + string(state[len(magicB2b)+80])
				require.EqualValues(t, begun, state[len(state)-1])
				require.Equal(t, data[len(data)-begun:], state[len(state)-1-s.BlockSize():][:begun])
				require.EqualValues(t, -1, Hashed(state))
			case isSponge(state):
				kind += string(state[magicLen])
				require.Equal(t, []byte{byte(begun), absorbing}, state[len(state)-2:])
				require.EqualValues(t, -1, Hashed(state))
			default:
				require.EqualValues(t, len(data), Hashed(state))
				block := state[len(state)-countLen-s.BlockSize() : len(state)-countLen]
				require.Equal(t, data[len(data)-begun:], block[:begun])
				require.Equal(t, make([]byte, len(block)-begun), block[begun:])
			}
			require.False(t, seen[kind], "another hash has states of this kind")
			seen[kind] = true

			next := h.New()
			require.NoError(t, Resume(next, state))
			next.Write([]byte("and more"))
			require.Equal(t, h.Sum(data, []byte("and more")), next.Sum(nil))
		})
	}
}

// TestResumeRefuses what no hashing reaches, part of which the standard library takes.
func TestResumeRefuses(t *testing.T) {
	for _, h := range All {
		s := h.New()
		if !HasState(s) {
			continue
		}
		s.Write([]byte("abc"))
		good, err := AppendState(nil, s)
		require.NoError(t, err)
		end := len(good)
		bad := map[string]func(b []byte) []byte{
			"nothing":       func([]byte) []byte { return nil },
			"cut":           func(b []byte) []byte { return b[:end-1] },
			"longer":        func(b []byte) []byte { return append(b, 0) },
			"another magic": func(b []byte) []byte { b[3] ^= 0x40; return b },
		}
		if isBLAKE2b(good) {
			delete(bad, "another magic")
			bad["another first magic"] = func(b []byte) []byte { b[0] ^= 0x40; return b }
			bad["another length"] = func(b []byte) []byte { b[len(magicB2b)+80]++; return b }
			bad["more than a block"] = func(b []byte) []byte { b[end-1] = byte(s.BlockSize() + 1); return b }
			bad["part of a block compressed"] = func(b []byte) []byte { b[len(magicB2b)+64+7] = 1; return b }
			bad["too many compressed"] = func(b []byte) []byte { b[len(magicB2b)+64] = 0x80; return b }
			bad["nothing begun"] = func(b []byte) []byte { b[len(magicB2b)+64+7], b[end-1] = 128, 0; return b }
		} else if isSponge(good) {
			bad["another rate"] = func(b []byte) []byte { b[magicLen]++; return b }
			bad["squeezing"] = func(b []byte) []byte { b[end-1] = 1; return b }
			bad["a full block"] = func(b []byte) []byte { b[end-2] = byte(s.BlockSize()); return b }
		} else {
			bad["bytes after those begun"] = func(b []byte) []byte { b[end-countLen-1] = 1; return b }
			bad["fewer counted"] = func(b []byte) []byte { b[end-1] = 2; return b }
			bad["too many counted"] = func(b []byte) []byte {
				binary.BigEndian.PutUint64(b[end-countLen:], countMost+4) // 3 bytes begun, as they are
				return b
			}
		}
		for _, other := range All {
			if other != h && HasState(other.New()) {
				bad["of "+other.String()] = func([]byte) []byte {
					state, err := AppendState(nil, other.New())
					require.NoError(t, err)
					return state
				}
			}
		}
		for name, change := range bad {
			err := Resume(s, change(slices.Clone(good)))
			require.Equal(t, pkcs11.CKR_SAVED_STATE_INVALID, pkcs11.RVOf(err), "%v: %s: %v", h, name, err)
			require.Equal(t, h.Sum([]byte("abc")), s.Sum(nil), "%v: %s: the hash was changed", h, name)
		}
	}
}

// FuzzResume: what is taken is given back as it was, and never makes the hash panic.
func FuzzResume(f *testing.F) {
	for i, h := range All {
		s := h.New()
		if !HasState(s) {
			continue
		}
		for _, n := range []int{0, 3, 200} {
			s.Write(make([]byte, n))
			state, err := AppendState(nil, s)
			require.NoError(f, err)
			f.Add(uint8(i), state)
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, state []byte) {
		h := All[int(which)%len(All)]
		s := h.New()
		if err := Resume(s, state); err != nil {
			require.Contains(t, []pkcs11.RV{pkcs11.CKR_SAVED_STATE_INVALID, pkcs11.CKR_STATE_UNSAVEABLE}, pkcs11.RVOf(err))
			require.Equal(t, h.Sum(), s.Sum(nil))
			return
		}
		again, err := AppendState(nil, s)
		require.NoError(t, err)
		require.Equal(t, state, again)
		s.Write(make([]byte, 300))
		require.Len(t, s.Sum(nil), h.Size())
	})
}
