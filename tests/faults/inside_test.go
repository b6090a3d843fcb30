package faults

import (
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/coffer-hsm/coffer/core/vault"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// database opens the token's file as SQLite sees it.
func (s *slot) database(t testing.TB) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+s.path+"?_pragma=busy_timeout(10000)")
	check(t, err)
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// records returns the values of the records whose key starts so.
func records(t testing.TB, db *sql.DB, prefix string) map[string][]byte {
	t.Helper()
	rows, err := db.Query("SELECT key, value FROM record WHERE substr(key, 1, length(?1)) = ?1 AND deleted = 0", prefix)
	check(t, err)
	defer rows.Close()
	all := map[string][]byte{}
	for rows.Next() {
		var key string
		var value []byte
		check(t, rows.Scan(&key, &value))
		all[key] = value
	}
	check(t, rows.Err())
	return all
}

// put changes a record's value behind everyone's back.
func put(t testing.TB, db *sql.DB, key string, value []byte) {
	t.Helper()
	result, err := db.Exec("UPDATE record SET value = ? WHERE key = ?", value, key)
	check(t, err)
	if n, err := result.RowsAffected(); err != nil || n != 1 {
		t.Fatalf("%d records are called %s, %v", n, key, err)
	}
}

// without returns what of the prepared token an agent lists, and which entries are missing.
func (a *agent) without() (missing []string) {
	a.t.Helper()
	list := a.list()
	for _, entry := range list {
		if !slices.Contains(contents, entry) {
			a.t.Errorf("the token holds %q", entry)
		}
	}
	for _, entry := range contents {
		if !slices.Contains(list, entry) {
			missing = append(missing, entry)
		}
	}
	return missing
}

// TestDamagedRecordIsTheOnlyOneLost flips bits of each object's record, at every region of it. Each time that object is
// not found, or its key answers that it is damaged; all others work, and the record stays where it is.
func TestDamagedRecordIsTheOnlyOneLost(t *testing.T) {
	t.Parallel()
	r := random(t)
	s := newToken(t)
	db := s.database(t)
	objects := records(t, db, "object/")
	if len(objects) != len(contents) {
		t.Fatalf("%d records", len(objects))
	}
	a := s.agent(t)
	gone, useless := 0, 0
	for key, value := range objects {
		for i, at := range []int{0, 1, 1, 1, 2, 5, 6, 9, 10, 11, 20, 25 + r.IntN(len(value)-30), r.IntN(len(value)), len(value) - 20, len(value) - 1} {
			bad := slices.Clone(value)
			bad[at] ^= byte(1 << r.IntN(8))
			if at == 1 { // the flags, of which only the lowest have a meaning
				bad[at] = value[at] ^ byte(i)
			}
			put(t, db, key, bad)
			a.want(pkcs11.CKR_OK, "init", "open w", "login u "+userPIN)
			missing := a.without()
			sign, _ := a.ask("sign pair")
			encrypt, text := a.ask("encrypt aes1")
			switch {
			case len(missing) == 1:
				gone++
			case len(missing) == 0 && (sign == pkcs11.CKR_DEVICE_ERROR) != (encrypt == pkcs11.CKR_DEVICE_ERROR):
				useless++ // the secret part is opened at its first use
			default:
				t.Errorf("byte %d of %d of %s: missing are %q, sign %v, encrypt %v", at, len(value), key, missing, sign, encrypt)
			}
			absent := []pkcs11.RV{pkcs11.CKR_OK, pkcs11.CKR_OBJECT_HANDLE_INVALID, pkcs11.CKR_DEVICE_ERROR}
			if !slices.Contains(absent, sign) || !slices.Contains(absent, encrypt) || sign != pkcs11.CKR_OK && encrypt != pkcs11.CKR_OK ||
				encrypt == pkcs11.CKR_OK && text != blockUnderAES1 {
				t.Errorf("byte %d of %s: sign %v, encrypt %v %s", at, key, sign, encrypt, text)
			}
			a.want(pkcs11.CKR_OK, "data more v", "destroy more", "fini")
			if now := records(t, db, key)[key]; !slices.Equal(now, bad) {
				t.Errorf("the damaged record %s was changed", key)
			}
			put(t, db, key, value)
		}
	}
	t.Logf("%d times the object was gone, %d times its key was of no use", gone, useless)
	a.leave()
	s.wantWhole(t)
}

// TestSwappedRecordsAreRefused puts each object's value under another object's key.
func TestSwappedRecordsAreRefused(t *testing.T) {
	t.Parallel()
	s := newToken(t)
	db := s.database(t)
	objects := records(t, db, "object/")
	keys := make([]string, 0, len(objects))
	for key := range objects {
		keys = append(keys, key)
	}
	a := s.agent(t)
	for i, one := range keys {
		for _, two := range keys[i+1:] {
			put(t, db, one, objects[two])
			put(t, db, two, objects[one])
			a.want(pkcs11.CKR_OK, "init", "open w", "login u "+userPIN)
			if missing := a.without(); len(missing) != 2 {
				t.Errorf("two records are swapped, missing are %q", missing)
			}
			a.want(pkcs11.CKR_OK, "fini")
			put(t, db, one, objects[one])
			put(t, db, two, objects[two])
		}
	}
	a.leave()
	s.wantWhole(t)
}

// TestForeignRecordIsNoObject puts a record of another token into this one.
func TestForeignRecordIsNoObject(t *testing.T) {
	t.Parallel()
	other := newSlot(t)
	a := other.agent(t)
	a.want(pkcs11.CKR_OK, "init", "setup "+soPIN+" "+userPIN, "open w", "login u "+userPIN, "secret foreign v", "data foreign2 v", "fini")
	a.leave()
	s := newToken(t)
	db := s.database(t)
	for key, value := range records(t, other.database(t), "object/") {
		_, err := db.Exec("INSERT INTO record (key, value, created, modified, deleted) SELECT ?, ?, revision, revision, 0 FROM meta", key, value)
		check(t, err)
	}
	s.wantWhole(t)
}

// TestDamagedTokenRecordsAreRefused hurts the records of the token and of its users.
func TestDamagedTokenRecordsAreRefused(t *testing.T) {
	t.Parallel()
	for key, hurt := range map[string][]func(b []byte) []byte{
		"token":   {cut, emptied, noJSON, later, noRoot},
		"user/cu": {cut, emptied, noJSON, later, noRoot},
		"user/so": {cut, emptied, noJSON, later, noRoot},
	} {
		for i, f := range hurt {
			t.Run(fmt.Sprintf("%s %d", strings.ReplaceAll(key, "/", " "), i), func(t *testing.T) {
				s := newToken(t)
				db := s.database(t)
				put(t, db, key, f(records(t, db, key)[key]))
				check(t, db.Close())
				s.wantRefused(t, pkcs11.CKR_TOKEN_NOT_RECOGNIZED)
			})
		}
	}
	t.Run("token record gone", func(t *testing.T) { // what is left must not be taken for an empty store
		s := newToken(t)
		db := s.database(t)
		_, err := db.Exec("DELETE FROM record WHERE key = 'token'")
		check(t, err)
		check(t, db.Close())
		s.wantRefused(t, pkcs11.CKR_TOKEN_NOT_RECOGNIZED)
	})
}

func cut(b []byte) []byte    { return b[:len(b)/2] }
func emptied([]byte) []byte  { return []byte{} }
func noJSON(b []byte) []byte { return append([]byte("~"), b[1:]...) }

// later and noRoot stamp the record anew: it is whole, and says what it must not.
func later(b []byte) []byte {
	return vault.Stamp([]byte(strings.Replace(string(b[vault.StampSize:]), `"format":1`, `"format":2`, 1)))
}
func noRoot(b []byte) []byte {
	text := string(b[vault.StampSize:])
	for _, name := range []string{`"root"`, `"public_root"`} {
		text = strings.Replace(text, name, `"toor"`, 1)
	}
	return vault.Stamp([]byte(text))
}

// TestDamagedWrappedRootOpensNothing: under a stamp that is right, it cannot be told from a wrong PIN.
func TestDamagedWrappedRootOpensNothing(t *testing.T) {
	t.Parallel()
	r := random(t)
	for range 6 {
		s := newToken(t)
		db := s.database(t)
		value := records(t, db, "user/cu")["user/cu"]
		from := strings.Index(string(value), `"root":"`) + len(`"root":"`)
		at := from + r.IntN(110)
		for old := value[at]; value[at] == old; {
			value[at] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[r.IntN(26)]
		}
		put(t, db, "user/cu", vault.Stamp(value[vault.StampSize:]))
		check(t, db.Close())
		a := s.agent(t)
		a.want(pkcs11.CKR_OK, "init", "open w")
		rv, _ := a.ask("login u " + userPIN)
		if !slices.Contains([]pkcs11.RV{pkcs11.CKR_PIN_INCORRECT, pkcs11.CKR_DEVICE_ERROR, pkcs11.CKR_TOKEN_NOT_RECOGNIZED}, rv) {
			t.Errorf("byte %d of the root: %v", at-from, rv)
		}
		if got := a.list(); !slices.Equal(got, publicContents) {
			t.Errorf("without a login the token holds %q", got)
		}
		a.want(pkcs11.CKR_OK, "login s "+soPIN, "initpin "+userPIN, "logout", "login u "+userPIN) // the SO can repair it
		a.wantAll()
	}
}
