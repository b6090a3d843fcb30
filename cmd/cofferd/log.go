package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/coffer-hsm/coffer/core/config"
)

var levels = map[string]slog.Level{
	config.LogDebug: slog.LevelDebug,
	config.LogInfo:  slog.LevelInfo,
	config.LogWarn:  slog.LevelWarn,
	config.LogError: slog.LevelError,
}

// newLog writes one line for each event.
func newLog(w io.Writer, format string, level slog.Leveler) (*slog.Logger, error) {
	o := &slog.HandlerOptions{Level: level, ReplaceAttr: readable}
	switch format {
	case "text":
		return slog.New(slog.NewTextHandler(w, o)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, o)), nil
	}
	return nil, fmt.Errorf("--log-format %q is not known; give text or json", format)
}

// readable has times in UTC, and errors as their text in both formats.
func readable(_ []string, a slog.Attr) slog.Attr {
	switch v := a.Value.Any().(type) {
	case time.Time:
		return slog.Time(a.Key, v.UTC())
	case error:
		return slog.String(a.Key, v.Error())
	}
	return a
}

// reasons is for packages that tell of what goes wrong as errors.
func reasons(log *slog.Logger, level slog.Level, what string) func(error) {
	return func(err error) { log.Log(context.Background(), level, what, "reason", err) }
}
