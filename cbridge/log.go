package main

import (
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// note writes why a call failed, where it has more to say than its return value, to the file that COFFER_LOG names. It
// is asked rarely, so it opens the file anew each time and holds nothing: a log that was moved away is made again. The
// text never holds a secret.
func note(function string, err error) {
	path := getenv("COFFER_LOG")
	if path == "" {
		return
	}
	f, openErr := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if openErr != nil {
		return
	}
	defer f.Close()
	reason := strings.TrimPrefix(err.Error(), pkcs11.RVOf(err).String()+": ")
	fmt.Fprintf(f, "%s %d %s %v: %s\n", time.Now().UTC().Format("2006-01-02T15:04:05.000Z"), os.Getpid(), function, pkcs11.RVOf(err), reason)
}
