package engine

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/core/auth"
	"github.com/coffer-hsm/coffer/core/store"
)

// TestRecordsThatCannotBe: what nobody has written is damage, and not an object with the rest of it left out.
func TestRecordsThatCannotBe(t *testing.T) {
	good, err := record{counter: 7, head: []byte("head"), secret: []byte("secret")}.marshal()
	require.NoError(t, err)
	headless, err := record{counter: 7, secret: []byte("secret")}.marshal()
	require.NoError(t, err)
	bad := map[string][]byte{"no head": headless, "more behind it": append(bytes.Clone(good), 0)}
	for _, flags := range []byte{flagPrivate | flagNode, 4, 0xff} {
		b := bytes.Clone(good)
		b[1] = flags
		bad[fmt.Sprintf("flags %d", flags)] = b
	}
	for n := range good {
		bad[fmt.Sprintf("%d bytes", n)] = good[:n]
	}
	for name, b := range bad {
		_, err := parseRecord(b)
		require.ErrorIs(t, err, store.ErrDamaged, name)
	}
	later := bytes.Clone(good)
	later[0]++
	_, err = parseRecord(later)
	require.ErrorIs(t, err, store.ErrVersion)
}

// FuzzRecord: whatever stands in the store, it is a record that encodes to the same bytes again, or it is refused.
func FuzzRecord(f *testing.F) {
	good, err := record{private: true, counter: 7, head: []byte("head"), secret: []byte("secret")}.marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte{})
	f.Add([]byte{recordFormat, 0, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := parseRecord(b)
		if err != nil {
			if !errors.Is(err, store.ErrDamaged) && !errors.Is(err, store.ErrVersion) {
				t.Errorf("refused with %v", err)
			}
			return
		}
		again, err := r.marshal()
		if err != nil || !bytes.Equal(again, b) {
			t.Errorf("%x was read and is written as %x, %v", b, again, err)
		}
	})
}

// FuzzTokenRecords: the records that are not sealed.
func FuzzTokenRecords(f *testing.F) {
	f.Add([]byte(`{"format":1,"serial":"0123456789ABCDEF","label":"x","public_root":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}`))
	f.Add([]byte(`{"format":1,"epoch":1,"failures":3,"root":"AAAA"}`))
	f.Add([]byte(`{"format":2}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if h, err := parseHeader(b); err == nil && (len(h.PublicRoot) != 32 || len(h.Serial) != 16) {
			t.Errorf("%q was taken for a token record", b)
		}
		if u, err := auth.ParseUser(b); err == nil && (u.Failures < 0 || len(u.Root) == 0) {
			t.Errorf("%q was taken for a user record", b)
		}
	})
}
