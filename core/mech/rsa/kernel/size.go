package kernel

// A number is a row of 52-bit digits, the least first. In memory each is followed by zeros up to its stride, as the
// assembly reads one digit past the end, and at another place registers of eight digits.
const (
	digitBits = 52
	digitMask = 1<<digitBits - 1
	lanes     = 8 // digits in a register
)

// The table of powers: 5 bits of the exponent at a time.
const (
	windowBits = 5
	powers     = 1 << windowBits
)

// size is what the kernel can do for one length of primes.
type size struct {
	bits    int  // of a prime
	pair    form // modulo both primes at once
	whole   form // modulo their product
	pickAsm func(out, table *uint64, p, q uint64)
	wide    *wide // modulo the primes of four keys at once; nil if there is none
	queue   queue // of those who want that
}

func sizeFor(bits int) *size {
	for i := range sizes {
		if sizes[i].bits == bits {
			return &sizes[i]
		}
	}
	return nil
}

// pick sets out to the p-th power of the first number and the q-th power of the second. Which is a secret: all are read.
func (s *size) pick(out, table []uint64, p, q uint8) {
	_, _ = out[s.pair.len()-1], table[powers*s.pair.len()-1]
	s.pickAsm(&out[0], &table[0], uint64(p), uint64(q))
}

// form is an almost-Montgomery multiplication (Gueron) of one or two numbers of so many digits, R = 2^(52*digits).
// Each modulus has to be odd and below R/16. Then operands below 4n, or one below R and the other below n, give a result
// below 2n: (a*b + m*n)/R < a*b/R + n. Nothing is ever subtracted inside.
type form struct {
	digits, count int
	asm           func(out, a, b, mod *uint64, times int)
}

// new is an operand of value 0.
func (f *form) new() []uint64 { return make([]uint64, f.len()) }

func (f *form) stride() int { return lanes * ((f.digits+lanes-1)/lanes + 1) }

// len is the length of an operand: one number, or the two of a pair.
func (f *form) len() int { return f.count * f.stride() }

// part is the i-th number of an operand, without the zeros after it.
func (f *form) part(x []uint64, i int) []uint64 { return x[i*f.stride():][:f.digits] }

// mul sets out = a*b/R. Operands may overlap if they are the same.
func (f *form) mul(out, a, b []uint64, m *modulus) {
	n := f.len() - 1
	_, _, _, _ = out[n], a[n], b[n], m.mem[f.len()+f.count*lanes-1]
	f.asm(&out[0], &a[0], &b[0], &m.mem[0], 1)
}

// square sets out = a^(2^times) in the Montgomery domain; times is 1 or more.
func (f *form) square(out, a []uint64, m *modulus, times int) {
	n := f.len() - 1
	_, _, _ = out[n], a[n], m.mem[f.len()+f.count*lanes-1]
	if times < 1 {
		panic("kernel: nothing to square")
	}
	f.asm(&out[0], &a[0], &a[0], &m.mem[0], times)
}

// modulus is one modulus or a pair of them as the assembly wants it: the numbers, then for each a row of lanes of which
// the first is -1/n mod 2^52.
type modulus struct {
	mem []uint64
	r2  []uint64 // R^2 mod n, which brings a number into the Montgomery domain
}

// newModulus takes odd numbers of the given length in bits.
func newModulus(f *form, bits int, numbers ...[]byte) *modulus {
	m := &modulus{mem: make([]uint64, f.len()+f.count*lanes), r2: make([]uint64, f.len())}
	for i, b := range numbers {
		n := f.part(m.mem, i)
		setBytes(n, b)
		inverse := n[0] // right in the last three bits; each round doubles them
		for range 5 {
			inverse *= 2 - n[0]*inverse
		}
		m.mem[f.len()+i*lanes] = -inverse & digitMask
		// R*2^k by doubling from 2^(bits-1), with k the odd part of R's exponent; squaring then doubles k up to R^2.
		r := f.part(m.r2, i)
		r[(bits-1)/digitBits] = 1 << ((bits - 1) % digitBits)
		k, _ := oddPart(digitBits * f.digits)
		for range digitBits*f.digits - (bits - 1) + k {
			double(r)
			subtractOnce(r, n)
		}
	}
	_, twos := oddPart(digitBits * f.digits)
	f.square(m.r2, m.r2, m, twos)
	for i := range f.count {
		subtractOnce(f.part(m.r2, i), f.part(m.mem, i))
	}
	return m
}

// oddPart returns odd and twos with n = odd * 2^twos.
func oddPart(n int) (odd, twos int) {
	for n%2 == 0 {
		n /= 2
		twos++
	}
	return n, twos
}
