package ec

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"slices"
	"strings"
	"testing"

	"github.com/coffer-hsm/coffer/core/mech/mechtest"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// forms lists the ways in which a bare point may be given.
func forms(c *curve, bare []byte) map[string][]byte {
	all := map[string][]byte{
		"bare":         bare,
		"octet string": mustDER(bare),
		"bit string":   mustDER(asn1.BitString{Bytes: bare, BitLength: 8 * len(bare)}),
	}
	if c.keyType == pkcs11.CKK_EC {
		x := bare[1 : 1+c.pointLen/2]
		compressed := append([]byte{2 + bare[len(bare)-1]&1}, x...)
		all["compressed"] = compressed
		all["compressed octet string"] = mustDER(compressed)
		all["compressed bit string"] = mustDER(asn1.BitString{Bytes: compressed, BitLength: 8 * len(compressed)})
	}
	return all
}

func TestPointsComeInManyFormsAndLeaveInOne(t *testing.T) {
	for _, c := range curves {
		k, _ := kindOf(c.keyType)
		for range 20 {
			bare := peerPoint(t, c)
			for name, form := range forms(c, bare) {
				given := append(c.publicTemplate(), pkcs11.Attr(pkcs11.CKA_EC_POINT, form))
				add, err := k.check(pkcs11.CKO_PUBLIC_KEY, given)
				if err != nil {
					t.Errorf("%s, %s: %v", c.names[0], name, err)
					continue
				}
				if got := add.Bytes(pkcs11.CKA_EC_POINT); name != "octet string" && !bytes.Equal(got, mustDER(bare)) || name == "octet string" && got != nil {
					t.Errorf("%s, %s: check gives %x", c.names[0], name, got)
				}
			}
		}
	}
}

func TestParamsComeInManyFormsAndStay(t *testing.T) {
	for _, c := range curves {
		k, _ := kindOf(c.keyType)
		all := [][]byte{}
		for _, oid := range c.oids {
			all = append(all, mustDER(oid))
		}
		for _, name := range c.names {
			der, err := asn1.MarshalWithParams(name, "printable")
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, der)
		}
		for _, params := range all {
			pub, priv, err := generator(k)(nil, pkcs11.Template{pkcs11.Attr(pkcs11.CKA_EC_PARAMS, params)}, nil)
			if err != nil {
				t.Errorf("%x: %v", params, err)
				continue
			}
			if !bytes.Equal(pub.Bytes(pkcs11.CKA_EC_PARAMS), params) || !bytes.Equal(priv.Bytes(pkcs11.CKA_EC_PARAMS), params) {
				t.Errorf("%x was changed", params)
			}
			for _, x := range []struct {
				class pkcs11.ObjectClass
				key   pkcs11.Template
			}{{pkcs11.CKO_PUBLIC_KEY, pub}, {pkcs11.CKO_PRIVATE_KEY, priv}} {
				if add, err := k.check(x.class, x.key); err != nil || len(add) > 0 {
					t.Errorf("%x: check adds %v, %v", params, add, err)
				}
			}
		}
		for _, q := range c.quirks {
			pub, _, err := generator(k)(nil, pkcs11.Template{pkcs11.Attr(pkcs11.CKA_EC_PARAMS, q)}, nil)
			if err != nil || !bytes.Equal(pub.Bytes(pkcs11.CKA_EC_PARAMS), c.params()) {
				t.Errorf("%x: %v", q, err)
			}
		}
	}
}

func TestParamsThatNameNoCurve(t *testing.T) {
	printable := func(s string) []byte { return append([]byte{asn1.TagPrintableString, byte(len(s))}, s...) }
	for _, v := range []struct {
		params []byte
		want   pkcs11.RV
	}{
		{nil, pkcs11.CKR_TEMPLATE_INCOMPLETE},
		{[]byte{}, pkcs11.CKR_DOMAIN_PARAMS_INVALID},
		{[]byte{5, 0}, pkcs11.CKR_DOMAIN_PARAMS_INVALID}, // implicitlyCA
		{[]byte{0x30, 3, 2, 1, 1}, pkcs11.CKR_DOMAIN_PARAMS_INVALID},
		{[]byte{6, 3, 0x2b}, pkcs11.CKR_DOMAIN_PARAMS_INVALID},
		{append(curves[1].params(), 0), pkcs11.CKR_DOMAIN_PARAMS_INVALID},
		{bytes.Repeat([]byte{0x30}, 1<<16), pkcs11.CKR_DOMAIN_PARAMS_INVALID},
		{mustDER(asn1.ObjectIdentifier{1, 3, 132, 0, 9}), pkcs11.CKR_CURVE_NOT_SUPPORTED}, // secp160k1
		{printable("brainpoolP256k1"), pkcs11.CKR_CURVE_NOT_SUPPORTED},
		{printable("edwards521"), pkcs11.CKR_CURVE_NOT_SUPPORTED},
		{printable("secp256r"), pkcs11.CKR_CURVE_NOT_SUPPORTED},
	} {
		for _, k := range kinds {
			var public pkcs11.Template
			if v.params != nil {
				public = pkcs11.Template{pkcs11.Attr(pkcs11.CKA_EC_PARAMS, v.params)}
			}
			_, _, err := generator(k)(nil, public, nil)
			wantRV(t, err, v.want)
		}
	}
	_, _, err := generator(&weierstrass)(nil, curves[4].publicTemplate(), nil)
	wantRV(t, err, pkcs11.CKR_CURVE_NOT_SUPPORTED)
}

func TestPointsThatAreNone(t *testing.T) {
	for _, c := range curves {
		k, _ := kindOf(c.keyType)
		bare := peerPoint(t, c)
		bad := map[string][]byte{
			"empty":        {},
			"infinity":     {0},
			"short":        bare[1:],
			"long":         append(slices.Clone(bare), 0),
			"twice DER":    mustDER(mustDER(bare)),
			"after DER":    append(mustDER(bare), 0),
			"integer":      append([]byte{2, byte(len(bare))}, bare...),
			"long form":    append([]byte{4, 0x81, byte(len(bare))}, bare...),
			"unused bits":  append([]byte{3, byte(len(bare) + 1), 1}, bare...),
			"empty string": {4, 0},
			"empty bits":   {3, 0},
		}
		if c.pointLen > 127 {
			delete(bad, "long form") // there it is the right one
			delete(bad, "integer")
			delete(bad, "unused bits")
		}
		if c.keyType == pkcs11.CKK_EC {
			off := slices.Clone(bare)
			off[len(off)-1] ^= 1
			bad["off the curve"] = off
			bad["zero"] = append([]byte{4}, make([]byte, c.pointLen-1)...)
			bad["hybrid"] = append([]byte{6 + bare[len(bare)-1]&1}, bare[1:]...)
			bad["x not reduced"] = append([]byte{4}, append(bytes.Repeat([]byte{255}, c.pointLen/2), make([]byte, c.pointLen/2)...)...)
			bad["compressed, no x"] = noX(c)
		}
		for name, point := range bad {
			given := append(c.publicTemplate(), pkcs11.Attr(pkcs11.CKA_EC_POINT, point))
			if _, err := k.check(pkcs11.CKO_PUBLIC_KEY, given); pkcs11.RVOf(err) != pkcs11.CKR_ATTRIBUTE_VALUE_INVALID {
				t.Errorf("%s, %s: %v", c.names[0], name, err)
			}
			if c.keyType != pkcs11.CKK_EC_EDWARDS {
				private, _, _, _ := newPair(t, c)
				_, err := derive(private, &pkcs11.ECDH1DeriveParams{KDF: pkcs11.CKD_NULL, PublicData: point}, 0)
				if pkcs11.RVOf(err) != pkcs11.CKR_MECHANISM_PARAM_INVALID {
					t.Errorf("%s, %s: derive: %v", c.names[0], name, err)
				}
			}
		}
	}
}

// noX returns a compressed point whose x belongs to no point.
func noX(c *curve) []byte {
	p := make([]byte, 1+c.pointLen/2)
	p[0] = 2
	for i := byte(1); ; i++ {
		p[len(p)-1] = i
		if c.arith.decompress(c, p) == nil {
			return p
		}
	}
}

// The encodings of points of small order are listed in "Taming the many EdDSAs" (Chalkias et al., 2020), table 1, and in
// RFC 7748's security considerations.
func TestPointsOfLowOrder(t *testing.T) {
	for _, v := range []struct {
		curve  string
		points []string
	}{
		{"edwards25519", []string{
			"0100000000000000000000000000000000000000000000000000000000000000",
			"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
			"0000000000000000000000000000000000000000000000000000000000000080",
			"0000000000000000000000000000000000000000000000000000000000000000",
			"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
			"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
			"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
			"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
			"0100000000000000000000000000000000000000000000000000000000000080",
			"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
			"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", // not reduced, as those below
			"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
			"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
			"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
			"0200000000000000000000000000000000000000000000000000000000000000", // not on the curve
		}},
		{"curve25519", []string{
			"0000000000000000000000000000000000000000000000000000000000000000",
			"0100000000000000000000000000000000000000000000000000000000000000",
			"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
			"e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
			"5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
		}},
		{"edwards448", []string{
			"01" + strings.Repeat("00", 56),                                          // order 1
			"fe" + strings.Repeat("ff", 27) + "fe" + strings.Repeat("ff", 27) + "00", // y = -1: order 2
			strings.Repeat("00", 57),                                                 // y = 0: order 4, both of them
			strings.Repeat("00", 56) + "80",
			strings.Repeat("ff", 28) + "fe" + strings.Repeat("ff", 27) + "00", // y = p: not reduced
			"01" + strings.Repeat("00", 55) + "80",
			strings.Repeat("00", 56) + "01", // bits that must be zero
		}},
		{"curve448", []string{
			strings.Repeat("00", 56),
			"01" + strings.Repeat("00", 55),
			"fe" + strings.Repeat("ff", 27) + "fe" + strings.Repeat("ff", 27),
			strings.Repeat("ff", 28) + "fe" + strings.Repeat("ff", 27), // p and p + 1: not reduced
			strings.Repeat("00", 28) + strings.Repeat("ff", 28),
		}},
	} {
		c := named(t, v.curve)
		k, _ := kindOf(c.keyType)
		for _, p := range v.points {
			given := append(c.publicTemplate(), pkcs11.Attr(pkcs11.CKA_EC_POINT, unhex(t, p)))
			_, err := k.check(pkcs11.CKO_PUBLIC_KEY, given)
			if pkcs11.RVOf(err) != pkcs11.CKR_ATTRIBUTE_VALUE_INVALID {
				t.Errorf("%s %s: %v", v.curve, p, err)
			}
			if c.keyType == pkcs11.CKK_EC_MONTGOMERY {
				private, _, _, _ := newPair(t, c)
				_, err := derive(private, &pkcs11.ECDH1DeriveParams{KDF: pkcs11.CKD_NULL, PublicData: unhex(t, p)}, 0)
				wantRV(t, err, pkcs11.CKR_MECHANISM_PARAM_INVALID)
			}
		}
	}
}

func TestPrivateValues(t *testing.T) {
	for _, c := range curves {
		k, _ := kindOf(c.keyType)
		_, _, priv, pub := newPair(t, c)
		value := priv.Bytes(pkcs11.CKA_VALUE)
		with := func(v []byte) pkcs11.Template { return append(c.publicTemplate(), pkcs11.Attr(pkcs11.CKA_VALUE, v)) }
		bad := [][]byte{{}, append([]byte{1}, value...)}
		var good [][]byte
		if c.keyType == pkcs11.CKK_EC {
			n := c.order()
			good = append(good, append([]byte{0, 0}, value...), bytes.TrimLeft(value, "\x00"), []byte{5})
			bad = append(bad, []byte{0}, make([]byte, c.scalarLen), n, bytes.Repeat([]byte{0xff}, c.scalarLen), make([]byte, 1<<16))
		} else {
			good = append(good, mustDER(value))
			bad = append(bad, value[1:], append([]byte{0}, value...), append([]byte{4, 31}, value...))
		}
		for _, v := range good {
			add, err := k.check(pkcs11.CKO_PRIVATE_KEY, with(v))
			if err != nil {
				t.Errorf("%s: %d bytes: %v", c.names[0], len(v), err)
			}
			if got := add.Bytes(pkcs11.CKA_VALUE); got != nil && len(got) != c.scalarLen {
				t.Errorf("%s: normal form has %d bytes", c.names[0], len(got))
			}
		}
		for _, v := range bad {
			_, err := k.check(pkcs11.CKO_PRIVATE_KEY, with(v))
			wantRV(t, err, pkcs11.CKR_ATTRIBUTE_VALUE_INVALID)
		}
		_, err := k.check(pkcs11.CKO_PRIVATE_KEY, c.publicTemplate())
		wantRV(t, err, pkcs11.CKR_TEMPLATE_INCOMPLETE)
		_, err = k.check(pkcs11.CKO_PUBLIC_KEY, c.publicTemplate())
		wantRV(t, err, pkcs11.CKR_TEMPLATE_INCOMPLETE)
		_, err = k.check(pkcs11.CKO_SECRET_KEY, with(value))
		wantRV(t, err, pkcs11.CKR_TEMPLATE_INCONSISTENT)

		point := pub.Bytes(pkcs11.CKA_EC_POINT)
		if add, err := k.check(pkcs11.CKO_PRIVATE_KEY, append(with(value), pkcs11.Attr(pkcs11.CKA_EC_POINT, point))); err != nil || len(add) > 0 {
			t.Errorf("%s: with its point: %v, %v", c.names[0], add, err)
		}
		_, err = k.check(pkcs11.CKO_PRIVATE_KEY, append(with(value), pkcs11.Attr(pkcs11.CKA_EC_POINT, peerPoint(t, c))))
		wantRV(t, err, pkcs11.CKR_TEMPLATE_INCONSISTENT)
	}
}

func TestPKCS8AndPublicKeyInfo(t *testing.T) {
	for _, c := range curves {
		k, _ := kindOf(c.keyType)
		private, _, priv, pub := newPair(t, c)
		der, err := marshalPKCS8(private)
		if err != nil {
			t.Fatal(err)
		}
		back, err := k.parsePKCS8(der)
		if err != nil || !pkcs11.EqualValue(back, priv) {
			t.Errorf("%s: another key comes back, %v", c.names[0], err)
		}
		a, errA := k.publicKeyInfo(pkcs11.CKO_PUBLIC_KEY, pub)
		b, errB := k.publicKeyInfo(pkcs11.CKO_PRIVATE_KEY, priv)
		if errA != nil || errB != nil || !bytes.Equal(a, b) {
			t.Errorf("%s: public key infos differ, %v %v", c.names[0], errA, errB)
		}
		if slices.Contains([]*arithmetic{&nistArithmetic, &ed25519Arithmetic, &x25519Arithmetic}, c.arith) {
			known, err := x509.ParsePKCS8PrivateKey(der)
			if err != nil {
				t.Fatal(err)
			}
			theirs, err := x509.MarshalPKCS8PrivateKey(known)
			if err != nil || !bytes.Equal(theirs, der) {
				t.Errorf("%s: the standard library writes %x, %v", c.names[0], theirs, err)
			}
			public, err := x509.ParsePKIXPublicKey(a)
			if err != nil {
				t.Fatal(err)
			}
			if theirs, err := x509.MarshalPKIXPublicKey(public); err != nil || !bytes.Equal(theirs, a) {
				t.Errorf("%s: the standard library writes %x, %v", c.names[0], theirs, err)
			}
		}
		for _, other := range kinds {
			if other.keyType != c.keyType {
				_, err := other.parsePKCS8(der)
				wantRV(t, err, pkcs11.CKR_WRAPPED_KEY_INVALID)
			}
		}
		for _, bad := range [][]byte{nil, {}, {0x30}, der[:len(der)-1], append(der[:len(der):len(der)], 0)} {
			_, err := k.parsePKCS8(bad)
			wantRV(t, err, pkcs11.CKR_WRAPPED_KEY_INVALID)
		}
	}
	// RFC 8410, 10.3: a private key of version 1 with attributes and the public key.
	v2, _ := hex.DecodeString("3072020101300506032b657004220420d4ee72dbf913584ad5b6d8f1f769f8ad3afe7c28cbf1d4fbe097a88f44755842" +
		"a01f301d060a2a864886f70d01090914310f0c0d437572646c6520436861697273" +
		"81210019bf44096984cdfe8541bac167dc3b96c85086aa30b6b6cb0c5c38ad703166e1")
	if key, err := twistedEdwards.parsePKCS8(v2); err != nil || len(key.Bytes(pkcs11.CKA_VALUE)) != 32 {
		t.Errorf("RFC 8410's example: %v", err)
	}
}

func FuzzECPoint(f *testing.F) {
	for i, c := range curves {
		for _, form := range forms(c, peerPoint(f, c)) {
			f.Add(uint8(i), form)
		}
	}
	f.Fuzz(func(t *testing.T, i uint8, point []byte) {
		c := curves[int(i)%len(curves)]
		k, _ := kindOf(c.keyType)
		given := append(c.publicTemplate(), pkcs11.Attr(pkcs11.CKA_EC_POINT, point))
		add, err := k.check(pkcs11.CKO_PUBLIC_KEY, given)
		if err != nil {
			wantRV(t, err, pkcs11.CKR_ATTRIBUTE_VALUE_INVALID)
			return
		}
		for _, a := range add {
			given = given.Set(a.Type, a.Value)
		}
		if add, err := k.check(pkcs11.CKO_PUBLIC_KEY, given); err != nil || len(add) > 0 {
			t.Errorf("the normal form %x is changed again: %v, %v", given.Bytes(pkcs11.CKA_EC_POINT), add, err)
		}
		if _, err := publicOf(mechtest.Key(pkcs11.CKO_PUBLIC_KEY, c.keyType, given)); err != nil {
			t.Errorf("checked, but not usable: %v", err)
		}
	})
}

func FuzzParsePKCS8(f *testing.F) {
	for _, c := range curves {
		private, _, _, _ := newPair(f, c)
		der, err := marshalPKCS8(private)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(der)
	}
	f.Fuzz(func(t *testing.T, der []byte) {
		for _, k := range kinds {
			key, err := k.parsePKCS8(der)
			if err != nil {
				wantRV(t, err, pkcs11.CKR_WRAPPED_KEY_INVALID)
				continue
			}
			if add, err := k.check(pkcs11.CKO_PRIVATE_KEY, key); err != nil || len(add) > 0 {
				t.Errorf("parsed, but not in normal form: %v, %v", add, err)
			}
		}
	})
}
