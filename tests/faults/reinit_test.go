package faults

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// over are the answers of one whose token was replaced.
var over = []pkcs11.RV{pkcs11.CKR_USER_NOT_LOGGED_IN, pkcs11.CKR_OBJECT_HANDLE_INVALID, pkcs11.CKR_KEY_HANDLE_INVALID,
	pkcs11.CKR_SESSION_HANDLE_INVALID, pkcs11.CKR_SESSION_CLOSED}

func (a *agent) wantOver(commands ...string) {
	a.t.Helper()
	for _, c := range commands {
		if rv, text := a.ask(c); !slices.Contains(over, rv) {
			a.t.Errorf("%s: %v %s", c, rv, text)
		}
	}
}

// TestReplacedTokenShowsNoOldData has one process initialise the token again while another one is logged in.
func TestReplacedTokenShowsNoOldData(t *testing.T) {
	t.Parallel()
	for _, first := range []string{"kept", "value private", "set private x", "pair new", "destroy private", "list"} {
		t.Run(first, func(t *testing.T) {
			s := newToken(t)
			a := s.user(t)
			a.wantAll()
			a.want(pkcs11.CKR_OK, "keep pair")
			_, old := a.flags()

			b := s.agent(t)
			b.want(pkcs11.CKR_OK, "init", "setup "+soPIN+" new-user-pin", "open w", "login u new-user-pin", "secret private fresh", "data public fresh")

			if first == "list" {
				a.send("list")
				rv, _, list := a.receive("list")
				if !slices.Contains(over, rv) && !(rv == pkcs11.CKR_OK && slices.Equal(list, []string{"0 public fresh"})) {
					t.Errorf("%v %q", rv, list)
				}
			} else if rv, text := a.ask(first); !slices.Contains(over, rv) {
				t.Errorf("%v %q", rv, text)
			}
			a.wantOver("kept", "sign pair", "value private", "set private x", "destroy private", "secret s v", "encrypt aes1")
			if got := a.list(); !slices.Equal(got, []string{"0 public fresh"}) {
				t.Errorf("without a login the new token holds %q", got)
			}
			if flags, serial := a.flags(); serial == old || flags&pkcs11.CKF_TOKEN_INITIALIZED == 0 {
				t.Errorf("flags %#x, serial number %s, before %s", uint(flags), serial, old)
			}
			a.want(pkcs11.CKR_PIN_INCORRECT, "login u "+userPIN)
			a.want(pkcs11.CKR_OK, "login u new-user-pin")
			if got, want := a.list(), []string{"0 private fresh", "0 public fresh"}; !slices.Equal(got, want) {
				t.Errorf("the new token holds %q", got)
			}
			a.want(pkcs11.CKR_OK, "set private both", "pair new", "sign new")
			if got := b.want(pkcs11.CKR_OK, "value private"); got != "both" {
				t.Errorf("private holds %s", got)
			}
			b.want(pkcs11.CKR_OK, "sign new")
		})
	}
}

// TestReplacingAgainAndAgain initialises a token over and over while others use it as fast as they can: their answers are
// those of the token that there is, and what was answered CKR_OK since the last time is there at the end.
func TestReplacingAgainAndAgain(t *testing.T) {
	t.Parallel()
	s := newToken(t)
	allowed := append(slices.Clone(over), pkcs11.CKR_OK, pkcs11.CKR_PIN_INCORRECT, pkcs11.CKR_USER_PIN_NOT_INITIALIZED,
		pkcs11.CKR_USER_ALREADY_LOGGED_IN, pkcs11.CKR_PIN_LOCKED)
	var all sync.WaitGroup
	stop := make(chan struct{})
	answers := make([]map[pkcs11.RV]int, 3)
	for i := range answers {
		a := s.user(t)
		answers[i] = map[pkcs11.RV]int{}
		all.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					a.kill()
					return
				default:
				}
				name := fmt.Sprintf("a%d-%d", i, n)
				for _, c := range []string{"flags", "secret " + name + " v", "value " + name, "data " + name + " v", "destroy " + name, "login u " + userPIN} {
					a.send(c)
					rv, text, _ := a.receive(c)
					answers[i][rv]++
					if !slices.Contains(allowed, rv) {
						t.Errorf("%s: %v %s", c, rv, text)
					}
				}
			}
		})
	}
	b := s.agent(t)
	b.want(pkcs11.CKR_OK, "init")
	for range 6 {
		b.want(pkcs11.CKR_OK, "setup "+soPIN+" "+userPIN)
	}
	close(stop)
	all.Wait()
	t.Log(answers)
	s.wantSound(t)
	b.want(pkcs11.CKR_OK, "open w", "login u "+userPIN, "secret last v")
	if rv, _ := b.ask("value last"); rv != pkcs11.CKR_OK {
		t.Error(rv)
	}
	// Nobody's record is left: each belongs to the token that there is.
	if list, stored := b.list(), records(t, s.database(t), "object/"); len(list) != len(stored) {
		t.Errorf("%d objects in %d records: %q", len(list), len(stored), list)
	}
}

// TestObjectDestroyedAsItIsMade has processes destroy what another one makes, as soon as they see it.
func TestObjectDestroyedAsItIsMade(t *testing.T) {
	t.Parallel()
	const many = 300
	s := newToken(t)
	var members []*member
	for _, role := range []string{"make", "hunt", "hunt"} {
		members = append(members, s.member(t, "hunt", nil, userPIN, role, fmt.Sprint(many)))
	}
	for _, m := range members {
		m.until("ready")
	}
	for _, m := range members {
		m.signal("g")
	}
	caught, missed := 0, 0
	for i, m := range members {
		if i == 0 {
			m.until("made")
		} else {
			var c, n int
			m.out.Scan()
			if _, err := fmt.Sscan(m.out.Text(), &c, &n); err != nil {
				t.Fatalf("%q\n%s", m.out.Text(), &m.err)
			}
			caught, missed = caught+c, missed+n
		}
		if err := m.cmd.Wait(); err != nil || m.err.Len() > 0 {
			t.Errorf("%v\n%s", err, &m.err)
		}
	}
	left := 0
	for _, line := range s.user(t).list() {
		if strings.HasSuffix(strings.TrimSpace(line), "prey v") || strings.HasSuffix(line, "prey") {
			left++
		}
	}
	if made := many + many/4*2; caught+left != made {
		t.Errorf("%d were made, %d caught, %d are left", made, caught, left)
	}
	t.Logf("%d caught, %d came too late", caught, missed)
}
