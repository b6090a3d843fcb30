package embedded_test

import (
	"bytes"
	"crypto"
	"crypto/rand"
	gorsa "crypto/rsa"
	gosha256 "crypto/sha256"
	"fmt"
	"math"
	"math/big"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coffer-hsm/coffer/core/cryptoki"
	"github.com/coffer-hsm/coffer/core/mech/rsa/kernel"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// TestKeysGoWhileTheySignTogether: threads sign with RSA keys of two sizes, so that signatures of several threads and keys are
// computed at once, and all the time keys are destroyed and made anew. Every signature that is made is the key's own, and what
// was begun before the key went is ended; who comes too late is told that the key is gone.
func TestKeysGoWhileTheySignTogether(t *testing.T) {
	kernel.Together(func() time.Duration { runtime.Gosched(); return 0 }, 0)
	defer kernel.Together(func() time.Duration { return 0 }, math.MaxInt32) // more than there ever are: nobody looks
	p := newParty(t)
	type place struct {
		std    *gorsa.PrivateKey
		handle atomic.Uint64
	}
	var places [5]place
	create := func(s cryptoki.SessionHandle, k *gorsa.PrivateKey, token bool) cryptoki.ObjectHandle {
		h, err := p.CreateObject(s, privateRSA(k, token))
		must(t, err)
		return h
	}
	for i := range places {
		k, err := gorsa.GenerateKey(rand.Reader, []int{2048, 3072}[i/4])
		must(t, err)
		places[i].std = k
		places[i].handle.Store(uint64(create(p.session, k, i%2 == 0)))
	}
	var signers, destroyer sync.WaitGroup
	var made, gone atomic.Int64
	done := make(chan struct{})
	for i := range 8 {
		x := p.thread(t, 0, i)
		signers.Go(func() {
			for j := range 40 {
				k := &places[(i+j)%len(places)]
				rv, err := signOnce(x, k.std, cryptoki.ObjectHandle(k.handle.Load()), fmt.Appendf(nil, "message %d of %d", j, i))
				switch {
				case err != nil:
					t.Error(err)
				case rv == pkcs11.CKR_OK:
					made.Add(1)
				default:
					gone.Add(1)
				}
			}
		})
	}
	x := p.thread(t, 0, 8)
	destroyer.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-done:
				return
			default:
			}
			k := &places[i%len(places)]
			if err := x.DestroyObject(x.session, cryptoki.ObjectHandle(k.handle.Load())); err != nil {
				t.Error(err)
			}
			k.handle.Store(uint64(create(x.session, k.std, i%2 == 0)))
		}
	})
	signers.Wait()
	close(done)
	destroyer.Wait()
	t.Logf("%d signatures, %d times the key was gone", made.Load(), gone.Load())
	if made.Load() == 0 {
		t.Error("no signature was made")
	}
}

// signOnce signs and looks at the signature; rv is that of the beginning, which alone may find that the key is gone.
func signOnce(x *thread, k *gorsa.PrivateKey, h cryptoki.ObjectHandle, message []byte) (rv pkcs11.RV, err error) {
	err = x.SignInit(x.session, &pkcs11.Mechanism{Type: pkcs11.CKM_SHA256_RSA_PKCS}, h)
	if rv = pkcs11.RVOf(err); rv == pkcs11.CKR_KEY_HANDLE_INVALID || rv == pkcs11.CKR_OBJECT_HANDLE_INVALID {
		return rv, nil
	}
	if err != nil {
		return rv, err
	}
	runtime.Gosched() // the key may go now
	out := &pkcs11.Out{Capacity: 512}
	if err := x.Sign(x.session, message, out); err != nil {
		return rv, fmt.Errorf("begun, and not ended: %w", err)
	}
	digest := gosha256.Sum256(message)
	want, err := gorsa.SignPKCS1v15(nil, k, crypto.SHA256, digest[:])
	if err == nil && !bytes.Equal(out.Bytes, want) {
		err = fmt.Errorf("a signature of %q is %x", message, out.Bytes)
	}
	return rv, err
}

func privateRSA(k *gorsa.PrivateKey, token bool) pkcs11.Template {
	t := pkcs11.Template{
		pkcs11.AttrUlong(pkcs11.CKA_CLASS, pkcs11.CKO_PRIVATE_KEY), pkcs11.AttrUlong(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_RSA),
		pkcs11.Attr(pkcs11.CKA_SIGN, true), pkcs11.Attr(pkcs11.CKA_TOKEN, token), pkcs11.Attr(pkcs11.CKA_PRIVATE, true),
	}
	for a, v := range map[pkcs11.AttributeType]*big.Int{
		pkcs11.CKA_MODULUS: k.N, pkcs11.CKA_PUBLIC_EXPONENT: big.NewInt(int64(k.E)), pkcs11.CKA_PRIVATE_EXPONENT: k.D,
		pkcs11.CKA_PRIME_1: k.Primes[0], pkcs11.CKA_PRIME_2: k.Primes[1],
	} {
		t = append(t, pkcs11.Attr(a, v.Bytes()))
	}
	return t
}
