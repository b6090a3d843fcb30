// pkcs11js: the C API as it is, over the events of Node's loop. `node binding.js LIBRARY`, with COFFER_PIN.
const assert = require("node:assert");
const crypto = require("node:crypto");
const pkcs11js = require("pkcs11js");

const p = new pkcs11js.PKCS11();
p.load(process.argv[2]);
p.C_Initialize();
const slot = p.C_GetSlotList(true)[0];
assert.equal(p.C_GetTokenInfo(slot).manufacturerID.trim() !== "", true);
assert(p.C_GetMechanismList(slot).includes(pkcs11js.CKM_AES_GCM));
const s = p.C_OpenSession(slot, pkcs11js.CKF_SERIAL_SESSION | pkcs11js.CKF_RW_SESSION);
p.C_Login(s, pkcs11js.CKU_USER, process.env.COFFER_PIN);

const key = p.C_GenerateKey(s, { mechanism: pkcs11js.CKM_AES_KEY_GEN }, [
  { type: pkcs11js.CKA_VALUE_LEN, value: 32 },
  { type: pkcs11js.CKA_LABEL, value: "binding" },
  { type: pkcs11js.CKA_TOKEN, value: true },
]);
assert.throws(() => p.C_GetAttributeValue(s, key, [{ type: pkcs11js.CKA_VALUE }]), /CKR_ATTRIBUTE_SENSITIVE/);
const iv = crypto.randomBytes(12);
const gcm = {
  mechanism: pkcs11js.CKM_AES_GCM,
  parameter: { type: pkcs11js.CK_PARAMS_AES_GCM, iv, ivBits: 96, aad: Buffer.from("with it"), tagBits: 128 },
};
const text = crypto.randomBytes(1000);
p.C_EncryptInit(s, gcm, key);
const secret = p.C_Encrypt(s, text, Buffer.alloc(text.length + 16));
p.C_DecryptInit(s, gcm, key);
assert(p.C_Decrypt(s, secret, Buffer.alloc(secret.length)).equals(text));

// in parts, and on threads of Node's own
(async () => {
  p.C_DigestInit(s, { mechanism: pkcs11js.CKM_SHA256 });
  p.C_DigestUpdate(s, text);
  assert(p.C_DigestFinal(s, Buffer.alloc(32)).equals(crypto.createHash("sha256").update(text).digest()));
  const pairs = await Promise.all([1, 2, 3, 4].map(async () => {
    const own = p.C_OpenSession(slot, pkcs11js.CKF_SERIAL_SESSION);
    const pair = await p.C_GenerateKeyPairAsync(own, { mechanism: pkcs11js.CKM_EC_KEY_PAIR_GEN },
      [{ type: pkcs11js.CKA_EC_PARAMS, value: Buffer.from("06082a8648ce3d030107", "hex") }], []);
    for (let i = 0; i < 20; i++) {
      p.C_SignInit(own, { mechanism: pkcs11js.CKM_ECDSA_SHA256 }, pair.privateKey);
      const signature = await p.C_SignAsync(own, text, Buffer.alloc(64));
      p.C_VerifyInit(own, { mechanism: pkcs11js.CKM_ECDSA_SHA256 }, pair.publicKey);
      assert.equal(await p.C_VerifyAsync(own, text, signature), true);
    }
    return pair;
  }));
  assert.equal(new Set(pairs.map((x) => x.privateKey.toString("hex"))).size, 4);
  p.C_Logout(s);
  p.C_Finalize();
  console.log("ok binding");
})();
