package aes

import (
	"crypto/cipher"

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/mech/modes"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// gmac is one operation of GMAC, SP 800-38D: GCM over no plaintext, with the message as its associated data. The standard
// library wants that whole, so parts are gathered.
type gmac struct {
	modes.Gather
	aead cipher.AEAD
	iv   []byte
	tag  int
}

// newGMAC reads CK_GCM_PARAMS. The message comes to C_Sign and C_Verify, so associated data in the parameter is refused.
func newGMAC(k mech.Key, param any) (*gmac, error) {
	p, err := modes.StructParam[pkcs11.GCMParams](param)
	if err != nil {
		return nil, err
	}
	if len(p.AAD) > 0 {
		return nil, pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "%d bytes of associated data; GMAC's message is the data to sign", len(p.AAD))
	}
	if err := checkGCM(p); err != nil {
		return nil, err
	}
	aead, err := keyAEAD(k, len(p.IV))
	if err != nil {
		return nil, err
	}
	g := &gmac{aead: aead, iv: p.IV, tag: int(p.TagBits / 8)}
	g.Excess = pkcs11.CKR_DATA_LEN_RANGE
	return g, nil
}

func (g *gmac) Size() int { return g.tag }

func (g *gmac) Update(part []byte) error { return g.Add(part) }

func (g *gmac) sum(part []byte) ([]byte, error) {
	message, err := g.All(part)
	if err != nil {
		return nil, err
	}
	return g.aead.Seal(nil, g.iv, nil, message)[:g.tag], nil
}

func (g *gmac) Finish(dst, part []byte) ([]byte, error) {
	tag, err := g.sum(part)
	return append(dst, tag...), err
}

func (g *gmac) Verify(part, signature []byte) error {
	return modes.VerifyTag(g.tag, signature, func() ([]byte, error) { return g.sum(part) })
}
