package secret

import (
	"bytes"
	"encoding/gob"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/require"
)

const plain = "correct horse battery staple"

func TestTakeLeavesNothingInTheSource(t *testing.T) {
	src := []byte(plain)
	s := Take(src)
	require.Equal(t, plain, string(s.Expose()))
	require.Equal(t, make([]byte, len(plain)), src)
}

func TestCopyAndCloneAreIndependent(t *testing.T) {
	src := []byte(plain)
	s := Copy(src)
	c := s.Clone()
	s.Zero()
	require.Equal(t, plain, string(src))
	require.Equal(t, plain, string(c.Expose()))
}

func TestZeroWipesAndEmpties(t *testing.T) {
	s := Copy([]byte(plain))
	view := s.Expose()
	shared := *s
	s.Zero()
	s.Zero()
	require.Equal(t, make([]byte, len(plain)), view)
	require.Zero(t, s.Len())
	require.Zero(t, shared.Len(), "a copied Bytes must not outlive the wipe")
}

func TestNilAndZeroValueAreEmpty(t *testing.T) {
	var n *Bytes
	var z Bytes
	n.Zero()
	z.Zero()
	require.Zero(t, n.Len())
	require.Zero(t, z.Len())
	require.True(t, n.Equal(&z))
	require.Zero(t, n.Clone().Len())
}

func TestEqual(t *testing.T) {
	a, b := Copy([]byte("abc")), Copy([]byte("abc"))
	require.True(t, a.Equal(b))
	require.False(t, a.Equal(Copy([]byte("abd"))))
	require.False(t, a.Equal(Copy([]byte("ab"))))
	require.False(t, a.Equal(nil))
}

func TestExposeCannotGrowIntoTheOwner(t *testing.T) {
	s := New(4)
	require.Equal(t, 4, cap(s.Expose()))
}

// TestNeverPrinted tries every verb on every way of holding a secret.
func TestNeverPrinted(t *testing.T) {
	s := Copy([]byte(plain))
	type hidden struct {
		p *Bytes
		v Bytes
	}
	type shown struct {
		P *Bytes
		V Bytes
	}
	values := []any{s, *s, hidden{s, *s}, &hidden{s, *s}, shown{s, *s}, []*Bytes{s}, []Bytes{*s}, map[string]Bytes{"k": *s}}
	leaks := []string{plain, fmt.Sprintf("%x", plain), fmt.Sprintf("%X", plain), fmt.Sprintf("%v", []byte(plain)),
		strings.Trim(fmt.Sprintf("%#v", []byte(plain)), "[]byte{}")}
	require.Equal(t, placeholder, fmt.Sprint(s))
	require.Equal(t, placeholder, fmt.Sprintf("%x", *s))
	for _, v := range values {
		for verb := 'A'; verb <= 'z'; verb++ {
			if !unicode.IsLetter(verb) {
				continue
			}
			for _, flag := range []string{"%", "%+", "%#", "% "} {
				out := fmt.Sprintf(flag+string(verb), v)
				for _, leak := range leaks {
					require.NotContains(t, out, leak, "%s%c of %T", flag, verb, v)
				}
			}
		}
	}
}

func TestNeverEncoded(t *testing.T) {
	s := Copy([]byte(plain))
	var out bytes.Buffer
	_, err := json.Marshal(struct{ Key Bytes }{*s})
	require.ErrorIs(t, err, ErrNotExportable)
	require.Error(t, gob.NewEncoder(&out).Encode(s))
	require.Error(t, xml.NewEncoder(&out).Encode(s))
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "key", s)
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "key", *s)
	require.NotContains(t, out.String(), plain)
}
