package kdf

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/mech/mechtest"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// TestTLSGivesTheAnswersOfCAVPAndOpenSSL runs each known answer through the mechanism that its label belongs to.
func TestTLSGivesTheAnswersOfCAVPAndOpenSSL(t *testing.T) {
	hash := map[string]pkcs11.MechanismType{"SHA256": pkcs11.CKM_SHA256, "SHA384": pkcs11.CKM_SHA384, "SHA512": pkcs11.CKM_SHA512}
	ran := map[string]int{}
	for _, v := range mechtest.Vectors(t, "testdata/tls12.txt", 5) {
		key, h, label, seed, want := v.Hex(t, 0), hash[v[1]], string(v.Hex(t, 2)), v.Hex(t, 3), v.Hex(t, 4)
		ran[label]++
		one := func(m pkcs11.MechanismType, p any, size int) {
			t.Helper()
			got, err := derive(t, m, key, nil, p, size)
			require.NoError(t, err)
			assert.Equal(t, want, got, "%v, %s", m, label)
		}
		switch label {
		case "master secret":
			random := pkcs11.SSL3RandomData{Client: seed[:32], Server: seed[32:]}
			one(pkcs11.CKM_TLS12_MASTER_KEY_DERIVE, &pkcs11.TLS12MasterKeyDeriveParams{Random: random, Hash: h}, 0)
			one(pkcs11.CKM_TLS12_MASTER_KEY_DERIVE_DH, &pkcs11.TLS12MasterKeyDeriveParams{Random: random, Hash: h}, 48)
		case "extended master secret":
			one(pkcs11.CKM_TLS12_EXTENDED_MASTER_KEY_DERIVE, &pkcs11.TLS12ExtendedMasterKeyDeriveParams{SessionHash: seed, Hash: h}, 0)
			one(pkcs11.CKM_TLS12_EXTENDED_MASTER_KEY_DERIVE_DH, &pkcs11.TLS12ExtendedMasterKeyDeriveParams{SessionHash: seed, Hash: h}, 0)
		case "key expansion":
			cutKeyBlock(t, key, h, seed, want)
		case "server finished", "client finished":
			side := uint(1)
			if label[0] == 'c' {
				side = 2
			}
			for _, m := range []pkcs11.MechanismType{pkcs11.CKM_TLS_MAC, pkcs11.CKM_TLS12_MAC} {
				s, err := row(t, m).Sign(secretOf(key), &pkcs11.TLSMACParams{Hash: h, Length: uint(len(want)), Side: side})
				require.NoError(t, err)
				got, err := s.Finish(nil, seed)
				require.NoError(t, err)
				assert.Equal(t, want, got, "%v, %s", m, label)
			}
		default:
			p := &pkcs11.TLSKDFParams{Hash: h, Label: []byte(label), Random: pkcs11.SSL3RandomData{Client: seed[:32], Server: seed[32:64]}}
			if len(seed) > 64 {
				p.Context = seed[66:]
			}
			one(pkcs11.CKM_TLS_KDF, p, len(want))
			one(pkcs11.CKM_TLS12_KDF, p, len(want))
		}
	}
	assert.Len(t, ran, 6)
}

// cutKeyBlock cuts the block of 128 bytes in two ways.
func cutKeyBlock(t *testing.T, key []byte, h pkcs11.MechanismType, seed, want []byte) {
	t.Helper()
	for _, s := range []struct{ mac, key, iv int }{{32, 16, 16}, {20, 32, 12}, {0, 60, 4}} {
		p := &pkcs11.TLS12KeyMatParams{MACBits: uint(8 * s.mac), KeyBits: uint(8 * s.key), IVBits: uint(8 * s.iv), Hash: h,
			Random: pkcs11.SSL3RandomData{Server: seed[:32], Client: seed[32:]},
			Made:   &pkcs11.SSL3KeyMatOut{ClientIV: pkcs11.Output{Wanted: true}, ServerIV: pkcs11.Output{Wanted: true}}}
		d := &mech.Derivation{Base: secretOf(key), Param: p, Sizes: []int{s.mac, s.mac, s.key, s.key}}
		made, err := row(t, pkcs11.CKM_TLS12_KEY_AND_MAC_DERIVE).Run(d)
		require.NoError(t, err)
		var all []byte
		for _, k := range made.Keys {
			all = append(all, k.Bytes(pkcs11.CKA_VALUE)...)
		}
		safe, err := row(t, pkcs11.CKM_TLS12_KEY_SAFE_DERIVE).Run(d)
		require.NoError(t, err)
		assert.Equal(t, made.Keys, safe.Keys)
		assert.Equal(t, [][]byte{{}, {}}, safe.Outputs, "IVs of a mechanism that gives none")
		all = append(append(all, made.Outputs[0]...), made.Outputs[1]...)
		assert.Equal(t, want[:len(all)], all)
	}
}

// TestTheVersionComesOut: the first two bytes of the premaster secret of RSA, and never of another.
func TestTheVersionComesOut(t *testing.T) {
	pre := append([]byte{3, 3}, bytes.Repeat([]byte{7}, 46)...)
	random := pkcs11.SSL3RandomData{Client: []byte("c"), Server: []byte("s")}
	wanted := pkcs11.Output{Wanted: true}
	for _, c := range []struct {
		m    pkcs11.MechanismType
		p    any
		want pkcs11.RV
	}{
		{pkcs11.CKM_TLS12_MASTER_KEY_DERIVE, &pkcs11.TLS12MasterKeyDeriveParams{Random: random, Version: wanted, Hash: pkcs11.CKM_SHA256}, pkcs11.CKR_OK},
		{pkcs11.CKM_TLS12_EXTENDED_MASTER_KEY_DERIVE, &pkcs11.TLS12ExtendedMasterKeyDeriveParams{SessionHash: []byte("h"), Version: wanted, Hash: pkcs11.CKM_SHA256}, pkcs11.CKR_OK},
		{pkcs11.CKM_TLS12_MASTER_KEY_DERIVE_DH, &pkcs11.TLS12MasterKeyDeriveParams{Random: random, Version: wanted, Hash: pkcs11.CKM_SHA256}, pkcs11.CKR_MECHANISM_PARAM_INVALID},
		{pkcs11.CKM_TLS12_EXTENDED_MASTER_KEY_DERIVE_DH, &pkcs11.TLS12ExtendedMasterKeyDeriveParams{SessionHash: []byte("h"), Version: wanted, Hash: pkcs11.CKM_SHA256}, pkcs11.CKR_MECHANISM_PARAM_INVALID},
	} {
		made, err := row(t, c.m).Run(&mech.Derivation{Base: secretOf(pre), Param: c.p, Sizes: []int{0}})
		rv(t, c.want, err)
		if err == nil {
			assert.Equal(t, [][]byte{{3, 3}}, made.Outputs)
		}
	}
	_, err := derive(t, pkcs11.CKM_TLS12_MASTER_KEY_DERIVE, pre[:47], nil, &pkcs11.TLS12MasterKeyDeriveParams{Random: random, Hash: pkcs11.CKM_SHA256}, 0)
	rv(t, pkcs11.CKR_KEY_SIZE_RANGE, err)
}

func TestTLSWithstands(t *testing.T) {
	random := pkcs11.SSL3RandomData{Client: make([]byte, 32), Server: make([]byte, 32)}
	made := &pkcs11.SSL3KeyMatOut{ClientIV: pkcs11.Output{Wanted: true}, ServerIV: pkcs11.Output{Wanted: true}}
	base := secretOf(bytes.Repeat([]byte{3}, 48))
	for _, m := range tlsRows {
		c := mechtest.Case{Row: row(t, m.Type), Key: base, FixedSize: true}
		switch {
		case m.Sign != nil:
			c.Params = []any{&pkcs11.TLSMACParams{Hash: pkcs11.CKM_SHA256, Length: 12, Side: 1}, &pkcs11.TLSMACParams{Hash: pkcs11.CKM_SHA384, Length: 20, Side: 2}}
		case m.Type == pkcs11.CKM_TLS12_KEY_AND_MAC_DERIVE || m.Type == pkcs11.CKM_TLS12_KEY_SAFE_DERIVE:
			c.Params = []any{
				&pkcs11.TLS12KeyMatParams{MACBits: 128, KeyBits: 128, IVBits: 96, Random: random, Made: made, Hash: pkcs11.CKM_SHA256},
				&pkcs11.TLS12KeyMatParams{MACBits: 256, KeyBits: 128, Random: random, Made: &pkcs11.SSL3KeyMatOut{}, Hash: pkcs11.CKM_SHA384},
			}
		case m.Type == pkcs11.CKM_TLS_KDF || m.Type == pkcs11.CKM_TLS12_KDF:
			c.Params = []any{&pkcs11.TLSKDFParams{Hash: pkcs11.CKM_SHA256, Label: []byte("label"), Random: random, Context: []byte("context")}}
		case m.Type == pkcs11.CKM_TLS12_MASTER_KEY_DERIVE || m.Type == pkcs11.CKM_TLS12_MASTER_KEY_DERIVE_DH:
			c.Params = []any{&pkcs11.TLS12MasterKeyDeriveParams{Random: random, Hash: pkcs11.CKM_SHA256}}
		default:
			c.Params = []any{&pkcs11.TLS12ExtendedMasterKeyDeriveParams{SessionHash: make([]byte, 32), Hash: pkcs11.CKM_SHA256}}
		}
		mechtest.Run(t, c)
	}
}
