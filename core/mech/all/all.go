// Package all is the list of what Coffer can do.
package all

import (
	"slices"

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/mech/aes"
	"github.com/coffer-hsm/coffer/core/mech/dh"
	"github.com/coffer-hsm/coffer/core/mech/digest"
	"github.com/coffer-hsm/coffer/core/mech/dsa"
	"github.com/coffer-hsm/coffer/core/mech/ec"
	"github.com/coffer-hsm/coffer/core/mech/generic"
	"github.com/coffer-hsm/coffer/core/mech/hmac"
	"github.com/coffer-hsm/coffer/core/mech/rsa"
)

var families = []mech.Family{
	aes.Family,
	dh.Family,
	digest.Family,
	dsa.Family,
	ec.Family,
	generic.Family,
	hmac.Family,
	rsa.Family,
}

// Registry returns all families in one registry, without their legacy rows.
func Registry() (*mech.Registry, error) {
	current := slices.Clone(families)
	for i := range current {
		current[i].Mechanisms = slices.DeleteFunc(slices.Clone(current[i].Mechanisms), func(m mech.Mechanism) bool { return m.Legacy })
		if len(current[i].Mechanisms) == 0 {
			current[i].KeyTypes = nil
		}
	}
	return mech.NewRegistry(current...)
}

// Full returns all families whole, with what is broken or dead (mech.Mechanism, Legacy).
func Full() (*mech.Registry, error) { return mech.NewRegistry(families...) }
