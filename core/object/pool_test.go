package object

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// TestPool: an object that shares what it has in common with others is in nothing different from one that does not.
func TestPool(t *testing.T) {
	var p Pool
	var last *Object
	for i := range 3 {
		alone := create(t, join(ecImport, text(pkcs11.CKA_LABEL, fmt.Sprint("key ", i)), text(pkcs11.CKA_ID, "id")))
		want := alone.Attributes()
		o, err := p.Load(alone.ID(), alone.Attributes())
		require.NoError(t, err)
		require.Equal(t, want, o.Attributes())
		require.Equal(t, alone.ID(), o.ID())
		for _, a := range want {
			v, ok := o.Get(a.Type)
			require.True(t, ok, "%v", a.Type)
			require.Equal(t, a.Value, v, "%v", a.Type)
		}
		_, ok := o.Get(pkcs11.CKA_OTP_TIME)
		require.False(t, ok)
		encoded, err := Marshal(o.Attributes())
		require.NoError(t, err)
		again, err := Marshal(want)
		require.NoError(t, err)
		require.Equal(t, again, encoded)
		if last != nil {
			require.Same(t, &last.values[0], &o.values[0], "the second is alike")
		}
		last = o
	}
	require.Len(t, p.shared, 1)
	_, err := p.Load("", generate(t).Attributes())
	require.NoError(t, err)
	require.Len(t, p.shared, 2, "of another kind")

	before := last.Bool(pkcs11.CKA_DERIVE)
	changed, err := Set(last, false, tmpl{text(pkcs11.CKA_LABEL, "other"), flag(pkcs11.CKA_DERIVE, !before)})
	require.NoError(t, err)
	require.Equal(t, !before, changed.Bool(pkcs11.CKA_DERIVE))
	require.Equal(t, before, last.Bool(pkcs11.CKA_DERIVE), "who shares a part with a changed object has not changed")

	_, err = p.Load("", tmpl{})
	require.Error(t, err)
}

// TestPoolBound: what is remembered does not grow with objects that have nothing in common.
func TestPoolBound(t *testing.T) {
	var p Pool
	for i := range mostShared + 10 {
		head := create(t, join(ecImport, text(pkcs11.CKA_LABEL, fmt.Sprint("key ", i)), text(pkcs11.CKA_ID, "id"))).Attributes().Set(pkcs11.CKA_ALLOWED_MECHANISMS, []pkcs11.MechanismType{pkcs11.MechanismType(i)})
		_, err := p.Load("", head)
		require.NoError(t, err)
	}
	require.Less(t, len(p.shared), mostShared)
}
