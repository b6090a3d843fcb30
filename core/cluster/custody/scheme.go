package custody

import (
	"crypto/rand"
	"errors"
	"fmt"
	"slices"

	"github.com/miekg/pkcs11"

	"github.com/coffer-hsm/coffer/core/secret"
)

const (
	moduleNonce = 12
	moduleTag   = 16
)

// scheme is a way in which a key of another module encrypts ours. Its id is the first byte of what is kept.
type scheme struct {
	id       byte
	keyType  uint // CKK_
	encrypts uint // CKO_ of the key that encrypts
	decrypts uint // CKO_ of the key that decrypts
	// nonce is the length in bytes of what stands between id and ciphertext.
	nonce int
	// mechanism makes the parameter; free is called when the module is done with it. used returns the nonce that was
	// used, for a module that chooses its own.
	mechanism func(nonce []byte, b Binding) (mech *pkcs11.Mechanism, used func() []byte, free func())
}

// schemes are in the order in which they are tried; those of one key type stand together. SHA-1 is for modules that do
// OAEP with no other hash, where its collisions do no harm (RFC 8017, B.1).
var schemes = []scheme{
	{1, pkcs11.CKK_AES, pkcs11.CKO_SECRET_KEY, pkcs11.CKO_SECRET_KEY, moduleNonce, gcmMechanism},
	{2, pkcs11.CKK_RSA, pkcs11.CKO_PUBLIC_KEY, pkcs11.CKO_PRIVATE_KEY, 0, oaepMechanism(pkcs11.CKM_SHA256, pkcs11.CKG_MGF1_SHA256)},
	{3, pkcs11.CKK_RSA, pkcs11.CKO_PUBLIC_KEY, pkcs11.CKO_PRIVATE_KEY, 0, oaepMechanism(pkcs11.CKM_SHA_1, pkcs11.CKG_MGF1_SHA1)},
}

// schemeOf returns the index of a scheme, or -1.
func schemeOf(id byte) int {
	return slices.IndexFunc(schemes, func(s scheme) bool { return s.id == id })
}

func gcmMechanism(nonce []byte, b Binding) (*pkcs11.Mechanism, func() []byte, func()) {
	params := pkcs11.NewGCMParams(nonce, []byte(b.label().String()), moduleTag*8)
	return pkcs11.NewMechanism(pkcs11.CKM_AES_GCM, params), params.IV, params.Free
}

// oaepMechanism has no label: many modules refuse one. The sealed root is bound to the node by itself.
func oaepMechanism(hash, mgf uint) func([]byte, Binding) (*pkcs11.Mechanism, func() []byte, func()) {
	return func([]byte, Binding) (*pkcs11.Mechanism, func() []byte, func()) {
		params := pkcs11.NewOAEPParams(hash, mgf, pkcs11.CKZ_DATA_SPECIFIED, nil)
		return pkcs11.NewMechanism(pkcs11.CKM_RSA_PKCS_OAEP, params), func() []byte { return nil }, func() {}
	}
}

// refused reports whether the module does not do the mechanism with these parameters, so that the next may serve.
func (scheme) refused(err error) bool {
	return slices.ContainsFunc([]uint{pkcs11.CKR_MECHANISM_INVALID, pkcs11.CKR_MECHANISM_PARAM_INVALID, pkcs11.CKR_ARGUMENTS_BAD},
		func(rv uint) bool { return errors.Is(err, pkcs11.Error(rv)) })
}

// token is a logged-in session with another module.
type token struct {
	p *pkcs11.Ctx
	s pkcs11.SessionHandle
}

// keys are the two halves of a pair, or one secret key twice.
type keys struct{ encrypts, decrypts pkcs11.ObjectHandle }

// choose returns the first scheme for which the token has the key that the configuration names.
func (t token) choose(m Module) (index int, found keys, err error) {
	for i, s := range schemes {
		if found, err = t.pair(m, s); err == nil || !errors.Is(err, errNoKey) {
			return i, found, err
		}
	}
	return 0, found, err
}

var errNoKey = errors.New("the token has no AES or RSA key that unseal.key_label and unseal.key_id name")

// pair finds the keys of a scheme.
func (t token) pair(m Module, s scheme) (found keys, err error) {
	if found.decrypts, err = t.find(m, s.decrypts, s.keyType); err != nil || s.encrypts == s.decrypts {
		found.encrypts = found.decrypts
		return found, err
	}
	if found.encrypts, err = t.find(m, s.encrypts, s.keyType); errors.Is(err, errNoKey) {
		err = errors.New("the token has the private RSA key but no public one of that label and id; import it too")
	}
	return found, err
}

func (t token) find(m Module, class, keyType uint) (pkcs11.ObjectHandle, error) {
	template := []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_CLASS, class), pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, keyType)}
	if m.Label != "" {
		template = append(template, pkcs11.NewAttribute(pkcs11.CKA_LABEL, m.Label))
	}
	if len(m.ID) > 0 {
		template = append(template, pkcs11.NewAttribute(pkcs11.CKA_ID, m.ID))
	}
	if err := t.p.FindObjectsInit(t.s, template); err != nil {
		return 0, err
	}
	list, _, err := t.p.FindObjects(t.s, 2)
	if err = errors.Join(err, t.p.FindObjectsFinal(t.s)); err != nil {
		return 0, err
	}
	switch len(list) {
	case 0:
		return 0, errNoKey
	case 1:
		return list[0], nil
	}
	return 0, errors.New("the token has several keys that unseal.key_label and unseal.key_id name; give both")
}

// encrypt returns what is kept: the scheme's id, its nonce, the ciphertext.
func (t token) encrypt(s scheme, k keys, b Binding, key *secret.Bytes) ([]byte, error) {
	nonce := make([]byte, s.nonce)
	if _, err := rand.Read(nonce); err != nil {
		return nil, err
	}
	mech, used, free := s.mechanism(nonce, b)
	defer free()
	if err := t.p.EncryptInit(t.s, []*pkcs11.Mechanism{mech}, k.encrypts); err != nil {
		return nil, err
	}
	sealed, err := t.p.Encrypt(t.s, key.Expose())
	if err != nil {
		return nil, err
	}
	if nonce = used(); len(nonce) != s.nonce {
		return nil, fmt.Errorf("it used a nonce of %d bytes, and %d were asked for", len(nonce), s.nonce)
	}
	return slices.Concat([]byte{s.id}, nonce, sealed), nil
}

// decrypt is the reverse. ErrDamaged for what encrypt cannot have returned, ErrKey for what the module does not open.
func (t token) decrypt(k keys, b Binding, kept []byte) (*secret.Bytes, error) {
	i := -1
	if len(kept) > 0 {
		i = schemeOf(kept[0])
	}
	if i < 0 || len(kept) <= 1+schemes[i].nonce+keySize {
		return nil, ErrDamaged
	}
	nonce, sealed := kept[1:1+schemes[i].nonce], kept[1+schemes[i].nonce:]
	mech, _, free := schemes[i].mechanism(nonce, b)
	defer free()
	if err := t.p.DecryptInit(t.s, []*pkcs11.Mechanism{mech}, k.decrypts); err != nil {
		return nil, err
	}
	key, err := t.p.Decrypt(t.s, sealed)
	if err != nil {
		return nil, fmt.Errorf("%w; the token's key is not the one that it was sealed with: %w", ErrKey, err)
	}
	if len(key) != keySize {
		secret.Wipe(key)
		return nil, ErrDamaged
	}
	return secret.Take(key), nil
}
