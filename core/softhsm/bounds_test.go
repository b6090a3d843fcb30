package softhsm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coffer-hsm/coffer/core/secret"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// patience is how long a test waits for what does not block.
const patience = 20 * time.Second

// in has something done, and fails the test where it does not end.
func in(t *testing.T, do func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		do()
	}()
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatal("it waits for ever")
	}
}

// attribute is one as it is in a file.
func attribute(t pkcs11.AttributeType, form uint64, value ...byte) []byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(t))
	return append(binary.BigEndian.AppendUint64(b, form), value...)
}

func TestPipesAreNotWaitedFor(t *testing.T) {
	dir, files := copied(t)
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"+objectEnding), 0o600); err != nil {
		t.Fatal(err)
	}
	in(t, func() {
		tokens, _, err := Tokens(dir)
		if err != nil {
			t.Error(err)
			return
		}
		defer tokens[0].Close()
		objects, damaged, err := tokens[0].Objects()
		if err != nil || len(objects) != len(files) || len(damaged) != 1 || !errors.Is(damaged[0].Err, ErrDamaged) ||
			!strings.Contains(damaged[0].Err.Error(), "no regular file") {
			t.Errorf("%d objects, damaged %v, %v", len(objects), damaged, err)
		}
	})
}

// TestLocksAreWaitedForAWhile: by a lock of the open file, which another one of this process is in conflict with.
func TestLocksAreWaitedForAWhile(t *testing.T) {
	const ofdSetLock = 37 // F_OFD_SETLK of Linux
	_, files := copied(t)
	writer, err := os.OpenFile(files[0], os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	if err := syscall.FcntlFlock(writer.Fd(), ofdSetLock, &syscall.Flock_t{Type: syscall.F_WRLCK}); err != nil {
		t.Fatal(err)
	}
	in(t, func() {
		if _, err := readFile(files[0], maxFile, time.Now()); !errors.Is(err, ErrLocked) {
			t.Errorf("a lock that is held: %v", err)
		}
	})
	until := time.Now().Add(patience)
	in(t, func() {
		go func() {
			time.Sleep(3 * lockEvery)
			writer.Close()
		}()
		if _, err := readFile(files[0], maxFile, until); err != nil {
			t.Errorf("a lock that was given up: %v", err)
		}
	})
}

func TestAttributesOfAnObjectAreCounted(t *testing.T) {
	head := make([]byte, 8)
	many := func(from, n int) (b []byte) {
		for i := range n {
			b = append(b, attribute(pkcs11.AttributeType(from+i), formBool, 1)...)
		}
		return b
	}
	inside := func(t pkcs11.AttributeType, b []byte) []byte {
		return append(attribute(t, formTemplate, binary.BigEndian.AppendUint64(nil, uint64(len(b)))...), b...)
	}
	for name, c := range map[string]struct {
		content []byte
		good    bool
	}{
		"1000":                    {many(1, maxAttributes), true},
		"1001":                    {many(1, maxAttributes+1), false},
		"999 in a template":       {inside(1, many(1, maxAttributes-1)), true},
		"1000 in a template":      {inside(1, many(1, maxAttributes)), false},
		"1000 in two templates":   {append(inside(1, many(1, maxAttributes/2)), inside(2, many(1, maxAttributes/2))...), false},
		"as many as a file holds": {many(1, 1<<19), false},
	} {
		in(t, func() {
			if _, err := parse(append(bytes.Clone(head), c.content...)); (err == nil) != c.good {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
}

func TestObjectsTogetherAreBounded(t *testing.T) {
	token := opened(t)
	token.kept = maxKept - 1
	objects, damaged, err := token.Objects()
	if err != nil || len(objects) > 0 || len(damaged) == 0 {
		t.Fatalf("%d objects, damaged %v, %v", len(objects), damaged, err)
	}
	for _, d := range damaged {
		if !errors.Is(d.Err, ErrTooMuch) {
			t.Errorf("%s: %v", d.File, d.Err)
		}
	}
	token.kept = 0
	if _, _, err := token.Objects(); err != nil || token.kept == 0 {
		t.Errorf("%d bytes are kept, %v", token.kept, err)
	}
}

// TestAllThatWasReadIsWiped: what is skipped at once, the rest by Close.
func TestAllThatWasReadIsWiped(t *testing.T) {
	dir, files := copied(t)
	whole, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	ours := attribute(pkcs11.CKA_TOKEN, formBool, 0xff)
	if !bytes.Contains(whole, ours) {
		t.Fatal("the fixture's object is not the token's")
	}
	skipped := map[string][]byte{
		"session":  bytes.Replace(whole, ours, attribute(pkcs11.CKA_TOKEN, formBool, 0), 1),
		"cut":      whole[:len(whole)-1],
		"no class": append(make([]byte, 8), attribute(pkcs11.CKA_VALUE, formBytes, 0, 0, 0, 0, 0, 0, 0, 3, 'k', 'e', 'y')...),
	}
	for name, b := range skipped {
		if err := os.WriteFile(filepath.Join(dir, name+objectEnding), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	tokens, _, err := Tokens(dir)
	if err != nil {
		t.Fatal(err)
	}
	var wiped [][]byte
	wipe = func(b []byte) {
		wiped = append(wiped, bytes.Clone(b))
		secret.Wipe(b)
	}
	defer func() { wipe = secret.Wipe }()
	objects, damaged, err := tokens[0].Objects()
	if err != nil || len(objects) != len(files) || len(damaged) != 2 {
		t.Fatalf("%d objects, damaged %v, %v", len(objects), damaged, err)
	}
	for name, b := range skipped {
		found := false
		for _, w := range wiped {
			found = found || bytes.Equal(w, b)
		}
		if !found {
			t.Errorf("%s: what was read of it was not wiped", name)
		}
	}
	var values [][]byte
	for _, o := range objects {
		for _, a := range o.values {
			if b, ok := a.Value.([]byte); ok {
				values = append(values, b)
			}
			if tm, ok := a.Value.(pkcs11.Template); ok {
				for _, a := range tm {
					if b, ok := a.Value.([]byte); ok {
						values = append(values, b)
					}
				}
			}
		}
	}
	tokens[0].Close()
	for _, b := range values {
		if !bytes.Equal(b, make([]byte, len(b))) {
			t.Fatalf("after Close there is still %q", b)
		}
	}
	if len(values) < len(files) {
		t.Errorf("%d values in %d files", len(values), len(files))
	}
}
