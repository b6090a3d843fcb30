package sqlite

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/core/store"
	"github.com/coffer-hsm/coffer/core/store/storetest"
)

var ctx = context.Background()

func mustOpen(t testing.TB, path string, o Options) *Store {
	t.Helper()
	s, err := Open(path, o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

func put(t testing.TB, s *Store, key, value string) int64 {
	t.Helper()
	revision, err := s.Commit(ctx, nil, []store.Op{{Key: key, Value: []byte(value)}})
	require.NoError(t, err)
	return revision
}

func value(t testing.TB, s *Store, key string) string {
	t.Helper()
	r, err := s.Get(ctx, key)
	require.NoError(t, err)
	return string(r.Value)
}

func TestContract(t *testing.T) {
	storetest.Run(t, func(t *testing.T) store.Store {
		s := mustOpen(t, filepath.Join(t.TempDir(), "token.db"), Options{Create: true})
		t.Cleanup(func() { // runs before the one that closes, so this needs a Store of its own
			s, err := Open(s.Path(), Options{})
			require.NoError(t, err)
			require.NoError(t, s.Check(ctx))
			require.NoError(t, s.Close())
		})
		return s
	}, func(t *testing.T, s store.Store) store.Store {
		return mustOpen(t, s.(*Store).Path(), Options{})
	})
}

// TestContractWithoutSyncFile has a directory where the sync file should be.
func TestContractWithoutSyncFile(t *testing.T) {
	storetest.Run(t, func(t *testing.T) store.Store {
		path := filepath.Join(t.TempDir(), "token.db")
		require.NoError(t, os.Mkdir(path+"-sync", 0o700))
		s := mustOpen(t, path, Options{Create: true})
		require.False(t, s.sync.mapped())
		return s
	}, func(t *testing.T, s store.Store) store.Store {
		return mustOpen(t, s.(*Store).Path(), Options{})
	})
}

func TestOpenWithoutCreateFindsNothing(t *testing.T) {
	dir := t.TempDir()
	for _, path := range []string{filepath.Join(dir, "none.db"), filepath.Join(dir, "no", "such", "dir.db")} {
		_, err := Open(path, Options{})
		require.ErrorIs(t, err, store.ErrNotFound)
		_, err = Open(path, Options{Create: true, ReadOnly: true})
		require.ErrorIs(t, err, store.ErrNotFound)
	}
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, entries, "looking must leave nothing behind")

	empty := filepath.Join(dir, "empty.db")
	require.NoError(t, os.WriteFile(empty, nil, 0o600))
	_, err = Open(empty, Options{})
	require.ErrorIs(t, err, store.ErrNotFound)
	s := mustOpen(t, empty, Options{Create: true})
	put(t, s, "k", "v")
}

func TestFilesAreForTheOwnerAlone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "dir")
	path := filepath.Join(dir, "token.db")
	s := mustOpen(t, path, Options{Create: true})
	put(t, s, "k", "v")
	info, err := os.Stat(dir)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o700), info.Mode().Perm())
	for _, suffix := range []string{"", "-wal", "-shm", "-sync"} {
		info, err := os.Stat(path + suffix)
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode().Perm(), suffix)
	}
}

func TestDurabilitySettingsAreInForce(t *testing.T) {
	s := mustOpen(t, filepath.Join(t.TempDir(), "token.db"), Options{Create: true})
	for pragma, want := range map[string]string{"journal_mode": "wal", "synchronous": "2", "secure_delete": "1",
		"application_id": "1131374194", "user_version": "1", "busy_timeout": "10000", "trusted_schema": "0", "temp_store": "2"} {
		var got string
		require.NoError(t, s.write.QueryRow("PRAGMA "+pragma).Scan(&got))
		require.Equal(t, want, got, pragma)
	}
	_, err := s.read.Exec("DELETE FROM record")
	require.Error(t, err, "readers cannot write")
}

func TestAnyPathCanBeOpened(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"with space", "100%", "what?mode=ro", "a#b", "%41", "ünï", "a&b=c", "semi;colon", "quote'\""} {
		path := filepath.Join(dir, name, name+".db")
		put(t, mustOpen(t, path, Options{Create: true}), "k", name)
		require.FileExists(t, path)
		require.Equal(t, name, value(t, mustOpen(t, path, Options{}), "k"))
	}
	link := filepath.Join(dir, "link.db")
	target := filepath.Join(dir, "a#b", "a#b.db")
	require.NoError(t, os.Symlink(target, link))
	require.Equal(t, target, mustOpen(t, link, Options{}).Path())
}

func TestCreatingAtOnceGivesOneDatabase(t *testing.T) {
	for range 10 {
		path := filepath.Join(t.TempDir(), "token.db")
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				s, err := Open(path, Options{Create: true})
				if !assert.NoError(t, err) {
					return
				}
				_, err = s.Commit(ctx, nil, []store.Op{{Key: "k/" + string(rune('a'+i))}})
				assert.NoError(t, err)
				assert.NoError(t, s.Close())
			})
		}
		wg.Wait()
		records, revision, err := mustOpen(t, path, Options{}).List(ctx, "k/")
		require.NoError(t, err)
		require.Len(t, records, 8)
		require.EqualValues(t, 8, revision)
	}
}

func TestReadOnlySeesWritersAndDoesNotWrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token.db")
	w := mustOpen(t, path, Options{Create: true})
	put(t, w, "k", "1")
	r := mustOpen(t, path, Options{ReadOnly: true})
	require.True(t, r.ReadOnly())
	require.Equal(t, "1", value(t, r, "k"))
	seen := r.Changed()
	put(t, w, "k", "2")
	require.NotEqual(t, seen, r.Changed())
	require.Equal(t, "2", value(t, r, "k"))
	_, err := r.Commit(ctx, nil, []store.Op{{Key: "k"}})
	require.ErrorIs(t, err, store.ErrReadOnly)
}

func TestDeletedValuesDoNotStayInTheDatabaseFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token.db")
	s, err := Open(path, Options{Create: true})
	require.NoError(t, err)
	mark := strings.Repeat("find me if you can ", 500)
	put(t, s, "short", mark[:40])
	put(t, s, "long", mark)
	require.NoError(t, s.Close()) // empties the log
	raw, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Contains(t, string(raw), "find me")

	s, err = Open(path, Options{})
	require.NoError(t, err)
	_, err = s.Commit(ctx, nil, []store.Op{{Key: "short", Delete: true}, {Key: "long", Value: []byte("other")}})
	require.NoError(t, err)
	require.NoError(t, s.Close())
	raw, err = os.ReadFile(path)
	require.NoError(t, err)
	require.NotContains(t, string(raw), "find me")
	require.NoFileExists(t, path+"-wal")
}
