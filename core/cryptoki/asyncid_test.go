package cryptoki

import (
	"bytes"
	"context"
	"crypto/sha256"
	"sync"
	"testing"
	"time"

	"github.com/coffer-hsm/coffer/pkcs11"
)

var none = &pkcs11.Out{Query: true}

// signing begins a signature of "data" that waits at the gate, and gives it an id.
func (b *bench) signing(s SessionHandle) (g *gate, p *pending, id uint) {
	b.t.Helper()
	key := b.object(s, true, true, "key")
	g = b.shut()
	b.ok(b.SignInit(s, mac, key))
	b.want(pkcs11.CKR_PENDING, b.Sign(s, []byte("data"), room(32)))
	p = waiting(b, s)[0]
	id, err := b.AsyncGetID(s, "C_Sign")
	b.ok(err)
	return g, p, id
}

// signed is what has to come of it.
func (b *bench) signed(s SessionHandle) {
	b.t.Helper()
	d, err := b.complete(s, "C_Sign")
	b.ok(err)
	if sum := sha256.Sum256([]byte("data")); d.Buffer != 4711 || !bytes.Equal(d.Value, sum[:]) {
		b.t.Errorf("%+v", d)
	}
}

func later(n int) *pkcs11.Out { return &pkcs11.Out{Capacity: n, Buffer: 4711} }

// TestACallWithAnIDBelongsToNoSession until one joins it, with a buffer that is long enough.
func TestACallWithAnIDBelongsToNoSession(t *testing.T) {
	b := start(t)
	s := b.later()
	g, p, id := b.signing(s)
	_, err := b.AsyncComplete(s, "C_Sign", true)
	b.want(pkcs11.CKR_OPERATION_NOT_INITIALIZED, err)
	_, err = b.AsyncGetID(s, "C_Sign")
	b.want(pkcs11.CKR_OPERATION_NOT_INITIALIZED, err)
	b.want(pkcs11.CKR_OPERATION_NOT_INITIALIZED, b.SignUpdate(s, nil))

	other := b.rw()
	for _, c := range []struct {
		want     pkcs11.RV
		function string
		id       uint
		buffer   *pkcs11.Out
	}{
		{pkcs11.CKR_SAVED_STATE_INVALID, "C_Sign", id + 1, later(32)},
		{pkcs11.CKR_SAVED_STATE_INVALID, "C_Sign", 0, later(32)},
		{pkcs11.CKR_SAVED_STATE_INVALID, "C_SignFinal", id, later(32)},
		{pkcs11.CKR_SAVED_STATE_INVALID, "Sign", id, later(32)},
		{pkcs11.CKR_ARGUMENTS_BAD, "C_Sign", id, none},
		{pkcs11.CKR_BUFFER_TOO_SMALL, "C_Sign", id, later(31)},
	} {
		b.want(c.want, b.AsyncJoin(other, c.function, c.id, c.buffer))
	}
	b.ok(b.AsyncJoin(other, "C_Sign", id, &pkcs11.Out{Capacity: 32, Buffer: 1}))
	b.want(pkcs11.CKR_SAVED_STATE_INVALID, b.AsyncJoin(s, "C_Sign", id, later(32)))
	_, err = b.AsyncComplete(other, "C_Sign", true)
	b.want(pkcs11.CKR_PENDING, err)
	b.ok(b.CloseSession(other)) // before it was there: it waits for the next
	close(g.open)
	<-p.done
	b.want(pkcs11.CKR_BUFFER_TOO_SMALL, b.AsyncJoin(s, "C_Sign", id, later(31)))
	b.ok(b.AsyncJoin(s, "C_Sign", id, later(32)))
	again, err := b.AsyncGetID(s, "C_Sign")
	b.ok(err)
	if again != id {
		t.Errorf("a second id: %d and %d", id, again)
	}
	b.ok(b.AsyncJoin(s, "C_Sign", id, later(32)))
	b.signed(s)
	b.want(pkcs11.CKR_SAVED_STATE_INVALID, b.AsyncJoin(s, "C_Sign", id, later(32)))
	b.slotIsFree()
	if n := len(b.hsm.running); n != 0 || len(b.kept.calls) != 0 {
		t.Errorf("%d operations were not closed, %d calls are kept", n, len(b.kept.calls))
	}
}

// TestACallWithAnIDGoesOnAfterTheLogin, and is its user's alone.
func TestACallWithAnIDGoesOnAfterTheLogin(t *testing.T) {
	for name, end := range map[string]func(b *bench, s SessionHandle){
		"C_Logout":       func(b *bench, s SessionHandle) { b.ok(b.Logout(s)); b.ok(b.CloseSession(s)) },
		"C_CloseSession": func(b *bench, s SessionHandle) { b.ok(b.CloseSession(s)) },
	} {
		t.Run(name, func(t *testing.T) {
			b := start(t)
			s := b.later()
			g, p, id := b.signing(s)
			end(b, s)
			if n := b.loggedOut(); n != 0 {
				t.Error("the token's login ended before the call")
			}
			s = b.rw()
			b.want(pkcs11.CKR_SAVED_STATE_INVALID, b.AsyncJoin(s, "C_Sign", id, later(32))) // nobody
			b.ok(b.Login(s, pkcs11.CKU_SO, []byte("so-pin")))
			b.want(pkcs11.CKR_SAVED_STATE_INVALID, b.AsyncJoin(s, "C_Sign", id, later(32)))
			b.ok(b.Logout(s))
			close(g.open)
			<-p.done
			b.slotIsFree()
			if n := b.loggedOut(); n != 2 {
				t.Errorf("%d logouts of the token, want 2", n)
			}
			b.ok(b.Login(s, pkcs11.CKU_USER, []byte("1234")))
			b.ok(b.AsyncJoin(s, "C_Sign", id, later(32)))
			b.ok(b.Logout(s))
			_, err := b.AsyncComplete(s, "C_Sign", true)
			b.want(pkcs11.CKR_USER_NOT_LOGGED_IN, err)
			_, err = b.AsyncComplete(s, "C_Sign", true)
			b.want(pkcs11.CKR_OPERATION_NOT_INITIALIZED, err)
			b.ok(b.Login(s, pkcs11.CKU_USER, []byte("1234")))
			b.ok(b.AsyncJoin(s, "C_Sign", id, later(32)))
			b.signed(s)
		})
	}
}

func (b *bench) loggedOut() int {
	b.hsm.mu.Lock()
	defer b.hsm.mu.Unlock()
	return b.hsm.logouts
}

// TestACallWithAnIDOutlivesFinalize, which waits for it; what were session objects does not.
func TestACallWithAnIDOutlivesFinalize(t *testing.T) {
	for _, over := range []bool{false, true} {
		b := start(t)
		s := b.later()
		g, p, id := b.signing(s)
		_, _, err := b.GenerateKeyPair(s, generic, onToken, append(onToken.Clone(), hidden...))
		b.want(pkcs11.CKR_PENDING, err)
		pair, err := b.AsyncGetID(s, "C_GenerateKeyPair")
		b.ok(err)
		_, err = b.GenerateKey(s, generic, hidden)
		b.want(pkcs11.CKR_PENDING, err)
		session, err := b.AsyncGetID(s, "C_GenerateKey")
		b.ok(err)
		if over {
			close(g.open)
			<-p.done
		} else {
			time.AfterFunc(20*time.Millisecond, func() { close(g.open) })
		}
		b.ok(b.Finalize(false))
		b.hsm.slow = nil
		b.ok(b.Initialize(nil))

		two, err := b.OpenSession(cloudSlot, pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION)
		b.ok(err)
		b.ok(b.Login(two, pkcs11.CKU_USER, []byte("1234")))
		b.want(pkcs11.CKR_SAVED_STATE_INVALID, b.AsyncJoin(two, "C_Sign", id, later(32)))
		s = b.user()
		b.want(pkcs11.CKR_SAVED_STATE_INVALID, b.AsyncJoin(s, "C_GenerateKey", session, none))
		b.ok(b.AsyncJoin(s, "C_Sign", id, later(32)))
		b.signed(s)
		b.ok(b.AsyncJoin(s, "C_GenerateKeyPair", pair, none))
		_, err = b.AsyncComplete(s, "C_GenerateKeyPair", false)
		b.want(pkcs11.CKR_ARGUMENTS_BAD, err)
		d, err := b.AsyncComplete(s, "C_GenerateKeyPair", true)
		b.ok(err)
		if !b.valid(s, d.Object) || !b.valid(s, d.Additional) || d.Object == d.Additional {
			t.Errorf("%+v", d)
		}
		if len(b.hsm.session) != 0 || len(b.hsm.running) != 0 || len(b.kept.calls) != 0 {
			t.Errorf("%d session objects, %d operations, %d calls", len(b.hsm.session), len(b.hsm.running), len(b.kept.calls))
		}
	}
}

// TestKeptCallsAreBounded in number and in time, and leave nothing.
func TestKeptCallsAreBounded(t *testing.T) {
	b := start(t)
	b.kept.limit = 10 * time.Millisecond
	s := b.later()
	g, p, id := b.signing(s)
	_, err := b.GenerateKey(s, generic, hidden)
	b.want(pkcs11.CKR_PENDING, err)
	_, err = b.AsyncGetID(s, "C_GenerateKey")
	b.ok(err)
	for range mostKept - 2 {
		_, err := b.DeriveKey(s, generic, b.object(s, false, false, "base"), hidden)
		b.want(pkcs11.CKR_PENDING, err)
		_, err = b.AsyncGetID(s, "C_DeriveKey")
		b.ok(err)
	}
	_, err = b.GenerateKey(s, generic, hidden)
	b.want(pkcs11.CKR_PENDING, err)
	_, err = b.AsyncGetID(s, "C_GenerateKey")
	b.want(pkcs11.CKR_STATE_UNSAVEABLE, err)
	close(g.open)
	d, err := b.complete(s, "C_GenerateKey") // that one is still the session's
	b.ok(err)
	b.ok(b.DestroyObject(s, d.Object))
	<-p.done
	value := p.outcome.value
	for range 1000 {
		b.kept.mu.Lock()
		n := len(b.kept.calls)
		b.kept.mu.Unlock()
		if n == 0 {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	b.want(pkcs11.CKR_SAVED_STATE_INVALID, b.AsyncJoin(s, "C_Sign", id, later(32)))
	if !bytes.Equal(value, make([]byte, 32)) {
		t.Errorf("a result was not wiped: %x", value)
	}
	b.hsm.mu.Lock()
	defer b.hsm.mu.Unlock()
	if n := len(b.hsm.session); n != mostKept-2 {
		t.Errorf("%d session objects, want the %d bases", n, mostKept-2)
	}
}

// TestInitTokenGivesUpKeptCalls, those of its slot.
func TestInitTokenGivesUpKeptCalls(t *testing.T) {
	b := start(t)
	s := b.later()
	_, p, id := b.signing(s)
	b.ok(b.CloseSession(s))
	b.ok(b.InitToken(slot1, []byte("so-pin"), "new"))
	<-p.done // it was cancelled
	s = b.user()
	b.want(pkcs11.CKR_SAVED_STATE_INVALID, b.AsyncJoin(s, "C_Sign", id, later(32)))
	b.slotIsFree()
	if n := len(b.hsm.running); n != 0 {
		t.Errorf("%d operations were not closed", n)
	}
}

// TestManyThreadsJoin: any answer is fine; the race detector and the end of the test are the judges.
func TestManyThreadsJoin(t *testing.T) {
	for range 10 {
		b := start(t)
		b.kept.limit = time.Millisecond
		b.hsm.slow = func(context.Context) error { time.Sleep(patience * 3 / 2); return nil }
		s := b.later()
		key := b.object(s, true, true, "key")
		ids := make(chan uint, 100)
		var threads sync.WaitGroup
		for range 4 {
			threads.Go(func() {
				x, err := b.OpenSession(slot1, pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION|pkcs11.CKF_ASYNC_SESSION)
				if err != nil {
					return
				}
				for range 5 {
					b.SignInit(x, mac, key)
					b.Sign(x, []byte("data"), room(32))
					if id, err := b.AsyncGetID(x, "C_Sign"); err == nil {
						ids <- id
					}
					select {
					case id := <-ids:
						b.AsyncJoin(x, "C_Sign", id, later(32))
					default:
					}
					b.AsyncComplete(x, "C_Sign", true)
				}
				b.CloseSession(x)
			})
		}
		threads.Go(func() {
			time.Sleep(4 * patience)
			b.Logout(s)
			b.Login(s, pkcs11.CKU_USER, []byte("1234"))
			b.Finalize(false)
			b.Initialize(nil)
		})
		threads.Wait()
	}
}

// TestACallBesideAJoinedOneEndsItsOperation: a session asks for one call of a function at a time.
func TestACallBesideAJoinedOneEndsItsOperation(t *testing.T) {
	b := start(t)
	s := b.later()
	g, _, id := b.signing(s)
	b.ok(b.AsyncJoin(s, "C_Sign", id, later(32)))
	key := b.object(s, true, true, "other")
	b.ok(b.SignInit(s, mac, key))
	b.want(pkcs11.CKR_OPERATION_ACTIVE, b.Sign(s, []byte("more"), room(32)))
	b.want(pkcs11.CKR_OPERATION_NOT_INITIALIZED, b.SignUpdate(s, nil))
	close(g.open)
	b.signed(s)
	b.slotIsFree()
	if n := len(b.hsm.running); n != 0 {
		t.Errorf("%d operations were not closed", n)
	}
}

// TestACallWithAnIDIsOneUsersAlone: of two who log in with "name:PIN" too.
func TestACallWithAnIDIsOneUsersAlone(t *testing.T) {
	b := start(t)
	s := b.open(pkcs11.CKF_RW_SESSION | pkcs11.CKF_ASYNC_SESSION)
	as := func(pin string) {
		b.hsm.mu.Lock()
		b.hsm.pins[pkcs11.CKU_USER] = pin
		b.hsm.mu.Unlock()
		b.ok(b.Login(s, pkcs11.CKU_USER, []byte(pin)))
	}
	as("alice:1234")
	g, p, id := b.signing(s)
	close(g.open)
	<-p.done
	for _, pin := range []string{"bob:1234", "1234"} {
		b.ok(b.Logout(s))
		as(pin)
		b.want(pkcs11.CKR_SAVED_STATE_INVALID, b.AsyncJoin(s, "C_Sign", id, later(32)))
	}
	b.ok(b.Logout(s))
	b.hsm.mu.Lock()
	b.hsm.pins[pkcs11.CKU_USER] = "1234"
	b.hsm.mu.Unlock()
	b.ok(b.LoginUser(s, pkcs11.CKU_USER, []byte("1234"), []byte("alice"))) // the same, in the newer way
	b.ok(b.AsyncJoin(s, "C_Sign", id, later(32)))
	b.signed(s)
}

// TestASessionThatLeavesACallNamesItsOwnBuffer, although another one joins at once.
func TestASessionThatLeavesACallNamesItsOwnBuffer(t *testing.T) {
	for range 20 {
		b := start(t)
		s := b.later()
		g, p, id := b.signing(s)
		close(g.open)
		<-p.done
		b.ok(b.AsyncJoin(s, "C_Sign", id, &pkcs11.Out{Capacity: 32, Buffer: 1}))
		b.ok(b.Logout(s))
		b.ok(b.Login(s, pkcs11.CKU_USER, []byte("1234")))
		other := b.rw()
		var threads sync.WaitGroup
		threads.Go(func() {
			for b.AsyncJoin(other, "C_Sign", id, later(32)) != nil {
			}
		})
		d, err := b.AsyncComplete(s, "C_Sign", true)
		b.want(pkcs11.CKR_USER_NOT_LOGGED_IN, err)
		if d.Buffer != 1 {
			t.Errorf("another session's buffer: %d", d.Buffer)
		}
		threads.Wait()
		b.signed(other)
	}
}

// TestAResultThatWasGivenUpIsGivenToNobody: C_InitToken comes while a session asks that is closing.
func TestAResultThatWasGivenUpIsGivenToNobody(t *testing.T) {
	b := start(t)
	s := b.later()
	g, p, id := b.signing(s)
	close(g.open)
	<-p.done
	b.ok(b.AsyncJoin(s, "C_Sign", id, later(32)))
	b.kept.erased(slot1)
	d, err := b.AsyncComplete(s, "C_Sign", true)
	b.want(pkcs11.CKR_SESSION_CLOSED, err)
	if d.Value != nil {
		t.Errorf("%x", d.Value)
	}
}

// TestPasswordsOfAsynchronousCallsAreWiped, whether the call began or not.
func TestPasswordsOfAsynchronousCallsAreWiped(t *testing.T) {
	b := start(t)
	s := b.later()
	given := &pkcs11.Mechanism{Type: pkcs11.CKM_PKCS5_PBKD2, Params: &pkcs11.PBKD2Params{Password: []byte("password")}}
	var seen []*pkcs11.PBKD2Params
	b.hsm.sawMechanism = func(m pkcs11.Mechanism) { seen = append(seen, m.Params.(*pkcs11.PBKD2Params)) }
	g := b.shut()
	_, err := b.GenerateKey(s, given, hidden)
	b.want(pkcs11.CKR_PENDING, err)
	close(g.open)
	_, err = b.complete(s, "C_GenerateKey")
	b.ok(err)
	if len(seen) != 1 || !bytes.Equal(seen[0].Password, make([]byte, 8)) {
		t.Errorf("%+v", seen)
	}
	copied := []byte("password")
	_, err = b.create("GenerateKey", s+1, nil, nil, copied)
	b.want(pkcs11.CKR_SESSION_HANDLE_INVALID, err)
	if !bytes.Equal(copied, make([]byte, 8)) {
		t.Errorf("of a call that has not begun: %q", copied)
	}
	if p := given.Params.(*pkcs11.PBKD2Params); string(p.Password) != "password" {
		t.Errorf("the caller's: %q", p.Password)
	}
}

// TestAFailedCallGivesBackTheBufferOfWhoeverJoined, not the one of the session that it was begun in.
func TestAFailedCallGivesBackTheBufferOfWhoeverJoined(t *testing.T) {
	b := start(t)
	s := b.later()
	key := b.object(s, true, true, "key")
	g := b.shut()
	b.ok(b.SignInit(s, mac, key))
	b.want(pkcs11.CKR_PENDING, b.Sign(s, []byte("fail"), &pkcs11.Out{Capacity: 32, Buffer: 1}))
	p := waiting(b, s)[0]
	id, err := b.AsyncGetID(s, "C_Sign")
	b.ok(err)
	close(g.open)
	<-p.done
	b.ok(b.AsyncJoin(s, "C_Sign", id, later(32)))
	d, err := b.AsyncComplete(s, "C_Sign", true)
	b.want(pkcs11.CKR_DATA_INVALID, err)
	if d.Buffer != 4711 {
		t.Errorf("buffer %d", d.Buffer)
	}
}

// TestALoginLeavesWhatIsPendingAlone: a digest that nobody in particular has begun.
func TestALoginLeavesWhatIsPendingAlone(t *testing.T) {
	b := start(t)
	s := b.open(pkcs11.CKF_RW_SESSION | pkcs11.CKF_ASYNC_SESSION)
	g := b.shut()
	b.ok(b.DigestInit(s, sha))
	b.want(pkcs11.CKR_PENDING, b.Digest(s, []byte("data"), later(32)))
	b.ok(b.Login(s, pkcs11.CKU_USER, []byte("1234")))
	close(g.open)
	d, err := b.complete(s, "C_Digest")
	b.ok(err)
	if sum := sha256.Sum256([]byte("data")); !bytes.Equal(d.Value, sum[:]) {
		t.Errorf("%x", d.Value)
	}
}
