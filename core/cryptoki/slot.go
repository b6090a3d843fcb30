package cryptoki

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/core/index"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// slot is one slot during one run.
type slot struct {
	Slot
	library *Library
	run     *run

	use sync.RWMutex // held shared by calls that name the slot, exclusively to close the token

	openMu sync.Mutex
	opened atomic.Pointer[token] // nil until opened; changed under openMu

	loginMu sync.Mutex // one C_Login, C_SetPIN at a time

	census census
	mu     sync.Mutex // guards gone, what login becomes, and the steps of the census that ask for it
	gone   bool       // C_Finalize has come

	login   atomic.Pointer[login] // nil: nobody
	objects handles
	states  stateSeal
}

func newSlot(l *Library, r *run, s Slot) *slot {
	n := &slot{Slot: s, library: l, run: r}
	n.objects.current = &n.login
	n.objects.last = &l.lastObject
	n.objects.local.index = index.New[*object]()
	return n
}

// token is a slot's token, with what it has beyond the seam; nil where it has not.
type token struct {
	hsm.HSM
	reuser  hsm.Reuser
	shower  hsm.Shower
	limiter hsm.Limiter
}

func newToken(h hsm.HSM) *token {
	t := &token{HSM: h}
	t.reuser, _ = h.(hsm.Reuser)
	t.shower, _ = h.(hsm.Shower)
	t.limiter, _ = h.(hsm.Limiter)
	return t
}

// limits says what sessions there may be.
func (t *token) limits(ctx context.Context) (hsm.Limits, error) {
	if t.limiter != nil {
		return t.limiter.Limits(ctx)
	}
	info, err := t.Info(ctx)
	return hsm.Limits{Sessions: info.MaxSessionCount, RwSessions: info.MaxRwSessionCount,
		WriteProtected: info.Flags&pkcs11.CKF_WRITE_PROTECTED != 0}, err
}

// token returns the slot's token and opens it if need be.
func (s *slot) token() (*token, error) {
	if t := s.opened.Load(); t != nil {
		return t, nil
	}
	s.openMu.Lock()
	defer s.openMu.Unlock()
	if t := s.opened.Load(); t != nil {
		return t, nil
	}
	if s.run.ctx.Err() != nil {
		return nil, pkcs11.CKR_CRYPTOKI_NOT_INITIALIZED
	}
	h, err := s.Open()
	if err != nil {
		return nil, unavailable(pkcs11.CKR_DEVICE_ERROR, err)
	}
	t := newToken(h)
	s.opened.Store(t)
	return t, nil
}

// onToken runs f for a slot's token.
func (l *Library) onToken(function string, id SlotID, f func(*slot, hsm.HSM) error) error {
	return l.onSlot(function, id, func(s *slot) error {
		t, err := s.token()
		if err != nil {
			return err
		}
		return f(s, t)
	})
}

// cleanup is the context of what must be done although the run may have ended.
func (s *slot) cleanup() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(s.run.ctx), cleanupTime)
}

// shut closes the sessions and the token for good.
func (s *slot) shut() {
	s.mu.Lock()
	s.gone = true
	s.mu.Unlock()
	s.closeAll() // now, for a call in one of them may hold use
	s.use.Lock()
	defer s.use.Unlock()
	s.closeAll() // what was being opened
	s.openMu.Lock()
	defer s.openMu.Unlock()
	if t := s.opened.Swap(nil); t != nil {
		s.library.log("Finalize", t.Close())
	}
}

// GetSlotList lists the slots in their configured order. A token is taken to be in each: whether it can be opened shows
// when it is used, so that slots do not come and go with a network. PKCS#11 v3.2, C_GetSlotList.
func (l *Library) GetSlotList(tokenPresent bool) ([]SlotID, error) {
	r, err := l.current()
	if err != nil {
		return nil, err
	}
	ids := make([]SlotID, len(r.order))
	for i, s := range r.order {
		ids[i] = s.ID
	}
	return ids, nil
}

// GetSlotInfo describes a slot; it does not open the token. PKCS#11 v3.2, C_GetSlotInfo.
func (l *Library) GetSlotInfo(id SlotID) (info pkcs11.SlotInfo, err error) {
	err = l.onSlot("GetSlotInfo", id, func(s *slot) error {
		info = pkcs11.SlotInfo{
			Description:     cmp.Or(s.Description, fmt.Sprintf("Coffer slot %d", id)), // NSS and others name slots by it
			Manufacturer:    manufacturer,
			Flags:           pkcs11.CKF_TOKEN_PRESENT,
			HardwareVersion: l.opts.Version,
			FirmwareVersion: l.opts.Version,
		}
		return nil
	})
	return info, err
}

// GetTokenInfo describes a token. The session counts and the dual operations are this side's. PKCS#11 v3.2,
// C_GetTokenInfo.
func (l *Library) GetTokenInfo(id SlotID) (info pkcs11.TokenInfo, err error) {
	err = l.onToken("GetTokenInfo", id, func(s *slot, t hsm.HSM) (err error) {
		if info, err = t.Info(s.run.ctx); err != nil {
			return err
		}
		info.Flags |= pkcs11.CKF_DUAL_CRYPTO_OPERATIONS | pkcs11.CKF_ASYNC_SESSION_SUPPORTED
		info.SessionCount, info.RwSessionCount = s.census.count()
		return nil
	})
	return info, err
}

// GetMechanismList lists what a token can do. PKCS#11 v3.2, C_GetMechanismList.
func (l *Library) GetMechanismList(id SlotID) (types []pkcs11.MechanismType, err error) {
	err = l.onToken("GetMechanismList", id, func(_ *slot, t hsm.HSM) error {
		types = slices.Clone(t.Mechanisms())
		return nil
	})
	return types, err
}

// GetMechanismInfo describes a mechanism. PKCS#11 v3.2, C_GetMechanismInfo.
func (l *Library) GetMechanismInfo(id SlotID, m pkcs11.MechanismType) (info pkcs11.MechanismInfo, err error) {
	err = l.onToken("GetMechanismInfo", id, func(_ *slot, t hsm.HSM) error {
		var ok bool
		if info, ok = t.Mechanism(m); !ok {
			return pkcs11.CKR_MECHANISM_INVALID
		}
		return nil
	})
	return info, err
}

// WaitForSlotEvent waits for a token to come or go, which none does while the library is initialised: a node that cannot
// be reached is a token that answers CKR_DEVICE_ERROR, and whoever asks it later finds it again, with his session and his
// login. So there is never an event, and the wait ends with C_Finalize. reserved says that pReserved is not NULL. PKCS#11
// v3.2, C_WaitForSlotEvent.
func (l *Library) WaitForSlotEvent(flags pkcs11.Flags, reserved bool) (SlotID, error) {
	r, err := l.current()
	switch {
	case err != nil:
		return 0, err
	case reserved:
		return 0, pkcs11.CKR_ARGUMENTS_BAD
	case flags&pkcs11.CKF_DONT_BLOCK != 0:
		return 0, pkcs11.CKR_NO_EVENT
	}
	<-r.ctx.Done()
	return 0, pkcs11.CKR_CRYPTOKI_NOT_INITIALIZED
}
