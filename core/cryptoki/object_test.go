package cryptoki

import (
	"slices"
	"testing"

	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/pkcs11"
)

var (
	onToken   = pkcs11.Template{pkcs11.Attr(pkcs11.CKA_TOKEN, true)}
	inSession = pkcs11.Template{pkcs11.Attr(pkcs11.CKA_TOKEN, false)}
)

func TestReadOnlySessionLeavesTokenObjectsAlone(t *testing.T) {
	b := start(t)
	o := b.object(b.rw(), true, false, "a")
	ro := b.open(0)
	local := b.object(ro, false, false, "local")
	want := pkcs11.CKR_SESSION_READ_ONLY
	fails := func(_ ObjectHandle, err error) { t.Helper(); b.want(want, err) }
	fails(b.CreateObject(ro, onToken))
	fails(b.CopyObject(ro, o, nil))
	fails(b.CopyObject(ro, local, onToken))
	fails(b.GenerateKey(ro, stream, onToken))
	fails(b.UnwrapKey(ro, stream, o, nil, onToken))
	fails(b.DeriveKey(ro, stream, o, onToken))
	_, _, err := b.GenerateKeyPair(ro, stream, onToken, nil)
	fails(0, err)
	_, _, err = b.GenerateKeyPair(ro, stream, nil, onToken)
	fails(0, err)
	fails(0, b.DestroyObject(ro, o))
	fails(0, b.SetAttributeValue(ro, o, label("b")))
	fails(0, b.SetPIN(ro, []byte("1234"), []byte("5678")))

	was := b.hsm.info
	b.hsm.info.Flags |= pkcs11.CKF_WRITE_PROTECTED
	want = pkcs11.CKR_TOKEN_WRITE_PROTECTED // goes before the other
	fails(b.CreateObject(ro, onToken))
	fails(b.GenerateKey(ro, stream, onToken))
	fails(0, b.DestroyObject(ro, o))
	fails(0, b.SetAttributeValue(ro, o, label("b")))
	fails(0, b.SetPIN(ro, []byte("1234"), []byte("5678")))
	b.hsm.info = was

	_, err = b.CopyObject(ro, o, inSession)
	b.ok(err)
	b.ok(b.SetAttributeValue(ro, local, label("b")))
	b.ok(b.DestroyObject(ro, local))
}

func TestReadOnlySessionUnwrapsToSessionObjects(t *testing.T) {
	b := start(t)
	ro := b.open(0)
	o := b.object(ro, false, false, "key")
	template := label("new")
	for _, make := range []func() (ObjectHandle, error){
		func() (ObjectHandle, error) { return b.UnwrapKey(ro, stream, o, nil, template) },
		func() (ObjectHandle, error) { return b.DeriveKey(ro, stream, o, template) },
	} {
		n, err := make()
		b.ok(err)
		v, err := b.GetAttributeValue(ro, n, []pkcs11.AttributeType{pkcs11.CKA_TOKEN})
		b.ok(err)
		if v[0].Value != false {
			t.Error("a key's own template might still make this a token object")
		}
	}
	if len(template) != 1 {
		t.Error("the caller's template was changed")
	}

	// In a read/write session that is for the key's own template to say, and nothing is put in its way.
	b.hsm.session = map[*fakeObject]bool{}
	_, err := b.UnwrapKey(b.rw(), stream, o, nil, template)
	b.ok(err)
	for made := range b.hsm.session {
		if made.template.Has(pkcs11.CKA_TOKEN) {
			t.Error("a key's own template could not make this a token object")
		}
	}
	if len(b.hsm.session) != 1 {
		t.Error(len(b.hsm.session), "keys made")
	}
}

func TestAttributes(t *testing.T) {
	b := start(t)
	s := b.rw()
	o := b.object(s, true, false, "a")
	b.ok(b.SetAttributeValue(s, o, label("b")))
	v, err := b.GetAttributeValue(s, o, []pkcs11.AttributeType{pkcs11.CKA_LABEL, pkcs11.CKA_MODULUS})
	b.ok(err)
	if len(v) != 2 || string(v[0].Value.([]byte)) != "b" || v[1].Err != pkcs11.CKR_ATTRIBUTE_TYPE_INVALID {
		t.Errorf("%v", v)
	}
	size, err := b.GetObjectSize(s, o)
	b.ok(err)
	if size != 4 {
		t.Error(size)
	}
}

func TestHandlesOfNothing(t *testing.T) {
	b := start(t)
	s := b.rw()
	o := b.object(s, true, false, "a")
	for _, h := range []ObjectHandle{0, 4242} {
		_, err := b.GetObjectSize(s, h)
		b.want(pkcs11.CKR_OBJECT_HANDLE_INVALID, err)
		b.want(pkcs11.CKR_OBJECT_HANDLE_INVALID, b.DestroyObject(s, h))
		_, err = b.CopyObject(s, h, nil)
		b.want(pkcs11.CKR_OBJECT_HANDLE_INVALID, err)
		b.want(pkcs11.CKR_KEY_HANDLE_INVALID, b.SignInit(s, mac, h))
		b.want(pkcs11.CKR_KEY_HANDLE_INVALID, b.EncryptInit(s, stream, h))
		b.want(pkcs11.CKR_WRAPPING_KEY_HANDLE_INVALID, b.WrapKey(s, stream, h, o, room(99)))
		b.want(pkcs11.CKR_KEY_HANDLE_INVALID, b.WrapKey(s, stream, o, h, room(99)))
		_, err = b.UnwrapKey(s, stream, h, nil, nil)
		b.want(pkcs11.CKR_UNWRAPPING_KEY_HANDLE_INVALID, err)
		_, err = b.DeriveKey(s, stream, h, nil)
		b.want(pkcs11.CKR_KEY_HANDLE_INVALID, err)
	}
	other, err := b.OpenSession(3, pkcs11.CKF_SERIAL_SESSION)
	b.ok(err)
	_, err = b.GetObjectSize(other, o)
	b.want(pkcs11.CKR_OBJECT_HANDLE_INVALID, err)
}

func TestHandleOfAnObjectThatOthersDestroyed(t *testing.T) {
	b := start(t)
	s := b.rw()
	o, other := b.object(s, true, false, "a"), b.object(s, true, false, "b")
	clear(b.hsm.objects)
	b.want(pkcs11.CKR_KEY_HANDLE_INVALID, b.SignInit(s, mac, o))
	b.want(pkcs11.CKR_OBJECT_HANDLE_INVALID, b.DestroyObject(s, other))
	if _, ok := b.run.Load().slots[slot1].objects.byHandle.load(o); ok {
		t.Error("the handle is still kept")
	}
}

func TestKeys(t *testing.T) {
	b := start(t)
	s := b.user()
	key, err := b.GenerateKey(s, stream, onToken)
	b.ok(err)
	pub, priv, err := b.GenerateKeyPair(s, stream, onToken, pkcs11.Template{pkcs11.Attr(pkcs11.CKA_PRIVATE, true)})
	b.ok(err)
	if pub == priv || !b.valid(s, pub) || !b.valid(s, priv) {
		t.Error(pub, priv)
	}
	out := query()
	b.ok(b.WrapKey(s, stream, key, pub, out))
	if out.Length != len("wrapped id-1") || out.Bytes != nil {
		t.Errorf("%+v", out)
	}
	out = room(out.Length - 1)
	b.want(pkcs11.CKR_BUFFER_TOO_SMALL, b.WrapKey(s, stream, key, pub, out))
	out = room(out.Length)
	b.ok(b.WrapKey(s, stream, key, pub, out))
	if string(out.Bytes) != "wrapped id-3" {
		t.Errorf("%s", out.Bytes)
	}
	_, err = b.UnwrapKey(s, stream, key, out.Bytes, nil)
	b.ok(err)
	_, err = b.GenerateKey(s, nil, nil)
	b.want(pkcs11.CKR_ARGUMENTS_BAD, err)
	b.want(pkcs11.CKR_ARGUMENTS_BAD, b.WrapKey(s, nil, key, pub, out))
	p := make([]byte, 3)
	b.ok(b.GenerateRandom(s, p))
	if p[2] != 0xaa {
		t.Error(p)
	}
	b.want(pkcs11.CKR_RANDOM_SEED_NOT_SUPPORTED, b.SeedRandom(s, p))
}

func TestFind(t *testing.T) {
	b := start(t)
	s := b.user()
	a, c := b.object(s, true, false, "a"), b.object(s, true, true, "c")
	local, secret := b.object(s, false, false, "a"), b.object(s, false, true, "c")
	isPrivate := pkcs11.Template{pkcs11.Attr(pkcs11.CKA_PRIVATE, true)}
	for _, q := range []struct {
		template pkcs11.Template
		want     []ObjectHandle
	}{
		{nil, []ObjectHandle{a, c, local, secret}},
		{label("a"), []ObjectHandle{a, local}},
		{label("none"), nil},
		{onToken, []ObjectHandle{a, c}},
		{inSession, []ObjectHandle{local, secret}},
		{isPrivate, []ObjectHandle{c, secret}},
		// A session key's value is no oracle.
		{pkcs11.Template{inSession[0], pkcs11.Attr(pkcs11.CKA_VALUE, []byte("value of c"))}, nil},
		{pkcs11.Template{pkcs11.Attr(pkcs11.CKA_UNIQUE_ID, []byte("id-3"))}, []ObjectHandle{local}},
	} {
		if got := b.find(s, q.template); !slices.Equal(got, q.want) {
			t.Errorf("%v: %v, want %v", q.template, got, q.want)
		}
	}
	b.ok(b.SetAttributeValue(s, local, label("renamed")))
	if got := b.find(s, label("renamed")); !slices.Equal(got, []ObjectHandle{local}) {
		t.Errorf("%v after a change of the label", got)
	}
	b.ok(b.Logout(s))
	if got := b.find(s, isPrivate); len(got) != 0 {
		t.Errorf("nobody is logged in and finds %v", got)
	}
}

func TestFindIsAnOperation(t *testing.T) {
	b := start(t)
	s := b.rw()
	o := b.object(s, false, false, "a")
	b.object(s, false, false, "b")
	_, err := b.FindObjects(s, 1)
	b.want(pkcs11.CKR_OPERATION_NOT_INITIALIZED, err)
	b.want(pkcs11.CKR_OPERATION_NOT_INITIALIZED, b.FindObjectsFinal(s))
	b.ok(b.FindObjectsInit(s, nil))
	b.want(pkcs11.CKR_OPERATION_ACTIVE, b.FindObjectsInit(s, nil))
	b.ok(b.DigestInit(s, sha)) // Another kind does not mind.
	b.ok(b.DestroyObject(s, o))
	found, err := b.FindObjects(s, 5)
	b.ok(err)
	if len(found) != 1 || found[0] == o {
		t.Errorf("%v", found)
	}
	b.ok(b.SessionCancel(s, pkcs11.CKF_FIND_OBJECTS))
	b.want(pkcs11.CKR_OPERATION_NOT_INITIALIZED, b.FindObjectsFinal(s))
	b.ok(b.Digest(s, nil, room(32)))
}

func TestFoundObjectIsUsedAsFoundLast(t *testing.T) {
	b := start(t)
	s := b.rw()
	o := b.object(s, true, false, "a")
	fresh := &fakeObject{id: "id-1", template: onToken}
	b.hsm.objects["id-1"] = fresh
	if got := b.find(s, nil); len(got) != 1 || got[0] != o {
		t.Fatal(got)
	}
	kept, _ := b.run.Load().slots[slot1].objects.get(o, nil)
	if kept.far() != hsm.Object(fresh) {
		t.Error("the handle stands for what was there before")
	}
}
