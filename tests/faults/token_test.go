package faults

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/coffer-hsm/coffer/core/config"
	"github.com/coffer-hsm/coffer/core/embedded"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// prepared is the file of a token with the objects of contents.
var prepared struct {
	sync.Mutex
	file []byte
}

// contents is how an agent lists the prepared token's objects.
var contents = []string{"0 private v2", "0 public v1", "2 pair", "3 pair", "4 aes1"}

// publicContents are those that can be seen without a login.
var publicContents = []string{"0 public v1", "2 pair"}

// blockUnderAES1 is a block of zeros under the prepared token's AES key.
const blockUnderAES1 = "10dfc1b5f66cfd6a1dc46d66907beeb1"

// preparedFile makes the token once and gives a copy of its file.
func preparedFile(t testing.TB) []byte {
	t.Helper()
	prepared.Lock()
	defer prepared.Unlock()
	if prepared.file == nil {
		s := newSlot(t)
		a := s.agent(t)
		a.want(pkcs11.CKR_OK, "init", "setup "+soPIN+" "+userPIN, "open w", "login u "+userPIN,
			"data public v1", "secret private v2", "pair pair", "aes aes1")
		if got := a.list(); !slices.Equal(got, contents) {
			t.Fatalf("the token holds %q", got)
		}
		a.want(pkcs11.CKR_OK, "fini")
		a.leave()
		if _, err := os.Stat(s.path + "-wal"); err == nil {
			t.Fatal("the log is still there after everyone has left")
		}
		b, err := os.ReadFile(s.path)
		check(t, err)
		prepared.file = b
	}
	return slices.Clone(prepared.file)
}

// newToken returns a slot with the prepared token.
func newToken(t testing.TB) *slot {
	t.Helper()
	s := newSlot(t)
	check(t, os.WriteFile(s.path, preparedFile(t), 0o600))
	return s
}

// wantAll expects the prepared token's objects to be there and to work, in a session that is logged in.
func (a *agent) wantAll() {
	a.t.Helper()
	if got := a.list(); !slices.Equal(got, contents) {
		a.t.Fatalf("the token holds %q, expected %q", got, contents)
	}
	a.wantKeys()
}

// wantKeys expects the prepared token's keys to work.
func (a *agent) wantKeys() {
	a.t.Helper()
	a.want(pkcs11.CKR_OK, "sign pair")
	if got := a.want(pkcs11.CKR_OK, "encrypt aes1"); got != blockUnderAES1 {
		a.t.Fatalf("aes1 encrypts to %s", got)
	}
}

// wantWhole expects a fresh process to find the prepared token whole.
func (s *slot) wantWhole(t testing.TB) {
	t.Helper()
	a := s.user(t)
	a.wantAll()
	a.want(pkcs11.CKR_OK, "data more v", "destroy more", "fini")
	a.leave()
}

// files returns the content of all files in the token's folder; links and folders by their kind.
func (s *slot) files(t testing.TB) map[string]string {
	t.Helper()
	dir := filepath.Dir(s.path)
	entries, err := os.ReadDir(dir)
	check(t, err)
	all := map[string]string{}
	for _, e := range entries {
		if !e.Type().IsRegular() {
			all[e.Name()] = e.Type().String()
			continue
		}
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		check(t, err)
		all[e.Name()] = string(b)
	}
	return all
}

// wantSentence opens the slot through the Go API and expects an error of this return value that is one clear sentence.
func (s *slot) wantSentence(t testing.TB, want pkcs11.RV) {
	t.Helper()
	h, err := embedded.Open(config.Slot{Path: s.path})
	if err == nil {
		_, err = h.Info(t.Context())
		_ = h.Close()
	}
	if err == nil {
		t.Fatal("opened through the Go API")
	}
	text := err.Error()
	t.Log(text)
	if pkcs11.RVOf(err) != want {
		t.Errorf("through the Go API %v, expected %v", pkcs11.RVOf(err), want)
	}
	if strings.ContainsAny(text, "\n") || len(text) > 300 || strings.Count(text, filepath.Base(s.path)) > 1 {
		t.Errorf("not one clear sentence: %q", text)
	}
}

// removeAll removes the token and the files beside it.
func removeAll(s *slot) error {
	dir := filepath.Dir(s.path)
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	return os.Mkdir(dir, 0o755)
}

// writeToken puts the prepared token in place.
func writeToken(t testing.TB, s *slot) error { return os.WriteFile(s.path, preparedFile(t), 0o600) }
