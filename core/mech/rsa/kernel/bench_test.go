package kernel

import (
	"crypto"
	"crypto/rsa"
	"fmt"
	"testing"
)

// BenchmarkPrivate compares a signature of crypto/rsa, which is the private operation and its check, with ours.
func BenchmarkPrivate(b *testing.B) {
	for _, bits := range keySizes {
		std := testKey(b, bits)
		digest := make([]byte, 32)
		signature, err := rsa.SignPKCS1v15(nil, std, crypto.SHA256, digest)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprint(bits, "/crypto-rsa"), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				rsa.SignPKCS1v15(nil, std, crypto.SHA256, digest)
			}
		})
		b.Run(fmt.Sprint(bits, "/kernel"), func(b *testing.B) {
			k := newTestKey(b, std)
			out := make([]byte, 0, k.Size())
			b.ReportAllocs()
			for b.Loop() {
				k.Private(out, signature)
			}
		})
	}
}

func BenchmarkPrivateParallel(b *testing.B) {
	for _, bits := range keySizes {
		b.Run(fmt.Sprint(bits), func(b *testing.B) {
			k := newTestKey(b, testKey(b, bits))
			b.RunParallel(func(pb *testing.PB) {
				out := make([]byte, 0, k.Size())
				for pb.Next() {
					k.Private(out, []byte{2})
				}
			})
		})
	}
}

func BenchmarkNewKey(b *testing.B) {
	for _, bits := range keySizes {
		numbers := numbersOf(testKey(b, bits))
		b.Run(fmt.Sprint(bits), func(b *testing.B) {
			needKernel(b)
			for b.Loop() {
				NewKey(numbers)
			}
		})
	}
}

// BenchmarkForm shows single multiplications and squarings.
func BenchmarkForm(b *testing.B) {
	eachForm(b, func(b *testing.B, f *form) {
		const times = 100
		x, m := randomCase(b, f)
		out := f.new()
		for name, run := range map[string]func(){
			"multiply": func() {
				for range times {
					f.mul(out, x, x, m)
				}
			},
			"square": func() { f.square(out, x, m, times) },
		} {
			b.Run(name, func(b *testing.B) {
				for b.Loop() {
					run()
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/times, "ns/each")
			})
		}
	})
}

func BenchmarkPick(b *testing.B) {
	needKernel(b)
	for i := range sizes {
		b.Run(fmt.Sprint(sizes[i].bits), func(b *testing.B) {
			f := &sizes[i].pair
			table, out := make([]uint64, powers*f.len()), f.new()
			for b.Loop() {
				sizes[i].pick(out, table, 3, 17)
			}
		})
	}
}
