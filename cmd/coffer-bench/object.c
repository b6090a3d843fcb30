/* The objects that operations work on. All carry OBJECT_LABEL; secret and private keys are private, sensitive and not
 * extractable, as they are in earnest. */
#include <stdlib.h>
#include <string.h>
#include "bench.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
static CK_UTF8CHAR label[] = OBJECT_LABEL;
static CK_BYTE key_id[] = "bench";
static CK_OBJECT_CLASS class_secret = CKO_SECRET_KEY;
static CK_KEY_TYPE type_aes = CKK_AES;

/* Curves, as DER: OIDs, and the name for libraries that know Ed25519 only by it. */
static CK_BYTE oid_p256[] = {0x06, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07};
static CK_BYTE oid_ed25519[] = {0x06, 3, 0x2b, 0x65, 0x70};
static CK_BYTE name_ed25519[] = {0x13, 12, 'e', 'd', 'w', 'a', 'r', 'd', 's', '2', '5', '5', '1', '9'};

CK_RV remember(struct handles *l, CK_OBJECT_HANDLE object)
{
	if (l->count == l->room) {
		size_t room = l->room == 0 ? 64 : 2 * l->room;
		CK_OBJECT_HANDLE *list = realloc(l->list, room * sizeof *list);

		if (list == NULL)
			return RV_MEMORY;
		l->list = list;
		l->room = room;
	}
	l->list[l->count++] = object;
	return CKR_OK;
}

void destroy_all(struct caller *c, struct handles *l)
{
	while (l->count > 0)
		c->p11->C_DestroyObject(c->session, l->list[--l->count]);
	free(l->list);
	memset(l, 0, sizeof *l);
}

/* put_number writes n in eight bytes, the highest first. */
void put_number(CK_BYTE *to, uint64_t n)
{
	for (int i = 7; i >= 0; i--, n >>= 8)
		to[i] = (CK_BYTE)n;
}

CK_RV generate_rsa(struct caller *c, CK_ULONG bits, CK_BBOOL token, CK_OBJECT_HANDLE *public_key, CK_OBJECT_HANDLE *key)
{
	CK_MECHANISM m = {CKM_RSA_PKCS_KEY_PAIR_GEN, NULL, 0};
	CK_BYTE exponent[] = {1, 0, 1};
	CK_ATTRIBUTE pub[] = {
		{CKA_TOKEN, &token, sizeof token}, {CKA_LABEL, label, sizeof label - 1}, {CKA_ID, key_id, sizeof key_id - 1},
		{CKA_VERIFY, &yes, sizeof yes}, {CKA_MODULUS_BITS, &bits, sizeof bits},
		{CKA_PUBLIC_EXPONENT, exponent, sizeof exponent},
	};
	CK_ATTRIBUTE priv[] = {
		{CKA_TOKEN, &token, sizeof token}, {CKA_LABEL, label, sizeof label - 1}, {CKA_ID, key_id, sizeof key_id - 1},
		{CKA_PRIVATE, &yes, sizeof yes}, {CKA_SENSITIVE, &yes, sizeof yes}, {CKA_EXTRACTABLE, &no, sizeof no},
		{CKA_SIGN, &yes, sizeof yes},
	};

	return CALL(c, GenerateKeyPair, c->session, &m, pub, COUNT(pub), priv, COUNT(priv), public_key, key);
}

static CK_RV generate_ec(struct caller *c, CK_MECHANISM_TYPE type, CK_BYTE *curve, CK_ULONG len, CK_BBOOL token,
	CK_OBJECT_HANDLE *public_key, CK_OBJECT_HANDLE *key)
{
	CK_MECHANISM m = {type, NULL, 0};
	CK_ATTRIBUTE pub[] = {
		{CKA_TOKEN, &token, sizeof token}, {CKA_LABEL, label, sizeof label - 1}, {CKA_ID, key_id, sizeof key_id - 1},
		{CKA_VERIFY, &yes, sizeof yes}, {CKA_EC_PARAMS, curve, len},
	};
	CK_ATTRIBUTE priv[] = {
		{CKA_TOKEN, &token, sizeof token}, {CKA_LABEL, label, sizeof label - 1}, {CKA_ID, key_id, sizeof key_id - 1},
		{CKA_PRIVATE, &yes, sizeof yes}, {CKA_SENSITIVE, &yes, sizeof yes}, {CKA_EXTRACTABLE, &no, sizeof no},
		{CKA_SIGN, &yes, sizeof yes},
	};

	return CALL(c, GenerateKeyPair, c->session, &m, pub, COUNT(pub), priv, COUNT(priv), public_key, key);
}

CK_RV generate_p256(struct caller *c, CK_BBOOL token, CK_OBJECT_HANDLE *public_key, CK_OBJECT_HANDLE *key)
{
	return generate_ec(c, CKM_EC_KEY_PAIR_GEN, oid_p256, sizeof oid_p256, token, public_key, key);
}

CK_RV generate_aes(struct caller *c, CK_ULONG bits, CK_OBJECT_HANDLE *key)
{
	CK_MECHANISM m = {CKM_AES_KEY_GEN, NULL, 0};
	CK_ULONG len = bits / 8;
	CK_ATTRIBUTE t[] = {
		{CKA_TOKEN, &no, sizeof no}, {CKA_LABEL, label, sizeof label - 1}, {CKA_VALUE_LEN, &len, sizeof len},
		{CKA_PRIVATE, &yes, sizeof yes}, {CKA_SENSITIVE, &yes, sizeof yes}, {CKA_EXTRACTABLE, &no, sizeof no},
		{CKA_ENCRYPT, &yes, sizeof yes}, {CKA_DECRYPT, &yes, sizeof yes},
	};

	return CALL(c, GenerateKey, c->session, &m, t, COUNT(t), key);
}

/* create_secret stores an AES-256 key with that number as its CKA_ID. */
CK_RV create_secret(struct caller *c, CK_BBOOL token, uint64_t id, CK_OBJECT_HANDLE *object)
{
	CK_BYTE id_bytes[8], value[32] = {0};
	CK_ATTRIBUTE t[] = {
		{CKA_CLASS, &class_secret, sizeof class_secret}, {CKA_KEY_TYPE, &type_aes, sizeof type_aes},
		{CKA_TOKEN, &token, sizeof token}, {CKA_PRIVATE, &yes, sizeof yes}, {CKA_LABEL, label, sizeof label - 1},
		{CKA_ID, id_bytes, sizeof id_bytes}, {CKA_VALUE, value, sizeof value}, {CKA_SENSITIVE, &yes, sizeof yes},
		{CKA_EXTRACTABLE, &no, sizeof no}, {CKA_ENCRYPT, &yes, sizeof yes}, {CKA_DECRYPT, &yes, sizeof yes},
	};

	put_number(id_bytes, id);
	put_number(value, id ^ 0x9e3779b97f4a7c15ULL);
	return CALL(c, CreateObject, c->session, t, COUNT(t), object);
}

/* pair_made remembers a key pair. */
static CK_RV pair_made(struct host *h, CK_RV rv)
{
	if (rv == CKR_OK)
		rv = remember(&h->made, h->key);
	if (rv == CKR_OK)
		rv = remember(&h->made, h->public_key);
	return rv;
}

CK_RV make_rsa(struct host *h, const struct operation *op)
{
	return pair_made(h, generate_rsa(&h->caller, op->size, op->token, &h->public_key, &h->key));
}

CK_RV make_p256(struct host *h, const struct operation *op)
{
	return pair_made(h, generate_p256(&h->caller, op->token, &h->public_key, &h->key));
}

/* make_p256_signature also signs what step_verify verifies: op->bytes bytes that are zero. */
CK_RV make_p256_signature(struct host *h, const struct operation *op)
{
	struct caller *c = &h->caller;
	CK_MECHANISM m = {op->mech, NULL, 0};
	CK_BYTE data[32] = {0};
	CK_RV rv = make_p256(h, op);

	if (rv == CKR_OK)
		rv = CALL(c, SignInit, c->session, &m, h->key);
	h->signature_len = sizeof h->signature;
	if (rv == CKR_OK)
		rv = CALL(c, Sign, c->session, data, op->bytes, h->signature, &h->signature_len);
	return rv;
}

CK_RV make_ed25519(struct host *h, const struct operation *op)
{
	CK_RV rv = generate_ec(&h->caller, CKM_EC_EDWARDS_KEY_PAIR_GEN, oid_ed25519, sizeof oid_ed25519, op->token,
		&h->public_key, &h->key);

	if (rv != CKR_OK && rv != CKR_MECHANISM_INVALID)
		rv = generate_ec(&h->caller, CKM_EC_EDWARDS_KEY_PAIR_GEN, name_ed25519, sizeof name_ed25519, op->token,
			&h->public_key, &h->key);
	return pair_made(h, rv);
}

CK_RV make_aes(struct host *h, const struct operation *op)
{
	CK_RV rv = generate_aes(&h->caller, op->size, &h->key);

	return rv != CKR_OK ? rv : remember(&h->made, h->key);
}

CK_RV make_hmac(struct host *h, const struct operation *op)
{
	struct caller *c = &h->caller;
	CK_MECHANISM m = {CKM_GENERIC_SECRET_KEY_GEN, NULL, 0};
	CK_ULONG len = op->size / 8;
	CK_ATTRIBUTE t[] = {
		{CKA_TOKEN, &no, sizeof no}, {CKA_LABEL, label, sizeof label - 1}, {CKA_VALUE_LEN, &len, sizeof len},
		{CKA_PRIVATE, &yes, sizeof yes}, {CKA_SENSITIVE, &yes, sizeof yes}, {CKA_EXTRACTABLE, &no, sizeof no}, {CKA_SIGN, &yes, sizeof yes},
	};
	CK_RV rv = CALL(c, GenerateKey, c->session, &m, t, COUNT(t), &h->key);

	return rv != CKR_OK ? rv : remember(&h->made, h->key);
}

/* make_numbered stores op->size keys whose ids are h->first_id and those after it; some may be there already. */
CK_RV make_numbered(struct host *h, const struct operation *op)
{
	uint64_t deadline = nanoseconds() + (uint64_t)(h->setup_limit * 1e9);

	for (size_t i = h->made.count; i < op->size; i++) {
		CK_OBJECT_HANDLE object;
		CK_RV rv = create_secret(&h->caller, op->token, h->first_id + i, &object);

		if (rv == CKR_OK)
			rv = remember(&h->made, object);
		if (rv == CKR_OK && interrupted)
			rv = RV_STOPPED;
		if (rv == CKR_OK && nanoseconds() > deadline)
			rv = RV_TOO_SLOW;
		if (rv != CKR_OK)
			return rv;
	}
	return CKR_OK;
}
