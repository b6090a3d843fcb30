package faults

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"github.com/coffer-hsm/coffer/pkcs11"
)

func noise(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// wantRefused expects that the library says what is wrong with the token, at every call that touches it, that
// C_InitToken does not put a new token in its place, and that nothing in the token's folder changes.
func (s *slot) wantRefused(t *testing.T, want pkcs11.RV) {
	t.Helper()
	before := s.files(t)
	a := s.agent(t)
	a.want(pkcs11.CKR_OK, "init")
	if n := a.want(pkcs11.CKR_OK, "slots"); n != "1" {
		t.Errorf("%s slots with a token", n)
	}
	for range 2 { // the second time is as the first
		a.want(want, "flags", "open r", "open w", "setup "+soPIN+" "+userPIN, "setup other-pin "+userPIN)
	}
	a.want(pkcs11.CKR_SESSION_HANDLE_INVALID, "login u "+userPIN, "list")
	a.want(pkcs11.CKR_OK, "fini", "init")
	a.want(want, "flags")
	a.want(pkcs11.CKR_OK, "fini")
	a.leave()
	after := s.files(t)
	delete(before, "token.db-sync") // which comes with a file that is ours, whatever its records are like
	delete(after, "token.db-sync")
	if !maps.Equal(before, after) {
		t.Errorf("the files changed: %q, now %q", slices.Sorted(maps.Keys(before)), slices.Sorted(maps.Keys(after)))
	}
	s.wantSentence(t, want)
}

// TestUnusableFileIsRefusedAndKept takes what stands at the token's path and is no token.
func TestUnusableFileIsRefusedAndKept(t *testing.T) {
	t.Parallel()
	r := random(t)
	whole := preparedFile(t)
	cases := map[string][]byte{
		"text":         []byte("# not a token\n"),
		"noise":        noise(r, len(whole)),
		"much noise":   noise(r, 1<<20),
		"zeros":        make([]byte, len(whole)),
		"first page":   append(noise(r, 4096), whole[4096:]...),
		"first bytes":  append(noise(r, 16), whole[16:]...),
		"zeroed head":  append(make([]byte, 100), whole[100:]...),
		"one byte":     whole[:1],
		"one short":    whole[:len(whole)-1],
		"half":         whole[:len(whole)/2],
		"head only":    whole[:100],
		"smallest":     whole[:512],
		"first alone":  whole[:4096],
		"cut anywhere": whole[:1+r.IntN(len(whole)-1)],
		"later format": withFormat(whole, 2),
		"much later":   withFormat(whole, 1<<30),
		"negative":     withFormat(whole, -1),
		"other owner":  append(append(slices.Clone(whole[:68]), "GPKG"...), whole[72:]...),
	}
	for _, name := range slices.Sorted(maps.Keys(cases)) {
		t.Run(name, func(t *testing.T) {
			s := newSlot(t)
			check(t, os.WriteFile(s.path, cases[name], 0o600))
			s.wantRefused(t, pkcs11.CKR_TOKEN_NOT_RECOGNIZED)
		})
	}
	t.Run("a folder", func(t *testing.T) {
		s := newSlot(t)
		check(t, os.Mkdir(s.path, 0o700))
		s.wantRefused(t, pkcs11.CKR_TOKEN_NOT_RECOGNIZED)
	})
	t.Run("links in a circle", func(t *testing.T) {
		s := newSlot(t)
		check(t, os.Symlink(s.path+"2", s.path))
		check(t, os.Symlink(s.path, s.path+"2"))
		s.wantRefused(t, pkcs11.CKR_DEVICE_ERROR)
	})
	t.Run("a link to nowhere", func(t *testing.T) {
		s := newSlot(t)
		check(t, os.Symlink(s.path+"2", s.path))
		a := s.agent(t)
		a.want(pkcs11.CKR_OK, "init")
		flags, _ := a.flags()
		if flags&pkcs11.CKF_TOKEN_INITIALIZED != 0 {
			t.Errorf("flags %#x", uint(flags))
		}
		a.want(pkcs11.CKR_DEVICE_ERROR, "setup "+soPIN)
		a.leave()
		if got := s.files(t); len(got) != 1 {
			t.Errorf("beside the link: %q", slices.Sorted(maps.Keys(got)))
		}
	})
	t.Run("the file is gone and its log is not", func(t *testing.T) {
		s := newSlot(t)
		check(t, os.WriteFile(s.path+"-wal", noise(r, 5000), 0o600))
		s.wantRefused(t, pkcs11.CKR_TOKEN_NOT_RECOGNIZED)
	})
}

// withFormat sets SQLite's user_version, big-endian at 60.
func withFormat(file []byte, v int32) []byte {
	out := slices.Clone(file)
	for i := range 4 {
		out[60+i] = byte(uint32(v) >> (24 - 8*i))
	}
	return out
}

// TestEmptyFileIsAnUninitialisedToken: what a killed C_InitToken may leave.
func TestEmptyFileIsAnUninitialisedToken(t *testing.T) {
	t.Parallel()
	s := newSlot(t)
	check(t, os.WriteFile(s.path, nil, 0o600))
	a := s.agent(t)
	a.want(pkcs11.CKR_OK, "init")
	if flags, _ := a.flags(); flags&pkcs11.CKF_TOKEN_INITIALIZED != 0 {
		t.Errorf("flags %#x", uint(flags))
	}
	a.want(pkcs11.CKR_OK, "open w")
	a.want(pkcs11.CKR_USER_PIN_NOT_INITIALIZED, "login u "+userPIN, "login s "+soPIN)
	a.want(pkcs11.CKR_OK, "list", "close", "setup "+soPIN+" "+userPIN, "open w", "login u "+userPIN, "pair p", "sign p", "fini")
	a.leave()
}

// TestNoisyPagesNeverGiveWrongValues overwrites pages behind the first. Whatever can still be read is right.
func TestNoisyPagesNeverGiveWrongValues(t *testing.T) {
	t.Parallel()
	r := random(t)
	whole := preparedFile(t)
	pages := len(whole) / 4096
	for n := range 12 {
		page := 1 + n%(pages-1)
		t.Run(fmt.Sprintf("%d of page %d", n, page), func(t *testing.T) {
			bad := slices.Clone(whole)
			from, size := page*4096, 4096
			if n >= pages-1 { // and some smaller wounds
				size = 1 + r.IntN(200)
				from += r.IntN(4096 - size)
			}
			copy(bad[from:], noise(r, size))
			s := newSlot(t)
			check(t, os.WriteFile(s.path, bad, 0o600))
			before := s.files(t)["token.db"]
			s.wantNothingWrong(t)
			if s.files(t)["token.db"] != before {
				t.Error("the file changed")
			}
		})
	}
}

// wantNothingWrong reads a damaged token: each call gives what was stored, nothing, or the standard's word for damage.
func (s *slot) wantNothingWrong(t *testing.T) {
	t.Helper()
	damaged := []pkcs11.RV{pkcs11.CKR_TOKEN_NOT_RECOGNIZED, pkcs11.CKR_DEVICE_ERROR}
	a := s.agent(t)
	a.want(pkcs11.CKR_OK, "init")
	defer func() {
		a.want(pkcs11.CKR_OK, "fini")
		a.leave()
	}()
	rv, _ := a.ask("open w")
	if slices.Contains(damaged, rv) {
		t.Log("refused")
		a.want(rv, "flags", "setup "+soPIN+" "+userPIN)
		return
	}
	if rv != pkcs11.CKR_OK {
		t.Fatalf("open: %v", rv)
	}
	if rv, _ = a.ask("login u " + userPIN); rv != pkcs11.CKR_OK {
		if !slices.Contains(append(damaged, pkcs11.CKR_PIN_INCORRECT, pkcs11.CKR_USER_PIN_NOT_INITIALIZED), rv) {
			t.Fatalf("login: %v", rv)
		}
		t.Log(rv)
	}
	a.send("list")
	rv, _, list := a.receive("list")
	if rv != pkcs11.CKR_OK && !slices.Contains(damaged, rv) {
		t.Fatalf("list: %v", rv)
	}
	for _, entry := range list {
		if !slices.Contains(contents, entry) {
			t.Errorf("the token holds %q", entry)
		}
	}
	t.Logf("%v, %d of %d objects", rv, len(list), len(contents))
	absent := append(damaged, pkcs11.CKR_OK, pkcs11.CKR_OBJECT_HANDLE_INVALID)
	for _, c := range []string{"sign pair", "encrypt aes1"} {
		if rv, text := a.ask(c); !slices.Contains(absent, rv) || rv == pkcs11.CKR_OK && text != "" && text != blockUnderAES1 {
			t.Errorf("%s: %v %s", c, rv, text)
		}
	}
}
