package embedded_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/coffer-hsm/coffer/core/cryptoki"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// TestKeysOfManyThreadsAreTheirOwn: whatever threads make, refuse to make, change, find and destroy at once, each key is what
// its own template says, and a key that is gone is found by nobody. Making keys reuses memory: what one template left in it
// must never be a part of another's key.
func TestKeysOfManyThreadsAreTheirOwn(t *testing.T) {
	p := newParty(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	var threads sync.WaitGroup
	var stop atomic.Bool
	watcher := p.thread(t, seed, -1)
	done := make(chan struct{})
	go func() { // searches, so that what the others make gets into the index at any moment
		defer close(done)
		for !stop.Load() {
			_, err := watcher.search(nil)
			watcher.check(err)
		}
	}()
	for i := range 6 {
		x := p.thread(t, seed, i)
		threads.Go(func() {
			for j := range 300 {
				if err := x.life(fmt.Sprintf("key %d of thread %d", j, i)); err != nil {
					t.Error(err)
					return
				}
				if j%50 == 49 { // with what is left in it
					x.leave(fmt.Sprintf("left by thread %d", i))
				}
			}
			x.CloseSession(x.session)
		})
	}
	threads.Wait()
	stop.Store(true)
	<-done
	for i := range 6 {
		watcher.check(watcher.finds(fmt.Sprintf("left by thread %d", i)))
	}
}

// TestALogoutIsTheEndOfWhatIsBeingMade: while threads make private keys for their sessions, somebody logs out. From then on
// nobody finds one, and the next login does not either.
func TestALogoutIsTheEndOfWhatIsBeingMade(t *testing.T) {
	p := newParty(t)
	var threads sync.WaitGroup
	var stop atomic.Bool
	for i := range 4 {
		x := p.thread(t, 0, i)
		threads.Go(func() {
			for !stop.Load() {
				h, err := x.GenerateKey(x.session, aesGenerator, pkcs11.Template{pkcs11.AttrUlong(pkcs11.CKA_VALUE_LEN, 16), pkcs11.Attr(pkcs11.CKA_PRIVATE, true)})
				if err == nil && h%3 == 0 {
					err = x.DestroyObject(x.session, h)
				}
				switch pkcs11.RVOf(err) {
				case pkcs11.CKR_OK, pkcs11.CKR_USER_NOT_LOGGED_IN, pkcs11.CKR_OBJECT_HANDLE_INVALID:
				default:
					t.Error(err)
				}
			}
		})
	}
	x := p.thread(t, 0, 4)
	for range 100 {
		_, err := x.search(nil)
		x.check(errors.Join(err, x.Logout(x.session)))
		found, err := x.search(nil)
		if x.check(errors.Join(err, x.Login(x.session, pkcs11.CKU_USER, []byte("1234")))); len(found) > 0 {
			t.Errorf("%d private keys are found by nobody", len(found))
		}
	}
	stop.Store(true)
	threads.Wait()
	x.check(errors.Join(x.Logout(x.session), x.Login(x.session, pkcs11.CKU_USER, []byte("1234"))))
	if found, err := x.search(nil); err != nil || len(found) > 0 {
		t.Errorf("%d keys of earlier logins are found: %v", len(found), err)
	}
}

// thread is one that has a session of its own.
type thread struct {
	*cryptoki.Library
	t       *testing.T
	draw    *rand.Rand
	session cryptoki.SessionHandle
}

func (p *party) thread(t *testing.T, seed uint64, number int) *thread {
	x := &thread{p.Library, t, rand.New(rand.NewPCG(seed, uint64(number))), 0}
	x.check(x.open())
	return x
}

func (x *thread) open() (err error) {
	x.session, err = x.OpenSession(0, pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION)
	return err
}

func (x *thread) check(err error) {
	if err != nil {
		x.t.Error(err)
	}
}

// leave makes a key and closes the session under it.
func (x *thread) leave(label string) {
	_, err := x.GenerateKey(x.session, aesGenerator, pkcs11.Template{pkcs11.AttrUlong(pkcs11.CKA_VALUE_LEN, 16), pkcs11.AttrString(pkcs11.CKA_LABEL, label)})
	x.check(errors.Join(err, x.CloseSession(x.session), x.open(), x.finds(label)))
}

var aesGenerator = &pkcs11.Mechanism{Type: pkcs11.CKM_AES_KEY_GEN}

// life is that of one key, with a copy of it, from a template of random flags.
func (x *thread) life(label string) error {
	template := pkcs11.Template{pkcs11.AttrString(pkcs11.CKA_LABEL, label)}
	for _, f := range []pkcs11.AttributeType{pkcs11.CKA_TOKEN, pkcs11.CKA_PRIVATE, pkcs11.CKA_SENSITIVE, pkcs11.CKA_EXTRACTABLE, pkcs11.CKA_MODIFIABLE,
		pkcs11.CKA_ENCRYPT, pkcs11.CKA_SIGN, pkcs11.CKA_DERIVE, pkcs11.CKA_WRAP_WITH_TRUSTED} {
		template = append(template, pkcs11.Attr(f, x.draw.IntN(2) == 1 && (f != pkcs11.CKA_TOKEN || x.draw.IntN(8) == 0)))
	}
	if x.draw.IntN(2) == 1 {
		template = append(template, pkcs11.AttrString(pkcs11.CKA_ID, "of "+label), pkcs11.Attr(pkcs11.CKA_ALLOWED_MECHANISMS,
			[]pkcs11.MechanismType{pkcs11.MechanismType(x.draw.IntN(100))}))
	}
	if _, err := x.GenerateKey(x.session, aesGenerator, append(template[:len(template):len(template)],
		pkcs11.AttrUlong(pkcs11.CKA_VALUE_LEN, 16), pkcs11.Attr(pkcs11.CKA_LOCAL, true))); pkcs11.RVOf(err) != pkcs11.CKR_ATTRIBUTE_READ_ONLY {
		return fmt.Errorf("a key with a CKA_LOCAL of the caller's: %w", err)
	}
	h, err := x.born(template)
	if err != nil {
		return err
	}
	if err := x.is(h, template); err != nil {
		return err
	}
	copied := append(template[1:len(template):len(template)], pkcs11.AttrString(pkcs11.CKA_LABEL, "copy of "+label))
	twin, err := x.CopyObject(x.session, h, pkcs11.Template{copied[len(copied)-1]})
	if err != nil {
		return err
	}
	err = errors.Join(x.DestroyObject(x.session, h), x.finds(label), x.is(twin, copied))
	return errors.Join(err, x.DestroyObject(x.session, twin), x.finds("copy of "+label))
}

// born makes a key in one of two ways.
func (x *thread) born(template pkcs11.Template) (cryptoki.ObjectHandle, error) {
	template = template[:len(template):len(template)]
	if x.draw.IntN(2) == 1 {
		return x.GenerateKey(x.session, aesGenerator, append(template, pkcs11.AttrUlong(pkcs11.CKA_VALUE_LEN, 32)))
	}
	return x.CreateObject(x.session, append(template, pkcs11.AttrUlong(pkcs11.CKA_CLASS, pkcs11.CKO_SECRET_KEY),
		pkcs11.AttrUlong(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_AES), pkcs11.Attr(pkcs11.CKA_VALUE, bytes.Repeat([]byte{7}, 32))))
}

// is compares a key with what it was to be, and finds it, alone.
func (x *thread) is(h cryptoki.ObjectHandle, want pkcs11.Template) error {
	types := []pkcs11.AttributeType{pkcs11.CKA_ALLOWED_MECHANISMS}
	for _, a := range want {
		types = append(types, a.Type)
	}
	values, err := x.GetAttributeValue(x.session, h, types)
	if err != nil && pkcs11.RVOf(err) != pkcs11.CKR_ATTRIBUTE_TYPE_INVALID {
		return err
	}
	for i, got := range values {
		if asked, said := want.Get(types[i]); said && !pkcs11.EqualValue(asked, got.Value) || !said && got.Err == nil {
			return fmt.Errorf("%v is %v, %v expected", types[i], got.Value, asked)
		}
	}
	return x.finds(string(want.Bytes(pkcs11.CKA_LABEL)), h)
}

// finds searches for a label.
func (x *thread) finds(label string, want ...cryptoki.ObjectHandle) error {
	found, err := x.search(pkcs11.Template{pkcs11.AttrString(pkcs11.CKA_LABEL, label)})
	if err == nil && !slices.Equal(found, want) {
		err = fmt.Errorf("%s: %v found, %v expected", label, found, want)
	}
	return err
}

func (x *thread) search(template pkcs11.Template) ([]cryptoki.ObjectHandle, error) {
	if err := x.FindObjectsInit(x.session, template); err != nil {
		return nil, err
	}
	found, err := x.FindObjects(x.session, 1000)
	return found, errors.Join(err, x.FindObjectsFinal(x.session))
}
