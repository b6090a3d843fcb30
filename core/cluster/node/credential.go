package node

import (
	"time"

	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// openedCredential is remembered for a while: opening costs more than a symmetric operation.
type openedCredential struct {
	cred  hsm.Credential
	until time.Time
}

const (
	credentialMemory = 5 * time.Second
	maxCredentials   = 64   // of one stream
	maxCredential    = 4096 // bytes of a sealed one
)

// credential opens a sealed credential. The engine looks at its epoch at each use; only of its expiry does remembering
// make some seconds more.
func (t *stream) credential(sealed []byte) (hsm.Credential, error) {
	if len(sealed) > maxCredential {
		return nil, pkcs11.Errorf(pkcs11.CKR_USER_NOT_LOGGED_IN, "a credential has at most %d bytes, this one %d", maxCredential, len(sealed))
	}
	now := time.Now()
	t.mu.Lock()
	known, ok := t.opened[string(sealed)]
	t.mu.Unlock()
	if ok && now.Before(known.until) {
		return known.cred, nil
	}
	cred, err := t.opts.HSM.OpenCredential(sealed, t.who.Holder)
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.opened) >= maxCredentials {
		clear(t.opened)
	}
	t.opened[string(sealed)] = openedCredential{cred, now.Add(credentialMemory)}
	return cred, nil
}
