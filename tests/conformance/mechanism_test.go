package conformance

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	rows "github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// battery holds one mechanism to everything that its row says, with one parameter and one type of key.
type battery struct {
	*env
	h     session
	row   *rows.Mechanism
	r     recipe
	keys  *keySet
	key   *madeKey // nil for digests and generators
	named *madeKey // of a derivation: the key that its parameter may name
	param any
}

func (b *battery) mech() *mech { return &mech{Type: b.row.Type, Params: b.param} }

// TestMechanisms executes every pair of a mechanism and a flag that the token advertises, and fails for one that it
// could not.
func TestMechanisms(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		h := e.user(t)
		set := newKeySet(e, h)
		peer := func(kt pkcs11.KeyType) []byte {
			values := set.of(t, kt).pubValues
			if y := values.Bytes(pkcs11.CKA_VALUE); y != nil {
				return y
			}
			return values.Bytes(pkcs11.CKA_EC_POINT)
		}
		list, err := e.GetMechanismList(e.slot)
		require.NoError(t, err)
		for _, typ := range list {
			row := registry(t).Mechanism(typ)
			require.NotNil(t, row, "%v has no row", typ)
			t.Run(typ.String(), func(t *testing.T) {
				b := &battery{env: e, h: h, row: row, r: recipeOf(row, peer), keys: set}
				b.generate(t)
				b.digest(t)
				if row.Generate == nil && row.GeneratePair == nil {
					for i, kt := range row.KeyTypes {
						b.withKey(t, kt, i == 0)
					}
				}
				info, err := e.GetMechanismInfo(e.slot, typ)
				require.NoError(t, err)
				for _, flag := range operations {
					if info.Flags&flag != 0 {
						require.True(t, e.rec.executed(typ, flag), "advertised and not executed: flag %#x", uint(flag))
					}
				}
			})
		}
	})
}

// operations are the flags of CK_MECHANISM_INFO that say what can be done.
var operations = []pkcs11.Flags{
	pkcs11.CKF_ENCRYPT, pkcs11.CKF_DECRYPT, pkcs11.CKF_DIGEST, pkcs11.CKF_SIGN, pkcs11.CKF_SIGN_RECOVER, pkcs11.CKF_VERIFY,
	pkcs11.CKF_VERIFY_RECOVER, pkcs11.CKF_GENERATE, pkcs11.CKF_GENERATE_KEY_PAIR, pkcs11.CKF_WRAP, pkcs11.CKF_UNWRAP,
	pkcs11.CKF_DERIVE, pkcs11.CKF_ENCAPSULATE, pkcs11.CKF_DECAPSULATE,
	pkcs11.CKF_MESSAGE_ENCRYPT, pkcs11.CKF_MESSAGE_DECRYPT, pkcs11.CKF_MESSAGE_SIGN, pkcs11.CKF_MESSAGE_VERIFY, pkcs11.CKF_MULTI_MESSAGE,
}

// withKey runs what needs a key. What does not depend on the key's type is tried with the first one only.
func (b *battery) withKey(t *testing.T, kt pkcs11.KeyType, first bool) {
	b.key = b.keys.fit(t, kt, b.row)
	params := b.r.params
	if b.r.derivations != nil {
		b.named = b.keys.of(t, b.row.KeyTypes[0])
		params = b.r.derivations(kt, pkcs11.Handle(b.named.priv))
	}
	if p, ok := params[0].(*pkcs11.ECDH1DeriveParams); ok {
		params = []any{&pkcs11.ECDH1DeriveParams{KDF: p.KDF, PublicData: b.key.pubValues.Bytes(pkcs11.CKA_EC_POINT)}}
	}
	for i, p := range params {
		b.param = p
		name := fmt.Sprintf("%v/param%d", kt, i)
		t.Run(name, func(t *testing.T) {
			b.cipher(t)
			b.sign(t)
			b.states(t)
			b.signMessages(t)
			b.recover(t)
			b.wrap(t)
			b.derive(t)
			b.encapsulate(t)
			if first && i == 0 {
				b.cipherMessages(t)
				b.refusals(t)
			}
		})
	}
}

// sized calls a function that follows the two-call convention, three times where the stack shows sizes: too small, by
// one byte too small, exact. Each time the operation must stay and the length be told.
func (b *battery) sized(t *testing.T, f func(o *out) error) []byte {
	t.Helper()
	query := &out{Query: true}
	require.NoError(t, f(query), "a question for the length")
	bound := query.Length
	for capacity, told := 0, -1; ; {
		o := &out{Capacity: capacity}
		err := f(o)
		if err == nil {
			require.LessOrEqual(t, len(o.Bytes), capacity)
			require.Len(t, o.Bytes, o.Length)
			if told >= 0 {
				require.Len(t, o.Bytes, told, "the length that was told with CKR_BUFFER_TOO_SMALL")
			}
			return o.Bytes
		}
		rv(t, pkcs11.CKR_BUFFER_TOO_SMALL, err, "a buffer of", capacity)
		require.Nil(t, o.Bytes)
		require.Greater(t, o.Length, capacity, "the length that is told")
		require.LessOrEqual(t, o.Length, bound, "the length was said to be enough")
		if told = o.Length; capacity < o.Length-1 {
			capacity = o.Length - 1
		} else {
			capacity = o.Length
		}
	}
}

// splits are ways to cut n bytes in parts.
func splits(n int) [][]int {
	var list [][]int
	for i := 0; i <= n; i++ {
		if n <= 33 || i%16 <= 1 || i%16 == 15 || i == n {
			list = append(list, []int{i, n - i})
		}
	}
	for _, size := range []int{1, 7, 16} {
		var parts []int
		for left := n; left > 0; left -= size {
			parts = append(parts, min(size, left))
		}
		list = append(list, append(parts, 0))
	}
	return list
}

// inParts runs an update function over the parts of the data and collects its output.
func inParts(t *testing.T, data []byte, parts []int, update func(part []byte, o *out) error) (all []byte) {
	t.Helper()
	for _, n := range parts {
		o := &out{Capacity: 1 << 16}
		require.NoError(t, update(data[:n], o))
		all, data = append(all, o.Bytes...), data[n:]
	}
	return all
}

// few thins out splits where an operation costs much, or was tried in full before.
func (b *battery) few(list [][]int) [][]int {
	step := 1
	if b.row.KeyTypes != nil && !b.key.secret {
		step = max(1, len(list)/3)
	} else if len(list) > 12 {
		step = max(1, len(list)/12)
	}
	var out [][]int
	for i := 0; i < len(list); i += step {
		out = append(out, list[i])
	}
	return out
}

// digest compares with the row's own hash, at once and in parts; the rows have their vectors.
func (b *battery) digest(t *testing.T) {
	if b.row.Digest == nil {
		return
	}
	b.param = b.r.params[0]
	for _, n := range b.r.lens {
		in := message(n)
		state, err := b.row.Digest(b.param)
		require.NoError(t, err)
		state.Write(in)
		want := state.Sum(nil)
		require.NoError(t, b.DigestInit(b.h, b.mech()))
		require.Equal(t, want, b.sized(t, func(o *out) error { return b.Digest(b.h, in, o) }))
		for _, parts := range splits(n) {
			require.NoError(t, b.DigestInit(b.h, b.mech()))
			inParts(t, in, parts, func(p []byte, _ *out) error { return b.DigestUpdate(b.h, p) })
			got := b.sized(t, func(o *out) error { return b.DigestFinal(b.h, o) })
			require.Equal(t, want, got, "parts %v", parts)
		}
		rv(t, pkcs11.CKR_OPERATION_NOT_INITIALIZED, b.DigestFinal(b.h, &out{Capacity: 99}))
		b.digestStates(t, in, want)
	}
	wrong := &mech{Type: b.row.Type, Params: stranger}
	rv(t, pkcs11.CKR_MECHANISM_PARAM_INVALID, b.DigestInit(b.h, wrong))
	require.NoError(t, b.DigestInit(b.h, b.mech()))
	rv(t, pkcs11.CKR_OPERATION_ACTIVE, b.DigestInit(b.h, b.mech()))
	require.NoError(t, b.DigestUpdate(b.h, []byte("x")), "the running one goes on")
	rv(t, pkcs11.CKR_OPERATION_ACTIVE, b.Digest(b.h, nil, &out{Capacity: 99}), "parts have begun")
	rv(t, pkcs11.CKR_OPERATION_NOT_INITIALIZED, b.DigestFinal(b.h, &out{Capacity: 99}), "an error ends it")
	require.NoError(t, b.DigestInit(b.h, b.mech()))
	require.NoError(t, b.DigestInit(b.h, nil))
	rv(t, pkcs11.CKR_OPERATION_NOT_INITIALIZED, b.DigestUpdate(b.h, nil))
}

// stranger is a parameter that no mechanism takes.
var stranger = pkcs11.IV("12345")
