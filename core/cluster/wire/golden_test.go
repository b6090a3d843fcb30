package wire

import (
	"encoding/hex"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// golden are messages and their bytes. Another client may have been written against them: the bytes are never changed,
// cases are added.
var golden = []struct {
	name string
	m    func(testing.TB) proto.Message
	hex  string
}{
	{"hello", func(testing.TB) proto.Message {
		return &Request{Id: 1, Body: &Request_Hello{&Hello{Protocol: 1, Version: "1.0"}}}
	}, "0801 5207 0801 1203 312e30"},
	{"login", func(testing.TB) proto.Message {
		return &Request{Id: 2, Operation: []byte("0123456789abcdef"), TimeoutMs: 1000,
			Body: &Request_Login{&Login{User: uint64(pkcs11.CKU_USER), Name: "alice", Pin: []byte("1234")}}}
	}, "0802 1a10 30313233343536373839616263646566 28e807 aa010f 0801 1205 616c696365 1a04 31323334"},
	{"find", func(testing.TB) proto.Message {
		return &Request{Id: 3, MinRevision: 5, Credential: []byte{0xee}, Body: &Request_FindObjects{&FindObjects{
			Template: FromTemplate(pkcs11.Template{
				pkcs11.AttrUlong(pkcs11.CKA_CLASS, pkcs11.CKO_PRIVATE_KEY),
				pkcs11.Attr(pkcs11.CKA_TOKEN, false),
				pkcs11.AttrString(pkcs11.CKA_LABEL, ""),
				pkcs11.Attr(pkcs11.CKA_ALLOWED_MECHANISMS, []pkcs11.MechanismType{pkcs11.CKM_ECDSA}),
				pkcs11.Attr(pkcs11.CKA_WRAP_TEMPLATE, pkcs11.Template{pkcs11.Attr(pkcs11.CKA_SENSITIVE, true)}),
				{Type: pkcs11.CKA_ID},
			})}}}
	}, "0803 1005 2201ee a20236 0a34 0a02 1803 0a04 08011000 0a04 08032200 0a0c 08808c808004 2a04 0a02c120" +
		"0a0f 089184808004 3a07 0a05 0883021001 0a03088202"},
	{"failure", func(testing.TB) proto.Message {
		return &Reply{Id: 4, Revision: 6, Failure: FailureOf(pkcs11.Errorf(pkcs11.CKR_DEVICE_ERROR, "draining: %w", ErrElsewhere))}
	}, "0804 1006 2a26 0830 1220 647261696e696e673a20616e6f74686572206e6f6465206d617920646f206974 1801"},
	{"GCM", mechanism(pkcs11.CKM_AES_GCM, &pkcs11.GCMParams{IV: []byte{1, 2}, IVBits: 16, AAD: []byte{}, TagBits: 128}), "088721 1203 47434d 1a0b 0a020102 1010 1a00 208001"},
	{"CTR", mechanism(pkcs11.CKM_AES_CTR, &pkcs11.CTRParams{CounterBits: 128}), "088621 1203 435452 1a15 088001 1210 00000000000000000000000000000000"},
	{"OAEP in a key wrap", mechanism(pkcs11.CKM_RSA_AES_KEY_WRAP, &pkcs11.RSAAESKeyWrapParams{AESKeyBits: 256,
		OAEP: &pkcs11.OAEPParams{HashAlg: pkcs11.CKM_SHA256, MGF: pkcs11.CKG_MGF1_SHA256, Source: pkcs11.CKZ_DATA_SPECIFIED}}), "08d420 120d 5253414145534b657957726170 1a0c 088002 1207 08d004 1002 1801"},
	{"an IV", mechanism(pkcs11.CKM_AES_KEY_WRAP, pkcs11.IV{0xa6, 0xa6, 0xa6, 0xa6, 0xa6, 0xa6, 0xa6, 0xa6}), "088942 1202 4956 1a08 a6a6a6a6a6a6a6a6"},
	{"a number", mechanism(pkcs11.CKM_SHA256_HMAC_GENERAL, pkcs11.MACGeneralParams(16)), "08d204 1205 556c6f6e67 1a02 0810"},
	{"no parameter", mechanism(pkcs11.CKM_ECDSA, nil), "08c120"},
	{"EdDSA", mechanism(pkcs11.CKM_EDDSA, &pkcs11.EdDSAParams{PhFlag: true, ContextData: []byte("c")}), "08d720 1205 4564445341 1a05 0801 1201 63"},
	{"a context", mechanism(pkcs11.CKM_ML_DSA, &pkcs11.SignContextParams{Hedge: pkcs11.CKH_DETERMINISTIC_REQUIRED, Context: []byte("c")}),
		"081d 120b 5369676e436f6e74657874 1a05 0802 1201 63"},
	{"a context and a hash", mechanism(pkcs11.CKM_HASH_ML_DSA, &pkcs11.HashSignContextParams{Hedge: pkcs11.CKH_HEDGE_REQUIRED, Hash: pkcs11.CKM_SHA256}),
		"081f 120f 486173685369676e436f6e74657874 1a05 0801 18d004"},
}

func mechanism(typ pkcs11.MechanismType, params any) func(testing.TB) proto.Message {
	return func(t testing.TB) proto.Message {
		m, err := FromMechanism(pkcs11.Mechanism{Type: typ, Params: params})
		require.NoError(t, err)
		return m
	}
}

func TestGoldenBytes(t *testing.T) {
	for _, g := range golden {
		t.Run(g.name, func(t *testing.T) {
			m := g.m(t)
			b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
			require.NoError(t, err)
			assert.Equal(t, strings.ReplaceAll(g.hex, " ", ""), hex.EncodeToString(b))
			back := m.ProtoReflect().New().Interface()
			require.NoError(t, proto.Unmarshal(b, back))
			assert.True(t, proto.Equal(m, back))
		})
	}
}
