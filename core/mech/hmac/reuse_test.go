package hmac

import (
	"bytes"
	"crypto/hmac"
	"sync"
	"testing"

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/mech/mechtest"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// TestStatesBeginAnew: what one operation leaves with the key does not show in the next, whether it was finished or given
// up, of this hash or another, closed twice or while others run.
func TestStatesBeginAnew(t *testing.T) {
	value := []byte("a key of some length")
	k := mechtest.Secret(pkcs11.CKK_GENERIC_SECRET, value)
	message := bytes.Repeat([]byte("message "), 40)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range 60 {
				h := hmacs[i%len(hmacs)]
				reference := hmac.New(h.New, value)
				reference.Write(message[:i*4])
				want := reference.Sum(nil)

				given, err := rowOf(t, h.HMAC).Sign(k, nil)
				if err != nil {
					t.Error(err)
					return
				}
				given.Update(message[:i])
				s, err := rowOf(t, h.HMAC).Sign(k, nil)
				if err != nil {
					t.Error(err)
					return
				}
				given.Close()
				end(given)
				v, err := rowOf(t, h.HMAC).Verify(k, nil)
				if err != nil {
					t.Error(err)
					return
				}
				s.Update(message[:i])
				tag, err := s.Finish(nil, message[i:i*4])
				if err != nil || !bytes.Equal(tag, want) {
					t.Errorf("%v: tag %x, %v; want %x", h, tag, err, want)
				}
				end(s)
				if err := v.Verify(message[:i*4], want); err != nil {
					t.Errorf("%v: %v", h, err)
				}
				end(v)
			}
		})
	}
	wg.Wait()
}

// end is the engine's way to end an operation.
func end(op interface{ Close() }) {
	op.Close()
	if r, ok := op.(mech.Recycler); ok {
		r.Recycle()
	}
}

// TestAnOperationIsMadeOnce: the next one with the key and the hash has its memory and its state.
func TestAnOperationIsMadeOnce(t *testing.T) {
	k := mechtest.Secret(pkcs11.CKK_GENERIC_SECRET, []byte("a key of some length"))
	row := rowOf(t, pkcs11.CKM_SHA256_HMAC)
	var made [2]mech.Signer
	for i := range made {
		s, err := row.Sign(k, nil)
		if err != nil {
			t.Fatal(err)
		}
		made[i] = s
		end(s)
	}
	if made[0] != made[1] {
		t.Error("the second operation was made anew")
	}
}
