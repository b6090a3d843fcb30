package etcd

import (
	"context"
	"runtime"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/core/store"
)

func BenchmarkCommit(b *testing.B) {
	s := fresh(b)
	value := make([]byte, 1024)
	i := 0
	for b.Loop() {
		_, err := s.Commit(context.Background(), nil, []store.Op{{Key: strconv.Itoa(i % 1000), Value: value}})
		require.NoError(b, err)
		i++
	}
}

// BenchmarkCatchUp measures a store that comes back after 10,000 commits of 1 KiB that it missed.
func BenchmarkCatchUp(b *testing.B) {
	const missed = 10_000
	writer := fresh(b)
	p := newProxy(b, writer.client.Endpoints()[0])
	reader := open(b, Options{Client: client(b, p.address()), Prefix: writer.prefix})
	value := make([]byte, 1024)
	for b.Loop() {
		b.StopTimer()
		p.cut()
		var last int64
		for i := range missed {
			r, err := writer.kv.Put(context.Background(), writer.prefix+strconv.Itoa(i), string(value))
			require.NoError(b, err)
			last = r.Header.Revision
		}
		p.mend()
		b.StartTimer()
		require.NoError(b, reader.Await(context.Background(), last))
	}
}

// BenchmarkOpen measures opening a store of 100,000 records of 1 KiB, and reports what the mirror then holds.
func BenchmarkOpen(b *testing.B) {
	const records = 100_000
	writer := fresh(b)
	value := make([]byte, 1024)
	for i := 0; i < records; i += store.MaxOps {
		var ops []store.Op
		for j := i; j < min(i+store.MaxOps, records); j++ {
			ops = append(ops, store.Op{Key: "object/" + strconv.Itoa(1_000_000_000+j) + "0123456789abcdef012345", Value: value})
		}
		_, err := writer.Commit(context.Background(), nil, ops)
		require.NoError(b, err)
	}
	var held float64
	for b.Loop() {
		b.StopTimer()
		before := heap()
		b.StartTimer()
		s, err := Open(context.Background(), Options{Client: writer.client, Prefix: writer.prefix})
		require.NoError(b, err)
		b.StopTimer()
		held = float64(heap()-before) / (1 << 20)
		require.Equal(b, records, s.mirror.live.n)
		require.NoError(b, s.Close())
		b.StartTimer()
	}
	b.ReportMetric(held, "MiB-held")
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
