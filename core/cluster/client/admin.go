package client

import (
	"context"
	"slices"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/coffer-hsm/coffer/core/cluster/wire"
	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// PINs are encoded into the request straight from the caller's slice, which is his to wipe. The encoded form is cleared when
// it has gone as a frame. Over gRPC it is the transport's until it is sent and the garbage collector's after that: it cannot be
// reached to be wiped, like what TLS and the kernel copy.

// infoCache is the last answer of Info. Opening a session asks for it each time.
type infoCache struct {
	mu       sync.Mutex
	info     pkcs11.TokenInfo
	at       int64 // 0: there is none
	revision int64
	dropped  uint64 // counts; an answer that was asked for before the last drop is not kept
}

const cacheTime = int64(time.Second)

func (i *infoCache) drop() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.at = 0
	i.dropped++
}

// get returns what is still good, or with what number put is to be called.
func (i *infoCache) get(now, revision int64) (info pkcs11.TokenInfo, ok bool, dropped uint64) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.info, i.at != 0 && now-i.at < cacheTime && i.revision == revision, i.dropped
}

func (i *infoCache) put(info pkcs11.TokenInfo, now, revision int64, dropped uint64) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.dropped == dropped {
		i.info, i.at, i.revision = info, now, revision
	}
}

// Info describes the token. PKCS#11 v3.2, C_GetTokenInfo.
func (c *Client) Info(ctx context.Context) (pkcs11.TokenInfo, error) {
	now := c.now()
	info, ok, dropped := c.info.get(now, c.seen.Load())
	if ok {
		return info, nil
	}
	r, err := c.do(ctx, reading, nil, &wire.Request{Body: &wire.Request_GetInfo{GetInfo: &wire.GetInfo{}}})
	if err != nil {
		return pkcs11.TokenInfo{}, err
	}
	if r.GetInfo() == nil {
		return pkcs11.TokenInfo{}, unexpected(r)
	}
	info = wire.ToInfo(r.GetInfo())
	if c.opts.ReadOnly {
		info.Flags |= pkcs11.CKF_WRITE_PROTECTED
	}
	c.info.put(info, now, c.seen.Load(), dropped)
	return info, nil
}

// offered waits for a node and returns what all that are connected can do: any one may get a request.
func (c *Client) offered() map[pkcs11.MechanismType]pkcs11.MechanismInfo {
	ctx, cancel := context.WithTimeout(c.ctx, c.opts.Timeout)
	defer cancel()
	for {
		changes := c.changes()
		if all := c.common(); all != nil {
			return all
		}
		select {
		case <-changes:
		case <-ctx.Done():
			return nil
		}
	}
}

// common returns the mechanisms that all nodes offer that have been reached and not been forgotten; nil if there is none.
func (c *Client) common() map[pkcs11.MechanismType]pkcs11.MechanismInfo {
	var all map[pkcs11.MechanismType]pkcs11.MechanismInfo
	for _, n := range *c.list.Load() {
		h := n.hello.Load()
		if h == nil || n.retired.Load() {
			continue
		}
		if all == nil {
			all = make(map[pkcs11.MechanismType]pkcs11.MechanismInfo, len(h.mechanisms))
			for t, info := range h.mechanisms {
				all[t] = info
			}
			continue
		}
		for t := range all {
			if _, ok := h.mechanisms[t]; !ok {
				delete(all, t)
			}
		}
	}
	return all
}

// Mechanisms lists what the token can do, in ascending order. It waits for the first node.
func (c *Client) Mechanisms() []pkcs11.MechanismType {
	all := c.offered()
	list := make([]pkcs11.MechanismType, 0, len(all))
	for t := range all {
		list = append(list, t)
	}
	slices.Sort(list)
	return list
}

// Mechanism describes one; ok is false where the token does not have it. It waits for the first node.
func (c *Client) Mechanism(t pkcs11.MechanismType) (info pkcs11.MechanismInfo, ok bool) {
	info, ok = c.offered()[t]
	return info, ok
}

// InitToken makes or erases the token. PKCS#11 v3.2, C_InitToken.
func (c *Client) InitToken(ctx context.Context, soPIN []byte, label string) error {
	defer c.info.drop()
	if err := checkText("the label", label); err != nil {
		return err
	}
	return c.alter(ctx, nil, &wire.Request{Body: &wire.Request_InitToken{InitToken: &wire.InitToken{SoPin: soPIN, Label: label}}})
}

// InitPIN sets the normal user's PIN. PKCS#11 v3.2, C_InitPIN.
func (c *Client) InitPIN(ctx context.Context, cred hsm.Credential, pin []byte) error {
	defer c.info.drop()
	return c.alter(ctx, cred, &wire.Request{Body: &wire.Request_InitPin{InitPin: &wire.InitPIN{Pin: pin}}})
}

// alter makes a change whose answer is that it was done.
func (c *Client) alter(ctx context.Context, cred hsm.Credential, q *wire.Request) error {
	if err := c.mayChange(); err != nil {
		return err
	}
	k, err := c.credential(cred)
	if err != nil {
		return err
	}
	r, err := c.do(ctx, changing, k, q)
	if err != nil {
		return err
	}
	return isDone(r)
}

func isDone(r *wire.Reply) error {
	if r.GetDone() == nil {
		return unexpected(r)
	}
	return nil
}

// checkText refuses what cannot be sent as it is and may not be sent otherwise.
func checkText(what, s string) error {
	if !utf8.ValidString(s) {
		return pkcs11.Errorf(pkcs11.CKR_ARGUMENTS_BAD, "%s is not UTF-8", what)
	}
	return nil
}

// ListUsers lists the users of the token.
func (c *Client) ListUsers(ctx context.Context, cred hsm.Credential) ([]hsm.User, error) {
	k, err := c.credential(cred)
	if err != nil {
		return nil, err
	}
	r, err := c.do(ctx, searches, k, &wire.Request{Body: &wire.Request_ListUsers{ListUsers: &wire.ListUsers{}}})
	if err != nil {
		return nil, err
	}
	if r.GetUsers() == nil {
		return nil, unexpected(r)
	}
	users := make([]hsm.User, 0, len(r.GetUsers().GetUsers()))
	for _, u := range r.GetUsers().GetUsers() {
		users = append(users, wire.ToUser(u))
	}
	return users, nil
}

// CreateUser makes a user.
func (c *Client) CreateUser(ctx context.Context, cred hsm.Credential, user pkcs11.UserType, name string, pin []byte) error {
	if err := checkText("the user's name", name); err != nil {
		return err
	}
	return c.alter(ctx, cred, &wire.Request{Body: &wire.Request_CreateUser{CreateUser: &wire.CreateUser{Type: uint64(user), Name: name, Pin: pin}}})
}

// DeleteUser ends a user and his credentials.
func (c *Client) DeleteUser(ctx context.Context, cred hsm.Credential, user pkcs11.UserType, name string) error {
	if err := checkText("the user's name", name); err != nil {
		return err
	}
	return c.alter(ctx, cred, &wire.Request{Body: &wire.Request_DeleteUser{DeleteUser: &wire.DeleteUser{Type: uint64(user), Name: name}}})
}

// ResetPIN gives a user a new PIN and unlocks him.
func (c *Client) ResetPIN(ctx context.Context, cred hsm.Credential, user pkcs11.UserType, name string, pin []byte) error {
	defer c.info.drop()
	if err := checkText("the user's name", name); err != nil {
		return err
	}
	return c.alter(ctx, cred, &wire.Request{Body: &wire.Request_ResetPin{ResetPin: &wire.ResetPIN{Type: uint64(user), Name: name, Pin: pin}}})
}
