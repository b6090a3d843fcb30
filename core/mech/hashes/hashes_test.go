package hashes

import (
	"crypto"
	"encoding/hex"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// The digests of "abc": FIPS 180-4 and FIPS 202 example values; MD5: RFC 1321, A.5; RIPEMD-160: its authors' page.
var abc = map[crypto.Hash]string{
	crypto.MD5:        "900150983cd24fb0d6963f7d28e17f72",
	crypto.RIPEMD160:  "8eb208f7e05d987a9b044a8e98c6b087f15a0bfc",
	crypto.SHA1:       "a9993e364706816aba3e25717850c26c9cd0d89d",
	crypto.SHA224:     "23097d223405d8228642a477bda255b32aadbce4bda0b3f7e36c9da7",
	crypto.SHA256:     "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
	crypto.SHA512_224: "4634270f707b6a54daae7530460842e20e37ed265ceee9a43e8924aa",
	crypto.SHA512_256: "53048e2681941ef99b2e29b76b4c7dabe4c2d0c634fc6d46e0e2f13107e7af23",
	crypto.SHA3_224:   "e642824c3f8cf24ad09234ee7d3c766fc9a3a5168d0c94ad73b46fdf",
	crypto.SHA3_256:   "3a985da74fe225b2045c172d6bd390bd855f086e3e9d525b46bfe24511431532",
	crypto.SHA384: "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed" +
		"8086072ba1e7cc2358baeca134c825a7",
	crypto.SHA512: "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a" +
		"2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
	crypto.SHA3_384: "ec01498288516fc926459f58e2c6ad8df9b473cb0fc08c2596da7cf0e49be4b2" +
		"98d88cea927ac7f539f1edf228376d25",
	crypto.SHA3_512: "b751850b1a57168a5693cd924b6b096e08f621827444f70d884f5d0240d2712e" +
		"10e116e9192af3c91a7ec57647e3934057340b4cf408d5a56592f8274eec53f0",
}

func TestEveryHashComputesItself(t *testing.T) {
	for _, h := range All {
		if h.New().Size() != h.Size() {
			t.Errorf("%v: sizes differ", h)
		}
		if h.Keyed != nil {
			continue // TestBLAKE2b
		}
		if got := hex.EncodeToString(h.Sum([]byte("a"), []byte("bc"))); got != abc[h.ID] {
			t.Errorf("%v: %s", h, got)
		}
	}
}

func TestEveryNumberNamesItsHash(t *testing.T) {
	seen := map[any]bool{}
	for _, h := range All {
		v := reflect.ValueOf(*h)
		digits := strings.NewReplacer("SHA-1", "SHA1", "-", "", "/", "_").Replace(strings.ToUpper(h.String())) // SHA256, SHA512_224, SHA3224
		for i := range v.NumField() {
			name := v.Type().Field(i).Name
			if slices.Contains([]string{"ID", "Name", "Legacy", "Keyed", "new", "size"}, name) || v.Field(i).Uint() == 0 {
				continue
			}
			n := v.Field(i).Interface()
			if seen[n] {
				t.Errorf("%v: %s: %v occurs twice", h, name, n)
			}
			seen[n] = true
			named, ok := n.(interface{ String() string })
			if !ok {
				continue // the MGF and KDF numbers have no names at run time; seen has checked that they differ
			}
			text := named.String()
			plain := strings.NewReplacer("SHA_1", "SHA1", "SHA3_", "SHA3", "BLAKE2B_", "BLAKE2B").Replace(text)
			if !strings.Contains(plain, digits) {
				t.Errorf("%v: %s is %s", h, name, text)
			}
		}
	}
}

// TestSHA512T: FIPS 180-4 has vectors for t of 224 and 256 only. What tells other t apart is the name that is hashed.
func TestSHA512T(t *testing.T) {
	for size, id := range map[uint]crypto.Hash{224: crypto.SHA512_224, 256: crypto.SHA512_256} {
		h, err := SHA512T(size)
		require.NoError(t, err)
		require.Equal(t, abc[id], hex.EncodeToString(h.Sum([]byte("abc"))))
	}
	seen := map[string]bool{}
	for bits := range uint(600) {
		h, err := SHA512T(bits)
		if bits == 0 || bits >= 512 || bits == 384 {
			require.Equal(t, pkcs11.CKR_MECHANISM_PARAM_INVALID, pkcs11.RVOf(err))
			continue
		}
		require.NoError(t, err)
		state := h.New()
		state.Write([]byte("abc"))
		digest := state.Sum([]byte("x"))[1:]
		require.Len(t, digest, int(bits+7)/8)
		require.Equal(t, h.Size(), len(digest))
		if over := bits % 8; over != 0 {
			require.Zero(t, digest[len(digest)-1]<<over, "%d bits", bits)
		}
		if bits > 32 {
			require.False(t, seen[string(digest[:4])], "another t gave the same beginning")
			seen[string(digest[:4])] = true
		}
		state.Reset()
		state.Write([]byte("abc"))
		require.Equal(t, digest, state.Sum(nil))
	}
}

func TestLookupKnowsNothingOfZero(t *testing.T) {
	if ByMechanism(0) != nil || ByMGF(0) != nil || ByKDF(0) != nil || ByKDFSP800(0) != nil || ByID(0) != nil {
		t.Error("0 found a hash")
	}
	if ByHMAC(pkcs11.CKM_SHA256_HMAC).ID != crypto.SHA256 || ByHMAC(0) != nil || ByHMAC(pkcs11.CKM_MD5_HMAC) != nil || ByHMAC(pkcs11.CKM_BLAKE2B_256_HMAC) != nil {
		t.Error("an HMAC finds the wrong hash")
	}
	if types := KeyTypes(); slices.Contains(types, pkcs11.CKK_MD5_HMAC) || !slices.Contains(types, pkcs11.CKK_BLAKE2B_160_HMAC) {
		t.Error("key types:", types)
	}
	if ByMechanism(pkcs11.CKM_MD5) != nil || ByID(crypto.MD5) == nil {
		t.Error("a parameter finds a legacy hash, or nobody does")
	}
	if ByMechanism(pkcs11.CKM_SHA3_384).ID != crypto.SHA3_384 || ByMGF(pkcs11.CKG_MGF1_SHA224).ID != crypto.SHA224 ||
		ByKDF(pkcs11.CKD_SHA512_KDF).ID != crypto.SHA512 || ByKDFSP800(pkcs11.CKD_SHA1_KDF_SP800).ID != crypto.SHA1 {
		t.Error("lookup found the wrong hash")
	}
}

func TestSigner(t *testing.T) {
	echo := func(data []byte) ([]byte, error) { return data, nil }
	sha := ByID(crypto.SHA256)
	s := NewSigner(sha, 32, echo)
	if err := s.Update([]byte("a")); err != nil {
		t.Fatal(err)
	}
	got, err := s.Finish([]byte("x"), []byte("bc"))
	if err != nil || hex.EncodeToString(got[1:]) != abc[crypto.SHA256] || got[0] != 'x' {
		t.Errorf("hashed: %x, %v", got, err)
	}
	if _, err := s.Finish(nil, nil); pkcs11.RVOf(err) != pkcs11.CKR_OPERATION_NOT_INITIALIZED {
		t.Error("finished twice:", err)
	}
	plain := NewSigner(nil, 3, echo)
	if err := plain.Update([]byte("a")); pkcs11.RVOf(err) != pkcs11.CKR_FUNCTION_NOT_SUPPORTED {
		t.Error("parts without a hash:", err)
	}
	if got, err := plain.Finish(nil, []byte("abc")); err != nil || string(got) != "abc" {
		t.Errorf("one part: %q, %v", got, err)
	}
	v := NewVerifier(sha, func(data, sig []byte) error {
		if string(data) != string(sig) {
			return pkcs11.CKR_SIGNATURE_INVALID
		}
		return nil
	})
	if err := v.Verify([]byte("abc"), sha.Sum([]byte("abc"))); err != nil {
		t.Error(err)
	}
	if err := v.Verify(nil, nil); pkcs11.RVOf(err) != pkcs11.CKR_OPERATION_NOT_INITIALIZED {
		t.Error("verified twice:", err)
	}
}

func TestDeriveRefusesWildLengths(t *testing.T) {
	for _, size := range []int{0, -1, maxDerived + 1, int(^uint(0) >> 1)} {
		if _, err := All[0].DeriveX963([]byte("z"), nil, size); pkcs11.RVOf(err) != pkcs11.CKR_KEY_SIZE_RANGE {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
}
