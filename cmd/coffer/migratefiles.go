package main

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"syscall"

	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/core/secret"
	"github.com/coffer-hsm/coffer/core/softhsm"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// source is a token that keys come from. Nothing is ever changed there.
type source interface {
	// title names it in sentences.
	title() string
	// login opens it for its user.
	login(pin *secret.Bytes) error
	// objects lists all that is there, without key material.
	objects() ([]*foreign, error)
	// material gives out the secret part of a key, for the caller to wipe; errKept where the source keeps it.
	material(f *foreign) (pkcs11.Template, error)
	// use has the source encrypt or sign with a key; errKept where it does not.
	use(f *foreign, kind hsm.OpKind, m pkcs11.MechanismType, data []byte) ([]byte, error)
	// wrap lets a key leave the source under another one; errKept where it does not. The new object comes back.
	wrap(ctx context.Context, t *token, f *foreign, template pkcs11.Template) (ref hsm.Object, way string, err error)
	close()
}

var errKept = errors.New("the source does not give that out")

// fromChoice says which of a source's tokens is meant.
type fromChoice struct {
	label     string
	slot      uint
	slotGiven bool
}

func (c fromChoice) fits(label string, slot uint) bool {
	return (c.label == "" || c.label == label) && (!c.slotGiven || c.slot == slot)
}

// choose takes the one token that fits. labels are those of all tokens, for the hint.
func (c fromChoice) choose(where string, found int, labels []string) error {
	for i, l := range labels {
		labels[i] = `"` + printable(l) + `"`
	}
	there := "none"
	if len(labels) > 0 {
		there = strings.Join(labels, ", ")
	}
	switch {
	case found == 0 && len(labels) == 0:
		return notFound("%s has no token", "check the path, and the module's own configuration", where)
	case found == 0:
		return notFound("%s has no such token", "check --from-token and --from-slot; there are: "+there, where)
	case found > 1:
		return usage("%s has %d tokens that it could be", "say which with --from-token or --from-slot; there are: "+there, where, found)
	}
	return nil
}

// softFiles is a token of SoftHSM2, read from its files.
type softFiles struct{ *softhsm.Token }

func openSoftHSM(dir string, choice fromChoice) (source, error) {
	tokens, unreadable, err := softhsm.Tokens(dir)
	if err != nil {
		return nil, softProblem(dir, err)
	}
	var found []*softhsm.Token
	var labels []string
	for _, t := range tokens {
		labels = append(labels, t.Label)
		if slot, _ := t.Slot(); choice.fits(t.Label, slot) {
			found = append(found, t)
		}
	}
	if len(found) == 0 && len(unreadable) > 0 {
		return nil, softProblem(dir, unreadable[0].Err) // it could be the one
	}
	if err := choice.choose(dir, len(found), labels); err != nil {
		return nil, err
	}
	return &softFiles{found[0]}, nil
}

// softProblem says in words what package softhsm found.
func softProblem(where string, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return notFound("there is no directory %s", "give the directory of directories.tokendir in softhsm2.conf, or that of one token", where)
	case errors.Is(err, softhsm.ErrNoToken):
		return notFound("there is no SoftHSM2 token in %s", "give the directory of directories.tokendir in softhsm2.conf, or that of one token", where)
	case errors.Is(err, syscall.ENOTDIR):
		return usage("%s is not a directory", "give the directory of directories.tokendir in softhsm2.conf, or that of one token", where)
	case errors.Is(err, softhsm.ErrDatabase):
		return failed("the token in %s is in an SQLite database, which is not read", "move its keys through the library: --from-module /usr/lib/softhsm/libsofthsm2.so", where)
	case errors.Is(err, softhsm.ErrNoPIN):
		return noPIN("the source token has no user PIN", "its keys cannot be opened by anyone before softhsm2-util has set one")
	case errors.Is(err, softhsm.ErrPIN):
		return noPIN("the source token's user PIN is wrong", "no try is counted when files are read")
	case errors.Is(err, softhsm.ErrDamaged):
		return failed("%v", "bring the file back from a backup; what is not damaged can be moved", err)
	case errors.Is(err, softhsm.ErrLocked):
		return failed("%v", "see who has it open (fuser FILE), and run this again", err)
	case errors.Is(err, softhsm.ErrTooMuch):
		return failed("%v", "move its keys through the library: --from-module /usr/lib/softhsm/libsofthsm2.so", err)
	case errors.Is(err, fs.ErrPermission):
		return failed("%v", "run this as the user whose token it is, or as root", err)
	}
	return err
}

func (s *softFiles) title() string { return `SoftHSM2 token "` + printable(s.Label) + `"` }

func (s *softFiles) login(pin *secret.Bytes) error {
	if err := s.Login(pin); err != nil {
		return softProblem(s.Dir, err)
	}
	return nil
}

func (s *softFiles) objects() ([]*foreign, error) {
	objects, damaged, err := s.Objects()
	if err != nil {
		return nil, softProblem(s.Dir, err)
	}
	var out []*foreign
	for _, d := range damaged {
		out = append(out, &foreign{name: d.File, fault: softProblem(d.File, d.Err)})
	}
	for _, o := range objects {
		f := &foreign{at: o, name: o.File}
		if f.attrs, err = readSoft(o, []pkcs11.AttributeType{pkcs11.CKA_CLASS}); err == nil {
			if c := carriedOf(f.class()); c != nil {
				var more pkcs11.Template
				more, err = readSoft(o, c.public())
				f.attrs = append(f.attrs, more...)
			}
		}
		if err != nil {
			f.attrs, f.fault = nil, softProblem(o.File, err)
		}
		out = append(out, f)
	}
	return out, nil
}

// readSoft reads attributes; those that the object does not have are left out.
func readSoft(o *softhsm.Object, types []pkcs11.AttributeType) (pkcs11.Template, error) {
	var tm pkcs11.Template
	for _, t := range types {
		v, err := o.Attribute(t)
		if err != nil {
			wipe(tm)
			return nil, err
		}
		if v != nil {
			tm = append(tm, pkcs11.Attribute{Type: t, Value: v})
		}
	}
	return tm, nil
}

func (s *softFiles) material(f *foreign) (pkcs11.Template, error) {
	tm, err := readSoft(f.at.(*softhsm.Object), carriedOf(f.class()).secret)
	if err != nil {
		return nil, softProblem(f.name, err)
	}
	for i := len(tm) - 1; i >= 0; i-- {
		if void(tm[i].Type, tm[i].Value) {
			tm = append(tm[:i], tm[i+1:]...)
		}
	}
	if len(tm) == 0 {
		return nil, failed("%s has no value", "SoftHSM2 leaves such objects behind when making a key fails", f)
	}
	// Nothing else shows whether a secret key's file was changed.
	written, value := f.attrs.Bytes(pkcs11.CKA_CHECK_VALUE), tm.Bytes(pkcs11.CKA_VALUE)
	if computed := checkValue(f.keyType(), value); f.class() == pkcs11.CKO_SECRET_KEY && len(written) == 3 && computed != nil && !sameSecret(computed, written) {
		wipe(tm)
		return nil, failed("%s: the value of %s does not have the check value that is written beside it", "the file is damaged: bring it back from a backup",
			f.name, f)
	}
	return tm, nil
}

func (*softFiles) use(*foreign, hsm.OpKind, pkcs11.MechanismType, []byte) ([]byte, error) {
	return nil, errKept
}

func (*softFiles) wrap(context.Context, *token, *foreign, pkcs11.Template) (hsm.Object, string, error) {
	return nil, "", errKept
}

func (s *softFiles) close() { s.Close() }
