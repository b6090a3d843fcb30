package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/attr"
	. "github.com/mmcloughlin/avo/build" //nolint:staticcheck // avo is meant to be read like assembly
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// wide is an almost-Montgomery multiplication of eight numbers modulo eight moduli: each lane of a register is another
// number's, and a number's digits stand 64 bytes apart. There is nothing to shift between lanes and nobody to wait for, so
// that the multipliers are busy all the time.
//
// Column j of the running sum is register t[j]. One step, for digit b[i]:
//
//	t += lo(a*b[i])
//	m  = t[0] * k0 mod 2^52
//	t += lo(m*n)                                  t[0] is divisible by 2^52 now
//	t  = t/2^52                                   the registers change their roles
//	t += hi(a*b[i]) + hi(m*n)
//
// A register lives for so many steps as there are digits and takes four products of 52 bits in each: 120 of them at most.
type wide struct {
	digits              int
	out, a, b, mod, cnt reg.Register
	t                   []reg.VecPhysical
	bi, m               reg.VecPhysical
	hold                []reg.VecPhysical // for digits that are used twice, where there is room
}

const wideUnroll = 10

func newWide(digits int) *wide {
	g := &wide{digits: digits}
	var free zmm
	for range digits {
		g.t = append(g.t, free.next())
	}
	g.bi, g.m = free.next(), free.next()
	for range min(free.left(), 4) {
		g.hold = append(g.hold, free.next())
	}
	return g
}

func at(base reg.Register, digit int) Mem { return Mem{Base: base, Disp: 8 * lanes * digit} }

func (g *wide) emit() {
	name := fmt.Sprintf("ammWide%d", g.digits)
	TEXT(name, attr.NOSPLIT, "func(out, a, b, mod *uint64, times int)")
	Pragma("noescape")
	Doc(name + " sets out = a*b/R mod the eight moduli in mod, R = 2^(52*" + fmt.Sprint(g.digits) + "), and then squares out times-1 times.")
	g.out = Load(Param("out"), GP64())
	g.a = Load(Param("a"), GP64())
	g.b = Load(Param("b"), GP64())
	g.mod = Load(Param("mod"), GP64())
	g.cnt = Load(Param("times"), GP64())
	x := GP64()
	MOVQ(U64(1<<digitBits-1), x)

	Label("round")
	for _, t := range g.t {
		VPXORQ(t, t, t)
	}
	next, left := GP64(), GP64()
	MOVQ(g.b, next)
	MOVQ(U64(g.digits/wideUnroll), left)
	Label("digit")
	for i := range wideUnroll {
		g.step(next, i)
	}
	g.rotate()
	ADDQ(U32(8*lanes*wideUnroll), next)
	DECQ(left)
	JNZ(LabelRef("digit"))

	VPBROADCASTQ(x, g.bi)
	for j, t := range g.t {
		if j+1 < g.digits {
			VPSRLQ(U8(digitBits), t, g.m)
			VPADDQ(g.m, g.t[j+1], g.t[j+1])
		}
		VPANDQ(g.bi, t, t)
		VMOVDQU64(t, at(g.out, j))
	}
	MOVQ(g.out, g.a)
	MOVQ(g.out, g.b)
	DECQ(g.cnt)
	JNZ(LabelRef("round"))
	VZEROUPPER()
	RET()
}

// column is the register of column j after so many steps since the registers were in order.
func (g *wide) column(steps, j int) reg.VecPhysical { return g.t[(j+steps)%g.digits] }

func (g *wide) step(next reg.Register, i int) {
	t := func(j int) reg.VecPhysical { return g.column(i, j) }
	VMOVDQU64(at(next, i), g.bi)
	VPMADD52LUQ(at(g.a, 0), g.bi, t(0))
	VPXORQ(g.m, g.m, g.m)
	VPMADD52LUQ(at(g.mod, g.digits), t(0), g.m)
	if len(g.hold) == 0 {
		g.byReading(t)
		return
	}
	// The high halves go where the low ones of the next digit do, but for the last, whose place t[0] leaves.
	last := g.digits - 1
	var a, n []Op
	for j := range g.digits {
		a = append(a, g.held(2*j, g.a, j))
		if j > 0 {
			VPMADD52LUQ(a[j], g.bi, t(j))
		}
		if j < last {
			VPMADD52HUQ(a[j], g.bi, t(j+1))
		}
	}
	for j := range g.digits {
		n = append(n, g.held(2*j+1, g.mod, j))
		VPMADD52LUQ(n[j], g.m, t(j))
		if j < last {
			VPMADD52HUQ(n[j], g.m, t(j+1))
		}
	}
	g.carry(t)
	VPMADD52HUQ(at(g.a, last), g.bi, t(g.digits))
	VPMADD52HUQ(n[last], g.m, t(g.digits))
}

// held reads a digit into one of the registers for that.
func (g *wide) held(turn int, base reg.Register, j int) Op {
	r := g.hold[turn/2%len(g.hold)]
	VMOVDQU64(at(base, j), r)
	return r
}

// carry moves what is left of t[0] to t[1].
func (g *wide) carry(t func(int) reg.VecPhysical) {
	VPSRLQ(U8(digitBits), t(0), t(0))
	VPADDQ(t(0), t(1), t(1))
	VPXORQ(t(0), t(0), t(0))
}

// byReading is the rest of a step where all registers hold columns.
func (g *wide) byReading(t func(int) reg.VecPhysical) {
	for j := 1; j < g.digits; j++ {
		VPMADD52LUQ(at(g.a, j), g.bi, t(j))
	}
	for j := range g.digits {
		VPMADD52LUQ(at(g.mod, j), g.m, t(j))
	}
	g.carry(t)
	for j := range g.digits {
		VPMADD52HUQ(at(g.a, j), g.bi, t(j+1))
		VPMADD52HUQ(at(g.mod, j), g.m, t(j+1))
	}
}

// rotate puts the registers in order again after wideUnroll steps.
func (g *wide) rotate() {
	if g.digits%wideUnroll != 0 {
		panic("the cycles of the rotation are not of this length")
	}
	for j := range wideUnroll {
		VMOVDQU64(g.t[j], g.m)
		for k := j; ; k += wideUnroll {
			if k+wideUnroll >= g.digits {
				VMOVDQU64(g.m, g.t[k])
				break
			}
			VMOVDQU64(g.t[k+wideUnroll], g.t[k])
		}
	}
}

// pickWide reads every entry of the table and keeps, for each lane, one by its own secret index.
func pickWide(digits int) {
	name := fmt.Sprintf("pickWide%d", digits)
	TEXT(name, attr.NOSPLIT, "func(out, table, index *uint64)")
	Pragma("noescape")
	Doc(fmt.Sprintf("%s sets each lane of out to that lane of one of the %d entries of a table, as its lane of index says.", name, windows))
	out := Load(Param("out"), GP64())
	table := Load(Param("table"), GP64())
	which := Load(Param("index"), GP64())
	var free zmm
	count, one, index, mask := free.next(), free.next(), free.next(), free.next()
	x := GP64()
	MOVQ(U64(1), x)
	VPBROADCASTQ(x, one)
	VMOVDQU64(Mem{Base: which}, index)
	const most = 20 // digits at a time
	rounds := (digits + most - 1) / most
	n := digits / rounds
	acc := make([]reg.VecPhysical, n)
	for j := range acc {
		acc[j] = free.next()
	}
	for round := range rounds {
		for _, r := range acc {
			VPXORQ(r, r, r)
		}
		VPXORQ(count, count, count)
		entry, left := GP64(), GP64()
		MOVQ(table, entry)
		MOVQ(U64(windows), left)
		label := fmt.Sprintf("entry%d", round)
		Label(label)
		VPCMPUQ(U8(0), count, index, reg.K1)
		VPMOVM2Q(reg.K1, mask)
		VPADDQ(one, count, count)
		for j, r := range acc {
			VPTERNLOGQ(U8(0xf8), at(entry, round*n+j), mask, r)
		}
		ADDQ(U32(8*lanes*digits), entry)
		DECQ(left)
		JNZ(LabelRef(label))
		for j, r := range acc {
			VMOVDQU64(r, at(out, round*n+j))
		}
	}
	VZEROUPPER()
	RET()
}
