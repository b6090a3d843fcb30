package cryptoki

import (
	"runtime"
	"sync"
	"testing"

	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// TestTheCensusIsExact: sessions that come and go at once are counted right, and a limit is never passed.
func TestTheCensusIsExact(t *testing.T) {
	const most = 5
	b := start(t)
	b.hsm.info = pkcs11.TokenInfo{MaxSessionCount: most, MaxRwSessionCount: pkcs11.CK_EFFECTIVELY_INFINITE}
	kept := b.rw()
	var threads sync.WaitGroup
	for i := range 8 {
		threads.Go(func() {
			for range 300 {
				s, err := b.OpenSession(slot1, pkcs11.CKF_SERIAL_SESSION|pkcs11.Flags(i%2)*pkcs11.CKF_RW_SESSION)
				if all, rw := b.run.Load().slots[slot1].census.count(); all > most || rw > all {
					t.Errorf("%d sessions, %d of them read/write", all, rw)
				}
				if err == nil {
					b.ok(b.CloseSession(s))
				} else if pkcs11.RVOf(err) != pkcs11.CKR_SESSION_COUNT {
					t.Error(err)
				}
			}
		})
	}
	threads.Wait()
	info, err := b.GetTokenInfo(slot1)
	b.ok(err)
	if info.SessionCount != 1 || info.RwSessionCount != 1 {
		t.Errorf("%d sessions are left, %d of them read/write", info.SessionCount, info.RwSessionCount)
	}
	b.ok(b.CloseSession(kept))
}

// TestWhatIsClosedIsNotCounted: another thread closes a session and has not come to counting it out. Nobody is told
// meanwhile that it is closed.
func TestWhatIsClosedIsNotCounted(t *testing.T) {
	for name, alsoCloses := range map[string]func(b *bench, s SessionHandle) error{
		"C_CloseAllSessions": func(b *bench, _ SessionHandle) error { return b.CloseAllSessions(slot1) },
		"C_CloseSession":     func(b *bench, s SessionHandle) error { return b.CloseSession(s) },
	} {
		t.Run(name, func(t *testing.T) {
			b := start(t)
			s := b.rw()
			r := b.run.Load()
			x, _ := r.sessions.load(s)
			x.stage.Store(leaving)
			told := make(chan error, 1)
			go func() { told <- alsoCloses(b, s) }()
			for range 100 {
				select {
				case err := <-told:
					t.Fatalf("answered %v while the session counts", err)
				default:
					runtime.Gosched()
				}
			}
			x.countOut(true)
			<-told
			x.end()
			if all, _ := r.slots[slot1].census.count(); all != 0 {
				t.Errorf("%d sessions are left", all)
			}
		})
	}
}

// TestFinalizeWaitsForNobodyWhoWaitsForIt: a thread that closes a session is stopped before it counts it out. What C_Finalize
// has closed stays closed when it goes on.
func TestFinalizeWaitsForNobodyWhoWaitsForIt(t *testing.T) {
	b := start(t)
	x, _ := b.run.Load().sessions.load(b.rw())
	x.stage.Store(leaving)
	b.ok(b.Finalize(false))
	x.countOut(true)
	if x.stage.Load() != closed {
		t.Errorf("the session is at stage %d, expected closed", x.stage.Load())
	}
	x.end()
}

// TestNoReadOnlySessionBesideTheSO lets threads open read-only sessions while another logs the SO in and out.
func TestNoReadOnlySessionBesideTheSO(t *testing.T) {
	b := start(t)
	officer := b.rw()
	done := make(chan struct{})
	var threads sync.WaitGroup
	for range 2 {
		threads.Go(func() {
			for {
				runtime.Gosched() // there are times without one
				select {
				case <-done:
					return
				default:
				}
				s, err := b.OpenSession(slot1, pkcs11.CKF_SERIAL_SESSION)
				if err != nil {
					b.want(pkcs11.CKR_SESSION_READ_WRITE_SO_EXISTS, err)
					continue
				}
				if state := b.state(s); state != pkcs11.CKS_RO_PUBLIC_SESSION {
					t.Errorf("a read-only session in state %d", state)
				}
				b.ok(b.CloseSession(s))
			}
		})
	}
	in := 0
	for tries := 0; in < 200 && tries < 20000; tries++ {
		err := b.Login(officer, pkcs11.CKU_SO, []byte("so-pin"))
		if err != nil {
			b.want(pkcs11.CKR_SESSION_READ_ONLY_EXISTS, err)
			continue
		}
		in++
		if all, rw := b.run.Load().slots[slot1].census.count(); all != rw {
			t.Errorf("the SO is there, and %d read-only sessions", all-rw)
		}
		b.ok(b.Logout(officer))
	}
	close(done)
	threads.Wait()
	t.Logf("%d logins", in)
	b.open(0) // the guard is down again
}

// TestTheLastSessionTakesTheLoginAlong: whoever opens a session when there is none finds nobody logged in, also when
// others are closing theirs at the time.
func TestTheLastSessionTakesTheLoginAlong(t *testing.T) {
	b := start(t)
	for range 200 {
		list := []SessionHandle{b.user(), b.rw(), b.rw()}
		var threads sync.WaitGroup
		for _, s := range list {
			threads.Go(func() { b.ok(b.CloseSession(s)) })
		}
		threads.Wait()
		s := b.rw()
		if state := b.state(s); state != pkcs11.CKS_RW_PUBLIC_SESSION {
			t.Fatalf("state %d", state)
		}
		b.ok(b.CloseSession(s))
	}
	if b.hsm.logouts != 200 {
		t.Errorf("%d logouts for 200 logins", b.hsm.logouts)
	}
}

// TestASessionLeavesNothingToTheNext: what a session has done serves another one, which must not find it.
func TestASessionLeavesNothingToTheNext(t *testing.T) {
	b := start(t)
	b.user()
	for range 20 {
		s := b.rw()
		key := b.object(s, false, true, "key")
		b.ok(b.SignInit(s, mac, key))
		b.ok(b.DigestInit(s, sha))
		b.ok(b.FindObjectsInit(s, nil))
		b.ok(b.CloseSession(s))
		next := b.rw()
		b.want(pkcs11.CKR_OPERATION_NOT_INITIALIZED, b.SignUpdate(next, []byte("a")))
		b.want(pkcs11.CKR_OPERATION_NOT_INITIALIZED, b.DigestUpdate(next, []byte("a")))
		_, err := b.FindObjects(next, 1)
		b.want(pkcs11.CKR_OPERATION_NOT_INITIALIZED, err)
		x, _ := b.run.Load().sessions.load(next)
		if x.pending != nil || x.operations != [numOperations]*operation{} || x.messages != [hsm.NumOpKinds]*messages{} {
			t.Fatalf("%+v", x.work)
		}
		b.ok(b.CloseSession(next))
	}
}
