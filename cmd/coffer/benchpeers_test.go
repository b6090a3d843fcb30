package main

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coffer-hsm/coffer/tests/harness"
)

// TestBenchOpenSSLAnswers reads what `openssl speed -mr` of OpenSSL 3.0 prints.
func TestBenchOpenSSLAnswers(t *testing.T) {
	const (
		bytesOnce = "+H:1024\n+F:25:AES-256-GCM:862131200.00\n"
		bytesBoth = "+DT:hmac(sha256):1:1024\n+R:207724:hmac(sha256):1.010000\nGot: +F:9:hmac(sha256):210603342.57 from 0\n" +
			"Got: +F:9:hmac(sha256):235597824.00 from 1\n+F:9:hmac(md5):446201166.57\n"
		rsa   = "+R1:864:2048:1.00\nGot: +F2:2:2048:864.000000:23634.653465 from 0\n+F2:2:2048:1373.900990:47662.653465\n"
		ecdsa = "+F4:3:256:47777.000000:18693.000000\n"
		eddsa = "+F6:0:253:Ed25519:24836.000000:7664.000000\n"
	)
	for _, c := range []struct {
		operation, out string
		want           float64
	}{
		{"aes-gcm-1k", bytesOnce, 862131200.00 / 1024},
		{"hmac-sha256-1k", bytesBoth, 446201166.57 / 1024},
		{"sign-rsa-2048", rsa, 1373.900990},
		{"sign-p256", ecdsa, 47777},
		{"verify-p256", ecdsa, 18693},
		{"sign-ed25519", eddsa, 24836},
	} {
		if got, err := opensslRows[c.operation].rate(c.out); err != nil || got != c.want {
			t.Errorf("%s: %v, %v; want %v", c.operation, got, err, c.want)
		}
	}
	for _, out := range []string{"", "+F:25:AES\n", "+F:25:AES-256-GCM:fast\n", "+F:25:AES-256-GCM:0\n"} {
		if got, err := opensslRows["aes-gcm-1k"].rate(out); err == nil {
			t.Errorf("%q was taken for %v", out, got)
		}
	}
}

// TestBenchOpenSSLRowsAreOperations: a name that the host does not know would never be asked for.
func TestBenchOpenSSLRowsAreOperations(t *testing.T) {
	list, err := benchOperations(t.Context(), harness.Bench(t))
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, op := range list {
		known[op.Name] = true
	}
	for name := range opensslRows {
		if !known[name] {
			t.Errorf("there is no operation %s", name)
		}
	}
}

// softokn is where Debian's libnss3 has NSS's module.
func softokn(t *testing.T) string {
	t.Helper()
	found, _ := filepath.Glob("/usr/lib/*/libsoftokn3.so")
	if len(found) == 0 {
		t.Fatal("NSS's libsoftokn3.so is not on this machine: make deps-test installs it")
	}
	return found[0]
}

// TestBenchMeasuresNSSAndOpenSSL: NSS gets a token of its own, and `openssl speed` is no module.
func TestBenchMeasuresNSSAndOpenSSL(t *testing.T) {
	if _, err := exec.LookPath(opensslName); err != nil {
		t.Fatal("openssl is not on this machine: make deps-test installs it")
	}
	out, err := runBench(t, t.Context(), harness.Bench(t), "--quick", "--seconds", "0.002",
		"--operations", "sha256-1k,session,create-token", "--module", softokn(t), "--openssl")
	if err != nil {
		t.Fatal(err)
	}
	r := parseReport(t, out)
	if r.Modules[0].Name != "NSS" || r.Modules[1].Name != "openssl speed" || !strings.HasPrefix(r.Modules[1].Version, "3.") {
		t.Errorf("modules: %+v, %+v", r.Modules[0], r.Modules[1])
	}
	for _, res := range r.Results {
		if f := res.Modules[0]; f.failed() || f.Rate <= 0 {
			t.Errorf("NSS, %s: %+v", res.Operation, f)
		}
		f := res.Modules[1]
		if has := res.Operation == "sha256-1k"; has != !f.failed() || has && (f.Rate < 1000 || f.Ratio == nil) {
			t.Errorf("openssl speed, %s: %+v", res.Operation, f)
		}
	}
}
