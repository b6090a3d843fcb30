package cryptoki

import (
	"github.com/coffer-hsm/coffer/pkcs11"
)

// The IV of CKM_AES_GCM in C_EncryptInit and C_WrapKey, where the slot is used as an AWS CloudHSM is (Slot.CloudHSMIV): the
// caller gives zeros, and finds in their place the IV that was made. It is random, 96 bits at least (SP 800-38D, 8.2.2), and
// made on the near side, as those of messages are. Decryption takes the IV as it comes.
//
// Deviation: where a slot is so used, an IV that is not zero is refused. That is what CloudHSM does, and a program that has
// forgotten to clear the last one would use it twice.

// zeroIV is a parameter whose IV is to be made.
type zeroIV struct{ *pkcs11.GCMParams }

func (z *zeroIV) Vector() (iv []byte, fixed, generator uint) { return z.IV, 0, pkcs11.CKG_GENERATE }

// cloudIV returns the parameter whose IV is to be made; nil if there is none.
func (x *session) cloudIV(m *pkcs11.Mechanism) (*zeroIV, error) {
	if m == nil || !x.slot.CloudHSMIV || m.Type != pkcs11.CKM_AES_GCM {
		return nil, nil
	}
	p, _ := m.Params.(*pkcs11.GCMParams)
	if p == nil {
		return nil, nil // the far side has the answer
	}
	for _, b := range p.IV {
		if b != 0 {
			return nil, pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "an IV that is not zero, in a slot whose configuration says cloudhsm_iv = true")
		}
	}
	return &zeroIV{p}, nil
}

// makeIV makes the IV of an operation, in place; nil if there is none to make.
func (x *session) makeIV(m *pkcs11.Mechanism) ([]byte, error) {
	p, err := x.cloudIV(m)
	if p == nil || err != nil {
		return nil, err
	}
	return p.IV, lonely(p)
}
