// Package embedded puts together a token that lives in one file on this machine: a SQLite store, an engine, and all
// mechanisms.
package embedded

import (
	"github.com/coffer-hsm/coffer/core/config"
	"github.com/coffer-hsm/coffer/core/engine"
	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/core/mech/all"
	"github.com/coffer-hsm/coffer/core/store"
	"github.com/coffer-hsm/coffer/core/store/sqlite"
	"github.com/coffer-hsm/coffer/core/vault"
)

// Open returns the token of a slot. Its file is made when the token is initialised, not before.
func Open(slot config.Slot) (hsm.HSM, error) { return OpenLogged(slot, nil) }

// OpenLogged is Open with a log, which is told of records that cannot be read and of mechanisms whose self-test fails, and never
// of a secret.
func OpenLogged(slot config.Slot, log func(error)) (hsm.HSM, error) {
	registry, err := all.Full()
	if err != nil {
		return nil, err
	}
	return engine.New(engine.Options{
		OpenStore: func(create bool) (store.Store, error) {
			return sqlite.Open(slot.Path, sqlite.Options{Create: create})
		},
		Mechanisms: registry,
		Policy:     slot.Policy,
		KDF:        vault.KDFFor(slot.Policy.FIPS),
		Log:        log,
	})
}
