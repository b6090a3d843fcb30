package main

import (
	"context"
	"crypto/fips140"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/coffer-hsm/coffer/core/config"
	"github.com/coffer-hsm/coffer/pkcs11"
	"github.com/spf13/cobra"
)

// verdict is what a check says.
type verdict string

// The verdicts.
const (
	verdictOK   verdict = "ok"
	verdictWarn verdict = "warn"
	verdictFail verdict = "fail"
)

// finding is one line of the doctor's report.
type finding struct {
	Check   string  `json:"check"`
	Slot    *uint   `json:"slot,omitempty"`
	Verdict verdict `json:"verdict"`
	Text    string  `json:"text"`
	Hint    string  `json:"hint,omitempty"`
}

// doctor looks at a set-up and gathers findings. It changes nothing and needs no PIN.
type doctor struct {
	app      *app
	findings []finding
	slot     *uint
}

func (d *doctor) say(check string, v verdict, text, hint string) {
	d.findings = append(d.findings, finding{check, d.slot, v, text, hint})
}

func (a *app) doctorCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: "Tell what is wrong with this set-up",
		Long: `Checks the configuration, each slot's file, the state of its token and of the PINs, the room on the disk, and whether the
library is installed. It changes nothing and needs no PIN. The exit code is 1 where a check fails; warnings do not count.`,
		Example: "  coffer doctor\n  coffer doctor --slot 2 --output json",
		Args:    arguments(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			d := &doctor{app: a}
			d.all(cmd.Context())
			failures, warnings := 0, 0
			for _, f := range d.findings {
				switch f.Verdict {
				case verdictFail:
					failures++
				case verdictWarn:
					warnings++
				}
			}
			err := a.emit(map[string]any{"healthy": failures == 0, "findings": d.findings}, func(w io.Writer) {
				for _, f := range d.findings {
					where := f.Check
					if f.Slot != nil {
						where = fmt.Sprintf("slot %d %s", *f.Slot, f.Check)
					}
					fmt.Fprintf(w, "%-4s  %s: %s\n", f.Verdict, where, printable(f.Text))
					if f.Hint != "" {
						fmt.Fprintf(w, "      %s\n", f.Hint)
					}
				}
			})
			if err == nil && failures > 0 {
				err = failed("%d of %d checks failed", "the report says for each what to do", failures, len(d.findings))
			}
			return err
		},
	}
}

func (d *doctor) all(ctx context.Context) {
	c := d.configuration()
	d.library()
	if c == nil {
		return
	}
	for _, slot := range c.Slots {
		if d.app.slotGiven && slot.ID != d.app.slotID {
			continue
		}
		d.slot = &slot.ID
		d.token(ctx, slot)
	}
	d.slot = nil
}

func (d *doctor) configuration() *config.Config {
	c, err := d.app.settings()
	if err != nil {
		p := explain(err)
		d.say("configuration", verdictFail, p.text, p.hint)
		return nil
	}
	switch {
	case c.Source == "":
		d.say("configuration", verdictOK, fmt.Sprintf("there is no file; the default is one slot, its token in %s", c.Slots[0].Place()), "")
	default:
		d.say("configuration", verdictOK, fmt.Sprintf("%s, %s", c.Source, count(len(c.Slots), "slot")), "")
		d.writableByOthers(c.Source)
	}
	if _, ok := c.Slot(d.app.slotID); d.app.slotGiven && !ok {
		d.say("configuration", verdictFail, fmt.Sprintf("there is no slot %d", d.app.slotID), "coffer token list shows the slots")
	}
	return c
}

// writableByOthers warns of a configuration that somebody else can point to another token.
func (d *doctor) writableByOthers(path string) {
	if info, err := os.Stat(path); err == nil && info.Mode().Perm()&0o022 != 0 {
		d.say("configuration", verdictWarn, fmt.Sprintf("others may change it (mode %04o)", info.Mode().Perm()), "chmod go-w "+path)
	}
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// libraryName is the file that applications load.
const libraryName = "libcoffer_pkcs11.so"

// libraryDirs is where installations put it; %s is the directory of this program.
var libraryDirs = []string{
	"%s", "%s/../lib", "%s/../lib/pkcs11", "%s/../lib/coffer",
	"/usr/local/lib", "/usr/local/lib/pkcs11", "/usr/lib/pkcs11", "/usr/lib64/pkcs11", "/usr/lib", "/usr/lib64",
	"/usr/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu/pkcs11", "/usr/lib/aarch64-linux-gnu", "/usr/lib/aarch64-linux-gnu/pkcs11",
}

func (d *doctor) library() {
	if path, ok := installedLibrary(); ok {
		d.say("library", verdictOK, path, "")
		return
	}
	d.say("library", verdictWarn, libraryName+" is not where libraries usually are",
		"applications need its full path; this command works without it")
}

// installedLibrary finds the library: beside this program, where installations put it for the program's place, or where
// systems have libraries.
func installedLibrary() (path string, ok bool) {
	self, err := os.Executable()
	if err == nil {
		self, err = filepath.EvalSymlinks(self)
	}
	for _, dir := range libraryDirs {
		if len(dir) > 1 && dir[:2] == "%s" {
			if err != nil {
				continue
			}
			dir = filepath.Dir(self) + dir[2:]
		}
		path := filepath.Join(dir, libraryName)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			return path, true
		}
	}
	return "", false
}

// token checks what is in a slot.
func (d *doctor) token(ctx context.Context, slot config.Slot) {
	if slot.Remote() {
		d.remote(ctx, slot)
		return
	}
	d.policy(slot)
	info, err := os.Stat(slot.Path)
	if errors.Is(err, fs.ErrNotExist) {
		d.say("file", verdictWarn, "there is no token yet: "+slot.Path, fmt.Sprintf("make one: coffer token init --slot %d --label NAME", slot.ID))
		d.room(slot.Path)
		return
	}
	if err != nil {
		d.say("file", verdictFail, err.Error(), "check the permissions of the directories above it")
		return
	}
	if !info.Mode().IsRegular() {
		d.say("file", verdictFail, slot.Path+" is not a regular file", "correct the path in the configuration")
		return
	}
	d.say("file", verdictOK, slot.Path, "")
	d.permissions(slot.Path, info)
	readable := d.format(slot.Path)
	d.room(slot.Path)
	if readable {
		d.state(ctx, slot)
	}
}

// policy says what the slot's policy has decided, and whether this process can keep it.
func (d *doctor) policy(slot config.Slot) {
	text := strings.Join(slot.Policy.Words(), "; ")
	if slot.Policy.FIPS && !fips140.Enabled() {
		d.say("policy", verdictFail, text+"; this process is not in FIPS mode", "set GODEBUG=fips140=on for each program that uses the slot, or use what `make fips` builds")
		return
	}
	d.say("policy", verdictOK, text, "")
}

// state asks the token itself.
func (d *doctor) state(ctx context.Context, slot config.Slot) {
	info, err := d.app.tokenInfo(ctx, slot)
	if err != nil {
		p := explain(err)
		d.say("token", verdictFail, p.text, p.hint)
		return
	}
	at := fmt.Sprintf("--slot %d", slot.ID)
	if info.Flags&pkcs11.CKF_TOKEN_INITIALIZED == 0 {
		d.say("token", verdictWarn, "it is not initialised", "coffer token init --label NAME "+at)
		return
	}
	d.say("token", verdictOK, fmt.Sprintf("initialised, label %q", info.Label), "")
	for _, r := range []struct {
		is    bool
		check string
		v     verdict
		text  string
		hint  string
	}{
		{info.Flags&pkcs11.CKF_WRITE_PROTECTED != 0, "token", verdictWarn, "it can be read but not changed", "check the permissions of the file and its directory"},
		{info.Flags&pkcs11.CKF_USER_PIN_INITIALIZED == 0, "user PIN", verdictWarn, "it is not set", "coffer pin reset " + at},
		{info.Flags&pkcs11.CKF_USER_PIN_LOCKED != 0, "user PIN", verdictFail, "it is locked", "coffer pin unlock " + at},
		{info.Flags&pkcs11.CKF_USER_PIN_FINAL_TRY != 0, "user PIN", verdictWarn, "one more wrong PIN locks it", "the right PIN sets the count back"},
		{info.Flags&pkcs11.CKF_USER_PIN_COUNT_LOW != 0, "user PIN", verdictWarn, "some wrong PINs were given", "the right PIN sets the count back"},
		{info.Flags&pkcs11.CKF_USER_PIN_INITIALIZED != 0, "user PIN", verdictOK, "it is set", ""},
	} {
		if r.is {
			d.say(r.check, r.v, r.text, r.hint)
			if r.check == "user PIN" {
				break
			}
		}
	}
	if info.Flags&pkcs11.CKF_SO_PIN_LOCKED != 0 {
		d.say("SO PIN", verdictWarn, "it is locked", "nobody can unlock it; the user's keys go on working")
	}
}
