package cryptoki

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// Numbers that an application holds. Those of sessions and objects are never given twice by one Library; 0 is none.
type (
	SlotID        = uint
	SessionHandle = uint
	ObjectHandle  = uint
)

// Slot is one slot and the way to its token.
type Slot struct {
	ID          SlotID
	Description string // 64 bytes; where it is empty, "Coffer slot" and the number
	// CloudHSMIV says that CKM_AES_GCM encrypts and wraps as AWS CloudHSM does: under an IV of its own (cloudiv.go).
	CloudHSMIV bool
	// KeyTypes are the types of the token's keys that C_FindObjects finds; nil is all (keytypes.go).
	KeyTypes []pkcs11.KeyType
	// Open opens the token at its first use. A failure is the answer of that call, CKR_DEVICE_ERROR if it names no
	// return value, and the next call tries again.
	Open func() (hsm.HSM, error)
}

// Options are what a Library is made of.
type Options struct {
	// Slots is asked at each C_Initialize; the order given is the order of C_GetSlotList.
	Slots func() ([]Slot, error)
	// Version is the library's own, for C_GetInfo and C_GetSlotInfo.
	Version pkcs11.Version
	// Log hears of errors that have something to say beyond their return value; it may be nil.
	Log func(function string, err error)
}

// Library is what one application sees. Its handle counters go on over many C_Initialize.
type Library struct {
	opts Options

	life sync.Mutex          // one C_Initialize or C_Finalize at a time
	run  atomic.Pointer[run] // nil while not initialised

	lastSession, lastObject atomic.Uint64

	kept kept // over many C_Initialize too
}

// run is the time from C_Initialize to C_Finalize.
type run struct {
	ctx      context.Context // ends with C_Finalize
	cancel   context.CancelFunc
	order    []*slot
	slots    map[SlotID]*slot
	sessions numbers[session]
}

// New returns a library that is not initialised.
func New(opts Options) *Library { return &Library{opts: opts} }

// cleanupTime bounds what closing sessions, logging out and C_Finalize wait for a token that does not answer.
const cleanupTime = 5 * time.Second

// current returns the present run.
func (l *Library) current() (*run, error) {
	if r := l.run.Load(); r != nil {
		return r, nil
	}
	return nil, pkcs11.CKR_CRYPTOKI_NOT_INITIALIZED
}

// onSlot runs f for a slot; the token is not closed while f runs.
func (l *Library) onSlot(function string, id SlotID, f func(*slot) error) error {
	r, err := l.current()
	if err != nil {
		return err
	}
	s, ok := r.slots[id]
	if !ok {
		return l.answer(function, r, pkcs11.Errorf(pkcs11.CKR_SLOT_ID_INVALID, "there is no slot %d", id))
	}
	s.use.RLock()
	defer s.use.RUnlock()
	if r.ctx.Err() != nil {
		return pkcs11.CKR_CRYPTOKI_NOT_INITIALIZED
	}
	if err := f(s); err != nil {
		return l.answer(function, r, err)
	}
	return nil
}

// inSession runs f in a session that stays open while f runs.
func (l *Library) inSession(function string, h SessionHandle, f func(*session) error) error {
	r, err := l.current()
	if err != nil {
		return err
	}
	x, ok := r.sessions.load(h)
	if !ok {
		return pkcs11.CKR_SESSION_HANDLE_INVALID
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.stage.Load() == closed {
		return l.answer(function, r, pkcs11.CKR_SESSION_HANDLE_INVALID)
	}
	if x.work == nil {
		x.work = works.Get().(*work)
	}
	x.login = x.slot.login.Load()
	if err = f(x); err == nil {
		return nil
	}
	x.checkLogin(err)
	return l.answer(function, r, err)
}

// answer logs what is worth it. A call that C_Finalize has cut short answers as if it had come after it.
func (l *Library) answer(function string, r *run, err error) error {
	if err == nil {
		return nil
	}
	if r.ctx.Err() != nil {
		return pkcs11.CKR_CRYPTOKI_NOT_INITIALIZED
	}
	l.log(function, err)
	return err
}

func (l *Library) log(function string, err error) {
	if err == nil || l.opts.Log == nil {
		return
	}
	if rv, bare := err.(pkcs11.RV); !bare || rv == pkcs11.CKR_GENERAL_ERROR {
		l.opts.Log(function, err)
	}
}

// unavailable makes sure that an error says which return value it is: rv unless it names its own.
func unavailable(rv pkcs11.RV, err error) error {
	var bare pkcs11.RV
	var named *pkcs11.Error
	if errors.As(err, &bare) || errors.As(err, &named) {
		return err
	}
	return pkcs11.Errorf(rv, "%w", err)
}
