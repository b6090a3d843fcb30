package wire

import (
	"bytes"
	"reflect"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/pkcs11"
)

func through(t testing.TB, m pkcs11.Mechanism) (pkcs11.Mechanism, error) {
	out, err := FromMechanism(m)
	require.NoError(t, err)
	return ToMechanism(sent(t, out))
}

// TestEveryParameterSurvives fills each struct that layouts knows with random values.
func TestEveryParameterSurvives(t *testing.T) {
	r := seeded(t)
	of, messages := mechanismOf(), messageKinds()
	for kind := range pkcs11.ParamKind(len(layouts)) {
		if kind == pkcs11.ParamUnknown || kind == pkcs11.ParamNone {
			assert.Nil(t, layouts[kind].read, "kind %d", kind)
			continue
		}
		if messages[kind] && of[kind] == 0 {
			p := newParams(t, kind)
			fill(t, r, reflect.ValueOf(p).Elem())
			_, b, known := putParams(p)
			require.True(t, known)
			back, err := layouts[kind].read(b)
			require.NoError(t, err)
			require.Equal(t, p, back)
			continue
		}
		m := pkcs11.Mechanism{Type: of[kind]}
		require.NotZero(t, m.Type, "no mechanism takes %q", layouts[kind].name)
		for range 100 {
			switch kind {
			case pkcs11.ParamIV:
				m.Params = pkcs11.IV(randomBytes(r))
			case pkcs11.ParamHandle:
				m.Params = pkcs11.Handle(r.Uint64() >> r.IntN(64))
			case pkcs11.ParamUlong:
				m.Params = pkcs11.MACGeneralParams(r.Uint64() >> r.IntN(64))
			default:
				p := newParams(t, kind)
				fill(t, r, reflect.ValueOf(p).Elem())
				m.Params = p
			}
			back, err := through(t, m)
			require.NoError(t, err)
			require.Equal(t, m, back)
		}
	}
}

// newParams returns an empty struct of a kind, found by reading one in which every member that must be there is.
func newParams(t testing.TB, kind pkcs11.ParamKind) any {
	empty, _ := layouts[kind].read(nil)
	v := reflect.ValueOf(empty)
	require.Equal(t, reflect.Pointer, v.Kind())
	return reflect.New(v.Type().Elem()).Interface()
}

// TestEveryKindHasALayout: the table and package pkcs11 are generated together, and a kind without a name could not be
// told from none.
func TestEveryKindHasALayout(t *testing.T) {
	names := map[string]bool{}
	kinds := messageKinds()
	for kind := range mechanismOf() {
		kinds[kind] = true
	}
	for kind := range kinds {
		if kind == pkcs11.ParamUnknown || kind == pkcs11.ParamNone {
			continue
		}
		require.Less(t, int(kind), len(layouts))
		require.NotEmpty(t, layouts[kind].name)
		assert.False(t, names[layouts[kind].name], "%q twice", layouts[kind].name)
		names[layouts[kind].name] = true
	}
	assert.Len(t, names, len(layouts)-2)
}

func TestNoParameterSurvives(t *testing.T) {
	for _, typ := range []pkcs11.MechanismType{pkcs11.CKM_ECDSA, pkcs11.CKM_EDDSA, pkcs11.CKM_AES_KEY_WRAP, 0x80001234} {
		back, err := through(t, pkcs11.Mechanism{Type: typ})
		require.NoError(t, err)
		assert.Equal(t, pkcs11.Mechanism{Type: typ}, back)
	}
}

func TestHostileMechanismsAreRefused(t *testing.T) {
	of := func(typ pkcs11.MechanismType, params any) *Mechanism {
		m, err := FromMechanism(pkcs11.Mechanism{Type: typ, Params: params})
		require.NoError(t, err)
		return m
	}
	raw := func(typ pkcs11.MechanismType, kind string, parameter ...byte) *Mechanism {
		return &Mechanism{Type: uint64(typ), Kind: kind, Parameter: parameter}
	}
	ctr := of(pkcs11.CKM_AES_CTR, &pkcs11.CTRParams{CounterBits: 32}).Parameter
	big := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), 1<<40)
	const param = pkcs11.CKR_MECHANISM_PARAM_INVALID
	for name, c := range map[string]struct {
		m  *Mechanism
		rv pkcs11.RV
	}{
		"nothing":               {nil, pkcs11.CKR_MECHANISM_INVALID},
		"unknown with a kind":   {raw(0x80001234, "IV", 1, 2), pkcs11.CKR_MECHANISM_INVALID},
		"unknown with bytes":    {raw(0x80001234, "", 1, 2), param},
		"bytes of no kind":      {raw(pkcs11.CKM_ECDSA, "", 1), param},
		"a kind where none is":  {raw(pkcs11.CKM_ECDSA, "IV"), param},
		"missing":               {raw(pkcs11.CKM_AES_CBC, ""), param},
		"another kind":          {of(pkcs11.CKM_AES_CBC, &pkcs11.GCMParams{}), param},
		"a kind nobody has":     {raw(pkcs11.CKM_AES_GCM, "Nonsense"), param},
		"a short IV":            {of(pkcs11.CKM_AES_CBC, pkcs11.IV(make([]byte, 15))), param},
		"a cut tag":             {raw(pkcs11.CKM_AES_GCM, "GCM", 0x80), param},
		"a cut value":           {raw(pkcs11.CKM_AES_GCM, "GCM", 0x0a, 9, 1), param},
		"an endless number":     {raw(pkcs11.CKM_AES_GCM, "GCM", 0x10, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), param},
		"another wire type":     {raw(pkcs11.CKM_AES_GCM, "GCM", 0x08, 1), param},
		"twice":                 {raw(pkcs11.CKM_AES_GCM, "GCM", 0x10, 1, 0x10, 1), param},
		"member 0":              {raw(pkcs11.CKM_AES_GCM, "GCM", 0x00, 1), param},
		"a cut unknown member":  {raw(pkcs11.CKM_AES_GCM, "GCM", 0xfa, 0x07, 9), param},
		"an array left out":     {raw(pkcs11.CKM_AES_CTR, "CTR", 0x08, 32), param},
		"an array cut short":    {raw(pkcs11.CKM_AES_CTR, "CTR", 0x12, 2, 1, 2), param},
		"an array too long":     {raw(pkcs11.CKM_AES_CTR, "CTR", append([]byte{0x12, 17}, make([]byte, 17)...)...), param},
		"a bool of 2":           {raw(pkcs11.CKM_EDDSA, "EdDSA", 0x08, 2), param},
		"nonsense one level in": {raw(pkcs11.CKM_RSA_AES_KEY_WRAP, "RSAAESKeyWrap", 0x12, 1, 0xff), param},
		"trailing bytes":        {raw(pkcs11.CKM_AES_CTR, "CTR", append(ctr, 0xff)...), param},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := ToMechanism(c.m)
			assert.Equal(t, c.rv, pkcs11.RVOf(err), "%v", err)
			assert.Equal(t, pkcs11.Mechanism{}, out)
		})
	}
	element := []byte{0x12, 0} // one empty PRFData
	kdf := func(parameter []byte) *Mechanism {
		return raw(pkcs11.CKM_SP800_108_COUNTER_KDF, "SP800108KDF", parameter...)
	}
	full, err := ToMechanism(kdf(bytes.Repeat(element, maxElements)))
	require.NoError(t, err)
	assert.Len(t, full.Params.(*pkcs11.SP800108KDFParams).Data, maxElements)
	for name, c := range map[string]struct {
		parameter []byte
		rv        pkcs11.RV
	}{
		"a list too long":        {bytes.Repeat(element, maxElements+1), param},
		"nonsense in a list":     {[]byte{0x12, 1, 0xff}, param},
		"a template of nonsense": {[]byte{0x1a, 3, 0x0a, 1, 0xff}, param},
		"an unknown attribute":   {[]byte{0x1a, 9, 0x0a, 7, 0x0a, 5, 0x08, 0xff, 0xff, 0xff, 0x07}, pkcs11.CKR_ATTRIBUTE_TYPE_INVALID},
	} {
		_, err := ToMechanism(kdf(c.parameter))
		assert.Equal(t, c.rv, pkcs11.RVOf(err), "%s: %v", name, err)
	}
	out, err := ToMechanism(raw(pkcs11.CKM_SHA256_HMAC_GENERAL, "Ulong", big...))
	require.NoError(t, err)
	assert.Equal(t, pkcs11.MACGeneralParams(1<<40), out.Params)
}

// TestLaterMembersAreSkipped: a struct that has grown in a later version is read as far as it is known.
func TestLaterMembersAreSkipped(t *testing.T) {
	want := &pkcs11.PSSParams{HashAlg: pkcs11.CKM_SHA256, MGF: pkcs11.CKG_MGF1_SHA256, SaltLen: 32}
	m, err := FromMechanism(pkcs11.Mechanism{Type: pkcs11.CKM_RSA_PKCS_PSS, Params: want})
	require.NoError(t, err)
	later := protowire.AppendBytes(protowire.AppendTag(nil, 500, protowire.BytesType), []byte("new"))
	m.Parameter = append(later, protowire.AppendVarint(protowire.AppendTag(m.Parameter, 4, protowire.VarintType), 7)...)
	out, err := ToMechanism(m)
	require.NoError(t, err)
	assert.Equal(t, want, out.Params)
}

func TestAParameterOfNoKindIsNotSent(t *testing.T) {
	for _, p := range []any{"text", []byte{1}, 7, pkcs11.GCMParams{}, (*pkcs11.GCMParams)(nil)} {
		_, err := FromMechanism(pkcs11.Mechanism{Type: pkcs11.CKM_AES_GCM, Params: p})
		assert.Equal(t, pkcs11.CKR_MECHANISM_PARAM_INVALID, pkcs11.RVOf(err), "%T", p)
	}
}

// TestTheParameterIsACopy: the operation keeps it, and whoever reads the stream uses its memory again.
func TestTheParameterIsACopy(t *testing.T) {
	for _, in := range []pkcs11.Mechanism{
		{Type: pkcs11.CKM_AES_GCM, Params: &pkcs11.GCMParams{IV: []byte("123456789012"), AAD: []byte("aad")}},
		{Type: pkcs11.CKM_AES_CBC, Params: pkcs11.IV("1234567890123456")},
	} {
		m, err := FromMechanism(in)
		require.NoError(t, err)
		out, err := ToMechanism(m)
		require.NoError(t, err)
		clear(m.Parameter)
		assert.Equal(t, in, out)
	}
}
