package faults

import (
	"maps"
	"os"
	"slices"
	"testing"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// logged returns the prepared token as a killed process leaves it: one more object, which is in the log alone, and all
// side files.
func logged(t testing.TB) *slot {
	t.Helper()
	s := newToken(t)
	a := s.user(t)
	a.want(pkcs11.CKR_OK, "secret logged v")
	a.kill()
	for _, side := range []string{"-wal", "-shm", "-sync"} {
		if info, err := os.Stat(s.path + side); err != nil || info.Size() == 0 {
			t.Fatalf("no %s: %v", side, err)
		}
	}
	return s
}

// wantLogged expects the prepared token and the object that was in the log.
func (s *slot) wantLogged(t testing.TB) {
	t.Helper()
	a := s.user(t)
	if got, want := a.list(), slices.Sorted(slices.Values(append(slices.Clone(contents), "0 logged v"))); !slices.Equal(got, want) {
		t.Fatalf("the token holds %q, expected %q", got, want)
	}
	a.wantKeys()
	a.want(pkcs11.CKR_OK, "destroy logged", "fini")
	a.leave()
	s.wantWhole(t)
	s.wantSound(t)
}

// TestSideFilesMayGo deletes and damages the files beside the token while nobody uses it.
func TestSideFilesMayGo(t *testing.T) {
	t.Parallel()
	r := random(t)
	remove := func(names ...string) func(s *slot) {
		return func(s *slot) {
			for _, name := range names {
				check(t, os.Remove(s.path+name))
			}
		}
	}
	write := func(name string, content []byte) func(s *slot) {
		return func(s *slot) { check(t, os.WriteFile(s.path+name, content, 0o600)) }
	}
	for name, hurt := range map[string]func(s *slot){
		"no index":        remove("-shm"),
		"no sync file":    remove("-sync"),
		"neither":         remove("-shm", "-sync"),
		"noise in index":  write("-shm", noise(r, 32768)),
		"empty index":     write("-shm", nil),
		"noise in sync":   write("-sync", noise(r, 64)),
		"short sync file": write("-sync", []byte("Cofr")),
		"empty sync file": write("-sync", nil),
	} {
		t.Run(name, func(t *testing.T) {
			s := logged(t)
			hurt(s)
			s.wantLogged(t)
		})
	}
	for name, log := range map[string][]byte{"noise as log": noise(r, 20000), "noise short of a header": noise(r, 20), "zeros as log": make([]byte, 9000), "empty log": {}} {
		t.Run(name, func(t *testing.T) { // after a clean end the log holds nothing
			s := newToken(t)
			write("-wal", log)(s)
			s.wantWhole(t)
			s.wantSound(t)
		})
	}
	t.Run("folder as sync file", func(t *testing.T) {
		s := newToken(t)
		check(t, os.Mkdir(s.path+"-sync", 0o700))
		s.wantWhole(t)
	})
}

// TestDamagedLogGivesNoWrongValues: what was in the log alone is lost with it, and only that.
func TestDamagedLogGivesNoWrongValues(t *testing.T) {
	t.Parallel()
	r := random(t)
	s := logged(t)
	whole := s.files(t)
	log := []byte(whole["token.db-wal"])
	hurt := map[string][]byte{
		"gone": nil, "cut in the header": log[:20], "cut in half": log[:len(log)/2], "one byte short": log[:len(log)-1],
		"noise behind": append(slices.Clone(log), noise(r, 5000)...),
		"noise":        noise(r, len(log)),
		"noise within": slices.Concat(log[:len(log)/2], noise(r, 100), log[len(log)/2+100:]),
	}
	for _, name := range slices.Sorted(maps.Keys(hurt)) {
		t.Run(name, func(t *testing.T) {
			s := newSlot(t)
			check(t, os.WriteFile(s.path, []byte(whole["token.db"]), 0o600))
			if hurt[name] != nil {
				check(t, os.WriteFile(s.path+"-wal", hurt[name], 0o600))
			}
			if name == "noise behind" { // nothing that was committed is hurt
				s.wantLogged(t)
				return
			}
			a := s.user(t)
			got := slices.DeleteFunc(a.list(), func(line string) bool { return line == "0 logged v" })
			if !slices.Equal(got, contents) {
				t.Errorf("the token holds %q", got)
			}
			a.wantKeys()
			a.want(pkcs11.CKR_OK, "data more v", "destroy more", "fini")
			a.leave()
			s.wantSound(t)
		})
	}
}
