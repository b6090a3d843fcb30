package cryptoki

import (
	"bufio"
	"errors"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// functions reads the table of the standard's functions.
func functions(t *testing.T) []string {
	file, err := os.Open("../../pkcs11/spec/functions.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var names []string
	for s := bufio.NewScanner(file); s.Scan(); {
		if rest, ok := strings.CutPrefix(s.Text(), "C_"); ok {
			names = append(names, strings.Fields(rest)[0])
		}
	}
	if len(names) != 104 {
		t.Fatalf("%d functions, want 104", len(names))
	}
	return names
}

// call calls a function with zero arguments but the session, and returns its error.
func call(l *Library, name string, h SessionHandle) error {
	m := reflect.ValueOf(l).MethodByName(name)
	args := make([]reflect.Value, m.Type().NumIn())
	for i := range args {
		args[i] = reflect.Zero(m.Type().In(i))
	}
	if !sessionless[name] && name != "Initialize" {
		args[0] = reflect.ValueOf(h)
	}
	out := m.Call(args)
	err, _ := out[len(out)-1].Interface().(error)
	return err
}

// elsewhere is answered by the C boundary alone.
var elsewhere = []string{"GetFunctionList", "GetInterfaceList", "GetInterface"}

func TestEveryFunctionHasAMethodThatChecksStateFirst(t *testing.T) {
	b := start(t)
	down := New(Options{})
	for _, name := range functions(t) {
		if slices.Contains(elsewhere, name) || name == "Initialize" {
			continue
		}
		if !reflect.ValueOf(down).MethodByName(name).IsValid() {
			t.Errorf("%s has no method", name)
			continue
		}
		if err := call(down, name, 1); err != pkcs11.CKR_CRYPTOKI_NOT_INITIALIZED {
			t.Errorf("%s before C_Initialize: %v", name, err)
		}
		if err := down.Reject(name, 1, pkcs11.CKR_ARGUMENTS_BAD); err != pkcs11.CKR_CRYPTOKI_NOT_INITIALIZED {
			t.Errorf("Reject of %s before C_Initialize: %v", name, err)
		}
		if sessionless[name] {
			continue
		}
		if err := call(b.Library, name, 12345); err != pkcs11.CKR_SESSION_HANDLE_INVALID {
			t.Errorf("%s without a session: %v", name, err)
		}
		if err := b.Reject(name, 12345, pkcs11.CKR_ARGUMENTS_BAD); err != pkcs11.CKR_SESSION_HANDLE_INVALID {
			t.Errorf("Reject of %s without a session: %v", name, err)
		}
	}
}

func TestTablesNameRealFunctions(t *testing.T) {
	names := functions(t)
	for _, table := range []map[string]bool{sessionless, early} {
		for name := range table {
			if !slices.Contains(names, name) {
				t.Errorf("%s is no function", name)
			}
		}
	}
	for name := range ends {
		if !slices.Contains(names, name) {
			t.Errorf("%s is no function", name)
		}
	}
}

// TestEveryFunctionIsThere: none answers that it is not supported, whatever its arguments.
func TestEveryFunctionIsThere(t *testing.T) {
	for _, name := range functions(t) {
		if slices.Contains(elsewhere, name) || name == "Initialize" || name == "WaitForSlotEvent" { // the last one waits
			continue
		}
		b := start(t)
		if err := call(b.Library, name, b.rw()); pkcs11.RVOf(err) == pkcs11.CKR_FUNCTION_NOT_SUPPORTED {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestParallelFunctionsAreALegacy(t *testing.T) {
	b := start(t)
	s := b.rw()
	b.want(pkcs11.CKR_FUNCTION_NOT_PARALLEL, b.GetFunctionStatus(s))
	b.want(pkcs11.CKR_FUNCTION_NOT_PARALLEL, b.CancelFunction(s))
}

func TestInitializeArguments(t *testing.T) {
	locking, noThreads := pkcs11.CKF_OS_LOCKING_OK, pkcs11.CKF_LIBRARY_CANT_CREATE_OS_THREADS
	for _, c := range []struct {
		args *InitArgs
		want pkcs11.RV
	}{
		{nil, pkcs11.CKR_OK},
		{&InitArgs{}, pkcs11.CKR_OK},
		{&InitArgs{Flags: locking}, pkcs11.CKR_OK},
		{&InitArgs{Callbacks: 4, Flags: locking}, pkcs11.CKR_OK},
		{&InitArgs{Callbacks: 4}, pkcs11.CKR_CANT_LOCK},
		{&InitArgs{Callbacks: 3, Flags: locking}, pkcs11.CKR_ARGUMENTS_BAD},
		{&InitArgs{Reserved: true}, pkcs11.CKR_ARGUMENTS_BAD},
		{&InitArgs{Flags: noThreads}, pkcs11.CKR_OK},
		{&InitArgs{Flags: noThreads | locking}, pkcs11.CKR_OK},
	} {
		l := New(Options{Slots: func() ([]Slot, error) { return nil, nil }})
		if got := pkcs11.RVOf(l.Initialize(c.args)); got != c.want {
			t.Errorf("%+v: %v, want %v", c.args, got, c.want)
		}
	}
}

func TestInitializeAndFinalize(t *testing.T) {
	b := start(t)
	b.want(pkcs11.CKR_CRYPTOKI_ALREADY_INITIALIZED, b.Initialize(nil))
	s := b.user()
	o := b.object(s, true, true, "a")
	b.want(pkcs11.CKR_ARGUMENTS_BAD, b.Finalize(true))
	b.ok(b.Finalize(false))
	if !b.hsm.closed {
		t.Error("the token is still open")
	}
	b.want(pkcs11.CKR_CRYPTOKI_NOT_INITIALIZED, b.Finalize(false))
	b.want(pkcs11.CKR_CRYPTOKI_NOT_INITIALIZED, b.CloseSession(s))
	b.ok(b.Initialize(nil))
	b.want(pkcs11.CKR_SESSION_HANDLE_INVALID, b.CloseSession(s))
	s2 := b.user()
	if found := b.find(s2, nil); s2 <= s || len(found) != 1 || found[0] <= o {
		t.Errorf("session %d after %d, object %v after %d: handles came again", s2, s, found, o)
	}
}

func TestInitializeNeedsGoodSlots(t *testing.T) {
	l := New(Options{Slots: func() ([]Slot, error) { return nil, errors.New("no such file") }})
	if err := l.Initialize(nil); pkcs11.RVOf(err) != pkcs11.CKR_FUNCTION_FAILED {
		t.Error(err)
	}
	l = New(Options{Slots: func() ([]Slot, error) { return []Slot{{ID: 1}, {ID: 1}}, nil }})
	if err := l.Initialize(nil); pkcs11.RVOf(err) != pkcs11.CKR_FUNCTION_FAILED {
		t.Error(err)
	}
}

func TestFinalizeCutsCallsShort(t *testing.T) {
	b := start(t)
	s := b.rw()
	inside, done := make(chan bool), make(chan error)
	r := b.run.Load()
	b.hsm.beforeReply = func() {
		close(inside)
		<-r.ctx.Done()
	}
	go func() { done <- b.GenerateRandom(s, make([]byte, 4)) }()
	<-inside
	b.ok(b.Finalize(false))
	b.want(pkcs11.CKR_CRYPTOKI_NOT_INITIALIZED, <-done)
}

func TestSlotsKeepTheirOrderAndOpenLate(t *testing.T) {
	opened := 0
	var fail error
	l := New(Options{Slots: func() ([]Slot, error) {
		return []Slot{{ID: 9, Description: "nine", Open: func() (hsm.HSM, error) {
			opened++
			if fail != nil {
				return nil, fail
			}
			return newFake(), nil
		}}, {ID: 2}}, nil
	}})
	b := &bench{Library: l, t: t}
	b.ok(b.Initialize(nil))
	defer b.Finalize(false)
	ids, err := b.GetSlotList(true)
	b.ok(err)
	if !slices.Equal(ids, []SlotID{9, 2}) {
		t.Error(ids)
	}
	info, err := b.GetSlotInfo(9)
	b.ok(err)
	if info.Description != "nine" || info.Flags&pkcs11.CKF_TOKEN_PRESENT == 0 || opened != 0 {
		t.Errorf("%+v, opened %d times", info, opened)
	}
	info, err = b.GetSlotInfo(2)
	b.ok(err)
	if info.Description != "Coffer slot 2" {
		t.Error(info.Description)
	}
	fail = errors.New("cable cut")
	_, err = b.GetTokenInfo(9)
	b.want(pkcs11.CKR_DEVICE_ERROR, err)
	fail = pkcs11.CKR_TOKEN_NOT_RECOGNIZED
	_, err = b.OpenSession(9, pkcs11.CKF_SERIAL_SESSION)
	b.want(pkcs11.CKR_TOKEN_NOT_RECOGNIZED, err)
	fail = nil
	_, err = b.GetTokenInfo(9)
	b.ok(err)
	_, err = b.GetMechanismList(9)
	b.ok(err)
	if opened != 3 {
		t.Errorf("opened %d times, want 3", opened)
	}
	_, err = b.GetSlotInfo(1)
	b.want(pkcs11.CKR_SLOT_ID_INVALID, err)
}

func TestMechanismsAndInfo(t *testing.T) {
	b := start(t)
	list, err := b.GetMechanismList(slot1)
	b.ok(err)
	for _, m := range list {
		_, err := b.GetMechanismInfo(slot1, m)
		b.ok(err)
	}
	_, err = b.GetMechanismInfo(slot1, pkcs11.CKM_RSA_PKCS)
	b.want(pkcs11.CKR_MECHANISM_INVALID, err)
	info, err := b.GetInfo()
	b.ok(err)
	if info.CryptokiVersion != (pkcs11.Version{Major: 3, Minor: 2}) {
		t.Error(info)
	}
	_, err = b.WaitForSlotEvent(pkcs11.CKF_DONT_BLOCK, false)
	b.want(pkcs11.CKR_NO_EVENT, err)
	_, err = b.WaitForSlotEvent(pkcs11.CKF_DONT_BLOCK, true)
	b.want(pkcs11.CKR_ARGUMENTS_BAD, err)
}

// TestWaitingForASlotEventEndsWithFinalize, for all who wait, and the next run is none of theirs.
func TestWaitingForASlotEventEndsWithFinalize(t *testing.T) {
	b := start(t)
	answers := make(chan error, 3)
	for range cap(answers) {
		go func() {
			_, err := b.WaitForSlotEvent(0, false)
			answers <- err
		}()
	}
	s := b.rw()
	b.ok(b.GenerateRandom(s, make([]byte, 4))) // others go on
	select {
	case err := <-answers:
		t.Fatalf("an event: %v", err)
	default:
	}
	b.ok(b.Finalize(false))
	b.ok(b.Initialize(nil))
	for range cap(answers) {
		// One that had not begun to wait before C_Finalize waits for the next.
		for err := error(nil); err == nil; {
			select {
			case err = <-answers:
				b.want(pkcs11.CKR_CRYPTOKI_NOT_INITIALIZED, err)
			case <-time.After(100 * time.Millisecond):
				b.ok(b.Finalize(false))
				b.ok(b.Initialize(nil))
			}
		}
	}
}

func TestNothingIsValidated(t *testing.T) {
	b := start(t)
	s := b.rw()
	flags, err := b.GetSessionValidationFlags(s, pkcs11.CKS_LAST_VALIDATION_OK)
	b.ok(err)
	if flags != 0 {
		t.Errorf("flags %#x", uint(flags))
	}
	_, err = b.GetSessionValidationFlags(s, 2)
	b.want(pkcs11.CKR_ARGUMENTS_BAD, err)
}

func TestLogHearsWhatHasText(t *testing.T) {
	b := start(t)
	s := b.rw()
	before := b.logs.Load()
	b.want(pkcs11.CKR_OPERATION_NOT_INITIALIZED, b.DigestUpdate(s, nil))
	if b.logs.Load() != before {
		t.Error("a bare return value was logged")
	}
	b.want(pkcs11.CKR_OBJECT_HANDLE_INVALID, b.DestroyObject(s, 99))
	if b.logs.Load() != before+1 {
		t.Error("an error with text was not logged")
	}
}
