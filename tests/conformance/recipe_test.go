package conformance

import (
	"crypto/dsa" //nolint:staticcheck // a legacy key type's domain parameters
	"crypto/rand"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/core/mech/all"
	"github.com/coffer-hsm/coffer/core/mech/ff"
	"github.com/coffer-hsm/coffer/core/mech/hashes"
	"github.com/coffer-hsm/coffer/pkcs11"

	rows "github.com/coffer-hsm/coffer/core/mech"
)

var theRegistry = sync.OnceValues(all.Full)

func registry(t *testing.T) *rows.Registry {
	t.Helper()
	r, err := theRegistry()
	require.NoError(t, err)
	return r
}

// material says how a key of a type is made. It is made once for each stack and stays readable, so that a test may
// import it anew with other attributes.
type material struct {
	generator       pkcs11.MechanismType
	public, private T // the template of a secret key is private
	values          []pkcs11.AttributeType
	publicValues    []pkcs11.AttributeType
	imported        uint // bytes of a secret key that no mechanism generates
	sizes           []T  // other sizes or curves that the generator makes: the public part, or all of a secret key's
	// stateful says that the private key uses itself up. It can be neither read nor imported, so that a test with other
	// attributes makes a new one.
	stateful bool
}

var (
	byLength = num(pkcs11.CKA_VALUE_LEN, uint(32))
	ecValues = []pkcs11.AttributeType{pkcs11.CKA_EC_PARAMS, pkcs11.CKA_VALUE}
	ecPublic = []pkcs11.AttributeType{pkcs11.CKA_EC_PARAMS, pkcs11.CKA_EC_POINT}
	secret   = []pkcs11.AttributeType{pkcs11.CKA_VALUE}
	ffValues = []pkcs11.AttributeType{pkcs11.CKA_PRIME, pkcs11.CKA_BASE, pkcs11.CKA_VALUE, pkcs11.CKA_SUBPRIME}
)

// ffdhe2048 is a group of RFC 7919: prime, base and the order of the subgroup.
func ffdhe2048() T {
	g := ff.Named(2048)
	return with(octets(pkcs11.CKA_PRIME, g.P.Bytes()), octets(pkcs11.CKA_BASE, g.G.Bytes()), octets(pkcs11.CKA_SUBPRIME, g.Q.Bytes()))
}

// dsa1024 is a group for DSA, made once.
var dsa1024 = sync.OnceValue(func() T {
	var p dsa.Parameters
	if err := dsa.GenerateParameters(&p, rand.Reader, dsa.L1024N160); err != nil {
		panic(err)
	}
	return with(octets(pkcs11.CKA_PRIME, p.P.Bytes()), octets(pkcs11.CKA_SUBPRIME, p.Q.Bytes()), octets(pkcs11.CKA_BASE, p.G.Bytes()))
})

func lengths(n ...uint) (list []T) {
	for _, l := range n {
		list = append(list, num(pkcs11.CKA_VALUE_LEN, l))
	}
	return list
}

func curves(params ...[]byte) (list []T) {
	for _, p := range params {
		list = append(list, octets(pkcs11.CKA_EC_PARAMS, p))
	}
	return list
}

// parameterSets are key pairs that a number describes; the pair that is used most is of the first set.
func parameterSets(g pkcs11.MechanismType, more pkcs11.AttributeType, sets ...pkcs11.ParameterSet) material {
	m := material{generator: g, public: num(pkcs11.CKA_PARAMETER_SET, sets[0]),
		values:       []pkcs11.AttributeType{pkcs11.CKA_PARAMETER_SET, pkcs11.CKA_VALUE},
		publicValues: []pkcs11.AttributeType{pkcs11.CKA_PARAMETER_SET, pkcs11.CKA_VALUE}}
	if more != 0 {
		m.values = append(m.values, more)
	}
	for _, s := range sets {
		m.sizes = append(m.sizes, num(pkcs11.CKA_PARAMETER_SET, s))
	}
	return m
}

// materialOf is the table of key types.
func materialOf(kt pkcs11.KeyType) (material, bool) {
	ec := func(g pkcs11.MechanismType, params []byte, more ...[]byte) material {
		return material{generator: g, public: octets(pkcs11.CKA_EC_PARAMS, params), values: ecValues, publicValues: ecPublic,
			sizes: curves(append(more, params)...)}
	}
	switch kt {
	case pkcs11.CKK_AES:
		return material{generator: pkcs11.CKM_AES_KEY_GEN, private: byLength, values: secret, sizes: lengths(16, 24, 32)}, true
	case pkcs11.CKK_AES_XTS:
		return material{generator: pkcs11.CKM_AES_XTS_KEY_GEN, private: byLength, values: secret, sizes: lengths(32, 64)}, true
	case pkcs11.CKK_CHACHA20:
		return material{generator: pkcs11.CKM_CHACHA20_KEY_GEN, values: secret, sizes: []T{{}, byLength}}, true
	case pkcs11.CKK_SALSA20:
		return material{generator: pkcs11.CKM_SALSA20_KEY_GEN, values: secret, sizes: []T{{}, byLength}}, true
	case pkcs11.CKK_POLY1305:
		return material{generator: pkcs11.CKM_POLY1305_KEY_GEN, values: secret, sizes: []T{{}, byLength}}, true
	case pkcs11.CKK_DES:
		return material{generator: pkcs11.CKM_DES_KEY_GEN, values: secret, sizes: []T{{}}}, true
	case pkcs11.CKK_DES2:
		return material{generator: pkcs11.CKM_DES2_KEY_GEN, values: secret, sizes: []T{{}}}, true
	case pkcs11.CKK_DES3:
		return material{generator: pkcs11.CKM_DES3_KEY_GEN, values: secret, sizes: []T{{}}}, true
	case pkcs11.CKK_BLOWFISH:
		return material{generator: pkcs11.CKM_BLOWFISH_KEY_GEN, private: byLength, values: secret, sizes: lengths(1, 16, 56)}, true
	case pkcs11.CKK_TWOFISH:
		return material{generator: pkcs11.CKM_TWOFISH_KEY_GEN, private: byLength, values: secret, sizes: lengths(16, 24, 32)}, true
	case pkcs11.CKK_CAST128:
		return material{generator: pkcs11.CKM_CAST128_KEY_GEN, private: lengths(16)[0], values: secret, sizes: lengths(16)}, true
	case pkcs11.CKK_RC4:
		return material{generator: pkcs11.CKM_RC4_KEY_GEN, private: byLength, values: secret, sizes: lengths(1, 16, 256)}, true
	case pkcs11.CKK_HKDF:
		return material{generator: pkcs11.CKM_HKDF_KEY_GEN, private: byLength, values: secret, sizes: lengths(1, 32, 200)}, true
	case pkcs11.CKK_GENERIC_SECRET:
		return material{generator: pkcs11.CKM_GENERIC_SECRET_KEY_GEN, private: num(pkcs11.CKA_VALUE_LEN, uint(48)), values: secret, sizes: lengths(1, 20, 200)}, true
	case pkcs11.CKK_RSA:
		return material{
			generator: pkcs11.CKM_RSA_PKCS_KEY_PAIR_GEN, public: num(pkcs11.CKA_MODULUS_BITS, uint(2048)),
			values: []pkcs11.AttributeType{pkcs11.CKA_MODULUS, pkcs11.CKA_PUBLIC_EXPONENT, pkcs11.CKA_PRIVATE_EXPONENT,
				pkcs11.CKA_PRIME_1, pkcs11.CKA_PRIME_2, pkcs11.CKA_EXPONENT_1, pkcs11.CKA_EXPONENT_2, pkcs11.CKA_COEFFICIENT},
			publicValues: []pkcs11.AttributeType{pkcs11.CKA_MODULUS, pkcs11.CKA_PUBLIC_EXPONENT},
		}, true
	case pkcs11.CKK_DH:
		return material{generator: pkcs11.CKM_DH_PKCS_KEY_PAIR_GEN, public: ffdhe2048()[:2], values: ffValues[:3], publicValues: ffValues[:3]}, true
	case pkcs11.CKK_X9_42_DH:
		return material{generator: pkcs11.CKM_X9_42_DH_KEY_PAIR_GEN, public: ffdhe2048(), values: ffValues, publicValues: ffValues}, true
	case pkcs11.CKK_DSA:
		return material{generator: pkcs11.CKM_DSA_KEY_PAIR_GEN, public: dsa1024(), values: ffValues, publicValues: ffValues}, true
	case pkcs11.CKK_EC:
		return ec(pkcs11.CKM_EC_KEY_PAIR_GEN, p256, p521, []byte{6, 5, 0x2b, 0x81, 4, 0, 33}, []byte{6, 5, 0x2b, 0x81, 4, 0, 34},
			append([]byte{0x13, 5}, "P-256"...)), true
	case pkcs11.CKK_EC_EDWARDS:
		return ec(pkcs11.CKM_EC_EDWARDS_KEY_PAIR_GEN, ed25519, ed448), true
	case pkcs11.CKK_EC_MONTGOMERY:
		return ec(pkcs11.CKM_EC_MONTGOMERY_KEY_PAIR_GEN, x25519, x448), true
	case pkcs11.CKK_HSS: // LMS_SHA256_M32_H10 with LMOTS_SHA256_N32_W1
		return material{generator: pkcs11.CKM_HSS_KEY_PAIR_GEN, stateful: true, private: with(yes(pkcs11.CKA_TOKEN),
			num(pkcs11.CKA_HSS_LEVELS, uint(1)), T{pkcs11.Attr(pkcs11.CKA_HSS_LMS_TYPES, []uint{6}), pkcs11.Attr(pkcs11.CKA_HSS_LMOTS_TYPES, []uint{1})}),
			publicValues: secret}, true
	case pkcs11.CKK_ML_KEM:
		return parameterSets(pkcs11.CKM_ML_KEM_KEY_PAIR_GEN, pkcs11.CKA_SEED, pkcs11.CKP_ML_KEM_512, pkcs11.CKP_ML_KEM_768, pkcs11.CKP_ML_KEM_1024), true
	case pkcs11.CKK_SLH_DSA:
		return parameterSets(pkcs11.CKM_SLH_DSA_KEY_PAIR_GEN, 0, pkcs11.CKP_SLH_DSA_SHA2_128F), true
	case pkcs11.CKK_ML_DSA:
		return parameterSets(pkcs11.CKM_ML_DSA_KEY_PAIR_GEN, pkcs11.CKA_SEED, pkcs11.CKP_ML_DSA_44, pkcs11.CKP_ML_DSA_65, pkcs11.CKP_ML_DSA_87), true
	}
	if kt == pkcs11.CKK_SHA512_T_HMAC {
		return material{generator: pkcs11.CKM_SHA512_T_KEY_GEN, private: byLength, values: secret, sizes: lengths(1, 64, 200)}, true
	}
	for _, h := range hashes.All {
		if h.KeyType == kt && h.KeyGen == 0 {
			return material{imported: 32, values: secret}, true
		}
		if h.KeyType == kt {
			return material{generator: h.KeyGen, private: byLength, values: secret, sizes: lengths(1, 64, 200)}, true
		}
	}
	return material{}, false
}

// readable are the attributes that let the private half be read.
func (m material) readable() T {
	if m.stateful {
		return nil
	}
	return readable
}

// recipe says what a mechanism takes, beyond its row.
type recipe struct {
	params  []any            // valid parameters; nil where it takes none
	lens    []int            // lengths of data that it takes
	refused []int            // some that it does not: CKR_DATA_LEN_RANGE
	whole   bool             // it works on its whole data, or its library gives no state out: it cannot be saved
	sealed  bool             // a changed ciphertext is refused
	random  bool             // two encryptions or signatures of the same data differ
	short   bool             // shorter signatures may be valid: only longer ones have a wrong length
	same    bool             // it generates the same key again: from a password
	zeros   bool             // decryption gives zeros in front back: raw RSA
	targets []pkcs11.KeyType // keys that it can wrap
	secrets []uint           // lengths of what it encapsulates, 0 for its own; 16 and 32 if not said
	wraps   []uint           // lengths of generic secrets that it can wrap

	// derivations are the parameters for a base key of a type, of mechanisms that derive; named is a key that they name.
	derivations func(kt pkcs11.KeyType, named pkcs11.Handle) []any
}

var someLens = []int{0, 1, 15, 16, 17, 33, 64, 100}

// recipeOf is the table of mechanisms. Those that need nothing but a key, or no key, are not in it.
func recipeOf(m *rows.Mechanism, peer func(pkcs11.KeyType) []byte) recipe {
	r := recipe{params: []any{nil}, lens: someLens, wraps: []uint{1, 16, 20}, targets: []pkcs11.KeyType{pkcs11.CKK_AES, pkcs11.CKK_EC}}
	hash := func() *hashes.Hash {
		if h := hashes.ByID(m.Hash); h != nil {
			return h
		}
		return hashes.ByMechanism(pkcs11.CKM_SHA256)
	}
	iv := pkcs11.IV("sixteen bytes iv")
	oaep := &pkcs11.OAEPParams{HashAlg: pkcs11.CKM_SHA256, MGF: pkcs11.CKG_MGF1_SHA256, Source: pkcs11.CKZ_DATA_SPECIFIED}
	labelled := &pkcs11.OAEPParams{HashAlg: pkcs11.CKM_SHA_1, MGF: pkcs11.CKG_MGF1_SHA384, Source: pkcs11.CKZ_DATA_SPECIFIED,
		SourceData: []byte("a label")}
	switch m.Type.ParamKind() {
	case pkcs11.ParamUlong:
		r.params = []any{pkcs11.MACGeneralParams(8), pkcs11.MACGeneralParams(1)}
		if slices.Contains([]pkcs11.MechanismType{pkcs11.CKM_SHA512_T, pkcs11.CKM_SHA512_T_HMAC, pkcs11.CKM_SHA512_T_KEY_DERIVATION}, m.Type) {
			r.params = []any{pkcs11.MACGeneralParams(256), pkcs11.MACGeneralParams(500)}
		}
	case pkcs11.ParamGCM:
		r.sealed, r.params = true, []any{
			&pkcs11.GCMParams{IV: []byte("twelve bytes"), IVBits: 96, AAD: []byte("header"), TagBits: 128},
			&pkcs11.GCMParams{IV: []byte("an IV of another length"), TagBits: 96},
		}
	case pkcs11.ParamCCM:
		// Keys of 32 bytes are wrapped, and as much data is encrypted.
		r.sealed, r.lens, r.refused, r.targets, r.wraps = true, []int{32}, []int{0, 31, 33}, r.targets[:1], []uint{32}
		r.params = []any{
			&pkcs11.CCMParams{DataLen: 32, Nonce: []byte("thirteen byte"), AAD: []byte("header"), MACLen: 16},
			&pkcs11.CCMParams{DataLen: 32, Nonce: []byte("7 bytes"), MACLen: 8},
		}
	case pkcs11.ParamChaCha20:
		r.params = []any{
			&pkcs11.ChaCha20Params{BlockCounter: make([]byte, 4), Nonce: []byte("twelve bytes")},
			&pkcs11.ChaCha20Params{BlockCounter: []byte{0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0}, Nonce: []byte("8 bytes!")},
		}
	case pkcs11.ParamSalsa20:
		r.params = []any{
			&pkcs11.Salsa20Params{BlockCounter: make([]byte, 8), Nonce: []byte("8 bytes!")},
			&pkcs11.Salsa20Params{BlockCounter: iv[:8], Nonce: []byte("a nonce of XSalsa20's 24")},
		}
	case pkcs11.ParamPoly1305:
		r.sealed, r.params = true, []any{
			&pkcs11.Poly1305Params{Nonce: []byte("twelve bytes"), AAD: []byte("header")},
			&pkcs11.Poly1305Params{Nonce: []byte("a nonce of XChaCha20's 24")[:24]},
		}
	case pkcs11.ParamCTR:
		r.params = []any{&pkcs11.CTRParams{CounterBits: 128, CB: [16]byte{15: 1}}, &pkcs11.CTRParams{CounterBits: 32, CB: [16]byte(iv)}}
	case pkcs11.ParamPSS:
		h := hash()
		r.random, r.params = true, []any{
			&pkcs11.PSSParams{HashAlg: h.Mechanism, MGF: h.MGF, SaltLen: uint(h.Size())},
			&pkcs11.PSSParams{HashAlg: h.Mechanism, MGF: pkcs11.CKG_MGF1_SHA1},
		}
	case pkcs11.ParamOAEP:
		r.sealed, r.random, r.params = true, true, []any{oaep, labelled}
		r.lens, r.refused, r.targets = []int{0, 1, 32, 190}, []int{215, 256}, r.targets[:1]
	case pkcs11.ParamRSAAESKeyWrap:
		r.params = []any{&pkcs11.RSAAESKeyWrapParams{AESKeyBits: 256, OAEP: oaep}, &pkcs11.RSAAESKeyWrapParams{AESKeyBits: 128, OAEP: labelled}}
	case pkcs11.ParamECDH1Derive:
		r.params = []any{&pkcs11.ECDH1DeriveParams{KDF: pkcs11.CKD_NULL, PublicData: peer(m.KeyTypes[0])}}
	case pkcs11.ParamECDHAESKeyWrap:
		r.params = []any{&pkcs11.ECDHAESKeyWrapParams{AESKeyBits: 256, KDF: pkcs11.CKD_SHA256_KDF, SharedData: []byte("shared")},
			&pkcs11.ECDHAESKeyWrapParams{AESKeyBits: 128, KDF: pkcs11.CKD_NULL}}
	case pkcs11.ParamX942DH1Derive:
		y := peer(m.KeyTypes[0])
		r.params = []any{&pkcs11.X942DH1DeriveParams{KDF: uint(pkcs11.CKD_NULL), PublicData: y},
			&pkcs11.X942DH1DeriveParams{KDF: uint(pkcs11.CKD_SHA1_KDF_CONCATENATE), OtherInfo: []byte("other"), PublicData: y}}
	case pkcs11.ParamEdDSA:
		r.params = []any{nil, &pkcs11.EdDSAParams{ContextData: []byte("context")}, &pkcs11.EdDSAParams{PhFlag: true}}
	case pkcs11.ParamPBKD2:
		r.same, r.params = true, []any{&pkcs11.PBKD2Params{SaltSource: pkcs11.CKZ_SALT_SPECIFIED, Salt: []byte("salt"), Iterations: 3,
			PRF: pkcs11.CKP_PKCS5_PBKD2_HMAC_SHA256, Password: []byte("password")}}
	case pkcs11.ParamTLSMAC:
		r.whole, r.params = true, []any{&pkcs11.TLSMACParams{Hash: pkcs11.CKM_SHA256, Length: 12, Side: 1}, &pkcs11.TLSMACParams{Hash: pkcs11.CKM_SHA512, Length: 16, Side: 2}}
	case pkcs11.ParamSignContext:
		r.random, r.params = true, []any{nil, &pkcs11.SignContextParams{Hedge: pkcs11.CKH_HEDGE_REQUIRED, Context: []byte("context")}}
	case pkcs11.ParamHashSignContext:
		r.random, r.params = true, []any{&pkcs11.HashSignContextParams{Context: []byte("context"), Hash: pkcs11.CKM_SHA3_256}}
		r.lens, r.refused = []int{32}, []int{0, 31, 33}
	case pkcs11.ParamKeyDerivationString:
		r.params = []any{&pkcs11.KeyDerivationString{Data: make([]byte, 64)}}
	case pkcs11.ParamAESCBCEncryptData:
		r.params = []any{&pkcs11.AESCBCEncryptDataParams{IV: [16]byte(iv), Data: make([]byte, 64)}}
	case pkcs11.ParamDESCBCEncryptData:
		r.params = []any{&pkcs11.DESCBCEncryptDataParams{IV: [8]byte(iv), Data: make([]byte, 64)}}
	case pkcs11.ParamIV:
		r.params = []any{iv}
		if n := m.Type.IVLen(); n > 0 {
			r.params = []any{iv[:n]}
		}
	}
	if m.Derives() {
		r.derivations = derivationsOf(m)
	}
	blocks := []int{0, 16, 32, 160}
	switch m.Type {
	case pkcs11.CKM_DES_ECB, pkcs11.CKM_DES_CBC, pkcs11.CKM_DES3_ECB, pkcs11.CKM_DES3_CBC, pkcs11.CKM_CAST128_ECB,
		pkcs11.CKM_CAST128_CBC, pkcs11.CKM_BLOWFISH_CBC:
		r.lens, r.refused = []int{0, 8, 16, 24, 160}, []int{1, 7, 9}
	case pkcs11.CKM_AES_ECB, pkcs11.CKM_AES_CBC, pkcs11.CKM_TWOFISH_CBC:
		r.lens, r.refused = blocks, []int{1, 15, 17}
	case pkcs11.CKM_AES_CTS, pkcs11.CKM_AES_XTS:
		r.lens, r.refused = []int{16, 17, 31, 32, 100}, []int{0, 1, 15}
	case pkcs11.CKM_AES_GMAC:
		r.params = []any{&pkcs11.GCMParams{IV: []byte("twelve bytes"), IVBits: 96, TagBits: 128}, &pkcs11.GCMParams{IV: []byte("an IV of another length"), TagBits: 96}}
	case pkcs11.CKM_AES_KEY_WRAP:
		r.sealed, r.params = true, []any{nil, pkcs11.IV("8 bytes!")}
		r.lens, r.refused = []int{16, 24, 160}, []int{0, 8, 17}
	case pkcs11.CKM_AES_KEY_WRAP_PAD, pkcs11.CKM_AES_KEY_WRAP_KWP:
		r.sealed, r.params, r.lens, r.refused = true, []any{nil, pkcs11.IV("four")}, []int{1, 7, 8, 9, 100}, []int{0}
	case pkcs11.CKM_AES_KEY_WRAP_PKCS7:
		r.sealed, r.params, r.lens = true, []any{nil, pkcs11.IV("8 bytes!")}, []int{8, 9, 100}
	case pkcs11.CKM_CLOUDHSM_AES_GCM:
		r.random, r.params = true, []any{&pkcs11.GCMParams{AAD: []byte("header"), TagBits: 128}, &pkcs11.GCMParams{TagBits: 96}}
	case pkcs11.CKM_CLOUDHSM_AES_KEY_WRAP_NO_PAD:
		r.sealed, r.wraps, r.targets = true, []uint{16, 24, 200}, r.targets[:1]
	case pkcs11.CKM_CLOUDHSM_AES_KEY_WRAP_PKCS5_PAD, pkcs11.CKM_CLOUDHSM_AES_KEY_WRAP_ZERO_PAD:
		r.sealed = true
	case pkcs11.CKM_RSA_PKCS:
		r.random, r.lens, r.refused, r.targets = true, []int{0, 1, 32, 245}, []int{246, 257}, r.targets[:1]
	case pkcs11.CKM_RSA_X_509:
		r.zeros, r.lens, r.refused, r.secrets = true, []int{1, 32, 255}, []int{257}, []uint{0, 256}
	case pkcs11.CKM_RSA_PKCS_PSS:
		r.lens, r.refused = []int{32}, []int{0, 31, 33}
	case pkcs11.CKM_DSA:
		r.lens, r.refused = []int{20, 32, 64}, []int{0}
	case pkcs11.CKM_DH_PKCS_DERIVE:
		r.params = []any{pkcs11.IV(peer(pkcs11.CKK_DH))}
	case pkcs11.CKM_ECDSA:
		r.lens, r.refused = []int{20, 32, 64}, []int{0}
	}
	switch m.Type {
	case pkcs11.CKM_EDDSA, pkcs11.CKM_AES_GMAC, pkcs11.CKM_AES_CTS, pkcs11.CKM_AES_XTS, pkcs11.CKM_POLY1305, pkcs11.CKM_RC4,
		pkcs11.CKM_RIPEMD160, pkcs11.CKM_RIPEMD160_HMAC, pkcs11.CKM_RIPEMD160_HMAC_GENERAL, pkcs11.CKM_RIPEMD160_RSA_PKCS:
		r.whole = true
	}
	for _, h := range hashes.All {
		if h.Keyed != nil && (m.Type == h.HMAC || m.Type == h.HMACGeneral) {
			r.whole = true
		}
	}
	if m.SecretOnly {
		r.targets = r.targets[:1]
	}
	if slices.Contains(m.KeyTypes, pkcs11.CKK_DSA) {
		r.random = true
	}
	if slices.Contains(m.KeyTypes, pkcs11.CKK_HSS) {
		r.random, r.lens = true, []int{0, 33}
	}
	if slices.Contains(m.KeyTypes, pkcs11.CKK_SLH_DSA) { // slow
		r.params, r.lens, r.whole = r.params[len(r.params)-1:], []int{33}, true
	}
	if slices.Contains(m.KeyTypes, pkcs11.CKK_EC) {
		r.random, r.short = true, true
	}
	return r
}

// keySet is a key of each type, for the life of one battery.
type keySet struct {
	e     *env
	h     session
	made  map[pkcs11.KeyType]*madeKey
	short map[uint]*madeKey // AES keys of other lengths
}

// madeKey is a key and what it is made of. A secret key is both its halves.
type madeKey struct {
	pub, priv  handle
	values     T // of the private half
	pubValues  T
	secret     bool
	privKind   T
	pubKind    T
	everything T // the private half's usage
	from       material
}

func newKeySet(e *env, h session) *keySet {
	return &keySet{e, h, map[pkcs11.KeyType]*madeKey{}, map[uint]*madeKey{}}
}

// fit is of, for a mechanism that takes shorter AES keys only.
func (k *keySet) fit(t *testing.T, kt pkcs11.KeyType, m *rows.Mechanism) *madeKey {
	t.Helper()
	if kt != pkcs11.CKK_AES || m.Max >= 32 {
		return k.of(t, kt)
	}
	if k.short[m.Max] == nil {
		from, _ := materialOf(kt)
		from.private = num(pkcs11.CKA_VALUE_LEN, m.Max)
		k.short[m.Max] = k.make(t, kt, from)
	}
	return k.short[m.Max]
}

// of returns the key of a type.
func (k *keySet) of(t *testing.T, kt pkcs11.KeyType) *madeKey {
	t.Helper()
	if m := k.made[kt]; m != nil {
		return m
	}
	from, known := materialOf(kt)
	require.True(t, known, "no recipe makes a %v: add it to materialOf", kt)
	k.made[kt] = k.make(t, kt, from)
	return k.made[kt]
}

func (k *keySet) make(t *testing.T, kt pkcs11.KeyType, from material) *madeKey {
	t.Helper()
	m := &madeKey{secret: from.publicValues == nil}
	if m.secret {
		m.everything, m.privKind = everySecret, kind(pkcs11.CKO_SECRET_KEY, kt)
		template := with(from.private, readable, everySecret)
		var o handle
		if from.imported > 0 {
			o = k.e.create(t, k.h, secretKey(kt, message(int(from.imported)), readable, everySecret))
		} else {
			var err error
			o, err = k.e.GenerateKey(k.h, &mech{Type: from.generator}, template)
			require.NoError(t, err)
		}
		m.pub, m.priv = o, o
	} else {
		m.everything, m.privKind, m.pubKind = everyPrivate, kind(pkcs11.CKO_PRIVATE_KEY, kt), kind(pkcs11.CKO_PUBLIC_KEY, kt)
		m.from = from
		m.pub, m.priv = k.e.pair(t, k.h, from.generator, with(from.public, everyPublic), with(from.private, from.readable(), everyPrivate))
		m.pubValues = k.read(t, m.pub, from.publicValues)
	}
	m.values = k.read(t, m.priv, from.values)
	return m
}

func (k *keySet) read(t *testing.T, o handle, types []pkcs11.AttributeType) (values T) {
	t.Helper()
	for _, a := range types {
		values = append(values, pkcs11.Attribute{Type: a, Value: k.e.value(t, k.h, o, a)})
	}
	return values
}

// anew imports one half of a key with other attributes.
func (k *keySet) anew(t *testing.T, m *madeKey, public bool, more ...T) handle {
	t.Helper()
	if !public && m.from.stateful {
		_, o := k.e.pair(t, k.h, m.from.generator, m.from.public, with(append([]T{m.from.private, m.everything}, more...)...))
		return o
	}
	base := with(m.privKind, m.values, readable, m.everything)
	if public && !m.secret {
		base = with(m.pubKind, m.pubValues, everyPublic)
	}
	return k.e.create(t, k.h, with(append([]T{base}, more...)...))
}

// other is a key type that a mechanism does not work with.
func other(m *rows.Mechanism) pkcs11.KeyType {
	for _, kt := range []pkcs11.KeyType{pkcs11.CKK_EC, pkcs11.CKK_AES} {
		if !slices.Contains(m.KeyTypes, kt) {
			return kt
		}
	}
	panic(fmt.Sprintf("%v works with every key", m.Type))
}

// message returns n bytes, the first of them 0x3d: as a number below every modulus.
func message(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*i*7 + i + 0x3d)
	}
	return b
}
