"""PyKCS11 over a token: keys, signatures, encryption, wrapping, and threads. `host.py LIBRARY`, with COFFER_PIN.

Public keys are written to NAME.der and signatures to NAME.sig, for another program to verify them over the file `letter`.
"""

import hashlib
import os
import sys
import threading

import PyKCS11
from PyKCS11 import *  # the constants

CKA_PUBLIC_KEY_INFO = 0x129  # younger than PyKCS11 1.5.12
LETTER = b"to be signed\n"


def write(name, data):
    with open(name, "wb") as f:
        f.write(bytes(data))


def refused(what, call):
    try:
        call()
    except PyKCS11Error as e:
        assert what in str(e), e
    else:
        raise AssertionError("not refused: " + what)


lib = PyKCS11.PyKCS11Lib()
lib.load(sys.argv[1])
slot = lib.getSlotList(tokenPresent=True)[0]
info = lib.getTokenInfo(slot)
assert "CKF_TOKEN_INITIALIZED" in info.flags2text(), info
# getMechanismList of PyKCS11 1.5.12 ends with a KeyError at the first mechanism that is younger than it is
for m, flags in (("CKM_ECDSA_SHA256", CKF_SIGN | CKF_VERIFY), ("CKM_AES_GCM", CKF_ENCRYPT | CKF_DECRYPT)):
    assert lib.getMechanismInfo(slot, m).flags & flags == flags
s = lib.openSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION)
refused("CKR_PIN_INCORRECT", lambda: s.login("wrong"))
s.login(os.environ["COFFER_PIN"])
write("letter", LETTER)

P256 = bytes.fromhex("06082a8648ce3d030107")
rsa_pub, rsa = s.generateKeyPair(
    [(CKA_MODULUS_BITS, 2048), (CKA_PUBLIC_EXPONENT, (1, 0, 1)), (CKA_TOKEN, CK_TRUE), (CKA_LABEL, "rsa"), (CKA_ID, (1,)),
     (CKA_VERIFY, CK_TRUE), (CKA_ENCRYPT, CK_TRUE), (CKA_WRAP, CK_TRUE)],
    [(CKA_TOKEN, CK_TRUE), (CKA_LABEL, "rsa"), (CKA_ID, (1,)), (CKA_SIGN, CK_TRUE), (CKA_DECRYPT, CK_TRUE), (CKA_UNWRAP, CK_TRUE)])
ec_pub, ec = s.generateKeyPair(
    [(CKA_EC_PARAMS, P256), (CKA_TOKEN, CK_TRUE), (CKA_LABEL, "ec"), (CKA_ID, (2,)), (CKA_VERIFY, CK_TRUE)],
    [(CKA_TOKEN, CK_TRUE), (CKA_LABEL, "ec"), (CKA_ID, (2,)), (CKA_SIGN, CK_TRUE)],
    mecha=PyKCS11.Mechanism(CKM_EC_KEY_PAIR_GEN, None))
for name, pub, key, mechanism in (
    ("rsa", rsa_pub, rsa, PyKCS11.Mechanism(CKM_SHA256_RSA_PKCS)),
    ("pss", rsa_pub, rsa, PyKCS11.RSA_PSS_Mechanism(CKM_SHA256_RSA_PKCS_PSS, CKM_SHA256, CKG_MGF1_SHA256, 32)),
    ("ec", ec_pub, ec, PyKCS11.Mechanism(CKM_ECDSA_SHA256)),
):
    signature = s.sign(key, LETTER, mechanism)
    assert s.verify(pub, LETTER, signature, mechanism)
    assert not s.verify(pub, LETTER + b"!", signature, mechanism)
    write(name + ".der", s.getAttributeValue(pub, [CKA_PUBLIC_KEY_INFO])[0])
    write(name + ".sig", signature)
assert s.getAttributeValue(rsa, [CKA_PRIVATE_EXPONENT]) == [None], "the value of a key"

oaep = PyKCS11.RSAOAEPMechanism(CKM_SHA256, CKG_MGF1_SHA256)
assert bytes(s.decrypt(rsa, s.encrypt(rsa_pub, LETTER, oaep), oaep)) == LETTER

aes = s.generateKey([(CKA_CLASS, CKO_SECRET_KEY), (CKA_KEY_TYPE, CKK_AES), (CKA_VALUE_LEN, 32), (CKA_TOKEN, CK_TRUE), (CKA_LABEL, "aes"),
                     (CKA_ENCRYPT, CK_TRUE), (CKA_DECRYPT, CK_TRUE)])
gcm = PyKCS11.AES_GCM_Mechanism(bytes(12), b"with it", 128)
secret = s.encrypt(aes, LETTER, gcm)
assert len(secret) == len(LETTER) + 16 and bytes(s.decrypt(aes, secret, gcm)) == LETTER
refused("CKR_ENCRYPTED_DATA_INVALID", lambda: s.decrypt(aes, [secret[0] ^ 1, *secret[1:]], gcm))
cbc = PyKCS11.Mechanism(CKM_AES_CBC_PAD, bytes(16))
assert bytes(s.decrypt(aes, s.encrypt(aes, LETTER, cbc), cbc)) == LETTER

known = s.createObject([(CKA_CLASS, CKO_SECRET_KEY), (CKA_KEY_TYPE, CKK_AES), (CKA_VALUE, bytes(32)), (CKA_ENCRYPT, CK_TRUE), (CKA_EXTRACTABLE, CK_TRUE)])
wrapped = s.wrapKey(rsa_pub, known, PyKCS11.Mechanism(CKM_RSA_PKCS))
again = s.unwrapKey(rsa, wrapped, [(CKA_CLASS, CKO_SECRET_KEY), (CKA_KEY_TYPE, CKK_AES), (CKA_ENCRYPT, CK_TRUE)], PyKCS11.Mechanism(CKM_RSA_PKCS))
assert bytes(s.encrypt(known, LETTER, cbc)) == bytes(s.encrypt(again, LETTER, cbc))
assert bytes(s.digest(LETTER, PyKCS11.Mechanism(CKM_SHA256))) == hashlib.sha256(LETTER).digest()
assert len(set(s.generateRandom(64))) > 16

failures = []


def work():
    try:
        mine = lib.openSession(slot, CKF_SERIAL_SESSION)
        key = mine.findObjects([(CKA_CLASS, CKO_PRIVATE_KEY), (CKA_LABEL, "ec")])[0]
        for _ in range(50):
            signature = mine.sign(key, LETTER, PyKCS11.Mechanism(CKM_ECDSA_SHA256))
            assert mine.verify(ec_pub, LETTER, signature, PyKCS11.Mechanism(CKM_ECDSA_SHA256))
        mine.closeSession()
    except Exception as e:
        failures.append(e)


threads = [threading.Thread(target=work) for _ in range(8)]
for t in threads:
    t.start()
for t in threads:
    t.join()
assert not failures, failures

assert len(s.findObjects([(CKA_TOKEN, CK_TRUE)])) == 5
s.logout()
s.closeSession()
print("ok PyKCS11")
