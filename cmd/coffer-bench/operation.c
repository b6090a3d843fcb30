/* The table of operations. docs/benchmark.md describes each row. */
#include <string.h>
#include "bench.h"

#define NONE CK_UNAVAILABLE_INFORMATION

/* In the order of the report. What leaves most objects behind comes last. */
const struct operation operations[] = {
	{"sign-rsa-2048", "RSA-PKCS over a DigestInfo of 51 bytes", CKM_RSA_PKCS, 2048, 51, CK_FALSE, make_rsa, step_sign},
	{"sign-rsa-3072", "RSA-PKCS over a DigestInfo of 51 bytes", CKM_RSA_PKCS, 3072, 51, CK_FALSE, make_rsa, step_sign},
	{"sign-rsa-4096", "RSA-PKCS over a DigestInfo of 51 bytes", CKM_RSA_PKCS, 4096, 51, CK_FALSE, make_rsa, step_sign},
	{"sign-p256", "ECDSA over a digest of 32 bytes", CKM_ECDSA, 256, 32, CK_FALSE, make_p256, step_sign},
	{"verify-p256", "ECDSA over a digest of 32 bytes", CKM_ECDSA, 256, 32, CK_FALSE, make_p256_signature, step_verify},
	{"sign-ed25519", "EdDSA over 32 bytes", CKM_EDDSA, 255, 32, CK_FALSE, make_ed25519, step_sign},
	{"sign-rsa-2048-token", "sign-rsa-2048 with a token key", CKM_RSA_PKCS, 2048, 51, CK_TRUE, make_rsa, step_sign},
	{"sign-p256-token", "sign-p256 with a token key", CKM_ECDSA, 256, 32, CK_TRUE, make_p256, step_sign},
	{"aes-gcm-1k", "AES-256-GCM encryption of 1 KiB", CKM_AES_GCM, 256, 1024, CK_FALSE, make_aes, step_gcm},
	{"aes-gcm-16k", "AES-256-GCM encryption of 16 KiB", CKM_AES_GCM, 256, 16384, CK_FALSE, make_aes, step_gcm},
	{"aes-cbc-1k", "AES-256-CBC encryption of 1 KiB", CKM_AES_CBC, 256, 1024, CK_FALSE, make_aes, step_cbc},
	{"aes-cbc-16k", "AES-256-CBC encryption of 16 KiB", CKM_AES_CBC, 256, 16384, CK_FALSE, make_aes, step_cbc},
	{"hmac-sha256-1k", "HMAC-SHA-256 over 1 KiB", CKM_SHA256_HMAC, 256, 1024, CK_FALSE, make_hmac, step_sign},
	{"sha256-1k", "SHA-256 over 1 KiB", CKM_SHA256, 0, 1024, CK_FALSE, NULL, step_digest},
	{"random-32", "32 random bytes", NONE, 0, 32, CK_FALSE, NULL, step_random},
	{"generate-rsa-2048", "make and destroy an RSA-2048 key pair", CKM_RSA_PKCS_KEY_PAIR_GEN, 2048, 0, CK_FALSE, NULL, step_generate_rsa},
	{"generate-p256", "make and destroy a P-256 key pair", CKM_EC_KEY_PAIR_GEN, 256, 0, CK_FALSE, NULL, step_generate_p256},
	{"generate-aes-256", "make and destroy an AES-256 key", CKM_AES_KEY_GEN, 256, 0, CK_FALSE, NULL, step_generate_aes},
	{"attributes", "get three attributes of a P-256 private key", NONE, 256, 0, CK_FALSE, make_p256, step_attributes},
	{"session", "open and close a session", NONE, 0, 0, CK_FALSE, NULL, step_session},
	{"find-100", "find one of 100 session keys by its id", NONE, 100, 0, CK_FALSE, make_numbered, step_find},
	{"find-1000", "find one of 1,000 session keys by its id", NONE, 1000, 0, CK_FALSE, make_numbered, step_find},
	{"find-10000", "find one of 10,000 session keys by its id", NONE, 10000, 0, CK_FALSE, make_numbered, step_find},
	{"find-100000", "find one of 100,000 session keys by its id", NONE, 100000, 0, CK_FALSE, make_numbered, step_find},
	{"create-token", "create an AES-256 key on the token, durable", NONE, 0, 0, CK_TRUE, NULL, step_create},
	{"find-token-1000", "find one of 1,000 token keys by its id", NONE, 1000, 0, CK_TRUE, make_numbered, step_find},
	{"find-token-10000", "find one of 10,000 token keys by its id", NONE, 10000, 0, CK_TRUE, make_numbered, step_find},
	{NULL, NULL, 0, 0, 0, 0, NULL, NULL},
};

const struct operation *operation_named(const char *name)
{
	for (const struct operation *op = operations; op->name != NULL; op++)
		if (strcmp(op->name, name) == 0)
			return op;
	return NULL;
}

/* list_operations prints one JSON object a row; objects is how many an operation has to make beforehand. */
void list_operations(FILE *to)
{
	for (const struct operation *op = operations; op->name != NULL; op++)
		fprintf(to, "{\"operation\":\"%s\",\"text\":\"%s\",\"objects\":%lu}\n", op->name, op->text,
			op->setup == make_numbered ? op->size : 0);
}

/* is_unsupported says whether a library answers like this because it does not have the operation at all. */
int is_unsupported(CK_RV rv)
{
	switch (rv) {
	case CKR_MECHANISM_INVALID:
	case CKR_MECHANISM_PARAM_INVALID:
	case CKR_FUNCTION_NOT_SUPPORTED:
	case CKR_CURVE_NOT_SUPPORTED:
	case CKR_RANDOM_NO_RNG:
	case CKR_TOKEN_WRITE_PROTECTED:
		return 1;
	}
	return 0;
}
