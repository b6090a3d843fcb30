//! Debian's cryptoki-sys, the layer beneath the crate cryptoki, over a token: keys, signatures, encryption, refusals, threads.
//! `host LIBRARY`, with COFFER_PIN.
//!
//! Public keys are written to NAME.der and signatures to NAME.sig, for another program to verify them over the file `letter`.

mod session;

use cryptoki_sys::*;
use session::*;
use std::fs::write;

const LETTER: &[u8] = b"to be signed\n";
const P256: &[u8] = &[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
const YES: &[u8] = &[CK_TRUE];
const THREADS: u8 = 8;
const ROUNDS: u8 = 20;

/// The private and public keys of two pairs, and a secret key.
struct Keys {
    ec: CK_OBJECT_HANDLE,
    ec_public: CK_OBJECT_HANDLE,
    rsa: CK_OBJECT_HANDLE,
    rsa_public: CK_OBJECT_HANDLE,
    aes: CK_OBJECT_HANDLE,
}

fn pss() -> CK_RSA_PKCS_PSS_PARAMS {
    CK_RSA_PKCS_PSS_PARAMS { hashAlg: CKM_SHA256, mgf: CKG_MGF1_SHA256, sLen: 32 }
}

fn ec_pair(s: &Session) -> Answer<(CK_OBJECT_HANDLE, CK_OBJECT_HANDLE)> {
    s.generate_pair(CKM_EC_KEY_PAIR_GEN,
        template(&[(CKA_EC_PARAMS, P256), (CKA_TOKEN, YES), (CKA_LABEL, b"ec"), (CKA_VERIFY, YES)]),
        template(&[(CKA_TOKEN, YES), (CKA_LABEL, b"ec"), (CKA_SIGN, YES)]))
}

fn make_keys(s: &Session) -> Answer<Keys> {
    let (ec_public, ec) = ec_pair(s)?;
    let (rsa_public, rsa) = s.generate_pair(CKM_RSA_PKCS_KEY_PAIR_GEN,
        template(&[(CKA_MODULUS_BITS, &2048u64.to_ne_bytes()), (CKA_TOKEN, YES), (CKA_LABEL, b"pss"), (CKA_VERIFY, YES)]),
        template(&[(CKA_TOKEN, YES), (CKA_LABEL, b"pss"), (CKA_SIGN, YES)]))?;
    let aes = s.generate(CKM_AES_KEY_GEN,
        template(&[(CKA_VALUE_LEN, &32u64.to_ne_bytes()), (CKA_TOKEN, YES), (CKA_LABEL, b"aes"), (CKA_ENCRYPT, YES), (CKA_DECRYPT, YES)]))?;
    for (label, key) in [("ec", ec), ("pss", rsa)] {
        let found = s.find(template(&[(CKA_CLASS, &CKO_PRIVATE_KEY.to_ne_bytes()), (CKA_LABEL, label.as_bytes())]))?;
        assert_eq!(found, [key], "{label}");
    }
    Ok(Keys { ec, ec_public, rsa, rsa_public, aes })
}

fn signatures(s: &Session, k: &Keys) -> Answer<()> {
    write("letter", LETTER).unwrap();
    write("ec.der", s.value(k.ec_public, CKA_PUBLIC_KEY_INFO)?).unwrap();
    write("ec.sig", s.sign(plain(CKM_ECDSA_SHA256), k.ec, LETTER)?).unwrap();
    write("pss.der", s.value(k.rsa_public, CKA_PUBLIC_KEY_INFO)?).unwrap();
    write("pss.sig", s.sign(with(CKM_SHA256_RSA_PKCS_PSS, &mut pss()), k.rsa, LETTER)?).unwrap();
    Ok(())
}

fn refusals(p11: &Library, s: &Session, slot: CK_SLOT_ID, k: &Keys) {
    assert_eq!(p11.initialize(), Err(Refused(CKR_CRYPTOKI_ALREADY_INITIALIZED)));
    assert_eq!(s.value(k.rsa, CKA_PRIVATE_EXPONENT), Err(Refused(CKR_ATTRIBUTE_SENSITIVE)));
    assert_eq!(s.encrypt(plain(CKM_AES_GCM), k.aes, LETTER), Err(Refused(CKR_MECHANISM_PARAM_INVALID)));
    assert_eq!(s.sign_begun(LETTER), Err(Refused(CKR_OPERATION_NOT_INITIALIZED)));
    let closed = Session::open(p11, slot).unwrap();
    closed.close().unwrap();
    assert_eq!(closed.close(), Err(Refused(CKR_SESSION_HANDLE_INVALID)));
}

/// What each thread does, in a session of its own.
fn work(p11: &Library, slot: CK_SLOT_ID, k: &Keys, number: u8) -> Answer<()> {
    let s = Session::open(p11, slot)?;
    for round in 0..ROUNDS {
        let data: Vec<u8> = (0..100 + round).map(|i| i ^ number).collect();
        let mut signature = s.sign(plain(CKM_ECDSA_SHA256), k.ec, &data)?;
        s.verify(plain(CKM_ECDSA_SHA256), k.ec_public, &data, &signature)?;
        signature[63] ^= 1;
        assert_eq!(s.verify(plain(CKM_ECDSA_SHA256), k.ec_public, &data, &signature), Err(Refused(CKR_SIGNATURE_INVALID)));
        let signature = s.sign(with(CKM_SHA256_RSA_PKCS_PSS, &mut pss()), k.rsa, &data)?;
        s.verify(with(CKM_SHA256_RSA_PKCS_PSS, &mut pss()), k.rsa_public, &data, &signature)?;

        let (mut iv, mut aad) = ([number, round, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], *b"with it");
        let mut gcm = CK_GCM_PARAMS { pIv: iv.as_mut_ptr(), ulIvLen: 12, ulIvBits: 96, pAAD: aad.as_mut_ptr(), ulAADLen: 7, ulTagBits: 128 };
        let mut secret = s.encrypt(with(CKM_AES_GCM, &mut gcm), k.aes, &data)?;
        assert_eq!(secret.len(), data.len() + 16);
        assert_eq!(s.decrypt(with(CKM_AES_GCM, &mut gcm), k.aes, &secret)?, data);
        secret[0] ^= 1;
        assert_eq!(s.decrypt(with(CKM_AES_GCM, &mut gcm), k.aes, &secret), Err(Refused(CKR_ENCRYPTED_DATA_INVALID)));
    }
    s.close()
}

fn main() {
    let p11 = Library::load(&std::env::args().nth(1).expect("LIBRARY"));
    p11.initialize().unwrap();
    let slot = p11.first_slot().unwrap();
    let s = Session::open(&p11, slot).unwrap();
    assert_eq!(ec_pair(&s), Err(Refused(CKR_USER_NOT_LOGGED_IN)));
    assert_eq!(s.login("wrong"), Err(Refused(CKR_PIN_INCORRECT)));
    s.login(&std::env::var("COFFER_PIN").unwrap()).unwrap();
    let keys = make_keys(&s).unwrap();
    signatures(&s, &keys).unwrap();
    refusals(&p11, &s, slot, &keys);
    std::thread::scope(|scope| {
        for number in 0..THREADS {
            let (p11, keys) = (&p11, &keys);
            scope.spawn(move || work(p11, slot, keys, number).unwrap()); // a thread that panics makes the scope panic
        }
    });
    p11.finalize().unwrap();
    println!("ok cryptoki-sys");
}
