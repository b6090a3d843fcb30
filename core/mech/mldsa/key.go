package mldsa

import (
	"crypto/sha3"
	"crypto/subtle"

	"filippo.io/mldsa"
	"github.com/cloudflare/circl/sign"

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/mech/postquantum"
	"github.com/coffer-hsm/coffer/core/secret"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// publicKey is the expanded form of a public key, and the public half of a private one.
type publicKey struct {
	*set
	key *mldsa.PublicKey
	tr  [64]byte // the hash of the encoded key, which every message is bound to
}

// privateKey is the expanded form of a private key: seeded, or else expanded.
type privateKey struct {
	publicKey
	seeded   *mldsa.PrivateKey
	expanded sign.PrivateKey
}

func (s *set) public(encoded []byte) (*publicKey, error) {
	key, err := mldsa.NewPublicKey(s.params, encoded)
	if err != nil {
		return nil, pkcs11.Errorf(pkcs11.CKR_ATTRIBUTE_VALUE_INVALID, "CKA_VALUE is no public key of %s: %w", s.name, err)
	}
	p := &publicKey{set: s, key: key}
	h := sha3.NewSHAKE256()
	h.Write(encoded)
	h.Read(p.tr[:]) //nolint:errcheck // a SHAKE does not fail
	return p, nil
}

// CheckPublic implements postquantum.SeededSet.
func (s *set) CheckPublic(encoded []byte) error {
	_, err := s.public(encoded)
	return err
}

// SeedSize implements postquantum.SeededSet.
func (s *set) SeedSize() int { return mldsa.PrivateKeySize }

// Private implements postquantum.SeededSet.
func (s *set) Private(key postquantum.Private) (*privateKey, error) {
	if len(key.Seed) == 0 {
		return s.fromExpanded(key.Value)
	}
	seeded, err := mldsa.NewPrivateKey(s.params, key.Seed)
	if err != nil {
		return nil, pkcs11.Errorf(pkcs11.CKR_ATTRIBUTE_VALUE_INVALID, "CKA_SEED has %d bytes, expected %d", len(key.Seed), mldsa.PrivateKeySize)
	}
	if len(key.Value) > 0 {
		value := s.expandSeed(key.Seed)
		same := subtle.ConstantTimeCompare(value, key.Value)
		secret.Wipe(value)
		if same != 1 {
			return nil, pkcs11.Errorf(pkcs11.CKR_TEMPLATE_INCONSISTENT, "CKA_VALUE does not come from CKA_SEED")
		}
	}
	public, err := s.public(seeded.PublicKey().Bytes())
	if err != nil {
		return nil, err
	}
	return &privateKey{publicKey: *public, seeded: seeded}, nil
}

// expandSeed is the private key as FIPS 204 writes it (algorithm 24), the caller's to wipe. seed has the right length.
func (s *set) expandSeed(seed []byte) []byte {
	_, key := s.expand.DeriveKey(seed)
	value, err := key.MarshalBinary()
	if err != nil {
		panic("mldsa: a new key cannot be written: " + err.Error())
	}
	return value
}

// Where the hash of the public key stands in an expanded key: after rho and K.
const trAt, trEnd = 64, 128

// fromExpanded takes a key whose parts belong together. Not every string of bytes is one, and what is not could give its
// secrets away when it signs (FIPS 204, 7.2).
func (s *set) fromExpanded(value []byte) (*privateKey, error) {
	key, err := s.expand.UnmarshalBinaryPrivateKey(value)
	if err != nil {
		return nil, pkcs11.Errorf(pkcs11.CKR_ATTRIBUTE_VALUE_INVALID, "CKA_VALUE has %d bytes, expected %d", len(value), s.expand.PrivateKeySize())
	}
	bad := pkcs11.Errorf(pkcs11.CKR_ATTRIBUTE_VALUE_INVALID, "CKA_VALUE is no private key of %s", s.name)
	derived, ok := key.Public().(sign.PublicKey)
	if !ok {
		return nil, bad
	}
	encoded, err := derived.MarshalBinary()
	if err != nil {
		return nil, bad
	}
	public, err := s.public(encoded)
	if err != nil {
		return nil, err
	}
	if subtle.ConstantTimeCompare(public.tr[:], value[trAt:trEnd]) != 1 || !s.consistent(value, encoded) {
		return nil, bad
	}
	return &privateKey{publicKey: *public, expanded: key}, nil
}

// consistent looks at the secrets of an expanded private key (FIPS 204, algorithm 24) beside its public key: s1 and s2
// have coefficients of at most eta, and A s1 + s2 is t1 of the public key and t0 of the private one. All of it is
// computed, whatever is found.
func (s *set) consistent(value, public []byte) bool {
	eta, bits := uint32(2), 3
	if s.id == pkcs11.CKP_ML_DSA_65 {
		eta, bits = 4, 4
	}
	var wrong uint32
	rest := value[trEnd:]
	small := func() (p poly) {
		p = unpack(rest[:n*bits/8], bits)
		rest = rest[n*bits/8:]
		for j := range p {
			wrong |= (2*eta - p[j]) >> 31
			p[j] = sub(eta, p[j])
		}
		return p
	}
	s1, s2 := make([]poly, s.l), make([]poly, s.k)
	for i := range s1 {
		s1[i] = small()
		s1[i].transform()
	}
	for i := range s2 {
		s2[i] = small()
	}
	for r := range s2 {
		var t poly
		for i := range s1 {
			a := matrixEntry(value[:32], r, i)
			t.addProduct(&a, &s1[i])
		}
		t.restore()
		low, high := unpack(rest[:n*dropped/8], dropped), unpack(public[32+r*t1Len:32+(r+1)*t1Len], t1Bits)
		rest = rest[n*dropped/8:]
		for j := range t {
			t0 := sub(1<<(dropped-1), low[j])
			wrong |= add(t[j], s2[r][j]) ^ add(high[j]<<dropped, t0)
		}
		clear(t[:])
		clear(low[:])
		clear(s2[r][:])
	}
	for i := range s1 {
		clear(s1[i][:])
	}
	return wrong == 0
}

// Value implements postquantum.SeededKey.
func (p *privateKey) Value() []byte {
	if p.seeded != nil {
		seed := p.seeded.Bytes()
		defer secret.Wipe(seed)
		return p.expandSeed(seed)
	}
	value, err := p.expanded.MarshalBinary()
	if err != nil {
		panic("mldsa: a key cannot be written: " + err.Error())
	}
	return value
}

// PublicValue implements postquantum.SeededKey.
func (p *privateKey) PublicValue() []byte { return p.key.Bytes() }

func privateOf(k mech.Key) (*privateKey, error) {
	return postquantum.Expanded(k, keys.Sets, func(s *set) (*privateKey, error) {
		return s.Private(postquantum.Private{Seed: k.Bytes(pkcs11.CKA_SEED), Value: k.Bytes(pkcs11.CKA_VALUE)})
	})
}

func publicOf(k mech.Key) (*publicKey, error) {
	return postquantum.Expanded(k, keys.Sets, func(s *set) (*publicKey, error) { return s.public(k.Bytes(pkcs11.CKA_VALUE)) })
}
