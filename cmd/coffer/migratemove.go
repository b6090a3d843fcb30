package main

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"slices"
	"strings"

	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/core/secret"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// mover brings objects from a source into a token, one after the other. Each is a change of its own: who is interrupted
// runs it again, and what is there is found.
type mover struct {
	*token
	src source
	all []*foreign // that the source has, whether or not they are wanted

	dry      bool // the new objects live in the session only, and are gone at the end
	dropWrap bool
	trusted  bool

	trust []hsm.Object // to be trusted by the security officer at the end
}

// subject is an object under way.
type subject struct {
	*foreign
	secret pkcs11.Template // key material; nil where the source keeps it
}

// wanted sorts the source's objects, and picks those that --only names with what belongs to their private keys.
func (m *mover) wanted(only []selection) []*foreign {
	rank := func(f *foreign) int {
		return slices.IndexFunc(carriedClasses, func(c carried) bool { return f.fault == nil && c.class == f.class() })
	}
	slices.SortStableFunc(m.all, func(a, b *foreign) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a.label(), b.label()), cmp.Compare(a.id(), b.id()), cmp.Compare(a.name, b.name))
	})
	if len(only) == 0 {
		return m.all
	}
	named := func(f *foreign) bool {
		return f.fault == nil && slices.ContainsFunc(only, func(s selection) bool { return s.fits(f) })
	}
	keys := map[string]bool{}
	for _, f := range m.all {
		if named(f) && f.class() == pkcs11.CKO_PRIVATE_KEY && f.id() != "" {
			keys[f.id()] = true
		}
	}
	var out []*foreign
	for _, f := range m.all {
		if named(f) || keys[f.id()] && (f.class() == pkcs11.CKO_PUBLIC_KEY || f.class() == pkcs11.CKO_CERTIFICATE) {
			out = append(out, f)
		}
	}
	return out
}

// selection is one --only.
type selection struct {
	label string
	id    string // in hex
}

func parseSelection(text string) (selection, error) {
	const hint = "such as --only label=web or --only id=0a1b"
	if label, ok := strings.CutPrefix(text, "label="); ok && label != "" {
		return selection{label: label}, nil
	}
	if id, ok := strings.CutPrefix(text, "id="); ok {
		b, err := hex.DecodeString(strings.ReplaceAll(id, ":", ""))
		if err == nil && len(b) > 0 {
			return selection{id: hex.EncodeToString(b)}, nil
		}
		return selection{}, usage("the id in --only %s is not hexadecimal", hint, text)
	}
	return selection{}, usage("--only %q is not understood", hint, text)
}

func (s selection) fits(f *foreign) bool {
	return s.label != "" && s.label == f.label() || s.id != "" && s.id == f.id()
}

// one moves an object and tells how it went.
func (m *mover) one(ctx context.Context, f *foreign) (moveRow, error) {
	row := rowOf(f)
	err := m.move(ctx, f, &row)
	if f.class() == pkcs11.CKO_DATA && f.flag(pkcs11.CKA_PRIVATE) {
		secret.Wipe(f.attrs.Bytes(pkcs11.CKA_VALUE))
	}
	if err != nil {
		row.leave(err)
	}
	if fatal(err) {
		return row, err
	}
	return row, nil
}

// fatal reports whether an error is about the token as a whole, so that the next object would meet it too.
func fatal(err error) bool {
	var rv pkcs11.RV
	if !errors.As(err, &rv) {
		rv = pkcs11.RVOf(err)
	}
	return err != nil && slices.Contains([]pkcs11.RV{pkcs11.CKR_DEVICE_ERROR, pkcs11.CKR_DEVICE_MEMORY, pkcs11.CKR_DEVICE_REMOVED,
		pkcs11.CKR_TOKEN_NOT_PRESENT, pkcs11.CKR_TOKEN_WRITE_PROTECTED, pkcs11.CKR_USER_NOT_LOGGED_IN}, rv)
}

func (m *mover) move(ctx context.Context, f *foreign, row *moveRow) error {
	if err := f.unsupported(); err != nil {
		return err
	}
	if err := m.useless(f); err != nil {
		return err
	}
	s := &subject{foreign: f}
	if len(carriedOf(f.class()).secret) > 0 {
		var err error
		if s.secret, err = m.src.material(f); err != nil && !errors.Is(err, errKept) {
			return err
		}
		defer wipe(s.secret)
	}
	if f.flag(pkcs11.CKA_TRUSTED) && !m.trusted {
		row.note("CKA_TRUSTED is not taken over: that is the security officer's to say, with --trusted")
	}
	there, proof, err := m.there(ctx, s)
	if errors.Is(err, errUnproven) {
		row.Result = resultUnproven
		row.Reason = "the token has a key with its id and label, and nothing shows whether it is the same: it was not moved"
		row.Hint = "try the token's key in its application; to move the source's all the same, give the token's another label first"
		return nil
	}
	if err != nil {
		return err
	}
	if there != nil {
		row.Result, row.Proof = resultThere, proof
		m.toTrust(f, there)
		return nil
	}
	ref, err := m.bring(ctx, s, row)
	if err != nil {
		return err
	}
	row.Result = resultMoved
	if m.dry {
		row.Result = resultWould
		defer m.Discard(ref)
	}
	switch row.Proof, err = m.prove(ctx, ref, s); {
	case errors.Is(err, errUnproven):
		row.Result = resultUnproven
		row.Reason = "nothing that the key may do and that the source shows tells whether it is the same"
		row.Hint = "try the key in its application before the source is given up"
	case errors.Is(err, errDiffers):
		const text = "the key does not do what the source's key, public key or certificate with its id does"
		if !m.dry && m.Destroy(ctx, m.cred, ref) != nil {
			return failed(text, "it could not be removed again, and is in the token with its label and id")
		}
		return failed(text, "the source has another key with that id, or a damaged one; nothing was kept of it")
	case err != nil:
		return err
	}
	m.toTrust(f, ref)
	return nil
}

// bring makes the new object: of its value, or by unwrapping.
func (m *mover) bring(ctx context.Context, s *subject, row *moveRow) (hsm.Object, error) {
	tm := s.templateOf(!m.dry)
	if m.dropWrap && s.class() == pkcs11.CKO_SECRET_KEY && s.flag(pkcs11.CKA_WRAP) &&
		(s.flag(pkcs11.CKA_ENCRYPT) || s.flag(pkcs11.CKA_DECRYPT) || s.flag(pkcs11.CKA_SIGN)) {
		tm = tm.Set(pkcs11.CKA_WRAP, false)
		row.note("CKA_WRAP was left out (--drop-wrap)")
	}
	if s.secret == nil && len(carriedOf(s.class()).secret) > 0 {
		return m.bringWrapped(ctx, s, row, tm)
	}
	if m.dry && s.class() == pkcs11.CKO_SECRET_KEY {
		tm = tm.Set(pkcs11.CKA_SENSITIVE, true) // the policy lets keys of a session that can be read do what it refuses to the token's
	}
	row.Way = "value"
	ref, err := m.Create(ctx, m.cred, slices.Concat(tm, s.valueOf(), s.secret))
	return ref, m.refused(s, err)
}

// bringWrapped unwraps a key that the source does not show. Whatever the source calls it, it is sensitive: so is the key that
// carries it, and nobody has seen its value.
func (m *mover) bringWrapped(ctx context.Context, s *subject, row *moveRow, tm pkcs11.Template) (hsm.Object, error) {
	sensitive, _ := tm.Bool(pkcs11.CKA_SENSITIVE)
	ref, way, err := m.src.wrap(ctx, m.token, s.foreign, tm.Set(pkcs11.CKA_SENSITIVE, true))
	if err != nil {
		return nil, m.refused(s, err)
	}
	row.Way = way
	if !sensitive {
		row.note("CKA_SENSITIVE is true now: the source says false, and does not show the value all the same")
	}
	return ref, nil
}

// refused adds a way out where the token's policy turned a key down.
func (m *mover) refused(s *subject, err error) error {
	if err == nil || s.class() != pkcs11.CKO_SECRET_KEY || !s.flag(pkcs11.CKA_WRAP) || pkcs11.RVOf(err) != pkcs11.CKR_TEMPLATE_INCONSISTENT {
		return err
	}
	p := *explain(err)
	p.hint = "--drop-wrap leaves CKA_WRAP out; or the token's policy can say wrap_and_decrypt = true"
	return &p
}

// there finds the same object in the token: the same id and the same value. errUnproven where nothing shows it, and the
// label is the same too: a second one would be made with every run.
func (m *mover) there(ctx context.Context, s *subject) (hsm.Object, string, error) {
	by := pkcs11.Template{pkcs11.AttrString(pkcs11.CKA_LABEL, s.label())}
	if id := s.attrs.Bytes(pkcs11.CKA_ID); len(id) > 0 {
		by = pkcs11.Template{pkcs11.Attr(pkcs11.CKA_ID, id)}
	}
	found, err := m.search(ctx, by, []pkcs11.ObjectClass{s.class()})
	if err != nil {
		return nil, "", err
	}
	var perhaps error
	for _, o := range found {
		if o.keyType() != s.keyType() {
			continue
		}
		same, proof, err := m.same(ctx, o, s)
		switch {
		case errors.Is(err, errUnproven):
			if o.label() == s.label() {
				perhaps = errUnproven
			}
		case err != nil || same:
			return o.ref, proof, err
		}
	}
	return nil, "", perhaps
}

// same compares an object of the token with one of the source. errUnproven: nothing shows whether they are the same.
func (m *mover) same(ctx context.Context, o object, s *subject) (same bool, proof string, err error) {
	switch s.class() {
	case pkcs11.CKO_PRIVATE_KEY, pkcs11.CKO_SECRET_KEY:
		if s.keyType() == pkcs11.CKK_RSA && !sameValue(o.attrs, s.attrs, []pkcs11.AttributeType{pkcs11.CKA_MODULUS}) {
			return false, "", nil
		}
		proof, err := m.prove(ctx, o.ref, s)
		if errors.Is(err, errDiffers) {
			return false, "", nil
		}
		return err == nil, proof, err
	}
	types := carriedOf(s.class()).value
	if s.class() == pkcs11.CKO_DATA {
		types = append(slices.Clip(types), pkcs11.CKA_APPLICATION, pkcs11.CKA_OBJECT_ID)
	}
	full, err := m.read(ctx, o.ref, types)
	if pkcs11.RVOf(err) == pkcs11.CKR_OBJECT_HANDLE_INVALID {
		return false, "", nil
	}
	return err == nil && sameValue(full.attrs, s.attrs, types), "", err
}

// toTrust remembers what the security officer is to trust.
func (m *mover) toTrust(f *foreign, ref hsm.Object) {
	if m.trusted && !m.dry && f.flag(pkcs11.CKA_TRUSTED) {
		m.trust = append(m.trust, ref)
	}
}

// trustAll is the security officer's part. Private objects are out of his sight.
func (m *mover) trustAll(ctx context.Context) error {
	if len(m.trust) == 0 {
		return nil
	}
	pin, err := m.app.pin(pinSO, false)
	if err != nil {
		return err
	}
	so, err := m.Login(ctx, pkcs11.CKU_SO, m.app.nameOf(pkcs11.CKU_SO), pin.Expose())
	if err != nil {
		return &loginError{pkcs11.CKU_SO, err}
	}
	defer m.Logout(ctx, so)
	for _, ref := range m.trust {
		if err := m.SetAttributes(ctx, so, ref, pkcs11.Template{pkcs11.Attr(pkcs11.CKA_TRUSTED, true)}); err != nil {
			return err
		}
	}
	return nil
}
