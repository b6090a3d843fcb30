package hmac

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
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
				given.Close()
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
				s.Close()
				if err := v.Verify(message[:i*4], want); err != nil {
					t.Errorf("%v: %v", h, err)
				}
				v.Close()
			}
		})
	}
	wg.Wait()
}

// TestAnOperationBeginsAnew: in the memory of one that was closed, with another key, and after a parameter that it refused.
func TestAnOperationBeginsAnew(t *testing.T) {
	row := rowOf(t, pkcs11.CKM_SHA256_HMAC_GENERAL)
	message := []byte("a message")
	for _, used := range []func(mech.Signer){
		func(mech.Signer) {},
		func(s mech.Signer) { s.Update([]byte("something else")) },
		func(s mech.Signer) { s.Finish(nil, []byte("something else")) },
	} {
		s, err := row.Sign(mechtest.Secret(pkcs11.CKK_GENERIC_SECRET, []byte("one key")), pkcs11.MACGeneralParams(9))
		if err != nil {
			t.Fatal(err)
		}
		again := s.(mech.Renewer)
		used(s)
		s.Close()
		for _, value := range []string{"another key", "one key"} {
			k := mechtest.Secret(pkcs11.CKK_GENERIC_SECRET, []byte(value))
			if err := again.Renew(k, pkcs11.MACGeneralParams(33)); pkcs11.RVOf(err) != pkcs11.CKR_MECHANISM_PARAM_INVALID {
				t.Fatal(err)
			}
			if _, err := s.(mech.Resumable).State(); pkcs11.RVOf(err) != pkcs11.CKR_OPERATION_NOT_INITIALIZED {
				t.Fatalf("after a refused parameter: %v", err)
			}
			if err := again.Renew(k, pkcs11.MACGeneralParams(32)); err != nil {
				t.Fatal(err)
			}
			h := hmac.New(sha256.New, []byte(value))
			h.Write(message)
			if tag, err := s.Finish(nil, message); err != nil || !bytes.Equal(tag, h.Sum(nil)) {
				t.Errorf("%s: tag %x, %v", value, tag, err)
			}
			s.Close()
		}
	}
}
