package short

import (
	"crypto/subtle"

	"filippo.io/bigmod"
)

// point is a point (x : y : z) in projective coordinates; z is 0 at infinity. The numbers have the limbs of p.
type point struct{ x, y, z *bigmod.Nat }

func (c *Curve) infinity() point { return point{c.zero(), c.one(), c.zero()} }

func (p *point) wipe() {
	for _, v := range []*bigmod.Nat{p.x, p.y, p.z} {
		clear(v.Bits())
	}
}

// work is the memory of one computation. It is the computation's alone.
type work struct {
	*Curve
	t [9]*bigmod.Nat
}

func (c *Curve) work() *work {
	w := &work{Curve: c}
	for i := range w.t {
		w.t[i] = c.zero()
	}
	return w
}

func (w *work) wipe() {
	for _, v := range w.t {
		clear(v.Bits())
	}
}

// mul sets z to xy; z may be x, but not y alone.
func (w *work) mul(z, x, y *bigmod.Nat) *bigmod.Nat {
	copy(z.Bits(), x.Bits())
	return z.Mul(y, w.p)
}

// cross sets z to (a + b)(c + d) - e - f.
func (w *work) cross(z, a, b, c, d, e, f *bigmod.Nat) {
	s := w.t[8]
	copy(z.Bits(), a.Bits())
	z.Add(b, w.p)
	copy(s.Bits(), c.Bits())
	z.Mul(s.Add(d, w.p), w.p).Sub(e, w.p).Sub(f, w.p)
}

// add sets r to p + q, whatever they are; r may be either. The names are those of the formulas as the paper first writes
// them:
//
//	X = (X1Y2 + X2Y1)(Y1Y2 - u) - (Y1Z2 + Y2Z1) w
//	Y = v w + (Y1Y2 + u)(Y1Y2 - u)
//	Z = (Y1Z2 + Y2Z1)(Y1Y2 + u) + (X1Y2 + X2Y1) v
//
// where u = a(X1Z2 + X2Z1) + 3b Z1Z2, v = 3X1X2 + a Z1Z2, w = a(X1X2 - a Z1Z2) + 3b(X1Z2 + X2Z1).
func (w *work) add(r, p, q *point) {
	m := w.p
	xx, yy, zz, xy, xz, yz, u, v := w.t[0], w.t[1], w.t[2], w.t[3], w.t[4], w.t[5], w.t[6], w.t[7]
	w.mul(xx, p.x, q.x)
	w.mul(yy, p.y, q.y)
	w.mul(zz, p.z, q.z)
	w.cross(xy, p.x, p.y, q.x, q.y, xx, yy)
	w.cross(xz, p.x, p.z, q.x, q.z, xx, zz)
	w.cross(yz, p.y, p.z, q.y, q.z, yy, zz)
	// From here on p and q are not read any more, so r may be written.
	ww, s := r.x, w.t[8]

	w.mul(u, zz, w.b3)
	w.mul(ww, xz, w.b3)
	copy(v.Bits(), xx.Bits())
	v.Add(xx, m).Add(xx, m)
	if !w.aIsZero { // of the curve, no secret
		u.Add(w.mul(s, xz, w.a), m)
		w.mul(s, zz, w.a)
		v.Add(s, m)
		ww.Add(xx.Sub(s, m).Mul(w.a, m), m)
	}
	copy(s.Bits(), yy.Bits())
	s.Sub(u, m)  // Y1Y2 - u
	yy.Add(u, m) // Y1Y2 + u

	w.mul(r.y, v, ww).Add(w.mul(u, yy, s), m)
	w.mul(r.z, yz, yy).Add(w.mul(u, xy, v), m)
	yz.Mul(ww, m)
	w.mul(r.x, xy, s).Sub(yz, m)
}

// table is the multiples 0 to 15 of a point, as limbs.
type table struct {
	limbs   int // of a coordinate
	numbers []uint
}

func (w *work) table(p *point) *table {
	t := &table{limbs: len(p.x.Bits())}
	t.numbers = make([]uint, 0, 16*3*t.limbs)
	multiple := w.infinity()
	for i := range 16 {
		if i > 0 {
			w.add(&multiple, &multiple, p)
		}
		for _, v := range []*bigmod.Nat{multiple.x, multiple.y, multiple.z} {
			t.numbers = append(t.numbers, v.Bits()...)
		}
	}
	multiple.wipe()
	return t
}

// pick sets r to the multiple that four bits of a secret name. It reads the whole table.
func (t *table) pick(r *point, digit byte) {
	into := [3][]uint{r.x.Bits(), r.y.Bits(), r.z.Bits()}
	for _, v := range into {
		clear(v)
	}
	for i := range 16 {
		mask := -uint(subtle.ConstantTimeByteEq(byte(i), digit)) //nolint:gosec // 0 or 1
		row := t.numbers[i*3*t.limbs:]
		for _, v := range into {
			for j := range v {
				v[j] |= row[j] & mask
			}
			row = row[t.limbs:]
		}
	}
}

// multiply returns the multiple of a point by a scalar of c.size bytes, which is a secret. The result is the caller's to
// wipe.
func (c *Curve) multiply(p *point, scalar []byte) point {
	w, r, one := c.work(), c.infinity(), c.infinity()
	defer w.wipe()
	defer one.wipe()
	t := w.table(p)
	for _, b := range scalar {
		for _, digit := range []byte{b >> 4, b & 15} {
			for range 4 {
				w.add(&r, &r, &r)
			}
			t.pick(&one, digit)
			w.add(&r, &r, &one)
		}
	}
	return r
}

// combs are tables of the generator's multiples by the powers of 16, the highest first, so that a multiplication only
// adds.
type combs []*table

func (c *Curve) newCombs() *combs {
	w, all := c.work(), make(combs, 2*c.size)
	p := point{c.copyOf(c.generator.x), c.copyOf(c.generator.y), c.copyOf(c.generator.z)}
	for i := len(all) - 1; i >= 0; i-- {
		all[i] = w.table(&p)
		for range 4 {
			w.add(&p, &p, &p)
		}
	}
	return &all
}

// multiplyBase returns the multiple of the generator by a scalar of c.size bytes, which is a secret. The result is the
// caller's to wipe.
func (c *Curve) multiplyBase(scalar []byte) point {
	w, r, one := c.work(), c.infinity(), c.infinity()
	defer w.wipe()
	defer one.wipe()
	all := *c.multiples()
	for i, b := range scalar {
		for j, digit := range []byte{b >> 4, b & 15} {
			all[2*i+j].pick(&one, digit)
			w.add(&r, &r, &one)
		}
	}
	return r
}

// affine returns the coordinates of a point, each of c.size bytes; ok is false at infinity.
func (c *Curve) affine(p *point) (x, y []byte, ok bool) {
	inverse := bigmod.NewNat().Exp(p.z, c.pMinus2, c.p)
	defer clear(inverse.Bits())
	u, v := c.copyOf(p.x), c.copyOf(p.y)
	defer clear(u.Bits())
	defer clear(v.Bits())
	u.Mul(inverse, c.p)
	v.Mul(inverse, c.p)
	return u.Bytes(c.p), v.Bytes(c.p), p.z.IsZero() == 0
}
