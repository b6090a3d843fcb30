package sqlite

import (
	"bufio"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/core/store"
)

// The tests of this file start the test binary again as a child, which does what the environment says.
const (
	childRole = "COFFER_SQLITE_TEST_CHILD"
	childPath = "COFFER_SQLITE_TEST_PATH"
	childID   = "COFFER_SQLITE_TEST_ID"
)

var children = map[string]func() error{
	"numbers":  childNumbers,
	"counter":  childCounter,
	"silent":   childSilent,
	"fulldisk": childFullDisk,
	"romedia":  childReadOnlyMedia,
}

func TestMain(m *testing.M) {
	if role := os.Getenv(childRole); role != "" {
		if err := children[role](); err != nil {
			fmt.Fprintln(os.Stderr, err)
			if errors.Is(err, errNotPermitted) {
				os.Exit(exitSkip)
			}
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func child(t testing.TB, role, path string, id int) *exec.Cmd {
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Env = append(os.Environ(), childRole+"="+role, childPath+"="+path, childID+"="+strconv.Itoa(id))
	cmd.Stderr = os.Stderr
	return cmd
}

// childNumbers commits records n/0, n/1, ... and prints each number once Commit has returned. Every fourth is also
// deleted again, every hundredth is large.
func childNumbers() error {
	s, err := Open(os.Getenv(childPath), Options{Create: true})
	if err != nil {
		return err
	}
	first, err := strconv.Atoi(os.Getenv(childID))
	if err != nil {
		return err
	}
	for n := first; ; n++ {
		size := 10
		if n%100 == 99 {
			size = 200_000
		}
		ops := []store.Op{{Key: numberKey(n), Value: make([]byte, size)}, {Key: "last", Value: []byte(strconv.Itoa(n))}}
		if n%4 == 3 {
			ops = append(ops, store.Op{Key: numberKey(n - 1), Delete: true})
		}
		if _, err := s.Commit(ctx, nil, ops); err != nil {
			return err
		}
		fmt.Println(n)
	}
}

func numberKey(n int) string { return "n/" + strconv.Itoa(n) }

func TestKilledProcessLosesNothingItReported(t *testing.T) {
	kills := 40
	if testing.Short() {
		kills = 5
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	path := filepath.Join(t.TempDir(), "token.db")
	reported := -1
	for kill := range kills {
		cmd := child(t, "numbers", path, reported+1)
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		// Some die while opening, the first ones while creating; the others in the middle of commits.
		killIn := func(most time.Duration) {
			time.AfterFunc(time.Duration(random.Int64N(int64(most))), func() { _ = cmd.Process.Kill() })
		}
		whileOpening := kill%4 == 0
		if whileOpening {
			killIn(30 * time.Millisecond)
		}
		lines := bufio.NewScanner(out)
		for first := true; lines.Scan(); first = false {
			n, err := strconv.Atoi(lines.Text())
			require.NoError(t, err)
			reported = n
			if first && !whileOpening {
				killIn(40 * time.Millisecond)
			}
		}
		require.Error(t, cmd.Wait(), "it must have been killed")

		s, err := Open(path, Options{Create: true})
		require.NoError(t, err, "after kill %d", kill)
		require.NoError(t, s.Check(ctx))
		reported = checkNumbers(t, s, reported)
		require.NoError(t, s.Close())
	}
	t.Logf("%d kills, %d commits", kills, reported+1)
	require.Positive(t, reported)
}

// checkNumbers expects every reported record, and at most one more: the one whose commit did not get to be reported. It
// returns the last.
func checkNumbers(t *testing.T, s *Store, reported int) int {
	t.Helper()
	records, revision, err := s.List(ctx, "")
	require.NoError(t, err)
	last := -1
	have := map[string]bool{}
	for _, r := range records {
		have[r.Key] = true
		if r.Key == "last" {
			last, err = strconv.Atoi(string(r.Value))
			require.NoError(t, err)
		}
	}
	require.GreaterOrEqual(t, last, reported)
	require.LessOrEqual(t, last, reported+1)
	require.EqualValues(t, last+1, revision)
	for n := range last + 1 {
		deleted := n%4 == 2 && n < last
		require.Equal(t, !deleted, have[numberKey(n)], "record %d of %d", n, last)
	}
	return last
}

// childCounter raises a shared counter and a counter of its own, and keeps a mirror by Changed and Since alone until it
// sees that all are done.
func childCounter() error {
	s, err := Open(os.Getenv(childPath), Options{Create: true})
	if err != nil {
		return err
	}
	own := "own/" + os.Getenv(childID)
	mirror := map[string]store.Record{}
	now, seen := int64(0), s.Changed()-1
	refresh := func() error {
		g := s.Changed()
		if g == seen {
			return nil
		}
		events, at, err := s.Since(ctx, "", now)
		if err != nil {
			return err
		}
		seen, now = g, at
		for _, e := range events {
			mirror[e.Key] = e.Record
		}
		return nil
	}
	for n := 1; n <= counterRounds; {
		if err := refresh(); err != nil {
			return err
		}
		shared := mirror["shared"]
		total, _ := strconv.Atoi(string(shared.Value))
		_, err := s.Commit(ctx, []store.Compare{{Key: "shared", Modified: shared.Modified}},
			[]store.Op{{Key: "shared", Value: []byte(strconv.Itoa(total + 1))}, {Key: own, Value: []byte(strconv.Itoa(n))}})
		switch {
		case err == nil:
			n++
		case !errors.Is(err, store.ErrConflict): // a conflict must show in Changed, or this never ends
			return err
		}
	}
	for deadline := time.Now().Add(5 * time.Minute); ; { // the others write to a disk that may be slow
		if err := refresh(); err != nil {
			return err
		}
		if string(mirror["shared"].Value) == strconv.Itoa(counterProcesses*counterRounds) {
			return s.Close()
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("never saw the last change, only %s", mirror["shared"].Value)
		}
		time.Sleep(100 * time.Microsecond)
	}
}

const (
	counterProcesses = 4
	counterRounds    = 100
)

func TestProcessesSeeEachOtherAndLoseNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token.db")
	var cmds []*exec.Cmd
	for i := range counterProcesses {
		cmd := child(t, "counter", path, i)
		require.NoError(t, cmd.Start())
		cmds = append(cmds, cmd)
	}
	for _, cmd := range cmds {
		require.NoError(t, cmd.Wait())
	}
	s := mustOpen(t, path, Options{})
	require.NoError(t, s.Check(ctx))
	require.Equal(t, strconv.Itoa(counterProcesses*counterRounds), value(t, s, "shared"))
	for i := range counterProcesses {
		require.Equal(t, strconv.Itoa(counterRounds), value(t, s, "own/"+strconv.Itoa(i)))
	}
}

// childSilent commits without announcing it, as if it were killed between the two.
func childSilent() error {
	s, err := Open(os.Getenv(childPath), Options{})
	if err != nil {
		return err
	}
	s.sync.close()
	s.sync = &syncFile{}
	if _, err := s.Commit(ctx, nil, []store.Op{{Key: "k", Value: []byte("silent")}}); err != nil {
		return err
	}
	self, err := os.FindProcess(os.Getpid())
	if err != nil {
		return err
	}
	return self.Kill()
}

func TestCommitThatWasNotAnnouncedIsFound(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token.db")
	s := mustOpen(t, path, Options{Create: true})
	put(t, s, "k", "before")
	seen, word := s.Changed(), s.sync.word()
	_ = child(t, "silent", path, 0).Run()
	require.Equal(t, word, s.sync.word(), "the child must not have announced anything")
	require.Eventually(t, func() bool { return s.Changed() != seen }, soon, time.Millisecond)
	require.Equal(t, "silent", value(t, s, "k"))
	seen = s.Changed()
	s.due.Store(true)
	require.Equal(t, seen, s.Changed(), "asking again finds nothing new")
}

func TestKilledCompetitorLeavesNoLockBehind(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token.db")
	s := mustOpen(t, path, Options{Create: true})
	s.sync.turns.patience = soon
	for range 5 {
		cmd := child(t, "numbers", path, 0)
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		line, err := bufio.NewReader(out).ReadString('\n')
		require.NoError(t, err)
		require.Equal(t, "0", strings.TrimSpace(line))
		for i := range 20 {
			put(t, s, "mine", strconv.Itoa(i))
		}
		require.NoError(t, cmd.Process.Kill())
		require.Error(t, cmd.Wait())
		start := time.Now()
		put(t, s, "mine", "after the kill")
		require.Less(t, time.Since(start), soon)
	}
	require.NoError(t, s.Check(ctx))
}
