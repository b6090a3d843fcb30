package mldsa

import "crypto/sha3"

// The ring of FIPS 204: polynomials of degree n-1 modulo X^n+1, coefficients modulo q (4, table 1). Here it serves
// verification, whose data are public, and the check of an expanded private key. What that uses takes the same time
// whatever the coefficients are; matrixEntry and inBall do not, and see public data only.
const (
	n       = 256
	q       = 8380417
	dropped = 13 // the bits that a public key does not hold: d
	t1Bits  = 10 // and those that it holds
	t1Len   = n * t1Bits / 8
)

// poly has coefficients from 0 to q-1, of a polynomial or of its number theoretic transform.
type poly [n]uint32

// zetas are the powers of 1753, a 512th root of unity, in bit-reversed order (FIPS 204, appendix B).
var zetas = func() (z [n]uint32) {
	for i := range z {
		r := 0
		for b := range 8 {
			r |= i >> b & 1 << (7 - b)
		}
		power := uint32(1)
		for range r {
			power = mul(power, 1753)
		}
		z[i] = power
	}
	return z
}()

// mul is a product; the compiler divides by a constant with multiplications.
func mul(a, b uint32) uint32 { return uint32(uint64(a) * uint64(b) % q) }

func add(a, b uint32) uint32 {
	s := a + b - q
	return s + q&-(s>>31)
}

func sub(a, b uint32) uint32 {
	s := a - b
	return s + q&-(s>>31)
}

// transform is algorithm 41, NTT.
func (p *poly) transform() {
	m := 0
	for length := n / 2; length > 0; length /= 2 {
		for start := 0; start < n; start += 2 * length {
			m++
			z := zetas[m]
			for j := start; j < start+length; j++ {
				t := mul(z, p[j+length])
				p[j+length] = sub(p[j], t)
				p[j] = add(p[j], t)
			}
		}
	}
}

// restore is algorithm 42, the inverse of NTT.
func (p *poly) restore() {
	m := n
	for length := 1; length < n; length *= 2 {
		for start := 0; start < n; start += 2 * length {
			m--
			z := q - zetas[m]
			for j := start; j < start+length; j++ {
				t := p[j]
				p[j] = add(t, p[j+length])
				p[j+length] = mul(z, sub(t, p[j+length]))
			}
		}
	}
	for j := range p {
		p[j] = mul(p[j], 8347681) // 1/256
	}
}

// addProduct adds the product of two transforms.
func (p *poly) addProduct(a, b *poly) {
	for j := range p {
		p[j] = add(p[j], mul(a[j], b[j]))
	}
}

// subProduct takes it away.
func (p *poly) subProduct(a, b *poly) {
	for j := range p {
		p[j] = sub(p[j], mul(a[j], b[j]))
	}
}

// unpack reads numbers of some bits each, the lowest first (algorithm 16, 18).
func unpack(packed []byte, bits int) (p poly) {
	acc, have, j := uint32(0), 0, 0
	for _, b := range packed {
		acc |= uint32(b) << have
		for have += 8; have >= bits; have -= bits {
			p[j] = acc & (1<<bits - 1)
			acc >>= bits
			j++
		}
	}
	return p
}

// matrixEntry is the transform at row r, column s of A (algorithm 30, RejNTTPoly).
func matrixEntry(rho []byte, r, s int) (p poly) {
	h := sha3.NewSHAKE128()
	h.Write(rho)
	h.Write([]byte{byte(s), byte(r)})
	var buf [168]byte // a block
	for j, at := 0, len(buf); j < n; at += 3 {
		if at == len(buf) {
			h.Read(buf[:]) //nolint:errcheck // a SHAKE does not fail
			at = 0
		}
		if c := uint32(buf[at]) | uint32(buf[at+1])<<8 | uint32(buf[at+2]&0x7f)<<16; c < q {
			p[j] = c
			j++
		}
	}
	return p
}

// inBall is the challenge: tau coefficients are 1 or -1, the others 0 (algorithm 29, SampleInBall).
func inBall(seed []byte, tau int) (c poly) {
	h := sha3.NewSHAKE256()
	h.Write(seed)
	var signs [8]byte
	h.Read(signs[:]) //nolint:errcheck // a SHAKE does not fail
	var b [1]byte
	for i := n - tau; i < n; i++ {
		for h.Read(b[:]); int(b[0]) > i; h.Read(b[:]) { //nolint:errcheck // a SHAKE does not fail
		}
		bit := i + tau - n
		c[i] = c[b[0]]
		c[b[0]] = 1
		if signs[bit/8]>>(bit%8)&1 == 1 {
			c[b[0]] = q - 1
		}
	}
	return c
}
