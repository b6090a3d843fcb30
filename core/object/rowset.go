package object

import (
	"iter"
	"math/bits"
)

// rowSet is a set of rows of one policy, by their numbers.
type rowSet uint64

// mostRows is how many rows a policy can have.
const mostRows = 64

// rows are the numbers in the set, in ascending order.
func (s rowSet) rows() iter.Seq[int] {
	return func(yield func(int) bool) {
		for ; s != 0; s &= s - 1 {
			if !yield(bits.TrailingZeros64(uint64(s))) {
				return
			}
		}
	}
}

// first is the least number in a set that is not empty.
func (s rowSet) first() int { return bits.TrailingZeros64(uint64(s)) }
