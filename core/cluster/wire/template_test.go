package wire

import (
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/pkcs11"
)

func TestEveryAttributeSurvives(t *testing.T) {
	r := seeded(t)
	all := attributeTypes()
	require.Greater(t, len(all), 150)
	kinds := map[pkcs11.Kind]bool{}
	for _, typ := range all {
		kind, _ := typ.Kind()
		kinds[kind] = true
		for range 8 {
			a := pkcs11.Attribute{Type: typ, Value: randomValue(r, typ, 1)}
			back, err := ToAttribute(sent(t, FromAttribute(a)))
			require.NoError(t, err, "%v", typ)
			// Not require.Equal on the attributes: they print without their values.
			assert.Equal(t, a.Type, back.Type)
			assert.Equal(t, a.Value, back.Value, "%v", typ)
		}
	}
	assert.Len(t, kinds, int(pkcs11.KindUlongs), "a kind without an attribute")
}

func TestTemplatesSurvive(t *testing.T) {
	r := seeded(t)
	for range 200 {
		in := randomTemplate(r, r.IntN(20), 1)
		out, err := sent(t, FromTemplate(in)).ToTemplate()
		require.NoError(t, err)
		requireSame(t, in, out)
	}
}

// requireSame compares order, types and values, and tells nil from empty.
func requireSame(t testing.TB, want, got pkcs11.Template) {
	t.Helper()
	require.Equal(t, want == nil, got == nil)
	require.Len(t, got, len(want))
	for i := range want {
		require.Equal(t, want[i].Type, got[i].Type)
		inner, nested := want[i].Value.(pkcs11.Template)
		if !nested {
			require.Equal(t, want[i].Value, got[i].Value, "%v", want[i].Type)
			continue
		}
		require.IsType(t, inner, got[i].Value)
		requireSame(t, inner, got[i].Value.(pkcs11.Template))
	}
}

func TestNothingIsNotEmpty(t *testing.T) {
	for _, v := range []any{
		nil, []byte{}, false, uint(0), []pkcs11.MechanismType{}, []uint{}, pkcs11.Template{},
	} {
		typ := map[bool]pkcs11.AttributeType{true: pkcs11.CKA_LABEL}[v == nil]
		for _, a := range attributeTypes() {
			if pkcs11.CheckValue(a, v) == nil {
				typ = a
				break
			}
		}
		back, err := ToAttribute(sent(t, FromAttribute(pkcs11.Attribute{Type: typ, Value: v})))
		require.NoError(t, err)
		assert.Equal(t, v, back.Value)
	}
	out, err := sent(t, &CreateObject{}).Template.ToTemplate()
	require.NoError(t, err)
	assert.Nil(t, out)
	out, err = sent(t, &CreateObject{Template: FromTemplate(pkcs11.Template{})}).Template.ToTemplate()
	require.NoError(t, err)
	assert.NotNil(t, out)
}

// nested returns a template of the given depth.
func nested(depth int) *Template {
	m := &Template{}
	for range depth - 1 {
		m = &Template{Attributes: []*Attribute{{Type: uint64(pkcs11.CKA_WRAP_TEMPLATE), Value: &Attribute_Template{m}}}}
	}
	return m
}

func TestHostileTemplatesAreRefused(t *testing.T) {
	one := func(typ pkcs11.AttributeType, v isAttribute_Value) *Template {
		return &Template{Attributes: []*Attribute{{Type: uint64(typ), Value: v}}}
	}
	later := sent(t, one(pkcs11.CKA_LABEL, nil))
	later.Attributes[0].ProtoReflect().SetUnknown(protowire.AppendVarint(protowire.AppendTag(nil, 99, protowire.VarintType), 1))
	wide := nested(2)
	wide.Attributes[0].GetTemplate().Attributes = one(pkcs11.CKA_LABEL, nil).Attributes
	for range MaxAttributes - 1 {
		wide.Attributes = append(wide.Attributes, &Attribute{Type: uint64(pkcs11.CKA_LABEL)})
	}
	for name, c := range map[string]struct {
		m  *Template
		rv pkcs11.RV
	}{
		"unknown type":          {one(0x7777, &Attribute_Bool{true}), pkcs11.CKR_ATTRIBUTE_TYPE_INVALID},
		"unknown, no value":     {one(0x7777, nil), pkcs11.CKR_ATTRIBUTE_TYPE_INVALID},
		"number for a bool":     {one(pkcs11.CKA_TOKEN, &Attribute_Number{1}), pkcs11.CKR_ATTRIBUTE_VALUE_INVALID},
		"bytes for a number":    {one(pkcs11.CKA_CLASS, &Attribute_Bytes{make([]byte, 8)}), pkcs11.CKR_ATTRIBUTE_VALUE_INVALID},
		"no date":               {one(pkcs11.CKA_START_DATE, &Attribute_Bytes{[]byte("20261399")}), pkcs11.CKR_ATTRIBUTE_VALUE_INVALID},
		"numbers for a list":    {one(pkcs11.CKA_ALLOWED_MECHANISMS, &Attribute_Numbers{&Numbers{}}), pkcs11.CKR_ATTRIBUTE_VALUE_INVALID},
		"too long a list":       {one(pkcs11.CKA_ALLOWED_MECHANISMS, &Attribute_Mechanisms{&Numbers{List: make([]uint64, MaxNumbers+1)}}), pkcs11.CKR_ATTRIBUTE_VALUE_INVALID},
		"too deep":              {nested(MaxDepth + 1), pkcs11.CKR_ATTRIBUTE_VALUE_INVALID},
		"far too deep":          {nested(2000), pkcs11.CKR_ATTRIBUTE_VALUE_INVALID},
		"too many":              {wide, pkcs11.CKR_ATTRIBUTE_VALUE_INVALID},
		"a later kind of value": {later, pkcs11.CKR_ATTRIBUTE_VALUE_INVALID},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := sent(t, c.m).ToTemplate()
			assert.Equal(t, c.rv, pkcs11.RVOf(err), "%v", err)
			assert.Nil(t, out)
		})
	}
	_, err := sent(t, nested(MaxDepth)).ToTemplate()
	assert.NoError(t, err, "the deepest that is allowed")
	_, err = (&Template{Attributes: []*Attribute{nil}}).ToTemplate()
	assert.Equal(t, pkcs11.CKR_OK, pkcs11.RVOf(err), "a nil attribute is attribute 0 without a value")
}

func TestKnownLeavesOutWhatALaterNodeAdds(t *testing.T) {
	m := FromTemplate(pkcs11.Template{pkcs11.AttrString(pkcs11.CKA_LABEL, "x")})
	m.Attributes = append(m.Attributes, &Attribute{Type: 0x7777, Value: &Attribute_Number{1}})
	out, err := sent(t, m).Known()
	require.NoError(t, err)
	requireSame(t, pkcs11.Template{pkcs11.AttrString(pkcs11.CKA_LABEL, "x")}, out)
}

func TestAValueOfNoKindIsNotSent(t *testing.T) {
	m := FromAttribute(pkcs11.Attribute{Type: pkcs11.CKA_LABEL, Value: "a string"})
	assert.Nil(t, m.Value)
	b, err := proto.Marshal(m)
	require.NoError(t, err)
	assert.NotContains(t, string(b), "a string")
}
