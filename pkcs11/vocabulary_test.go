package pkcs11

import (
	"reflect"
	"testing"
)

// TestNamesComeBack: every name of the tables is what its own value prints and parses to.
func TestNamesComeBack(t *testing.T) {
	for _, n := range []names{
		namesRV, namesAttributeType, namesObjectClass, namesKeyType, namesCertificateType, namesMechanismType, namesUserType,
	} {
		last, primary := uint(0), ""
		for i, c := range n.all {
			if v, ok := n.parse(c.name); !ok || v != c.value {
				t.Errorf("%s parses to %#x, %v; expected %#x", c.name, v, ok, c.value)
			}
			if i == 0 || c.value != last {
				primary = c.name
			}
			if c.value < last {
				t.Errorf("%s is out of order", c.name)
			}
			last = c.value
			if got := n.text(c.value); got != primary {
				t.Errorf("%#x prints as %s, expected %s", c.value, got, primary)
			}
		}
	}
}

func TestDeprecatedNamesPrintAsCurrentOnes(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{CKM_ECDSA_KEY_PAIR_GEN.String(), "CKM_EC_KEY_PAIR_GEN"},
		{CKK_ECDSA.String(), "CKK_EC"},
		{CKA_ECDSA_PARAMS.String(), "CKA_EC_PARAMS"},
		{CKM_CAST5_CBC.String(), "CKM_CAST128_CBC"},
		{MechanismType(0x80001234).String(), "CKM_0x80001234"},
		{RV(0x4711).String(), "CKR_0x00004711"},
	} {
		if c.got != c.want {
			t.Errorf("got %s, expected %s", c.got, c.want)
		}
	}
	for _, name := range []string{"CKM_0x80001234", "0x80001234", "2147488308"} {
		if m, ok := ParseMechanism(name); !ok || m != 0x80001234 {
			t.Errorf("%s parses to %#x, %v", name, uint(m), ok)
		}
	}
	for _, name := range []string{"", "CKM_", "CKM_AES", "AES"} {
		if m, ok := ParseMechanism(name); ok {
			t.Errorf("%q parses to %v", name, m)
		}
	}
}

func TestAttributeKinds(t *testing.T) {
	for a, want := range map[AttributeType]Kind{
		CKA_TOKEN: KindBool, CKA_CLASS: KindUlong, CKA_ID: KindBytes, CKA_LABEL: KindString, CKA_MODULUS: KindBigInt,
		CKA_START_DATE: KindDate, CKA_ALLOWED_MECHANISMS: KindMechanisms, CKA_UNWRAP_TEMPLATE: KindTemplate,
		CKA_HSS_LMS_TYPES: KindUlongs, AttributeType(0x62a).Normalize(): KindTemplate,
	} {
		if k, ok := a.Kind(); !ok || k != want {
			t.Errorf("%v has the kind %d, %v; expected %d", a, k, ok, want)
		}
	}
	for _, a := range []AttributeType{CKA_VENDOR_DEFINED, 0x62a, 0x7777} {
		if k, ok := a.Kind(); ok {
			t.Errorf("%v is known, kind %d", a, k)
		}
	}
}

func TestMechanismParams(t *testing.T) {
	for m, want := range map[MechanismType]ParamKind{
		CKM_RSA_PKCS: ParamNone, CKM_AES_CBC: ParamIV, CKM_DH_PKCS_DERIVE: ParamIV, CKM_SHA256_HMAC_GENERAL: ParamUlong,
		CKM_AES_GCM: ParamGCM, CKM_AES_GMAC: ParamGCM, CKM_AES_CTR: ParamCTR, CKM_RSA_PKCS_OAEP: ParamOAEP,
		CKM_SHA3_512_RSA_PKCS_PSS: ParamPSS, CKM_ECDH1_DERIVE: ParamECDH1Derive, CKM_RSA_AES_KEY_WRAP: ParamRSAAESKeyWrap,
		CKM_EDDSA: ParamEdDSA, CKM_XOR_BASE_AND_DATA: ParamKeyDerivationString,
		CKM_AES_CBC_ENCRYPT_DATA: ParamAESCBCEncryptData, CKM_CMS_SIG: ParamUnknown, 0x80001234: ParamUnknown,
		CKM_ML_DSA: ParamSignContext, CKM_HASH_SLH_DSA: ParamHashSignContext,
	} {
		if got := m.ParamKind(); got != want {
			t.Errorf("%v has the parameter kind %d, expected %d", m, got, want)
		}
	}
	for m, want := range map[MechanismType]int{CKM_AES_CBC: 16, CKM_DES3_CBC: 8, CKM_DH_PKCS_DERIVE: 0, CKM_AES_KEY_WRAP_KWP: 4} {
		if got := m.IVLen(); got != want {
			t.Errorf("%v takes %d bytes, expected %d", m, got, want)
		}
	}
	if !CKM_AES_KEY_WRAP.ParamOptional() || CKM_AES_CBC.ParamOptional() {
		t.Error("CKM_AES_KEY_WRAP may go without its IV, CKM_AES_CBC may not")
	}
}

// TestParamsSurviveTheirEncoding: what is nil stays nil, what is empty stays empty.
func TestParamsSurviveTheirEncoding(t *testing.T) {
	for m, params := range map[MechanismType][]any{
		CKM_AES_CBC:             {nil, IV("sixteen bytes iv"), IV{}, IV(nil)},
		CKM_SHA256_HMAC_GENERAL: {MACGeneralParams(0), MACGeneralParams(1 << 40)},
		CKM_AES_GCM:             {&GCMParams{IV: []byte("iv"), AAD: []byte{}, TagBits: 128}, &GCMParams{}},
		CKM_AES_CTR:             {&CTRParams{CounterBits: 7, CB: [16]byte{1, 15: 2}}},
		CKM_RSA_AES_KEY_WRAP:    {&RSAAESKeyWrapParams{AESKeyBits: 256}, &RSAAESKeyWrapParams{OAEP: &OAEPParams{HashAlg: CKM_SHA_1}}},
		CKM_SHA256:              {nil},
	} {
		for _, p := range params {
			b, err := MarshalParams(p)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := UnmarshalParams(m, b); err != nil || !reflect.DeepEqual(got, p) {
				t.Errorf("%v: %#v has become %#v, error %v", m, p, got, err)
			}
		}
	}
	for _, m := range []MechanismType{CKM_SHA256, CKM_AES_GCM, CKM_AES_CBC, CKM_SHA256_HMAC_GENERAL, 0x7777} {
		if p, err := UnmarshalParams(m, []byte("[")); err == nil || p != nil {
			t.Errorf("%v: no error", m)
		}
	}
	if _, err := MarshalParams(func() {}); err == nil {
		t.Error("a function has been encoded")
	}
}
