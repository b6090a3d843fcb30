package wire

import (
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// FuzzToTemplate: what is accepted is well-formed and survives being sent again.
func FuzzToTemplate(f *testing.F) {
	r := seeded(f)
	for range 20 {
		b, err := proto.Marshal(FromTemplate(randomTemplate(r, r.IntN(6), 1)))
		require.NoError(f, err)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m := &Template{}
		if Unmarshal(b, m) != nil {
			return
		}
		checkTemplate(t, m)
	})
}

func checkTemplate(t *testing.T, m *Template) {
	in, err := m.ToTemplate()
	if err != nil {
		require.NotEqual(t, pkcs11.CKR_GENERAL_ERROR, pkcs11.RVOf(err), "%v", err)
		_, _ = m.Known()
		return
	}
	for _, a := range in {
		if a.Value != nil {
			require.NoError(t, pkcs11.CheckValue(a.Type, a.Value))
		}
	}
	out, err := sent(t, &CreateObject{Template: FromTemplate(in)}).Template.ToTemplate()
	require.NoError(t, err)
	requireSame(t, in, out)
}

// FuzzToMechanism: what is accepted is a parameter of the mechanism's own kind and survives being sent again.
func FuzzToMechanism(f *testing.F) {
	for kind, typ := range mechanismOf() {
		if int(kind) < len(layouts) {
			f.Add(uint64(typ), layouts[kind].name, []byte{0x0a, 2, 1, 2, 0x10, 16, 0x1a, 0, 0x20, 0x80, 1})
		}
	}
	f.Add(uint64(pkcs11.CKM_AES_CTR), "CTR", append([]byte{0x08, 32, 0x12, 16}, make([]byte, 16)...))
	f.Add(uint64(pkcs11.CKM_RSA_AES_KEY_WRAP), "RSAAESKeyWrap", []byte{0x08, 16, 0x12, 2, 0x08, 5})
	f.Add(uint64(0x80001234), "", []byte{})
	f.Fuzz(func(t *testing.T, typ uint64, kind string, parameter []byte) {
		checkMechanism(t, &Mechanism{Type: typ, Kind: kind, Parameter: parameter})
	})
}

func checkMechanism(t *testing.T, m *Mechanism) {
	in, err := ToMechanism(m)
	if err != nil {
		require.Contains(t, []pkcs11.RV{pkcs11.CKR_MECHANISM_INVALID, pkcs11.CKR_MECHANISM_PARAM_INVALID}, pkcs11.RVOf(err), "%v", err)
		return
	}
	if in.Params != nil {
		require.Equal(t, layouts[in.Type.ParamKind()].name, m.Kind)
	}
	back, err := through(t, in)
	require.NoError(t, err)
	require.Equal(t, in, back)
}

// FuzzRequest: whatever a client sends is decoded or refused, and everything inside it too.
func FuzzRequest(f *testing.F) {
	for _, g := range golden {
		if m, ok := g.m(f).(*Request); ok {
			b, err := proto.Marshal(m)
			require.NoError(f, err)
			f.Add(b)
		}
	}
	request, _ := step(f)
	b, err := proto.Marshal(request)
	require.NoError(f, err)
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		m := &Request{}
		if Unmarshal(b, m) != nil {
			return
		}
		for _, t2 := range []*Template{
			m.GetCreateObject().GetTemplate(), m.GetFindObjects().GetTemplate(), m.GetGenerateKeyPair().GetPrivate(), m.GetUnwrapKey().GetTemplate(),
		} {
			checkTemplate(t, t2)
		}
		for _, mech := range []*Mechanism{m.GetStep().GetMechanism(), m.GetBegin().GetMechanism(), m.GetWrapKey().GetMechanism()} {
			checkMechanism(t, mech)
		}
		_, _ = ToTypes(m.GetGetAttributes().GetTypes())
	})
}

// FuzzReply: the client believes no node either.
func FuzzReply(f *testing.F) {
	for _, m := range []*Reply{
		{Id: 1, Body: &Reply_Begun{FromDescription(hsm.Description{Hash: "SHA-256", Shape: hsm.Shape{Post: 64}})}},
		{Id: 2, Failure: FailureOf(ErrUnknown)},
		{Id: 3, Body: &Reply_Values{FromValues([]pkcs11.AttributeType{pkcs11.CKA_LABEL}, []hsm.Value{{Value: []byte("x")}})}},
	} {
		b, err := proto.Marshal(m)
		require.NoError(f, err)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m := &Reply{}
		if proto.Unmarshal(b, m) != nil {
			return
		}
		if m.Failure != nil {
			require.NotEqual(t, pkcs11.CKR_OK, pkcs11.RVOf(m.Failure.Err()))
		}
		if d, err := ToDescription(m.GetBegun()); err == nil {
			require.GreaterOrEqual(t, d.Shape.UpdateLen(10, 10), 0)
			size, _ := d.Shape.FinishLen(10, 10)
			require.Less(t, size, 4*maxShape)
		}
		_, err := ToValues([]pkcs11.AttributeType{pkcs11.CKA_LABEL}, m.GetValues())
		require.NotEqual(t, pkcs11.CKR_GENERAL_ERROR, pkcs11.RVOf(err))
		ToInfo(m.GetInfo())
		for _, o := range m.GetObjects().GetObjects() {
			_, _ = o.GetHead().Known()
		}
	})
}
