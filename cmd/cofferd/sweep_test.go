package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestOperationsAreKeptForAsLongAsAnyoneAsksAgain(t *testing.T) {
	var past marks
	began := time.Now()
	at := func(minute, revision int64) int64 {
		through, _ := past.due(began.Add(time.Duration(minute)*time.Minute), revision)
		return through
	}
	for minute := range int64(30) {
		require.Zero(t, at(minute, 100+minute), "nothing is old enough after %d minutes", minute)
	}
	require.EqualValues(t, 100, at(30, 130))
	require.EqualValues(t, 101, at(31, 131))
	require.EqualValues(t, 131, at(200, 140), "one sweep catches up after a pause")
	require.Len(t, past, 1)
}
