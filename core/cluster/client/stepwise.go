package client

import (
	"context"

	"github.com/coffer-hsm/coffer/core/cluster/wire"
	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// stepwise is an operation that goes from state to state, at whatever node: MACs, chaining ciphers. Data that yield no
// output yet are kept here for the next step.
type stepwise struct {
	running
	unsent  kept
	pending int // bytes taken whose output has not been given
}

var (
	errVerifiesNothing = pkcs11.Errorf(pkcs11.CKR_GENERAL_ERROR, "this operation verifies nothing")
	errNoOutput        = pkcs11.Errorf(pkcs11.CKR_GENERAL_ERROR, "this operation has no output")
)

func (o *stepwise) UpdateLen(n int) int { return o.what.Shape.UpdateLen(o.pending, n) }

func (o *stepwise) FinishLen(n int) (int, bool) { return o.what.Shape.FinishLen(o.pending, n) }

func (o *stepwise) Update(ctx context.Context, dst, part []byte) ([]byte, error) {
	if err := o.ready(); err != nil {
		return nil, err
	}
	if err := o.inParts(); err != nil {
		return nil, err
	}
	size := o.UpdateLen(len(part))
	o.pending += len(part) - size
	if size == 0 && o.unsent.len()+len(part) <= wire.MaxPart {
		o.unsent.add(part)
		return dst, nil
	}
	start := len(dst)
	dst, rest, err := o.feed(ctx, dst, part)
	if err != nil {
		return nil, err
	}
	if size == 0 {
		o.unsent.add(rest)
	} else if dst, err = o.update(ctx, dst, rest); err != nil {
		return nil, err
	}
	if len(dst)-start != size {
		o.over = true
		clear(dst[start:])
		return nil, pkcs11.Errorf(pkcs11.CKR_DEVICE_ERROR, "the node answered with %d bytes of output, %d were due", len(dst)-start, size)
	}
	return dst, nil
}

// feed sends what is kept and part in pieces of MaxPart, and returns what remains: no more than one such piece, with
// nothing kept.
func (o *stepwise) feed(ctx context.Context, dst, part []byte) (out, rest []byte, err error) {
	if kept := o.unsent.len(); kept > 0 {
		n := min(len(part), wire.MaxPart-kept)
		o.unsent.add(part[:n])
		part = part[n:]
		if len(part) == 0 {
			return dst, o.unsent.take(), nil
		}
		if dst, err = o.update(ctx, dst, o.unsent.take()); err != nil {
			return nil, nil, err
		}
	}
	for len(part) > wire.MaxPart {
		if dst, err = o.update(ctx, dst, part[:wire.MaxPart]); err != nil {
			return nil, nil, err
		}
		part = part[wire.MaxPart:]
	}
	return dst, part, nil
}

func (o *stepwise) update(ctx context.Context, dst, data []byte) ([]byte, error) {
	return o.output(ctx, dst, &wire.Step{Act: wire.Act_ACT_UPDATE, Data: data})
}

func (o *stepwise) Finish(ctx context.Context, dst, part []byte) ([]byte, error) {
	if err := o.ready(); err != nil {
		return nil, err
	}
	if o.kind == hsm.OpVerify {
		return nil, errNoOutput
	}
	start := len(dst)
	dst, rest, err := o.feed(ctx, dst, part)
	if err != nil {
		return nil, err
	}
	out, err := o.output(ctx, dst, &wire.Step{Act: wire.Act_ACT_FINISH, Data: rest})
	if err != nil {
		clear(dst[start:])
		return nil, err
	}
	o.over = true
	return out, nil
}

func (o *stepwise) Verify(ctx context.Context, part, signature []byte) error {
	if err := o.ready(); err != nil {
		return err
	}
	if o.kind != hsm.OpVerify {
		return errVerifiesNothing
	}
	_, rest, err := o.feed(ctx, nil, part)
	if err != nil {
		return err
	}
	return o.verdict(ctx, &wire.Step{Act: wire.Act_ACT_VERIFY, Data: rest, Signature: signature})
}

// DigestKey feeds a secret key's value into a digest. PKCS#11 v3.2, C_DigestKey.
func (o *stepwise) DigestKey(ctx context.Context, cred hsm.Credential, key hsm.Object) error {
	if err := o.ready(); err != nil {
		return err
	}
	if o.kind != hsm.OpDigest {
		return o.running.DigestKey(ctx, cred, key)
	}
	if o.unsent.len() > 0 {
		if _, err := o.update(ctx, nil, o.unsent.take()); err != nil {
			return err
		}
	}
	return o.digestKey(ctx, cred, key, nil)
}

// digestKey sends a key after what is digested so far: by a node, or by this side if there is a state.
func (o *stepwise) digestKey(ctx context.Context, cred hsm.Credential, key hsm.Object, state []byte) error {
	o.over = true
	k, err := o.client.credential(cred)
	if err != nil {
		return err
	}
	_, f, err := o.client.formOf(key, pkcs11.CKR_KEY_HANDLE_INVALID)
	if err != nil {
		return err
	}
	if _, err := o.stepAs(ctx, k, &wire.Step{Act: wire.Act_ACT_DIGEST_KEY, DigestState: state, Digested: f.wire}); err != nil {
		return err
	}
	o.over = false
	return nil
}

func (o *stepwise) Close() {
	o.running.Close()
	o.unsent.wipe()
}

// atOnce is an operation that a node does in one go, from all its data. Parts are kept here until then.
type atOnce struct {
	running
	data kept
}

func (o *atOnce) FinishLen(n int) (int, bool) { return o.what.Shape.FinishLen(o.data.len(), n) }

func (o *atOnce) Update(_ context.Context, dst, part []byte) ([]byte, error) {
	if err := o.ready(); err != nil {
		return nil, err
	}
	if err := o.inParts(); err != nil {
		return nil, err
	}
	if err := o.fits(len(part)); err != nil {
		o.over = true
		return nil, err
	}
	o.data.add(part)
	return dst, nil
}

func (o *atOnce) fits(more int) error {
	if more > wire.MaxGathered-o.data.len() {
		return o.tooLong(o.data.len()+more, wire.MaxGathered)
	}
	return nil
}

// all returns the whole data, the last part included. A single part is not copied.
func (o *atOnce) all(part []byte) ([]byte, error) {
	if err := o.ready(); err != nil {
		return nil, err
	}
	o.over = true
	if err := o.fits(len(part)); err != nil {
		return nil, err
	}
	if o.data.len() == 0 {
		return part, nil
	}
	o.data.add(part)
	return o.data.b, nil
}

func (o *atOnce) Finish(ctx context.Context, dst, part []byte) ([]byte, error) {
	data, err := o.all(part)
	if err != nil {
		return nil, err
	}
	if o.kind == hsm.OpVerify {
		return nil, errNoOutput
	}
	return o.output(ctx, dst, &wire.Step{Act: wire.Act_ACT_FINISH, Data: data})
}

func (o *atOnce) Verify(ctx context.Context, part, signature []byte) error {
	data, err := o.all(part)
	if err != nil {
		return err
	}
	if o.kind != hsm.OpVerify {
		return errVerifiesNothing
	}
	return o.verdict(ctx, &wire.Step{Act: wire.Act_ACT_VERIFY, Data: data, Signature: signature})
}

func (o *atOnce) Close() {
	o.running.Close()
	o.data.wipe()
}

// kept is data that wait here, and are wiped when they have been used.
type kept struct {
	b    []byte
	used bool // b was taken: it is wiped before the next use
}

func (k *kept) len() int {
	if k.used {
		return 0
	}
	return len(k.b)
}

func (k *kept) add(p []byte) {
	if k.used {
		clear(k.b)
		k.b, k.used = k.b[:0], false
	}
	if need := len(k.b) + len(p); need > cap(k.b) {
		// append would leave the old bytes behind.
		bigger := make([]byte, len(k.b), max(need, 2*cap(k.b), 512))
		copy(bigger, k.b)
		clear(k.b)
		k.b = bigger
	}
	k.b = append(k.b, p...)
}

// take returns the data, good until the next use.
func (k *kept) take() []byte {
	if k.len() == 0 {
		return nil
	}
	k.used = true
	return k.b
}

func (k *kept) wipe() {
	clear(k.b[:cap(k.b)])
	k.b, k.used = nil, false
}
