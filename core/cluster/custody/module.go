package custody

import (
	"context"
	"errors"
	"fmt"

	"github.com/miekg/pkcs11"

	"github.com/coffer-hsm/coffer/core/secret"
)

// Module has another PKCS #11 module encrypt the key, under an AES key or an RSA pair that never leaves it: another HSM, a
// TPM, a token of Coffer's own.
type Module struct {
	Library       string // path
	Token, Serial string // the token by its label, its serial number, or both
	Label         string // the key by CKA_LABEL,
	ID            []byte // CKA_ID, or both; of a pair both halves have them
	// PIN returns the user's PIN of that token; it is wiped here.
	PIN func() (*secret.Bytes, error)
}

func (Module) name() string    { return "pkcs11" }
func (Module) guessable() bool { return false }

// wrap tries the schemes in order. What a key has encrypted it must decrypt again before anything depends on it: the key
// may lack CKA_DECRYPT.
func (m Module) wrap(_ context.Context, b Binding) (key *secret.Bytes, kept []byte, err error) {
	key = newKey()
	err = m.with(func(t token) error {
		scheme, found, err := t.choose(m)
		if err != nil {
			return err
		}
		for _, s := range schemes[scheme:] {
			if s.keyType != schemes[scheme].keyType {
				break
			}
			if kept, err = t.encrypt(s, found, b, key); err == nil || !s.refused(err) {
				break
			}
		}
		if err != nil {
			return err
		}
		again, err := t.decrypt(found, b, kept)
		if err != nil {
			return fmt.Errorf("the key does not decrypt what it has encrypted: %w", err)
		}
		defer again.Zero()
		if !again.Equal(key) {
			return errors.New("the key does not decrypt what it has encrypted")
		}
		return nil
	})
	if err != nil {
		key.Zero()
		return nil, nil, err
	}
	return key, kept, nil
}

func (m Module) unwrap(_ context.Context, b Binding, kept []byte) (key *secret.Bytes, err error) {
	if len(kept) == 0 {
		return nil, ErrDamaged
	}
	err = m.with(func(t token) error {
		i := schemeOf(kept[0])
		if i < 0 {
			return ErrDamaged
		}
		found, err := t.pair(m, schemes[i])
		if err != nil {
			return err
		}
		key, err = t.decrypt(found, b, kept)
		return err
	})
	return key, err
}

// with opens the token and logs in for as long as f runs.
func (m Module) with(f func(token) error) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("the module %s did not help: %w", m.Library, err)
		}
	}()
	p := pkcs11.New(m.Library)
	if p == nil {
		return errors.New("it cannot be loaded; check unseal.module")
	}
	defer p.Destroy()
	switch err := p.Initialize(); err {
	case nil:
		defer p.Finalize()
	case pkcs11.Error(pkcs11.CKR_CRYPTOKI_ALREADY_INITIALIZED): // by who finalizes it
	default:
		return err
	}
	slot, err := m.slot(p)
	if err != nil {
		return err
	}
	s, err := p.OpenSession(slot, pkcs11.CKF_SERIAL_SESSION)
	if err != nil {
		return err
	}
	defer p.CloseSession(s)
	pin, err := m.PIN()
	if err != nil {
		return err
	}
	// The binding takes a string, so a copy of this PIN stays until it is collected.
	err = p.Login(s, pkcs11.CKU_USER, string(pin.Expose()))
	pin.Zero()
	switch err {
	case nil:
		defer p.Logout(s)
	case pkcs11.Error(pkcs11.CKR_USER_ALREADY_LOGGED_IN):
	case pkcs11.Error(pkcs11.CKR_PIN_INCORRECT), pkcs11.Error(pkcs11.CKR_PIN_LEN_RANGE):
		return fmt.Errorf("%w; check unseal.pin_file before the token locks", err)
	default:
		return err
	}
	return f(token{p, s})
}

// slot finds the one token that the configuration names.
func (m Module) slot(p *pkcs11.Ctx) (uint, error) {
	slots, err := p.GetSlotList(true)
	if err != nil {
		return 0, err
	}
	var found []uint
	for _, s := range slots {
		info, err := p.GetTokenInfo(s)
		if err == nil && (m.Token == "" || info.Label == m.Token) && (m.Serial == "" || info.SerialNumber == m.Serial) {
			found = append(found, s)
		}
	}
	switch {
	case len(found) == 0:
		return 0, fmt.Errorf("none of its %d tokens is the one that unseal.token and unseal.serial name", len(slots))
	case len(found) > 1:
		return 0, fmt.Errorf("%d of its tokens are the one that the configuration names; add unseal.serial", len(found))
	}
	return found[0], nil
}
