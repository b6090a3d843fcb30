package member

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestStateDirectoryHasOneUser(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	_, err := openState(dir, false)
	require.ErrorIs(t, err, ErrNoState)
	one, err := openState(dir, true)
	require.NoError(t, err)
	_, err = openState(dir, true)
	require.ErrorIs(t, err, ErrInUse)
	require.ErrorIs(t, Zeroize(dir), ErrInUse)
	require.NoError(t, one.Close())
	two, err := openState(dir, false)
	require.NoError(t, err)
	require.NoError(t, two.Close())
	require.NoError(t, os.Chmod(dir, 0o750))
	_, err = openState(dir, false)
	require.ErrorContains(t, err, "chmod 700")
}

func TestFilesAreReplacedWhole(t *testing.T) {
	s, err := openState(filepath.Join(t.TempDir(), "state"), true)
	require.NoError(t, err)
	defer s.Close()
	require.NoError(t, s.write("f", []byte("one")))
	require.NoError(t, s.write("f", []byte("two")))
	b, err := s.read("f")
	require.NoError(t, err)
	require.Equal(t, "two", string(b))
	info, err := os.Stat(s.path("f"))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	entries, err := os.ReadDir(s.dir)
	require.NoError(t, err)
	require.Len(t, entries, 2, "the lock and the file")
}

func TestZeroizeLeavesNothing(t *testing.T) {
	h := newMachine(t)
	h.create(CreateOptions{})
	root := filepath.Join(h.conf.StateDir, fileRoot)
	f, err := os.Open(root) // what was in the file is gone from the disk too, not just its name
	require.NoError(t, err)
	defer f.Close()
	require.NoError(t, os.MkdirAll(filepath.Join(h.conf.StateDir, dirStore, "member"), 0o700))
	require.NoError(t, Zeroize(h.conf.StateDir))
	entries, err := os.ReadDir(h.conf.StateDir)
	require.NoError(t, err)
	require.Len(t, entries, 1)
	require.Equal(t, fileLock, entries[0].Name())
	b := make([]byte, 64)
	n, err := f.Read(b)
	require.NoError(t, err)
	require.Equal(t, make([]byte, n), b[:n])
	_, err = Open(within(t), h.options())
	require.ErrorIs(t, err, ErrNoState)
}

func TestIdentityThatCannotBe(t *testing.T) {
	s, err := openState(filepath.Join(t.TempDir(), "state"), true)
	require.NoError(t, err)
	defer s.Close()
	_, err = s.identity()
	require.ErrorIs(t, err, ErrNoState)
	for content, want := range map[string]string{
		"{":               "cannot be read",
		`{"format": 2}`:   "format 2",
		`{"format": 1}`:   "incomplete",
		`{"format": "1"}`: "cannot be read",
	} {
		require.NoError(t, s.write(fileIdentity, []byte(content)))
		_, err = s.identity()
		require.ErrorContains(t, err, want)
	}
}

func TestServersAreOrderedForEachMember(t *testing.T) {
	require.Equal(t, []string{"https://own:1", "https://a:1", "https://b:1"}, sortedTail(preferred("own:1", []string{"b:1", "a:1", "own:1", "", "a:1"}, "m")))
	firsts := map[string]bool{}
	for _, member := range []string{"1", "2", "3", "4", "5", "6", "7", "8"} {
		firsts[preferred("", []string{"a:1", "b:1", "c:1"}, member)[0]] = true
	}
	require.Greater(t, len(firsts), 1, "members without a copy all use the same server")
	require.Empty(t, preferred("", nil, "m"))
}

func sortedTail(list []string) []string {
	if list[1] > list[2] {
		list[1], list[2] = list[2], list[1]
	}
	return list
}
