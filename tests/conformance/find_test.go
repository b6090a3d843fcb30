package conformance

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// TestFind looks for objects by each indexed attribute, by others, and by combinations, among token and session objects.
func TestFind(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		h := e.user(t)
		made := map[string]handle{}
		for _, where := range []T{yes(pkcs11.CKA_TOKEN), no(pkcs11.CKA_TOKEN)} {
			token, _ := where.Bool(pkcs11.CKA_TOKEN)
			name := func(s string) string { return fmt.Sprintf("%s token=%v", s, token) }
			id := octets(pkcs11.CKA_ID, []byte(name("id")))
			pub, priv := e.pair(t, h, pkcs11.CKM_EC_KEY_PAIR_GEN,
				with(octets(pkcs11.CKA_EC_PARAMS, p256), where, id, text(pkcs11.CKA_LABEL, name("find pair"))),
				with(where, id, text(pkcs11.CKA_LABEL, name("find pair"))))
			made[name("pub")], made[name("priv")] = pub, priv
			made[name("aes")] = e.aes(t, h, where, id, text(pkcs11.CKA_LABEL, name("find aes")))
			made[name("data")] = e.create(t, h, data(name("find data"), where))
		}
		here := text(pkcs11.CKA_LABEL, "find pair token=true")
		for name, c := range map[string]struct {
			template T
			want     []string
		}{
			"label":          {here, []string{"pub token=true", "priv token=true"}},
			"label, class":   {with(here, num(pkcs11.CKA_CLASS, pkcs11.CKO_PRIVATE_KEY)), []string{"priv token=true"}},
			"label, type":    {with(here, num(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_EC)), []string{"pub token=true", "priv token=true"}},
			"label, no type": {with(here, num(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_AES)), nil},
			"id":             {text(pkcs11.CKA_ID, "id token=false"), []string{"pub token=false", "priv token=false", "aes token=false"}},
			"id, type":       {with(text(pkcs11.CKA_ID, "id token=false"), num(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_AES)), []string{"aes token=false"}},
			"id, id of none": {with(text(pkcs11.CKA_ID, "id token=maybe")), nil},
			"label, token":   {with(text(pkcs11.CKA_LABEL, "find aes token=true"), yes(pkcs11.CKA_TOKEN)), []string{"aes token=true"}},
			"label, session": {with(text(pkcs11.CKA_LABEL, "find aes token=true"), no(pkcs11.CKA_TOKEN)), nil},
			"value of data":  {text(pkcs11.CKA_VALUE, "value of find data token=true"), []string{"data token=true"}},
			"a usage":        {with(here, yes(pkcs11.CKA_SIGN)), []string{"priv token=true"}},
			"not a usage":    {with(here, no(pkcs11.CKA_SIGN)), nil},
			"of no class":    {with(here, octets(pkcs11.CKA_MODULUS, []byte{1})), nil},
			"all at once": {with(here, text(pkcs11.CKA_ID, "id token=true"), kind(pkcs11.CKO_PUBLIC_KEY, pkcs11.CKK_EC), yes(pkcs11.CKA_TOKEN),
				octets(pkcs11.CKA_EC_PARAMS, p256)), []string{"pub token=true"}},
		} {
			var want []handle
			for _, w := range c.want {
				want = append(want, made[w])
			}
			require.ElementsMatch(t, want, e.find(t, h, c.template), name)
		}
		all := e.find(t, h, nil)
		for name, o := range made {
			require.Contains(t, all, o, name)
		}
		byClass := e.find(t, h, kind(pkcs11.CKO_PRIVATE_KEY, pkcs11.CKK_EC))
		require.Contains(t, byClass, made["priv token=true"])
		require.NotContains(t, byClass, made["pub token=true"])
	})
}

// TestFindAThousandObjects, in bites of every size, each once.
func TestFindAThousandObjects(t *testing.T) {
	const n = 1000
	each(t, func(t *testing.T, e *env) {
		h := e.user(t)
		common := text(pkcs11.CKA_APPLICATION, "a thousand")
		want := make([]handle, n)
		for i := range want {
			where := pkcs11.Attr(pkcs11.CKA_TOKEN, i%5 == 0)
			want[i] = e.create(t, h, with(data(fmt.Sprint("object ", i)), common, T{where}))
		}
		for _, bite := range []int{1, 7, 1000, 5000} {
			require.NoError(t, e.FindObjectsInit(h, common))
			var got []handle
			for {
				some, err := e.FindObjects(h, bite)
				require.NoError(t, err)
				require.LessOrEqual(t, len(some), bite)
				if len(some) == 0 {
					break
				}
				got = append(got, some...)
			}
			require.NoError(t, e.FindObjectsFinal(h))
			require.ElementsMatch(t, want, got)
		}
		for _, i := range []int{0, 1, 500, 999} {
			require.Equal(t, want[i:i+1], e.find(t, h, text(pkcs11.CKA_LABEL, fmt.Sprint("object ", i))))
		}
	})
}

// TestFindIsAnOperation: one at a time, ended by its own function.
func TestFindIsAnOperation(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		h := e.public(t)
		_, err := e.FindObjects(h, 1)
		rv(t, pkcs11.CKR_OPERATION_NOT_INITIALIZED, err)
		rv(t, pkcs11.CKR_OPERATION_NOT_INITIALIZED, e.FindObjectsFinal(h))
		require.NoError(t, e.FindObjectsInit(h, nil))
		rv(t, pkcs11.CKR_OPERATION_ACTIVE, e.FindObjectsInit(h, nil))
		require.NoError(t, e.DigestInit(h, &mech{Type: pkcs11.CKM_SHA256}), "beside a digest")
		_, err = e.FindObjects(h, 1)
		require.NoError(t, err, "the running one goes on")
		require.NoError(t, e.FindObjectsFinal(h))
		require.NoError(t, e.Digest(h, nil, &out{Capacity: 32}))
	})
}

// TestFindSkipsWhatHasGone between C_FindObjectsInit and C_FindObjects, or says it in a handle that stands for nothing.
func TestFindSkipsWhatHasGone(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		h := e.user(t)
		o := e.create(t, h, data("gone soon"))
		stays := e.create(t, h, data("gone soon"))
		require.NoError(t, e.FindObjectsInit(h, text(pkcs11.CKA_LABEL, "gone soon")))
		require.NoError(t, e.DestroyObject(h, o))
		found, err := e.FindObjects(h, 10)
		require.NoError(t, err)
		require.NoError(t, e.FindObjectsFinal(h))
		require.True(t, slices.Contains(found, stays))
		require.False(t, slices.Contains(found, o))
	})
}

// TestFindByValueIsNoOracle: what cannot be read cannot be guessed by searching.
func TestFindByValueIsNoOracle(t *testing.T) {
	value := message(16)
	each(t, func(t *testing.T, e *env) {
		h := e.user(t)
		for _, where := range []T{yes(pkcs11.CKA_TOKEN), no(pkcs11.CKA_TOKEN)} {
			for _, protection := range []T{yes(pkcs11.CKA_SENSITIVE), with(no(pkcs11.CKA_SENSITIVE, pkcs11.CKA_EXTRACTABLE))} {
				o := e.create(t, h, secretKey(pkcs11.CKK_AES, value, where, protection))
				require.Empty(t, e.find(t, h, octets(pkcs11.CKA_VALUE, value)))
				require.NotContains(t, e.find(t, h, with(octets(pkcs11.CKA_VALUE, value), kind(pkcs11.CKO_SECRET_KEY, pkcs11.CKK_AES))), o)
				require.Empty(t, e.find(t, h, octets(pkcs11.CKA_VALUE, nil)))
				require.NoError(t, e.DestroyObject(h, o))
			}
		}
		open := e.create(t, h, secretKey(pkcs11.CKK_AES, value, readable, yes(pkcs11.CKA_TOKEN)))
		require.Equal(t, []handle{open}, e.find(t, h, octets(pkcs11.CKA_VALUE, value)), "one that can be read is found")
		require.NoError(t, e.SetAttributeValue(h, open, yes(pkcs11.CKA_SENSITIVE)))
		require.Empty(t, e.find(t, h, octets(pkcs11.CKA_VALUE, value)))
	})
}

// TestHandlesAreStable: a token object has the same handle in every session of a login.
func TestHandlesAreStable(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		h := e.user(t)
		o := e.create(t, h, data("stable", yes(pkcs11.CKA_TOKEN)))
		for range 3 {
			require.Equal(t, []handle{o}, e.find(t, e.open(t, 0), text(pkcs11.CKA_LABEL, "stable")))
		}
		require.NoError(t, e.DestroyObject(h, o))
		again := e.create(t, h, data("stable", yes(pkcs11.CKA_TOKEN)))
		require.NotEqual(t, o, again, "a handle is never given twice")
	})
}
