package selftest

import (
	"crypto/sha256"

	"github.com/coffer-hsm/coffer/core/mech/postquantum"
	"github.com/coffer-hsm/coffer/pkcs11"
)

func postquantumTests() []test {
	mldsas := mechanisms{pkcs11.CKM_ML_DSA_KEY_PAIR_GEN, pkcs11.CKM_ML_DSA, pkcs11.CKM_HASH_ML_DSA}
	slhdsas := mechanisms{pkcs11.CKM_SLH_DSA_KEY_PAIR_GEN, pkcs11.CKM_SLH_DSA}
	for _, p := range postquantum.PreHashes {
		mldsas, slhdsas = append(mldsas, p.MLDSA), append(slhdsas, p.SLHDSA)
	}
	return []test{
		{"ML-KEM", mechanisms{pkcs11.CKM_ML_KEM_KEY_PAIR_GEN, pkcs11.CKM_ML_KEM}, mlkem},
		{"ML-DSA", mldsas, mldsa},
		{"SLH-DSA-SHA2", slhdsas, slhdsa},
		{"HSS", mechanisms{pkcs11.CKM_HSS_KEY_PAIR_GEN, pkcs11.CKM_HSS}, hss},
	}
}

func setOf(s pkcs11.ParameterSet) pkcs11.Attribute {
	return pkcs11.AttrUlong(pkcs11.CKA_PARAMETER_SET, s)
}

// mlkem opens a known ciphertext, and what was sealed for a new pair.
func mlkem(b *bench) error {
	m := b.row(pkcs11.CKM_ML_KEM)
	known := privateKey(pkcs11.CKK_ML_KEM, setOf(pkcs11.CKP_ML_KEM_768), pkcs11.Attr(pkcs11.CKA_SEED, b.field(0)))
	got, err := m.Decapsulate(known, nil, b.field(1), 0)
	if err := same("decapsulating", got, b.field(2), err); err != nil {
		return err
	}
	private, public, err := b.pair(pkcs11.CKM_ML_KEM_KEY_PAIR_GEN, pkcs11.CKK_ML_KEM, pkcs11.Template{setOf(pkcs11.CKP_ML_KEM_768)}, nil)
	if err != nil {
		return err
	}
	want, ciphertext, err := m.Encapsulate(public, nil, 0)
	if err != nil {
		return err
	}
	got, err = m.Decapsulate(private, nil, ciphertext, 0)
	return same("decapsulating from a new pair", got, want, err)
}

func mldsa(b *bench) error {
	k := privateKey(pkcs11.CKK_ML_DSA, setOf(pkcs11.CKP_ML_DSA_65), pkcs11.Attr(pkcs11.CKA_SEED, b.field(0)))
	p := &pkcs11.SignContextParams{Hedge: pkcs11.CKH_DETERMINISTIC_REQUIRED, Context: b.field(1)}
	sig, err := b.sign(pkcs11.CKM_ML_DSA, k, p, b.field(2))
	sum := sha256.Sum256(sig)
	if err := same("signing", sum[:], b.field(3), err); err != nil {
		return err
	}
	private, public, err := b.pair(pkcs11.CKM_ML_DSA_KEY_PAIR_GEN, pkcs11.CKK_ML_DSA, pkcs11.Template{setOf(pkcs11.CKP_ML_DSA_65)}, nil)
	if err != nil {
		return err
	}
	return b.consistent(pkcs11.CKM_ML_DSA, private, public, nil)
}

// slhdsa signs with the fastest set; the second half of a private key is the public one (FIPS 205, 9.1).
func slhdsa(b *bench) error {
	value := b.field(0)
	set := setOf(pkcs11.CKP_SLH_DSA_SHA2_128F)
	private := privateKey(pkcs11.CKK_SLH_DSA, set, pkcs11.Attr(pkcs11.CKA_VALUE, value))
	public := publicKey(pkcs11.CKK_SLH_DSA, set, pkcs11.Attr(pkcs11.CKA_VALUE, value[len(value)/2:]))
	p := &pkcs11.SignContextParams{Hedge: pkcs11.CKH_DETERMINISTIC_REQUIRED, Context: b.field(1)}
	sig, err := b.sign(pkcs11.CKM_SLH_DSA, private, p, b.field(2))
	sum := sha256.Sum256(sig)
	if err := same("signing", sum[:], b.field(3), err); err != nil {
		return err
	}
	return b.verify(pkcs11.CKM_SLH_DSA, public, p, b.field(2), sig)
}

// hss verifies a known signature, and one of a new key of the smallest tree.
func hss(b *bench) error {
	known := publicKey(pkcs11.CKK_HSS, pkcs11.Attr(pkcs11.CKA_VALUE, b.field(0)))
	if err := b.verify(pkcs11.CKM_HSS, known, nil, b.field(1), b.field(2)); err != nil {
		return err
	}
	private, public, err := b.pair(pkcs11.CKM_HSS_KEY_PAIR_GEN, pkcs11.CKK_HSS, nil, pkcs11.Template{pkcs11.AttrUlong(pkcs11.CKA_HSS_LEVELS, uint(1)),
		pkcs11.Attr(pkcs11.CKA_HSS_LMS_TYPES, []uint{5}), pkcs11.Attr(pkcs11.CKA_HSS_LMOTS_TYPES, []uint{3})})
	if err != nil {
		return err
	}
	return b.consistent(pkcs11.CKM_HSS, private, public, nil)
}
