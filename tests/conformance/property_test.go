package conformance

import (
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/core/policy"
	"github.com/coffer-hsm/coffer/pkcs11"
)

var (
	seedFlag  = flag.Uint64("seed", 0, "of the random walk; 0 takes one from the clock")
	stepsFlag = flag.Int("steps", 5000, "of the random walk on each stack")
)

// TestRandomWalkNeverGetsASensitiveValue calls at random what a thief would call, and looks at everything that comes back:
// the value of a key that was sensitive from its beginning, or of one that cannot be extracted, is never in it.
func TestRandomWalkNeverGetsASensitiveValue(t *testing.T) {
	seed := *seedFlag
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("run again with -seed %d", seed)
	each(t, func(t *testing.T, e *env) { walkOn(t, e, seed, false) })
	under(t, policy.Policy{}, func(t *testing.T, e *env) { walkOn(t, e, seed, true) })
}

// walkOn is one walk. strict says that the token's policy is the default, so that the thief may ask for any usage of any
// key, those that wrap among them.
func walkOn(t *testing.T, e *env, seed uint64, strict bool) {
	w := &walk{env: e, t: t, rand: rand.New(rand.NewPCG(seed, 0)), h: e.user(t), strict: strict}
	w.plant()
	for i := range *stepsFlag {
		w.step = fmt.Sprintf("step %d, seed %d, strict %v", i, seed, strict)
		w.any()
	}
	done := func(what string, n int) {
		t.Helper()
		require.NotZero(t, n, "nothing was ever %s: the walk proves nothing", what)
	}
	done("wrapped", w.wraps)
	done("unwrapped", w.unwraps)
	done("read", w.reads)
	done("derived", w.derived)
	done("generated", w.generated)
	done("created", w.created)
	done("encapsulated", w.encapsulated)
	done("decapsulated", w.decapsulated)
	t.Logf("%d keys, %d wraps, %d unwraps, %d derived, %d generated, %d created, %d encapsulated, %d decapsulated, %d values read", len(w.keys),
		w.wraps, w.unwraps, w.derived, w.generated, w.created, w.encapsulated, w.decapsulated, w.reads)
}

type walk struct {
	*env
	t    *testing.T
	rand *rand.Rand
	h    session
	step string

	treasures [][]byte // the values that must stay inside
	keks      []handle // wrap and unwrap; what they are for cannot be changed
	keys      []handle // all others, to be used for and against each other; the planted ones first
	planted   int      // how many of them are there from the beginning and stay as they are
	blobs     []blob   // wrapped keys, ciphertexts

	strict bool
	pairs  [][2]handle // public and private, on P-256

	wraps, unwraps, reads, derived, generated, created, encapsulated, decapsulated int
}

// blob is what came out, and the mechanism that it came from.
type blob struct {
	b []byte
	m *mech
}

// cipherUse is what the keys may do. Where the policy lets a key both decrypt and wrap, it can give away what it wraps, and
// the walk asks for no usage.
var cipherUse = yes(pkcs11.CKA_ENCRYPT, pkcs11.CKA_DECRYPT, pkcs11.CKA_SIGN, pkcs11.CKA_VERIFY, pkcs11.CKA_DERIVE)

// plant imports the keys whose values the walk knows and must not see again.
func (w *walk) plant() {
	for i := range 6 {
		value := make([]byte, 32)
		for j := range value {
			value[j] = byte(w.rand.Uint32())
		}
		protection := yes(pkcs11.CKA_SENSITIVE, pkcs11.CKA_EXTRACTABLE)
		if i%3 == 2 {
			protection = no(pkcs11.CKA_SENSITIVE, pkcs11.CKA_EXTRACTABLE)
		}
		where := T{pkcs11.Attr(pkcs11.CKA_TOKEN, i%2 == 0)}
		w.keys = append(w.keys, w.create(w.t, w.h, secretKey(pkcs11.CKK_AES, value, protection, where, cipherUse)))
		w.treasures = append(w.treasures, value)
	}
	for range 3 {
		stays := no(pkcs11.CKA_MODIFIABLE, pkcs11.CKA_COPYABLE, pkcs11.CKA_EXTRACTABLE)
		if w.strict {
			stays = no(pkcs11.CKA_EXTRACTABLE)
		}
		w.keks = append(w.keks, w.aes(w.t, w.h, wrapping, stays))
		w.keys = append(w.keys, w.aes(w.t, w.h, readable, cipherUse), w.aes(w.t, w.h, leaves, cipherUse))
	}
	w.plantPrivate()
	w.planted = len(w.keys)
}

// saw looks at bytes that came out of the module.
func (w *walk) saw(b []byte) {
	w.t.Helper()
	for _, v := range w.treasures {
		require.False(w.t, bytes.Contains(b, v), "%s: a sensitive value came out", w.step)
	}
}

func pick[V any](w *walk, list []V) V { return list[w.rand.IntN(len(list))] }

// adopt takes a new key among the others, and tries to read it.
func (w *walk) adopt(o handle, err error) bool {
	w.t.Helper()
	if err != nil {
		return false
	}
	w.keys = append(w.keys, o)
	w.read(o)
	return true
}

// mechanism is one that wraps, encrypts, signs or derives.
func (w *walk) mechanism() *mech {
	iv := pkcs11.IV("sixteen bytes iv")
	return pick(w, []*mech{
		{Type: pkcs11.CKM_AES_ECB}, {Type: pkcs11.CKM_AES_CBC, Params: iv}, {Type: pkcs11.CKM_AES_CBC_PAD, Params: iv},
		{Type: pkcs11.CKM_AES_KEY_WRAP}, {Type: pkcs11.CKM_AES_KEY_WRAP_KWP}, {Type: pkcs11.CKM_AES_KEY_WRAP_PKCS7},
		{Type: pkcs11.CKM_AES_GCM, Params: &pkcs11.GCMParams{IV: []byte("twelve bytes"), TagBits: 128}},
		{Type: pkcs11.CKM_AES_CTR, Params: &pkcs11.CTRParams{CounterBits: 128}},
		{Type: pkcs11.CKM_AES_ECB_ENCRYPT_DATA, Params: &pkcs11.KeyDerivationString{Data: message(32)}},
		{Type: pkcs11.CKM_AES_CMAC}, {Type: pkcs11.CKM_SHA256},
	})
}

// template is what a thief asks for: mostly a key that he may read, and sometimes anything.
func (w *walk) template() T {
	var t T
	if w.rand.IntN(2) == 0 {
		t = readable
	}
	for _, a := range []pkcs11.AttributeType{pkcs11.CKA_SENSITIVE, pkcs11.CKA_EXTRACTABLE, pkcs11.CKA_PRIVATE, pkcs11.CKA_TOKEN, pkcs11.CKA_TRUSTED,
		pkcs11.CKA_COPYABLE, pkcs11.CKA_MODIFIABLE, pkcs11.CKA_WRAP_WITH_TRUSTED, pkcs11.CKA_ALWAYS_SENSITIVE} {
		if w.rand.IntN(12) == 0 {
			t = with(t, T{pkcs11.Attr(a, w.rand.IntN(2) == 0)})
		}
	}
	return t
}

func (w *walk) kind() T {
	return pick(w, []T{aesKind, aesKind, kind(pkcs11.CKO_SECRET_KEY, pkcs11.CKK_GENERIC_SECRET), num(pkcs11.CKA_CLASS, pkcs11.CKO_DATA),
		kind(pkcs11.CKO_PRIVATE_KEY, pkcs11.CKK_EC), kind(pkcs11.CKO_SECRET_KEY, pkcs11.CKK_SHA256_HMAC)})
}

// any takes one step.
func (w *walk) any() {
	key, m := pick(w, w.keys), w.mechanism()
	if w.rand.IntN(2) == 0 {
		key = pick(w, w.keys[:w.planted])
	}
	switch w.rand.IntN(16) {
	case 0, 1:
		w.read(key)
	case 2:
		w.adopt(w.CopyObject(w.h, key, w.template()))
	case 3:
		if len(w.keys) > w.planted {
			w.SetAttributeValue(w.h, pick(w, w.keys[w.planted:]), w.template())
		}
	case 4, 5:
		o := big16()
		if w.WrapKey(w.h, m, pick(w, w.keks), key, o) == nil {
			w.wraps++
			w.came(o.Bytes, m)
		}
	case 6, 7:
		in := w.input(m)
		if len(in.b) > 0 && w.adopt(w.UnwrapKey(w.h, in.m, pick(w, w.keks), in.b, with(w.kind(), w.template()))) {
			w.unwraps++
		}
	case 8:
		if w.adopt(w.DeriveKey(w.h, m, key, with(w.kind(), w.template()))) {
			w.derived++
		}
	case 9:
		w.search()
	case 10, 11:
		w.use(m, key)
	case 12:
		w.make()
	case 13:
		w.agree()
	case 14:
		w.encapsulate()
	case 15:
		w.turn()
	}
	if excess := len(w.keys) - 60; excess > 0 {
		w.keys = slices.Delete(w.keys, w.planted, w.planted+excess)
	}
}

// came keeps what came out, to be put in again.
func (w *walk) came(b []byte, m *mech) {
	w.t.Helper()
	w.saw(b)
	w.blobs = append(w.blobs, blob{b, m})
	w.blobs = w.blobs[max(0, len(w.blobs)-40):]
}

// input is something that came out before, as it was or a part of it, mostly with the mechanism that it came from.
func (w *walk) input(m *mech) blob {
	if len(w.blobs) == 0 {
		return blob{message(32), m}
	}
	in := pick(w, w.blobs)
	if w.rand.IntN(4) == 0 {
		in.m = m
	}
	switch cut := min(16, len(in.b)/2); w.rand.IntN(6) {
	case 0:
		in.b = in.b[cut:]
	case 1:
		in.b = in.b[:len(in.b)-cut]
	}
	return in
}

// use runs an operation with a key over something that came out before.
func (w *walk) use(m *mech, key handle) {
	w.t.Helper()
	o, from := big16(), w.input(m)
	in, m := from.b, from.m
	var err error
	switch w.rand.IntN(4) {
	case 0:
		if err = w.EncryptInit(w.h, m, key); err == nil {
			err = w.Encrypt(w.h, in, o)
		}
	case 1:
		if err = w.DecryptInit(w.h, m, key); err == nil {
			err = w.Decrypt(w.h, in, o)
		}
	case 2:
		if err = w.SignInit(w.h, m, key); err == nil {
			err = w.Sign(w.h, in, o)
		}
	case 3:
		if err = w.DigestInit(w.h, &mech{Type: pkcs11.CKM_SHA256}); err == nil {
			if err = w.DigestKey(w.h, key); err == nil {
				err = w.DigestFinal(w.h, o)
			}
		}
	}
	if err == nil && len(o.Bytes) > 0 {
		w.came(o.Bytes, m)
	}
}

// read asks for everything that an object could tell.
func (w *walk) read(key handle) {
	w.t.Helper()
	values, err := w.GetAttributeValue(w.h, key, []pkcs11.AttributeType{
		pkcs11.CKA_VALUE, pkcs11.CKA_LABEL, pkcs11.CKA_ID, pkcs11.CKA_CHECK_VALUE, pkcs11.CKA_PUBLIC_KEY_INFO, pkcs11.CKA_PRIVATE_EXPONENT,
	})
	if err != nil {
		return // gone
	}
	for _, v := range values {
		if b, ok := v.Value.([]byte); ok {
			w.reads++
			w.saw(b)
		}
	}
}

// search asks whether a treasure is there.
func (w *walk) search() {
	w.t.Helper()
	i := w.rand.IntN(len(w.treasures))
	require.Empty(w.t, w.find(w.t, w.h, octets(pkcs11.CKA_VALUE, w.treasures[i])), "%s: found by its value", w.step)
}
