package sqlite

import (
	"fmt"
	"path/filepath"
	"runtime"
	"sort"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/core/store"
)

func BenchmarkCommit(b *testing.B) {
	s := mustOpen(b, filepath.Join(b.TempDir(), "token.db"), Options{Create: true})
	value := make([]byte, 500)
	var took []time.Duration
	for b.Loop() {
		start := time.Now()
		_, err := s.Commit(ctx, nil, []store.Op{{Key: "k/" + strconv.Itoa(len(took)%1000), Value: value}})
		require.NoError(b, err)
		took = append(took, time.Since(start))
	}
	sort.Slice(took, func(i, j int) bool { return took[i] < took[j] })
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-us")
	b.ReportMetric(float64(took[len(took)-1].Microseconds()), "max-us")
}

// BenchmarkCommitWithoutSync is the same on what would be an infinitely fast disk.
func BenchmarkCommitWithoutSync(b *testing.B) {
	s := mustOpen(b, filepath.Join(b.TempDir(), "token.db"), Options{Create: true})
	_, err := s.write.Exec("PRAGMA synchronous=OFF")
	require.NoError(b, err)
	value := make([]byte, 500)
	for n := 0; b.Loop(); n++ {
		_, err := s.Commit(ctx, nil, []store.Op{{Key: "k/" + strconv.Itoa(n%1000), Value: value}})
		require.NoError(b, err)
	}
}

func BenchmarkCommitAgainstThreeProcesses(b *testing.B) {
	path := filepath.Join(b.TempDir(), "token.db")
	s := mustOpen(b, path, Options{Create: true})
	for i := range 3 {
		cmd := child(b, "numbers", path, i*1_000_000_000)
		require.NoError(b, cmd.Start())
		defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	}
	var took []time.Duration
	for b.Loop() {
		start := time.Now()
		_, err := s.Commit(ctx, nil, []store.Op{{Key: "k", Value: make([]byte, 500)}})
		require.NoError(b, err)
		took = append(took, time.Since(start))
	}
	sort.Slice(took, func(i, j int) bool { return took[i] < took[j] })
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-us")
	b.ReportMetric(float64(took[len(took)-1].Microseconds()), "max-us")
}

func BenchmarkOpen(b *testing.B) {
	path := filepath.Join(b.TempDir(), "token.db")
	filled(b, path, 100)
	for b.Loop() {
		s, err := Open(path, Options{})
		require.NoError(b, err)
		b.StopTimer()
		require.NoError(b, s.Close())
		b.StartTimer()
	}
}

func filled(b *testing.B, path string, n int) {
	s, err := Open(path, Options{Create: true})
	require.NoError(b, err)
	for i := range n {
		_, err := s.Commit(ctx, nil, []store.Op{{Key: fmt.Sprintf("object/%08d", i), Value: make([]byte, 500)}})
		require.NoError(b, err)
	}
	require.NoError(b, s.Close())
}

func BenchmarkChanged(b *testing.B) {
	s := mustOpen(b, filepath.Join(b.TempDir(), "token.db"), Options{Create: true})
	for b.Loop() {
		s.Changed()
	}
}

func BenchmarkChangedWithoutSyncFile(b *testing.B) {
	s := mustOpen(b, filepath.Join(b.TempDir(), "token.db"), Options{Create: true})
	s.sync.page = nil
	for b.Loop() {
		s.Changed()
	}
}

func BenchmarkReads(b *testing.B) {
	path := filepath.Join(b.TempDir(), "token.db")
	filled(b, path, 2000)
	s := mustOpen(b, path, Options{})
	b.Run("Get", func(b *testing.B) {
		for b.Loop() {
			_, err := s.Get(ctx, "object/00001000")
			require.NoError(b, err)
		}
	})
	b.Run("List2000", func(b *testing.B) {
		for b.Loop() {
			_, _, err := s.List(ctx, "object/")
			require.NoError(b, err)
		}
	})
	b.Run("SinceLastOfMany", func(b *testing.B) {
		for b.Loop() {
			events, _, err := s.Since(ctx, "object/", 1999)
			require.NoError(b, err)
			require.Len(b, events, 1)
		}
	})
}

// BenchmarkCommitsOfEight is what callers get who commit at the same time.
func BenchmarkCommitsOfEight(b *testing.B) {
	s := mustOpen(b, filepath.Join(b.TempDir(), "token.db"), Options{Create: true})
	value := make([]byte, 500)
	var n atomic.Int64
	b.SetParallelism(max(1, 8/runtime.GOMAXPROCS(0)))
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			_, err := s.Commit(ctx, nil, []store.Op{{Key: "k/" + strconv.Itoa(int(n.Add(1)%1000)), Value: value}})
			require.NoError(b, err)
		}
	})
}
