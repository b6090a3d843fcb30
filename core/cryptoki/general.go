package cryptoki

import (
	"context"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// InitArgs is CK_C_INITIALIZE_ARGS, decoded.
type InitArgs struct {
	Callbacks int  // how many of the four mutex callbacks are not NULL
	Reserved  bool // pReserved is not NULL
	Flags     pkcs11.Flags
}

// check says whether this library can live with the arguments. It locks with the operating system's means only.
//
// Deviation: CKF_LIBRARY_CANT_CREATE_OS_THREADS is not answered with CKR_NEED_TO_CREATE_THREADS. The threads of the
// runtime are there since the library was loaded, and GnuTLS sets the flag wherever it loads modules.
func (a *InitArgs) check() error {
	switch {
	case a == nil:
		return nil
	case a.Reserved:
		return pkcs11.Errorf(pkcs11.CKR_ARGUMENTS_BAD, "pReserved is not NULL")
	case a.Callbacks != 0 && a.Callbacks != 4:
		return pkcs11.Errorf(pkcs11.CKR_ARGUMENTS_BAD, "%d of 4 mutex callbacks are given", a.Callbacks)
	case a.Callbacks == 4 && a.Flags&pkcs11.CKF_OS_LOCKING_OK == 0:
		return pkcs11.Errorf(pkcs11.CKR_CANT_LOCK, "mutex callbacks without CKF_OS_LOCKING_OK")
	}
	return nil
}

// Initialize begins a run; args is nil for a NULL pointer. No token is opened yet. PKCS#11 v3.2, C_Initialize.
func (l *Library) Initialize(args *InitArgs) error {
	l.life.Lock()
	defer l.life.Unlock()
	if l.run.Load() != nil {
		return pkcs11.CKR_CRYPTOKI_ALREADY_INITIALIZED
	}
	r, err := l.start(args)
	if err != nil {
		l.log("Initialize", err)
		return err
	}
	l.run.Store(r)
	return nil
}

func (l *Library) start(args *InitArgs) (*run, error) {
	if err := args.check(); err != nil {
		return nil, err
	}
	slots, err := l.opts.Slots()
	if err != nil {
		return nil, unavailable(pkcs11.CKR_FUNCTION_FAILED, err)
	}
	r := &run{slots: map[SlotID]*slot{}}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	for _, s := range slots {
		if r.slots[s.ID] != nil {
			r.cancel()
			return nil, pkcs11.Errorf(pkcs11.CKR_FUNCTION_FAILED, "two slots have the number %d", s.ID)
		}
		n := newSlot(l, r, s)
		r.slots[s.ID] = n
		r.order = append(r.order, n)
	}
	return r, nil
}

// Finalize ends the run: calls that are under way end early, sessions and tokens are closed. PKCS#11 v3.2, C_Finalize.
func (l *Library) Finalize(reserved bool) error {
	l.life.Lock()
	defer l.life.Unlock()
	r, err := l.current()
	if err != nil {
		return err
	}
	if reserved {
		return pkcs11.CKR_ARGUMENTS_BAD
	}
	l.run.Store(nil)
	r.cancel()
	for _, s := range r.order {
		s.shut()
	}
	l.kept.finalized()
	return nil
}

// GetInfo describes the library. PKCS#11 v3.2, C_GetInfo.
func (l *Library) GetInfo() (pkcs11.Info, error) {
	if _, err := l.current(); err != nil {
		return pkcs11.Info{}, err
	}
	return pkcs11.Info{
		CryptokiVersion: pkcs11.Version{Major: 3, Minor: 2},
		Manufacturer:    manufacturer,
		Description:     "Coffer PKCS #11",
		LibraryVersion:  l.opts.Version,
	}, nil
}

const manufacturer = "Coffer"
