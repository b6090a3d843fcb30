package client

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coffer-hsm/coffer/core/cluster/wire"
	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// credential is a login: what the node has sealed, good at every node. It is renewed while it is held.
type credential struct {
	client *Client
	user   pkcs11.UserType
	name   string

	sealed atomic.Pointer[[]byte]
	ended  atomic.Bool
	next   atomic.Pointer[credential] // what SetPIN has put in its place, for operations that are running

	mu       sync.Mutex
	timer    *time.Timer
	lifetime time.Duration // of the newest form
	until    int64         // when it expires, by the client's clock
}

// User is who has logged in.
func (k *credential) User() pkcs11.UserType { return k.user }

// bytes is what goes into a request.
func (k *credential) bytes() []byte {
	if p := k.sealed.Load(); p != nil {
		return *p
	}
	return nil
}

// credential returns a credential of this client that has not ended; nil for nobody.
func (c *Client) credential(cred hsm.Credential) (*credential, error) {
	if cred == nil {
		return nil, nil
	}
	k, ok := cred.(*credential)
	switch {
	case !ok || k.client != c:
		return nil, pkcs11.Errorf(pkcs11.CKR_GENERAL_ERROR, "a credential of another token")
	case k.ended.Load():
		return nil, errLoginEnded
	}
	return k, nil
}

var errLoginEnded = pkcs11.Errorf(pkcs11.CKR_USER_NOT_LOGGED_IN, "the login has ended")

// hold makes a credential of a node's answer and keeps it fresh.
func (c *Client) hold(r *wire.Reply, user pkcs11.UserType, name string) (*credential, error) {
	m := r.GetCredential()
	if len(m.GetSealed()) == 0 {
		return nil, unexpected(r)
	}
	k := &credential{client: c, user: user, name: name}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, errClosed
	}
	c.held[k] = true
	k.take(m)
	return k, nil
}

// take makes a node's answer the newest form, and sets the time of the next renewal: at a third of its life, so that a
// cluster may be out of reach for the rest.
func (k *credential) take(m *wire.Credential) {
	sealed := m.GetSealed()
	k.sealed.Store(&sealed)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.lifetime = time.Duration(m.GetLifetimeS()) * time.Second
	k.until = k.client.now() + int64(k.lifetime)
	if k.lifetime > 0 {
		k.scheduleLocked(k.lifetime / 3)
	}
}

// scheduleLocked sets the timer. The caller holds the credential's mu.
func (k *credential) scheduleLocked(d time.Duration) {
	if k.ended.Load() {
		return
	}
	if k.timer == nil {
		k.timer = time.AfterFunc(d, func() { k.client.task(k.renew) })
		return
	}
	k.timer.Reset(d)
}

// renew asks for a fresh form. A refusal is the end: the PIN was changed, the user locked out or deleted.
func (k *credential) renew() {
	c := k.client
	if k.ended.Load() {
		return
	}
	r, err := c.do(c.ctx, pure, k, &wire.Request{Body: &wire.Request_Renew{Renew: &wire.Renew{}}})
	if err == nil && len(r.GetCredential().GetSealed()) > 0 {
		k.take(r.GetCredential())
		return
	}
	if err == nil {
		err = unexpected(r)
	}
	if pkcs11.RVOf(err) == pkcs11.CKR_USER_NOT_LOGGED_IN {
		c.release(k)
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if c.now() < k.until {
		k.scheduleLocked(max(k.lifetime/30, time.Second))
	}
}

// end stops the renewals.
func (k *credential) end() {
	k.ended.Store(true)
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.timer != nil {
		k.timer.Stop()
	}
}

// release ends a credential.
func (c *Client) release(k *credential) {
	k.end()
	c.mu.Lock()
	delete(c.held, k)
	c.mu.Unlock()
	c.begins.forget(k)
}

// supersede ends the older credentials of a user who has a new one. Operations that are running under them go on.
func (c *Client) supersede(fresh *credential) {
	c.mu.Lock()
	var old []*credential
	for k := range c.held {
		if k != fresh && k.user == fresh.user && k.name == fresh.name {
			old = append(old, k)
		}
	}
	c.mu.Unlock()
	for _, k := range old {
		k.next.Store(fresh)
		c.release(k)
	}
}

// latest is the credential under which a running operation goes on.
func (k *credential) latest() *credential {
	for k != nil {
		next := k.next.Load()
		if next == nil {
			break
		}
		k = next
	}
	return k
}

// Login checks a PIN. PKCS#11 v3.2, C_Login, C_LoginUser.
func (c *Client) Login(ctx context.Context, user pkcs11.UserType, name string, pin []byte) (hsm.Credential, error) {
	defer c.info.drop() // wrong or right, it counts
	if err := checkText("the user's name", name); err != nil {
		return nil, err
	}
	r, err := c.do(ctx, changing, nil, &wire.Request{Body: &wire.Request_Login{Login: &wire.Login{User: uint64(user), Name: name, Pin: pin}}})
	if err != nil {
		return nil, err
	}
	k, err := c.hold(r, user, name)
	if err != nil {
		return nil, err
	}
	return k, nil
}

// Logout ends a credential, here at once whatever the node says. PKCS#11 v3.2, C_Logout.
func (c *Client) Logout(ctx context.Context, cred hsm.Credential) error {
	k, err := c.credential(cred)
	if k == nil || err != nil {
		return nil // nothing to end
	}
	c.release(k)
	_, err = c.do(ctx, pure, k, &wire.Request{Body: &wire.Request_Logout{Logout: &wire.Logout{}}})
	return err
}

// SetPIN replaces a user's own PIN. PKCS#11 v3.2, C_SetPIN.
func (c *Client) SetPIN(ctx context.Context, user pkcs11.UserType, name string, oldPIN, newPIN []byte) (hsm.Credential, error) {
	defer c.info.drop()
	if err := c.mayChange(); err != nil {
		return nil, err
	}
	if err := checkText("the user's name", name); err != nil {
		return nil, err
	}
	r, err := c.do(ctx, changing, nil, &wire.Request{Body: &wire.Request_SetPin{SetPin: &wire.SetPIN{
		User: uint64(user), Name: name, OldPin: oldPIN, NewPin: newPIN,
	}}})
	if err != nil {
		return nil, err
	}
	k, err := c.hold(r, user, name)
	if err != nil {
		return nil, err
	}
	c.supersede(k)
	return k, nil
}
