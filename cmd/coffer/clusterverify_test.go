package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// copyFunc answers as a test wants; observed is the revision that it was told of.
type copyFunc struct {
	answer   func(ctx context.Context, observed int64) (sum string, revision int64, err error)
	observed atomic.Int64
}

func (c *copyFunc) Observe(revision int64) { c.observed.Store(revision) }

func (c *copyFunc) Digest(ctx context.Context) ([]byte, uint64, int64, error) {
	sum, revision, err := c.answer(ctx, c.observed.Load())
	return []byte(sum), 7, revision, err
}

func holds(sum string, revision int64) *copyFunc {
	return &copyFunc{answer: func(_ context.Context, observed int64) (string, int64, error) {
		return sum, max(revision, observed), nil
	}}
}

// changing is one of the copies of a token that is changed without end: no two answers are of the same revision.
func changing(now *atomic.Int64) *copyFunc {
	return &copyFunc{answer: func(context.Context, int64) (string, int64, error) {
		n := now.Add(1)
		return fmt.Sprint("sum at ", n), n, nil
	}}
}

func TestCopiesAreComparedAtTheSameRevision(t *testing.T) {
	var writes atomic.Int64
	steps := func(at ...int64) *copyFunc { // one answer each time, of a token whose copies are the same
		var n atomic.Int64
		return &copyFunc{answer: func(context.Context, int64) (string, int64, error) {
			r := at[min(int(n.Add(1)), len(at))-1]
			return fmt.Sprint("sum at ", r), r, nil
		}}
	}
	dead := &copyFunc{answer: func(context.Context, int64) (string, int64, error) { return "", 0, errors.New("nobody there") }}
	once := func() *copyFunc { // answers, and then not before the caller gives up
		var asked atomic.Bool
		return &copyFunc{answer: func(ctx context.Context, _ int64) (string, int64, error) {
			if asked.Swap(true) {
				<-ctx.Done()
				return "", 0, ctx.Err()
			}
			return "old", 3, nil
		}}
	}
	for _, c := range []struct {
		name           string
		copies         []nodeCopy
		within         time.Duration
		want           agreement
		code           exitCode
		same, compared bool
		says, saysNot  string
	}{
		{"the same", []nodeCopy{holds("s", 5), holds("s", 5), holds("s", 5)}, time.Hour, same, exitOK, true, true, "", "copies"},
		{"the same, and a store that has gone on without them", []nodeCopy{holds("s", 5), holds("s", 6)}, time.Hour, same, exitOK, true, true, "", "copies"},
		{"a difference", []nodeCopy{holds("s", 5), holds("s", 5), holds("x", 5)}, time.Hour, different, exitFailed, false, true, "replace", ""},
		{"a difference behind", []nodeCopy{holds("s", 9), holds("x", 5)}, time.Hour, different, exitFailed, false, true, "replace", ""},
		{"one behind", []nodeCopy{steps(9, 9), steps(5, 9)}, time.Hour, same, exitOK, true, true, "", "copies"},
		{"each behind in turn", []nodeCopy{steps(5, 7, 9), steps(4, 5, 7), steps(3, 4, 5)}, time.Hour, same, exitOK, true, true, "", "copies"},
		{"changed all the while", []nodeCopy{changing(&writes), changing(&writes)}, 3 * compareEvery, undecided, exitChanging, false, false, "being changed", "replace"},
		{"one that follows no more", []nodeCopy{holds("s", 5), once()}, 3 * compareEvery, undecided, exitChanging, false, false, "being changed", "replace"},
		{"one that is dead", []nodeCopy{holds("s", 5), dead, holds("s", 5)}, time.Hour, same, exitFailed, false, false, "node 1 could not be asked", "replace"},
		{"one that is dead, and a difference", []nodeCopy{holds("s", 5), dead, holds("x", 5)}, time.Hour, different, exitFailed, false, false, "replace", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			var names []string
			for i := range c.copies {
				names = append(names, fmt.Sprint(i))
			}
			x := newComparison(names)
			if got := x.run(t.Context(), c.copies, c.within); got != c.want {
				t.Fatalf("found %d, want %d: %+v", got, c.want, x.digests)
			}
			var out, errOut bytes.Buffer
			a := newApp(nil, &out, &errOut, func(string) string { return "" })
			a.output = "json"
			err := a.emitComparison(x, c.want)
			if code := a.report(err); code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
			for name, want := range map[string]bool{"same": c.same, "compared": c.compared} {
				if !strings.Contains(out.String(), fmt.Sprintf("%q: %v", name, want)) {
					t.Errorf("%s is not %v: %s", name, want, &out)
				}
			}
			said := errOut.String()
			if !strings.Contains(said, c.says) || c.saysNot != "" && strings.Contains(said, c.saysNot) {
				t.Errorf("it says %q", said)
			}
		})
	}
}

// TestCopiesAreAskedAtTheSameTime: each answers when all have been asked.
func TestCopiesAreAskedAtTheSameTime(t *testing.T) {
	var all sync.WaitGroup
	all.Add(3)
	together := func() nodeCopy {
		return &copyFunc{answer: func(ctx context.Context, _ int64) (string, int64, error) {
			all.Done()
			all.Wait()
			return "s", 1, nil
		}}
	}
	x := newComparison([]string{"a", "b", "c"})
	if got := x.run(t.Context(), []nodeCopy{together(), together(), together()}, time.Hour); got != same {
		t.Fatal(got)
	}
}
