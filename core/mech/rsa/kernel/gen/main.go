// Command gen writes the assembly of package kernel: go generate in the package's directory runs it. It is a module of
// its own, so that avo is no dependency of the library.
package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/attr"
	. "github.com/mmcloughlin/avo/build" //nolint:staticcheck // avo is meant to be read like assembly
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

const (
	digitBits = 52
	lanes     = 8  // digits in a register
	windows   = 32 // entries of a table of powers
)

func main() {
	ConstraintExpr("amd64,!purego")
	for _, digits := range []int{20, 30, 40} {
		newAMM(digits, 2).emit()
	}
	for _, digits := range []int{40, 60, 80} {
		newAMM(digits, 1).emit()
	}
	for _, digits := range []int{20, 30, 40} {
		pick(digits)
	}
	for _, digits := range []int{20, 30} {
		newWide(digits).emit()
		pickWide(digits)
	}
	Generate()
}

// regs is how many registers hold a number of so many digits.
func regs(digits int) int { return (digits + lanes - 1) / lanes }

// stride is the distance of the two numbers of a pair, in digits: eight zeros follow each number.
func stride(digits int) int { return lanes * (regs(digits) + 1) }

var shape = map[int]string{1: "One", 2: "Pair"}

// zmm hands out the vector registers from 0 on.
type zmm int

func (z *zmm) next() reg.VecPhysical {
	all := []reg.VecPhysical{
		reg.Z0, reg.Z1, reg.Z2, reg.Z3, reg.Z4, reg.Z5, reg.Z6, reg.Z7,
		reg.Z8, reg.Z9, reg.Z10, reg.Z11, reg.Z12, reg.Z13, reg.Z14, reg.Z15,
		reg.Z16, reg.Z17, reg.Z18, reg.Z19, reg.Z20, reg.Z21, reg.Z22, reg.Z23,
		reg.Z24, reg.Z25, reg.Z26, reg.Z27, reg.Z28, reg.Z29, reg.Z30, reg.Z31,
	}
	*z++
	return all[*z-1]
}

func (z *zmm) left() int { return 32 - int(*z) }

// amm is an almost-Montgomery multiplication of one number, or of two modulo two moduli side by side.
//
// Column j of the running sum is lane j%8 of register j/8; a lane takes at most 4 products of 52 bits a digit and so has
// room for the carries of a thousand digits. One step, for digit b[i] with the sum t:
//
//	m  = t[0] * k0 mod 2^52                       so that t + m*n is divisible by 2^52
//	t  = t/2^52 + ceil(t[0]/2^52)                 a shift by one lane; what lane 0 had left is its carry, and the
//	                                              low half of m*n[0] makes that carry whole whatever m is
//	t += lo(m * n/2^52) + hi(m*n)                 n/2^52 is n read from one digit further on
//	t += hi(a*b[i]) + lo(a*b[i+1])                gathered in h, which depends on nothing above
//
// so that the path from t[0] to the next t[0] is two multiplications, a broadcast and an addition. The second number of
// a pair fills the time that this path leaves.
type amm struct {
	name                string
	digits, z           int
	out, a, b, mod, cnt reg.Register
	tmp, mask           reg.VecPhysical
	k0off               int
	num                 []*number
}

// number is what belongs to one of the moduli.
type number struct {
	at   int // its first digit in every operand
	t, h []reg.VecPhysical
	a    []reg.VecPhysical // as many of a's registers as there was room for
	m, b reg.VecPhysical
	k0   Op
}

func newAMM(digits, count int) *amm {
	g := &amm{name: fmt.Sprintf("amm%s%d", shape[count], digits), digits: digits, z: regs(digits)}
	var free zmm
	g.mask = free.next()
	g.tmp = free.next()
	for i := range count {
		n := &number{at: i * stride(digits), m: free.next(), b: free.next()}
		for range g.z {
			n.t = append(n.t, free.next())
			n.h = append(n.h, free.next())
		}
		g.num = append(g.num, n)
	}
	inRegs := min(g.z, free.left()/count)
	for _, n := range g.num {
		for range inRegs {
			n.a = append(n.a, free.next())
		}
	}
	g.k0off = count * stride(digits)
	return g
}

// digit is digit i of n in the number at base.
func (n *number) digit(base reg.Register, i int) Mem { return Mem{Base: base, Disp: 8 * (n.at + i)} }

func (g *amm) aOp(n *number, j int) Op {
	if j < len(n.a) {
		return n.a[j]
	}
	return n.digit(g.a, lanes*j)
}

// each does f for register j of every number, numbers side by side.
func (g *amm) each(f func(n *number, j int)) {
	for j := range g.z {
		for _, n := range g.num {
			f(n, j)
		}
	}
}

func (g *amm) emit() {
	TEXT(g.name, attr.NOSPLIT, "func(out, a, b, mod *uint64, times int)")
	Pragma("noescape")
	Doc(g.name + " sets out = a*b/R mod the moduli in mod, R = 2^(52*" + fmt.Sprint(g.digits) + "), and then squares out times-1 times.")
	g.out = Load(Param("out"), GP64())
	g.a = Load(Param("a"), GP64())
	g.b = Load(Param("b"), GP64())
	g.mod = Load(Param("mod"), GP64())
	g.cnt = Load(Param("times"), GP64())
	x := GP64()
	MOVQ(U64(1<<digitBits-1), x)
	VPBROADCASTQ(x, g.mask)
	MOVQ(U64(1), x)
	KMOVB(x.As32(), reg.K1) // lane 0
	MOVQ(U64(0x7f), x)
	KMOVB(x.As32(), reg.K2) // all lanes but 7
	for i, n := range g.num {
		n.k0 = Mem{Base: g.mod, Disp: 8 * (g.k0off + lanes*i)}
	}

	Label("round")
	g.each(func(n *number, j int) {
		if j < len(n.a) {
			VMOVDQU64(n.digit(g.a, lanes*j), n.a[j])
		}
	})
	for _, n := range g.num {
		VPBROADCASTQ(n.digit(g.b, 0), n.b)
	}
	g.each(func(n *number, j int) {
		VPXORQ(n.t[j], n.t[j], n.t[j])
		VPMADD52LUQ(g.aOp(n, j), n.b, n.t[j])
	})
	next := GP64()
	MOVQ(g.b, next)
	left := GP64()
	MOVQ(U64(g.digits/unroll), left)
	Label("digit")
	for i := range unroll {
		g.step(next, i)
	}
	ADDQ(U32(8*unroll), next)
	DECQ(left)
	JNZ(LabelRef("digit"))

	g.normalise()
	MOVQ(g.out, g.a)
	MOVQ(g.out, g.b)
	DECQ(g.cnt)
	JNZ(LabelRef("round"))
	VZEROUPPER()
	RET()
}

const unroll = 5

// step is one digit of b; next points at it and i counts on from there.
func (g *amm) step(next reg.Register, i int) {
	for _, n := range g.num {
		VPXORQ(n.m, n.m, n.m)
		VPMADD52LUQ(n.k0, n.t[0], n.m)
		VPBROADCASTQ(n.m.AsX(), n.m)
	}
	g.each(func(n *number, j int) {
		VPXORQ(n.h[j], n.h[j], n.h[j])
		VPMADD52HUQ(g.aOp(n, j), n.b, n.h[j])
	})
	for _, n := range g.num {
		VPBROADCASTQ(n.digit(next, i+1), n.b)
	}
	for _, n := range g.num {
		VPADDQ(g.mask, n.t[0], g.tmp)
		VPSRLQ_Z(U8(digitBits), g.tmp, reg.K1, g.tmp)
		for j := range g.z - 1 {
			VALIGNQ(U8(1), n.t[j], n.t[j+1], n.t[j])
		}
		VALIGNQ_Z(U8(1), n.t[g.z-1], n.t[g.z-1], reg.K2, n.t[g.z-1])
		VPADDQ(g.tmp, n.t[0], n.t[0])
	}
	g.each(func(n *number, j int) { VPMADD52LUQ(g.aOp(n, j), n.b, n.h[j]) })
	g.each(func(n *number, j int) {
		VPMADD52LUQ(n.digit(g.mod, lanes*j+1), n.m, n.t[j])
		VPMADD52HUQ(n.digit(g.mod, lanes*j), n.m, n.h[j])
	})
	g.each(func(n *number, j int) { VPADDQ(n.h[j], n.t[j], n.t[j]) })
}

// normalise brings all lanes below 2^52 and stores them. A first pass moves the carries of each lane one lane up, which
// leaves carries of 1 at most. Lanes that carry (over) and lanes that would pass a carry on (full) are bits of a word;
// then the processor's own addition of full + 2*over finds in its exclusive or with full who gets a carry.
func (g *amm) normalise() {
	g.each(func(n *number, j int) { VPSRLQ(U8(digitBits), n.t[j], n.h[j]) })
	g.each(func(n *number, j int) { VPANDQ(g.mask, n.t[j], n.t[j]) })
	for j := g.z - 1; j > 0; j-- {
		for _, n := range g.num {
			VALIGNQ(U8(7), n.h[j-1], n.h[j], n.h[j])
		}
	}
	VPXORQ(g.tmp, g.tmp, g.tmp)
	for _, n := range g.num {
		VALIGNQ(U8(7), g.tmp, n.h[0], n.h[0])
	}
	g.each(func(n *number, j int) { VPADDQ(n.h[j], n.t[j], n.t[j]) })
	VPTERNLOGQ(U8(0xff), g.tmp, g.tmp, g.tmp) // -1 in every lane
	ks := []reg.OpmaskPhysical{reg.K3, reg.K4, reg.K5, reg.K6, reg.K7}
	k := 0
	mask := func() reg.OpmaskPhysical { k++; return ks[k%len(ks)] }
	for _, n := range g.num {
		over, full := g.compare(n, 6, mask), g.compare(n, 0, mask)
		for w := range over { // over *= 2
			if w == 0 {
				ADDQ(over[w], over[w])
			} else {
				ADCQ(over[w], over[w])
			}
		}
		for w := range over { // over += full
			if w == 0 {
				ADDQ(full[w], over[w])
			} else {
				ADCQ(full[w], over[w])
			}
		}
		for w := range over {
			XORQ(full[w], over[w])
		}
		for j := range g.z {
			w := over[j/lanes]
			if j%lanes > 0 {
				SHRQ(U8(lanes), w)
			}
			inc := mask()
			KMOVB(w.As32(), inc)
			VPSUBQ(g.tmp, n.t[j], inc, n.t[j])
		}
	}
	g.each(func(n *number, j int) {
		VPANDQ(g.mask, n.t[j], n.t[j])
		VMOVDQU64(n.t[j], n.digit(g.out, lanes*j))
	})
}

// compare returns a bit for every lane of n.t, set where it stands in the relation (of VPCMPUQ) to 2^52-1.
func (g *amm) compare(n *number, relation uint8, mask func() reg.OpmaskPhysical) (words []reg.GPVirtual) {
	for j := range g.z {
		k := mask()
		VPCMPUQ(U8(relation), g.mask, n.t[j], k)
		r := GP64()
		KMOVB(k, r.As32())
		if j%lanes == 0 {
			words = append(words, r)
			continue
		}
		SHLQ(U8(lanes*(j%lanes)), r)
		ORQ(r, words[j/lanes])
	}
	return words
}

const pickUnroll = 4

// pick reads every entry of the table of pairs and keeps one of each half, the halves by their own secret index.
func pick(digits int) {
	z := regs(digits)
	TEXT(fmt.Sprintf("pick%d", digits), attr.NOSPLIT, "func(out, table *uint64, p, q uint64)")
	Pragma("noescape")
	Doc(fmt.Sprintf("pick%d sets out to the first half of entry p and the second half of entry q of a table of %d pairs.", digits, windows))
	out := Load(Param("out"), GP64())
	table := Load(Param("table"), GP64())
	var free zmm
	count, one := free.next(), free.next()
	var index, mask [2]reg.VecPhysical
	var acc [2][]reg.VecPhysical
	x := GP64()
	for i, name := range []string{"p", "q"} {
		index[i], mask[i] = free.next(), free.next()
		Load(Param(name), x)
		VPBROADCASTQ(x, index[i])
		for range z {
			r := free.next()
			VPXORQ(r, r, r)
			acc[i] = append(acc[i], r)
		}
	}
	MOVQ(U64(1), x)
	VPBROADCASTQ(x, one)
	VPXORQ(count, count, count)
	left := GP64()
	MOVQ(U64(windows/pickUnroll), left)
	Label("entry")
	for entry := range pickUnroll {
		for i := range 2 {
			VPCMPUQ(U8(0), count, index[i], reg.K1)
			VPMOVM2Q(reg.K1, mask[i])
		}
		VPADDQ(one, count, count)
		for j := range z {
			for i := range 2 {
				// acc |= mask & entry
				at := 8 * (2*entry*stride(digits) + i*stride(digits) + lanes*j)
				VPTERNLOGQ(U8(0xf8), Mem{Base: table, Disp: at}, mask[i], acc[i][j])
			}
		}
	}
	ADDQ(U32(pickUnroll*16*stride(digits)), table)
	DECQ(left)
	JNZ(LabelRef("entry"))
	for j := range z {
		for i := range 2 {
			VMOVDQU64(acc[i][j], Mem{Base: out, Disp: 8 * (i*stride(digits) + lanes*j)})
		}
	}
	VZEROUPPER()
	RET()
}
