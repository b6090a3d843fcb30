// graphene-pk11: objects instead of calls. `node graphene.js LIBRARY`, with COFFER_PIN.
const assert = require("node:assert");
const crypto = require("node:crypto");
const graphene = require("graphene-pk11");

const module_ = graphene.Module.load(process.argv[2], "Coffer");
module_.initialize();
const session = module_.getSlots(0).open(graphene.SessionFlag.RW_SESSION | graphene.SessionFlag.SERIAL_SESSION);
session.login(process.env.COFFER_PIN);

const rsa = session.generateKeyPair(graphene.KeyGenMechanism.RSA,
  { keyType: graphene.KeyType.RSA, modulusBits: 2048, publicExponent: Buffer.from([1, 0, 1]), token: true, verify: true, encrypt: true, label: "graphene" },
  { keyType: graphene.KeyType.RSA, sign: true, decrypt: true, token: true, label: "graphene" });
const { modulus, publicExponent } = rsa.publicKey.getAttribute({ modulus: null, publicExponent: null });
const known = crypto.createPublicKey({ format: "jwk", key: { kty: "RSA", n: modulus.toString("base64url"), e: publicExponent.toString("base64url") } });
const sign = session.createSign("SHA256_RSA_PKCS", rsa.privateKey);
sign.update(Buffer.from("in "));
sign.update(Buffer.from("parts"));
assert(crypto.verify("sha256", Buffer.from("in parts"), known, sign.final()), "a signature");

const secret = crypto.publicEncrypt({ key: known, padding: crypto.constants.RSA_PKCS1_OAEP_PADDING, oaepHash: "sha256" }, Buffer.from("hello"));
const oaep = { name: "RSA_PKCS_OAEP", params: new graphene.RsaOaepParams(graphene.MechanismEnum.SHA256, graphene.RsaMgf.MGF1_SHA256) };
assert.equal(session.createDecipher(oaep, rsa.privateKey).once(secret, Buffer.alloc(256)).toString(), "hello");

const aes = session.generateKey(graphene.KeyGenMechanism.AES, { keyType: graphene.KeyType.AES, valueLen: 32, encrypt: true, decrypt: true, token: false });
const cbc = { name: "AES_CBC_PAD", params: crypto.randomBytes(16) };
const cipher = session.createCipher(cbc, aes);
const parts = Buffer.concat([cipher.update(Buffer.alloc(100, 1)), cipher.update(Buffer.alloc(100, 2)), cipher.final()]);
const back = session.createDecipher(cbc, aes).once(parts, Buffer.alloc(parts.length));
assert(back.equals(Buffer.concat([Buffer.alloc(100, 1), Buffer.alloc(100, 2)])));
assert.throws(() => aes.getAttribute({ value: null }), "the value of a key");

let found = 0;
session.find({ label: "graphene" }, () => { found++; });
assert.equal(found, 2);
session.logout();
session.close();
module_.finalize();
console.log("ok graphene");
