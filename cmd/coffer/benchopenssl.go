package main

import (
	"bytes"
	"context"
	"math"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// opensslName is OpenSSL's program. Its own measurement says what the bare computation costs, without keys that have to be
// found and without a user who has to be logged in: for most operations no module over the same code can be faster.
const opensslName = "openssl"

// opensslRow is how `openssl speed` is asked for an operation, and where its answer is: which field of which line.
type opensslRow struct {
	args  string
	line  string // the line begins so
	field int    // counted from 0, at colons
	bytes int    // the answer is in bytes a second: how many are one operation; 0: the answer is in operations
}

// Lines of `openssl speed -mr` of OpenSSL 3, after a header each:
//
//	+F:number:name:bytes a second
//	+F2:number:bits:RSA signatures a second:verifications a second; +F4 for ECDSA
//	+F6:number:bits:name:EdDSA signatures a second:verifications a second
var opensslRows = map[string]opensslRow{
	"sign-rsa-2048":  {"rsa2048", "+F2:", 3, 0},
	"sign-rsa-3072":  {"rsa3072", "+F2:", 3, 0},
	"sign-rsa-4096":  {"rsa4096", "+F2:", 3, 0},
	"sign-p256":      {"ecdsap256", "+F4:", 3, 0},
	"verify-p256":    {"ecdsap256", "+F4:", 4, 0},
	"sign-ed25519":   {"ed25519", "+F6:", 4, 0},
	"aes-gcm-1k":     {"-evp aes-256-gcm -bytes 1024", "+F:", 3, 1 << 10},
	"aes-gcm-16k":    {"-evp aes-256-gcm -bytes 16384", "+F:", 3, 16 << 10},
	"aes-cbc-1k":     {"-evp aes-256-cbc -bytes 1024", "+F:", 3, 1 << 10},
	"aes-cbc-16k":    {"-evp aes-256-cbc -bytes 16384", "+F:", 3, 16 << 10},
	"hmac-sha256-1k": {"-hmac sha256 -bytes 1024", "+F:", 3, 1 << 10},
	"sha256-1k":      {"-evp sha256 -bytes 1024", "+F:", 3, 1 << 10},
	"random-32":      {"-bytes 32 rand", "+F:", 3, 32},
}

// newBenchOpenSSL is `openssl speed` in the place of a module.
func newBenchOpenSSL(ctx context.Context) (*benchModule, error) {
	path, err := exec.LookPath(opensslName)
	if err != nil {
		return nil, notFound("there is no program %s", "install OpenSSL, or leave --openssl away", opensslName)
	}
	out, err := exec.CommandContext(ctx, path, "version").Output()
	if err != nil {
		return nil, failed("%s version: %v", "check the program", path, err)
	}
	words := append(strings.Fields(string(out)), "", "") // OpenSSL 3.0.19 27 Jan 2026 ...
	return &benchModule{Name: "openssl speed", Path: path, Manufacturer: "OpenSSL", Description: words[0], Version: words[1],
		gone: map[string]benchRun{}, openssl: true}, nil
}

// opensslMeasure makes one measurement: processes in the place of threads, and whole seconds.
func (m *benchModule) opensslMeasure(ctx context.Context, op string, processes int, seconds float64) benchRun {
	row, ok := opensslRows[op]
	if !ok {
		return benchRun{Unsupported: "not among the measurements", Call: "openssl speed"}
	}
	whole := max(1, math.Round(seconds))
	args := []string{"speed", "-mr", "-elapsed", "-seconds", strconv.FormatFloat(whole, 'f', 0, 64)}
	if processes > 1 {
		args = append(args, "-multi", strconv.Itoa(processes))
	}
	ctx, cancel := context.WithTimeout(ctx, benchOneAnswer+time.Duration(8*whole)*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, m.Path, append(args, strings.Fields(row.args)...)...)
	var errOut bytes.Buffer
	cmd.Stderr = &errOut
	cmd.WaitDelay = time.Second
	out, err := cmd.Output()
	if err != nil {
		return benchRun{Error: lastWords(err, &errOut), Call: "openssl speed"}
	}
	rate, err := row.rate(string(out))
	if err != nil {
		return benchRun{Error: explain(err).text, Call: "openssl speed"}
	}
	return benchRun{Rate: rate, Seconds: whole, Count: uint64(rate * whole)}
}

// rate finds the answer. The processes of -multi print theirs too, with other words before; the sum comes last.
func (r opensslRow) rate(out string) (float64, error) {
	last := ""
	for line := range strings.Lines(out) {
		if strings.HasPrefix(line, r.line) {
			last = strings.TrimSpace(line)
		}
	}
	fields := strings.Split(last, ":")
	if len(fields) <= r.field {
		return 0, failed("its answer has no line %s with %d fields: is it OpenSSL 3?", "", r.line, r.field+1)
	}
	v, err := strconv.ParseFloat(fields[r.field], 64)
	if err != nil || v <= 0 {
		return 0, failed("its answer %q is no rate", "", last)
	}
	return v / float64(max(1, r.bytes)), nil
}
