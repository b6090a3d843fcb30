package softhsm

import (
	"bytes"
	"crypto/ecdh"
	"encoding/asn1"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/coffer-hsm/coffer/core/secret"
	"github.com/coffer-hsm/coffer/pkcs11"
)

const fixture = "testdata/tokens/fixture"

func pin(text string) *secret.Bytes { return secret.Take([]byte(text)) }

// opened is the fixture after a login.
func opened(t *testing.T) *Token {
	t.Helper()
	tokens, unreadable, err := Tokens("testdata/tokens")
	if err != nil || len(tokens) != 1 || len(unreadable) > 0 {
		t.Fatalf("%d tokens, %v, %v", len(tokens), unreadable, err)
	}
	if err := tokens[0].Login(pin("fixture-pin")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tokens[0].Close)
	return tokens[0]
}

// find returns the object of a class.
func find(t *testing.T, token *Token, class pkcs11.ObjectClass) *Object {
	t.Helper()
	objects, damaged, err := token.Objects()
	if err != nil || len(damaged) > 0 {
		t.Fatalf("%v, damaged: %v", err, damaged)
	}
	for _, o := range objects {
		if v, _ := o.Attribute(pkcs11.CKA_CLASS); v == uint(class) {
			return o
		}
	}
	t.Fatalf("no object of class %v", class)
	return nil
}

func TestReadsWhatSoftHSMHasWritten(t *testing.T) {
	token := opened(t)
	slot, ok := token.Slot()
	if token.Label != "fixture" || token.Serial != "36758d843103ddd6" || !ok || slot != 822336982 {
		t.Errorf("label %q, serial %q, slot %d", token.Label, token.Serial, slot)
	}
	key := make([]byte, 32)
	for i := range key {
		key[i] = byte(i)
	}
	aes := find(t, token, pkcs11.CKO_SECRET_KEY)
	for _, want := range (pkcs11.Template{
		pkcs11.AttrUlong(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_AES),
		pkcs11.AttrString(pkcs11.CKA_LABEL, "aes"),
		pkcs11.Attr(pkcs11.CKA_ID, []byte{10}),
		pkcs11.Attr(pkcs11.CKA_VALUE, key),
		pkcs11.AttrUlong(pkcs11.CKA_VALUE_LEN, 32),
		pkcs11.Attr(pkcs11.CKA_SENSITIVE, true),
		pkcs11.Attr(pkcs11.CKA_EXTRACTABLE, false),
		pkcs11.AttrString(pkcs11.CKA_START_DATE, "20250102"),
		pkcs11.AttrString(pkcs11.CKA_END_DATE, "20260304"),
		pkcs11.Attr(pkcs11.CKA_ALLOWED_MECHANISMS, []pkcs11.MechanismType{pkcs11.CKM_AES_GCM, pkcs11.CKM_AES_KEY_WRAP}),
		pkcs11.Attr(pkcs11.CKA_UNWRAP_TEMPLATE, pkcs11.Template{pkcs11.Attr(pkcs11.CKA_EXTRACTABLE, false),
			pkcs11.AttrUlong(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_AES), pkcs11.AttrString(pkcs11.CKA_LABEL, "inner")}),
	}) {
		if got, err := aes.Attribute(want.Type); err != nil || !pkcs11.EqualValue(got, want.Value) {
			t.Errorf("%v is %v, want %v; error %v", want.Type, got, want.Value, err)
		}
	}
	if v, err := aes.Attribute(pkcs11.CKA_MODULUS); v != nil || err != nil {
		t.Errorf("an AES key has a modulus: %v, %v", v, err)
	}
	note := find(t, token, pkcs11.CKO_DATA)
	if v, err := note.Attribute(pkcs11.CKA_VALUE); err != nil || string(v.([]byte)) != "public text" {
		t.Errorf("the data object holds %q, error %v", v, err)
	}
}

func TestPrivateKeyBelongsToThePublicOne(t *testing.T) {
	token := opened(t)
	value, err := find(t, token, pkcs11.CKO_PRIVATE_KEY).Attribute(pkcs11.CKA_VALUE)
	if err != nil {
		t.Fatal(err)
	}
	point, err := find(t, token, pkcs11.CKO_PUBLIC_KEY).Attribute(pkcs11.CKA_EC_POINT)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ecdh.P256().NewPrivateKey(value.([]byte))
	if err != nil {
		t.Fatal(err)
	}
	var raw []byte
	if _, err := asn1.Unmarshal(point.([]byte), &raw); err != nil || !bytes.Equal(raw, key.PublicKey().Bytes()) {
		t.Errorf("the point is %x, error %v", raw, err)
	}
}

func TestPIN(t *testing.T) {
	tokens, _, err := Tokens(fixture)
	if err != nil {
		t.Fatal(err)
	}
	token := tokens[0]
	key := find(t, token, pkcs11.CKO_SECRET_KEY)
	if _, err := key.Attribute(pkcs11.CKA_VALUE); !errors.Is(err, ErrPIN) {
		t.Errorf("without a login: %v", err)
	}
	for _, wrong := range []string{"", "fixture-pim", "fixture-so-pin"} {
		if err := token.Login(pin(wrong)); !errors.Is(err, ErrPIN) {
			t.Errorf("%q: %v", wrong, err)
		}
	}
	if err := token.Login(pin("fixture-pin")); err != nil {
		t.Error(err)
	}
	token.Close()
	if v, err := key.Attribute(pkcs11.CKA_VALUE); v != nil || err != nil {
		t.Errorf("after Close: %v, %v", v, err)
	}
	token.user = nil
	if err := token.Login(pin("fixture-pin")); !errors.Is(err, ErrNoPIN) {
		t.Errorf("a token without a PIN: %v", err)
	}
	token.user = make([]byte, sealedLen-1)
	if err := token.Login(pin("fixture-pin")); !errors.Is(err, ErrDamaged) {
		t.Errorf("half a key: %v", err)
	}
}

func TestPlacesWithoutATokenAreToldApart(t *testing.T) {
	if _, _, err := Tokens(t.TempDir()); !errors.Is(err, ErrNoToken) {
		t.Errorf("an empty directory: %v", err)
	}
	if _, _, err := Tokens(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no directory: %v", err)
	}
}

// TestTokensThatCannotBeReadDoNotHideTheOthers: a database, and a damaged one, beside a good one.
func TestTokensThatCannotBeReadDoNotHideTheOthers(t *testing.T) {
	dir := t.TempDir()
	for name, file := range map[string]string{"a": databaseFile, "b": tokenFile} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name, file), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.CopyFS(filepath.Join(dir, "c"), os.DirFS(fixture)); err != nil {
		t.Fatal(err)
	}
	tokens, unreadable, err := Tokens(dir)
	if err != nil || len(tokens) != 1 || tokens[0].Label != "fixture" || len(unreadable) != 2 {
		t.Fatalf("%v, %v, %v", tokens, unreadable, err)
	}
	if !errors.Is(unreadable[0].Err, ErrDatabase) || !errors.Is(unreadable[1].Err, ErrDamaged) {
		t.Errorf("%v", unreadable)
	}
}

// copied is a copy of the fixture to damage.
func copied(t *testing.T) (dir string, files []string) {
	t.Helper()
	dir = t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(fixture)); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() != tokenFile {
			files = append(files, filepath.Join(dir, e.Name()))
		}
	}
	return dir, files
}

// TestDamagedObjectsDoNotHideTheOthers cuts each file at each of its bytes.
func TestDamagedObjectsDoNotHideTheOthers(t *testing.T) {
	dir, files := copied(t)
	whole, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	refused := 0
	for n := range whole {
		if err := os.WriteFile(files[0], whole[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		tokens, _, err := Tokens(dir)
		if err != nil {
			t.Fatal(err)
		}
		objects, damaged, err := tokens[0].Objects()
		if err != nil || len(objects) < len(files)-1 {
			t.Fatalf("cut at %d: %d objects, %v", n, len(objects), err)
		}
		for _, d := range damaged {
			refused++
			if !errors.Is(d.Err, ErrDamaged) || d.File != filepath.Base(files[0]) {
				t.Errorf("cut at %d: %s: %v", n, d.File, d.Err)
			}
		}
	}
	// Where a whole attribute ends, the file may end too: what lacks is seen when it is read.
	if refused < len(whole)*9/10 {
		t.Errorf("%d of %d cut files were refused", refused, len(whole))
	}
}

func TestDamagedToken(t *testing.T) {
	dir, _ := copied(t)
	for name, content := range map[string][]byte{"empty": {}, "short": {1, 2, 3}, "no label": make([]byte, 8)} {
		if err := os.WriteFile(filepath.Join(dir, tokenFile), content, 0o600); err != nil {
			t.Fatal(err)
		}
		if tokens, unreadable, err := Tokens(dir); err != nil || len(tokens) > 0 || !errors.Is(unreadable[0].Err, ErrDamaged) {
			t.Errorf("%s: %v, %v", name, unreadable, err)
		}
	}
}

func TestChangedValueIsRefused(t *testing.T) {
	key := secret.New(32)
	for name, sealed := range map[string][]byte{"short": make([]byte, 16), "no blocks": make([]byte, 33)} {
		if _, err := decrypt(key, sealed); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
	token := opened(t)
	o := find(t, token, pkcs11.CKO_SECRET_KEY)
	v, _ := o.values.Get(pkcs11.CKA_VALUE)
	sealed := v.([]byte)
	sealed[len(sealed)-17] ^= 1 // of the last block's padding
	if _, err := o.Attribute(pkcs11.CKA_VALUE); !errors.Is(err, ErrDamaged) {
		t.Errorf("a changed padding: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	entries, err := os.ReadDir(fixture)
	if err != nil {
		f.Fatal(err)
	}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(fixture, e.Name()))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		values, err := parse(b)
		if (err == nil) != (values != nil) {
			t.Fatalf("%d values and the error %v", len(values), err)
		}
		o := &Object{token: &Token{key: secret.New(32)}, file: file{values: values}}
		for _, a := range o.Types() {
			o.Attribute(a)
		}
	})
}
