package object

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/pkcs11"
)

func TestRuleSettable(t *testing.T) {
	o := create(t, aesImport)
	changed, err := Set(o, false, tmpl{text(pkcs11.CKA_LABEL, "l"), text(pkcs11.CKA_ID, "i"), flag(pkcs11.CKA_WRAP, true),
		text(pkcs11.CKA_START_DATE, "20260101")})
	require.NoError(t, err)
	require.Equal(t, "l", string(changed.Bytes(pkcs11.CKA_LABEL)))
	require.True(t, changed.Bool(pkcs11.CKA_WRAP))
	require.Equal(t, o.ID(), changed.ID())
	require.Empty(t, o.Bytes(pkcs11.CKA_LABEL), "the old one is as it was")

	for _, a := range []pkcs11.Attribute{class(pkcs11.CKO_SECRET_KEY), ktype(pkcs11.CKK_AES), text(pkcs11.CKA_VALUE, "k"), flag(pkcs11.CKA_TOKEN, false),
		flag(pkcs11.CKA_PRIVATE, true), flag(pkcs11.CKA_MODIFIABLE, false), flag(pkcs11.CKA_DESTROYABLE, false), num(pkcs11.CKA_VALUE_LEN, 16),
		pkcs11.Attr(pkcs11.CKA_UNWRAP_TEMPLATE, tmpl{})} {
		_, err := Set(o, true, tmpl{a})
		requireRV(t, pkcs11.CKR_ATTRIBUTE_READ_ONLY, err, a)
	}
	_, err = Set(o, false, tmpl{text(pkcs11.CKA_MODULUS, "n")})
	requireRV(t, pkcs11.CKR_TEMPLATE_INCONSISTENT, err)
	_, err = Set(o, false, tmpl{text(pkcs11.CKA_VENDOR_DEFINED|1, "n")})
	requireRV(t, pkcs11.CKR_ATTRIBUTE_TYPE_INVALID, err)
	_, err = Set(create(t, ecImport), false, tmpl{flag(pkcs11.CKA_ALWAYS_AUTHENTICATE, true)})
	requireRV(t, pkcs11.CKR_ATTRIBUTE_READ_ONLY, err)
}

// TestRuleSticky: each protection goes one way, by set and by copy alike.
func TestRuleSticky(t *testing.T) {
	open := create(t, join(aesImport, flag(pkcs11.CKA_SENSITIVE, false), flag(pkcs11.CKA_EXTRACTABLE, true)))
	for attr, safe := range map[pkcs11.AttributeType]bool{
		pkcs11.CKA_SENSITIVE: true, pkcs11.CKA_EXTRACTABLE: false, pkcs11.CKA_WRAP_WITH_TRUSTED: true, pkcs11.CKA_COPYABLE: false,
	} {
		closed, err := Set(open, false, tmpl{flag(attr, safe)})
		require.NoError(t, err)
		require.Equal(t, safe, closed.Bool(attr))
		_, err = Set(closed, true, tmpl{flag(attr, safe)})
		require.NoError(t, err, "the same again")
		_, err = Set(closed, true, tmpl{flag(attr, !safe)})
		requireRV(t, pkcs11.CKR_ATTRIBUTE_READ_ONLY, err)
		if attr != pkcs11.CKA_COPYABLE {
			_, err = Copy(closed, true, true, newID(), tmpl{flag(attr, !safe)})
			requireRV(t, pkcs11.CKR_ATTRIBUTE_READ_ONLY, err)
		}
	}
}

func TestUnmodifiableObjects(t *testing.T) {
	o := create(t, join(aesImport, flag(pkcs11.CKA_MODIFIABLE, false)))
	_, err := Set(o, true, tmpl{text(pkcs11.CKA_LABEL, "l")})
	requireRV(t, pkcs11.CKR_ACTION_PROHIBITED, err)
	requireRV(t, pkcs11.CKR_OK, o.Destroyable())
	requireRV(t, pkcs11.CKR_ACTION_PROHIBITED, create(t, join(aesImport, flag(pkcs11.CKA_DESTROYABLE, false))).Destroyable())
	_, err = Copy(create(t, join(aesImport, flag(pkcs11.CKA_COPYABLE, false))), true, true, newID(), nil)
	requireRV(t, pkcs11.CKR_ACTION_PROHIBITED, err)
}

func TestRuleOnCopy(t *testing.T) {
	o := generate(t, flag(pkcs11.CKA_PRIVATE, false))
	id := newID()
	c, err := Copy(o, false, true, id, tmpl{flag(pkcs11.CKA_TOKEN, true), flag(pkcs11.CKA_PRIVATE, true), flag(pkcs11.CKA_MODIFIABLE, false),
		flag(pkcs11.CKA_DESTROYABLE, false), flag(pkcs11.CKA_COPYABLE, false), text(pkcs11.CKA_LABEL, "copy")})
	require.NoError(t, err)
	require.Equal(t, id, c.ID())
	require.Equal(t, id, string(c.Bytes(pkcs11.CKA_UNIQUE_ID)))
	require.True(t, c.Token())
	require.True(t, c.Private())
	require.True(t, c.Bool(pkcs11.CKA_LOCAL))
	require.True(t, c.Bool(pkcs11.CKA_ALWAYS_SENSITIVE))
	require.True(t, c.Bool(pkcs11.CKA_NEVER_EXTRACTABLE))

	private := generate(t)
	_, err = Copy(private, false, true, newID(), tmpl{flag(pkcs11.CKA_PRIVATE, false)})
	requireRV(t, pkcs11.CKR_ATTRIBUTE_READ_ONLY, err)
	_, err = Copy(private, false, true, newID(), tmpl{text(pkcs11.CKA_VALUE, "k")})
	requireRV(t, pkcs11.CKR_ATTRIBUTE_READ_ONLY, err)
	_, err = Copy(o, false, false, newID(), tmpl{flag(pkcs11.CKA_PRIVATE, true)})
	requireRV(t, pkcs11.CKR_USER_NOT_LOGGED_IN, err)
	_, err = Copy(o, false, false, newID(), nil)
	require.NoError(t, err, "a public object is everybody's to copy")
	_, err = Copy(o, false, true, "x", nil)
	requireRV(t, pkcs11.CKR_GENERAL_ERROR, err)
}

func TestTrustedObjectsAreTheSOs(t *testing.T) {
	trust := tmpl{flag(pkcs11.CKA_TRUSTED, true)}
	o := create(t, aesImport)
	_, err := Set(o, false, trust)
	requireRV(t, pkcs11.CKR_ATTRIBUTE_READ_ONLY, err)
	trusted, err := Set(o, true, trust)
	require.NoError(t, err)

	_, err = Set(trusted, false, tmpl{flag(pkcs11.CKA_DECRYPT, true)})
	requireRV(t, pkcs11.CKR_ACTION_PROHIBITED, err)
	_, err = Set(trusted, true, tmpl{flag(pkcs11.CKA_WRAP, true), flag(pkcs11.CKA_TRUSTED, false)})
	require.NoError(t, err)

	c, err := Copy(trusted, false, true, newID(), nil)
	require.NoError(t, err)
	require.False(t, c.Bool(pkcs11.CKA_TRUSTED))
	_, err = Copy(trusted, false, true, newID(), trust)
	requireRV(t, pkcs11.CKR_ATTRIBUTE_READ_ONLY, err)
	c, err = Copy(trusted, true, true, newID(), nil)
	require.NoError(t, err)
	require.True(t, c.Bool(pkcs11.CKA_TRUSTED))
}

// TestChangesNeverWeaken makes random objects and changes them at random. Whatever is accepted, no protection falls.
func TestChangesNeverWeaken(t *testing.T) {
	rng := seededRand(t)
	draw := func(n int) int { return rng.IntN(n) }
	built, changed := 0, 0
	for range 3000 {
		req, template := randomRequest(draw)
		o, secret := buildSoundly(t, req, template, draw)
		if o == nil {
			continue
		}
		built++
		for range 6 {
			so := draw(2) == 0
			var next *Object
			var err error
			change := randomChange(o.policy, draw)
			if draw(2) == 0 {
				next, err = Set(o, so, change)
			} else {
				next, err = Copy(o, so, true, newID(), change)
			}
			if err != nil {
				sane(t, err)
				continue
			}
			changed++
			requireNotWeaker(t, o, next, so)
			requireSound(t, next, secret)
			o = next
		}
	}
	t.Logf("%d objects, %d changes", built, changed)
	require.Greater(t, built, 100)
	require.Greater(t, changed, 200)
}

// FuzzBuild lets the fuzzer choose the request, the template and the changes.
func FuzzBuild(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte("\x01\x00\x02\x01\x05\x03\x01\x00\x01\x07\x02\x09\x01\x04\x05\x06\x07\x08\x09\x0a"))
	f.Fuzz(func(t *testing.T, data []byte) {
		data = data[:min(len(data), 500)] // each byte is a decision: more of them only take longer
		draw := func(n int) int {
			if len(data) == 0 {
				return 0
			}
			v := int(data[0])
			data = data[1:]
			return v % n
		}
		req, template := randomRequest(draw)
		o, secret := buildSoundly(t, req, template, draw)
		for o != nil && len(data) > 0 {
			so := draw(2) == 0
			next, err := Set(o, so, randomChange(o.policy, draw))
			if err != nil {
				sane(t, err)
				next, err = Copy(o, so, true, newID(), randomChange(o.policy, draw))
			}
			if err != nil {
				sane(t, err)
				continue
			}
			requireNotWeaker(t, o, next, so)
			requireSound(t, next, secret)
			o = next
		}
	})
}
