package mechtest

import (
	"reflect"
	"sync"
	"testing"

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// renewed is the case for a row whose operations begin in the memory of those that have ended; ok says whether it has any
// that can. Whatever a row promises it must promise again after Renew, with whichever key and parameter came before.
func (c Case) renewed(t *testing.T) (_ Case, ok bool) {
	row := *c.Row
	for _, kind := range []struct {
		constructor *func(mech.Key, any) (mech.Cipher, error)
		key         mech.Key
	}{
		{&row.Encrypt, c.Public}, {&row.Decrypt, c.Key},
	} {
		ok = renewing(t, kind.constructor, kind.key, c.Params[0]) || ok
	}
	ok = renewing(t, &row.Sign, c.Key, c.Params[0]) || ok
	ok = renewing(t, &row.Verify, c.Public, c.Params[0]) || ok
	c.Row = &row
	return c, ok
}

// holds names the fields of an operation through which it keeps something alive. Functions are its row's.
func holds(v reflect.Value, name string) (kept []string) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			kept = append(kept, holds(v.Field(i), name+"."+v.Type().Field(i).Name)...)
		}
	case reflect.Pointer, reflect.Interface, reflect.Slice, reflect.Map, reflect.Chan:
		if !v.IsNil() {
			kept = append(kept, name)
		}
	}
	return kept
}

// renewing replaces a constructor by one that begins an operation which has ended anew, and that refuses what the constructor
// refuses, with the same answer.
func renewing[T closer](t *testing.T, constructor *func(mech.Key, any) (T, error), k mech.Key, param any) bool {
	create := *constructor
	if create == nil {
		return false
	}
	first, err := create(k, param)
	if err != nil {
		t.Fatal(err)
	}
	first.Close()
	if _, ok := any(first).(mech.Renewer); !ok {
		return false
	}
	if kept := holds(reflect.ValueOf(first).Elem(), ""); len(kept) > 0 {
		t.Errorf("an operation that has ended keeps %v: the key may be gone by now", kept)
	}
	var mu sync.Mutex
	ended := first
	*constructor = func(k mech.Key, param any) (op T, err error) {
		mu.Lock()
		defer mu.Unlock()
		fresh, err := create(k, param)
		op = ended
		if again := any(op).(mech.Renewer).Renew(k, param); pkcs11.RVOf(again) != pkcs11.RVOf(err) {
			t.Errorf("Renew answers %v, the constructor %v", again, err)
		}
		if err != nil {
			var none T
			return none, err
		}
		switch f := any(fresh).(type) { // so that there is something left to show in the next
		case mech.Cipher:
			f.Update(nil, data(21))
		case interface{ Update([]byte) error }:
			f.Update(data(21))
		}
		fresh.Close()
		ended = fresh
		return op, nil
	}
	return true
}
