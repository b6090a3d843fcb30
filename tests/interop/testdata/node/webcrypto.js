// node-webcrypto-p11: the Web Cryptography API over a token, against Node's own. `node webcrypto.js LIBRARY`, with COFFER_PIN.
const assert = require("node:assert");
const { Worker, isMainThread, workerData } = require("node:worker_threads");
const soft = require("node:crypto").webcrypto.subtle;
const { Crypto } = require("node-webcrypto-p11");

const library = isMainThread ? process.argv[2] : workerData;
const open = () => new Crypto({ library, name: "Coffer", slot: 0, readWrite: true, pin: process.env.COFFER_PIN });
const text = Buffer.from("what is to be protected");

// signatures of a pair are verified by Node's own with the public key alone
async function signatures(hard) {
  const cases = [
    ...["P-256", "P-384", "P-521"].map((namedCurve) => [{ name: "ECDSA", namedCurve }, { name: "ECDSA", hash: "SHA-256" }]),
    ...["SHA-256", "SHA-512"].flatMap((hash) => [
      [{ name: "RSASSA-PKCS1-v1_5", hash, modulusLength: 2048, publicExponent: new Uint8Array([1, 0, 1]) }, { name: "RSASSA-PKCS1-v1_5" }],
      [{ name: "RSA-PSS", hash, modulusLength: 2048, publicExponent: new Uint8Array([1, 0, 1]) }, { name: "RSA-PSS", saltLength: 32 }],
    ]),
  ];
  for (const [make, use] of cases) {
    const pair = await hard.generateKey(make, false, ["sign", "verify"]);
    await assert.rejects(hard.exportKey("pkcs8", pair.privateKey), make.name);
    const signature = await hard.sign(use, pair.privateKey, text);
    const known = await soft.importKey("spki", await hard.exportKey("spki", pair.publicKey), make, false, ["verify"]);
    assert(await soft.verify(use, known, signature, text), `${make.name} in software`);
    assert(await hard.verify(use, pair.publicKey, signature, text), make.name);
    assert(!(await hard.verify(use, pair.publicKey, signature, Buffer.from("other"))), make.name);
    console.log(`ok ${make.name} ${make.namedCurve ?? make.hash}`);
  }
}

async function ciphers(hard) {
  for (const [make, use] of [
    [{ name: "AES-GCM", length: 256 }, { name: "AES-GCM", iv: new Uint8Array(12), additionalData: text, tagLength: 128 }],
    [{ name: "AES-CBC", length: 128 }, { name: "AES-CBC", iv: new Uint8Array(16) }],
  ]) {
    const key = await hard.generateKey(make, false, ["encrypt", "decrypt"]);
    const secret = await hard.encrypt(use, key, text);
    assert(Buffer.from(await hard.decrypt(use, key, secret)).equals(text), make.name);
    const raw = new Uint8Array(make.length / 8).fill(7);
    const here = await hard.importKey("raw", raw, make, false, ["encrypt", "decrypt"]);
    const there = await soft.importKey("raw", raw, make, false, ["encrypt", "decrypt"]);
    assert(Buffer.from(await soft.decrypt(use, there, await hard.encrypt(use, here, text))).equals(text), make.name);
    console.log(`ok ${make.name}`);
  }
  const oaep = { name: "RSA-OAEP", hash: "SHA-256", modulusLength: 2048, publicExponent: new Uint8Array([1, 0, 1]) };
  const pair = await hard.generateKey(oaep, false, ["encrypt", "decrypt"]);
  const known = await soft.importKey("spki", await hard.exportKey("spki", pair.publicKey), oaep, false, ["encrypt"]);
  assert(Buffer.from(await hard.decrypt(oaep, pair.privateKey, await soft.encrypt(oaep, known, text))).equals(text), "RSA-OAEP");
  console.log("ok RSA-OAEP");
}

async function agreements(hard) {
  const curve = { name: "ECDH", namedCurve: "P-256" };
  const here = await hard.generateKey(curve, false, ["deriveBits"]);
  const there = await soft.generateKey(curve, false, ["deriveBits"]);
  const known = await soft.importKey("spki", await hard.exportKey("spki", here.publicKey), curve, false, []);
  const peer = await hard.importKey("spki", await soft.exportKey("spki", there.publicKey), curve, true, []);
  const one = await hard.deriveBits({ name: "ECDH", public: peer }, here.privateKey, 256);
  const two = await soft.deriveBits({ name: "ECDH", public: known }, there.privateKey, 256);
  assert(Buffer.from(one).equals(Buffer.from(two)), "ECDH");
  console.log("ok ECDH");
  const mac = { name: "HMAC", hash: "SHA-256", length: 256 };
  const key = await hard.generateKey(mac, false, ["sign", "verify"]);
  assert(await hard.verify(mac, key, await hard.sign(mac, key, text), text), "HMAC");
  console.log("ok HMAC");
  assert(Buffer.from(await hard.digest("SHA-512", text)).equals(Buffer.from(await soft.digest("SHA-512", text))), "SHA-512");
  console.log("ok SHA-512");
}

async function worker() {
  const crypto = open();
  const names = (await crypto.keyStorage.keys()).filter((x) => x.startsWith("private-"));
  const keys = await Promise.all(names.map((x) => crypto.keyStorage.getItem(x)));
  const key = keys.find((x) => x.algorithm.label === "webcrypto");
  for (let i = 0; i < 50; i++) {
    assert.equal((await crypto.subtle.sign({ name: "ECDSA", hash: "SHA-256" }, key, text)).byteLength, 64);
  }
}

async function main() {
  const crypto = open();
  await signatures(crypto.subtle);
  await ciphers(crypto.subtle);
  await agreements(crypto.subtle);
  const kept = await crypto.subtle.generateKey({ name: "ECDSA", namedCurve: "P-256", token: true, sensitive: true, label: "webcrypto" }, false, ["sign", "verify"]);
  assert.equal(kept.privateKey.algorithm.token, true);
  await Promise.all([1, 2, 3, 4].map(() => new Promise((done, failed) => {
    new Worker(__filename, { workerData: library }).on("error", failed).on("exit", (code) => (code ? failed(new Error(`exit ${code}`)) : done()));
  })));
  console.log("ok worker_threads");
}

(isMainThread ? main() : worker()).catch((e) => {
  console.error(e);
  process.exit(1);
});
