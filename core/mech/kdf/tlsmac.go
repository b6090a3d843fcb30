package kdf

import (
	"crypto/hmac"

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/mech/hashes"
	"github.com/coffer-hsm/coffer/core/secret"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// sides are the labels of a Finished message (RFC 5246, 7.4.9), by ulServerOrClient.
var sides = map[uint]string{1: "server finished", 2: "client finished"}

// minFinished and maxFinished bound verify_data, in bytes.
const minFinished, maxFinished = 12, 64

// maxTranscript bounds the data: in TLS 1.2 it is a hash.
const maxTranscript = 1 << 20

// finished is the MAC of a Finished message, Signer and Verifier. The function wants its data several times, so it is kept.
type finished struct {
	hash  *hashes.Hash
	key   []byte
	label string
	size  int
	data  []byte
}

func newFinished(k mech.Key, param any) (*finished, error) {
	p, ok := param.(*pkcs11.TLSMACParams)
	if !ok || p == nil {
		return nil, wrongParam(param)
	}
	h, err := tlsHash(p.Hash)
	if err != nil {
		return nil, err
	}
	label, known := sides[p.Side]
	if !known || p.Length < minFinished || p.Length > maxFinished {
		return nil, pkcs11.Errorf(pkcs11.CKR_MECHANISM_PARAM_INVALID, "side %d, %d bytes; want 1 or 2, and %d to %d bytes", p.Side, p.Length, minFinished, maxFinished)
	}
	key, err := value(k)
	if err != nil {
		return nil, err
	}
	return &finished{hash: h, key: key, label: label, size: int(p.Length)}, nil
}

func signFinished(k mech.Key, param any) (mech.Signer, error) {
	f, err := newFinished(k, param)
	if err != nil {
		return nil, err
	}
	return f, nil
}

func verifyFinished(k mech.Key, param any) (mech.Verifier, error) {
	f, err := newFinished(k, param)
	if err != nil {
		return nil, err
	}
	return f, nil
}

func (f *finished) Size() int { return f.size }

func (f *finished) Update(part []byte) error {
	if len(part) > maxTranscript-len(f.data) {
		return pkcs11.Errorf(pkcs11.CKR_DATA_LEN_RANGE, "more than %d bytes to sign", maxTranscript)
	}
	f.data = append(f.data, part...)
	return nil
}

func (f *finished) Finish(dst, part []byte) ([]byte, error) {
	return append(dst, tlsPRF(hmacUnder(f.hash, f.key), f.size, f.label, f.data, part)...), nil
}

func (f *finished) Verify(part, signature []byte) error {
	if len(signature) != f.size {
		return pkcs11.Errorf(pkcs11.CKR_SIGNATURE_LEN_RANGE, "a tag of %d bytes, want %d", len(signature), f.size)
	}
	tag := tlsPRF(hmacUnder(f.hash, f.key), f.size, f.label, f.data, part)
	defer secret.Wipe(tag)
	if !hmac.Equal(tag, signature) {
		return pkcs11.CKR_SIGNATURE_INVALID
	}
	return nil
}

func (f *finished) Close() {
	secret.Wipe(f.data)
	f.data, f.key = nil, nil
}
