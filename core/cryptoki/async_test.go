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

// gate holds up the far side until it is opened, or the call is cancelled.
type gate struct{ open chan struct{} }

func (b *bench) shut() *gate {
	g := &gate{make(chan struct{})}
	b.hsm.slow = func(ctx context.Context) error {
		select {
		case <-g.open:
			return nil
		case <-ctx.Done():
			return pkcs11.Errorf(pkcs11.CKR_FUNCTION_CANCELED, "%w", ctx.Err())
		}
	}
	return g
}

// later is an asynchronous session of the user.
func (b *bench) later() SessionHandle {
	b.t.Helper()
	s := b.open(pkcs11.CKF_RW_SESSION | pkcs11.CKF_ASYNC_SESSION)
	b.ok(b.Login(s, pkcs11.CKU_USER, []byte("1234")))
	return s
}

// complete asks until the call is over.
func (b *bench) complete(s SessionHandle, function string) (AsyncData, error) {
	b.t.Helper()
	for range 100_000 {
		d, err := b.AsyncComplete(s, function, true)
		if pkcs11.RVOf(err) != pkcs11.CKR_PENDING {
			return d, err
		}
		time.Sleep(100 * time.Microsecond)
	}
	b.t.Fatalf("%s is pending for ever", function)
	return AsyncData{}, nil
}

// over waits for a call that nothing holds up: whether it was pending depends on how busy the machine is.
func (b *bench) over(s SessionHandle, function string, err error) (AsyncData, error) {
	b.t.Helper()
	if pkcs11.RVOf(err) == pkcs11.CKR_PENDING {
		return b.complete(s, function)
	}
	return AsyncData{}, err
}

var (
	generic = &pkcs11.Mechanism{Type: pkcs11.CKM_GENERIC_SECRET_KEY_GEN}
	hidden  = pkcs11.Template{pkcs11.Attr(pkcs11.CKA_PRIVATE, true)}
)

func TestKeysAreMadeBesideTheSession(t *testing.T) {
	for name, call := range map[string]func(b *bench, s SessionHandle, base ObjectHandle) error{
		"GenerateKey": func(b *bench, s SessionHandle, _ ObjectHandle) error {
			_, err := b.GenerateKey(s, generic, hidden)
			return err
		},
		"GenerateKeyPair": func(b *bench, s SessionHandle, _ ObjectHandle) error {
			_, _, err := b.GenerateKeyPair(s, generic, nil, hidden)
			return err
		},
		"UnwrapKey": func(b *bench, s SessionHandle, base ObjectHandle) error {
			_, err := b.UnwrapKey(s, generic, base, []byte("x"), hidden)
			return err
		},
		"DeriveKey": func(b *bench, s SessionHandle, base ObjectHandle) error {
			_, err := b.DeriveKey(s, generic, base, hidden)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := start(t)
			s := b.later()
			base := b.object(s, true, true, "base")
			g := b.shut()
			b.want(pkcs11.CKR_PENDING, call(b, s, base))
			for range 3 {
				_, err := b.AsyncComplete(s, "C_"+name, true)
				b.want(pkcs11.CKR_PENDING, err)
			}
			b.want(pkcs11.CKR_OPERATION_ACTIVE, call(b, s, base))
			b.ok(b.GenerateRandom(s, make([]byte, 4))) // the session itself is free
			_, err := b.AsyncComplete(s, "C_SignFinal", true)
			b.want(pkcs11.CKR_OPERATION_NOT_INITIALIZED, err)
			_, err = b.AsyncComplete(s, name, true)
			b.want(pkcs11.CKR_OPERATION_NOT_INITIALIZED, err)
			close(g.open)
			d, err := b.complete(s, "C_"+name)
			b.ok(err)
			if !b.valid(s, d.Object) || b.valid(s, d.Additional) != (name == "GenerateKeyPair") {
				t.Errorf("%+v", d)
			}
			for _, f := range []func() error{
				func() error { _, err := b.AsyncComplete(s, "C_"+name, true); return err },
				func() error { _, err := b.AsyncGetID(s, "C_"+name); return err },
			} {
				b.want(pkcs11.CKR_OPERATION_NOT_INITIALIZED, f())
			}
			b.want(pkcs11.CKR_SAVED_STATE_INVALID, b.AsyncJoin(s, "C_"+name, 1, &pkcs11.Out{Query: true}))
			_, err = b.over(s, "C_"+name, call(b, s, base)) // the gate is open
			b.ok(err)
		})
	}
}

// TestOperationsEndBesideTheSession: data is copied, the operation is not to be used meanwhile, and the result is what
// it would have been.
func TestOperationsEndBesideTheSession(t *testing.T) {
	b := start(t)
	s := b.later()
	key := b.object(s, true, true, "key")
	sum := func(data string) []byte { h := sha256.Sum256([]byte(data)); return h[:] }

	b.ok(b.SignInit(s, mac, key))
	data := []byte("what is signed")
	g := b.shut()
	b.ok(b.Sign(s, data, &pkcs11.Out{Query: true}))
	b.want(pkcs11.CKR_BUFFER_TOO_SMALL, b.Sign(s, data, room(31)))
	out := room(32)
	out.Buffer = 4711
	b.want(pkcs11.CKR_PENDING, b.Sign(s, data, out))
	clear(data)
	b.want(pkcs11.CKR_OPERATION_ACTIVE, b.SignUpdate(s, data))
	b.want(pkcs11.CKR_OPERATION_ACTIVE, b.SignInit(s, mac, key))
	b.want(pkcs11.CKR_OPERATION_NOT_INITIALIZED, b.Login(s, pkcs11.CKU_CONTEXT_SPECIFIC, []byte("1234")))
	close(g.open)
	for {
		_, err := b.AsyncComplete(s, "C_Sign", false)
		if pkcs11.RVOf(err) != pkcs11.CKR_PENDING {
			b.want(pkcs11.CKR_ARGUMENTS_BAD, err) // and the result is still there
			break
		}
	}
	d, err := b.AsyncComplete(s, "C_Sign", true)
	b.ok(err)
	if d.Buffer != 4711 || !bytes.Equal(d.Value, sum("what is signed")) {
		t.Errorf("%+v", d)
	}
	b.want(pkcs11.CKR_OPERATION_NOT_INITIALIZED, b.SignUpdate(s, data))

	b.hsm.slow = nil
	b.ok(b.SignInit(s, mac, key))
	b.ok(b.SignUpdate(s, []byte("two ")))
	b.ok(b.SignUpdate(s, []byte("parts")))
	out = room(32)
	d, err = b.over(s, "C_SignFinal", b.SignFinal(s, out)) // quick: mostly no need to ask
	b.ok(err)
	if !bytes.Equal(append(out.Bytes, d.Value...), sum("two parts")) {
		t.Errorf("%x, %x", out.Bytes, d.Value)
	}
	b.ok(b.VerifyInit(s, mac, key))
	g = b.shut()
	b.want(pkcs11.CKR_PENDING, b.Verify(s, []byte("two parts"), sum("other")))
	close(g.open)
	_, err = b.complete(s, "C_Verify")
	b.want(pkcs11.CKR_SIGNATURE_INVALID, err)
	b.ok(b.VerifyInit(s, mac, key))
	_, err = b.over(s, "C_Verify", b.Verify(s, []byte("two parts"), sum("two parts")))
	b.ok(err)
	if n := len(b.hsm.running); n != 0 {
		t.Errorf("%d operations were not closed", n)
	}
}

// TestASynchronousSessionWaits, however long it takes.
func TestASynchronousSessionWaits(t *testing.T) {
	b := start(t)
	s := b.user()
	g := b.shut()
	time.AfterFunc(5*patience, func() { close(g.open) })
	_, err := b.GenerateKey(s, generic, hidden)
	b.ok(err)
	_, err = b.AsyncComplete(s, "C_GenerateKey", true)
	b.want(pkcs11.CKR_OPERATION_NOT_INITIALIZED, err)
}

// TestWhatIsPendingEndsWithItsSession: nothing of it is left, whether it had ended already or not.
func TestWhatIsPendingEndsWithItsSession(t *testing.T) {
	ends := map[string]func(b *bench, s SessionHandle){
		"C_CloseSession":     func(b *bench, s SessionHandle) { b.ok(b.CloseSession(s)) },
		"C_CloseAllSessions": func(b *bench, s SessionHandle) { b.ok(b.CloseAllSessions(slot1)) },
		"C_Finalize":         func(b *bench, s SessionHandle) { b.ok(b.Finalize(false)) },
	}
	for name, end := range ends {
		for _, over := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				b := start(t)
				b.user() // stays open, and logged in
				s := b.open(pkcs11.CKF_RW_SESSION | pkcs11.CKF_ASYNC_SESSION)
				key := b.object(s, true, true, "key")
				g := b.shut()
				_, err := b.GenerateKey(s, generic, onToken)
				b.want(pkcs11.CKR_PENDING, err)
				_, _, err = b.GenerateKeyPair(s, generic, nil, hidden)
				b.want(pkcs11.CKR_PENDING, err)
				b.ok(b.SignInit(s, mac, key))
				b.want(pkcs11.CKR_PENDING, b.Sign(s, []byte("data"), room(32)))
				pending := waiting(b, s)
				if over {
					close(g.open)
					for _, p := range pending {
						<-p.done
					}
				}
				end(b, s)
				for _, p := range pending {
					<-p.done
				}
				b.slotIsFree()
				b.hsm.mu.Lock()
				defer b.hsm.mu.Unlock()
				if len(b.hsm.objects) != 1 || len(b.hsm.session) != 0 || len(b.hsm.running) != 0 {
					t.Errorf("over %v: %d token objects, want 1; %d session objects and %d operations, want none", over,
						len(b.hsm.objects), len(b.hsm.session), len(b.hsm.running))
				}
			})
		}
	}
}

// waiting are the calls of a session that have not been asked for.
func waiting(b *bench, s SessionHandle) (list []*pending) {
	x, _ := b.run.Load().sessions.load(s)
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, p := range x.pending {
		list = append(list, p)
	}
	return list
}

// slotIsFree waits until nothing runs beside a session any more.
func (b *bench) slotIsFree() {
	if r := b.run.Load(); r != nil {
		r.slots[slot1].use.Lock()
		r.slots[slot1].use.Unlock() //nolint:staticcheck // what ran has let go of it
	}
}

// TestLogoutEndsWhatIsPending: no handle of a private object for who is not logged in.
func TestLogoutEndsWhatIsPending(t *testing.T) {
	b := start(t)
	s := b.later()
	key := b.object(s, true, true, "key")
	g := b.shut()
	_, err := b.GenerateKey(s, generic, hidden)
	b.want(pkcs11.CKR_PENDING, err)
	b.ok(b.SignInit(s, mac, key))
	b.want(pkcs11.CKR_PENDING, b.Sign(s, []byte("data"), room(32)))
	b.ok(b.Logout(s))
	close(g.open)
	d, err := b.complete(s, "C_GenerateKey")
	b.want(pkcs11.CKR_USER_NOT_LOGGED_IN, err)
	if d.Object != 0 {
		t.Error("a handle")
	}
	d, err = b.complete(s, "C_Sign")
	if err == nil || d.Value != nil && !bytes.Equal(d.Value, make([]byte, len(d.Value))) {
		t.Errorf("a signature after the logout: %x, %v", d.Value, err)
	}
	b.slotIsFree()
	if len(b.hsm.session) != 0 || len(b.hsm.running) != 0 {
		t.Errorf("%d session objects, %d operations", len(b.hsm.session), len(b.hsm.running))
	}
}

func TestCancelEndsWhatIsPending(t *testing.T) {
	b := start(t)
	s := b.later()
	key := b.object(s, true, true, "key")
	b.shut()
	b.ok(b.SignInit(s, mac, key))
	b.want(pkcs11.CKR_PENDING, b.Sign(s, []byte("data"), room(32)))
	b.ok(b.SessionCancel(s, pkcs11.CKF_SIGN))
	_, err := b.AsyncComplete(s, "C_Sign", true)
	b.want(pkcs11.CKR_OPERATION_NOT_INITIALIZED, err)
	b.slotIsFree() // who was to be held up has read what by
	b.hsm.slow = nil
	b.ok(b.SignInit(s, mac, key))
	_, err = b.over(s, "C_Sign", b.Sign(s, []byte("data"), room(32)))
	b.ok(err)
	b.slotIsFree()
	if n := len(b.hsm.running); n != 0 {
		t.Errorf("%d operations were not closed", n)
	}
}

// TestAFaultBesideTheSession ends no process.
func TestAFaultBesideTheSession(t *testing.T) {
	b := start(t)
	s := b.later()
	b.hsm.slow = func(context.Context) error { panic("a fault") }
	_, err := b.GenerateKey(s, generic, hidden)
	_, err = b.over(s, "C_GenerateKey", err)
	b.want(pkcs11.CKR_GENERAL_ERROR, err)
}

// TestManyAsynchronousThreads: any answer is fine; the race detector and the end of the test are the judges.
func TestManyAsynchronousThreads(t *testing.T) {
	for range 10 {
		b := start(t)
		b.hsm.slow = func(context.Context) error { time.Sleep(patience * 3 / 4); return nil }
		s := b.later()
		key := b.object(s, true, true, "key")
		var threads sync.WaitGroup
		for i := range 6 {
			threads.Go(func() {
				x, err := b.OpenSession(slot1, pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION|pkcs11.CKF_ASYNC_SESSION)
				if err != nil || i%2 == 0 {
					x = s
				}
				for range 5 {
					b.GenerateKey(x, generic, hidden)
					b.SignInit(x, mac, key)
					b.Sign(x, []byte("data"), room(32))
					b.AsyncComplete(x, "C_GenerateKey", true)
					b.AsyncComplete(x, "C_Sign", true)
				}
				b.SessionCancel(x, pkcs11.CKF_SIGN)
				b.CloseSession(x)
			})
		}
		threads.Go(func() {
			time.Sleep(4 * patience)
			b.Logout(s)
			b.Finalize(false)
		})
		threads.Wait()
	}
}
