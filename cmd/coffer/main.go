// Command coffer is the command line of Coffer: it makes tokens, sets PINs, makes and moves keys, uses them, and tells
// what is wrong with a set-up. It speaks to tokens as the library does, without PKCS #11 sessions in between.
//
// One file holds one command or one group; app.go has the list, exit.go what the program answers, problem.go the
// sentences for what can go wrong. A run is a value (app); nothing is global.
package main

import (
	"os"

	"github.com/coffer-hsm/coffer/core/config"
	"github.com/coffer-hsm/coffer/core/embedded"
	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/core/remote"
)

func main() {
	a := newApp(os.Stdin, os.Stdout, os.Stderr, os.Getenv)
	a.open = open
	os.Exit(a.run(os.Args[1:]))
}

func open(slot config.Slot) (hsm.HSM, error) {
	if slot.Remote() {
		return remote.Open(slot, nil)
	}
	return embedded.Open(slot)
}
