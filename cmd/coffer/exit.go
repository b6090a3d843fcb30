package main

import "fmt"

// exitCode is what the program answers to the shell. The numbers are part of the interface.
type exitCode int

// The exit codes.
const (
	exitOK exitCode = iota
	exitFailed
	exitUsage
	exitNotFound
	exitPIN
	exitInvalid
	exitChanging
)

// exitCodes is the one list of them; the help prints it.
var exitCodes = []struct {
	code exitCode
	text string
}{
	{exitOK, "done"},
	{exitFailed, "failed"},
	{exitUsage, "the arguments or the configuration are wrong"},
	{exitNotFound, "a slot, token, key or file was not found"},
	{exitPIN, "a PIN is missing, wrong or locked, or a login is needed"},
	{exitInvalid, "a signature is not valid, or encrypted data was changed"},
	{exitChanging, "the copies of the nodes could not be compared, for the token is being changed"},
}

func exitHelp() string {
	text := ""
	for _, e := range exitCodes {
		text += fmt.Sprintf("  %d  %s\n", e.code, e.text)
	}
	return text
}
