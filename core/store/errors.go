package store

import "errors"

// What a store answers, wrapped with detail. Tell them apart with errors.Is.
var (
	ErrConflict    = errors.New("store: the record was changed by someone else")
	ErrNotFound    = errors.New("store: not found")
	ErrCompacted   = errors.New("store: that revision cannot be told about any more")
	ErrReadOnly    = errors.New("store: read only")
	ErrFull        = errors.New("store: no space left")
	ErrDamaged     = errors.New("store: damaged, or not a store")
	ErrVersion     = errors.New("store: written by a later version")
	ErrUnavailable = errors.New("store: unavailable")
	ErrBusy        = errors.New("store: busy")
	ErrInvalid     = errors.New("store: invalid request") // a fault of the caller
)
