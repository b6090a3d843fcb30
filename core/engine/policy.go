package engine

import (
	"crypto/fips140"

	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/core/object"
	"github.com/coffer-hsm/coffer/core/policy"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// Where the token's policy is asked: about mechanisms once, when the engine is made, about keys when they are made, come in
// or change, and each time that they are used.

// fipsMode refuses a policy that the process cannot keep: it runs in Go's FIPS 140-3 mode from its start or not at all.
func fipsMode(p *policy.Policy) error {
	if p.FIPS && !fips140.Enabled() {
		return pkcs11.Errorf(pkcs11.CKR_DEVICE_ERROR, "the token's policy has fips = true, and this process is not in FIPS mode: "+
			"start it with GODEBUG=fips140=on, or use what `make fips` builds")
	}
	return nil
}

// build is object.Build under the token's policy.
func (e *Engine) build(r object.Request, t pkcs11.Template) (*object.Draft, error) {
	d, err := object.Build(r, t)
	if err != nil {
		return nil, err
	}
	if err := e.opts.Policy.Roles(nil, d); err != nil {
		return nil, err
	}
	return d, nil
}

// changed asks the policy about an object that was changed or copied.
func (e *Engine) changed(before, after *object.Object) error {
	return e.opts.Policy.Roles(before, after)
}

// admits asks the policy about a new key.
func (e *Engine) admits(v *version) error {
	if _, isKey := v.head.KeyType(); !isKey || v.head.Class() == pkcs11.CKO_DOMAIN_PARAMETERS {
		return nil
	}
	return e.opts.Policy.Key(v)
}

// usable asks the policy about a key that is to be used.
func (e *Engine) usable(v *version) error {
	if err := e.opts.Policy.Key(v); err != nil {
		return err
	}
	return e.inItsDays(v)
}

// inItsDays is what of usable is to be asked again at each use.
func (e *Engine) inItsDays(v *version) error {
	if !e.opts.Policy.Dates {
		return nil
	}
	return e.opts.Policy.Day(v, e.opts.Now())
}

// signs asks the policy about a mechanism's parameter.
func (e *Engine) signs(kind hsm.OpKind, param any) error {
	if kind != hsm.OpSign {
		return nil
	}
	return e.opts.Policy.Parameter(pkcs11.CKF_SIGN, param)
}
