package cryptoki

import (
	"fmt"
	"testing"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// TestOvertakenCallLeavesTheNextLoginItsHandles: a search that began under one login comes to its end under the next.
func TestOvertakenCallLeavesTheNextLoginItsHandles(t *testing.T) {
	b := start(t)
	s := b.user()
	b.object(s, true, true, "private")
	slot := b.run.Load().slots[slot1]
	before := slot.login.Load()
	b.ok(b.Logout(s))
	b.ok(b.Login(s, pkcs11.CKU_USER, []byte("1234")))
	found := b.find(s, label("private"))
	o, _ := slot.objects.get(found[0], slot.login.Load())
	late := slot.objects.token(o.far(), before)
	if !b.valid(s, found[0]) {
		t.Error("the next login has lost its handle")
	}
	if late == found[0] || b.valid(s, late) {
		t.Error("the handle of a login that has ended is good")
	}
	if again := b.find(s, label("private")); len(again) != 1 || again[0] != found[0] {
		t.Errorf("%v, want %v", again, found)
	}
}

// TestLogoutLeavesTheNextLoginItsObjects: there is a next login before the first one's handles have all been forgotten.
func TestLogoutLeavesTheNextLoginItsObjects(t *testing.T) {
	b := start(t)
	s, leaving := b.user(), b.rw()
	slot := b.run.Load().slots[slot1]
	private := pkcs11.Template{pkcs11.Attr(pkcs11.CKA_PRIVATE, true)}
	for range 10 {
		for i := range 20_000 {
			slot.objects.token(&fakeObject{fmt.Sprint(i), private}, slot.login.Load())
		}
		done := make(chan error)
		go func() { done <- b.Logout(leaving) }()
		for b.Login(s, pkcs11.CKU_USER, []byte("1234")) != nil {
		}
		var made []ObjectHandle
		for range 20 {
			made = append(made, b.object(s, false, true, "of the next login"))
		}
		b.ok(<-done)
		for _, o := range made {
			if !b.valid(s, o) {
				t.Fatal("an object of the next login has gone with the first")
			}
			b.ok(b.DestroyObject(s, o))
		}
	}
}
