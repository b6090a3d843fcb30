package faults

import (
	"bufio"
	"bytes"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/coffer-hsm/coffer/core/store/sqlite"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// ledger is what a token must hold by what was answered CKR_OK: for each label the lines in which an agent lists it.
type ledger map[string][]string

// act takes over one of work.c's acts.
func (l ledger) act(t testing.TB, words []string) {
	t.Helper()
	verb, label := words[0], words[1]
	switch verb {
	case "pair":
		l[label] = []string{"2 " + label, "3 " + label}
	case "data", "set":
		l[label] = []string{"0 " + label + " " + words[2]}
	case "half":
		l[label] = []string{"3 " + label}
	case "destroy":
		delete(l, label)
	default:
		t.Fatalf("%q", words)
	}
}

func (l ledger) lines() []string {
	return slices.Sorted(slices.Values(slices.Concat(slices.Collect(maps.Values(l))...)))
}

// victim is a running work.c.
type victim struct {
	done    ledger
	pending map[string][]string // by thread
	acts    int
	window  time.Duration // in which it is killed; follows the machine's pace: a few acts are to be done in it
}

// take reads one line.
func (v *victim) take(t testing.TB, line string) {
	t.Helper()
	words := strings.Fields(line)
	switch words[0] {
	case "ready":
	case "?":
		v.pending[words[1]] = words[2:]
	case "!":
		if !slices.Equal(v.pending[words[1]], words[2:]) {
			t.Fatalf("%s was not begun: %q", line, v.pending[words[1]])
		}
		delete(v.pending, words[1])
		v.done.act(t, words[2:])
		v.acts++
	default:
		t.Fatalf("the host says %q", line)
	}
}

// settle decides for each act that was under way whether it happened, by what the token holds.
func (v *victim) settle(t testing.TB, found []string) {
	t.Helper()
	for _, words := range v.pending {
		after := maps.Clone(v.done)
		after.act(t, words)
		has := func(lines []string) bool {
			for _, line := range lines {
				if !slices.Contains(found, line) {
					return false
				}
			}
			return true
		}
		gone := slices.DeleteFunc(slices.Clone(v.done[words[1]]), func(line string) bool { return slices.Contains(after[words[1]], line) })
		if has(after[words[1]]) && (len(gone) == 0 || !has(gone)) {
			v.done = after
		}
	}
	clear(v.pending)
}

const leastWindow = 120 * time.Millisecond

// killed runs work.c until it is killed: some while they start, the others a moment after they have begun to work.
func (v *victim) killed(t testing.TB, s *slot, r *rand.Rand, run int) {
	t.Helper()
	cmd := s.host(t, "work", nil, userPIN, strconv.Itoa(run), strconv.FormatUint(uint64(r.Uint32()), 10))
	out, err := cmd.StdoutPipe()
	check(t, err)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	check(t, cmd.Start())
	kill := func(most time.Duration) {
		time.AfterFunc(time.Duration(r.Int64N(int64(most))), func() { _ = cmd.Process.Kill() })
	}
	if run%6 == 0 {
		kill(400 * time.Millisecond)
	}
	before, began := v.acts, false
	for lines := bufio.NewScanner(out); lines.Scan(); {
		v.take(t, lines.Text())
		if lines.Text() == "ready" {
			kill(v.window)
			began = true
		}
	}
	switch n := v.acts - before; {
	case began && n < 2:
		v.window = v.window * 3 / 2
	case n > 8:
		v.window = max(v.window*3/4, leastWindow)
	}
	if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() != -1 || stderr.Len() > 0 {
		t.Fatalf("run %d was not killed: %v\n%s", run, err, &stderr)
	}
}

// TestKilledProcessLosesNothingThatWasAnswered kills processes at any moment. After each kill a fresh process finds what
// was answered CKR_OK, and at most the one act of each thread that was under way; a process that was there all the time
// comes to see the same.
func TestKilledProcessLosesNothingThatWasAnswered(t *testing.T) {
	t.Parallel()
	r := random(t)
	s := newSlot(t)
	first := s.agent(t)
	first.want(pkcs11.CKR_OK, "init", "setup "+soPIN+" "+userPIN, "fini")
	first.leave()

	witness := s.user(t)
	v := &victim{done: ledger{}, pending: map[string][]string{}, window: leastWindow}
	kills := count(t, "COFFER_KILLS", 32)
	uncertain, checked, slowest := 0, 0, time.Duration(0)
	for run := range kills {
		v.killed(t, s, r, run)
		uncertain += len(v.pending)
		killed := time.Now()
		if run%8 == 7 { // now and then nobody is left to keep the log's index
			witness.kill()
			witness = s.user(t)
		}
		fresh := s.user(t)
		found := fresh.list()
		v.settle(t, found)
		if want := v.done.lines(); !slices.Equal(found, want) {
			t.Fatalf("after kill %d the token holds\n%q, answered were\n%q", run, found, want)
		}
		for label, lines := range v.done {
			if len(lines) == 2 && (r.IntN(4) == 0 || len(v.done) < 8) {
				fresh.want(pkcs11.CKR_OK, "sign "+label)
				checked++
			}
		}
		eventually(t, "the process that was there all the time does not see what the fresh one sees", func() bool {
			return slices.Equal(witness.list(), found)
		})
		slowest = max(slowest, time.Since(killed))
		for label := range v.done { // keep the token small
			if r.IntN(2) == 0 {
				fresh.want(pkcs11.CKR_OK, "destroy "+label)
				delete(v.done, label)
			}
		}
		fresh.want(pkcs11.CKR_OK, "fini")
		fresh.leave()
		s.wantSound(t)
	}
	t.Logf("%d kills, %d acts answered, %d under way, %d signatures verified, at most %v to agree", kills, v.acts, uncertain, checked, slowest)
	if v.acts < kills {
		t.Error("too little was done")
	}
}

// wantSound has SQLite check the file.
func (s *slot) wantSound(t testing.TB) {
	t.Helper()
	db, err := sqlite.Open(s.path, sqlite.Options{})
	check(t, err)
	check(t, db.Check(t.Context()))
	check(t, db.Close())
}

// TestInitTokenThatIsKilledLeavesOneTokenOrTheOther kills C_InitToken: the old token is whole, or the new one is there
// and empty.
func TestInitTokenThatIsKilledLeavesOneTokenOrTheOther(t *testing.T) {
	t.Parallel()
	r := random(t)
	s := newToken(t)
	old, fresh := 0, 0
	window := 600 * time.Millisecond // follows the machine's pace: about half of them are to be done
	for range max(8, count(t, "COFFER_KILLS", 16)/2) {
		a := s.agent(t)
		a.want(pkcs11.CKR_OK, "init")
		_, before := a.flags()
		a.send("setup", soPIN)
		time.AfterFunc(time.Duration(r.Int64N(int64(window))), func() { _ = a.cmd.Process.Kill() })
		for range a.lines {
			_ = a.cmd.Process.Kill() // it was faster
		}
		_ = a.cmd.Wait()
		s.wantSound(t)
		b := s.agent(t)
		b.want(pkcs11.CKR_OK, "init", "open w")
		if _, after := b.flags(); after == before {
			b.want(pkcs11.CKR_OK, "login u "+userPIN)
			b.wantAll()
			old++
			window = window * 3 / 2
		} else {
			if got := b.list(); len(got) != 0 {
				t.Fatalf("the new token holds %q", got)
			}
			b.want(pkcs11.CKR_OK, "login s "+soPIN)
			fresh++
			window = window * 2 / 3
		}
		b.want(pkcs11.CKR_OK, "fini")
		b.leave()
		check(t, removeAll(s))
		check(t, writeToken(t, s))
	}
	t.Logf("%d times the old token, %d times the new one", old, fresh)
}
