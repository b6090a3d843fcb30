package mechtest

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"testing"

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// use is one of the row's constructors, run to the end with a little data.
type use struct {
	name string
	run  func(k, public mech.Key, param any) error
}

// uses lists what the row can do. Errors after the constructor are of no interest here.
func (c *Case) uses() []use {
	m, in := c.Row, data(16)
	var u []use
	ciphers := func(name string, public bool, create constructor) {
		if create == nil {
			return
		}
		u = append(u, use{name, func(k, pub mech.Key, param any) error {
			if public {
				k = pub
			}
			op, err := create(k, param)
			if err != nil {
				return alone(err, op == nil)
			}
			op.UpdateLen(16)
			op.FinishLen(16)
			op.Finish(nil, in) //nolint:errcheck // only a panic counts
			op.Close()
			op.Close()
			return nil
		}})
	}
	ciphers("encrypt", true, m.Encrypt)
	ciphers("decrypt", false, m.Decrypt)
	ciphers("sign-recover", false, m.SignRecover)
	ciphers("verify-recover", true, m.VerifyRecover)
	if m.Sign != nil {
		u = append(u, use{"sign", func(k, _ mech.Key, param any) error {
			op, err := m.Sign(k, param)
			if err == nil {
				op.Size()
				op.Finish(nil, in) //nolint:errcheck // only a panic counts
				op.Close()
			}
			return alone(err, err == nil || op == nil)
		}})
	}
	if m.Verify != nil {
		u = append(u, use{"verify", func(_, pub mech.Key, param any) error {
			op, err := m.Verify(pub, param)
			if err == nil {
				op.Verify(in, in) //nolint:errcheck // only a panic counts
				op.Close()
			}
			return alone(err, err == nil || op == nil)
		}})
	}
	if m.Digest != nil {
		u = append(u, use{"digest", func(_, _ mech.Key, param any) error {
			_, err := m.Digest(param)
			return err
		}})
	}
	if m.Derives() {
		u = append(u, use{"derive", func(k, _ mech.Key, param any) error {
			_, err := c.derived(k, c.Named, param, 16)
			return err
		}})
	}
	if m.Wrap != nil {
		u = append(u, use{"wrap", func(_, pub mech.Key, param any) error {
			_, err := m.Wrap(pub, param, in)
			return err
		}})
	}
	if m.Unwrap != nil {
		u = append(u, use{"unwrap", func(k, _ mech.Key, param any) error {
			_, err := m.Unwrap(k, param, in)
			if rv := pkcs11.RVOf(err); rv == pkcs11.CKR_WRAPPED_KEY_INVALID || rv == pkcs11.CKR_WRAPPED_KEY_LEN_RANGE {
				return nil // past the constructor
			}
			return err
		}})
	}
	if m.Encapsulate != nil {
		u = append(u, use{"encapsulate", func(_, pub mech.Key, param any) error {
			value, ciphertext, err := m.Encapsulate(pub, param, 0)
			if pkcs11.RVOf(err) == pkcs11.CKR_TEMPLATE_INCOMPLETE {
				value, ciphertext, err = m.Encapsulate(pub, param, 16)
			}
			return alone(err, err == nil || value == nil && ciphertext == nil)
		}}, use{"ciphertext length", func(_, pub mech.Key, param any) error {
			_, err := m.CiphertextLen(pub, param)
			return err
		}}, use{"decapsulate", func(k, _ mech.Key, param any) error {
			_, err := m.Decapsulate(k, param, in, 0)
			if slices.Contains(refusedCiphertext, pkcs11.RVOf(err)) || pkcs11.RVOf(err) == pkcs11.CKR_TEMPLATE_INCOMPLETE {
				return nil // past the constructor
			}
			return err
		}})
	}
	if m.Generate != nil && len(c.Templates) > 0 {
		u = append(u, use{"generate", func(_, _ mech.Key, param any) error {
			_, err := m.Generate(param, c.Templates[0])
			return err
		}})
	}
	if m.GeneratePair != nil && len(c.Templates) > 0 {
		u = append(u, use{"generate-pair", func(_, _ mech.Key, param any) error {
			_, _, err := m.GeneratePair(param, c.PublicPart[0], c.Templates[0])
			return err
		}})
	}
	return u
}

// alone makes a fault of an error that came with a result, such as a typed nil that a caller would close.
func alone(err error, isNil bool) error {
	if isNil {
		return err
	}
	return fmt.Errorf("the constructor failed and returned something: %v", err)
}

var wild = []uint{0, 1, 7, 8, 9, 12, 15, 16, 17, 31, 32, 33, 64, 96, 127, 128, 129, 255, 256, 1 << 16, 1 << 31, math.MaxUint >> 3,
	math.MaxInt, math.MaxInt + 1, math.MaxUint - 7, math.MaxUint}

// hostileParams gives every constructor what nobody should: a wrong Go type, a typed nil, and every parameter of the
// case with one field changed. The first two are refused; none panics; every refusal is CKR_MECHANISM_PARAM_INVALID.
func (c *Case) hostileParams(t *testing.T) {
	good := map[reflect.Type]bool{}
	takesNil := false
	for _, p := range c.Params {
		good[reflect.TypeOf(p)] = true
		takesNil = takesNil || p == nil
	}
	for _, u := range c.uses() {
		try := func(p any, must bool) {
			what := func() string { return fmt.Sprintf("%s with %.100s", u.name, fmt.Sprintf("%T %v", p, p)) }
			guarded(t, what, func() {
				err := u.run(c.Key, c.Public, p)
				if err == nil && must {
					t.Errorf("%s: accepted", what())
				}
				if rv := pkcs11.RVOf(err); err != nil && rv != pkcs11.CKR_MECHANISM_PARAM_INVALID {
					if must || !c.plausible(rv) {
						t.Errorf("%s: %v, want CKR_MECHANISM_PARAM_INVALID", what(), err)
					}
				}
			})
		}
		if !takesNil {
			try(nil, true)
		}
		for _, p := range strangers() {
			if p != nil && !good[reflect.TypeOf(p)] {
				try(p, true)
			}
		}
		for _, p := range c.Params {
			if p == nil {
				continue
			}
			if v := reflect.ValueOf(p); v.Kind() == reflect.Pointer {
				try(reflect.Zero(v.Type()).Interface(), true)
				try(v.Elem().Interface(), true)
			}
			for _, q := range mutants(p) {
				try(q, false)
			}
		}
	}
}

// plausible are refusals for a parameter of the right form that does not go with the rest of the request.
func (c *Case) plausible(rv pkcs11.RV) bool {
	switch rv {
	case pkcs11.CKR_DATA_LEN_RANGE, pkcs11.CKR_KEY_SIZE_RANGE, pkcs11.CKR_PUBLIC_KEY_INVALID:
		return c.Row.Derives() || c.Row.Wrap != nil || c.Row.Encapsulate != nil
	case pkcs11.CKR_KEY_HANDLE_INVALID:
		return c.Row.DeriveKeys != nil
	}
	return false
}

// strangers are parameters of types that belong to other mechanisms, or to none.
func strangers() []any {
	all := []any{
		42, "text", struct{}{}, []byte{}, make([]byte, 16), new(int), []int{1}, func() {}, errType{}, true, uint(8),
		pkcs11.IV(nil), pkcs11.Handle(0), pkcs11.Handle(7), pkcs11.MACGeneralParams(0), pkcs11.MACGeneralParams(8), pkcs11.MACGeneralParams(math.MaxUint),
		&pkcs11.GCMParams{}, &pkcs11.GCMParams{IV: make([]byte, 12), TagBits: 128}, (*pkcs11.GCMParams)(nil),
		&pkcs11.CTRParams{CounterBits: 128}, (*pkcs11.CTRParams)(nil),
		&pkcs11.KeyDerivationString{Data: make([]byte, 16)}, (*pkcs11.KeyDerivationString)(nil),
		&pkcs11.AESCBCEncryptDataParams{Data: make([]byte, 16)}, (*pkcs11.AESCBCEncryptDataParams)(nil),
	}
	for n := range 41 {
		all = append(all, pkcs11.IV(make([]byte, n)))
	}
	return all
}

type errType struct{}

// mutants returns variations of p: other numbers and lengths for a plain parameter, and for each field of a struct.
func mutants(p any) []any {
	v := reflect.ValueOf(p)
	var out []any
	if v.Kind() != reflect.Pointer {
		for _, x := range values(v.Type()) {
			out = append(out, x.Interface())
		}
		return out
	}
	if v.Elem().Kind() != reflect.Struct {
		return nil
	}
	out = append(out, reflect.New(v.Type().Elem()).Interface())
	for i := range v.Elem().NumField() {
		if !v.Elem().Type().Field(i).IsExported() {
			continue
		}
		for _, x := range values(v.Elem().Field(i).Type()) {
			q := reflect.New(v.Type().Elem())
			q.Elem().Set(v.Elem())
			q.Elem().Field(i).Set(x)
			out = append(out, q.Interface())
		}
	}
	return out
}

// values returns hostile values of a type.
func values(typ reflect.Type) []reflect.Value {
	var out []reflect.Value
	switch typ.Kind() {
	case reflect.Uint:
		for _, n := range wild {
			out = append(out, reflect.ValueOf(n).Convert(typ))
		}
	case reflect.Slice:
		out = append(out, reflect.Zero(typ))
		for n := range 41 {
			out = append(out, reflect.MakeSlice(typ, n, n))
		}
		out = append(out, reflect.MakeSlice(typ, 1<<16, 1<<16))
	case reflect.Pointer, reflect.Interface:
		out = append(out, reflect.Zero(typ))
	case reflect.Array:
		out = append(out, reflect.Zero(typ))
	}
	return out
}

// hostileKeys gives every constructor secret keys of every length and one without a value. None panics, and a refusal
// is not put down to a fault of ours.
func (c *Case) hostileKeys(t *testing.T) {
	class, typ := c.Key.Class(), c.Key.Type()
	keys := []mech.Key{Key(class, typ, nil)}
	for n := range 41 {
		keys = append(keys, Secret(typ, make([]byte, n)))
	}
	for _, u := range c.uses() {
		for i, k := range keys {
			guarded(t, func() string { return fmt.Sprintf("%s with key %d", u.name, i) }, func() {
				for _, p := range c.Params {
					if err := u.run(k, k, p); pkcs11.RVOf(err) == pkcs11.CKR_GENERAL_ERROR {
						t.Errorf("%s with key %d: %v", u.name, i, err)
					}
				}
			})
		}
	}
}
