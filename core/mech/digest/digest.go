// Package digest has the message digests.
package digest

import (
	"hash"
	"sync"

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/mech/hashes"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// Family is the table of digests.
var Family = mech.Family{Name: "digest", Mechanisms: rows()}

func rows() []mech.Mechanism {
	var out []mech.Mechanism
	for _, h := range hashes.All {
		if h.Mechanism == 0 {
			continue
		}
		spare := &sync.Pool{New: func() any { return h.New() }}
		out = append(out, mech.Mechanism{
			Type:   h.Mechanism,
			Hash:   h.ID,
			Legacy: h.Legacy,
			Digest: func(param any) (hash.Hash, error) {
				if param != nil {
					return nil, pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "a parameter of Go type %T; the mechanism takes none", param)
				}
				return spare.Get().(hash.Hash), nil
			},
			Return: func(used hash.Hash) { spare.Put(used) },
		})
	}
	return append(out, mech.Mechanism{Type: pkcs11.CKM_SHA512_T, Digest: func(param any) (hash.Hash, error) {
		t, ok := param.(pkcs11.MACGeneralParams)
		if !ok {
			return nil, pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "a parameter of Go type %T; want the digest's length in bits", param)
		}
		h, err := hashes.SHA512T(uint(t))
		if err != nil {
			return nil, err
		}
		return h.New(), nil
	}})
}
