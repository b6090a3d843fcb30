package engine

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/crypto/cryptobyte"

	"github.com/coffer-hsm/coffer/core/auth"
	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/core/store"
	"github.com/coffer-hsm/coffer/pkcs11"
)

const credentialKind = "credential"

// SealCredential returns a credential for its holder to keep, good from now for the credential lifetime.
func (e *Engine) SealCredential(cred hsm.Credential) (sealed []byte, err error) {
	defer answer(&err)
	if e.node == nil {
		return nil, errNotNode
	}
	c, err := e.own(cred)
	if err != nil {
		return nil, err
	}
	if c == nil || !c.good(e.view.Load()) {
		return nil, errEnded
	}
	now := e.node.now()
	plain := binary.BigEndian.AppendUint32(nil, uint32(c.account.User))
	plain = append(plain, joined([]byte(c.account.Name))...)
	plain = binary.BigEndian.AppendUint64(plain, c.epoch)
	plain = append(plain, joined([]byte(c.life), []byte(c.holder))...)
	plain = binary.BigEndian.AppendUint64(plain, uint64(now))
	plain = binary.BigEndian.AppendUint64(plain, uint64(now)+uint64(e.node.opts.CredentialLifetime.Seconds()))
	return sealBlob(e.node.cluster, credentialKind, "", plain)
}

// OpenCredential gives back a credential that SealCredential has made for holder, on any node. What has expired is
// hsm.ErrExpired too.
func (e *Engine) OpenCredential(sealed []byte, holder string) (cred hsm.Credential, err error) {
	defer answer(&err)
	if e.node == nil {
		return nil, errNotNode
	}
	v, err := e.now()
	if errors.Is(err, errNoToken) {
		return nil, errEnded
	}
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(sealed)
	c, known := e.node.credentials.get(sum)
	if !known {
		if c, err = e.parseCredential(sealed); err != nil {
			return nil, pkcs11.Errorf(pkcs11.CKR_USER_NOT_LOGGED_IN, "no credential of this token: %w", err)
		}
	}
	switch {
	case c.holder != holder:
		return nil, pkcs11.Errorf(pkcs11.CKR_USER_NOT_LOGGED_IN, "the credential was given to somebody else")
	case e.node.now() >= c.expires:
		return nil, pkcs11.Errorf(pkcs11.CKR_USER_NOT_LOGGED_IN, "%w", hsm.ErrExpired)
	case !known:
		if c.role, err = e.roleOf(v, c); err != nil {
			return nil, err
		}
	}
	if !c.good(v) {
		return nil, errEnded
	}
	if !known {
		e.node.credentials.put(sum, c)
	}
	return c, nil
}

// roleOf is the role that a credential's user has.
func (e *Engine) roleOf(v *view, c *credential) (auth.Role, error) {
	if c.account.Name != "" {
		account, err := e.named(c.account, c.account.Name)
		if err != nil {
			return 0, err
		}
		c.account = account
	}
	u := v.users[c.account.Record]
	if u.user == nil {
		return 0, errEnded
	}
	return u.role, nil
}

func (e *Engine) parseCredential(sealed []byte) (*credential, error) {
	plain, err := openBlob(e.node.cluster, credentialKind, "", sealed)
	if err != nil {
		return nil, err
	}
	s := cryptobyte.String(plain)
	var user uint32
	var epoch, issued, expires uint64
	var name, life, holder string
	if !s.ReadUint32(&user) || !readString(&s, &name) || !s.ReadUint64(&epoch) || !readString(&s, &life) ||
		!readString(&s, &holder) || !s.ReadUint64(&issued) || !s.ReadUint64(&expires) || !s.Empty() {
		return nil, errors.New("it is malformed")
	}
	account, err := auth.AccountOf(pkcs11.UserType(user))
	if err != nil {
		return nil, err
	}
	account.Name = name
	return &credential{engine: e, account: account, epoch: epoch, life: life, holder: holder, expires: int64(expires)}, nil
}

func readString(s *cryptobyte.String, out *string) bool {
	var n uint32
	var b []byte
	if !s.ReadUint32(&n) || uint64(n) > uint64(len(*s)) || !s.ReadBytes(&b, int(n)) {
		return false
	}
	*out = string(b)
	return true
}

// TokenObject names a token object. A private flag that is not the object's own names nothing.
func (e *Engine) TokenObject(id string, private bool) hsm.Object {
	return &entry{id: id, token: true, private: private}
}

// clusterActions are what a role must be allowed for an action on the cluster.
var clusterActions = map[hsm.ClusterAction]auth.Action{hsm.ManageCluster: auth.ManageCluster}

// May answers whether the caller's role allows an action on the cluster.
func (e *Engine) May(cred hsm.Credential, a hsm.ClusterAction) (err error) {
	defer answer(&err)
	action, known := clusterActions[a]
	if !known {
		return pkcs11.Errorf(pkcs11.CKR_ARGUMENTS_BAD, "no action %d", a)
	}
	if err := e.refresh(); err != nil && !errors.Is(err, errNoToken) {
		return err
	}
	return e.may(cred, action)
}

// Revision is the store's revision that this engine has taken in.
func (e *Engine) Revision() int64 {
	if err := e.refresh(); err != nil && !errors.Is(err, errNoToken) {
		e.log(err)
	}
	return e.reflected.Load()
}

// follower is what a store has whose records come from elsewhere: Await returns once what was committed up to a revision
// can be read here.
type follower interface {
	Await(ctx context.Context, revision int64) error
}

// Await returns once Revision is at least revision.
func (e *Engine) Await(ctx context.Context, revision int64) (err error) {
	defer answer(&err)
	if e.Revision() >= revision {
		return nil
	}
	o := e.open.Load()
	if o == nil {
		return fmt.Errorf("%w: revision %d of a store that is not there", store.ErrUnavailable, revision)
	}
	if f, ok := o.store.(follower); ok {
		if err := f.Await(ctx, revision); err != nil {
			return err
		}
	}
	if err := e.look(0); err != nil && !errors.Is(err, errNoToken) {
		return err
	}
	if now := e.reflected.Load(); now < revision {
		return fmt.Errorf("%w: the store is at revision %d, asked for is %d", store.ErrUnavailable, now, revision)
	}
	return nil
}

// Holds answers, for each identity, whether the token object is in memory.
func (e *Engine) Holds(ids []string) []bool {
	if err := e.refresh(); err != nil && !errors.Is(err, errNoToken) {
		e.log(err)
	}
	held := make([]bool, len(ids))
	for i, id := range ids {
		_, held[i] = e.objects.Get(id)
	}
	return held
}
