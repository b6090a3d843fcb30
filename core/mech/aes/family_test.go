package aes

import (
	"testing"

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/mech/mechtest"
	"github.com/coffer-hsm/coffer/pkcs11"
)

func rowOf(t testing.TB, typ pkcs11.MechanismType) *mech.Mechanism {
	t.Helper()
	for i := range Family.Mechanisms {
		if Family.Mechanisms[i].Type == typ {
			return &Family.Mechanisms[i]
		}
	}
	t.Fatalf("no row for %v", typ)
	return nil
}

func testKey(size int) mech.Key {
	value := make([]byte, size)
	for i := range value {
		value[i] = byte(i)
	}
	return mechtest.Secret(pkcs11.CKK_AES, value)
}

// keyFor returns a key of size bytes that the row takes, or the double one of XTS.
func keyFor(row *mech.Mechanism, size int) mech.Key {
	if row.KeyTypes[0] == pkcs11.CKK_AES_XTS {
		return mechtest.Secret(pkcs11.CKK_AES_XTS, testKey(2*size).Bytes(pkcs11.CKA_VALUE))
	}
	return testKey(min(size, int(row.Max)))
}

// cases says what every row takes; TestFamily fails for a row that is missing here.
var cases = map[pkcs11.MechanismType]mechtest.Case{
	pkcs11.CKM_AES_KEY_GEN: {
		Templates: []pkcs11.Template{
			{pkcs11.AttrUlong(pkcs11.CKA_VALUE_LEN, 16)},
			{pkcs11.AttrUlong(pkcs11.CKA_VALUE_LEN, 24)},
			{pkcs11.AttrUlong(pkcs11.CKA_VALUE_LEN, 32)},
		},
	},
	pkcs11.CKM_AES_ECB:     {Takes: multiple(16, 0)},
	pkcs11.CKM_AES_CBC:     {Takes: multiple(16, 0), Params: []any{pkcs11.IV("initialisation16")}},
	pkcs11.CKM_AES_CBC_PAD: {Params: []any{pkcs11.IV("initialisation16")}},
	pkcs11.CKM_AES_CTR: {Params: []any{
		&pkcs11.CTRParams{CounterBits: 128},
		&pkcs11.CTRParams{CounterBits: 32, CB: [16]byte{1, 2, 3, 15: 1}},
		&pkcs11.CTRParams{CounterBits: 7},
	}},
	pkcs11.CKM_AES_GCM: {Authentic: true, Params: []any{
		&pkcs11.GCMParams{IV: []byte("twelve bytes"), IVBits: 96, TagBits: 128, AAD: []byte("header")},
		&pkcs11.GCMParams{IV: []byte("twelve bytes"), TagBits: 96},
		&pkcs11.GCMParams{IV: []byte("1"), TagBits: 128},
		&pkcs11.GCMParams{IV: []byte("an IV of twenty bytes"), TagBits: 104, AAD: make([]byte, 100)},
		&pkcs11.GCMParams{IV: []byte("twelve bytes"), TagBits: 64},
	}},
	pkcs11.CKM_AES_KEY_WRAP: {
		Authentic: true, Takes: multiple(8, 16), Params: []any{nil, pkcs11.IV("8 bytes!")},
	},
	pkcs11.CKM_AES_KEY_WRAP_PAD:   {Authentic: true, Takes: atLeast(1), Params: []any{nil, pkcs11.IV("four")}},
	pkcs11.CKM_AES_KEY_WRAP_KWP:   {Authentic: true, Takes: atLeast(1), Params: []any{nil, pkcs11.IV("four")}},
	pkcs11.CKM_AES_KEY_WRAP_PKCS7: {Authentic: true, Takes: atLeast(8), WrapTakes: atLeast(8), Params: []any{nil, pkcs11.IV("8 bytes!")}},
	pkcs11.CKM_CLOUDHSM_AES_GCM: {Authentic: true, Params: []any{
		&pkcs11.GCMParams{TagBits: 128, AAD: []byte("header")},
		&pkcs11.GCMParams{IVBits: 96, TagBits: 64},
	}},
	pkcs11.CKM_CLOUDHSM_AES_KEY_WRAP_NO_PAD:    {Authentic: true, WrapTakes: multiple(8, 16)},
	pkcs11.CKM_CLOUDHSM_AES_KEY_WRAP_PKCS5_PAD: {Authentic: true, WrapTakes: atLeast(8)},
	pkcs11.CKM_CLOUDHSM_AES_KEY_WRAP_ZERO_PAD:  {Authentic: true},

	pkcs11.CKM_AES_CMAC: {FixedSize: true},
	// Tags shorter than four bytes are allowed, but a changed bit may well pass.
	pkcs11.CKM_AES_CMAC_GENERAL: {FixedSize: true, Params: []any{pkcs11.MACGeneralParams(16), pkcs11.MACGeneralParams(8), pkcs11.MACGeneralParams(4)}},
	pkcs11.CKM_AES_MAC:          {FixedSize: true},
	pkcs11.CKM_AES_MAC_GENERAL:  {FixedSize: true, Params: []any{pkcs11.MACGeneralParams(16), pkcs11.MACGeneralParams(4)}},
	pkcs11.CKM_AES_XCBC_MAC:     {FixedSize: true},
	pkcs11.CKM_AES_XCBC_MAC_96:  {FixedSize: true},
	pkcs11.CKM_AES_GMAC: {FixedSize: true, Params: []any{
		&pkcs11.GCMParams{IV: []byte("twelve bytes"), IVBits: 96, TagBits: 128},
		&pkcs11.GCMParams{IV: []byte("1"), TagBits: 96},
	}},
	pkcs11.CKM_AES_OFB:    {Params: []any{pkcs11.IV("initialisation16")}},
	pkcs11.CKM_AES_CFB1:   {Params: []any{pkcs11.IV("initialisation16")}},
	pkcs11.CKM_AES_CFB8:   {Params: []any{pkcs11.IV("initialisation16")}},
	pkcs11.CKM_AES_CFB64:  {Params: []any{pkcs11.IV("initialisation16")}},
	pkcs11.CKM_AES_CFB128: {Params: []any{pkcs11.IV("initialisation16")}},
	pkcs11.CKM_AES_CTS:    {Takes: atLeast(16), Params: []any{pkcs11.IV("initialisation16")}},
	pkcs11.CKM_AES_XTS:    {Takes: atLeast(16), Params: []any{pkcs11.IV("a data unit's no."[:16])}},
	pkcs11.CKM_AES_XTS_KEY_GEN: {
		Templates: []pkcs11.Template{{pkcs11.AttrUlong(pkcs11.CKA_VALUE_LEN, 32)}, {pkcs11.AttrUlong(pkcs11.CKA_VALUE_LEN, 64)}},
	},
	pkcs11.CKM_AES_CCM: {Authentic: true, Takes: exactly(50), WrapTakes: atLeast(0), Params: []any{
		&pkcs11.CCMParams{DataLen: 50, Nonce: []byte("thirteen byte"), AAD: []byte("header"), MACLen: 16},
		&pkcs11.CCMParams{DataLen: 50, Nonce: []byte("7 bytes"), MACLen: 10},
	}},
	pkcs11.CKM_AES_ECB_ENCRYPT_DATA: {Params: []any{
		&pkcs11.KeyDerivationString{Data: make([]byte, 64)},
	}},
	pkcs11.CKM_AES_CBC_ENCRYPT_DATA: {Params: []any{
		&pkcs11.AESCBCEncryptDataParams{IV: [16]byte{1}, Data: make([]byte, 64)},
	}},
}

func multiple(unit, least int) func(int) bool {
	return func(n int) bool { return n >= least && n%unit == 0 }
}

func exactly(n int) func(int) bool { return func(m int) bool { return m == n } }

func atLeast(least int) func(int) bool { return func(n int) bool { return n >= least } }

func TestFamily(t *testing.T) {
	for i := range Family.Mechanisms {
		row := &Family.Mechanisms[i]
		c, ok := cases[row.Type]
		if !ok {
			t.Errorf("%v has no case", row.Type)
			continue
		}
		c.Row = row
		if row.Generate == nil {
			c.Key = keyFor(row, 32)
		}
		mechtest.Run(t, c)
	}
}

func TestKeySizes(t *testing.T) {
	for n := range 70 {
		value := make([]byte, n)
		valid := n == 16 || n == 24 || n == 32
		add, err := lengths.Check(pkcs11.CKO_SECRET_KEY, pkcs11.Template{pkcs11.Attr(pkcs11.CKA_VALUE, value)})
		if got, _ := add.Uint(pkcs11.CKA_VALUE_LEN); valid && (err != nil || got != uint(n)) {
			t.Errorf("%d bytes: CKA_VALUE_LEN %d, error %v", n, got, err)
		} else if !valid && pkcs11.RVOf(err) != pkcs11.CKR_ATTRIBUTE_VALUE_INVALID {
			t.Errorf("%d bytes: error %v, want CKR_ATTRIBUTE_VALUE_INVALID", n, err)
		}
		_, err = rowOf(t, pkcs11.CKM_AES_ECB).Encrypt(mechtest.Secret(pkcs11.CKK_AES, value), nil)
		if !valid && pkcs11.RVOf(err) != pkcs11.CKR_KEY_SIZE_RANGE {
			t.Errorf("encrypt with %d bytes: error %v, want CKR_KEY_SIZE_RANGE", n, err)
		}
		if (CheckValue(value) != nil) != valid {
			t.Errorf("%d bytes: check value %x", n, CheckValue(value))
		}
	}
	if got := CheckValue(make([]byte, 16)); string(got) != "\x66\xe9\x4b" { // FIPS 197 of zeros
		t.Errorf("check value %x", got)
	}
}

// TestKeysAreReadOnce sees to it that the expanded forms are kept.
func TestKeysAreReadOnce(t *testing.T) {
	k := &counting{Key: testKey(16)}
	for _, typ := range []pkcs11.MechanismType{pkcs11.CKM_AES_CBC, pkcs11.CKM_AES_GCM, pkcs11.CKM_AES_CMAC, pkcs11.CKM_AES_KEY_WRAP_KWP} {
		row, c := rowOf(t, typ), cases[typ]
		var param any
		if len(c.Params) > 0 {
			param = c.Params[0]
		}
		for range 3 {
			var err error
			if row.Encrypt != nil {
				_, err = row.Encrypt(k, param)
			} else {
				_, err = row.Sign(k, param)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	if k.built != 2 {
		t.Errorf("%d forms were built, want the block cipher and GCM", k.built)
	}
}

type counting struct {
	mech.Key
	built int
}

func (c *counting) Expanded(slot mech.Slot, build func() (any, error)) (any, error) {
	return c.Key.Expanded(slot, func() (any, error) {
		c.built++
		return build()
	})
}
