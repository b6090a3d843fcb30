package engine

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/coffer-hsm/coffer/core/auth"
	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/core/release"
	"github.com/coffer-hsm/coffer/core/store"
	"github.com/coffer-hsm/coffer/core/vault"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// What every token of this engine says of itself.
const (
	Manufacturer = "Coffer"
	model        = "Coffer embedded"
	fipsModel    = "Coffer FIPS" // of a token in FIPS mode, embedded or behind a node
)

// Info describes the token. PKCS#11 v3.2, C_GetTokenInfo.
func (e *Engine) Info(context.Context) (info pkcs11.TokenInfo, err error) {
	defer answer(&err)
	const unknown = pkcs11.CK_UNAVAILABLE_INFORMATION
	info = pkcs11.TokenInfo{
		HardwareVersion:    release.Number(),
		FirmwareVersion:    release.Number(),
		Manufacturer:       Manufacturer,
		Model:              model,
		Flags:              pkcs11.CKF_RNG | pkcs11.CKF_LOGIN_REQUIRED,
		MaxSessionCount:    pkcs11.CK_EFFECTIVELY_INFINITE,
		MaxRwSessionCount:  pkcs11.CK_EFFECTIVELY_INFINITE,
		MaxPinLen:          auth.MaxPIN,
		MinPinLen:          auth.MinPIN,
		TotalPublicMemory:  unknown,
		FreePublicMemory:   unknown,
		TotalPrivateMemory: unknown,
		FreePrivateMemory:  unknown,
	}
	if e.node != nil {
		info.Model, info.Serial = e.node.opts.Model, e.node.opts.Serial
	}
	if e.opts.Policy.FIPS {
		info.Model = fipsModel
	}
	v, err := e.now()
	if errors.Is(err, errNoToken) {
		return info, nil
	}
	if err != nil {
		return info, err
	}
	info.Label, info.Serial = v.header.Label, v.header.Serial
	if !v.header.dormant {
		info.Flags |= pkcs11.CKF_TOKEN_INITIALIZED
	}
	for _, a := range auth.Accounts() {
		info.Flags |= a.Flags(v.users[a.Record].user)
	}
	if o := e.open.Load(); o != nil && o.store.ReadOnly() {
		info.Flags |= pkcs11.CKF_WRITE_PROTECTED
	}
	return info, nil
}

// InitToken makes the token, or erases it and makes it anew when the SO's PIN is given. PKCS#11 v3.2, C_InitToken.
func (e *Engine) InitToken(ctx context.Context, soPIN []byte, label string) (err error) {
	defer answer(&err)
	so, err := auth.AccountOf(pkcs11.CKU_SO)
	if err != nil {
		return err
	}
	c, err := e.call(ctx, "InitToken", soPIN, []byte(label))
	if err != nil {
		return err
	}
	done, err := e.turn(ctx)
	if err != nil {
		return err
	}
	defer done()
	officer := so // who erases; on a node it may be one with a name
	var was *view // nil: there is no token yet
	switch err := e.refresh(); {
	case errors.Is(err, errNoToken):
		if err := auth.CheckNewPIN(soPIN); err != nil {
			return err
		}
	case err != nil:
		return err
	case e.view.Load().header.dormant:
		return pkcs11.Errorf(pkcs11.CKR_ACTION_PROHIBITED, "the cluster has not been activated: coffer cluster activate")
	default:
		var pin []byte
		if officer, pin, err = e.identify(so, "", soPIN); err != nil {
			return err
		}
		root, v, err := e.checkPIN(ctx, c, officer, pin)
		if err != nil {
			return err
		}
		root.Zero()
		if !v.users[officer.Record].role.May(auth.EraseToken) {
			return pkcs11.Errorf(pkcs11.CKR_ACTION_PROHIBITED, "the user's role does not let him erase the token")
		}
		was = v
	}
	ops, err := e.newToken(soPIN, label, so)
	if err != nil {
		return err
	}
	for {
		cmps := []store.Compare{{Key: tokenKey}}
		if was != nil { // erased only under the PIN that the SO has now
			v, _, err := e.sameUser(officer, was)
			if err != nil {
				return c.unless(ctx, doIt, err)
			}
			cmps = []store.Compare{{Key: tokenKey, Modified: v.tokenRevision}, {Key: officer.Record, Modified: v.users[officer.Record].revision}}
		}
		if err := e.replaceToken(ctx, c, cmps, ops); was == nil || !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
}

// newToken makes the records of a token without objects.
func (e *Engine) newToken(soPIN []byte, label string, so auth.Account) ([]store.Op, error) {
	if e.node != nil {
		return e.node.newToken(soPIN, e.opts.KDF, e.node.newHeader(label, false), so)
	}
	return newToken(soPIN, label, so, e.opts.KDF)
}

func newToken(soPIN []byte, label string, so auth.Account, kdf vault.KDF) ([]store.Op, error) {
	serial := make([]byte, 8)
	rand.Read(serial)
	public, err := vault.NewRoot()
	if err != nil {
		return nil, err
	}
	h := header{
		Format:     headerFormat,
		Serial:     fmt.Sprintf("%X", serial),
		Label:      strings.TrimRight(label, " "),
		PublicRoot: public.Expose(),
	}
	head, err := json.Marshal(h)
	if err != nil {
		return nil, err
	}
	head = vault.Stamp(head)
	h.identity = identityOf(h, head)
	root, err := vault.NewRoot()
	if err != nil {
		return nil, err
	}
	defer root.Zero()
	wrapped, err := vault.WrapRoot(root, soPIN, kdf, rootLabel(so, h))
	if err != nil {
		return nil, err
	}
	user, err := (&auth.User{Epoch: 1, Root: wrapped}).Marshal()
	if err != nil {
		return nil, err
	}
	return []store.Op{{Key: tokenKey, Value: head}, {Key: so.Record, Value: user}, {Key: certificatesKey, Value: vault.Stamp(promiseValue(true))}}, nil
}

// replaceToken writes the new token over the old one. From that moment the old objects are nobody's: they were written
// before the token's record, so every reader passes them over (read), and sweep removes them. What goes wrong after that
// moment is logged: the caller's PIN is the new token's already.
func (e *Engine) replaceToken(ctx context.Context, c *call, cmps []store.Compare, ops []store.Op) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	s, err := e.storeLocked(true)
	if err != nil {
		return err
	}
	if ops, err = e.alsoUsers(ctx, s, ops); err != nil {
		return err
	}
	if cmps, ops, err = c.mark(doIt, cmps, ops); err != nil {
		return err
	}
	revision, err := s.Commit(ctx, cmps, ops)
	if err := c.unless(ctx, doIt, err); err != nil {
		return err
	}
	if err != nil { // done before
		return e.refreshLocked()
	}
	e.forgetToken()
	if err := e.sweep(ctx, s, revision); err != nil {
		e.log(fmt.Errorf("erasing what the old token has left: %w", err))
	}
	if err := e.refreshLocked(); err != nil {
		e.log(fmt.Errorf("reading the new token: %w", err))
	}
	return nil
}

// alsoUsers adds to the making of a new token that the old one's users go. A node's users are as many as it likes; they go
// as the objects do.
func (e *Engine) alsoUsers(ctx context.Context, s store.Store, ops []store.Op) ([]store.Op, error) {
	if e.node != nil {
		return ops, nil
	}
	fresh := map[string]bool{}
	for _, op := range ops {
		fresh[op.Key] = true
	}
	users, _, err := s.List(ctx, userPrefix)
	if err != nil {
		return nil, err
	}
	for _, r := range users {
		if !fresh[r.Key] {
			ops = append(slices.Clip(ops), store.Op{Key: r.Key, Delete: true})
		}
	}
	return ops, nil
}

// sweepBatch is how many objects are removed at once: stores bound their transactions.
const sweepBatch = 64

// sweep removes what tokens before the one of this revision have left. If it is interrupted, the next one goes on.
func (e *Engine) sweep(ctx context.Context, s store.Store, revision int64) error {
	if err := sweepUsers(ctx, s, revision); err != nil {
		return err
	}
	recs, _, err := s.List(ctx, objectPrefix)
	if err != nil {
		return err
	}
	var ops []store.Op
	for _, r := range recs {
		if r.Modified < revision {
			ops = append(ops, store.Op{Key: r.Key, Delete: true})
		}
	}
	for batch := range slices.Chunk(ops, sweepBatch) {
		if _, err := s.Commit(ctx, nil, batch); err != nil {
			return err
		}
	}
	return nil
}

// sweepUsers removes the users of erased tokens, one by one: a user of the same name may be made at the same time, and
// stays. In a file that is who was given a PIN between alsoUsers and the commit.
func sweepUsers(ctx context.Context, s store.Store, revision int64) error {
	recs, _, err := s.List(ctx, userPrefix)
	if err != nil {
		return err
	}
	for _, r := range recs {
		if r.Modified >= revision {
			continue
		}
		_, err := s.Commit(ctx, []store.Compare{{Key: r.Key, Modified: r.Modified}}, []store.Op{{Key: r.Key, Delete: true}})
		if err != nil && !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
	return nil
}

// Random fills p. PKCS#11 v3.2, C_GenerateRandom.
func (e *Engine) Random(_ context.Context, p []byte) error {
	rand.Read(p)
	return nil
}

// Limits implements hsm.Limiter: as Info has them, whose errors it has too.
func (e *Engine) Limits(context.Context) (l hsm.Limits, err error) {
	defer answer(&err)
	l = hsm.Limits{Sessions: pkcs11.CK_EFFECTIVELY_INFINITE, RwSessions: pkcs11.CK_EFFECTIVELY_INFINITE}
	if _, err := e.now(); err != nil && !errors.Is(err, errNoToken) {
		return l, err
	}
	o := e.open.Load()
	l.WriteProtected = o != nil && o.store.ReadOnly()
	return l, nil
}

// Seed answers that the generator takes no seed: it is the operating system's. PKCS#11 v3.2, C_SeedRandom.
func (e *Engine) Seed(context.Context, []byte) error { return pkcs11.CKR_RANDOM_SEED_NOT_SUPPORTED }
