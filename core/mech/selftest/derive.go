package selftest

import (
	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// deriveTests are those of derivations that are no hash of a key and no agreement.
var deriveTests = []test{
	{"BASE_AND_KEY", mechanisms{pkcs11.CKM_CONCATENATE_BASE_AND_KEY}, func(b *bench) error {
		return b.derive(pkcs11.CKM_CONCATENATE_BASE_AND_KEY, b.base(), first, 0, b.field(2), b.field(1))
	}},
	{"BASE_AND_DATA", mechanisms{pkcs11.CKM_CONCATENATE_BASE_AND_DATA}, simple(pkcs11.CKM_CONCATENATE_BASE_AND_DATA)},
	{"DATA_AND_BASE", mechanisms{pkcs11.CKM_CONCATENATE_DATA_AND_BASE}, simple(pkcs11.CKM_CONCATENATE_DATA_AND_BASE)},
	{"XOR", mechanisms{pkcs11.CKM_XOR_BASE_AND_DATA}, simple(pkcs11.CKM_XOR_BASE_AND_DATA)},
	{"EXTRACT", mechanisms{pkcs11.CKM_EXTRACT_KEY_FROM_KEY}, func(b *bench) error {
		return b.derive(pkcs11.CKM_EXTRACT_KEY_FROM_KEY, b.base(), pkcs11.MACGeneralParams(b.field(1)[0]), 2, b.field(2))
	}},
	{"HKDF", mechanisms{pkcs11.CKM_HKDF_DERIVE, pkcs11.CKM_HKDF_DATA}, func(b *bench) error {
		p := &pkcs11.HKDFParams{Extract: true, Expand: true, Hash: pkcs11.CKM_SHA256, SaltType: uint(pkcs11.CKF_HKDF_SALT_DATA), Salt: b.field(1), Info: b.field(2)}
		okm := b.field(4)
		return all(b.derive(pkcs11.CKM_HKDF_DERIVE, b.base(), p, len(okm), okm), b.derive(pkcs11.CKM_HKDF_DATA, b.base(), p, len(okm), okm))
	}},
	{"SP800-108-COUNTER", mechanisms{pkcs11.CKM_SP800_108_COUNTER_KDF, pkcs11.CKM_CLOUDHSM_SP800_108_COUNTER_KDF}, func(b *bench) error {
		p := &pkcs11.SP800108KDFParams{PRF: pkcs11.CKM_SHA224_HMAC, Data: append(iteration(32), fixed(b.field(2)))}
		return b.derive(pkcs11.CKM_SP800_108_COUNTER_KDF, b.base(), p, len(b.field(3)), b.field(3))
	}},
	{"SP800-108-FEEDBACK", mechanisms{pkcs11.CKM_SP800_108_FEEDBACK_KDF}, func(b *bench) error {
		p := &pkcs11.SP800108FeedbackParams{PRF: pkcs11.CKM_SHA256_HMAC, Data: append(counted(32), fixed(b.field(2))), IV: b.field(1)}
		return b.derive(pkcs11.CKM_SP800_108_FEEDBACK_KDF, b.base(), p, len(b.field(3)), b.field(3))
	}},
	{"SP800-108-PIPELINE", mechanisms{pkcs11.CKM_SP800_108_DOUBLE_PIPELINE_KDF}, func(b *bench) error {
		p := &pkcs11.SP800108KDFParams{PRF: pkcs11.CKM_AES_CMAC, Data: append(counted(8), fixed(b.field(2)))}
		return b.derive(pkcs11.CKM_SP800_108_DOUBLE_PIPELINE_KDF, secretKey(pkcs11.CKK_AES, b.field(0)), p, len(b.field(3)), b.field(3))
	}},
	{"PBKDF2", mechanisms{pkcs11.CKM_PKCS5_PBKD2}, func(b *bench) error {
		p := &pkcs11.PBKD2Params{SaltSource: pkcs11.CKZ_SALT_SPECIFIED, Salt: b.field(1), Iterations: 1, PRF: pkcs11.CKP_PKCS5_PBKD2_HMAC_SHA256, Password: b.field(0)}
		got, err := b.row(pkcs11.CKM_PKCS5_PBKD2).Generate(p, pkcs11.Template{pkcs11.AttrUlong(pkcs11.CKA_VALUE_LEN, uint(len(b.field(2))))})
		return same("deriving from a password", got.Bytes(pkcs11.CKA_VALUE), b.field(2), err)
	}},
	{"TLS12-KEYS", mechanisms{pkcs11.CKM_TLS12_KEY_AND_MAC_DERIVE, pkcs11.CKM_TLS12_KEY_SAFE_DERIVE}, tlsKeys},
	{"TLS12-MASTER", mechanisms{pkcs11.CKM_TLS12_MASTER_KEY_DERIVE, pkcs11.CKM_TLS12_MASTER_KEY_DERIVE_DH}, func(b *bench) error {
		p := &pkcs11.TLS12MasterKeyDeriveParams{Random: pkcs11.SSL3RandomData{Client: b.field(1)[:32], Server: b.field(1)[32:]}, Hash: pkcs11.CKM_SHA256}
		return all(b.derive(pkcs11.CKM_TLS12_MASTER_KEY_DERIVE, b.base(), p, 48, b.field(2)),
			b.derive(pkcs11.CKM_TLS12_MASTER_KEY_DERIVE_DH, b.base(), p, 48, b.field(2)))
	}},
	{"TLS12-EXTENDED", mechanisms{pkcs11.CKM_TLS12_EXTENDED_MASTER_KEY_DERIVE, pkcs11.CKM_TLS12_EXTENDED_MASTER_KEY_DERIVE_DH}, func(b *bench) error {
		p := &pkcs11.TLS12ExtendedMasterKeyDeriveParams{SessionHash: b.field(1), Hash: pkcs11.CKM_SHA256}
		return all(b.derive(pkcs11.CKM_TLS12_EXTENDED_MASTER_KEY_DERIVE, b.base(), p, 0, b.field(2)),
			b.derive(pkcs11.CKM_TLS12_EXTENDED_MASTER_KEY_DERIVE_DH, b.base(), p, 0, b.field(2)))
	}},
	{"TLS12-MAC", mechanisms{pkcs11.CKM_TLS_MAC, pkcs11.CKM_TLS12_MAC}, func(b *bench) error {
		p := &pkcs11.TLSMACParams{Hash: pkcs11.CKM_SHA256, Length: uint(len(b.field(2))), Side: 1}
		return all(b.mac(pkcs11.CKM_TLS_MAC, b.base(), p, b.field(1), b.field(2)), b.mac(pkcs11.CKM_TLS12_MAC, b.base(), p, b.field(1), b.field(2)))
	}},
	{"TLS12-KDF", mechanisms{pkcs11.CKM_TLS_KDF, pkcs11.CKM_TLS12_KDF}, func(b *bench) error {
		p := &pkcs11.TLSKDFParams{Hash: pkcs11.CKM_SHA256, Label: b.field(1), Random: pkcs11.SSL3RandomData{Client: b.field(2)[:32], Server: b.field(2)[32:]}}
		return all(b.derive(pkcs11.CKM_TLS_KDF, b.base(), p, len(b.field(3)), b.field(3)), b.derive(pkcs11.CKM_TLS12_KDF, b.base(), p, len(b.field(3)), b.field(3)))
	}},
	{"IKE1", mechanisms{pkcs11.CKM_IKE1_PRF_DERIVE}, func(b *bench) error {
		p := &pkcs11.IKE1PRFParams{PRF: pkcs11.CKM_SHA256_HMAC, KeyGXY: first, CKYi: b.field(3), CKYr: b.field(4), KeyNumber: b.field(6)[0]}
		return b.derive(pkcs11.CKM_IKE1_PRF_DERIVE, b.base(), p, 0, b.field(7), b.field(1))
	}},
	{"IKE-PRF", mechanisms{pkcs11.CKM_IKE_PRF_DERIVE}, func(b *bench) error {
		p := &pkcs11.IKEPRFParams{PRF: pkcs11.CKM_SHA256_HMAC, DataAsKey: true, Ni: b.field(3), Nr: b.field(4)}
		return b.derive(pkcs11.CKM_IKE_PRF_DERIVE, b.base(), p, 0, b.field(7))
	}},
	{"IKE2-PLUS", mechanisms{pkcs11.CKM_IKE2_PRF_PLUS_DERIVE}, func(b *bench) error {
		p := &pkcs11.IKE2PRFPlusParams{PRF: pkcs11.CKM_SHA256_HMAC, SeedData: b.field(5)}
		return b.derive(pkcs11.CKM_IKE2_PRF_PLUS_DERIVE, b.base(), p, len(b.field(7)), b.field(7))
	}},
	{"IKE1-EXTENDED", mechanisms{pkcs11.CKM_IKE1_EXTENDED_DERIVE}, func(b *bench) error {
		p := &pkcs11.IKE1ExtendedParams{PRF: pkcs11.CKM_SHA256_HMAC, ExtraData: b.field(5)}
		return b.derive(pkcs11.CKM_IKE1_EXTENDED_DERIVE, b.base(), p, len(b.field(7)), b.field(7))
	}},
	{"PUBLIC-OF-PRIVATE", mechanisms{pkcs11.CKM_PUB_KEY_FROM_PRIV_KEY}, func(b *bench) error {
		private, public, err := b.pair(pkcs11.CKM_EC_KEY_PAIR_GEN, pkcs11.CKK_EC, pkcs11.Template{p256}, nil)
		if err != nil {
			return err
		}
		d, err := b.row(pkcs11.CKM_PUB_KEY_FROM_PRIV_KEY).Run(&mech.Derivation{Base: private, KeyType: b.registry.KeyType(pkcs11.CKK_EC), Sizes: []int{0}})
		if err != nil {
			return err
		}
		return same("the public key", d.Keys[0].Bytes(pkcs11.CKA_EC_POINT), public.Bytes(pkcs11.CKA_EC_POINT), nil)
	}},
}

// base is the key of a derivation: the first field, or for HKDF's answers the input key material.
func (b *bench) base() mech.Key { return secretKey(pkcs11.CKK_GENERIC_SECRET, b.field(0)) }

func simple(m pkcs11.MechanismType) func(b *bench) error {
	return func(b *bench) error {
		return b.derive(m, b.base(), &pkcs11.KeyDerivationString{Data: b.field(1)}, 0, b.field(2))
	}
}

func iteration(bits uint) []pkcs11.PRFData {
	return []pkcs11.PRFData{{Type: pkcs11.CK_SP800_108_ITERATION_VARIABLE, Counter: &pkcs11.SP800108Counter{Bits: bits}}}
}

func counted(bits uint) []pkcs11.PRFData {
	return []pkcs11.PRFData{{Type: pkcs11.CK_SP800_108_ITERATION_VARIABLE}, {Type: pkcs11.CK_SP800_108_COUNTER, Counter: &pkcs11.SP800108Counter{Bits: bits}}}
}

func fixed(data []byte) pkcs11.PRFData {
	return pkcs11.PRFData{Type: pkcs11.CK_SP800_108_BYTE_ARRAY, Value: data}
}

// tlsKeys cuts the beginning of a known key block into two MAC keys and two keys.
func tlsKeys(b *bench) error {
	random := pkcs11.SSL3RandomData{Server: b.field(1)[:32], Client: b.field(1)[32:]}
	p := &pkcs11.TLS12KeyMatParams{MACBits: 256, KeyBits: 128, Hash: pkcs11.CKM_SHA256, Random: random,
		Made: &pkcs11.SSL3KeyMatOut{ClientIV: pkcs11.Output{Wanted: true}, ServerIV: pkcs11.Output{Wanted: true}}, IVBits: 128}
	d, err := b.row(pkcs11.CKM_TLS12_KEY_AND_MAC_DERIVE).Run(&mech.Derivation{Base: b.base(), Param: p, Sizes: []int{32, 32, 16, 16}})
	if err != nil {
		return err
	}
	var block []byte
	for _, k := range d.Keys {
		block = append(block, k.Bytes(pkcs11.CKA_VALUE)...)
	}
	for _, o := range d.Outputs {
		block = append(block, o...)
	}
	return same("the key block", block, b.field(2), nil)
}
