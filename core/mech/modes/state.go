package modes

import (
	"encoding/binary"
	"math"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// States of operations between two parts (mech.Resumable), 35 bytes at most. A block has 8 or 16 bytes:
//
//	ECB, CBC  version, form, 1 byte: how many bytes are held, those bytes; CBC: one block, the last of ciphertext
//	MACs      version, form, 1 byte: how many bytes are held, those bytes, one block: the chaining value
//	OFB, CFB  version, form, 1 byte: how many bytes of the segment are done, what of it is fed back, one block: the register
//	CTR       version, form, 8 bytes, big-endian: how many bytes are processed
//
// The form keeps the state of one mode or direction from another's. The length of a MAC's tag and the initial counter are
// the parameter's.
const (
	stateVersion = 1

	// The forms: a MAC, CTR, a feedback mode by the bytes of its segments (to which is added, shifted by 4, what is fed
	// back), or the blocks of a mode, to which the other bits are added.
	stateCMAC    = 0x01
	stateCTR     = 0x02
	stateMAC     = 0x03
	stateXCBC    = 0x04
	stateBytes   = 0x05
	stateHalves  = 0x06 // 8 bytes
	stateWhole   = 0x07 // 16 bytes
	stateBits    = 0x08
	stateBlocks  = 0x10
	stateChained = 0x20 // CBC
	statePad     = 0x40
	stateDecrypt = 0x80
)

// appendHeld makes a state of bytes held back and a chaining value.
func appendHeld(form byte, held, chain []byte) []byte {
	state := make([]byte, 0, 3+len(held)+len(chain))
	state = append(state, stateVersion, form, byte(len(held)))
	return append(append(state, held...), chain...)
}

// cutHeld takes apart what appendHeld has made: at most most bytes held, chainLen bytes of chaining value.
func cutHeld(state []byte, form byte, most, chainLen int) (held, chain []byte, err error) {
	body, err := cutHeader(state, form)
	if err != nil {
		return nil, nil, err
	}
	if len(body) == 0 || int(body[0]) > most || len(body) != 1+int(body[0])+chainLen {
		return nil, nil, pkcs11.Errorf(pkcs11.CKR_SAVED_STATE_INVALID, "a state of %d bytes does not hold what it says", len(state))
	}
	n := 1 + int(body[0])
	return body[1:n], body[n:], nil
}

func cutHeader(state []byte, form byte) (body []byte, err error) {
	if len(state) < 2 || state[0] != stateVersion || state[1] != form {
		return nil, pkcs11.Errorf(pkcs11.CKR_SAVED_STATE_INVALID, "no state of this operation of version %d", stateVersion)
	}
	return state[2:], nil
}

// AppendCount makes a state of a number of bytes.
func AppendCount(form byte, done uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{stateVersion, form}, done)
}

// CutCount takes apart what AppendCount has made. Of left bytes that an operation may process, done were; no operation
// gets further than an int counts, even where more are allowed.
func CutCount(state []byte, form byte, left uint64) (done uint64, err error) {
	body, err := cutHeader(state, form)
	if err != nil {
		return 0, err
	}
	if len(body) != 8 {
		return 0, pkcs11.Errorf(pkcs11.CKR_SAVED_STATE_INVALID, "a counter of %d bytes, want 8", len(body))
	}
	done = binary.BigEndian.Uint64(body)
	if done > left || done > math.MaxInt64 {
		return 0, pkcs11.Errorf(pkcs11.CKR_SAVED_STATE_INVALID, "%d bytes were processed, but the counter overflows after %d", done, left)
	}
	return done, nil
}

// CheckFresh says whether an operation can take a state.
func CheckFresh(ended, begun bool) error {
	switch {
	case ended:
		return ErrEnded
	case begun:
		return pkcs11.Errorf(pkcs11.CKR_OPERATION_ACTIVE, "a state goes into a fresh operation")
	}
	return nil
}

// ErrEnded is the answer of an operation that has been closed.
var ErrEnded = pkcs11.Errorf(pkcs11.CKR_OPERATION_NOT_INITIALIZED, "the operation has ended")
