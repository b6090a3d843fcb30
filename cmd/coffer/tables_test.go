package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/pkcs11"
	"github.com/spf13/cobra"
)

// everyCommand walks the tree of commands.
func everyCommand(cmd *cobra.Command, visit func(*cobra.Command)) {
	visit(cmd)
	for _, c := range cmd.Commands() {
		everyCommand(c, visit)
	}
}

func TestEveryCommandTeaches(t *testing.T) {
	a := newApp(nil, io.Discard, io.Discard, func(string) string { return "" })
	everyCommand(a.rootCommand(), func(cmd *cobra.Command) {
		if cmd.Short == "" {
			t.Errorf("%s has no short help", cmd.CommandPath())
		}
		if !cmd.HasSubCommands() && !strings.Contains(cmd.Example, cmd.CommandPath()) {
			t.Errorf("%s has no example of itself", cmd.CommandPath())
		}
	})
}

func TestNoFlagTakesASecret(t *testing.T) {
	a := newApp(nil, io.Discard, io.Discard, func(string) string { return "" })
	everyCommand(a.rootCommand(), func(cmd *cobra.Command) {
		for _, name := range []string{"pin", "so-pin", "new-pin", "from-pin", "password", "passphrase"} {
			if cmd.Flags().Lookup(name) != nil || cmd.PersistentFlags().Lookup(name) != nil {
				t.Errorf("%s has the flag --%s", cmd.CommandPath(), name)
			}
		}
	})
}

func TestAnswersAreSentences(t *testing.T) {
	for _, rows := range []map[pkcs11.RV]answer{answers, soAnswers} {
		for rv, r := range rows {
			if r.text == "" || strings.HasSuffix(r.text, ".") || strings.HasSuffix(r.hint, ".") {
				t.Errorf("%v: %q, %q", rv, r.text, r.hint)
			}
			if r.code == exitOK {
				t.Errorf("%v exits with 0", rv)
			}
		}
	}
}

func TestExplain(t *testing.T) {
	locked := pkcs11.Errorf(pkcs11.CKR_PIN_LOCKED, "10 wrong PINs in a row")
	for _, c := range []struct {
		name string
		err  error
		code exitCode
		rv   pkcs11.RV
		text string
	}{
		{"plain return value", pkcs11.CKR_TOKEN_NOT_PRESENT, exitNotFound, pkcs11.CKR_TOKEN_NOT_PRESENT, "there is no token in this slot"},
		{"with facts", locked, exitPIN, pkcs11.CKR_PIN_LOCKED, "the user PIN is locked: 10 wrong PINs in a row"},
		{"of the SO", &loginError{pkcs11.CKU_SO, locked}, exitPIN, pkcs11.CKR_PIN_LOCKED, "the security officer's PIN is locked: 10 wrong PINs in a row"},
		{"of the user", &loginError{pkcs11.CKU_USER, locked}, exitPIN, pkcs11.CKR_PIN_LOCKED, "the user PIN is locked: 10 wrong PINs in a row"},
		{"wrapped", fmt.Errorf("x: %w", pkcs11.CKR_SIGNATURE_INVALID), exitInvalid, pkcs11.CKR_SIGNATURE_INVALID, "the signature is NOT valid"},
		{"not in the table", pkcs11.CKR_MUTEX_BAD, exitFailed, pkcs11.CKR_MUTEX_BAD, "the token refused"},
		{"no such file", &os.PathError{Op: "open", Path: "x", Err: os.ErrNotExist}, exitNotFound, pkcs11.CKR_OK, "open x: file does not exist"},
		{"anything", errors.New("boom"), exitFailed, pkcs11.CKR_OK, "boom"},
	} {
		p := explain(c.err)
		if p.code != c.code || p.rv != c.rv || p.text != c.text {
			t.Errorf("%s: %d %v %q", c.name, p.code, p.rv, p.text)
		}
	}
}

func TestKeySpecs(t *testing.T) {
	for _, good := range []string{"rsa:2048", "rsa:3072", "rsa:4096", "ec:p256", "ec:p384", "ec:p521", "ec:secp256k1", "ec:brainpoolP384r1", "ed25519", "x25519", "ed448", "x448", "dh:3072", "aes:128", "aes:256", "hmac:256", "generic:8"} {
		if s, err := parseKeySpec(good); err != nil || s.full != good {
			t.Errorf("%s: %v", good, err)
		}
	}
	for _, bad := range []string{"", "rsa", "rsa:", "rsa:1024", "ec", "ec:p224", "ed25519:1", "aes:512", "hmac", "hmac:0", "hmac:12", "hmac:-8", "hmac:99999", "des"} {
		if _, err := parseKeySpec(bad); err == nil {
			t.Errorf("%q is accepted", bad)
		} else if explain(err).code != exitUsage {
			t.Errorf("%q: exit code %d", bad, explain(err).code)
		}
	}
}

func TestMechanismNames(t *testing.T) {
	for _, name := range []string{"CKM_SHA256_RSA_PKCS_PSS", "sha256-rsa-pkcs-pss", "SHA256_RSA_PKCS_PSS"} {
		if m, err := parseMechanism(name); err != nil || m != pkcs11.CKM_SHA256_RSA_PKCS_PSS {
			t.Errorf("%s: %v %v", name, m, err)
		}
	}
	if _, err := parseMechanism("nonsense"); err == nil {
		t.Error("nonsense is a mechanism")
	}
}

func TestUsualMechanismsNeedNoHelp(t *testing.T) {
	for _, u := range usual {
		if _, err := parameterOf(u.m, "SHA256", make([]byte, ivLen(u.m))); err != nil {
			t.Errorf("%v: %v", u.m, err)
		}
		m, err := chooseMechanism("", object{attrs: pkcs11.Template{pkcs11.AttrUlong(pkcs11.CKA_KEY_TYPE, u.key)}}, u.kind)
		if err != nil || m != u.m {
			t.Errorf("%v to %v: %v %v", u.key, u.kind, m, err)
		}
	}
}

func TestPSSParameters(t *testing.T) {
	m, err := parameterOf(pkcs11.CKM_SHA384_RSA_PKCS_PSS, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	want := pkcs11.PSSParams{HashAlg: pkcs11.CKM_SHA384, MGF: pkcs11.CKG_MGF1_SHA384, SaltLen: 48}
	if got := *m.Params.(*pkcs11.PSSParams); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if _, err := parameterOf(pkcs11.CKM_RSA_PKCS_PSS, "SHA256", nil); err == nil {
		t.Error("PSS without a hash is accepted")
	}
}

func TestECDSAForms(t *testing.T) {
	raw := append(bytes.Repeat([]byte{0}, 31), 0x80) // r = 128: DER needs a leading zero, and drops 31
	raw = append(raw, bytes.Repeat([]byte{0xff}, 32)...)
	der, err := rawToDER(raw)
	if err != nil {
		t.Fatal(err)
	}
	back, err := derToRaw(der, 32)
	if err != nil || !bytes.Equal(back, raw) {
		t.Errorf("%x came back as %x, error %v", raw, back, err)
	}
	for name, bad := range map[string][]byte{
		"empty": nil, "raw": raw, "cut": der[:len(der)-1], "longer": append(bytes.Clone(der), 0),
		"negative": {0x30, 6, 2, 1, 0x80, 2, 1, 1}, "one number": {0x30, 3, 2, 1, 1},
	} {
		if _, err := derToRaw(bad, 32); err == nil || explain(err).code != exitInvalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := derToRaw(der, 16); err == nil {
		t.Error("a number larger than the curve is accepted")
	}
	if _, err := rawToDER([]byte{1, 2, 3}); err == nil {
		t.Error("an odd length is accepted")
	}
}

// recorder is an operation that notes what it is fed.
type recorder struct {
	hsm.Operation
	onePart bool
	got     []byte
	updates int
}

func (r *recorder) Update(_ context.Context, dst, part []byte) ([]byte, error) {
	if r.onePart {
		return nil, pkcs11.CKR_FUNCTION_NOT_SUPPORTED
	}
	r.updates++
	r.got = append(r.got, part...)
	return dst, nil
}

func (r *recorder) Close() {}

func TestFeedGivesEveryByteOnce(t *testing.T) {
	for _, onePart := range []bool{false, true} {
		for _, n := range []int{0, 1, partSize - 1, partSize, partSize + 1, 2 * partSize, 3*partSize + 7} {
			data := make([]byte, n)
			for i := range data {
				data[i] = byte(i * 7 / 3)
			}
			begun := 0
			var op *recorder
			err := feed(t.Context(), bytes.NewReader(data), io.Discard,
				func() (hsm.Operation, error) { begun++; op = &recorder{onePart: onePart}; return op, nil },
				func(_ hsm.Operation, last []byte) error { op.got = append(op.got, last...); return nil })
			if err != nil || !bytes.Equal(op.got, data) {
				t.Errorf("%d bytes, one part %v: %d arrived, error %v", n, onePart, len(op.got), err)
			}
			if begun > 2 || begun == 2 && !onePart {
				t.Errorf("%d bytes, one part %v: begun %d times", n, onePart, begun)
			}
		}
	}
}

func TestDocumentationNamesEveryExitCodeAndCommand(t *testing.T) {
	b, err := os.ReadFile("../../docs/cli.md")
	if err != nil {
		t.Fatal(err)
	}
	doc := string(b)
	for _, e := range exitCodes {
		if row := fmt.Sprintf("| %d | %s |", e.code, e.text); !strings.Contains(doc, row) {
			t.Errorf("docs/cli.md lacks %q", row)
		}
	}
	a := newApp(nil, io.Discard, io.Discard, func(string) string { return "" })
	for _, c := range a.commands() {
		if !strings.Contains(doc, "`"+c.Name()) {
			t.Errorf("docs/cli.md lacks the command %s", c.Name())
		}
		for _, sub := range c.Commands() {
			if !strings.Contains(doc, "`"+sub.Name()+"`") && !strings.Contains(doc, "`"+c.Name()+" "+sub.Name()+"`") {
				t.Errorf("docs/cli.md lacks the command %s %s", c.Name(), sub.Name())
			}
		}
	}
	for _, k := range keyKinds {
		for _, name := range k.names() {
			if !strings.Contains(doc, "`"+name+"`") {
				t.Errorf("docs/cli.md lacks the type %s", name)
			}
		}
	}
}
