package main

import (
	"context"
	"errors"
	"io"

	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/core/secret"
	"github.com/coffer-hsm/coffer/pkcs11"
)

const (
	partSize = 256 << 10
	// maxOnePart bounds what is held in memory for mechanisms that take their data in one part only.
	maxOnePart = 64 << 20
)

// operation begins an operation with a key; a key that wants the PIN for each use gets it.
func (t *token) operation(ctx context.Context, kind hsm.OpKind, m pkcs11.Mechanism, o object) (hsm.Operation, error) {
	op, err := t.Begin(ctx, t.cred, kind, m, o.ref)
	if err != nil {
		return nil, err
	}
	if op.MustAuthenticate() {
		pin, err := t.app.pin(pinUser, false)
		if err == nil {
			err = op.Authenticate(ctx, pin.Expose())
		}
		if err != nil {
			op.Close()
			return nil, &loginError{pkcs11.CKU_USER, err}
		}
	}
	return op, nil
}

// feed runs all of r through an operation. begin starts it, and starts it anew where the mechanism turns out to take its
// data in one part only; end finishes it with the last part.
func feed(ctx context.Context, r io.Reader, w io.Writer, begin func() (hsm.Operation, error), end func(op hsm.Operation, last []byte) error) error {
	op, err := begin()
	if err != nil {
		return err
	}
	defer func() { op.Close() }()
	part := make([]byte, partSize)
	defer secret.Wipe(part)
	n, last, err := fill(r, part)
	if err != nil {
		return err
	}
	first := true
	for !last {
		out, err := op.Update(ctx, nil, part[:n])
		if first && errors.Is(err, pkcs11.CKR_FUNCTION_NOT_SUPPORTED) {
			op.Close()
			if op, err = begin(); err != nil {
				return err
			}
			return endWhole(r, part[:n], func(all []byte) error { return end(op, all) })
		}
		if err != nil {
			return err
		}
		first = false
		if _, err := w.Write(out); err != nil {
			return err
		}
		if n, last, err = fill(r, part); err != nil {
			return err
		}
	}
	return end(op, part[:n])
}

// endWhole reads the rest and ends with all of it.
func endWhole(r io.Reader, begun []byte, end func([]byte) error) error {
	rest, err := io.ReadAll(io.LimitReader(r, maxOnePart-int64(len(begun))+1))
	defer secret.Wipe(rest)
	if err != nil {
		return err
	}
	if len(begun)+len(rest) > maxOnePart {
		return usage("this mechanism takes its data in one part, which here is at most %d MiB", "use a mechanism that hashes first", maxOnePart>>20)
	}
	all := append(append(make([]byte, 0, len(begun)+len(rest)), begun...), rest...)
	defer secret.Wipe(all)
	return end(all)
}

// fill reads a whole part; last says that nothing follows.
func fill(r io.Reader, part []byte) (n int, last bool, err error) {
	n, err = io.ReadFull(r, part)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return n, true, nil
	}
	return n, false, err
}
