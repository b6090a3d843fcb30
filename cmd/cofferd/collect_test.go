package main

import (
	"runtime/debug"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCollectorIsThriftyWithManyKeys(t *testing.T) {
	require.Equal(t, usualRoom, room(20<<20))
	require.Equal(t, thriftily, room(300<<20))
	was := debug.SetGCPercent(100)
	t.Cleanup(func() { debug.SetGCPercent(was) })
	percent := func() int { now := debug.SetGCPercent(100); return now }
	t.Setenv("GOGC", "70")
	collectThriftily()
	require.Equal(t, 100, percent(), "the operator's own setting stays")
	t.Setenv("GOGC", "")
	collectThriftily()
	require.Equal(t, thriftily, percent())
	collectBySize()
	require.Equal(t, usualRoom, percent(), "this test holds little")
}
