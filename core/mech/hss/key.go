package hss

import (
	"crypto/rand"
	"encoding/binary"
	"slices"
	"sync"

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/mech/postquantum"
	"github.com/coffer-hsm/coffer/core/secret"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// valueVersion begins CKA_VALUE of a private key. After it come for each level the LMS and the LM-OTS type, 4 bytes each,
// then the identity (16 bytes) and the seed (n bytes) of the first tree.
const valueVersion = 1

// privateKey is the expanded form: the trees that the last signatures went through. It may be used by many goroutines.
type privateKey struct {
	scheme
	identity, seed []byte

	mu   sync.Mutex
	path []grownAt // by level: the tree that is kept, and the signature of its public key by the tree above
}

type grownAt struct {
	*grown
	number uint64 // of the tree among those of its level
	signed []byte // nil for the first level
}

func newPrivate(s scheme, identity, seed []byte) *privateKey {
	return &privateKey{scheme: s, identity: identity, seed: seed, path: make([]grownAt, len(s))}
}

// value is CKA_VALUE.
func (k *privateKey) value() []byte {
	b := []byte{valueVersion}
	for _, l := range k.scheme {
		b = binary.BigEndian.AppendUint32(b, l.tree.id)
		b = binary.BigEndian.AppendUint32(b, l.ots.id)
	}
	return append(append(b, k.identity...), k.seed...)
}

func parseValue(b []byte) (*privateKey, error) {
	bad := pkcs11.Errorf(pkcs11.CKR_ATTRIBUTE_VALUE_INVALID, "CKA_VALUE (%d bytes) is no private key of HSS", len(b))
	if len(b) == 0 || b[0] != valueVersion {
		return nil, bad
	}
	var s scheme
	rest := b[1:]
	for len(rest) > 8 && len(s) < maxLevels {
		if len(s) > 0 && len(rest) == identityLen+s[0].tree.n {
			break
		}
		l, err := levelOf(uint(binary.BigEndian.Uint32(rest)), uint(binary.BigEndian.Uint32(rest[4:])))
		if err != nil {
			return nil, bad
		}
		s, rest = append(s, l), rest[8:]
	}
	if len(s) == 0 || len(rest) != identityLen+s[0].tree.n {
		return nil, bad
	}
	return newPrivate(s, slices.Clone(rest[:identityLen]), slices.Clone(rest[identityLen:])), nil
}

// Wipe implements what the engine asks of expanded forms.
func (k *privateKey) Wipe() {
	k.mu.Lock()
	defer k.mu.Unlock()
	secret.Wipe(k.seed)
	for _, g := range k.path {
		if g.grown != nil {
			g.wipe()
		}
	}
}

// seedOf makes identity and seed of a tree, which follow from those of the first one: as if its number were a leaf (RFC
// 8554, appendix A) with a digit that no chain has, so that it is no secret of another use.
func (k *privateKey) seedOf(lev int, number uint64) (identity, seed []byte) {
	if lev == 0 {
		return k.identity, slices.Clone(k.seed)
	}
	d := k.scheme[0].tree.digest
	place := binary.BigEndian.AppendUint64([]byte{byte(lev)}, number)
	pre := prefix(k.identity, 0, dChild)
	identity = d.sum(pre, []byte{0}, place, k.seed)[:identityLen]
	return identity, d.sum(pre, []byte{1}, place, k.seed)
}

// tree returns a tree of a level, grown. The caller holds mu.
//
// Each tree below the first one has its public key signed by a leaf of the tree above, which signs nothing else. When
// that is done again, after a restart or on another node, it must be the same signature bit by bit, for another random
// C would be a second signature with one one-time key. So C follows from the seed here.
func (k *privateKey) tree(lev int, number uint64) grownAt {
	if g := k.path[lev]; g.grown != nil && g.number == number {
		return g
	}
	identity, seed := k.seedOf(lev, number)
	g := grownAt{grown: k.scheme[lev].grow(identity, seed), number: number}
	if lev > 0 {
		above := k.scheme[lev-1]
		q := uint32(number & (1<<above.height - 1))
		over := k.tree(lev-1, number>>above.height)
		c := above.ots.sum(prefix(over.identity, q, dChild), []byte{dDerive}, over.seed)
		g.signed = over.frame(q, above.ots.signWith(c, over.identity, over.seed, q, g.public()))
	}
	if old := k.path[lev]; old.grown != nil {
		old.wipe()
	}
	k.path[lev] = g
	return g
}

// sign signs with the one-time key of an index (RFC 8554, 6.2, algorithm 8). It must be called once for an index, ever.
func (k *privateKey) sign(index uint64, message []byte) []byte {
	last := len(k.scheme) - 1
	height := k.scheme[last].height
	k.mu.Lock()
	path := make([]grownAt, len(k.scheme))
	number := index >> height
	for lev := last; lev >= 0; lev-- {
		path[lev] = k.tree(lev, number)
		if lev > 0 {
			number >>= k.scheme[lev-1].height
		}
	}
	bottom := path[last]
	seed := slices.Clone(bottom.seed)
	k.mu.Unlock()
	defer secret.Wipe(seed)

	sig := binary.BigEndian.AppendUint32(make([]byte, 0, k.signatureLen()), uint32(last))
	for _, g := range path[1:] {
		sig = append(append(sig, g.signed...), g.public()...)
	}
	q := uint32(index & (1<<height - 1))
	return append(sig, bottom.frame(q, bottom.ots.sign(bottom.identity, seed, q, message))...)
}

// public is the HSS public key (RFC 8554, 6.1).
func (k *privateKey) public() []byte {
	k.mu.Lock()
	defer k.mu.Unlock()
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(k.scheme))), k.tree(0, 0).public()...)
}

// publicKey is the expanded form of a public key.
type publicKey struct {
	levels uint32
	top    lmsPublic
}

func parsePublic(b []byte) (*publicKey, error) {
	if len(b) > 4 {
		levels := binary.BigEndian.Uint32(b)
		if top, rest, ok := readPublic(b[4:]); ok && len(rest) == 0 && levels >= 1 && levels <= maxLevels {
			return &publicKey{levels, top}, nil
		}
	}
	return nil, pkcs11.Errorf(pkcs11.CKR_ATTRIBUTE_VALUE_INVALID, "CKA_VALUE (%d bytes) is no public key of HSS", len(b))
}

// signatureLens are the least and the greatest length of a signature: a public key does not say what its lower trees are.
func (p *publicKey) signatureLens() (least, most int) {
	least = 4 + p.top.signatureLen()
	if p.levels == 1 {
		return least, least
	}
	lower := int(p.levels - 1)
	return least + lower*minLower, least + lower*maxLower
}

// The lengths of the LMS signature and the public key that each lower level adds: height 5 with the longest digits,
// height 25 with the shortest.
var (
	minLower = level{trees[0], otss[3]}.signatureLen() + level{trees[0], otss[3]}.publicLen()
	maxLower = level{trees[4], otss[0]}.signatureLen() + level{trees[4], otss[0]}.publicLen()
)

// verify reports whether sig is a signature of the message (RFC 8554, 6.3, algorithm 9).
func (p *publicKey) verify(message, sig []byte) bool {
	if len(sig) < 4 || binary.BigEndian.Uint32(sig) != p.levels-1 {
		return false
	}
	key, rest := p.top, sig[4:]
	for range p.levels - 1 {
		if len(rest) < key.signatureLen() {
			return false
		}
		signed := rest
		next, after, ok := readPublic(rest[key.signatureLen():])
		if !ok {
			return false
		}
		if _, ok := key.verify(next.encoded, signed); !ok {
			return false
		}
		key, rest = next, after
	}
	rest, ok := key.verify(message, rest)
	return ok && len(rest) == 0
}

func privateOf(k mech.Key) (*privateKey, error) {
	x, err := k.Expanded(mech.SlotMain, func() (any, error) { return parseValue(k.Bytes(pkcs11.CKA_VALUE)) })
	if err != nil {
		return nil, err
	}
	key, ok := x.(*privateKey)
	if !ok {
		return nil, pkcs11.Errorf(pkcs11.CKR_KEY_TYPE_INCONSISTENT, "a %T where a private key is needed", x)
	}
	return key, nil
}

func publicOf(k mech.Key) (*publicKey, error) {
	x, err := k.Expanded(mech.SlotMain, func() (any, error) { return parsePublic(k.Bytes(pkcs11.CKA_VALUE)) })
	if err != nil {
		return nil, err
	}
	key, ok := x.(*publicKey)
	if !ok {
		return nil, pkcs11.Errorf(pkcs11.CKR_KEY_TYPE_INCONSISTENT, "a %T where a public key is needed", x)
	}
	return key, nil
}

func numbers(t pkcs11.Template, a pkcs11.AttributeType) []uint {
	v, _ := t.Get(a)
	list, _ := v.([]uint)
	return list
}

// generate makes a pair of the scheme that the private template describes. PKCS#11 v3.2, HSS key pair generation.
func generate(param any, _, private pkcs11.Template) (pub, priv pkcs11.Template, err error) {
	if err := noParam(param); err != nil {
		return nil, nil, err
	}
	levels, known := private.Uint(pkcs11.CKA_HSS_LEVELS)
	s, err := schemeOf(levels, known, numbers(private, pkcs11.CKA_HSS_LMS_TYPES), numbers(private, pkcs11.CKA_HSS_LMOTS_TYPES))
	if err != nil {
		return nil, nil, err
	}
	identity, seed := make([]byte, identityLen), make([]byte, s[0].tree.n)
	rand.Read(identity)
	rand.Read(seed)
	key := newPrivate(s, identity, seed)
	defer key.Wipe()
	priv = pkcs11.Template{
		pkcs11.Attr(pkcs11.CKA_VALUE, key.value()),
		pkcs11.AttrUlong(pkcs11.CKA_HSS_KEYS_REMAINING, uint(s.capacity())),
	}
	return publicAttributes(s, key.public()), priv, nil
}

func publicAttributes(s scheme, value []byte) pkcs11.Template {
	return pkcs11.Template{
		pkcs11.AttrUlong(pkcs11.CKA_HSS_LEVELS, uint(len(s))),
		pkcs11.AttrUlong(pkcs11.CKA_HSS_LMS_TYPE, uint(s[0].tree.id)),
		pkcs11.AttrUlong(pkcs11.CKA_HSS_LMOTS_TYPE, uint(s[0].ots.id)),
		pkcs11.Attr(pkcs11.CKA_VALUE, value),
	}
}

// check takes public keys. A private one from outside has a state elsewhere.
func check(class pkcs11.ObjectClass, t pkcs11.Template) (pkcs11.Template, error) {
	if class != pkcs11.CKO_PUBLIC_KEY {
		return nil, pkcs11.Errorf(pkcs11.CKR_TEMPLATE_INCONSISTENT, "a private key of HSS is made in the token: one that comes from outside has been used nobody knows how often")
	}
	p, err := parsePublic(t.Bytes(pkcs11.CKA_VALUE))
	if err != nil {
		return nil, err
	}
	add := publicAttributes(scheme{p.top.level}, t.Bytes(pkcs11.CKA_VALUE))
	return add.Set(pkcs11.CKA_HSS_LEVELS, uint(p.levels)), nil
}

// oid is id-alg-hss-lms-hashsig (RFC 9708, 4; RFC 9802).
var oid = []int{1, 2, 840, 113549, 1, 9, 16, 3, 17}

// publicKeyInfo writes public keys; a private key would have to grow its tree for it.
func publicKeyInfo(class pkcs11.ObjectClass, t pkcs11.Template) ([]byte, error) {
	if class != pkcs11.CKO_PUBLIC_KEY {
		return nil, nil
	}
	if _, err := parsePublic(t.Bytes(pkcs11.CKA_VALUE)); err != nil {
		return nil, err
	}
	return postquantum.PublicInfo(oid, t.Bytes(pkcs11.CKA_VALUE))
}
