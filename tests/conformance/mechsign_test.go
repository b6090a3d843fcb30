package conformance

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/coffer-hsm/coffer/pkcs11"
)

// wantVerified verifies at once and in parts.
func (b *battery) wantVerified(t *testing.T, in, signature []byte) {
	t.Helper()
	require.NoError(t, b.VerifyInit(b.h, b.mech(), b.key.pub))
	require.NoError(t, b.Verify(b.h, in, signature))
	rv(t, pkcs11.CKR_OPERATION_NOT_INITIALIZED, b.Verify(b.h, in, signature))
	if b.row.OnePart {
		return
	}
	require.NoError(t, b.VerifyInit(b.h, b.mech(), b.key.pub))
	inParts(t, in, []int{len(in) / 2, len(in) - len(in)/2}, func(p []byte, _ *out) error { return b.VerifyUpdate(b.h, p) })
	require.NoError(t, b.VerifyFinal(b.h, signature))
}

// sign is signatures and MACs.
func (b *battery) sign(t *testing.T) {
	if b.row.Sign == nil {
		return
	}
	for _, n := range b.r.lens {
		in := message(n)
		require.NoError(t, b.SignInit(b.h, b.mech(), b.key.priv))
		signature := b.sized(t, func(o *out) error { return b.Sign(b.h, in, o) })
		rv(t, pkcs11.CKR_OPERATION_NOT_INITIALIZED, b.Sign(b.h, in, &out{Capacity: 1 << 16}))
		b.wantVerified(t, in, signature)
		if b.row.OnePart {
			continue
		}
		for _, parts := range b.few(splits(n)) {
			require.NoError(t, b.SignInit(b.h, b.mech(), b.key.priv))
			inParts(t, in, parts, func(p []byte, _ *out) error { return b.SignUpdate(b.h, p) })
			again := b.sized(t, func(o *out) error { return b.SignFinal(b.h, o) })
			if b.r.random {
				b.wantVerified(t, in, again)
			} else {
				require.Equal(t, signature, again, "parts %v", parts)
			}
		}
	}
	for _, n := range b.r.refused {
		require.NoError(t, b.SignInit(b.h, b.mech(), b.key.priv))
		rv(t, pkcs11.CKR_DATA_LEN_RANGE, b.Sign(b.h, message(n), &out{Capacity: 1 << 16}), n, "bytes")
		rv(t, pkcs11.CKR_OPERATION_NOT_INITIALIZED, b.SignFinal(b.h, &out{Capacity: 1 << 16}), "an error ends it")
	}
	b.forged(t)
	b.signEnds(t)
}

// forged changes a signature, its length, and what was signed; each ends the verification.
func (b *battery) forged(t *testing.T) {
	in := message(b.r.lens[len(b.r.lens)-1])
	require.NoError(t, b.SignInit(b.h, b.mech(), b.key.priv))
	signature := b.sized(t, func(o *out) error { return b.Sign(b.h, in, o) })
	refused := func(want pkcs11.RV, in, signature []byte) {
		t.Helper()
		require.NoError(t, b.VerifyInit(b.h, b.mech(), b.key.pub))
		rv(t, want, b.Verify(b.h, in, signature))
		rv(t, pkcs11.CKR_OPERATION_NOT_INITIALIZED, b.Verify(b.h, in, signature), "it has ended")
		if !b.row.OnePart {
			require.NoError(t, b.VerifyInit(b.h, b.mech(), b.key.pub))
			require.NoError(t, b.VerifyUpdate(b.h, in))
			rv(t, want, b.VerifyFinal(b.h, signature))
			rv(t, pkcs11.CKR_OPERATION_NOT_INITIALIZED, b.VerifyFinal(b.h, signature), "it has ended")
		}
	}
	for _, at := range []int{0, len(signature) / 2, len(signature) - 1} {
		bad := slices.Clone(signature)
		bad[at] ^= 1
		refused(pkcs11.CKR_SIGNATURE_INVALID, in, bad)
	}
	if len(in) > 0 && len(signature) > 1 {
		bad := slices.Clone(in)
		bad[0] ^= 0x40
		refused(pkcs11.CKR_SIGNATURE_INVALID, bad, signature)
	}
	refused(pkcs11.CKR_SIGNATURE_LEN_RANGE, in, append(slices.Clone(signature), 0))
	refused(pkcs11.CKR_SIGNATURE_LEN_RANGE, in, nil)
	if !b.r.short && len(signature) > 1 {
		refused(pkcs11.CKR_SIGNATURE_LEN_RANGE, in, signature[:len(signature)-1])
	}
	b.verifySignature(t, in, signature)
}

// verifySignature is the verification of 3.2, whose signature comes first.
func (b *battery) verifySignature(t *testing.T, in, signature []byte) {
	require.NoError(t, b.VerifySignatureInit(b.h, b.mech(), b.key.pub, signature))
	require.NoError(t, b.VerifySignature(b.h, in))
	bad := slices.Clone(signature)
	bad[0] ^= 1
	require.NoError(t, b.VerifySignatureInit(b.h, b.mech(), b.key.pub, bad))
	rv(t, pkcs11.CKR_SIGNATURE_INVALID, b.VerifySignature(b.h, in))
	rv(t, pkcs11.CKR_OPERATION_NOT_INITIALIZED, b.VerifySignature(b.h, in))
	if !b.row.OnePart {
		require.NoError(t, b.VerifySignatureInit(b.h, b.mech(), b.key.pub, signature))
		require.NoError(t, b.VerifySignatureUpdate(b.h, in))
		require.NoError(t, b.VerifySignatureFinal(b.h))
	}
}

// signEnds: what is out of order ends the operation.
func (b *battery) signEnds(t *testing.T) {
	in := message(b.r.lens[0])
	require.NoError(t, b.SignInit(b.h, b.mech(), b.key.priv))
	require.NoError(t, b.VerifyInit(b.h, b.mech(), b.key.pub), "beside a signature of the same session")
	signed, verified := b.SignUpdate(b.h, in), b.VerifyUpdate(b.h, in)
	if b.row.OnePart {
		rv(t, pkcs11.CKR_FUNCTION_NOT_SUPPORTED, signed, "in one part only")
		rv(t, pkcs11.CKR_FUNCTION_NOT_SUPPORTED, verified, "in one part only")
	} else {
		require.NoError(t, signed)
		require.NoError(t, verified)
		rv(t, pkcs11.CKR_OPERATION_ACTIVE, b.Sign(b.h, in, &out{Capacity: 1 << 16}), "parts have begun")
		rv(t, pkcs11.CKR_OPERATION_ACTIVE, b.Verify(b.h, in, make([]byte, 8)), "parts have begun")
	}
	rv(t, pkcs11.CKR_OPERATION_NOT_INITIALIZED, b.SignFinal(b.h, &out{Capacity: 1 << 16}))
	rv(t, pkcs11.CKR_OPERATION_NOT_INITIALIZED, b.VerifyFinal(b.h, make([]byte, 8)))
}

// recover is signatures that hold their data.
func (b *battery) recover(t *testing.T) {
	if b.row.SignRecover == nil {
		return
	}
	for _, n := range b.r.lens {
		in := message(n)
		require.NoError(t, b.SignRecoverInit(b.h, b.mech(), b.key.priv))
		signature := b.sized(t, func(o *out) error { return b.SignRecover(b.h, in, o) })
		rv(t, pkcs11.CKR_OPERATION_NOT_INITIALIZED, b.SignRecover(b.h, in, &out{Capacity: 1 << 16}))
		require.NoError(t, b.VerifyRecoverInit(b.h, b.mech(), b.key.pub))
		got := b.sized(t, func(o *out) error { return b.VerifyRecover(b.h, signature, o) })
		require.Equal(t, string(b.wanted(in, len(signature))), string(got))

		for _, bad := range [][]byte{signature[1:], append(slices.Clone(signature), 0), {}} {
			require.NoError(t, b.VerifyRecoverInit(b.h, b.mech(), b.key.pub))
			rv(t, pkcs11.CKR_SIGNATURE_LEN_RANGE, b.VerifyRecover(b.h, bad, &out{Capacity: 1 << 16}))
			rv(t, pkcs11.CKR_OPERATION_NOT_INITIALIZED, b.VerifyRecover(b.h, bad, &out{Capacity: 1 << 16}))
		}
	}
	for _, n := range b.r.refused {
		require.NoError(t, b.SignRecoverInit(b.h, b.mech(), b.key.priv))
		rv(t, pkcs11.CKR_DATA_LEN_RANGE, b.SignRecover(b.h, message(n), &out{Capacity: 1 << 16}), n, "bytes")
	}
}
