package modes

import "github.com/coffer-hsm/coffer/pkcs11"

// MaxGathered is how many bytes of a multi-part operation are kept for a mode that needs its input whole: an AEAD, whose
// plaintext may not appear before its tag is checked.
const MaxGathered = 64 << 20

// Gather collects the parts of an operation that works on its whole input.
type Gather struct {
	Excess pkcs11.RV // what to answer when it gets too much
	buf    []byte
}

// Len is how many bytes are kept.
func (g *Gather) Len() int { return len(g.buf) }

// UpdateLen is 0: all comes out at the end.
func (g *Gather) UpdateLen(int) int { return 0 }

// Update takes a part.
func (g *Gather) Update(dst, src []byte) ([]byte, error) {
	return dst, g.Add(src)
}

// Add takes a part.
func (g *Gather) Add(src []byte) error {
	if len(src) > MaxGathered-len(g.buf) {
		return pkcs11.Errorf(g.Excess, "%d bytes in parts, at most %d can be kept", len(g.buf)+len(src), MaxGathered)
	}
	if need := len(g.buf) + len(src); need > cap(g.buf) {
		// append would leave the old bytes behind.
		bigger := make([]byte, len(g.buf), max(need, 2*cap(g.buf), 512))
		copy(bigger, g.buf)
		clear(g.buf)
		g.buf = bigger
	}
	g.buf = append(g.buf, src...)
	return nil
}

// All returns the whole input, the last part included. A single part is not copied.
func (g *Gather) All(src []byte) ([]byte, error) {
	if len(g.buf) == 0 {
		return src, nil
	}
	err := g.Add(src)
	return g.buf, err
}

// Close wipes what was kept.
func (g *Gather) Close() {
	clear(g.buf)
	g.buf = nil
}
