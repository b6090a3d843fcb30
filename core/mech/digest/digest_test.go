package digest

import (
	"encoding/hex"
	"testing"

	"github.com/coffer-hsm/coffer/core/mech/hashes"
	"github.com/coffer-hsm/coffer/core/mech/mechtest"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// abc holds the digests of "abc": FIPS 180-4 and FIPS 202 examples (csrc.nist.gov, Example Values).
var abc = map[pkcs11.MechanismType]string{
	pkcs11.CKM_SHA_1:      "a9993e364706816aba3e25717850c26c9cd0d89d",
	pkcs11.CKM_SHA224:     "23097d223405d8228642a477bda255b32aadbce4bda0b3f7e36c9da7",
	pkcs11.CKM_SHA256:     "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
	pkcs11.CKM_SHA384:     "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7",
	pkcs11.CKM_SHA512:     "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
	pkcs11.CKM_SHA512_224: "4634270f707b6a54daae7530460842e20e37ed265ceee9a43e8924aa",
	pkcs11.CKM_SHA512_256: "53048e2681941ef99b2e29b76b4c7dabe4c2d0c634fc6d46e0e2f13107e7af23",
	pkcs11.CKM_SHA3_224:   "e642824c3f8cf24ad09234ee7d3c766fc9a3a5168d0c94ad73b46fdf",
	pkcs11.CKM_SHA3_256:   "3a985da74fe225b2045c172d6bd390bd855f086e3e9d525b46bfe24511431532",
	pkcs11.CKM_SHA3_384:   "ec01498288516fc926459f58e2c6ad8df9b473cb0fc08c2596da7cf0e49be4b298d88cea927ac7f539f1edf228376d25",
	// MD5: RFC 1321, A.5. RIPEMD-160: its authors' page. BLAKE2b: RFC 7693, A; the shorter ones are checked in package hashes.
	pkcs11.CKM_MD5:         "900150983cd24fb0d6963f7d28e17f72",
	pkcs11.CKM_RIPEMD160:   "8eb208f7e05d987a9b044a8e98c6b087f15a0bfc",
	pkcs11.CKM_BLAKE2B_512: "ba80a53f981c4d0d6a2797b69f12f6e94c212f14685ac4b74b12bb6fdbffa2d17d87c5392aab792dc252d5de4533cc9518d38aa8dbf1925ab92386edd4009923",
	pkcs11.CKM_SHA3_512:    "b751850b1a57168a5693cd924b6b096e08f621827444f70d884f5d0240d2712e10e116e9192af3c91a7ec57647e3934057340b4cf408d5a56592f8274eec53f0",
}

func TestFamily(t *testing.T) {
	for i := range Family.Mechanisms {
		row := &Family.Mechanisms[i]
		if row.Type == pkcs11.CKM_SHA512_T {
			mechtest.Run(t, mechtest.Case{Row: row, Params: []any{pkcs11.MACGeneralParams(224), pkcs11.MACGeneralParams(511), pkcs11.MACGeneralParams(7)}})
			continue
		}
		mechtest.Run(t, mechtest.Case{Row: row})
		h, err := row.Digest(nil)
		if err != nil {
			t.Fatal(err)
		}
		h.Write([]byte("abc"))
		if got := hex.EncodeToString(h.Sum(nil)); got != abc[row.Type] && (abc[row.Type] != "" || hashes.ByMechanism(row.Type).Keyed == nil) {
			t.Errorf("%v of abc: %s, want %q", row.Type, got, abc[row.Type])
		}
		if row.Hash != 0 && h.Size() != row.Hash.Size() {
			t.Errorf("%v: %d bytes, its hash %v has %d", row.Type, h.Size(), row.Hash, row.Hash.Size())
		}
		if flags := row.Info().Flags; flags != pkcs11.CKF_DIGEST {
			t.Errorf("%v: flags %v", row.Type, flags)
		}
	}
}
