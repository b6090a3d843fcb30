// Package softhsm reads the tokens of SoftHSM 2 from their files, with the user's PIN and without its library. It reads what
// release 2.6.1 writes: a directory for each token, with token.object for the token itself and a file NAME.object for each
// object (objectstore.backend = file).
//
// The PIN opens the token's key, and that key everything in it: what CKA_SENSITIVE and CKA_EXTRACTABLE promise is kept by
// the library, not by the files. Nothing is written, and no try of a PIN is counted.
//
// A Token is used by one goroutine. What it holds is wiped by Close; what Attribute returns is the caller's to wipe.
package softhsm

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/coffer-hsm/coffer/core/secret"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// Sentinels; errors that are returned wrap them with the file that they are about.
var (
	ErrDamaged  = errors.New("the file is damaged")
	ErrDatabase = errors.New("the token is in an SQLite database")
	ErrLocked   = errors.New("another program holds the file locked")
	ErrPIN      = errors.New("the PIN does not open the token")
	ErrNoPIN    = errors.New("the token has no user PIN")
	ErrNoToken  = errors.New("there is no SoftHSM2 token")
	ErrTooMuch  = errors.New("the token's objects are too large together")
)

// Attributes that SoftHSM has made for the token's own file.
const (
	tokenLabel  pkcs11.AttributeType = 0x80005349
	tokenSerial pkcs11.AttributeType = 0x8000534a
	tokenUser   pkcs11.AttributeType = 0x8000534d
)

const (
	tokenFile    = "token.object"
	databaseFile = "sqlite3.db"
	objectEnding = ".object"
)

// Token is one token, in one directory.
type Token struct {
	Dir    string
	Label  string
	Serial string

	user []byte        // the token's key under the user's PIN
	key  *secret.Bytes // nil before Login
	read []*Object
	kept int64 // bytes of them
}

// Tokens returns the tokens of a directory: the one that it is, or those in the directories below, as in SoftHSM's
// directories.tokendir. Those that cannot be read are returned apart (ErrDamaged, ErrDatabase, ErrLocked). ErrNoToken where
// there is neither.
func Tokens(dir string) (tokens []*Token, unreadable []Unreadable, err error) {
	at := []string{dir}
	if !isToken(dir) {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return nil, nil, err
		}
		at = nil
		for _, e := range entries {
			if below := filepath.Join(dir, e.Name()); isToken(below) {
				at = append(at, below)
			}
		}
	}
	locked := time.Now().Add(lockWait)
	for _, d := range at {
		t, err := open(d, locked)
		if err != nil {
			unreadable = append(unreadable, Unreadable{filepath.Base(d), err})
			continue
		}
		tokens = append(tokens, t)
	}
	if len(at) == 0 {
		return nil, nil, fmt.Errorf("%w in %s", ErrNoToken, dir)
	}
	return tokens, unreadable, nil
}

// isToken reports whether a directory is a token's. One that may not be looked into could be.
func isToken(dir string) bool {
	for _, name := range []string{tokenFile, databaseFile} {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil || errors.Is(err, fs.ErrPermission) {
			return true
		}
	}
	return false
}

func open(dir string, locked time.Time) (*Token, error) {
	path := filepath.Join(dir, tokenFile)
	f, err := readFile(path, maxFile, locked)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, databaseFile), ErrDatabase)
	}
	if err != nil {
		return nil, err
	}
	values := f.values
	t := &Token{Dir: dir, Label: strings.TrimRight(string(values.Bytes(tokenLabel)), " "),
		Serial: strings.TrimRight(string(values.Bytes(tokenSerial)), " "), user: bytes.Clone(values.Bytes(tokenUser))}
	if !values.Has(tokenLabel) || !values.Has(tokenSerial) {
		return nil, fmt.Errorf("%s: %w: a label or a serial number is missing", path, ErrDamaged)
	}
	return t, nil
}

// Slot is the number of the slot that SoftHSM shows the token in: 31 bits of the serial number's last eight digits.
func (t *Token) Slot() (id uint, ok bool) {
	n, err := strconv.ParseUint(t.Serial[max(0, len(t.Serial)-8):], 16, 32)
	return uint(n) & (1<<31 - 1), err == nil
}

// Close wipes the token's key and what was read of its objects, which must not be used any more. It may be called again.
func (t *Token) Close() {
	t.key.Zero()
	t.key = nil
	for _, o := range t.read {
		o.wipe()
	}
	t.read, t.kept = nil, 0
}

// Unreadable is a token or an object that cannot be read, by the name of its directory or file.
type Unreadable struct {
	File string
	Err  error
}

// Objects reads all objects of the token, but for what an application that broke off has left: objects that are not the
// token's (CKA_TOKEN is false). What cannot be read is returned apart (ErrDamaged, ErrLocked, ErrTooMuch), so that the rest
// can be used.
func (t *Token) Objects() ([]*Object, []Unreadable, error) {
	entries, err := os.ReadDir(t.Dir)
	if err != nil {
		return nil, nil, err
	}
	var objects []*Object
	var damaged []Unreadable
	locked := time.Now().Add(lockWait)
	for _, e := range entries {
		if e.Name() == tokenFile || !strings.HasSuffix(e.Name(), objectEnding) {
			continue
		}
		path := filepath.Join(t.Dir, e.Name())
		f, err := readFile(path, maxKept-t.kept, locked)
		if errors.Is(err, fs.ErrNotExist) {
			continue // destroyed meanwhile
		}
		if err != nil {
			damaged = append(damaged, Unreadable{e.Name(), err})
			continue
		}
		ours, _ := f.values.Bool(pkcs11.CKA_TOKEN)
		switch {
		case !f.values.Has(pkcs11.CKA_CLASS):
			damaged = append(damaged, Unreadable{e.Name(), fmt.Errorf("%s: %w: CKA_CLASS is missing", path, ErrDamaged)})
			f.wipe()
		case !ours:
			f.wipe()
		default:
			t.kept += int64(len(f.raw))
			objects = append(objects, &Object{File: e.Name(), token: t, file: *f})
		}
	}
	t.read = append(t.read, objects...)
	return objects, damaged, nil
}
