// Package all is the list of what Coffer can do.
package all

import (
	"sync"

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/mech/aes"
	"github.com/coffer-hsm/coffer/core/mech/chacha"
	"github.com/coffer-hsm/coffer/core/mech/des"
	"github.com/coffer-hsm/coffer/core/mech/dh"
	"github.com/coffer-hsm/coffer/core/mech/digest"
	"github.com/coffer-hsm/coffer/core/mech/dsa"
	"github.com/coffer-hsm/coffer/core/mech/ec"
	"github.com/coffer-hsm/coffer/core/mech/generic"
	"github.com/coffer-hsm/coffer/core/mech/hashkdf"
	"github.com/coffer-hsm/coffer/core/mech/hmac"
	"github.com/coffer-hsm/coffer/core/mech/hss"
	"github.com/coffer-hsm/coffer/core/mech/kdf"
	"github.com/coffer-hsm/coffer/core/mech/mldsa"
	"github.com/coffer-hsm/coffer/core/mech/mlkem"
	"github.com/coffer-hsm/coffer/core/mech/old"
	"github.com/coffer-hsm/coffer/core/mech/rsa"
	"github.com/coffer-hsm/coffer/core/mech/selftest"
	"github.com/coffer-hsm/coffer/core/mech/slhdsa"
)

// Registry returns what is offered where nobody asks for more: all families, without their legacy rows and the types of keys
// that only those use.
func Registry() (*mech.Registry, error) { return tested(mech.Current(families)) }

// Full returns all families whole, with what is broken or dead (mech.Mechanism, Legacy). It is one for the process, whose
// self-tests run once: a mechanism that has failed its own stays refused, whoever opens a token again.
var Full = sync.OnceValues(func() (*mech.Registry, error) { return tested(families) })

// tested makes a registry whose rows have their self-tests.
func tested(families []mech.Family) (*mech.Registry, error) {
	r, err := mech.NewRegistry(families...)
	if err != nil {
		return nil, err
	}
	return r, selftest.Attach(r)
}

var families = []mech.Family{
	aes.Family,
	chacha.Family,
	des.Family,
	dh.Family,
	digest.Family,
	dsa.Family,
	ec.Family,
	generic.Family,
	hashkdf.Family,
	hmac.Family,
	hss.Family,
	kdf.Family,
	mldsa.Family,
	mlkem.Family,
	old.Family,
	rsa.Family,
	slhdsa.Family,
}
