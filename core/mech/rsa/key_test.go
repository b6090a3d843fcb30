package rsa

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"math/big"
	"testing"

	"github.com/coffer-hsm/coffer/pkcs11"
)

func only(t pkcs11.Template, types ...pkcs11.AttributeType) (out pkcs11.Template) {
	for _, a := range types {
		v, ok := t.Get(a)
		if !ok {
			panic(a)
		}
		out = append(out, pkcs11.Attribute{Type: a, Value: v})
	}
	return out.Clone()
}

func testTemplate(t testing.TB) pkcs11.Template {
	t.Helper()
	private, _ := testPair()
	var out pkcs11.Template
	for _, a := range privateAttributes {
		out = append(out, pkcs11.Attr(a, private.Bytes(a)))
	}
	return out.Clone()
}

func TestImportCompletesWhatIsMissing(t *testing.T) {
	whole := testTemplate(t)
	const n, e, d, p, q = pkcs11.CKA_MODULUS, pkcs11.CKA_PUBLIC_EXPONENT, pkcs11.CKA_PRIVATE_EXPONENT, pkcs11.CKA_PRIME_1, pkcs11.CKA_PRIME_2
	for name, types := range map[string][]pkcs11.AttributeType{
		"all":          privateAttributes,
		"n e d":        {n, e, d},
		"n d":          {n, d},
		"n e d p":      {n, e, d, p},
		"n e d q":      {n, e, d, q},
		"n d p q":      {n, d, p, q},
		"n e d p q dP": {n, e, d, p, q, pkcs11.CKA_EXPONENT_1},
	} {
		given := only(whole, types...)
		got := imported(t, given)
		private, _ := pairOf(got)
		if _, err := privateOf(private); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for _, a := range types {
			if pkcs11.EqualValue(whole.Bytes(a), got.Bytes(a)) == false {
				t.Errorf("%s: %v changed", name, a)
			}
		}
	}
}

func TestImportTakesSmallExponentsAndZeros(t *testing.T) {
	for _, e := range []int64{3, 17, 1<<31 - 1} {
		key := generateWith(t, e)
		whole := privateTemplate(key)
		for i, a := range whole {
			whole[i].Value = append([]byte{0, 0}, a.Value.([]byte)...)
		}
		got := imported(t, whole)
		for i, a := range privateTemplate(key) {
			if !pkcs11.EqualValue(got[i].Value, a.Value) {
				t.Errorf("e=%d: %v has no normal form", e, a.Type)
			}
		}
		without := imported(t, only(got, pkcs11.CKA_MODULUS, pkcs11.CKA_PUBLIC_EXPONENT, pkcs11.CKA_PRIVATE_EXPONENT))
		private, public := pairOf(without)
		sig, err := sign(t, row(t, pkcs11.CKM_RSA_PKCS), private, nil, []byte("data"))
		if err != nil || verify(t, row(t, pkcs11.CKM_RSA_PKCS), public, nil, []byte("data"), sig) != nil {
			t.Errorf("e=%d: %v", e, err)
		}
	}
}

// generateWith makes a 1024-bit key with the given public exponent.
func generateWith(t *testing.T, e int64) *rsa.PrivateKey {
	t.Helper()
	for {
		p, err := rand.Prime(rand.Reader, 512)
		if err != nil {
			t.Fatal(err)
		}
		q, err := rand.Prime(rand.Reader, 512)
		if err != nil {
			t.Fatal(err)
		}
		one := big.NewInt(1)
		phi := new(big.Int).Mul(new(big.Int).Sub(p, one), new(big.Int).Sub(q, one))
		d := new(big.Int).ModInverse(big.NewInt(e), phi)
		n := new(big.Int).Mul(p, q)
		if d == nil || n.BitLen() != 1024 {
			continue
		}
		key := &rsa.PrivateKey{PublicKey: rsa.PublicKey{N: n, E: int(e)}, D: d, Primes: []*big.Int{p, q}}
		key.Precompute()
		if key.Validate() == nil {
			return key
		}
	}
}

func TestImportRefusesWhatIsNoKey(t *testing.T) {
	whole := testTemplate(t)
	number := func(a pkcs11.AttributeType) *big.Int { return new(big.Int).SetBytes(whole.Bytes(a)) }
	plus := func(a pkcs11.AttributeType, n int64) []byte {
		return new(big.Int).Add(number(a), big.NewInt(n)).Bytes()
	}
	for _, a := range privateAttributes {
		for _, v := range [][]byte{{}, {0}, {1}, {2}, {3}, plus(a, 1), plus(a, 2), plus(a, -2), make([]byte, 1<<16)} {
			bad := whole.Clone().Set(a, v)
			_, err := check(pkcs11.CKO_PRIVATE_KEY, bad)
			if len(v) == 0 && a != pkcs11.CKA_MODULUS && a != pkcs11.CKA_PRIVATE_EXPONENT {
				continue // empty counts as missing and is filled in
			}
			if rv := pkcs11.RVOf(err); rv != pkcs11.CKR_ATTRIBUTE_VALUE_INVALID && rv != pkcs11.CKR_TEMPLATE_INCOMPLETE {
				t.Errorf("%v = %.20x...: %v", a, v, err)
			}
		}
	}
	// A private exponent that decrypts, and is larger than the modulus: larger ones would only take longer.
	phi := new(big.Int).Mul(new(big.Int).Sub(number(pkcs11.CKA_PRIME_1), one), new(big.Int).Sub(number(pkcs11.CKA_PRIME_2), one))
	large := new(big.Int).Add(number(pkcs11.CKA_PRIVATE_EXPONENT), phi.Lsh(phi, 1))
	_, err := check(pkcs11.CKO_PRIVATE_KEY, whole.Clone().Set(pkcs11.CKA_PRIVATE_EXPONENT, large.Bytes()))
	wantRV(t, err, pkcs11.CKR_ATTRIBUTE_VALUE_INVALID)
	// Twice the modulus where its factors belong.
	small := generateWith(t, 65537)
	bad := privateTemplate(small)
	for _, a := range []pkcs11.AttributeType{pkcs11.CKA_PRIME_1, pkcs11.CKA_PRIME_2} {
		bad = bad.Set(a, small.N.Bytes())
	}
	_, err = check(pkcs11.CKO_PRIVATE_KEY, bad)
	wantRV(t, err, pkcs11.CKR_ATTRIBUTE_VALUE_INVALID)
	_, err = check(pkcs11.CKO_PRIVATE_KEY, nil)
	wantRV(t, err, pkcs11.CKR_TEMPLATE_INCOMPLETE)
	_, err = check(pkcs11.CKO_SECRET_KEY, whole)
	wantRV(t, err, pkcs11.CKR_TEMPLATE_INCONSISTENT)
}

func TestImportRefusesCompositePrimes(t *testing.T) {
	// p = p1*p2 with d inverse to e modulo lcm(p1-1, p2-1, q-1) and modulo p-1: every check but that for primality holds.
	one := big.NewInt(1)
	for {
		a, _ := rand.Prime(rand.Reader, 256)
		b, _ := rand.Prime(rand.Reader, 257)
		q, _ := rand.Prime(rand.Reader, 512)
		p := new(big.Int).Mul(a, b)
		n := new(big.Int).Mul(p, q)
		p1, q1 := new(big.Int).Sub(p, one), new(big.Int).Sub(q, one)
		d := new(big.Int).ModInverse(big.NewInt(65537), new(big.Int).Mul(p1, q1))
		if d == nil || d.Cmp(n) >= 0 || n.BitLen() < minBits {
			continue
		}
		for _, primes := range [][2]*big.Int{{p, q}, {q, p}} {
			_, err := check(pkcs11.CKO_PRIVATE_KEY, pkcs11.Template{
				pkcs11.Attr(pkcs11.CKA_MODULUS, n.Bytes()), pkcs11.Attr(pkcs11.CKA_PUBLIC_EXPONENT, []byte{1, 0, 1}),
				pkcs11.Attr(pkcs11.CKA_PRIVATE_EXPONENT, d.Bytes()),
				pkcs11.Attr(pkcs11.CKA_PRIME_1, primes[0].Bytes()), pkcs11.Attr(pkcs11.CKA_PRIME_2, primes[1].Bytes()),
			})
			wantRV(t, err, pkcs11.CKR_ATTRIBUTE_VALUE_INVALID)
		}
		return
	}
}

// TestWipedKeysAreZero: in all that can be reached, and the attributes that the key was made of are as before.
func TestWipedKeysAreZero(t *testing.T) {
	whole := testTemplate(t)
	before := whole.Clone()
	k, err := newPrivateKey(whole.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	k.Wipe()
	pre := k.std.Precomputed
	for i, x := range append(k.std.Primes, k.std.D, pre.Dp, pre.Dq, pre.Qinv) {
		for _, w := range x.Bits() {
			if w != 0 {
				t.Fatalf("number %d: %v", i, x.Bits())
			}
		}
	}
	if zero := make([]byte, len(k.dP)); !bytes.Equal(k.dP, zero) || !bytes.Equal(k.dQ, zero) {
		t.Errorf("exponents: %x, %x", k.dP, k.dQ)
	}
	for i, a := range before {
		if !pkcs11.EqualValue(whole[i].Value, a.Value) {
			t.Errorf("%v was wiped too", a.Type)
		}
	}
}

func TestPublicKeys(t *testing.T) {
	whole := testTemplate(t)
	pub := only(whole, pkcs11.CKA_MODULUS, pkcs11.CKA_PUBLIC_EXPONENT)
	add, err := check(pkcs11.CKO_PUBLIC_KEY, pub)
	if bits, ok := add.Uint(pkcs11.CKA_MODULUS_BITS); err != nil || !ok || bits != testBits || len(add) != 1 {
		t.Errorf("check added %v, %v", add, err)
	}
	_, err = check(pkcs11.CKO_PUBLIC_KEY, append(pub.Clone(), pkcs11.AttrUlong(pkcs11.CKA_MODULUS_BITS, uint(1024))))
	wantRV(t, err, pkcs11.CKR_TEMPLATE_INCONSISTENT)
	for name, bad := range map[string]pkcs11.Template{
		"even modulus":      pub.Clone().Set(pkcs11.CKA_MODULUS, append(make([]byte, 0), append(pub.Bytes(pkcs11.CKA_MODULUS)[:255:255], 2)...)),
		"512 bits":          pub.Clone().Set(pkcs11.CKA_MODULUS, pub.Bytes(pkcs11.CKA_MODULUS)[192:]),
		"17000 bits":        pub.Clone().Set(pkcs11.CKA_MODULUS, append([]byte{1}, append(make([]byte, 2124), 1)...)),
		"exponent 1":        pub.Clone().Set(pkcs11.CKA_PUBLIC_EXPONENT, []byte{1}),
		"exponent 4":        pub.Clone().Set(pkcs11.CKA_PUBLIC_EXPONENT, []byte{4}),
		"exponent 2^32+1":   pub.Clone().Set(pkcs11.CKA_PUBLIC_EXPONENT, []byte{1, 0, 0, 0, 1}),
		"exponent of bytes": pub.Clone().Set(pkcs11.CKA_PUBLIC_EXPONENT, make([]byte, 1<<16)),
	} {
		_, err := check(pkcs11.CKO_PUBLIC_KEY, bad)
		if pkcs11.RVOf(err) != pkcs11.CKR_ATTRIBUTE_VALUE_INVALID {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := publicKeyInfo(pkcs11.CKO_PUBLIC_KEY, bad); err == nil {
			t.Errorf("%s: public key info", name)
		}
	}
}

func TestGeneratePairListens(t *testing.T) {
	g := row(t, pkcs11.CKM_RSA_PKCS_KEY_PAIR_GEN).GeneratePair
	bits := func(n uint) pkcs11.Template { return pkcs11.Template{pkcs11.AttrUlong(pkcs11.CKA_MODULUS_BITS, n)} }
	e := func(n uint, e []byte) pkcs11.Template {
		return append(bits(n), pkcs11.Attr(pkcs11.CKA_PUBLIC_EXPONENT, e))
	}
	for _, c := range []struct {
		public pkcs11.Template
		want   pkcs11.RV
	}{
		{nil, pkcs11.CKR_TEMPLATE_INCOMPLETE},
		{bits(0), pkcs11.CKR_KEY_SIZE_RANGE},
		{bits(1024), pkcs11.CKR_KEY_SIZE_RANGE},
		{bits(2049), pkcs11.CKR_ATTRIBUTE_VALUE_INVALID},
		{bits(8200), pkcs11.CKR_KEY_SIZE_RANGE},
		{bits(^uint(0)), pkcs11.CKR_KEY_SIZE_RANGE},
		{e(2048, []byte{3}), pkcs11.CKR_TEMPLATE_INCONSISTENT},
		{e(2048, nil), pkcs11.CKR_TEMPLATE_INCONSISTENT},
		{e(2048, []byte{1, 0, 0, 1}), pkcs11.CKR_TEMPLATE_INCONSISTENT},
		{e(2048, []byte{0, 1, 0, 1}), pkcs11.CKR_OK},
	} {
		pub, priv, err := g(nil, c.public, nil)
		wantRV(t, err, c.want)
		if err != nil {
			continue
		}
		if add, err := check(pkcs11.CKO_PUBLIC_KEY, pub); err != nil || len(add) > 0 {
			t.Errorf("public key: %v, %v", add, err)
		}
		if add, err := check(pkcs11.CKO_PRIVATE_KEY, priv); err != nil || len(add) > 0 {
			t.Errorf("private key: %v, %v", add, err)
		}
	}
}

func TestParsePKCS8RefusesOthers(t *testing.T) {
	ec, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	x, _ := ecdh.X25519().GenerateKey(rand.Reader)
	private, _ := testPair()
	good, err := marshalPKCS8(private)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []any{ec, x} {
		der, _ := x509.MarshalPKCS8PrivateKey(key)
		_, err := parsePKCS8(der)
		wantRV(t, err, pkcs11.CKR_WRAPPED_KEY_INVALID)
	}
	for _, der := range [][]byte{nil, {}, {0x30}, good[:100], append(good[:len(good):len(good)], 0)} {
		_, err := parsePKCS8(der)
		wantRV(t, err, pkcs11.CKR_WRAPPED_KEY_INVALID)
	}
}

func FuzzParsePKCS8(f *testing.F) {
	private, _ := testPair()
	der, err := marshalPKCS8(private)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(der)
	f.Fuzz(func(t *testing.T, der []byte) {
		key, err := parsePKCS8(der)
		if err != nil {
			wantRV(t, err, pkcs11.CKR_WRAPPED_KEY_INVALID)
			return
		}
		if _, err := check(pkcs11.CKO_PRIVATE_KEY, key); err != nil {
			return
		}
		k, _ := pairOf(key)
		if _, err := privateOf(k); err != nil {
			t.Errorf("checked, but not usable: %v", err)
		}
	})
}
