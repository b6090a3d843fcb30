package aes

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/mech/modes"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// TestWhatCanBeMoved says which operations are mech.Resumable: those that work in parts and keep no more than a block.
// mechtest moves each of them.
func TestWhatCanBeMoved(t *testing.T) {
	movable := map[pkcs11.MechanismType]bool{
		pkcs11.CKM_AES_ECB: true, pkcs11.CKM_AES_CBC: true, pkcs11.CKM_AES_CBC_PAD: true, pkcs11.CKM_AES_CTR: true,
		pkcs11.CKM_AES_OFB: true, pkcs11.CKM_AES_CFB1: true, pkcs11.CKM_AES_CFB8: true, pkcs11.CKM_AES_CFB64: true, pkcs11.CKM_AES_CFB128: true,
		pkcs11.CKM_AES_CMAC: true, pkcs11.CKM_AES_CMAC_GENERAL: true, pkcs11.CKM_AES_MAC: true, pkcs11.CKM_AES_MAC_GENERAL: true,
		pkcs11.CKM_AES_XCBC_MAC: true, pkcs11.CKM_AES_XCBC_MAC_96: true,
	}
	for i := range Family.Mechanisms {
		row := &Family.Mechanisms[i]
		var param any
		if params := cases[row.Type].Params; len(params) > 0 {
			param = params[0]
		}
		var ops []any
		for _, create := range []modes.Constructor{row.Encrypt, row.Decrypt} {
			if create != nil {
				op, err := create(keyFor(row, 16), param)
				require.NoError(t, err)
				ops = append(ops, op)
			}
		}
		if row.Sign != nil {
			s, err := row.Sign(keyFor(row, 16), param)
			require.NoError(t, err)
			v, err := row.Verify(keyFor(row, 16), param)
			require.NoError(t, err)
			ops = append(ops, s, v)
		}
		for _, op := range ops {
			_, is := op.(mech.Resumable)
			require.Equal(t, movable[row.Type], is, "%v", row.Type)
		}
	}
}

// TestMovedCounterCarries over the counter's words, and stops where it would have stopped.
func TestMovedCounterCarries(t *testing.T) {
	k := testKey(32)
	block, err := aes.NewCipher(k.Bytes(pkcs11.CKA_VALUE))
	require.NoError(t, err)
	row, in := rowOf(t, pkcs11.CKM_AES_CTR), bytes.Repeat([]byte("counter mode "), 10)
	full := bytes.Repeat([]byte{0xff}, 16)
	for _, c := range []struct {
		name  string
		bits  uint
		cb    []byte
		limit int // bytes until the counter bits overflow
	}{
		{"into the high word", 128, append(make([]byte, 8), full[:8]...), len(in)},
		{"one block left", 128, full, 16},
		{"a small counter", 8, append(bytes.Repeat([]byte{7}, 15), 0xfe), 32},
	} {
		t.Run(c.name, func(t *testing.T) {
			param := &pkcs11.CTRParams{CounterBits: c.bits, CB: [16]byte(c.cb)}
			want := make([]byte, len(in))
			cipher.NewCTR(block, c.cb).XORKeyStream(want, in)
			for at := range c.limit + 1 {
				first, err := row.Encrypt(k, param)
				require.NoError(t, err)
				out, err := first.Update(nil, in[:at])
				require.NoError(t, err)
				state, err := first.(mech.Resumable).State()
				require.NoError(t, err)
				second, err := row.Encrypt(k, param)
				require.NoError(t, err)
				require.NoError(t, second.(mech.Resumable).Resume(state))
				out, err = second.Update(out, in[at:c.limit])
				require.NoError(t, err)
				require.Equal(t, want[:c.limit], out, "moved after %d bytes", at)
				if c.limit < len(in) {
					_, err = second.Finish(nil, in[:1])
					require.Equal(t, pkcs11.CKR_DATA_LEN_RANGE, pkcs11.RVOf(err), "moved after %d bytes", at)
				}
			}
		})
	}
	small, err := row.Encrypt(k, &pkcs11.CTRParams{CounterBits: 1})
	require.NoError(t, err)
	for _, done := range [][]byte{{0, 0, 0, 0, 0, 0, 0, 33}, full[:8]} {
		err := small.(mech.Resumable).Resume(append([]byte{1, 2}, done...))
		require.Equal(t, pkcs11.CKR_SAVED_STATE_INVALID, pkcs11.RVOf(err))
	}
}

// TestStatesOfOtherModesAreRefused, also of the same mode's other direction.
func TestStatesOfOtherModesAreRefused(t *testing.T) {
	type movable struct {
		name string
		mech.Resumable
		update func([]byte)
	}
	all := func() (ops []movable) {
		for _, typ := range []pkcs11.MechanismType{pkcs11.CKM_AES_ECB, pkcs11.CKM_AES_CBC, pkcs11.CKM_AES_CBC_PAD, pkcs11.CKM_AES_CTR,
			pkcs11.CKM_AES_OFB, pkcs11.CKM_AES_CFB1, pkcs11.CKM_AES_CFB8, pkcs11.CKM_AES_CFB64, pkcs11.CKM_AES_CFB128} {
			row := rowOf(t, typ)
			for i, create := range []modes.Constructor{row.Encrypt, row.Decrypt} {
				if (typ == pkcs11.CKM_AES_CTR || typ == pkcs11.CKM_AES_OFB) && i == 1 {
					continue // both directions are one
				}
				var param any
				if params := cases[typ].Params; len(params) > 0 {
					param = params[0]
				}
				op, err := create(keyFor(row, 16), param)
				require.NoError(t, err)
				ops = append(ops, movable{typ.String(), op.(mech.Resumable), func(b []byte) { op.Update(nil, b) }})
			}
		}
		for _, typ := range []pkcs11.MechanismType{pkcs11.CKM_AES_CMAC, pkcs11.CKM_AES_MAC, pkcs11.CKM_AES_XCBC_MAC} {
			mac, err := rowOf(t, typ).Sign(testKey(16), nil)
			require.NoError(t, err)
			ops = append(ops, movable{typ.String(), mac.(mech.Resumable), func(b []byte) { mac.Update(b) }})
		}
		return ops
	}
	for i, from := range all() {
		from.update(make([]byte, 5))
		state, err := from.State()
		require.NoError(t, err)
		for j, to := range all() {
			if i != j {
				require.Equal(t, pkcs11.CKR_SAVED_STATE_INVALID, pkcs11.RVOf(to.Resume(state)), "%s to %s", from.name, to.name)
			}
		}
	}
}

// FuzzResume: what is refused leaves a fresh operation, what is taken is given back, and nothing panics.
func FuzzResume(f *testing.F) {
	k, iv := testKey(16), pkcs11.IV("initialisation16")
	type kind struct {
		typ     pkcs11.MechanismType
		param   any
		decrypt bool
	}
	var kinds []kind
	for _, decrypt := range []bool{false, true} {
		kinds = append(kinds,
			kind{pkcs11.CKM_AES_ECB, nil, decrypt}, kind{pkcs11.CKM_AES_CBC, iv, decrypt}, kind{pkcs11.CKM_AES_CBC_PAD, iv, decrypt},
			kind{pkcs11.CKM_AES_CTR, &pkcs11.CTRParams{CounterBits: 128}, decrypt}, kind{pkcs11.CKM_AES_CTR, &pkcs11.CTRParams{CounterBits: 5}, decrypt},
			kind{pkcs11.CKM_AES_OFB, iv, decrypt}, kind{pkcs11.CKM_AES_CFB1, iv, decrypt}, kind{pkcs11.CKM_AES_CFB64, iv, decrypt},
			kind{pkcs11.CKM_AES_XCBC_MAC, nil, decrypt}, kind{pkcs11.CKM_AES_CMAC, nil, decrypt})
	}
	// begin returns the operation, and what runs it over data to the end.
	begin := func(t testing.TB, c kind) (op interface{ Close() }, run func([]byte) ([]byte, error), part func([]byte)) {
		row := rowOf(t, c.typ)
		if row.Sign != nil {
			s, err := row.Sign(k, c.param)
			require.NoError(t, err)
			return s, func(in []byte) ([]byte, error) { return s.Finish(nil, in) }, func(in []byte) { s.Update(in) }
		}
		way := row.Encrypt
		if c.decrypt {
			way = row.Decrypt
		}
		s, err := way(k, c.param)
		require.NoError(t, err)
		return s, func(in []byte) ([]byte, error) { return s.Finish(nil, in) }, func(in []byte) { s.Update(nil, in) }
	}
	for i, c := range kinds {
		for _, n := range []int{0, 5, 16, 40} {
			op, _, part := begin(f, c)
			part(make([]byte, n))
			state, err := op.(mech.Resumable).State()
			require.NoError(f, err)
			f.Add(uint8(i), state)
			op.Close()
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, state []byte) {
		c := kinds[int(which)%len(kinds)]
		op, run, _ := begin(t, c)
		defer op.Close()
		if err := op.(mech.Resumable).Resume(state); err != nil {
			require.Equal(t, pkcs11.CKR_SAVED_STATE_INVALID, pkcs11.RVOf(err))
			fresh, runFresh, _ := begin(t, c)
			defer fresh.Close()
			want, wantErr := runFresh(make([]byte, 48))
			got, gotErr := run(make([]byte, 48))
			require.Equal(t, want, got)
			require.Equal(t, pkcs11.RVOf(wantErr), pkcs11.RVOf(gotErr))
			return
		}
		again, err := op.(mech.Resumable).State()
		require.NoError(t, err)
		require.Equal(t, state, again)
		run(make([]byte, 48)) //nolint:errcheck // only a panic counts
	})
}

// TestStatesThatHoldTooLittleAreRefused: where the last block is held back, nothing held means that nothing was taken, so
// the chain is still at its beginning. A full block is held by nobody else.
func TestStatesThatHoldTooLittleAreRefused(t *testing.T) {
	iv, other := pkcs11.IV("initialisation16"), bytes.Repeat([]byte{9}, 16)
	full := append([]byte{1, 0, 16}, bytes.Repeat([]byte{5}, 32)...)
	cbcPad, err := rowOf(t, pkcs11.CKM_AES_CBC_PAD).Decrypt(testKey(16), iv)
	require.NoError(t, err)
	cbc, err := rowOf(t, pkcs11.CKM_AES_CBC).Decrypt(testKey(16), iv)
	require.NoError(t, err)
	mac, err := rowOf(t, pkcs11.CKM_AES_CMAC).Sign(testKey(16), nil)
	require.NoError(t, err)
	for _, c := range []struct {
		name      string
		op        any
		form      byte
		start     []byte // chain of a fresh operation
		holdsFull bool
	}{
		{"CBC with padding", cbcPad, 0xf0, iv, true},
		{"CBC", cbc, 0xb0, nil, false},
		{"CMAC", mac, 0x01, make([]byte, 16), true},
	} {
		op := c.op.(mech.Resumable)
		nothing := []byte{1, c.form, 0}
		full[1] = c.form
		if !c.holdsFull {
			require.Equal(t, pkcs11.CKR_SAVED_STATE_INVALID, pkcs11.RVOf(op.Resume(full)), c.name)
			require.NoError(t, op.Resume(append(nothing, other...)), c.name)
			continue
		}
		require.Equal(t, pkcs11.CKR_SAVED_STATE_INVALID, pkcs11.RVOf(op.Resume(append(bytes.Clone(nothing), other...))), c.name)
		state, err := op.State()
		require.NoError(t, err)
		require.Equal(t, append(bytes.Clone(nothing), c.start...), state, c.name)
		require.NoError(t, op.Resume(full), c.name)
	}
}
