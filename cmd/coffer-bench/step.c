/* What is measured. A step begins and ends with nothing running in its session. */
#include <string.h>
#include "bench.h"

CK_RV step_sign(struct worker *w)
{
	struct caller *c = &w->caller;
	CK_MECHANISM m = {w->op->mech, NULL, 0};
	CK_ULONG len = sizeof w->out;
	CK_RV rv = CALL(c, SignInit, c->session, &m, w->host->key);

	return rv != CKR_OK ? rv : CALL(c, Sign, c->session, w->in, w->op->bytes, w->out, &len);
}

CK_RV step_verify(struct worker *w)
{
	struct caller *c = &w->caller;
	CK_MECHANISM m = {w->op->mech, NULL, 0};
	CK_RV rv = CALL(c, VerifyInit, c->session, &m, w->host->public_key);

	if (rv == CKR_OK)
		rv = CALL(c, Verify, c->session, w->in, w->op->bytes, (CK_BYTE_PTR)w->host->signature, w->host->signature_len);
	return rv;
}

static CK_RV encrypt(struct worker *w, CK_MECHANISM *m, CK_ULONG overhead)
{
	struct caller *c = &w->caller;
	CK_ULONG len = sizeof w->out;
	CK_RV rv = CALL(c, EncryptInit, c->session, m, w->host->key);

	if (rv == CKR_OK)
		rv = CALL(c, Encrypt, c->session, w->in, w->op->bytes, w->out, &len);
	if (rv == CKR_OK && len != w->op->bytes + overhead)
		rv = RV_WRONG;
	return rv;
}

/* step_gcm encrypts with a nonce that no step of any thread has used: four bytes are the thread's, eight a counter. */
CK_RV step_gcm(struct worker *w)
{
	CK_BYTE nonce[12];
	CK_GCM_PARAMS p = {.pIv = nonce, .ulIvLen = sizeof nonce, .ulIvBits = 8 * sizeof nonce, .ulTagBits = 128};
	CK_MECHANISM m = {w->op->mech, &p, sizeof p};

	memcpy(nonce, &w->random, 4); /* only step_find moves w->random on */
	put_number(nonce + 4, w->nonce++);
	return encrypt(w, &m, 16);
}

CK_RV step_cbc(struct worker *w)
{
	CK_BYTE iv[16] = {0};
	CK_MECHANISM m = {w->op->mech, iv, sizeof iv};

	return encrypt(w, &m, 0);
}

CK_RV step_digest(struct worker *w)
{
	struct caller *c = &w->caller;
	CK_MECHANISM m = {w->op->mech, NULL, 0};
	CK_ULONG len = sizeof w->out;
	CK_RV rv = CALL(c, DigestInit, c->session, &m);

	return rv != CKR_OK ? rv : CALL(c, Digest, c->session, w->in, w->op->bytes, w->out, &len);
}

CK_RV step_random(struct worker *w)
{
	struct caller *c = &w->caller;

	return CALL(c, GenerateRandom, c->session, w->out, w->op->bytes);
}

static CK_RV destroy(struct caller *c, CK_OBJECT_HANDLE object)
{
	return CALL(c, DestroyObject, c->session, object);
}

CK_RV step_generate_rsa(struct worker *w)
{
	CK_OBJECT_HANDLE public_key, key;
	CK_RV rv = generate_rsa(&w->caller, w->op->size, CK_FALSE, &public_key, &key);

	if (rv == CKR_OK)
		rv = destroy(&w->caller, public_key);
	return rv != CKR_OK ? rv : destroy(&w->caller, key);
}

CK_RV step_generate_p256(struct worker *w)
{
	CK_OBJECT_HANDLE public_key, key;
	CK_RV rv = generate_p256(&w->caller, CK_FALSE, &public_key, &key);

	if (rv == CKR_OK)
		rv = destroy(&w->caller, public_key);
	return rv != CKR_OK ? rv : destroy(&w->caller, key);
}

CK_RV step_generate_aes(struct worker *w)
{
	CK_OBJECT_HANDLE key;
	CK_RV rv = generate_aes(&w->caller, w->op->size, &key);

	return rv != CKR_OK ? rv : destroy(&w->caller, key);
}

CK_RV step_attributes(struct worker *w)
{
	struct caller *c = &w->caller;
	CK_KEY_TYPE type;
	CK_BYTE label[32], id[32];
	CK_ATTRIBUTE t[] = {{CKA_KEY_TYPE, &type, sizeof type}, {CKA_LABEL, label, sizeof label}, {CKA_ID, id, sizeof id}};

	return CALL(c, GetAttributeValue, c->session, w->host->key, t, 3);
}

CK_RV step_session(struct worker *w)
{
	struct caller *c = &w->caller;
	CK_SESSION_HANDLE s;
	CK_RV rv = CALL(c, OpenSession, w->host->slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &s);

	return rv != CKR_OK ? rv : CALL(c, CloseSession, s);
}

/* next_random is xorshift64*: which object is looked for need only be spread evenly. */
static uint64_t next_random(uint64_t *state)
{
	uint64_t x = *state;

	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	*state = x;
	return x * 0x2545f4914f6cdd1dULL;
}

/* step_find looks for one object and checks that it is the one and no other. */
CK_RV step_find(struct worker *w)
{
	struct caller *c = &w->caller;
	CK_OBJECT_CLASS class = CKO_SECRET_KEY;
	CK_BYTE id[8];
	CK_ATTRIBUTE t[] = {{CKA_CLASS, &class, sizeof class}, {CKA_ID, id, sizeof id}};
	CK_OBJECT_HANDLE found[2];
	CK_ULONG count = 0;
	CK_RV rv;

	put_number(id, w->host->first_id + next_random(&w->random) % w->op->size);
	rv = CALL(c, FindObjectsInit, c->session, t, 2);
	if (rv == CKR_OK)
		rv = CALL(c, FindObjects, c->session, found, 2, &count);
	if (rv == CKR_OK)
		rv = CALL(c, FindObjectsFinal, c->session);
	if (rv == CKR_OK && count != 1)
		rv = RV_WRONG;
	return rv;
}

CK_RV step_create(struct worker *w)
{
	CK_OBJECT_HANDLE object;
	CK_RV rv = create_secret(&w->caller, w->op->token, w->random + w->nonce++, &object);

	return rv != CKR_OK ? rv : remember(&w->made, object);
}
