package storetest

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/core/store"
)

const (
	writers = 4
	rounds  = 25
)

// increment raises the decimal number under key by one, by compare and swap.
func increment(s store.Store, key string) error {
	ctx := context.Background()
	for {
		n := 0
		r, err := s.Get(ctx, key)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		if err == nil {
			if n, err = strconv.Atoi(string(r.Value)); err != nil {
				return err
			}
		}
		_, err = s.Commit(ctx, []store.Compare{{Key: key, Modified: r.Modified}}, []store.Op{put(key, strconv.Itoa(n+1))})
		if !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
}

func increments(t *testing.T, s store.Store) { incrementAll(t, s, s) }

func twoHandlesIncrement(t *testing.T, s store.Store, again Again) {
	other := again(t, s)
	defer func() { require.NoError(t, other.Close()) }()
	incrementAll(t, s, other)
}

func incrementAll(t *testing.T, handles ...store.Store) {
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			for range rounds {
				assert.NoError(t, increment(handles[i%len(handles)], "counter"))
			}
		})
	}
	wg.Wait()
	last := int64(0)
	for _, s := range handles {
		_, at := state(t, s, "")
		last = max(last, at)
	}
	for _, s := range handles {
		catchUp(t, s, last)
		require.Equal(t, strconv.Itoa(writers*rounds), string(get(t, s, "counter").Value))
	}
}

// wholeCommits writes the same number under three keys; no reader may see two different ones.
func wholeCommits(t *testing.T, s store.Store) {
	commit(t, s, put("x/a", "0"), put("x/b", "0"), put("x/c", "0"))
	done := make(chan struct{})
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for last := int64(0); ; {
				records, at, err := s.List(context.Background(), "x/")
				if !assert.NoError(t, err) || !assert.Len(t, records, 3) {
					return
				}
				for _, r := range records {
					assert.Equal(t, records[0].Value, r.Value)
					assert.Equal(t, records[0].Modified, r.Modified)
					assert.LessOrEqual(t, r.Modified, at)
				}
				assert.GreaterOrEqual(t, at, last, "time must not run backwards")
				last = at
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	for i := range 4 * rounds {
		n := strconv.Itoa(i)
		commit(t, s, put("x/a", n), put("x/b", n), put("x/c", n))
	}
	close(done)
	wg.Wait()
}

// follower keeps a copy by Changed and Since alone, as a cache does, while others write.
func follower(t *testing.T, s store.Store) {
	ctx := context.Background()
	_, now, err := s.List(ctx, "")
	require.NoError(t, err)

	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range rounds {
				key := "f/" + strconv.Itoa(w) + "/" + strconv.Itoa(i%5)
				op := put(key, strconv.Itoa(i))
				if i%7 == 6 {
					op = del(key)
				}
				_, err := s.Commit(ctx, nil, []store.Op{op})
				assert.NoError(t, err)
			}
		})
	}
	written := make(chan struct{})
	go func() { wg.Wait(); close(written) }()

	mirror := map[string]string{}
	seen, started := uint64(0), false
	for finished := false; !finished; {
		select {
		case <-written:
			finished = true // one more look
		default:
		}
		g := s.Changed()
		if started && g == seen {
			continue
		}
		seen, started = g, true
		events, at, err := s.Since(ctx, "", now)
		require.NoError(t, err)
		require.GreaterOrEqual(t, at, now)
		now = at
		for _, e := range events {
			if e.Deleted {
				delete(mirror, e.Key)
			} else {
				mirror[e.Key] = string(e.Value)
			}
		}
	}
	records, at, err := s.List(ctx, "")
	require.NoError(t, err)
	require.Equal(t, at, now)
	require.Len(t, mirror, len(records))
	for _, r := range records {
		require.Equal(t, string(r.Value), mirror[r.Key], r.Key)
	}
}

func reopened(t *testing.T, s store.Store, again Again) {
	start := commit(t, s, put("a", "1"), put("b", "1"))
	last := commit(t, s, del("b"), put("c", ""))
	before, _, err := s.List(context.Background(), "")
	require.NoError(t, err)
	require.NoError(t, s.Close())

	s = again(t, s)
	defer func() { require.NoError(t, s.Close()) }()
	after, at, err := s.List(context.Background(), "")
	require.NoError(t, err)
	require.Equal(t, before, after)
	require.Equal(t, last, at)
	events, _, err := s.Since(context.Background(), "", start)
	if err != nil {
		require.ErrorIs(t, err, store.ErrCompacted, "a store that forgot a deletion says so")
	} else {
		require.Len(t, events, 2, "deletions are remembered too")
	}
	require.Equal(t, last+1, commit(t, s, put("a", "2")))
}

func twoHandles(t *testing.T, s store.Store, again Again) {
	other := again(t, s)
	seen := other.Changed()
	require.Equal(t, seen, other.Changed())
	revision := commit(t, s, put("k", "from one"))
	catchUp(t, other, revision)
	require.NotEqual(t, seen, other.Changed())
	events, now, err := other.Since(context.Background(), "", 0)
	require.NoError(t, err)
	require.Len(t, events, 1)
	require.Equal(t, revision, now)

	seen = s.Changed()
	require.Equal(t, revision+1, commit(t, other, put("k", "from the other")))
	catchUp(t, s, revision+1)
	require.NotEqual(t, seen, s.Changed())
	require.NoError(t, other.Close())
	require.Equal(t, "from the other", string(get(t, s, "k").Value))
	commit(t, s, put("k", "closing one leaves the other open"))
}
