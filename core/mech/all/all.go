// Package all is the list of what Coffer can do.
package all

import (
	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/mech/aes"
	"github.com/coffer-hsm/coffer/core/mech/dh"
	"github.com/coffer-hsm/coffer/core/mech/digest"
	"github.com/coffer-hsm/coffer/core/mech/ec"
	"github.com/coffer-hsm/coffer/core/mech/generic"
	"github.com/coffer-hsm/coffer/core/mech/hmac"
	"github.com/coffer-hsm/coffer/core/mech/rsa"
)

// Registry returns all families in one registry.
func Registry() (*mech.Registry, error) {
	return mech.NewRegistry(
		aes.Family,
		dh.Family,
		digest.Family,
		ec.Family,
		generic.Family,
		hmac.Family,
		rsa.Family,
	)
}
