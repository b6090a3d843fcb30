package hss

import (
	"bytes"
	"sync"
	"testing"

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/mech/mechtest"
	"github.com/coffer-hsm/coffer/pkcs11"
)

func wantRV(t testing.TB, err error, want pkcs11.RV) {
	t.Helper()
	if got := pkcs11.RVOf(err); got != want {
		t.Errorf("got %v (%v), want %v", got, err, want)
	}
}

func template(types ...[2]uint) pkcs11.Template {
	var lms, lmots []uint
	for _, t := range types {
		lms, lmots = append(lms, t[0]), append(lmots, t[1])
	}
	return pkcs11.Template{pkcs11.AttrUlong(pkcs11.CKA_HSS_LEVELS, uint(len(types))),
		pkcs11.Attr(pkcs11.CKA_HSS_LMS_TYPES, lms), pkcs11.Attr(pkcs11.CKA_HSS_LMOTS_TYPES, lmots)}
}

func newPair(t testing.TB, types ...[2]uint) (private, public mech.Key, priv pkcs11.Template) {
	t.Helper()
	pub, priv, err := generate(nil, nil, template(types...))
	if err != nil {
		t.Fatal(err)
	}
	return mechtest.Key(pkcs11.CKO_PRIVATE_KEY, pkcs11.CKK_HSS, priv), mechtest.Key(pkcs11.CKO_PUBLIC_KEY, pkcs11.CKK_HSS, pub), priv
}

func TestEveryRowKeepsItsPromises(t *testing.T) {
	private, public, _ := newPair(t, [2]uint{5, 3}, [2]uint{5, 2})
	for i := range Family.Mechanisms {
		c := mechtest.Case{Row: &Family.Mechanisms[i], Key: private, Public: public, Costly: true, Lens: []int{0, 1, 33, 300}}
		if c.Row.GeneratePair != nil {
			c.Key, c.Public, c.Templates, c.PublicPart = nil, nil, []pkcs11.Template{template([2]uint{5, 4})}, []pkcs11.Template{nil}
		}
		mechtest.Run(t, c)
	}
}

// RFC 8554, 4.1, table 1, and SP 800-208, tables 3 to 9: p and ls.
func TestParameters(t *testing.T) {
	for id, w := range map[uint][2]int{
		1: {265, 7}, 2: {133, 6}, 3: {67, 4}, 4: {34, 0}, 5: {200, 8}, 6: {101, 6}, 7: {51, 4}, 8: {26, 0},
		9: {265, 7}, 10: {133, 6}, 11: {67, 4}, 12: {34, 0}, 13: {200, 8}, 14: {101, 6}, 15: {51, 4}, 16: {26, 0},
	} {
		if o := otsOf(id); o.p != w[0] || o.ls != w[1] {
			t.Errorf("LM-OTS type %d: p %d, ls %d, want %v", id, o.p, o.ls, w)
		}
	}
	if l, err := levelOf(5, 1); err != nil || l.signatureLen() != 8+4+32+265*32+5*32 {
		t.Error(l.signatureLen(), err)
	}
	if l, err := levelOf(24, 16); err != nil || l.height != 25 || l.publicLen() != 48 || l.signatureLen() != 8+4+24+26*24+25*24 {
		t.Error(l.signatureLen(), err)
	}
	if otsOf(17) != nil || treeOf(4) != nil || treeOf(25) != nil {
		t.Error("types that do not exist are known")
	}
	for _, types := range [][2]uint{{5, 5}, {10, 4}, {15, 13}, {20, 9}, {5, 9}} {
		_, err := levelOf(types[0], types[1])
		wantRV(t, err, pkcs11.CKR_ATTRIBUTE_VALUE_INVALID)
	}
}

// The private keys of RFC 8554, appendix F, test case 2, give the public keys there.
func TestTreeVectors(t *testing.T) {
	for _, v := range mechtest.Vectors(t, "testdata/trees.txt", 5) {
		var ids [2]uint
		for i := range ids {
			for _, c := range v[i] {
				ids[i] = ids[i]*10 + uint(c-'0')
			}
		}
		l, err := levelOf(ids[0], ids[1])
		if err != nil {
			t.Fatal(err)
		}
		g := l.grow(v.Hex(t, 2), v.Hex(t, 3))
		if !bytes.Equal(g.node(1), v.Hex(t, 4)) {
			t.Errorf("types %v: root %x", ids, g.node(1))
		}
	}
}

// Signatures of another implementation, and what becomes of them when a bit changes.
func TestVerifyVectors(t *testing.T) {
	for i, v := range mechtest.Vectors(t, "testdata/verify.txt", 3) {
		p, err := parsePublic(v.Hex(t, 0))
		if err != nil {
			t.Fatal(err)
		}
		sig := v.Hex(t, 2)
		if !p.verify(v.Hex(t, 1), sig) {
			t.Errorf("signature %d is refused", i)
		}
		for at := 0; at < len(sig); at += 41 {
			sig[at] ^= 4
			if p.verify(v.Hex(t, 1), sig) {
				t.Errorf("signature %d, byte %d changed: accepted", i, at)
			}
			sig[at] ^= 4
		}
	}
}

func TestEveryIndexSignsOnce(t *testing.T) {
	private, public, priv := newPair(t, [2]uint{5, 4}, [2]uint{5, 4})
	if n, _ := priv.Uint(pkcs11.CKA_HSS_KEYS_REMAINING); n != 1024 {
		t.Fatalf("%d signatures", n)
	}
	key, err := privateOf(private)
	if err != nil {
		t.Fatal(err)
	}
	p, err := publicOf(public)
	if err != nil {
		t.Fatal(err)
	}
	// Each tree signs its children once and in the same way, whoever makes it again.
	again, _ := parseValue(key.value())
	var group sync.WaitGroup
	for _, index := range []uint64{0, 31, 32, 33, 500, 1023} {
		group.Go(func() {
			sig := key.sign(index, []byte("message"))
			if !p.verify([]byte("message"), sig) {
				t.Errorf("index %d: refused", index)
			}
			head := 4 + key.scheme[0].signatureLen() + key.scheme[1].publicLen()
			if other := again.sign(index, []byte("another")); !bytes.Equal(sig[:head], other[:head]) {
				t.Errorf("index %d: the upper tree signed twice", index)
			}
		})
	}
	group.Wait()
	s, err := sign(private, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Finish(nil, []byte("data"))
	wantRV(t, err, pkcs11.CKR_GENERAL_ERROR)
	s, _ = sign(private, nil)
	s.(mech.Indexed).UseIndex(1024)
	_, err = s.Finish(nil, []byte("data"))
	wantRV(t, err, pkcs11.CKR_GENERAL_ERROR)
}

// TestEveryHashSigns, over the end of a tree below.
func TestEveryHashSigns(t *testing.T) {
	for _, types := range [][2]uint{{5, 4}, {10, 8}, {15, 12}, {20, 16}} {
		private, public, _ := newPair(t, types, types)
		key, err := privateOf(private)
		if err != nil {
			t.Fatal(err)
		}
		p, err := publicOf(public)
		if err != nil {
			t.Fatal(err)
		}
		again, err := parseValue(key.value())
		if err != nil {
			t.Fatal(err)
		}
		for _, index := range []uint64{0, 31, 32, 1023} {
			sig := key.sign(index, []byte("data"))
			if !p.verify([]byte("data"), sig) || p.verify([]byte("date"), sig) || len(sig) != key.signatureLen() {
				t.Errorf("types %v: signature %d", types, index)
			}
			if !bytes.Equal(again.tree(1, index>>5).signed, key.tree(1, index>>5).signed) {
				t.Errorf("types %v: tree %d is signed in two ways", types, index>>5)
			}
		}
	}
}

func TestBadKeys(t *testing.T) {
	private, _, priv := newPair(t, [2]uint{5, 3})
	key, _ := privateOf(private)
	for name, bad := range map[string]pkcs11.Template{
		"unknown types": template([2]uint{4, 1}), "another hash in one level": template([2]uint{10, 4}), "another hash below": template([2]uint{5, 4}, [2]uint{10, 8}), "one of them unknown": template([2]uint{5, 4}, [2]uint{25, 8}),
		"no levels": template(), "nine levels": template(make([][2]uint, 9)...),
	} {
		_, _, err := generate(nil, nil, bad)
		if rv := pkcs11.RVOf(err); rv != pkcs11.CKR_ATTRIBUTE_VALUE_INVALID && rv != pkcs11.CKR_TEMPLATE_INCOMPLETE {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, _, err := generate(nil, nil, template([2]uint{9, 4}))
	wantRV(t, err, pkcs11.CKR_KEY_SIZE_RANGE)
	_, err = check(pkcs11.CKO_PRIVATE_KEY, priv)
	wantRV(t, err, pkcs11.CKR_TEMPLATE_INCONSISTENT)
	public := key.public()
	add, err := check(pkcs11.CKO_PUBLIC_KEY, pkcs11.Template{pkcs11.Attr(pkcs11.CKA_VALUE, public)})
	if n, _ := add.Uint(pkcs11.CKA_HSS_LMS_TYPE); err != nil || n != 5 {
		t.Error(add, err)
	}
	for cut := range public {
		_, err := check(pkcs11.CKO_PUBLIC_KEY, pkcs11.Template{pkcs11.Attr(pkcs11.CKA_VALUE, public[:cut])})
		wantRV(t, err, pkcs11.CKR_ATTRIBUTE_VALUE_INVALID)
	}
	value := key.value()
	for cut := range value {
		if _, err := parseValue(value[:cut]); err == nil {
			t.Errorf("a private value cut to %d bytes is taken", cut)
		}
	}
	if s := (scheme{{treeOf(9), otsOf(1)}, {treeOf(9), otsOf(1)}}); s.capacity() != maxCapacity {
		t.Error("a key of height 50 has", s.capacity())
	}
}
