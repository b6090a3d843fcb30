package cryptoki

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"sync"

	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// stateSeal keeps saved states to itself: AES-256-GCM under a random key that a slot makes at the first state and that
// never leaves the process. The zero value is ready.
type stateSeal struct {
	mu   sync.Mutex
	aead cipher.AEAD // nil: nothing has been sealed
}

// reset makes all states of before worthless.
func (s *stateSeal) reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.aead = nil
}

// get returns the AEAD, which puts a random nonce in front by itself; made if there is none and make is set.
func (s *stateSeal) get(make bool) (cipher.AEAD, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.aead != nil || !make {
		return s.aead, nil
	}
	var key [32]byte
	defer clear(key[:])
	rand.Read(key[:])
	block, err := aes.NewCipher(key[:])
	if err != nil {
		return nil, fmt.Errorf("AES: %w", err)
	}
	s.aead, err = cipher.NewGCMWithRandomNonce(block)
	return s.aead, err
}

func (s *stateSeal) seal(plain []byte) ([]byte, error) {
	aead, err := s.get(true)
	if err != nil {
		return nil, pkcs11.Errorf(pkcs11.CKR_GENERAL_ERROR, "%w", err)
	}
	return aead.Seal(nil, nil, plain, nil), nil
}

// open returns what was sealed; the caller wipes it.
func (s *stateSeal) open(sealed []byte) ([]byte, error) {
	aead, _ := s.get(false)
	if aead == nil {
		return nil, pkcs11.Errorf(pkcs11.CKR_SAVED_STATE_INVALID, "no state has been saved here")
	}
	plain, err := aead.Open(nil, nil, sealed, nil)
	if err != nil {
		return nil, pkcs11.Errorf(pkcs11.CKR_SAVED_STATE_INVALID, "%d bytes that are no state of this slot and process", len(sealed))
	}
	return plain, nil
}

// savedOperation is one operation of a state.
type savedOperation struct {
	kind      hsm.OpKind
	mechanism pkcs11.MechanismType
	params    []byte // pkcs11.MarshalParams
	key       string // CKA_UNIQUE_ID; empty for a digest
	parts     bool
	signature []byte // of C_VerifySignatureInit
	state     []byte // of the far side

	whole pkcs11.Mechanism // what decodeState has made of mechanism and params
}

// encodeState puts together what is sealed: the session's state, then for each operation its kind, whether parts have come,
// its mechanism, and four byte strings with their lengths in front.
func encodeState(in pkcs11.State, list []savedOperation) []byte {
	size := 8
	for _, s := range list {
		size += 2 + 8 + 4*4 + len(s.params) + len(s.key) + len(s.signature) + len(s.state)
	}
	b := binary.BigEndian.AppendUint64(make([]byte, 0, size), uint64(in))
	for _, s := range list {
		parts := byte(0)
		if s.parts {
			parts = 1
		}
		b = binary.BigEndian.AppendUint64(append(b, byte(s.kind), parts), uint64(s.mechanism))
		for _, field := range [][]byte{s.params, []byte(s.key), s.signature, s.state} {
			b = append(binary.BigEndian.AppendUint32(b, uint32(len(field))), field...)
		}
	}
	return b
}

// decodeState reads what encodeState has written; the byte strings are plain's own. It was sealed, so nothing but the
// session's state can be wrong.
func decodeState(plain []byte, now pkcs11.State) (list []savedOperation, err error) {
	r := stateReader{b: plain}
	if was := pkcs11.State(r.uint64()); was != now {
		return nil, pkcs11.Errorf(pkcs11.CKR_SAVED_STATE_INVALID, "the state is of a session in state %d, this one is in %d", was, now)
	}
	for len(r.b) > 0 && !r.short {
		s := savedOperation{kind: hsm.OpKind(r.byte()), parts: r.byte() == 1, mechanism: pkcs11.MechanismType(r.uint64())}
		s.params, s.key, s.signature, s.state = r.bytes(), string(r.bytes()), r.bytes(), r.bytes()
		s.whole.Type = s.mechanism
		if s.whole.Params, err = pkcs11.UnmarshalParams(s.mechanism, s.params); err != nil {
			return nil, pkcs11.Errorf(pkcs11.CKR_SAVED_STATE_INVALID, "%w", err)
		}
		list = append(list, s)
	}
	if r.short || len(list) == 0 {
		return nil, pkcs11.Errorf(pkcs11.CKR_GENERAL_ERROR, "a state that was sealed here is malformed")
	}
	return list, nil
}

// stateReader reads fields until one is not there.
type stateReader struct {
	b     []byte
	short bool
}

func (r *stateReader) take(n int) []byte {
	if n < 0 || n > len(r.b) {
		r.short = true
		return make([]byte, min(max(n, 0), 8))
	}
	b := r.b[:n:n]
	r.b = r.b[n:]
	return b
}

func (r *stateReader) byte() byte     { return r.take(1)[0] }
func (r *stateReader) uint64() uint64 { return binary.BigEndian.Uint64(r.take(8)) }
func (r *stateReader) bytes() []byte  { return r.take(int(binary.BigEndian.Uint32(r.take(4)))) }
