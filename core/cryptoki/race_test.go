package cryptoki

import (
	"sync"
	"testing"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// TestManyThreads runs what applications run at once: sessions of their own and shared ones, logins, and C_Finalize in
// the middle. Any answer is fine; the race detector and the end of the test are the judges.
func TestManyThreads(t *testing.T) {
	for range 20 {
		b := start(t)
		s := b.user()
		key := b.object(s, true, true, "key")
		var threads sync.WaitGroup
		for i := range 8 {
			threads.Go(func() {
				for j := range 30 {
					worker(b, s, key, i, j)
				}
			})
		}
		threads.Go(func() {
			for range 3 {
				b.CloseAllSessions(slot1)
				b.GetTokenInfo(slot1)
			}
			b.Finalize(false)
			b.Initialize(nil)
		})
		threads.Wait()
	}
}

func worker(b *bench, shared SessionHandle, key ObjectHandle, i, j int) {
	s, err := b.OpenSession(slot1, pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION)
	if err != nil {
		s = shared
	}
	switch (i + j) % 4 {
	case 0:
		b.Login(s, pkcs11.CKU_USER, []byte("1234"))
		b.FindObjectsInit(s, nil)
		b.FindObjects(s, 10)
		b.FindObjectsFinal(s)
	case 1:
		b.SignInit(s, mac, key)
		b.Sign(s, []byte("data"), room(32))
		b.DecryptInit(shared, padded, key)
		b.Decrypt(shared, input, room(1))
	case 2:
		o, _ := b.CreateObject(s, pkcs11.Template{pkcs11.Attr(pkcs11.CKA_PRIVATE, j%2 == 0)})
		b.GetObjectSize(shared, o)
		b.DestroyObject(s, o)
		b.CreateObject(s, pkcs11.Template{pkcs11.Attr(pkcs11.CKA_PRIVATE, j%2 == 1)})
	case 3:
		b.Logout(s)
		b.GetSessionInfo(s)
		b.InitToken(slot1, []byte("so-pin"), "x")
	}
	b.CloseSession(s)
}

func BenchmarkSign(b *testing.B) {
	x := start(b)
	key := x.object(x.user(), true, true, "key")
	b.RunParallel(func(pb *testing.PB) {
		s := x.rw()
		for pb.Next() {
			x.SignInit(s, mac, key)
			x.Sign(s, nil, room(32))
		}
	})
}
