package sqlite

import (
	"crypto/rand"
	"database/sql"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/core/store"
)

// database returns the bytes of a closed store with some content.
func database(t *testing.T) []byte {
	path := filepath.Join(t.TempDir(), "token.db")
	s, err := Open(path, Options{Create: true})
	require.NoError(t, err)
	for i := range 40 {
		put(t, s, "object/"+strconv.Itoa(i), strings.Repeat("value ", 100))
	}
	require.NoError(t, s.Close())
	raw, err := os.ReadFile(path)
	require.NoError(t, err)
	return raw
}

// refuses opens a file of this content in every way, and expects the error and the file as it was, with nothing beside it.
func refuses(t *testing.T, content []byte, want error, what string) {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "token.db")
	require.NoError(t, os.WriteFile(path, content, 0o600))
	for _, o := range []Options{{}, {Create: true}, {ReadOnly: true}} {
		s, err := Open(path, o)
		if err == nil {
			_ = s.Close()
		}
		require.ErrorIs(t, err, want, "%s, %+v", what, o)
		now, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, content, now, "%s, %+v", what, o)
		entries, err := os.ReadDir(dir)
		require.NoError(t, err)
		for _, e := range entries {
			require.False(t, strings.HasSuffix(e.Name(), "-sync"), what)
		}
	}
}

func TestNoiseIsRefusedAndLeftAlone(t *testing.T) {
	for _, size := range []int{1, 15, 16, 99, 100, 511, 512, 1000, 4096, 10000, 65536} {
		noise := make([]byte, size)
		_, err := rand.Read(noise)
		require.NoError(t, err)
		refuses(t, noise, store.ErrDamaged, strconv.Itoa(size)+" random bytes")
		refuses(t, make([]byte, size), store.ErrDamaged, strconv.Itoa(size)+" zeros")
	}
	refuses(t, []byte("# a text file\n"), store.ErrDamaged, "text")
}

func TestTruncatedFileIsRefusedAndLeftAlone(t *testing.T) {
	raw := database(t)
	for size := 1; size < len(raw); size += 1 + size/5 {
		refuses(t, raw[:size], store.ErrDamaged, strconv.Itoa(size)+" bytes")
	}
	refuses(t, raw[:len(raw)-1], store.ErrDamaged, "one byte short")
}

func TestLaterFormatIsRefusedAndLeftAlone(t *testing.T) {
	raw := database(t)
	raw[63] = formatVersion + 1 // user_version, big-endian at 60
	refuses(t, raw, store.ErrVersion, "later format")
	raw[63] = 0
	refuses(t, raw, store.ErrDamaged, "no format")
}

func TestOtherDatabaseIsRefusedAndLeftAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "other.db")
	db, err := sql.Open("sqlite", path)
	require.NoError(t, err)
	_, err = db.Exec("CREATE TABLE precious (x); INSERT INTO precious VALUES (1)")
	require.NoError(t, err)
	require.NoError(t, db.Close())
	raw, err := os.ReadFile(path)
	require.NoError(t, err)
	refuses(t, raw, store.ErrDamaged, "other database")
}

func TestLogWithoutItsDatabaseIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token.db")
	require.NoError(t, os.WriteFile(path+"-wal", []byte("committed data, perhaps"), 0o600))
	_, err := Open(path, Options{Create: true})
	require.ErrorIs(t, err, store.ErrDamaged)
	require.NoFileExists(t, path)
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	_, err = Open(path, Options{Create: true})
	require.ErrorIs(t, err, store.ErrDamaged)
	log, err := os.ReadFile(path + "-wal")
	require.NoError(t, err)
	require.Equal(t, "committed data, perhaps", string(log))
}

func TestDirectoryIsRefused(t *testing.T) {
	_, err := Open(t.TempDir(), Options{Create: true})
	require.ErrorIs(t, err, store.ErrDamaged)
}

// TestDamagedPagesNeverPanic overwrites pages of an open store's file; each call must give data or an error.
func TestDamagedPagesNeverPanic(t *testing.T) {
	raw := database(t)
	for page := 4096; page < len(raw); page += 4096 {
		bad := append([]byte(nil), raw...)
		_, err := rand.Read(bad[page : page+4096])
		require.NoError(t, err)
		path := filepath.Join(t.TempDir(), "token.db")
		require.NoError(t, os.WriteFile(path, bad, 0o600))
		s, err := Open(path, Options{})
		if err != nil {
			require.ErrorIs(t, err, store.ErrDamaged)
			continue
		}
		if _, _, err = s.List(ctx, ""); err != nil {
			require.ErrorIs(t, err, store.ErrDamaged)
		}
		require.ErrorIs(t, s.Check(ctx), store.ErrDamaged, "page at %d", page)
		_ = s.Close()
	}
}

// TestInterruptedCreationIsFinished starts from what a killed creation may leave.
func TestInterruptedCreationIsFinished(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token.db")
	db, err := sql.Open("sqlite", path)
	require.NoError(t, err)
	_, err = db.Exec("PRAGMA journal_mode=WAL")
	require.NoError(t, err)
	require.NoError(t, db.Close())
	_, err = Open(path, Options{})
	require.ErrorIs(t, err, store.ErrNotFound)
	put(t, mustOpen(t, path, Options{Create: true}), "k", "v")
}
