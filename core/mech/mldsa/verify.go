package mldsa

import (
	"bytes"
	"crypto/sha3"
)

// verifyMu reports whether sig is a signature of the message that mu stands for (FIPS 204, algorithm 8, from line 8 on).
// The libraries do not offer this; it computes with public data only. The length of sig is right.
func (p *publicKey) verifyMu(mu, sig []byte) bool {
	encoded := p.key.Bytes()
	rho, packedT := encoded[:32], encoded[32:]
	z, hint, ok := p.decode(sig)
	if !ok {
		return false
	}
	challenge := sig[:p.challenge]
	c := inBall(challenge, p.tau)
	c.transform()
	for i := range z {
		z[i].transform()
	}
	h := sha3.NewSHAKE256()
	h.Write(mu)
	for r := range p.k {
		var w poly
		for s := range z {
			a := matrixEntry(rho, r, s)
			w.addProduct(&a, &z[s])
		}
		t := unpack(packedT[r*t1Len:(r+1)*t1Len], t1Bits)
		for j := range t {
			t[j] <<= dropped
		}
		t.transform()
		w.subProduct(&c, &t)
		w.restore()
		h.Write(p.encodeHigh(&w, &hint[r]))
	}
	again := make([]byte, p.challenge)
	h.Read(again) //nolint:errcheck // a SHAKE does not fail
	return bytes.Equal(again, challenge)
}

// decode takes a signature apart (algorithm 27). It refuses a z that is too long, and hints that are not written in the
// one way that is allowed.
func (s *set) decode(sig []byte) (z []poly, hint [][n]bool, ok bool) {
	gamma := uint32(1) << s.gamma1
	bits := s.gamma1 + 1
	size := n * bits / 8
	rest := sig[s.challenge:]
	z = make([]poly, s.l)
	for i := range z {
		z[i] = unpack(rest[:size], bits)
		for j, packed := range z[i] {
			// What is packed is gamma1 - z, from 0 to 2 gamma1 - 1; z must be below gamma1 - beta either way.
			if packed <= s.beta || packed >= 2*gamma-s.beta {
				return nil, nil, false
			}
			z[i][j] = sub(gamma, packed)
		}
		rest = rest[size:]
	}
	hint = make([][n]bool, s.k)
	at := 0
	for i, end := range rest[s.omega:] {
		if int(end) < at || int(end) > s.omega {
			return nil, nil, false
		}
		for first := at; at < int(end); at++ {
			if at > first && rest[at-1] >= rest[at] {
				return nil, nil, false
			}
			hint[i][rest[at]] = true
		}
	}
	for _, left := range rest[at:s.omega] {
		if left != 0 {
			return nil, nil, false
		}
	}
	return z, hint, true
}

// encodeHigh writes the high bits of w, put right by the hints (algorithms 28, 36 and 40: w1Encode, Decompose, UseHint).
func (s *set) encodeHigh(w *poly, hint *[n]bool) []byte {
	alpha := 2 * s.gamma2
	high := (q - 1) / alpha // 44 or 16 values
	bits := 6
	if high == 16 {
		bits = 4
	}
	out := make([]byte, 0, n*bits/8)
	acc, have := uint32(0), 0
	for j, r := range w {
		low := r % alpha // -gamma2 < low <= gamma2, once it is centred
		negative := low > s.gamma2
		r1 := r / alpha
		if negative {
			r1++
		}
		if r1 == high { // r - low is q - 1: its high bits are 0 and low is one less
			r1, negative = 0, true
		}
		positive := !negative && low > 0
		if hint[j] && positive {
			r1 = (r1 + 1) % high
		} else if hint[j] {
			r1 = (r1 + high - 1) % high
		}
		acc |= r1 << have
		for have += bits; have >= 8; have -= 8 {
			out = append(out, byte(acc))
			acc >>= 8
		}
	}
	return out
}
