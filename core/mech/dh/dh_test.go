package dh

import (
	"bytes"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/coffer-hsm/coffer/core/mech"
	"github.com/coffer-hsm/coffer/core/mech/ff"
	"github.com/coffer-hsm/coffer/core/mech/mechtest"
	"github.com/coffer-hsm/coffer/pkcs11"
)

var both = []pkcs11.KeyType{pkcs11.CKK_DH, pkcs11.CKK_X9_42_DH}

func wantRV(t *testing.T, err error, want ...pkcs11.RV) {
	t.Helper()
	if got := pkcs11.RVOf(err); !slices.Contains(want, got) {
		t.Errorf("got %v (%v), want %v", got, err, want)
	}
}

func newPair(t *testing.T, kt pkcs11.KeyType, public pkcs11.Template) (private mech.Key, pub pkcs11.Template) {
	t.Helper()
	pub, priv, err := generate(kt)(nil, public, nil)
	if err != nil {
		t.Fatal(err)
	}
	return mechtest.Key(pkcs11.CKO_PRIVATE_KEY, kt, priv), pub
}

func TestEveryRowKeepsItsPromises(t *testing.T) {
	g := ff.Named(2048)
	for i := range Family.Mechanisms {
		m := &Family.Mechanisms[i]
		kt := m.KeyTypes[0]
		k := mechtest.Case{Row: m, Costly: true}
		switch {
		case m.Parameters:
			for _, bits := range []uint{2048, 3072, 4096, 6144, 8192} {
				k.Templates = append(k.Templates, pkcs11.Template{pkcs11.AttrUlong(pkcs11.CKA_PRIME_BITS, bits)})
			}
		case m.GeneratePair != nil:
			k.Templates = []pkcs11.Template{nil, {pkcs11.AttrUlong(pkcs11.CKA_VALUE_BITS, 300)}}
			k.PublicPart = []pkcs11.Template{domain(g, kt), domain(g, kt)}
		default:
			private, _ := newPair(t, kt, domain(g, kt))
			_, peer := newPair(t, kt, domain(g, kt))
			y := peer.Bytes(pkcs11.CKA_VALUE)
			k.Key, k.Params = private, []any{pkcs11.IV(y)}
			if kt == pkcs11.CKK_X9_42_DH {
				k.Params = []any{&pkcs11.X942DH1DeriveParams{KDF: uint(pkcs11.CKD_NULL), PublicData: y},
					&pkcs11.X942DH1DeriveParams{KDF: uint(pkcs11.CKD_SHA256_KDF), OtherInfo: []byte("other"), PublicData: y}}
			}
		}
		mechtest.Run(t, k)
	}
}

func TestPublicValuesThatAreNone(t *testing.T) {
	g := ff.Named(2048)
	minus := new(big.Int).Sub(g.P, big.NewInt(1))
	odd := big.NewInt(2) // a number that is no square
	for big.Jacobi(odd, g.P) == 1 {
		odd.Add(odd, big.NewInt(1))
	}
	for _, kt := range both {
		private, _ := newPair(t, kt, domain(g, kt))
		for name, y := range map[string]*big.Int{"0": new(big.Int), "1": big.NewInt(1), "p-1": minus, "p": g.P,
			"p+2": new(big.Int).Add(g.P, big.NewInt(2)), "outside of the subgroup": odd} {
			_, err := check(kt)(pkcs11.CKO_PUBLIC_KEY, append(domain(g, kt), pkcs11.Attr(pkcs11.CKA_VALUE, y.Bytes())))
			if pkcs11.RVOf(err) != pkcs11.CKR_ATTRIBUTE_VALUE_INVALID {
				t.Errorf("%v, %s: %v", kt, name, err)
			}
			_, err = agree(private, y.Bytes())
			if pkcs11.RVOf(err) != pkcs11.CKR_MECHANISM_PARAM_INVALID {
				t.Errorf("%v, %s: agreement: %v", kt, name, err)
			}
		}
	}
}

func TestDomainParametersThatAreNone(t *testing.T) {
	g := ff.Named(2048)
	wrong := func(change func(p, q, b *big.Int)) pkcs11.Template {
		p, q, b := new(big.Int).Set(g.P), new(big.Int).Set(g.Q), new(big.Int).Set(g.G)
		change(p, q, b)
		return pkcs11.Template{pkcs11.Attr(pkcs11.CKA_PRIME, p.Bytes()), pkcs11.Attr(pkcs11.CKA_SUBPRIME, q.Bytes()), pkcs11.Attr(pkcs11.CKA_BASE, b.Bytes())}
	}
	two := big.NewInt(2)
	for name, c := range map[string]struct {
		t    pkcs11.Template
		q    bool // only where there is a subprime
		want pkcs11.RV
	}{
		"composite":         {wrong(func(p, _, _ *big.Int) { p.Sub(p, two) }), false, pkcs11.CKR_DOMAIN_PARAMS_INVALID},
		"even":              {wrong(func(p, _, _ *big.Int) { p.Sub(p, big.NewInt(1)) }), false, pkcs11.CKR_DOMAIN_PARAMS_INVALID},
		"base 1":            {wrong(func(_, _, b *big.Int) { b.SetInt64(1) }), false, pkcs11.CKR_DOMAIN_PARAMS_INVALID},
		"base p-1":          {wrong(func(p, _, b *big.Int) { b.Sub(p, big.NewInt(1)) }), false, pkcs11.CKR_DOMAIN_PARAMS_INVALID},
		"short":             {wrong(func(p, _, _ *big.Int) { p.SetInt64(0xfffffffb) }), false, pkcs11.CKR_KEY_SIZE_RANGE},
		"long":              {wrong(func(p, _, _ *big.Int) { p.Lsh(p, 8000) }), false, pkcs11.CKR_KEY_SIZE_RANGE},
		"other subprime":    {wrong(func(_, q, _ *big.Int) { q.Sub(q, two) }), true, pkcs11.CKR_DOMAIN_PARAMS_INVALID},
		"small subprime":    {wrong(func(_, q, _ *big.Int) { q.SetInt64(2) }), true, pkcs11.CKR_DOMAIN_PARAMS_INVALID},
		"subprime p-1":      {wrong(func(p, q, _ *big.Int) { q.Sub(p, big.NewInt(1)) }), true, pkcs11.CKR_DOMAIN_PARAMS_INVALID},
		"not in subgroup":   {wrong(func(p, _, b *big.Int) { b.Sub(p, two) }), true, pkcs11.CKR_DOMAIN_PARAMS_INVALID},
		"nothing":           {nil, false, pkcs11.CKR_TEMPLATE_INCOMPLETE},
		"large and unknown": {wrong(func(p, _, _ *big.Int) { p.Lsh(p, 4000).Add(p, big.NewInt(1)) }), false, pkcs11.CKR_DOMAIN_PARAMS_INVALID},
	} {
		for _, kt := range both {
			if c.q && kt == pkcs11.CKK_DH {
				continue
			}
			_, _, err := generate(kt)(nil, c.t, nil)
			if pkcs11.RVOf(err) != c.want {
				t.Errorf("%v, %s: %v", kt, name, err)
			}
			_, err = check(kt)(pkcs11.CKO_DOMAIN_PARAMETERS, c.t)
			if pkcs11.RVOf(err) != c.want {
				t.Errorf("%v, %s: check: %v", kt, name, err)
			}
		}
	}
}

func TestPrivateValues(t *testing.T) {
	g := ff.Named(2048)
	for _, kt := range both {
		_, priv, err := generate(kt)(nil, domain(g, kt), pkcs11.Template{pkcs11.AttrUlong(pkcs11.CKA_VALUE_BITS, 256)})
		if err != nil {
			t.Fatal(err)
		}
		x := priv.Bytes(pkcs11.CKA_VALUE)
		if len(x) != 32 {
			t.Errorf("%v: a private value of %d bytes", kt, len(x))
		}
		if add, err := check(kt)(pkcs11.CKO_PRIVATE_KEY, priv); err != nil || len(add) > 0 {
			t.Errorf("%v: %v, %v", kt, add, err)
		}
		limit := g.Q
		if kt == pkcs11.CKK_DH {
			limit = new(big.Int).Sub(g.P, big.NewInt(1))
		}
		for name, bad := range map[string][]byte{"empty": {}, "zero": {0}, "the order": limit.Bytes(), "long": make([]byte, 1<<12), "beyond": bytes.Repeat([]byte{255}, 257)} {
			_, err := check(kt)(pkcs11.CKO_PRIVATE_KEY, append(domain(g, kt), pkcs11.Attr(pkcs11.CKA_VALUE, bad)))
			if pkcs11.RVOf(err) != pkcs11.CKR_ATTRIBUTE_VALUE_INVALID {
				t.Errorf("%v, %s: %v", kt, name, err)
			}
		}
		_, err = check(kt)(pkcs11.CKO_SECRET_KEY, priv)
		wantRV(t, err, pkcs11.CKR_TEMPLATE_INCONSISTENT)
		_, _, err = generate(kt)(nil, domain(g, kt), pkcs11.Template{pkcs11.AttrUlong(pkcs11.CKA_VALUE_BITS, 100)})
		wantRV(t, err, pkcs11.CKR_ATTRIBUTE_VALUE_INVALID)
	}
}

func openssl(t *testing.T, files map[string][]byte, args ...string) []byte {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("openssl", append(args, "-out", "out")...)
	cmd.Dir = dir
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("openssl %v: %s", args, text)
	}
	out, err := os.ReadFile(filepath.Join(dir, "out"))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestAgreesWithOpenSSL: OpenSSL's keys in the groups of RFC 7919, RFC 3526 and RFC 5114 are read and written again, and
// both sides find the same secret. Published vectors of these groups could not be had.
func TestAgreesWithOpenSSL(t *testing.T) {
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Fatal("there is no openssl here to compare with: run `make deps`")
	}
	for _, c := range []struct {
		kt   pkcs11.KeyType
		name string
		args []string
	}{
		{pkcs11.CKK_DH, "ffdhe2048", []string{"-algorithm", "DH", "-pkeyopt", "group:ffdhe2048"}},
		{pkcs11.CKK_DH, "ffdhe8192", []string{"-algorithm", "DH", "-pkeyopt", "group:ffdhe8192"}},
		{pkcs11.CKK_DH, "modp_1536", []string{"-algorithm", "DH", "-pkeyopt", "group:modp_1536"}},
		{pkcs11.CKK_DH, "modp_4096", []string{"-algorithm", "DH", "-pkeyopt", "group:modp_4096"}},
		{pkcs11.CKK_X9_42_DH, "1024 and 160 bits", []string{"-algorithm", "DHX", "-pkeyopt", "group:dh_1024_160"}},
		{pkcs11.CKK_X9_42_DH, "2048 and 224 bits", []string{"-algorithm", "DHX", "-pkeyopt", "group:dh_2048_224"}},
		{pkcs11.CKK_X9_42_DH, "2048 and 256 bits", []string{"-algorithm", "DHX", "-pkeyopt", "group:dh_2048_256"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			pem := openssl(t, nil, append([]string{"genpkey"}, c.args...)...)
			made := openssl(t, map[string][]byte{"pem": pem}, "pkcs8", "-topk8", "-nocrypt", "-in", "pem", "-outform", "DER")
			theirs, err := parsePKCS8(c.kt)(made)
			if err != nil {
				t.Fatal(err)
			}
			if add, err := check(c.kt)(pkcs11.CKO_PRIVATE_KEY, theirs); err != nil || add.Has(pkcs11.CKA_VALUE) || add.Has(pkcs11.CKA_PRIME) {
				t.Errorf("not in normal form: %v, %v", add, err)
			}
			theirKey := mechtest.Key(pkcs11.CKO_PRIVATE_KEY, c.kt, theirs)
			spki, err := publicKeyInfo(c.kt)(pkcs11.CKO_PRIVATE_KEY, theirs)
			if err != nil {
				t.Fatal(err)
			}
			if want := openssl(t, map[string][]byte{"pem": pem}, "pkey", "-in", "pem", "-pubout", "-outform", "DER"); !sameKey(spki, want) {
				t.Errorf("OpenSSL's public key is %x, ours %x", want, spki)
			}
			ours, pub := newPair(t, c.kt, theirs)
			peer, err := publicKeyInfo(c.kt)(pkcs11.CKO_PUBLIC_KEY, pub)
			if err != nil {
				t.Fatal(err)
			}
			der, err := marshalPKCS8(theirKey)
			if err != nil {
				t.Fatal(err)
			}
			args := []string{"pkeyutl", "-derive", "-keyform", "DER", "-inkey", "key", "-peerform", "DER", "-peerkey", "peer"}
			if c.kt == pkcs11.CKK_DH {
				args = append(args, "-pkeyopt", "dh_pad:1")
			}
			want := openssl(t, map[string][]byte{"key": der, "peer": peer}, args...)
			if c.kt == pkcs11.CKK_X9_42_DH { // one secret in 256 begins with a zero, which OpenSSL leaves out here
				want = new(big.Int).SetBytes(want).FillBytes(make([]byte, len(pub.Bytes(pkcs11.CKA_PRIME))))
			}
			z, err := agree(theirKey, pub.Bytes(pkcs11.CKA_VALUE))
			if err != nil || !bytes.Equal(z, want) {
				t.Errorf("%x, %v, OpenSSL has %x", z, err, want)
			}
			key, err := privateOf(theirKey)
			if err != nil {
				t.Fatal(err)
			}
			y, err := key.group.Exp(key.group.G.Bytes(), key.x)
			if err != nil {
				t.Fatal(err)
			}
			if z, err := agree(ours, y); err != nil || !bytes.Equal(z, want) {
				t.Errorf("the other side: %x, %v", z, err)
			}
		})
	}
}

// sameKey compares two SubjectPublicKeyInfos by the number at their end: OpenSSL writes more domain parameters than we do.
func sameKey(a, b []byte) bool { return bytes.Equal(a[len(a)-120:], b[len(b)-120:]) }

func FuzzParsePKCS8(f *testing.F) {
	g := ff.Named(2048)
	for _, kt := range both {
		pub, priv, err := generate(kt)(nil, domain(g, kt), nil)
		if err != nil {
			f.Fatal(err, pub)
		}
		der, err := marshalPKCS8(mechtest.Key(pkcs11.CKO_PRIVATE_KEY, kt, priv))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(der)
	}
	f.Fuzz(func(t *testing.T, der []byte) {
		for _, kt := range both {
			key, err := parsePKCS8(kt)(der)
			if err != nil {
				wantRV(t, err, pkcs11.CKR_WRAPPED_KEY_INVALID)
				continue
			}
			if _, err := check(kt)(pkcs11.CKO_PRIVATE_KEY, key); err != nil {
				t.Errorf("parsed, but refused: %v", err)
			}
		}
	})
}
