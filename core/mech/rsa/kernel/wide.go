package kernel

import "sync"

// wide is an almost-Montgomery multiplication of eight numbers at once, as form has it, one number in each lane: digit d
// of the number in lane l is at lanes*d+l. It keeps the multipliers busier than a pair does, and needs eight numbers.
type wide struct {
	digits  int
	asm     func(out, a, b, mod *uint64, times int)
	pickAsm func(out, table, index *uint64)
	scratch sync.Pool
}

// perBatch is how many signatures fill the lanes: each has two primes.
const perBatch = lanes / 2

// batch is the memory of one exponentiation.
type batch struct {
	mod, x, t []uint64
	table     []uint64
	index     [lanes]uint64
}

func (f *wide) len() int { return lanes * f.digits }

func (f *wide) get() *batch {
	if b, ok := f.scratch.Get().(*batch); ok {
		return b
	}
	n := f.len()
	return &batch{mod: make([]uint64, n+lanes), x: make([]uint64, n), t: make([]uint64, n), table: make([]uint64, powers*n)}
}

func (f *wide) put(b *batch) {
	for _, x := range [][]uint64{b.mod, b.x, b.t, b.table, b.index[:]} {
		clear(x)
	}
	f.scratch.Put(b)
}

func (f *wide) mul(out, a, b, mod []uint64) {
	n := f.len() - 1
	_, _, _, _ = out[n], a[n], b[n], mod[n+lanes]
	f.asm(&out[0], &a[0], &b[0], &mod[0], 1)
}

func (f *wide) square(out, a, mod []uint64, times int) {
	n := f.len() - 1
	_, _, _ = out[n], a[n], mod[n+lanes]
	if times < 1 {
		panic("kernel: nothing to square")
	}
	f.asm(&out[0], &a[0], &a[0], &mod[0], times)
}

// pick sets each lane of x to a power of its number. Which is a secret: all are read.
func (f *wide) pick(x []uint64, b *batch) {
	_, _ = x[f.len()-1], b.table[powers*f.len()-1]
	f.pickAsm(&x[0], &b.table[0], &b.index[0])
}

// entry is the i-th power in the table.
func (f *wide) entry(b *batch, i int) []uint64 { return b.table[i*f.len():][:f.len()] }

// spread puts a number into a lane.
func spread(x []uint64, lane int, number []uint64) {
	for d, v := range number {
		x[lanes*d+lane] = v
	}
}

// collect takes a number out of a lane.
func collect(number, x []uint64, lane int) {
	for d := range number {
		number[d] = x[lanes*d+lane]
	}
}

// member is a key in a batch, and its memory, of which power 1 is set (Key.reduce).
type member struct {
	key *Key
	w   *scratch
}

// power is Key.power for up to perBatch keys of one size. Lanes that are left over compute what the first key does.
func (f *wide) power(members []member) {
	b := f.get()
	defer f.put(b)
	of := func(lane int) (m member, half int) {
		if m = members[0]; lane/2 < len(members) {
			m = members[lane/2]
		}
		return m, lane % 2
	}
	for lane := range lanes {
		m, half := of(lane)
		pair := &m.key.size.pair
		spread(b.mod, lane, pair.part(m.key.pq.mem, half))
		b.mod[f.len()+lane] = m.key.pq.mem[pair.len()+lanes*half]
		spread(f.entry(b, 0), lane, pair.part(m.key.one, half))
		spread(f.entry(b, 1), lane, pair.part(m.key.entry(m.w, 1), half))
	}
	for i := 2; i < powers; i++ {
		if i%2 == 0 {
			f.square(f.entry(b, i), f.entry(b, i/2), b.mod, 1)
		} else {
			f.mul(f.entry(b, i), f.entry(b, i-1), f.entry(b, 1), b.mod)
		}
	}
	count := len(members[0].key.dP)
	for i := range count {
		for lane := range lanes {
			m, half := of(lane)
			window := m.key.dP
			if half == 1 {
				window = m.key.dQ
			}
			b.index[lane] = uint64(window[i])
		}
		if i == 0 {
			f.pick(b.x, b)
			continue
		}
		f.pick(b.t, b)
		f.square(b.x, b.x, b.mod, windowBits)
		f.mul(b.x, b.x, b.t, b.mod)
	}
	for i, m := range members {
		for half := range 2 {
			collect(m.key.size.pair.part(m.w.x, half), b.x, 2*i+half)
		}
	}
}
