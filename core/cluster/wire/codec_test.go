package wire

import (
	"testing"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/pkcs11"
)

func field(n protowire.Number, v []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(nil, n, protowire.BytesType), v)
}

// repeat returns n empty messages in field 1.
func repeat(n int) []byte {
	b := make([]byte, 0, 2*n)
	for range n {
		b = append(b, field(1, nil)...)
	}
	return b
}

func TestCodecRefusesWhatCostsMoreThanItSeems(t *testing.T) {
	create := func(template []byte) []byte { return field(30, field(1, template)) } // Request.create_object.template
	list := field(1, field(5, field(1, make([]byte, MaxElements))))                 // one list of mechanisms, packed
	deep := []byte{}
	for range 100 {
		deep = field(1, field(7, deep))
	}
	unknown := []byte{}
	for range MaxElements + 1 {
		unknown = append(unknown, 0xf8, 0x07, 1)
	}
	for name, b := range map[string][]byte{
		"many attributes":     create(repeat(MaxElements)),
		"many numbers":        create(list),
		"templates in depth":  create(deep),
		"many unknown fields": unknown,
		"a cut message":       create(repeat(3))[:5],
		"a cut tag":           {0x80},
	} {
		t.Run(name, func(t *testing.T) {
			assert.Error(t, Unmarshal(b, &Request{}))
			assert.Error(t, Codec().Unmarshal(mem.BufferSlice{mem.SliceBuffer(b)}, &Request{}))
		})
	}
	assert.NoError(t, Unmarshal(create(repeat(MaxElements-2)), &Request{}), "the most that is allowed")
	assert.Error(t, Codec().Unmarshal(nil, "text"))
}

func TestCodecIsTheUsualOneOtherwise(t *testing.T) {
	in := &Request{
		Id: 7, MinRevision: 9, Credential: []byte("sealed"),
		Body: &Request_Step{&Step{Kind: 3, Data: make([]byte, MaxPart), Key: &Object{Id: "x", Token: true}}},
	}
	data, err := Codec().Marshal(in)
	require.NoError(t, err)
	defer data.Free()
	out := &Request{}
	require.NoError(t, Codec().Unmarshal(data, out))
	assert.True(t, proto.Equal(in, out))
	assert.Equal(t, "proto", Codec().Name())
}

// step is the request and reply of an ECDSA signature in one part.
func step(tb testing.TB) (*Request, *Reply) {
	m, err := FromMechanism(pkcs11.Mechanism{Type: pkcs11.CKM_RSA_PKCS_PSS,
		Params: &pkcs11.PSSParams{HashAlg: pkcs11.CKM_SHA256, MGF: pkcs11.CKG_MGF1_SHA256, SaltLen: 32}})
	require.NoError(tb, err)
	return &Request{
			Id: 1234, MinRevision: 56789, Credential: make([]byte, 96), TimeoutMs: 30000,
			Body: &Request_Step{&Step{Kind: 3, Mechanism: m, Key: &Object{Id: "0123456789abcdef0123456789abcdef", Token: true, Private: true},
				Act: Act_ACT_FINISH, Data: make([]byte, 32)}},
		}, &Reply{
			Id: 1234, Revision: 56789, Members: 3,
			Body: &Reply_Stepped{&Stepped{Output: make([]byte, 256)}},
		}
}

// BenchmarkStep is what both sides spend on encoding and decoding one step.
func BenchmarkStep(b *testing.B) {
	request, reply := step(b)
	var buf []byte
	var err error
	b.ReportAllocs()
	for b.Loop() {
		if buf, err = (proto.MarshalOptions{}).MarshalAppend(buf[:0], request); err != nil {
			b.Fatal(err)
		}
		var in Request
		if err := Unmarshal(buf, &in); err != nil {
			b.Fatal(err)
		}
		if _, err := ToMechanism(in.GetStep().Mechanism); err != nil {
			b.Fatal(err)
		}
		if buf, err = (proto.MarshalOptions{}).MarshalAppend(buf[:0], reply); err != nil {
			b.Fatal(err)
		}
		var answer Reply
		if err := proto.Unmarshal(buf, &answer); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkCheck is what the codec's check costs of that.
func BenchmarkCheck(b *testing.B) {
	request, _ := step(b)
	buf, err := proto.Marshal(request)
	require.NoError(b, err)
	d := request.ProtoReflect().Descriptor()
	b.ReportAllocs()
	for b.Loop() {
		c := counter{left: MaxElements}
		if err := c.message(buf, d, maxNesting); err != nil {
			b.Fatal(err)
		}
	}
}
