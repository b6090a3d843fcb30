package hss

import (
	"crypto/subtle"
	"encoding/binary"

	"github.com/coffer-hsm/coffer/core/secret"
)

// grown is a Merkle tree with all its nodes. It does not change once it is made.
type grown struct {
	level
	identity, seed []byte
	// nodes are numbered from 1, the root; the children of r are 2r and 2r+1. nodes[0] is not used.
	nodes []byte
}

// leaf and join are the hashes of the nodes (RFC 8554, 5.3).
func (t *tree) leaf(identity []byte, r uint32, public []byte) []byte {
	return t.sum(prefix(identity, r, dLeaf), public)
}

func (t *tree) join(identity []byte, r uint32, left, right []byte) []byte {
	return t.sum(prefix(identity, r, dInner), left, right)
}

// grow makes a tree of its seed. It takes level.work hashes.
func (l level) grow(identity, seed []byte) *grown {
	g := &grown{level: l, identity: identity, seed: seed, nodes: make([]byte, l.tree.n<<(l.height+1))}
	first := uint32(1) << l.height
	for q := range first {
		copy(g.node(first+q), l.leaf(identity, first+q, l.ots.public(identity, seed, q)))
	}
	for r := first - 1; r >= 1; r-- {
		copy(g.node(r), l.join(identity, r, g.node(2*r), g.node(2*r+1)))
	}
	return g
}

func (g *grown) node(r uint32) []byte {
	n := uint32(g.tree.n)
	return g.nodes[r*n : (r+1)*n]
}

func (g *grown) wipe() { secret.Wipe(g.seed) }

// public is the LMS public key (RFC 8554, 5.3).
func (g *grown) public() []byte {
	b := binary.BigEndian.AppendUint32(make([]byte, 0, g.publicLen()), g.tree.id)
	b = binary.BigEndian.AppendUint32(b, g.ots.id)
	b = append(b, g.identity...)
	return append(b, g.node(1)...)
}

// sign makes the signature with leaf q (RFC 8554, 5.4, algorithm 5). It must be called once for a leaf, ever.
func (g *grown) sign(q uint32, message []byte) []byte {
	return g.frame(q, g.ots.sign(g.identity, g.seed, q, message))
}

func (g *grown) frame(q uint32, oneTime []byte) []byte {
	sig := binary.BigEndian.AppendUint32(make([]byte, 0, g.signatureLen()), q)
	sig = append(sig, oneTime...)
	sig = binary.BigEndian.AppendUint32(sig, g.tree.id)
	for r := uint32(1)<<g.height + q; r > 1; r /= 2 {
		sig = append(sig, g.node(r^1)...)
	}
	return sig
}

// lmsPublic is an LMS public key that was taken apart.
type lmsPublic struct {
	level
	identity, root []byte
	encoded        []byte
}

// readPublic takes an LMS public key from the front of b; ok is false where none is there.
func readPublic(b []byte) (p lmsPublic, rest []byte, ok bool) {
	if len(b) < 8+identityLen {
		return p, nil, false
	}
	l, err := levelOf(uint(binary.BigEndian.Uint32(b)), uint(binary.BigEndian.Uint32(b[4:])))
	if err != nil || len(b) < l.publicLen() {
		return p, nil, false
	}
	n := l.publicLen()
	return lmsPublic{l, b[8 : 8+identityLen], b[8+identityLen : n], b[:n]}, b[n:], true
}

// verify takes a signature from the front of b and reports whether it is one of the message (RFC 8554, 5.4.2, algorithm
// 6 and 6a). All of it is public.
func (p lmsPublic) verify(message, b []byte) (rest []byte, ok bool) {
	if len(b) < p.signatureLen() {
		return nil, false
	}
	sig, rest := b[:p.signatureLen()], b[p.signatureLen():]
	q, oneTime := binary.BigEndian.Uint32(sig), sig[4:4+p.ots.signatureLen()]
	path := sig[4+p.ots.signatureLen():]
	if binary.BigEndian.Uint32(oneTime) != p.ots.id || binary.BigEndian.Uint32(path) != p.tree.id || q>>p.height != 0 {
		return nil, false
	}
	path = path[4:]
	r := uint32(1)<<p.height + q
	node := p.leaf(p.identity, r, p.ots.candidate(p.identity, q, message, oneTime))
	for ; r > 1; r /= 2 {
		sibling := path[:p.tree.n]
		path = path[p.tree.n:]
		if r%2 == 1 {
			node = p.join(p.identity, r/2, sibling, node)
		} else {
			node = p.join(p.identity, r/2, node, sibling)
		}
	}
	return rest, subtle.ConstantTimeCompare(node, p.root) == 1
}
