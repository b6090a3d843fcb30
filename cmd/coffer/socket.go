package main

import (
	"errors"
	"io/fs"
	"net"
	"time"
)

// A node that is started again makes its socket anew within this time, as a rule.
const (
	socketPatience = 2 * time.Second
	socketPause    = 100 * time.Millisecond
)

// somebodyListens tells soon, and in words, what a client of the node would say only after trying for as long as a call may
// take: that nobody listens at its socket, or that this user may not use it.
func somebodyListens(path string) error {
	for end := time.Now().Add(socketPatience); ; time.Sleep(socketPause) {
		c, err := net.Dial("unix", path)
		switch {
		case err == nil:
			return c.Close()
		case errors.Is(err, fs.ErrPermission):
			return failed("this user may not use the node's socket %s", "join the socket's group and log in anew, or call it as root", path)
		case time.Now().After(end):
			return failed("no node listens at %s", "start cofferd there; its log says why, if it does not serve", path)
		}
	}
}
