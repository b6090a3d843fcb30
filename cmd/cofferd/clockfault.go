//go:build clockfault

package main

import (
	"os"
	"time"
)

// timeOfDay is a clock that is wrong by what the file COFFERD_CLOCK says ("2h", "-90s"), for tests of clusters: the clock of
// one node among several on a machine cannot be set.
func timeOfDay() time.Time {
	b, err := os.ReadFile(os.Getenv("COFFERD_CLOCK"))
	if err != nil {
		return time.Now()
	}
	by, err := time.ParseDuration(string(b))
	if err != nil {
		return time.Now()
	}
	return time.Now().Round(0).Add(by)
}
