package cryptoki

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// session is one session. Its fields are constant, or guarded by mu, which a call holds from its beginning to its end.
type session struct {
	numbered[session]
	slot  *slot
	hsm   *token
	ctx   context.Context
	rw    bool
	async bool          // calls that take long run beside it
	stage atomic.Uint32 // of its life; it only grows, and becomes closed under mu

	objects []*object // that it has made and that die with it; of localObjects

	mu    sync.Mutex
	owner bool   // it has made session objects
	login *login // the slot's login as the running call has found it
	*work        // nil before the first call
}

// The stages of a session's life. Calls that run when somebody begins to close it go on to their end, and the next ones
// may still come in until it is closed.
const (
	open    uint32 = iota
	leaving        // somebody closes it
	out            // and has counted it out
	closed         // what it owned is gone
)

// work is what a session does. It serves another session afterwards: many are opened for one signature.
type work struct {
	operations [numOperations]*operation
	messages   [hsm.NumOpKinds]*messages
	spares     [numOperations]*operation // those that have ended, for the next ones
	search     *search
	pending    map[string]*pending // by function, without C_
}

var works = sync.Pool{New: func() any { return new(work) }}

// OpenSession opens a session. The callback of C_OpenSession is never called: nothing surrenders. PKCS#11 v3.2,
// C_OpenSession.
func (l *Library) OpenSession(id SlotID, flags pkcs11.Flags) (h SessionHandle, err error) {
	err = l.onSlot("OpenSession", id, func(s *slot) error {
		if flags&pkcs11.CKF_SERIAL_SESSION == 0 {
			return pkcs11.CKR_SESSION_PARALLEL_NOT_SUPPORTED
		}
		t, err := s.token()
		if err != nil {
			return err
		}
		limits, err := t.limits(s.run.ctx)
		if err != nil {
			return err
		}
		x := &session{slot: s, hsm: t, ctx: s.run.ctx, rw: flags&pkcs11.CKF_RW_SESSION != 0,
			async: flags&pkcs11.CKF_ASYNC_SESSION != 0}
		h, err = s.add(x, limits)
		return err
	})
	return h, err
}

// add lets a session in. The caller holds use, so that C_Finalize will find the session in the table.
func (s *slot) add(x *session, limits hsm.Limits) (SessionHandle, error) {
	if x.rw && limits.WriteProtected {
		return 0, pkcs11.CKR_TOKEN_WRITE_PROTECTED
	}
	done, err := s.census.enter(x, limits, false)
	if !done {
		err = s.addGuarded(x, limits)
	}
	if err != nil {
		return 0, err
	}
	s.run.sessions.add(x, &x.numbered, &s.library.lastSession)
	return x.handle, nil
}

// addGuarded counts in a session that needs mu for it.
func (s *slot) addGuarded(x *session, limits hsm.Limits) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gone {
		return pkcs11.CKR_CRYPTOKI_NOT_INITIALIZED
	}
	if !x.rw && s.login.Load().isSO() {
		return pkcs11.CKR_SESSION_READ_WRITE_SO_EXISTS
	}
	_, err := s.census.enter(x, limits, true)
	return err
}

// CloseSession closes a session; with the last one the user is logged out. PKCS#11 v3.2, C_CloseSession.
func (l *Library) CloseSession(h SessionHandle) error {
	r, err := l.current()
	if err != nil {
		return err
	}
	x, ok := r.sessions.load(h)
	if !ok {
		return pkcs11.CKR_SESSION_HANDLE_INVALID
	}
	if err := x.slot.closeOne(x); err != nil {
		return l.answer("CloseSession", r, err)
	}
	return nil
}

func (s *slot) closeOne(x *session) error {
	if !x.stage.CompareAndSwap(open, leaving) {
		x.countedOut()
		return pkcs11.CKR_SESSION_HANDLE_INVALID
	}
	if x.countOut(false) {
		x.end()
		return nil
	}
	s.use.RLock() // C_Finalize waits for sessions to end, and for the logout so
	defer s.use.RUnlock()
	s.mu.Lock()
	x.countOut(true)
	var who *login
	if all, _ := s.census.count(); all == 0 {
		who = s.forget()
	}
	s.mu.Unlock()
	x.end()
	s.ended(who)
	return nil
}

// CloseAllSessions closes the application's sessions with a token and logs out. PKCS#11 v3.2, C_CloseAllSessions.
func (l *Library) CloseAllSessions(id SlotID) error {
	return l.onSlot("CloseAllSessions", id, func(s *slot) error {
		s.closeAll()
		return nil
	})
}

// closeAll closes the sessions that are there. One that is being closed already is waited for.
func (s *slot) closeAll() {
	var closing []*session
	s.mu.Lock()
	who := s.forget()
	s.run.sessions.each(func(x *session) {
		if x.slot != s {
			return
		}
		closing = append(closing, x)
		if x.stage.CompareAndSwap(open, leaving) {
			x.countOut(true)
		}
	})
	s.mu.Unlock()
	for _, x := range closing {
		x.countedOut()
		x.end()
	}
	s.ended(who)
}

// countOut counts out a session that the caller closes; done and locked are those of the census. One that C_Finalize has
// closed meanwhile stays closed.
func (x *session) countOut(locked bool) (done bool) {
	if done = x.slot.census.leave(x, locked); done {
		x.stage.CompareAndSwap(leaving, out)
	}
	return done
}

// countedOut returns when the session that somebody else closes is in the census no more: whoever is told that it is
// closed must not find it counted. That takes the other a few instructions, or his turn at mu, so nobody holds mu here.
// C_Finalize, after which nobody counts, does not wait: the other may wait for it.
func (x *session) countedOut() {
	for x.stage.Load() < out && x.ctx.Err() == nil {
		runtime.Gosched()
	}
}

// end waits for the session's running call, wipes what it owns and takes it out of the table, so that whoever does not
// find it there need not wait for it.
func (x *session) end() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.stage.Swap(closed) == closed {
		return
	}
	if x.work != nil {
		x.stop()
	}
	if x.owner {
		x.slot.discard(x.hsm, x.slot.objects.local.of(x))
	}
	x.slot.run.sessions.remove(&x.numbered)
}

// stop ends all that the session does.
func (x *session) stop() {
	x.cancelAll()
	for _, p := range x.pending {
		if !x.slot.library.kept.left(p) {
			p.abandon()
		}
	}
	x.pending = nil
	works.Put(x.work)
	x.work = nil
}

// discard gives up session objects.
func (s *slot) discard(t hsm.HSM, objects []*object) {
	for _, o := range objects {
		s.objects.remove(o)
		t.Discard(o.far())
	}
}

// SessionInfo is the state of a session. PKCS#11 v3.2, C_GetSessionInfo.
func (l *Library) GetSessionInfo(h SessionHandle) (info pkcs11.SessionInfo, err error) {
	err = l.inSession("GetSessionInfo", h, func(x *session) error {
		info = pkcs11.SessionInfo{Slot: x.slot.ID, State: x.state(), Flags: pkcs11.CKF_SERIAL_SESSION}
		if x.rw {
			info.Flags |= pkcs11.CKF_RW_SESSION
		}
		if x.async {
			info.Flags |= pkcs11.CKF_ASYNC_SESSION
		}
		return nil
	})
	return info, err
}

// GetSessionValidationFlags says which validations the last operation of the session was covered by: those of the token's
// objects of class CKO_VALIDATION, which a token in FIPS mode has. Such a token does nothing else than what they cover, so
// that their flags are set before the first operation too. Another question than CKS_LAST_VALIDATION_OK is
// CKR_ARGUMENTS_BAD. PKCS#11 v3.2, C_GetSessionValidationFlags.
func (l *Library) GetSessionValidationFlags(h SessionHandle, kind uint) (flags pkcs11.Flags, err error) {
	err = l.inSession("GetSessionValidationFlags", h, func(x *session) error {
		if kind != pkcs11.CKS_LAST_VALIDATION_OK {
			return pkcs11.Errorf(pkcs11.CKR_ARGUMENTS_BAD, "validation flags of type %d", kind)
		}
		found, err := x.hsm.Find(x.ctx, x.cred(), pkcs11.Template{pkcs11.AttrUlong(pkcs11.CKA_CLASS, pkcs11.CKO_VALIDATION)})
		if err != nil {
			return err
		}
		for _, o := range found {
			values, err := x.hsm.Attributes(x.ctx, x.cred(), o, []pkcs11.AttributeType{pkcs11.CKA_VALIDATION_FLAG})
			if err != nil {
				return err
			}
			flag, _ := values[0].Value.(uint)
			flags |= pkcs11.Flags(flag)
		}
		return nil
	})
	return flags, err
}

func (x *session) state() pkcs11.State {
	switch {
	case x.login == nil && x.rw:
		return pkcs11.CKS_RW_PUBLIC_SESSION
	case x.login == nil:
		return pkcs11.CKS_RO_PUBLIC_SESSION
	case x.login.user == pkcs11.CKU_SO:
		return pkcs11.CKS_RW_SO_FUNCTIONS
	case x.rw:
		return pkcs11.CKS_RW_USER_FUNCTIONS
	}
	return pkcs11.CKS_RO_USER_FUNCTIONS
}
