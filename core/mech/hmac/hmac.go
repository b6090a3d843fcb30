// Package hmac has the HMACs (FIPS 198-1) over all hashes, of full and of chosen length, the keyed BLAKE2b that the standard
// counts among them, and the generators of their keys.
package hmac

import (
	"crypto/hmac"
	"hash"
	"slices"

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/mech/generic"
	"github.com/coffer-hsm/coffer/core/mech/hashes"
	"github.com/coffer-hsm/coffer/core/spread"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// Family is the table of HMACs.
var Family = mech.Family{Name: "hmac", Mechanisms: rows()}

func rows() []mech.Mechanism {
	var out []mech.Mechanism
	for _, h := range hashes.All {
		if h.HMAC != 0 {
			out = append(out, row(h, h.HMAC, fullSize))
		}
		if h.HMACGeneral != 0 {
			out = append(out, row(h, h.HMACGeneral, chosenSize))
		}
		if h.KeyGen != 0 && h.KeyType != 0 {
			out = append(out, mech.Mechanism{
				Type: h.KeyGen, KeyTypes: []pkcs11.KeyType{h.KeyType}, Min: 1, Max: generic.MaxBytes, Legacy: h.Legacy,
				Generate: generic.Any.Generate,
			})
		}
	}
	return append(out, truncated...)
}

// truncated are the rows of SHA-512/t. CKM_SHA512_T_HMAC_GENERAL is not among them: it would need two lengths, and the
// standard gives it one parameter without saying for which.
var truncated = []mech.Mechanism{
	{
		Type: pkcs11.CKM_SHA512_T_KEY_GEN, KeyTypes: []pkcs11.KeyType{pkcs11.CKK_SHA512_T_HMAC}, Min: 1, Max: generic.MaxBytes,
		Generate: generic.Any.Generate,
	},
	macRow(pkcs11.CKM_SHA512_T_HMAC, pkcs11.CKK_SHA512_T_HMAC, func(k mech.Key, param any) (operation, error) {
		t, ok := param.(pkcs11.MACGeneralParams)
		if !ok {
			return nil, pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "a parameter of Go type %T; want the hash's length in bits", param)
		}
		h, err := hashes.SHA512T(uint(t))
		if err != nil {
			return nil, err
		}
		if _, err := statesOf(k); err != nil {
			return nil, err
		}
		return &movable{mac: mac{state: newKeyed(h, k.Bytes(pkcs11.CKA_VALUE)), size: h.Size()}}, nil
	}),
}

// operation signs or verifies.
type operation interface {
	mech.Signer
	mech.Verifier
}

// row makes a row of HMAC; size reads the tag's length from the parameter. Keys may have any length, also beyond Max,
// which is what can be generated.
func row(h *hashes.Hash, t pkcs11.MechanismType, size func(param any, full int) (int, error)) mech.Mechanism {
	place := slices.Index(hashes.All, h)
	moves := hashes.HasState(h.New())
	begin := func(m *mac, k mech.Key, param any) error {
		n, err := size(param, h.Size())
		if err != nil {
			return err
		}
		s, err := statesOf(k)
		if err != nil {
			return err
		}
		m.from, m.size, m.begun = &s.byHash[place], n, false
		if m.state = m.from.Take(m.at); m.state == nil {
			m.state = newKeyed(h, k.Bytes(pkcs11.CKA_VALUE))
		}
		return nil
	}
	m := macRow(t, h.KeyType, func(k mech.Key, param any) (operation, error) {
		if h.Keyed != nil {
			return newOwnKeyed(h, k, param, size)
		}
		m := renewable{begin: begin}
		m.at = spread.Nowhere
		if err := begin(&m.mac, k, param); err != nil {
			return nil, err
		}
		if !moves {
			return &m.mac, nil
		}
		return &m, nil
	})
	m.Legacy = h.Legacy
	if h.Keyed != nil {
		m.Max = maxTag // the longest key of BLAKE2b
	}
	return m
}

// newOwnKeyed makes an operation of a hash that takes a key itself.
func newOwnKeyed(h *hashes.Hash, k mech.Key, param any, size func(param any, full int) (int, error)) (operation, error) {
	n, err := size(param, h.Size())
	if err != nil {
		return nil, err
	}
	state, err := h.Keyed(k.Bytes(pkcs11.CKA_VALUE))
	if err != nil {
		return nil, err
	}
	return &mac{state: &keyed{Hash: state}, size: n}, nil
}

// macRow makes a row for generic secrets and for keys of a type of their own.
func macRow(t pkcs11.MechanismType, own pkcs11.KeyType, create func(k mech.Key, param any) (operation, error)) mech.Mechanism {
	keyTypes := []pkcs11.KeyType{pkcs11.CKK_GENERIC_SECRET}
	if own != 0 {
		keyTypes = append(keyTypes, own)
	}
	return mech.Mechanism{
		Type: t, KeyTypes: keyTypes, Min: 1, Max: generic.MaxBytes,
		Sign: func(k mech.Key, param any) (mech.Signer, error) {
			m, err := create(k, param)
			if err != nil {
				return nil, err
			}
			return m, nil
		},
		Verify: func(k mech.Key, param any) (mech.Verifier, error) {
			m, err := create(k, param)
			if err != nil {
				return nil, err
			}
			return m, nil
		},
	}
}

func fullSize(param any, full int) (int, error) {
	if param != nil {
		return 0, pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "a parameter of Go type %T; the mechanism takes none", param)
	}
	return full, nil
}

// chosenSize reads CK_MAC_GENERAL_PARAMS: 1 to the hash's length.
func chosenSize(param any, full int) (int, error) {
	n, ok := param.(pkcs11.MACGeneralParams)
	if !ok || n < 1 || n > pkcs11.MACGeneralParams(full) {
		return 0, pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "a parameter of Go type %T, %d; want a tag of 1 to %d bytes", param, n, full)
	}
	return int(n), nil
}

// states is what is kept with a key: by hash of the table, the states of operations that have ended. To begin anew from
// one costs a copy instead of hashing the padded key (FIPS 198-1, 6).
type states struct{ byHash []spread.Spares[keyed] }

// keyed is a state that has taken in the key and nothing else.
type keyed struct {
	hash.Hash           // crypto/hmac's
	inner     hash.Hash // the hash of the padded key and the data that works inside, for State and Resume
}

// newKeyed keeps hold of the inner hash, because crypto/hmac gives no state out. What is called inner is the second
// that it makes, after the outer; the tests would see it if that were no longer so.
func newKeyed(h *hashes.Hash, key []byte) *keyed {
	k := &keyed{}
	k.Hash = hmac.New(func() hash.Hash {
		k.inner = h.New()
		return k.inner
	}, key)
	return k
}

func statesOf(k mech.Key) (*states, error) {
	if s, ok := mech.Kept(k, mech.SlotMain).(*states); ok {
		return s, nil
	}
	v, err := k.Expanded(mech.SlotMain, func() (any, error) {
		if len(k.Bytes(pkcs11.CKA_VALUE)) == 0 {
			return nil, pkcs11.Errorf(pkcs11.CKR_KEY_SIZE_RANGE, "the key is empty")
		}
		return &states{byHash: make([]spread.Spares[keyed], len(hashes.All))}, nil
	})
	if err != nil {
		return nil, err
	}
	return v.(*states), nil
}

// maxTag is the length of the longest hash.
const maxTag = 64

// movable is a mac that is Resumable.
type movable struct{ mac }

// renewable is a movable that its row's begin can begin anew.
type renewable struct {
	movable
	begin func(m *mac, k mech.Key, param any) error
}

// Renew implements mech.Renewer.
func (m *renewable) Renew(k mech.Key, param any) error {
	m.at = places.Seated(m.at)
	return m.begin(&m.mac, k, param)
}

var places spread.Seats

// mac is one operation, Signer and Verifier.
type mac struct {
	state *keyed                // nil once the operation has ended
	from  *spread.Spares[keyed] // where the state goes afterwards; nil for one that is not kept
	at    spread.Seat           // there
	size  int
	begun bool         // it has taken data or a state
	tag   [maxTag]byte // for Verify
}

func (m *mac) Size() int { return m.size }

func (m *mac) Update(part []byte) error {
	m.begun = true
	m.state.Write(part)
	return nil
}

func (m *mac) Finish(dst, part []byte) ([]byte, error) {
	m.state.Write(part)
	start := len(dst)
	return m.state.Sum(dst)[:start+m.size], nil
}

func (m *mac) Verify(part, signature []byte) error {
	if len(signature) != m.size {
		return pkcs11.Errorf(pkcs11.CKR_SIGNATURE_LEN_RANGE, "a tag of %d bytes, want %d", len(signature), m.size)
	}
	tag, err := m.Finish(m.tag[:0], part)
	if err != nil {
		return err
	}
	if !hmac.Equal(tag, signature) {
		return pkcs11.CKR_SIGNATURE_INVALID
	}
	return nil
}

// Close gives the state back. What the message has left in it is overwritten.
func (m *mac) Close() {
	clear(m.tag[:])
	if m.state != nil {
		m.state.Reset()
		if m.from != nil {
			m.from.Put(m.at, m.state)
		}
	}
	m.state, m.from = nil, nil // what is kept with the key goes with it
}
