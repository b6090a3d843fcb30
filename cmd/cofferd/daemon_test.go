package main

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/core/config"
	"github.com/coffer-hsm/coffer/core/mech/rsa/kernel"
)

func TestSocketIsMadeForThoseWhoMay(t *testing.T) {
	path := filepath.Join(t.TempDir(), "below", "s")
	n := &config.Node{Socket: path, SocketMode: 0o640}
	l, err := listenUnix(n)
	require.NoError(t, err)
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o640), info.Mode().Perm())

	_, err = listenUnix(n)
	require.ErrorContains(t, err, "another process")
	l.SetUnlinkOnClose(false) // as a process that is killed leaves it
	require.NoError(t, l.Close())
	l, err = listenUnix(n)
	require.NoError(t, err)
	require.NoError(t, l.Close())

	n.SocketGroup = "no-such-group-here"
	_, err = listenUnix(n)
	require.ErrorContains(t, err, "socket_group")
	n.SocketGroup = ""
	require.NoError(t, os.RemoveAll(path))
	require.NoError(t, os.WriteFile(path, []byte("x"), 0o600))
	_, err = listenUnix(n)
	require.ErrorContains(t, err, "no socket")
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "x", string(b), "somebody's file was touched")
}

func TestSystemdIsTold(t *testing.T) {
	path := filepath.Join(t.TempDir(), "n")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	require.NoError(t, err)
	defer conn.Close()
	notify("READY=1") // nobody listens: no harm
	t.Setenv("NOTIFY_SOCKET", path)
	notify("READY=1\nSTATUS=serving")
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(10*time.Second)))
	b := make([]byte, 100)
	k, err := conn.Read(b)
	require.NoError(t, err)
	require.Equal(t, "READY=1\nSTATUS=serving", string(b[:k]))
}

func TestLogIsOneLineForEachEvent(t *testing.T) {
	for _, format := range []string{"text", "json"} {
		var out bytes.Buffer
		level := new(slog.LevelVar)
		log, err := newLog(&out, format, level)
		require.NoError(t, err)
		log.Debug("not shown")
		reasons(log, slog.LevelWarn, "what")(errors.New("two\nlines"))
		require.Equal(t, 1, bytes.Count(out.Bytes(), []byte("\n")), "%s: %s", format, &out)
		require.Contains(t, out.String(), `two\nlines`)
		level.Set(slog.LevelDebug)
		log.Debug("shown")
		require.Equal(t, 2, bytes.Count(out.Bytes(), []byte("\n")))
	}
	_, err := newLog(&bytes.Buffer{}, "xml", slog.LevelInfo)
	require.ErrorContains(t, err, "text or json")
}

func TestUnsealingFromADescriptor(t *testing.T) {
	_, err := method(config.Unseal{Method: config.UnsealFile, KeyFile: "k"}, 0)
	require.ErrorContains(t, err, "does not go")
	_, err = method(config.Unseal{Method: config.UnsealPassphrase, PassphraseFD: -1}, 0)
	require.NoError(t, err)
	_, err = method(config.Unseal{Method: config.UnsealFile, KeyFile: "k"}, -1)
	require.NoError(t, err)
}

func TestWhatCannotStartSaysSoInOneSentence(t *testing.T) {
	dir := t.TempDir()
	conf := filepath.Join(dir, "c.toml")
	require.NoError(t, os.WriteFile(conf, []byte(`state_dir = "`+dir+`/none"`+"\n"+`socket = "`+dir+`/s"`), 0o600))
	n, err := config.LoadNode(conf)
	require.NoError(t, err)
	var out bytes.Buffer
	log, err := newLog(&out, "text", slog.LevelInfo)
	require.NoError(t, err)
	d := &daemon{flags: flags{unsealFD: -1}, conf: n, log: log, level: new(slog.LevelVar)}
	err = d.run(context.Background())
	require.ErrorContains(t, err, "coffer cluster create")

	for name, args := range map[string][]string{
		"a file that is missing": {"--config", filepath.Join(dir, "missing")},
		"an argument":            {"argument"},
		"an unknown format":      {"--config", conf, "--log-format", "xml"},
	} {
		cmd := command()
		cmd.SetArgs(args)
		cmd.SetOut(&out)
		cmd.SetErr(&out)
		err := cmd.ExecuteContext(context.Background())
		require.Error(t, err, name)
		require.NotEmpty(t, sentence(err), name)
	}
	crowd, together := kernel.Crowd()
	require.True(t, together && crowd == 0, "a daemon's callers are goroutines, whose signatures are done together")
}
