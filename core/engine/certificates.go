package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/coffer-hsm/coffer/core/object"
	"github.com/coffer-hsm/coffer/core/store"
	"github.com/coffer-hsm/coffer/core/vault"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// The promise of the profile Public Certificates Token (PKCS#11 Profiles v3.2, section 5.5): every certificate on the token
// is found without a login, it has the CKA_ID of its private key if that is here too, and then one of its keys, the public
// one or a private key that is no private object, is found by that CKA_ID without a login.
//
// The token makes it where its policy says so, and changes that would break it are refused there. Elsewhere it is not made:
// NSS's pk12util does not log in to a token that makes it, and then cannot export what it has found.
//
// Whether the token keeps it stands in a record, because who has not logged in cannot see it in the private objects, and
// because others may use the token without the policy. Each change that bears on it writes the record too, and on the condition
// that it is as it was looked at: of two that go together only badly, the second looks again. Who has not the policy looks at
// nothing, and ends what was kept, until a login under the policy finds that all is well.

const certificatesKey = "certificates"

var certificatesLabel = vault.Label{Kind: "certificates", ID: certificatesKey, Version: 1}

// The record's one byte.
const (
	promiseBroken = 0 // or nobody has looked since it was
	promiseKept   = 1
)

// promise is the record as a view has it.
type promise struct {
	kept     bool
	revision int64 // 0: there is no record
}

func (e *Engine) openPromise(v *view, ev store.Event) promise {
	if ev.Deleted {
		return promise{}
	}
	var value []byte
	var err error
	if e.node != nil {
		value, err = e.node.cluster.Open(certificatesLabel, ev.Value)
	} else {
		value, err = vault.Unstamp(ev.Value)
	}
	if err == nil && (len(value) != 1 || value[0] > promiseKept) {
		err = fmt.Errorf("it is not one of the values that there are")
	}
	if err != nil {
		e.log(fmt.Errorf("%w: the record on the token's certificates: %w", store.ErrDamaged, err))
		return promise{revision: ev.Modified}
	}
	return promise{value[0] == promiseKept && ev.Modified >= v.tokenRevision, ev.Modified}
}

func (e *Engine) sealPromise(kept bool) (store.Op, error) {
	if e.node != nil {
		return e.node.sealPromise(kept)
	}
	return store.Op{Key: certificatesKey, Value: vault.Stamp(promiseValue(kept))}, nil
}

func (n *node) sealPromise(kept bool) (store.Op, error) {
	sealed, err := n.cluster.Seal(certificatesLabel, promiseValue(kept))
	return store.Op{Key: certificatesKey, Value: sealed}, err
}

func promiseValue(kept bool) []byte { return []byte{pick[byte](kept, promiseKept, promiseBroken)} }

// publicCertificates reports whether the token makes the promise and keeps it.
func (e *Engine) publicCertificates() bool {
	v := e.view.Load()
	return e.opts.Policy.PublicCertificates && v != nil && v.promise.kept
}

// readCertificate takes the subject and the SubjectPublicKeyInfo out of an X.509 certificate (RFC 5280, section 4.1). It is
// not crypto/x509's reading, for that one refuses the curves and algorithms that it does not know.
func readCertificate(der []byte) (subject, info []byte, ok bool) {
	version := asn1.Tag(0).Constructed().ContextSpecific()
	input := cryptobyte.String(der)
	var cert, tbs, element cryptobyte.String
	ok = input.ReadASN1(&cert, asn1.SEQUENCE) && cert.ReadASN1(&tbs, asn1.SEQUENCE) &&
		tbs.SkipOptionalASN1(version) && tbs.SkipASN1(asn1.INTEGER) &&
		tbs.SkipASN1(asn1.SEQUENCE) && // signature
		tbs.SkipASN1(asn1.SEQUENCE) && // issuer
		tbs.SkipASN1(asn1.SEQUENCE) && // validity
		tbs.ReadASN1Element(&element, asn1.SEQUENCE)
	subject = element
	ok = ok && tbs.ReadASN1Element(&element, asn1.SEQUENCE)
	return bytes.Clone(subject), bytes.Clone(element), ok
}

// change is what becomes of one token object.
type change struct {
	before, after *object.Object // nil before: it is new; nil after: it is destroyed
	ours          bool           // a key that was generated just now, of which nobody can have a certificate
}

// bears reports whether a change can make or break a pair of a certificate and a key.
func (c change) bears() bool {
	head := c.before
	if head == nil {
		head = c.after
	}
	moved := c.before == nil || c.after == nil || !bytes.Equal(c.before.Bytes(pkcs11.CKA_ID), c.after.Bytes(pkcs11.CKA_ID))
	switch head.Class() {
	case pkcs11.CKO_CERTIFICATE:
		return c.after != nil && moved
	case pkcs11.CKO_PRIVATE_KEY:
		if c.after == nil { // by it the certificate may have been found
			return !c.before.Private()
		}
		return moved && !c.ours
	case pkcs11.CKO_PUBLIC_KEY:
		return c.before != nil && moved && !c.before.Private()
	}
	return false
}

// promised is what a commit of changes needs besides, with the view that it is made under: the record, and the condition on
// it. Its error is the policy's, for changes that would break the promise.
func (e *Engine) promised(v *view, changes ...change) (cmps []store.Compare, ops []store.Op, err error) {
	strict := e.opts.Policy.PublicCertificates
	if !slices.ContainsFunc(changes, change.bears) {
		return nil, nil, nil
	}
	cmps = []store.Compare{{Key: certificatesKey, Modified: v.promise.revision}}
	if !strict && !v.promise.kept {
		return cmps, nil, nil // unless somebody has found it kept meanwhile
	}
	if strict {
		if err := e.breaks(changes); err != nil {
			return nil, nil, err
		}
	}
	op, err := e.sealPromise(strict && v.promise.kept)
	return cmps, []store.Op{op}, err
}

// breaks says how the promise would be broken: by a private certificate, or in the families of the public keys that changes
// are about. The caller does not hold mu.
func (e *Engine) breaks(changes []change) error {
	infos := map[string]bool{}
	for _, c := range changes {
		if !c.bears() {
			continue
		}
		if c.after != nil && c.after.Class() == pkcs11.CKO_CERTIFICATE && c.after.Private() {
			return pkcs11.Errorf(pkcs11.CKR_TEMPLATE_INCONSISTENT, "CKA_PRIVATE is true, and the token's policy has it that certificates are public")
		}
		for _, o := range []*object.Object{c.before, c.after} {
			if o != nil {
				infos[string(o.Bytes(pkcs11.CKA_PUBLIC_KEY_INFO))] = true
			}
		}
	}
	delete(infos, "")
	if len(infos) == 0 {
		return nil
	}
	e.mu.Lock() // nobody is logging in or out at this moment: all private objects are there, or none
	defer e.mu.Unlock()
	families := e.families(infos, changes)
	if len(families) == 0 {
		return nil
	}
	if e.private.Load() == nil {
		return pkcs11.Errorf(pkcs11.CKR_USER_NOT_LOGGED_IN, "whether the certificate's private key is here shows to a user who has logged in, and the token's policy wants to know")
	}
	for _, f := range families {
		if err := f.fits(); err != nil {
			return err
		}
	}
	return nil
}

// family is what there is on the token of one public key that has a certificate here.
type family struct{ certificates, private, public []*object.Object }

// fits reports whether certificates and keys are found by each other.
func (f *family) fits() error {
	for _, cert := range f.certificates {
		id := cert.Bytes(pkcs11.CKA_ID)
		for _, key := range f.private {
			if !bytes.Equal(key.Bytes(pkcs11.CKA_ID), id) || len(id) == 0 {
				return pkcs11.Errorf(pkcs11.CKR_TEMPLATE_INCONSISTENT, "CKA_ID of a certificate is %x and of its private key %x: the token's policy wants both to have the same", id, key.Bytes(pkcs11.CKA_ID))
			}
		}
		if len(f.private) > 0 && !found(f.public, id) && !found(f.private, id) {
			return pkcs11.Errorf(pkcs11.CKR_TEMPLATE_INCONSISTENT, "the token's policy wants the public key of a certificate whose private key is here to be here as well, a public object with CKA_ID %x", id)
		}
	}
	return nil
}

// found reports whether one of the keys is found by a CKA_ID without a login.
func found(keys []*object.Object, id []byte) bool {
	for _, k := range keys {
		if !k.Private() && bytes.Equal(k.Bytes(pkcs11.CKA_ID), id) {
			return true
		}
	}
	return false
}

// families are those of the public keys infos that have a certificate, or of all that have one where infos is nil, as they
// will be after changes.
func (e *Engine) families(infos map[string]bool, changes []change) map[string]*family {
	all := map[string]*family{}
	e.eachHead(pkcs11.CKO_CERTIFICATE, changes, func(o *object.Object) {
		info := o.Bytes(pkcs11.CKA_PUBLIC_KEY_INFO)
		if len(info) == 0 || infos != nil && !infos[string(info)] {
			return
		}
		f := all[string(info)]
		if f == nil {
			f = &family{}
			all[string(info)] = f
		}
		f.certificates = append(f.certificates, o)
	})
	if len(all) == 0 {
		return nil
	}
	e.eachHead(pkcs11.CKO_PRIVATE_KEY, changes, func(o *object.Object) {
		if f := all[string(o.Bytes(pkcs11.CKA_PUBLIC_KEY_INFO))]; f != nil {
			f.private = append(f.private, o)
		}
	})
	e.eachHead(pkcs11.CKO_PUBLIC_KEY, changes, func(o *object.Object) {
		if f := all[string(o.Bytes(pkcs11.CKA_PUBLIC_KEY_INFO))]; f != nil {
			f.public = append(f.public, o)
		}
	})
	return all
}

// eachHead shows the token objects of a class as they will be after changes.
func (e *Engine) eachHead(class pkcs11.ObjectClass, changes []change, see func(*object.Object)) {
	gone := map[string]bool{}
	for _, c := range changes {
		if c.before != nil {
			gone[c.before.ID()] = true
		}
		if c.after != nil && c.after.Class() == class {
			see(c.after)
		}
	}
	for _, n := range e.objects.Candidates(pkcs11.Template{pkcs11.AttrUlong(pkcs11.CKA_CLASS, class)}) {
		if v := n.current.Load(); v != nil && !gone[n.id] { // the head outlives its version
			see(v.head)
		}
	}
}

// review looks, under the policy, whether the token keeps the promise again, or for the first time, once private objects are
// to be seen. That it cannot be written down is no fault of the login that has led here.
func (e *Engine) review(ctx context.Context) {
	v, err := e.now()
	o := e.open.Load()
	if !e.opts.Policy.PublicCertificates || err != nil || v.promise.kept || v.header.dormant || o == nil || o.store.ReadOnly() || e.private.Load() == nil {
		return
	}
	at := e.objectsAt.Load()
	if at != 0 && e.reviewed.Load() == at || e.anyBreaks() {
		e.reviewed.Store(at)
		return
	}
	err = e.writePromise(ctx, v, true)
	if v, again := e.now(); err == nil && again == nil && e.anyBreaks() { // what somebody has done without the policy meanwhile
		err = e.writePromise(ctx, v, false)
	}
	if err != nil && !errors.Is(err, store.ErrConflict) { // who logs in at the same time looks, too
		e.log(fmt.Errorf("whether all certificates are public could not be written down: %w", err))
	}
}

func (e *Engine) writePromise(ctx context.Context, v *view, kept bool) error {
	op, err := e.sealPromise(kept)
	if err != nil {
		return err
	}
	return e.commit(ctx, nil, doIt, v, []store.Compare{{Key: certificatesKey, Modified: v.promise.revision}}, []store.Op{op})
}

// anyBreaks reports whether the token breaks the promise as it is.
func (e *Engine) anyBreaks() bool {
	e.mu.Lock() // as in breaks
	defer e.mu.Unlock()
	private := false
	e.eachHead(pkcs11.CKO_CERTIFICATE, nil, func(o *object.Object) { private = private || o.Private() })
	if private {
		return true
	}
	for _, f := range e.families(nil, nil) {
		if f.fits() != nil {
			return true
		}
	}
	return false
}
