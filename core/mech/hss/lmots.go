package hss

import (
	"crypto/rand"
	"encoding/binary"
)

// The fields that keep the uses of the hash apart (RFC 8554, 7.1).
const (
	dPublic  = 0x8080 // D_PBLC
	dMessage = 0x8181 // D_MESG
	dLeaf    = 0x8282 // D_LEAF
	dInner   = 0x8383 // D_INTR
	dDerive  = 0xff   // RFC 8554, appendix A
	dChild   = 0xfffe // ours: what makes the seed and identity of a tree below the first one
)

const identityLen = 16 // of I

// prefix is what every hash begins with: I, a number of 32 bits and one of 16.
func prefix(identity []byte, q uint32, d uint16) []byte {
	b := make([]byte, 0, identityLen+6)
	b = append(b, identity...)
	b = binary.BigEndian.AppendUint32(b, q)
	return binary.BigEndian.AppendUint16(b, d)
}

// digits are those of a message's hash with their checksum (RFC 8554, 4.3 and 4.4, algorithm 2).
func (o *ots) digits(q []byte) []int {
	d := make([]int, 0, o.p)
	sum := 0
	take := func(b []byte, count int) {
		for i := range count {
			at := i * o.w
			digit := int(b[at/8]) >> (8 - o.w - at%8) & o.most()
			d = append(d, digit)
		}
	}
	u := 8 * o.n / o.w
	take(q, u)
	for _, digit := range d {
		sum += o.most() - digit
	}
	take(binary.BigEndian.AppendUint16(nil, uint16(sum<<o.ls)), o.p-u)
	return d
}

// chain hashes a value from one step to another in place.
func (o *ots) chain(value, identity []byte, q uint32, digit, from, to int) {
	in := append(prefix(identity, q, uint16(digit)), 0)
	h := o.new()
	var buf [64]byte
	for j := from; j < to; j++ {
		in[len(in)-1] = byte(j)
		h.Reset()
		h.Write(in)
		h.Write(value)
		copy(value, h.Sum(buf[:0])[:o.n])
	}
	h.Reset()
	clear(buf[:])
}

// secretOf is the beginning of a chain (RFC 8554, appendix A).
func (o *ots) secretOf(identity, seed []byte, q uint32, digit int) []byte {
	return o.sum(prefix(identity, q, uint16(digit)), []byte{dDerive}, seed)
}

// public is the one-time public key of a leaf (RFC 8554, 4.3, algorithm 1), without the fields before it.
func (o *ots) public(identity, seed []byte, q uint32) []byte {
	h := o.new()
	h.Write(prefix(identity, q, dPublic))
	for i := range o.p {
		x := o.secretOf(identity, seed, q, i)
		o.chain(x, identity, q, i, 0, o.most())
		h.Write(x)
	}
	return h.Sum(nil)[:o.n]
}

// sign makes the one-time signature of a leaf (RFC 8554, 4.5, algorithm 3). It must be called once for a leaf, ever.
func (o *ots) sign(identity, seed []byte, q uint32, message []byte) []byte {
	c := make([]byte, o.n)
	rand.Read(c)
	return o.signWith(c, identity, seed, q, message)
}

func (o *ots) signWith(c, identity, seed []byte, q uint32, message []byte) []byte {
	sig := binary.BigEndian.AppendUint32(make([]byte, 0, o.signatureLen()), o.id)
	sig = append(sig, c...)
	for i, digit := range o.digits(o.sum(prefix(identity, q, dMessage), c, message)) {
		x := o.secretOf(identity, seed, q, i)
		o.chain(x, identity, q, i, 0, digit)
		sig = append(sig, x...)
	}
	return sig
}

// candidate is the public key that a signature belongs to (RFC 8554, 4.6, algorithm 4b). sig has the right length and
// type.
func (o *ots) candidate(identity []byte, q uint32, message, sig []byte) []byte {
	c, rest := sig[4:4+o.n], sig[4+o.n:]
	h := o.new()
	h.Write(prefix(identity, q, dPublic))
	for i, digit := range o.digits(o.sum(prefix(identity, q, dMessage), c, message)) {
		z := append([]byte{}, rest[i*o.n:(i+1)*o.n]...)
		o.chain(z, identity, q, i, digit, o.most())
		h.Write(z)
	}
	return h.Sum(nil)[:o.n]
}
