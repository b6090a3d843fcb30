package mechtest

import (
	"bytes"
	"math"
	"testing"

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// aGeneric is a template: some rows want the key type in it.
var aGeneric = pkcs11.Template{pkcs11.AttrUlong(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_GENERIC_SECRET)}

// derived runs the row; the first key of the plan is to have size bytes, the others 16.
func (c *Case) derived(k mech.Key, named map[pkcs11.Handle]mech.Key, param any, size int) (*mech.Derived, error) {
	plan, err := c.Row.PlanOf(param, aGeneric)
	if err != nil {
		return nil, err
	}
	d := &mech.Derivation{Base: k, KeyType: c.KeyType, Named: named, Param: param}
	for i := range plan {
		switch {
		case plan[i].Absent:
			d.Sizes = append(d.Sizes, 0)
		case plan[i].Size > 0:
			d.Sizes = append(d.Sizes, int(plan[i].Size))
		case i == 0:
			d.Sizes = append(d.Sizes, size)
		default:
			d.Sizes = append(d.Sizes, 16)
		}
	}
	return c.Row.Run(d)
}

// derive asks for all lengths, wild ones among them.
func (c *Case) derive(t *testing.T, param any) {
	plan, err := c.Row.PlanOf(param, aGeneric)
	if err != nil {
		t.Fatal(err)
	}
	if plan[0].Fixed && plan[0].Class != pkcs11.CKO_SECRET_KEY && plan[0].Class != pkcs11.CKO_DATA {
		c.derivePublic(t, param)
		return
	}
	whole, err := c.derived(c.Key, c.Named, param, 0)
	if err != nil {
		wantRV(t, err, pkcs11.CKR_TEMPLATE_INCOMPLETE)
	} else if !plan[0].Absent && len(whole.Keys[0].Bytes(pkcs11.CKA_VALUE)) == 0 {
		t.Error("natural length: nothing derived")
	}
	good := 0
	for _, size := range []int{1, 2, 15, 16, 17, 20, 24, 31, 32, 33, 48, 64, 65, 128, 1 << 16, 1 << 20, math.MaxInt32, math.MaxInt} {
		got, err := c.derived(c.Key, c.Named, param, size)
		if err != nil {
			wantRV(t, err, pkcs11.CKR_DATA_LEN_RANGE, pkcs11.CKR_KEY_SIZE_RANGE, pkcs11.CKR_ATTRIBUTE_VALUE_INVALID,
				pkcs11.CKR_TEMPLATE_INCONSISTENT)
			continue
		}
		good++
		again, err := c.derived(c.Key, c.Named, param, size)
		if err != nil {
			t.Errorf("asked for %d bytes again: %v", size, err)
			continue
		}
		c.same(t, param, plan, got, again, size)
	}
	if good == 0 {
		t.Error("no length could be derived")
	}
}

// same compares two derivations with each other, and with what was planned and asked for.
func (c *Case) same(t *testing.T, param any, plan []mech.Planned, a, b *mech.Derived, size int) {
	t.Helper()
	if len(a.Keys) != len(plan) || len(b.Keys) != len(plan) || len(a.Outputs) != len(pkcs11.PlacesOf(param).Outputs) {
		t.Fatalf("%d keys and %d outputs, %d keys planned", len(a.Keys), len(a.Outputs), len(plan))
	}
	for i := range plan {
		x, y, want := a.Keys[i].Bytes(pkcs11.CKA_VALUE), b.Keys[i].Bytes(pkcs11.CKA_VALUE), 16
		switch {
		case plan[i].Absent:
			want = 0
		case plan[i].Size > 0:
			want = int(plan[i].Size)
		case i == 0:
			want = size
		}
		if len(x) != want || !bytes.Equal(x, y) {
			t.Errorf("key %d: asked for %d bytes: got %d, and again %d", i, want, len(x), len(y))
		}
		if want > 0 && &x[0] == &y[0] {
			t.Errorf("key %d: both have the same memory", i)
		}
	}
	for i := range a.Outputs {
		if !bytes.Equal(a.Outputs[i], b.Outputs[i]) {
			t.Errorf("output %d: not the same again", i)
		}
	}
}

func (c *Case) derivePublic(t *testing.T, param any) {
	a, err := c.derived(c.Key, c.Named, param, 0)
	if err != nil {
		t.Fatal(err)
	}
	b, err := c.derived(c.Key, c.Named, param, 0)
	if err != nil || len(a.Keys) != 1 || len(a.Keys[0]) == 0 || !pkcs11.EqualValue(a.Keys[0], b.Keys[0]) {
		t.Errorf("a public key of %d attributes, and again another, error %v", len(a.Keys[0]), err)
	}
}

// hostileNamed gives the derivation other keys where its parameter names one, and none.
func (c *Case) hostileNamed(t *testing.T) {
	keys := []mech.Key{nil, Secret(pkcs11.CKK_GENERIC_SECRET, nil), Secret(pkcs11.CKK_AES, make([]byte, 17)),
		Key(pkcs11.CKO_SECRET_KEY, pkcs11.CKK_HKDF, nil), Secret(pkcs11.CKK_GENERIC_SECRET, make([]byte, 1<<12))}
	for _, p := range c.Params {
		for _, k := range keys {
			named := map[pkcs11.Handle]mech.Key{}
			for h := range c.Named {
				if k != nil {
					named[h] = k
				}
			}
			_, err := c.derived(c.Key, named, p, 16)
			names := len(pkcs11.PlacesOf(p).Named) > 0
			if k == nil && names {
				wantRV(t, err, pkcs11.CKR_KEY_HANDLE_INVALID)
			} else if pkcs11.RVOf(err) == pkcs11.CKR_GENERAL_ERROR {
				t.Errorf("a named key of %d bytes: %v", len(k.Bytes(pkcs11.CKA_VALUE)), err)
			}
		}
	}
}
