package ff

import (
	"bytes"
	"crypto/rand"
	"math/big"
	"testing"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// TestSafePrimes: each number of the table is a safe prime of the length in its name, and 2 generates the subgroup.
func TestSafePrimes(t *testing.T) {
	for _, s := range safePrimes {
		p, ok := new(big.Int).SetString(s.p, 16)
		if !ok {
			t.Fatal(s.name)
		}
		q := new(big.Int).Rsh(p, 1)
		if p.BitLen() > 3072 && testing.Short() {
			continue
		}
		if !p.ProbablyPrime(0) || !q.ProbablyPrime(0) || big.Jacobi(big.NewInt(2), p) != 1 {
			t.Errorf("%s is no safe prime with base 2", s.name)
		}
		if s.bits < 2*112 || s.bits > uint(p.BitLen()) {
			t.Errorf("%s: private values of %d bits", s.name, s.bits)
		}
	}
}

func TestExpAgreesWithMathBig(t *testing.T) {
	g := Named(2048)
	for _, bits := range []uint{1, 8, 255, 256, 2047} {
		x, err := rand.Int(rand.Reader, new(big.Int).Lsh(one, bits))
		if err != nil {
			t.Fatal(err)
		}
		y, err := g.Exp(g.G.Bytes(), x.Bytes())
		if want := new(big.Int).Exp(g.G, x, g.P); err != nil || !bytes.Equal(y, want.FillBytes(make([]byte, 256))) {
			t.Errorf("%d bits: %x, %v", bits, y, err)
		}
	}
	if _, err := g.Exp(g.P.Bytes(), []byte{1}); pkcs11.RVOf(err) != pkcs11.CKR_ATTRIBUTE_VALUE_INVALID {
		t.Error("a base beyond the prime:", err)
	}
}

func TestRangeOfSecrets(t *testing.T) {
	limit := []byte{0x12, 0x00, 0x34}
	for _, v := range []struct {
		x    []byte
		want bool
	}{
		{[]byte{0, 0, 0}, false}, {[]byte{0, 0, 1}, true}, {[]byte{0x12, 0, 0x33}, true}, {limit, false},
		{[]byte{0x12, 0, 0x35}, false}, {[]byte{0x11, 0xff, 0xff}, true}, {[]byte{0xff, 0, 0}, false}, {[]byte{0x12, 1, 0}, false},
	} {
		if inRange(v.x, limit) != v.want {
			t.Errorf("0 < %x < %x: not %v", v.x, limit, v.want)
		}
	}
}

func TestGeneratedValues(t *testing.T) {
	g := Named(2048)
	for _, bits := range []uint{0, 224, 225, 256, 300, 2047, 5000} {
		x, y, err := g.Generate(bits)
		if err != nil {
			t.Fatal(err)
		}
		if got := uint(new(big.Int).SetBytes(x).BitLen()); bits != 0 && got > bits || uint(len(x)) > 256 {
			t.Errorf("%d bits: %d", bits, got)
		}
		if want := new(big.Int).Exp(g.G, new(big.Int).SetBytes(x), g.P); !bytes.Equal(y, want.FillBytes(make([]byte, 256))) {
			t.Errorf("%d bits: another public value", bits)
		}
		if _, err := g.Public(y); err != nil {
			t.Error(err)
		}
	}
}
