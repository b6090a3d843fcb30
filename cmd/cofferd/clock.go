//go:build !clockfault

package main

import "time"

// timeOfDay is the clock by which logins and invitations expire.
var timeOfDay = time.Now
