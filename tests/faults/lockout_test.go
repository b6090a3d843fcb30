package faults

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/coffer-hsm/coffer/core/vault"
	"github.com/coffer-hsm/coffer/pkcs11"
)

const wrongPIN = "login u wrong-pin"

// failures reads the normal user's counter from the file.
func (s *slot) failures(t testing.TB) int {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+s.path+"?mode=ro&_pragma=busy_timeout(10000)")
	check(t, err)
	defer db.Close()
	var value []byte
	check(t, db.QueryRow("SELECT value FROM record WHERE key = 'user/cu'").Scan(&value))
	var user struct{ Failures int }
	check(t, json.Unmarshal(value[vault.StampSize:], &user))
	return user.Failures
}

// TestWrongPINsAreCountedOverProcessesAndRestarts gives ten wrong PINs, from processes that come and go.
func TestWrongPINsAreCountedOverProcessesAndRestarts(t *testing.T) {
	t.Parallel()
	const low, final, locked = pkcs11.CKF_USER_PIN_COUNT_LOW, pkcs11.CKF_USER_PIN_FINAL_TRY, pkcs11.CKF_USER_PIN_LOCKED
	s := newToken(t)
	stays := s.agent(t)
	stays.want(pkcs11.CKR_OK, "init", "open w")
	for n := 1; n <= 10; n++ {
		a := stays
		if n%3 != 0 {
			a = s.agent(t)
			a.want(pkcs11.CKR_OK, "init", "open w")
		}
		a.want(pkcs11.CKR_PIN_INCORRECT, wrongPIN)
		if a != stays {
			a.want(pkcs11.CKR_OK, "fini")
			a.leave()
		}
		if got := s.failures(t); got != n {
			t.Fatalf("%d wrong PINs were counted of %d", got, n)
		}
		want := map[bool]pkcs11.Flags{n >= 5 && n < 10: low, n == 9: low | final, n == 10: locked}[true]
		if flags, _ := stays.flags(); flags&(low|final|locked) != want {
			t.Errorf("after %d wrong PINs the flags are %#x", n, uint(flags))
		}
	}
	fresh := s.agent(t)
	fresh.want(pkcs11.CKR_OK, "init", "open w")
	for _, a := range []*agent{stays, fresh} {
		a.want(pkcs11.CKR_PIN_LOCKED, "login u "+userPIN, wrongPIN)
	}
	// The security officer's PIN is another matter, and gives the user a new one.
	fresh.want(pkcs11.CKR_OK, "login s "+soPIN, "initpin new-user-pin", "logout", "login u new-user-pin")
	fresh.wantAll()
	stays.want(pkcs11.CKR_PIN_INCORRECT, "login u "+userPIN)
	stays.want(pkcs11.CKR_OK, "login u new-user-pin")
	stays.wantAll()
}

// together has many processes do the same at the same moment, or each a little later than the one before, and returns
// their answers.
func together(s *slot, t *testing.T, n int, command string, later time.Duration) map[pkcs11.RV]int {
	t.Helper()
	agents := make([]*agent, n)
	for i := range agents {
		agents[i] = s.agent(t)
		agents[i].want(pkcs11.CKR_OK, "init", "open w")
	}
	var (
		mu      sync.Mutex
		all     sync.WaitGroup
		answers = map[pkcs11.RV]int{}
	)
	for i, a := range agents {
		all.Go(func() {
			time.Sleep(time.Duration(i) * later)
			a.send(command)
			rv, _, _ := a.receive(command)
			mu.Lock()
			defer mu.Unlock()
			answers[rv]++
		})
	}
	all.Wait()
	for _, a := range agents {
		a.kill()
	}
	return answers
}

// TestManyRightPINsAtOnceAllSucceed: whoever counts attempts before they are decided must not count them against those
// who are right.
func TestManyRightPINsAtOnceAllSucceed(t *testing.T) {
	t.Parallel()
	const many = 16
	for _, with := range []struct {
		wrong int
		later time.Duration
	}{{0, 0}, {1, 0}, {1, 20 * time.Millisecond}, {9, 20 * time.Millisecond}} {
		s := newToken(t)
		a := s.agent(t)
		a.want(pkcs11.CKR_OK, "init", "open w")
		for range with.wrong {
			a.want(pkcs11.CKR_PIN_INCORRECT, wrongPIN)
		}
		start := time.Now()
		if got := together(s, t, many, "login u "+userPIN, with.later); got[pkcs11.CKR_OK] != many {
			t.Errorf("after %d wrong PINs, %d right ones at once, %v apart: %v", with.wrong, many, with.later, got)
		}
		t.Logf("after %d wrong PINs: %v", with.wrong, time.Since(start))
		if n := s.failures(t); n != 0 {
			t.Errorf("then %d failures are counted", n)
		}
		a.want(pkcs11.CKR_OK, "login u "+userPIN)
	}
}

// TestManyWrongPINsAtOnceLock: of many that are wrong at once each counts, and once there has been a wrong one, no more
// of them are tried than are left.
func TestManyWrongPINsAtOnceLock(t *testing.T) {
	t.Parallel()
	const many = 14
	for _, before := range []int{0, 1, 8} {
		s := newToken(t)
		a := s.agent(t)
		a.want(pkcs11.CKR_OK, "init", "open w")
		for range before {
			a.want(pkcs11.CKR_PIN_INCORRECT, wrongPIN)
		}
		got := together(s, t, many, wrongPIN, 0)
		tried, refused := got[pkcs11.CKR_PIN_INCORRECT], got[pkcs11.CKR_PIN_LOCKED]
		if tried+refused != many || before+tried < 10 || before > 0 && before+tried > 10 {
			t.Errorf("after %d wrong PINs, %d at once: %v", before, many, got)
		}
		if n := s.failures(t); n < 10 {
			t.Errorf("%d failures are counted", n)
		}
		a.want(pkcs11.CKR_PIN_LOCKED, "login u "+userPIN)
	}
}

// TestNewPINWhileOthersGiveWrongOnes: C_SetPIN and C_Login of several processes write the same record.
func TestNewPINWhileOthersGiveWrongOnes(t *testing.T) {
	t.Parallel()
	s := newToken(t)
	a := s.user(t)
	others := []*agent{s.agent(t), s.agent(t)}
	for _, o := range others {
		o.want(pkcs11.CKR_OK, "init", "open w")
	}
	pin := userPIN
	for n := range 4 {
		next := fmt.Sprintf("next-pin-%d", n)
		for _, o := range others {
			o.send(wrongPIN)
		}
		a.want(pkcs11.CKR_OK, "setpin "+pin+" "+next, "sign pair") // and is logged in still
		for _, o := range others {
			if rv, _, _ := o.receive(wrongPIN); rv != pkcs11.CKR_PIN_INCORRECT {
				t.Errorf("a wrong PIN while the right one is replaced: %v", rv)
			}
		}
		others[0].want(pkcs11.CKR_PIN_INCORRECT, "login u "+pin)
		pin = next
	}
	others[0].want(pkcs11.CKR_OK, "login u "+pin)
	others[0].wantAll()
	a.wantAll()
}

// TestStoppedLoginStopsNobodyElse stops a process in the middle of a login: others wait for it, but not for ever.
func TestStoppedLoginStopsNobodyElse(t *testing.T) {
	t.Parallel()
	s := newToken(t)
	a, b := s.agent(t), s.agent(t)
	for _, one := range []*agent{a, b} {
		one.want(pkcs11.CKR_OK, "init", "open w")
	}
	a.want(pkcs11.CKR_PIN_INCORRECT, wrongPIN)
	a.send(wrongPIN)
	eventually(t, "the attempt is not counted", func() bool { return s.failures(t) == 2 })
	check(t, a.cmd.Process.Signal(syscall.SIGSTOP))
	start := time.Now()
	b.want(pkcs11.CKR_OK, "login u "+userPIN)
	b.wantAll()
	b.want(pkcs11.CKR_OK, "data d v", "destroy d")
	t.Logf("the other one waited %v", time.Since(start))
	check(t, a.cmd.Process.Signal(syscall.SIGCONT))
	if rv, _, _ := a.receive(wrongPIN); rv != pkcs11.CKR_PIN_INCORRECT {
		t.Error(rv)
	}
	a.want(pkcs11.CKR_OK, "login u "+userPIN)
}

// TestKilledLoginNeverUnlocks kills logins at any moment: the counter never falls but by a right PIN that was answered
// CKR_OK, and each wrong PIN that was answered has been counted.
func TestKilledLoginNeverUnlocks(t *testing.T) {
	t.Parallel()
	r := random(t)
	s := newToken(t)
	window := 200 * time.Millisecond // follows the machine's pace: about half of the logins are to be answered
	attempt := func(command string) (answered string) {
		a := s.agent(t)
		a.want(pkcs11.CKR_OK, "init", "open w")
		a.send(strings.Fields(command)...)
		time.AfterFunc(time.Duration(r.Int64N(int64(window))), func() { _ = a.cmd.Process.Kill() })
		for line := range a.lines {
			answered = line
		}
		_ = a.cmd.Wait()
		if answered == "" {
			window = window * 5 / 4
		} else {
			window = window * 4 / 5
		}
		return strings.TrimSpace(answered)
	}
	before, answered, tries := 0, 0, 0
	for ; before < 10 && tries < 60; tries++ {
		got := attempt(wrongPIN)
		now := s.failures(t)
		if got != "" {
			answered++
		}
		if now < before || now > before+1 || got != "" && now != before+1 {
			t.Fatalf("the counter went from %d to %d when the answer was %q", before, now, got)
		}
		before = now
	}
	t.Logf("%d wrong logins, %d of them answered, %d counted", tries, answered, before)
	if before < 10 {
		return
	}
	for range 6 {
		attempt(wrongPIN)
		if got := attempt("login u " + userPIN); got == "0" {
			t.Fatal("a killed login unlocked the token")
		}
		if n := s.failures(t); n < 10 {
			t.Fatalf("the counter fell to %d", n)
		}
	}
}
