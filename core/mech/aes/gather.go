package aes

import (
	"github.com/coffer-hsm/coffer/pkcs11"
)

// MaxGathered is how many bytes of a multi-part operation are kept for a mode that needs its input whole: GCM, whose
// plaintext may not appear before its tag is checked.
const MaxGathered = 64 << 20

// gather collects the parts of an operation that works on its whole input.
type gather struct {
	buf    []byte
	excess pkcs11.RV // what to answer when it gets too much
}

func (g *gather) UpdateLen(int) int { return 0 }

func (g *gather) Update(dst, src []byte) ([]byte, error) {
	return dst, g.add(src)
}

func (g *gather) add(src []byte) error {
	if len(src) > MaxGathered-len(g.buf) {
		return pkcs11.Errorf(g.excess, "%d bytes in parts, at most %d can be kept", len(g.buf)+len(src), MaxGathered)
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

// all returns the whole input, the last part included. A single part is not copied.
func (g *gather) all(src []byte) ([]byte, error) {
	if len(g.buf) == 0 {
		return src, nil
	}
	err := g.add(src)
	return g.buf, err
}

func (g *gather) Close() {
	clear(g.buf)
	g.buf = nil
}
