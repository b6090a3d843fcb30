package engine

import (
	"context"
	"crypto/fips140"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/coffer-hsm/coffer/core/object"
	"github.com/coffer-hsm/coffer/core/store"
	"github.com/coffer-hsm/coffer/core/vault"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// The objects of the token itself: what it can do, and what it is. They are made with the engine, are in no store, and look
// the same on every node and in every process of a token.
//
// Deviation: the standard has hardware features found only by who asks for their class, for the sake of programs that do
// not know them; here that holds for profiles, mechanisms and validations too.

// builtins are an engine's own objects.
type builtins struct {
	list []*entry
	byID map[string]*entry
}

// live computes an attribute of a built-in object anew each time that it is read.
type live func(ctx context.Context, e *Engine) (any, error)

// profiles are those of PKCS#11 Profiles v3.2 that tokens of this engine conform to: every one, but for Public Certificates
// Token, which is there where the policy wants certificates to be public, as long as they are (certificates.go).
//
// Not among them: HKDF TLS Token and Complete Provider.
var profiles = []pkcs11.ProfileID{pkcs11.CKP_BASELINE_PROVIDER, pkcs11.CKP_EXTENDED_PROVIDER, pkcs11.CKP_AUTHENTICATION_TOKEN,
	pkcs11.CKP_PUBLIC_CERTIFICATES_TOKEN}

// newBuiltins makes the objects of an engine whose mechanisms and policy are settled.
func newBuiltins(o *Options) (*builtins, error) {
	b := &builtins{byID: map[string]*entry{}}
	for _, f := range []struct {
		kind  pkcs11.HWFeatureType
		more  pkcs11.Template
		value live
	}{
		{pkcs11.CKH_CLOCK, nil, readClock},
		{pkcs11.CKH_MONOTONIC_COUNTER, pkcs11.Template{pkcs11.Attr(pkcs11.CKA_RESET_ON_INIT, false), pkcs11.Attr(pkcs11.CKA_HAS_RESET, false)}, readCounter},
	} {
		attrs := append(pkcs11.Template{pkcs11.AttrUlong(pkcs11.CKA_HW_FEATURE_TYPE, f.kind)}, f.more...)
		if err := b.add(pkcs11.CKO_HW_FEATURE, f.value, attrs...); err != nil {
			return nil, err
		}
	}
	for _, p := range profiles {
		if err := b.add(pkcs11.CKO_PROFILE, nil, pkcs11.AttrUlong(pkcs11.CKA_PROFILE_ID, p)); err != nil {
			return nil, err
		}
		b.list[len(b.list)-1].promise = p == pkcs11.CKP_PUBLIC_CERTIFICATES_TOKEN
	}
	for _, t := range o.Mechanisms.Types() {
		if err := b.add(pkcs11.CKO_MECHANISM, nil, pkcs11.AttrUlong(pkcs11.CKA_MECHANISM_TYPE, t)); err != nil {
			return nil, err
		}
	}
	if o.Policy.FIPS {
		if err := b.add(pkcs11.CKO_VALIDATION, nil, validation()...); err != nil {
			return nil, err
		}
	}
	return b, nil
}

func (b *builtins) add(class pkcs11.ObjectClass, value live, attrs ...pkcs11.Attribute) error {
	head, err := object.Builtin(class, attrs)
	if err != nil {
		return err
	}
	n := &entry{id: head.ID(), token: true, live: value}
	n.current.Store(newVersion(head, nil, nil))
	b.list = append(b.list, n)
	b.byID[n.id] = n
	return nil
}

// ofClass are the objects that a search may find; nil for a class that is not the token's own.
func (b *builtins) ofClass(template pkcs11.Template) []*entry {
	class, said := template.Uint(pkcs11.CKA_CLASS)
	if !said || !object.BuiltinClass(pkcs11.ObjectClass(class)) {
		return nil
	}
	return b.list
}

// ValidationFlag is CKA_VALIDATION_FLAG of the one validation that there is.
const ValidationFlag = 1

// validation describes Go's FIPS 140-3 module, which does the work in FIPS mode. Whether the version that a build holds has
// a certificate by now is for its operator to look up; none is claimed here.
func validation() pkcs11.Template {
	return pkcs11.Template{
		pkcs11.AttrUlong(pkcs11.CKA_VALIDATION_TYPE, pkcs11.CKV_TYPE_SOFTWARE),
		pkcs11.Attr(pkcs11.CKA_VALIDATION_VERSION, []byte{140, 3}),
		pkcs11.AttrUlong(pkcs11.CKA_VALIDATION_LEVEL, 1),
		pkcs11.AttrString(pkcs11.CKA_VALIDATION_MODULE_ID, "Go Cryptographic Module "+fips140.Version()),
		pkcs11.AttrUlong(pkcs11.CKA_VALIDATION_FLAG, ValidationFlag),
		pkcs11.AttrUlong(pkcs11.CKA_VALIDATION_AUTHORITY_TYPE, pkcs11.CKV_AUTHORITY_TYPE_UNSPECIFIED),
		pkcs11.AttrString(pkcs11.CKA_VALIDATION_COUNTRY, ""),
		pkcs11.AttrString(pkcs11.CKA_VALIDATION_CERTIFICATE_IDENTIFIER, ""),
		pkcs11.AttrString(pkcs11.CKA_VALIDATION_CERTIFICATE_URI, ""),
		pkcs11.AttrString(pkcs11.CKA_VALIDATION_VENDOR_URI, "https://go.dev/doc/security/fips140"),
		pkcs11.AttrString(pkcs11.CKA_VALIDATION_PROFILE, ""),
	}
}

// readClock is the time in UTC: YYYYMMDDhhmmss00. PKCS#11 v3.2, clock objects.
func readClock(_ context.Context, e *Engine) (any, error) {
	return []byte(e.opts.Now().UTC().Format("20060102150405") + "00"), nil
}

const counterKey = "counter"

var counterLabel = vault.Label{Kind: "counter", ID: counterKey, Version: 1}

// readCounter adds one to the token's counter, for all nodes and processes that use the token, and returns it: 8 bytes,
// big-endian. What was returned once is never returned again, not even after C_InitToken. PKCS#11 v3.2, monotonic counter
// objects.
func readCounter(ctx context.Context, e *Engine) (any, error) {
	for {
		v, err := e.now()
		if err != nil {
			return nil, err
		}
		o := e.open.Load()
		if o == nil {
			return nil, errNoToken
		}
		rec, err := o.store.Get(ctx, counterKey)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return nil, err
		}
		var n uint64
		if err == nil {
			if n, err = e.openCounter(rec.Value); err != nil {
				return nil, err
			}
		}
		value := binary.BigEndian.AppendUint64(nil, n+1)
		sealed, err := e.sealCounter(value)
		if err != nil {
			return nil, err
		}
		err = e.commit(ctx, nil, doIt, v, []store.Compare{{Key: counterKey, Modified: rec.Modified}}, []store.Op{{Key: counterKey, Value: sealed}})
		if err == nil {
			return value, nil
		}
		if !errors.Is(err, store.ErrConflict) {
			return nil, err
		}
	}
}

// The counter is no secret. On a node it is sealed as all is; in a file a checksum tells damage.
func (e *Engine) sealCounter(value []byte) ([]byte, error) {
	if e.node != nil {
		return e.node.cluster.Seal(counterLabel, value)
	}
	return vault.Stamp(value), nil
}

func (e *Engine) openCounter(sealed []byte) (n uint64, err error) {
	var value []byte
	if e.node != nil {
		value, err = e.node.cluster.Open(counterLabel, sealed)
	} else {
		value, err = vault.Unstamp(sealed)
	}
	if err == nil && len(value) != 8 {
		err = fmt.Errorf("it has %d bytes", len(value))
	}
	if err != nil {
		return 0, fmt.Errorf("%w: the token's counter: %w", store.ErrDamaged, err)
	}
	return binary.BigEndian.Uint64(value), nil
}
