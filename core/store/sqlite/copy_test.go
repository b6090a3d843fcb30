package sqlite

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/core/store"
)

// TestACopyIsOfOneMoment: while another writes pairs of records, each copy has both of a pair or none, the revision that
// goes with them, and can be opened and written.
func TestACopyIsOfOneMoment(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	path := filepath.Join(dir, "token.db")
	s, err := Open(path, Options{Create: true})
	require.NoError(t, err)
	defer s.Close()
	writer, err := Open(path, Options{})
	require.NoError(t, err)
	defer writer.Close()
	done := make(chan struct{})
	var writing sync.WaitGroup
	writing.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-done:
				return
			default:
			}
			var ops []store.Op
			for _, half := range []string{"a", "b"} {
				ops = append(ops, store.Op{Key: fmt.Sprintf("%s/%06d", half, i), Value: make([]byte, 3000)})
			}
			if _, err := writer.Commit(ctx, nil, ops); err != nil {
				t.Error(err)
				return
			}
		}
	})
	for i := range 20 {
		to := filepath.Join(dir, fmt.Sprintf("%d.backup", i))
		require.NoError(t, s.Copy(ctx, to))
		info, err := os.Stat(to)
		require.NoError(t, err)
		require.Equal(t, fs.FileMode(0o600), info.Mode().Perm())
		c, err := Open(to, Options{})
		require.NoError(t, err)
		a, revision, err := c.List(ctx, "a/")
		require.NoError(t, err)
		b, _, err := c.List(ctx, "b/")
		require.NoError(t, err)
		require.Len(t, b, len(a))
		require.EqualValues(t, len(a), revision)
		next, err := c.Commit(ctx, nil, []store.Op{{Key: "c", Value: []byte("c")}})
		require.NoError(t, err)
		require.Equal(t, revision+1, next)
		require.NoError(t, c.Close())
	}
	close(done)
	writing.Wait()
}

// TestACopyReplacesNothing, leaves nothing behind when it fails, and is had of a store that can be read only.
func TestACopyReplacesNothing(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	path, to := filepath.Join(dir, "token.db"), filepath.Join(t.TempDir(), "copy")
	s, err := Open(path, Options{Create: true})
	require.NoError(t, err)
	_, err = s.Commit(ctx, nil, []store.Op{{Key: "key", Value: []byte("value")}})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(to, []byte("somebody's"), 0o600))
	require.ErrorIs(t, s.Copy(ctx, to), fs.ErrExist)
	b, err := os.ReadFile(to)
	require.NoError(t, err)
	require.Equal(t, "somebody's", string(b))
	ended, cancel := context.WithCancel(ctx)
	cancel()
	require.Error(t, s.Copy(ended, to+"2"))
	require.Error(t, s.Copy(ctx, filepath.Join(dir, "no", "such", "directory")))
	require.NoError(t, s.Close())
	require.ErrorIs(t, s.Copy(ctx, to+"2"), store.ErrUnavailable)
	list, err := os.ReadDir(filepath.Dir(to))
	require.NoError(t, err)
	require.Len(t, list, 1)

	r, err := Open(path, Options{ReadOnly: true})
	require.NoError(t, err)
	defer r.Close()
	require.NoError(t, r.Copy(ctx, to+"2"))
	c, err := Open(to+"2", Options{})
	require.NoError(t, err)
	defer c.Close()
	rec, err := c.Get(ctx, "key")
	require.NoError(t, err)
	require.Equal(t, "value", string(rec.Value))
}

func TestRenamingACopyReplacesNothing(t *testing.T) {
	dir := t.TempDir()
	from, to := filepath.Join(dir, "from"), filepath.Join(dir, "to")
	require.NoError(t, os.WriteFile(from, []byte("copy"), 0o600))
	require.NoError(t, os.WriteFile(to, []byte("came first"), 0o600))
	require.ErrorIs(t, renameNew(from, to), fs.ErrExist)
	content, err := os.ReadFile(to)
	require.NoError(t, err)
	require.Equal(t, "came first", string(content))
	require.NoError(t, os.Remove(to))
	require.NoError(t, renameNew(from, to))
	require.FileExists(t, to)
	require.NoFileExists(t, from)
}
