package conformance

import (
	"github.com/coffer-hsm/coffer/pkcs11"
)

// More of what a thief does: keys of his own, key agreement, and new roles for the keys that wrap.

// plantPrivate imports a private key whose value the walk knows and must not see again, and makes a pair to agree with.
func (w *walk) plantPrivate() {
	scalar := make([]byte, 32)
	for j := range scalar {
		scalar[j] = byte(w.rand.Uint32())
	}
	scalar[0] = 0x3d // below the order
	w.treasures = append(w.treasures, scalar)
	w.keys = append(w.keys, w.create(w.t, w.h, with(kind(pkcs11.CKO_PRIVATE_KEY, pkcs11.CKK_EC), octets(pkcs11.CKA_EC_PARAMS, p256),
		octets(pkcs11.CKA_VALUE, scalar), yes(pkcs11.CKA_SENSITIVE, pkcs11.CKA_EXTRACTABLE, pkcs11.CKA_SIGN, pkcs11.CKA_DERIVE))))
	pub, priv := w.pair(w.t, w.h, pkcs11.CKM_EC_KEY_PAIR_GEN, with(octets(pkcs11.CKA_EC_PARAMS, p256), yes(pkcs11.CKA_ENCAPSULATE)),
		yes(pkcs11.CKA_DERIVE, pkcs11.CKA_DECAPSULATE))
	w.pairs = append(w.pairs, [2]handle{pub, priv})
}

// roles are usages at random. A key of the thief's own making that wraps is sensitive and cannot leave: what a key wraps that
// he knows, or may unwrap as he likes, is his; and wrapped and unwrapped again it would be two keys, with a role each.
// CKA_WRAP_WITH_TRUSTED is against such keys.
func (w *walk) roles() T {
	var t T
	for _, a := range []pkcs11.AttributeType{pkcs11.CKA_WRAP, pkcs11.CKA_UNWRAP, pkcs11.CKA_ENCRYPT, pkcs11.CKA_DECRYPT, pkcs11.CKA_SIGN,
		pkcs11.CKA_VERIFY, pkcs11.CKA_DERIVE} {
		if w.rand.IntN(3) == 0 {
			t = with(t, T{pkcs11.Attr(a, w.rand.IntN(3) > 0)})
		}
	}
	return t
}

// make generates or creates a key.
func (w *walk) make() {
	w.t.Helper()
	if w.rand.IntN(2) == 0 {
		if w.adopt(w.CreateObject(w.h, secretKey(pkcs11.CKK_AES, message(32), cipherUse, w.template()))) {
			w.created++
		}
		return
	}
	usage := cipherUse
	if w.strict && w.rand.IntN(2) == 0 {
		usage = with(w.roles(), no(pkcs11.CKA_EXTRACTABLE), yes(pkcs11.CKA_SENSITIVE))
	}
	o, err := w.GenerateKey(w.h, aesGen(), with(num(pkcs11.CKA_VALUE_LEN, uint(32)), w.template(), usage))
	if !w.adopt(o, err) {
		return
	}
	w.generated++
	if wraps, _ := usage.Bool(pkcs11.CKA_WRAP); wraps {
		w.keks = append(w.keks, o)
		if len(w.keks) > 12 {
			w.keks = append(w.keks[:3:3], w.keks[4:]...)
		}
	}
}

// agree derives by Diffie-Hellman from a private key, the treasure among them.
func (w *walk) agree() {
	w.t.Helper()
	public := w.value(w.t, w.h, w.pairs[0][0], pkcs11.CKA_EC_POINT).([]byte)
	m := &mech{Type: pkcs11.CKM_ECDH1_DERIVE, Params: &pkcs11.ECDH1DeriveParams{KDF: pkcs11.CKD_NULL, PublicData: public}}
	if w.adopt(w.DeriveKey(w.h, m, pick(w, []handle{w.pairs[0][1], w.keys[w.planted-1]}), with(w.kind(), w.template()))) {
		w.derived++
	}
}

// encapsulate makes a key for a public key, and gets it back.
func (w *walk) encapsulate() {
	w.t.Helper()
	m, o := &mech{Type: pkcs11.CKM_ECDH1_DERIVE, Params: &pkcs11.ECDH1DeriveParams{KDF: pkcs11.CKD_NULL}}, big16()
	if !w.adopt(w.EncapsulateKey(w.h, m, w.pairs[0][0], with(w.kind(), w.template()), o)) {
		return
	}
	w.encapsulated++
	w.saw(o.Bytes)
	if w.adopt(w.DecapsulateKey(w.h, m, w.pairs[0][1], with(w.kind(), w.template()), o.Bytes)) {
		w.decapsulated++
	}
}

// turn tries to give a key that wraps another role, in its place or as a copy.
func (w *walk) turn() {
	w.t.Helper()
	if !w.strict {
		return
	}
	kek := pick(w, w.keks)
	if w.rand.IntN(2) == 0 {
		w.adopt(w.CopyObject(w.h, kek, w.roles()))
		return
	}
	w.SetAttributeValue(w.h, kek, w.roles())
	w.keys = append(w.keys, kek) // to be used against what it has wrapped
}
