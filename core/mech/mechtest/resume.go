package mechtest

import (
	"bytes"
	"testing"

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/mech/hashes"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// closer is what Ciphers, Signers and Verifiers share.
type closer interface{ Close() }

// carry takes the state of an operation into a fresh one and checks mech.Resumable's promises; the old one is closed.
func carry[T closer](t *testing.T, op T, create func() (T, error)) T {
	t.Helper()
	state, err := any(op).(mech.Resumable).State()
	if err != nil {
		t.Fatalf("State: %v", err)
	}
	op.Close()
	next, err := create()
	if err != nil {
		t.Fatal(err)
	}
	given := bytes.Clone(state)
	if err := any(next).(mech.Resumable).Resume(given); err != nil {
		t.Fatalf("Resume: %v", err)
	}
	clear(given) // the caller wipes it
	if again, err := any(next).(mech.Resumable).State(); err != nil || !bytes.Equal(again, state) {
		t.Errorf("the state resumed from %x is %x, error %v", state, again, err)
	}
	return next
}

func isResumable(op any) bool {
	_, ok := op.(mech.Resumable)
	return ok
}

// resumeCipher moves encryptions and decryptions to a fresh operation before each part.
func (c *Case) resumeCipher(t *testing.T, param any) {
	for _, d := range []struct {
		create constructor
		key    mech.Key
	}{{c.Row.Encrypt, c.Public}, {c.Row.Decrypt, c.Key}} {
		create := func() (mech.Cipher, error) { return d.create(d.key, param) }
		op, err := create()
		if err != nil {
			t.Fatal(err)
		}
		op.Close()
		if !isResumable(op) {
			continue
		}
		hop := func(op mech.Cipher) mech.Cipher { return carry(t, op, create) }
		for _, n := range c.Lens {
			in := data(n)
			if sealed, err := feed(t, c.Row.Encrypt, c.Public, param, in); err == nil {
				c.resumeInput(t, d.create, d.key, param, hop, in, sealed)
			}
		}
		hostileStates(t, c.stride(), create, func(op mech.Cipher, part []byte) {
			op.UpdateLen(len(part))
			op.Update(nil, part) //nolint:errcheck // only a panic counts
		}, func(op mech.Cipher) {
			op.FinishLen(16)
			op.Finish(nil, data(16)) //nolint:errcheck // only a panic counts
		})
	}
}

// resumeInput compares operations that are moved with ones that are not, over the plaintext and its ciphertext.
func (c *Case) resumeInput(t *testing.T, create constructor, k mech.Key, param any, hop func(mech.Cipher) mech.Cipher, inputs ...[]byte) {
	for _, in := range inputs {
		want, wantErr := feed(t, create, k, param, in)
		cuts(in, func(parts [][]byte) {
			got, err := feedBy(t, create, k, param, hop, parts...)
			if !bytes.Equal(got, want) || pkcs11.RVOf(err) != pkcs11.RVOf(wantErr) {
				t.Errorf("parts %v, moved: %x, %v; in one %x, %v", shape(parts), got, err, want, wantErr)
			}
		})
	}
}

// resumeSign does the same with signatures and verifications.
func (c *Case) resumeSign(t *testing.T, param any) {
	if c.Row.OnePart {
		return
	}
	signer := func() (mech.Signer, error) { return c.Row.Sign(c.Key, param) }
	verifier := func() (mech.Verifier, error) { return c.Row.Verify(c.Public, param) }
	s, err := signer()
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	v, err := verifier()
	if err != nil {
		t.Fatal(err)
	}
	v.Close()
	if isResumable(s) != isResumable(v) {
		t.Errorf("only one of signing and verifying can be moved")
	}
	if !isResumable(s) || !isResumable(v) {
		return
	}
	if h := hashes.ByID(c.Row.Hash); h != nil && !hashes.HasState(h.New()) {
		s, _ := signer()
		defer s.Close()
		_, err := s.(mech.Resumable).State()
		wantRV(t, err, pkcs11.CKR_STATE_UNSAVEABLE)
		return
	}
	lens := c.few(c.Takes)
	for _, n := range c.Lens {
		if n > 100 && c.Takes(n) {
			lens = append(lens, n)
		}
	}
	if c.Costly {
		lens = lens[len(lens)-1:]
	}
	for _, n := range lens {
		in := data(n)
		want, err := c.signParts(t, param, in)
		if err != nil {
			t.Fatal(err)
		}
		again, err := c.signParts(t, param, in)
		if err != nil {
			t.Fatal(err)
		}
		random := !bytes.Equal(again, want) // a signature that draws lots
		tried := 0
		cuts(in, func(parts [][]byte) {
			if tried++; c.Costly && tried > 4 {
				return
			}
			s, _ := signer()
			v, _ := verifier()
			for _, p := range parts[:len(parts)-1] {
				s, v = carry(t, s, signer), carry(t, v, verifier)
				if err := s.Update(p); err != nil {
					t.Fatal(err)
				}
				if err := v.Update(p); err != nil {
					t.Fatal(err)
				}
			}
			// What a signer leaves a verifier takes: the operation is the same.
			s, v = carry(t, s, signer), carry(t, v, verifier)
			last := parts[len(parts)-1]
			got, err := s.Finish(nil, last)
			if err == nil && random {
				err = c.verifyParts(t, param, got, in)
			}
			if err != nil || !random && !bytes.Equal(got, want) {
				t.Errorf("parts %v, moved: %x, %v; in one %x", shape(parts), got, err, want)
			}
			if err := v.Verify(last, want); err != nil {
				t.Errorf("parts %v, verification moved: %v", shape(parts), err)
			}
			s.Close()
			v.Close()
		})
	}
	hostileStates(t, c.stride(), signer, func(op mech.Signer, part []byte) {
		op.Update(part) //nolint:errcheck // only a panic counts
	}, func(op mech.Signer) {
		op.Finish(nil, data(16)) //nolint:errcheck // only a panic counts
	})
}

// resumeDigest moves digests, whose state is the hash's.
func (c *Case) resumeDigest(t *testing.T, param any) {
	if h, err := c.Row.Digest(param); err == nil && !hashes.HasState(h) {
		return // done in one go, wherever
	}
	for _, n := range c.Lens {
		in := data(n)
		cuts(in, func(parts [][]byte) {
			h, err := c.Row.Digest(param)
			if err != nil {
				t.Fatal(err)
			}
			whole, _ := c.Row.Digest(param)
			for _, p := range parts {
				state, err := hashes.AppendState(nil, h)
				if err != nil {
					t.Fatal(err)
				}
				h, _ = c.Row.Digest(param)
				if err := hashes.Resume(h, state); err != nil {
					t.Fatal(err)
				}
				h.Write(p)
			}
			whole.Write(in)
			if !bytes.Equal(h.Sum(nil), whole.Sum(nil)) {
				t.Errorf("parts %v, moved: another digest", shape(parts))
			}
		})
	}
}

// hostileStates offers operations what no State has returned: cut, lengthened, with bytes changed, to ones that have begun
// or ended; every stride-th byte is tried. What is refused leaves the operation as it was; what is taken must not make a later part panic.
func hostileStates[T closer](t *testing.T, stride int, create func() (T, error), update func(T, []byte), finish func(T)) {
	fresh := func() T {
		op, err := create()
		if err != nil {
			t.Fatal(err)
		}
		return op
	}
	stateOf := func(op T) []byte {
		state, err := any(op).(mech.Resumable).State()
		if err != nil {
			t.Fatalf("State: %v", err)
		}
		return state
	}
	try := func(state []byte, must bool) {
		op := fresh()
		defer op.Close()
		before := stateOf(op)
		guarded(t, func() string { return "a wild state" }, func() {
			err := any(op).(mech.Resumable).Resume(state)
			switch {
			case err == nil && must:
				t.Errorf("state %x: accepted", state)
			case err != nil:
				wantRV(t, err, pkcs11.CKR_SAVED_STATE_INVALID)
				if !bytes.Equal(stateOf(op), before) {
					t.Errorf("state %x was refused, but changed the operation", state)
				}
			case !bytes.Equal(stateOf(op), state):
				t.Errorf("state %x became %x", state, stateOf(op))
			}
			update(op, data(5))
			update(op, data(300))
			finish(op)
		})
	}
	for _, taken := range []int{0, 1, 15, 16, 17, 100} {
		op := fresh()
		update(op, data(taken))
		state := stateOf(op)
		if taken > 0 {
			wantRV(t, any(op).(mech.Resumable).Resume(state), pkcs11.CKR_OPERATION_ACTIVE)
		}
		op.Close()
		_, err := any(op).(mech.Resumable).State()
		wantRV(t, err, pkcs11.CKR_OPERATION_NOT_INITIALIZED)
		wantRV(t, any(op).(mech.Resumable).Resume(state), pkcs11.CKR_OPERATION_NOT_INITIALIZED)
		for cut := 0; cut < len(state); cut += stride {
			try(state[:cut], true)
		}
		try(append(bytes.Clone(state), 0), true)
		for i := 0; i < len(state); i += stride {
			for _, b := range []byte{0, 1, 16, 17, 0x7f, 0xff} {
				changed := bytes.Clone(state)
				changed[i] = b
				try(changed, i == 0 && b != state[0])
			}
		}
	}
}

// stride thins out the bytes of a state that are changed.
func (c *Case) stride() int {
	if c.Costly {
		return 29
	}
	return 1
}

// digested signs and verifies with digests made outside, where the row's operations hash first.
func (c *Case) digested(t *testing.T, param any) {
	signer := func() mech.Signer {
		op, err := c.Row.Sign(c.Key, param)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(op.Close)
		return op
	}
	verifier := func() mech.Verifier {
		op, err := c.Row.Verify(c.Public, param)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(op.Close)
		return op
	}
	s, isS := signer().(mech.Digested)
	v, isV := verifier().(mech.Digested)
	if isS != isV || isS && (s.Hash() != c.Row.Hash || v.Hash() != c.Row.Hash) || !isS && c.Row.Hash != 0 {
		t.Fatalf("the row's hash is %v, signer %v, verifier %v", c.Row.Hash, s, v)
	}
	if c.Row.Hash == 0 {
		return
	}
	h := hashes.ByID(c.Row.Hash)
	finish := func(digest []byte) ([]byte, error) {
		return signer().(interface {
			FinishDigest(dst, digest []byte) ([]byte, error)
		}).FinishDigest([]byte("dst"), digest)
	}
	verify := func(digest, sig []byte) error {
		return verifier().(interface {
			VerifyDigest(digest, signature []byte) error
		}).VerifyDigest(digest, sig)
	}
	for _, n := range c.few(c.Takes) {
		in := data(n)
		digest := h.Sum(in)
		sig, err := finish(digest)
		if err != nil || string(sig[:3]) != "dst" {
			t.Fatalf("FinishDigest of %d bytes: %v", n, err)
		}
		if err := c.verifyParts(t, param, sig[3:], in); err != nil {
			t.Errorf("%d bytes: the digest's signature is not the data's: %v", n, err)
		}
		whole, err := c.signParts(t, param, in)
		if err != nil {
			t.Fatal(err)
		}
		if err := verify(digest, whole); err != nil {
			t.Errorf("%d bytes: the data's signature is not the digest's: %v", n, err)
		}
		wantRV(t, verify(h.Sum(in, in, []byte{1}), whole), pkcs11.CKR_SIGNATURE_INVALID)
		for _, l := range []int{0, 1, h.Size() - 1, h.Size() + 1, 200} {
			_, err := finish(make([]byte, l))
			wantRV(t, err, pkcs11.CKR_DATA_LEN_RANGE)
			wantRV(t, verify(make([]byte, l), whole), pkcs11.CKR_DATA_LEN_RANGE)
		}
	}
}
