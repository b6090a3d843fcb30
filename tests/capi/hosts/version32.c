/* version32 MODULE PIN: what version 3.2 has brought, as C sees it: encapsulation, authenticated wrapping, asynchronous sessions,
 * validation flags and the wait for a slot event. What is written into the caller's memory and when; questions for lengths, short
 * buffers, NULL, and memory that cannot be. */
#include "host.h"
#include <pthread.h>

static CK_SLOT_ID slot;
static CK_SESSION_HANDLE session;
static CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
static void *const wild = (void *)0x7000deadbee8;

static const CK_BYTE p256[] = {6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7};

enum { UNTOUCHED = 0xee };

static int untouched(const CK_BYTE *p, size_t n)
{
	while (n > 0 && p[n - 1] == UNTOUCHED)
		n--;
	return n == 0;
}

static CK_ULONG objects(void)
{
	CK_OBJECT_HANDLE found[100];
	CK_ULONG n;

	OK(p11->C_FindObjectsInit(session, NULL, 0));
	OK(p11->C_FindObjects(session, found, 100, &n));
	OK(p11->C_FindObjectsFinal(session));
	return n;
}

static void value_of(CK_OBJECT_HANDLE key, CK_BYTE *value, CK_ULONG size)
{
	CK_ATTRIBUTE a = {CKA_VALUE, value, size};

	OK(p11->C_GetAttributeValue(session, key, &a, 1));
	CHECK(a.ulValueLen == size);
}

/* encapsulation: no key without its ciphertext, and no ciphertext without room for it. */
static void encapsulation(void)
{
	CK_ECDH1_DERIVE_PARAMS ecdh = {CKD_SHA256_KDF, 0, NULL, 0, NULL};
	CK_MECHANISM generate = {CKM_EC_KEY_PAIR_GEN, NULL, 0}, kem = {CKM_ECDH1_DERIVE, &ecdh, sizeof ecdh};
	CK_MECHANISM bare = {CKM_ECDH1_DERIVE, NULL, 0}, odd = {CKM_ECDH1_DERIVE, &ecdh, 7};
	CK_ATTRIBUTE public[] = {{CKA_EC_PARAMS, (void *)p256, sizeof p256}, {CKA_ENCAPSULATE, &yes, 1}};
	CK_ATTRIBUTE private[] = {{CKA_DECAPSULATE, &yes, 1}};
	CK_KEY_TYPE type = CKK_GENERIC_SECRET;
	CK_OBJECT_CLASS class = CKO_SECRET_KEY;
	CK_ULONG length = 32, n, before;
	CK_ATTRIBUTE template[] = {
		{CKA_CLASS, &class, sizeof class}, {CKA_KEY_TYPE, &type, sizeof type}, {CKA_VALUE_LEN, &length, sizeof length},
		{CKA_SENSITIVE, &no, 1}, {CKA_EXTRACTABLE, &yes, 1},
	};
	const CK_ULONG count = sizeof template / sizeof *template;
	CK_OBJECT_HANDLE pub, priv, one = 77, two = 77;
	CK_BYTE ciphertext[100], a[32], b[32];

	OK(p11->C_GenerateKeyPair(session, &generate, public, 2, private, 1, &pub, &priv));
	before = objects();
	memset(ciphertext, UNTOUCHED, sizeof ciphertext);
	n = 0;
	OK(p11->C_EncapsulateKey(session, &kem, pub, template, count, NULL, &n, NULL)); /* a question needs no place for a key */
	CHECK(n == 65);
	OK(p11->C_EncapsulateKey(session, &kem, pub, template, count, NULL, &n, &one));
	n = 64;
	WANT(p11->C_EncapsulateKey(session, &kem, pub, template, count, ciphertext, &n, &one), CKR_BUFFER_TOO_SMALL);
	CHECK(n == 65 && one == 77 && untouched(ciphertext, sizeof ciphertext) && objects() == before);
	n = sizeof ciphertext;
	WANT(p11->C_EncapsulateKey(session, &kem, pub, template, count, ciphertext, &n, NULL), CKR_ARGUMENTS_BAD);
	WANT(p11->C_EncapsulateKey(session, &kem, pub, template, count, ciphertext, NULL, &one), CKR_ARGUMENTS_BAD);
	WANT(p11->C_EncapsulateKey(session, &kem, pub, NULL, count, ciphertext, &n, &one), CKR_ARGUMENTS_BAD);
	WANT(p11->C_EncapsulateKey(session, NULL, pub, template, count, ciphertext, &n, &one), CKR_ARGUMENTS_BAD);
	WANT(p11->C_EncapsulateKey(session, wild, pub, template, count, ciphertext, &n, &one), CKR_ARGUMENTS_BAD);
	WANT(p11->C_EncapsulateKey(session, &bare, pub, template, count, ciphertext, &n, &one), CKR_MECHANISM_PARAM_INVALID);
	WANT(p11->C_EncapsulateKey(session, &odd, pub, template, count, ciphertext, &n, &one), CKR_MECHANISM_PARAM_INVALID);
	WANT(p11->C_EncapsulateKey(session, &kem, priv, template, count, ciphertext, &n, &one), CKR_KEY_FUNCTION_NOT_PERMITTED);
	CHECK(one == 77 && untouched(ciphertext, sizeof ciphertext) && objects() == before);
	OK(p11->C_EncapsulateKey(session, &kem, pub, template, count, ciphertext, &n, &one));
	CHECK(n == 65 && one != 77 && ciphertext[0] == 4 && untouched(ciphertext + 65, sizeof ciphertext - 65));

	WANT(p11->C_DecapsulateKey(session, &kem, priv, template, count, ciphertext, n, NULL), CKR_ARGUMENTS_BAD);
	WANT(p11->C_DecapsulateKey(session, &kem, priv, template, count, NULL, n, &two), CKR_ARGUMENTS_BAD);
	WANT(p11->C_DecapsulateKey(session, &kem, priv, template, count, wild, n, &two), CKR_ARGUMENTS_BAD);
	WANT(p11->C_DecapsulateKey(session, &kem, priv, template, count, ciphertext, n - 1, &two), CKR_WRAPPED_KEY_LEN_RANGE);
	WANT(p11->C_DecapsulateKey(session, &kem, priv, template, count, NULL, 0, &two), CKR_WRAPPED_KEY_LEN_RANGE);
	CHECK(two == 77);
	OK(p11->C_DecapsulateKey(session, &kem, priv, template, count, ciphertext, n, &two));
	value_of(one, a, sizeof a);
	value_of(two, b, sizeof b);
	CHECK(memcmp(a, b, sizeof a) == 0);
}

/* wrapping: the vector and the tag are written when a key was wrapped, and at no other time. */
static void wrapping(void)
{
	CK_MECHANISM generate = {CKM_AES_KEY_GEN, NULL, 0};
	CK_ULONG length = 32, n;
	CK_ATTRIBUTE kek_template[] = {{CKA_VALUE_LEN, &length, sizeof length}, {CKA_WRAP, &yes, 1}, {CKA_UNWRAP, &yes, 1}};
	CK_ATTRIBUTE key_template[] = {{CKA_VALUE_LEN, &length, sizeof length}, {CKA_EXTRACTABLE, &yes, 1}};
	CK_OBJECT_CLASS class = CKO_SECRET_KEY;
	CK_KEY_TYPE type = CKK_AES;
	CK_ATTRIBUTE back[] = {{CKA_CLASS, &class, sizeof class}, {CKA_KEY_TYPE, &type, sizeof type}};
	CK_OBJECT_HANDLE kek, key, got = 77;
	CK_BYTE iv[12], tag[16], header[] = "header", wrapped[64];
	CK_GCM_MESSAGE_PARAMS apart = {iv, sizeof iv, 0, CKG_GENERATE, tag, 8 * sizeof tag}, none = apart;
	CK_GCM_WRAP_PARAMS joined = {iv, sizeof iv, 0, CKG_GENERATE, header, sizeof header, 8 * sizeof tag};
	CK_GCM_PARAMS given = {iv, sizeof iv, 8 * sizeof iv, header, sizeof header, 8 * sizeof tag};
	CK_MECHANISM ma = {CKM_AES_GCM, &apart, sizeof apart}, mj = {CKM_AES_GCM, &joined, sizeof joined};
	CK_MECHANISM mg = {CKM_AES_GCM, &given, sizeof given}, odd = {CKM_AES_GCM, &apart, 7}, nothing = {CKM_AES_GCM, NULL, 0};
	CK_MECHANISM untagged = {CKM_AES_GCM, &none, sizeof none};

	none.pTag = NULL;
	OK(p11->C_GenerateKey(session, &generate, kek_template, 3, &kek));
	OK(p11->C_GenerateKey(session, &generate, key_template, 2, &key));
	memset(iv, UNTOUCHED, sizeof iv);
	memset(tag, UNTOUCHED, sizeof tag);
	memset(wrapped, UNTOUCHED, sizeof wrapped);

	n = 0;
	OK(p11->C_WrapKeyAuthenticated(session, &ma, kek, key, header, sizeof header, NULL, &n));
	CHECK(n == 32);
	n = 31;
	WANT(p11->C_WrapKeyAuthenticated(session, &ma, kek, key, header, sizeof header, wrapped, &n), CKR_BUFFER_TOO_SMALL);
	CHECK(n == 32);
	n = sizeof wrapped;
	WANT(p11->C_WrapKeyAuthenticated(session, &ma, kek, key, NULL, 5, wrapped, &n), CKR_ARGUMENTS_BAD);
	WANT(p11->C_WrapKeyAuthenticated(session, &ma, kek, key, header, sizeof header, wrapped, NULL), CKR_ARGUMENTS_BAD);
	WANT(p11->C_WrapKeyAuthenticated(session, NULL, kek, key, header, sizeof header, wrapped, &n), CKR_ARGUMENTS_BAD);
	WANT(p11->C_WrapKeyAuthenticated(session, wild, kek, key, header, sizeof header, wrapped, &n), CKR_ARGUMENTS_BAD);
	WANT(p11->C_WrapKeyAuthenticated(session, &odd, kek, key, header, sizeof header, wrapped, &n), CKR_MECHANISM_PARAM_INVALID);
	WANT(p11->C_WrapKeyAuthenticated(session, &nothing, kek, key, header, sizeof header, wrapped, &n), CKR_MECHANISM_PARAM_INVALID);
	WANT(p11->C_WrapKeyAuthenticated(session, &untagged, kek, key, header, sizeof header, wrapped, &n), CKR_MECHANISM_PARAM_INVALID);
	WANT(p11->C_WrapKeyAuthenticated(session, &ma, kek, 0, header, sizeof header, wrapped, &n), CKR_KEY_HANDLE_INVALID);
	CHECK(untouched(iv, sizeof iv) && untouched(tag, sizeof tag) && untouched(wrapped, sizeof wrapped));
	OK(p11->C_WrapKeyAuthenticated(session, &ma, kek, key, header, sizeof header, wrapped, &n));
	CHECK(n == 32 && !untouched(iv, sizeof iv) && !untouched(tag, sizeof tag) && untouched(wrapped + 32, sizeof wrapped - 32));

	WANT(p11->C_UnwrapKeyAuthenticated(session, &ma, kek, wrapped, n, back, 2, header, sizeof header, NULL), CKR_ARGUMENTS_BAD);
	WANT(p11->C_UnwrapKeyAuthenticated(session, &ma, kek, wrapped, n, back, 2, NULL, 0, &got), CKR_WRAPPED_KEY_INVALID);
	WANT(p11->C_UnwrapKeyAuthenticated(session, &untagged, kek, wrapped, n, back, 2, header, sizeof header, &got), CKR_MECHANISM_PARAM_INVALID);
	CHECK(got == 77);
	OK(p11->C_UnwrapKeyAuthenticated(session, &ma, kek, wrapped, n, back, 2, header, sizeof header, &got));
	CHECK(got != 77);

	/* C_WrapKey appends the tag. Its parameter may be that of C_EncryptInit too, whose vector is the caller's. */
	memset(iv, UNTOUCHED, sizeof iv);
	n = 0;
	OK(p11->C_WrapKey(session, &mj, kek, key, NULL, &n));
	CHECK(n == 48 && untouched(iv, sizeof iv));
	n = 47;
	WANT(p11->C_WrapKey(session, &mj, kek, key, wrapped, &n), CKR_BUFFER_TOO_SMALL);
	CHECK(n == 48 && untouched(iv, sizeof iv));
	OK(p11->C_WrapKey(session, &mj, kek, key, wrapped, &n));
	CHECK(n == 48 && !untouched(iv, sizeof iv));
	OK(p11->C_UnwrapKey(session, &mj, kek, wrapped, n, back, 2, &got));
	OK(p11->C_UnwrapKey(session, &mg, kek, wrapped, n, back, 2, &got));
	iv[3] ^= 1;
	WANT(p11->C_UnwrapKey(session, &mj, kek, wrapped, n, back, 2, &got), CKR_WRAPPED_KEY_INVALID);
	joined.ivGenerator = CKG_GENERATE_COUNTER;
	WANT(p11->C_WrapKey(session, &mj, kek, key, wrapped, &n), CKR_MECHANISM_PARAM_INVALID);
	joined.ivGenerator = CKG_GENERATE;
	joined.pIv = NULL;
	WANT(p11->C_WrapKey(session, &mj, kek, key, wrapped, &n), CKR_MECHANISM_PARAM_INVALID);
	joined.pIv = wild;
	WANT(p11->C_WrapKey(session, &mj, kek, key, wrapped, &n), CKR_MECHANISM_PARAM_INVALID);
}

static CK_RV complete(CK_SESSION_HANDLE s, const char *function, CK_ASYNC_DATA *result)
{
	CK_RV rv;

	while ((rv = p11->C_AsyncComplete(s, (CK_UTF8CHAR *)function, result)) == CKR_PENDING)
		usleep(1000);
	return rv;
}

/* pending begins to make an RSA key pair that is not there at once. How long the primes are looked for is chance, and how
   soon the caller is woken the machine's, so that one which was there at once is no fault: it is begun anew. */
static void pending(CK_SESSION_HANDLE s, CK_ULONG bits)
{
	CK_MECHANISM rsa = {CKM_RSA_PKCS_KEY_PAIR_GEN, NULL, 0};
	CK_ATTRIBUTE public[] = {{CKA_MODULUS_BITS, &bits, sizeof bits}, {CKA_VERIFY, &yes, 1}};
	CK_ATTRIBUTE private[] = {{CKA_SIGN, &yes, 1}};
	CK_OBJECT_HANDLE pub, priv;
	CK_RV rv = CKR_OK;
	int i;

	for (i = 0; i < 50 && rv == CKR_OK; i++) {
		pub = priv = 77;
		rv = p11->C_GenerateKeyPair(s, &rsa, public, 2, private, 1, &pub, &priv);
	}
	WANT(rv, CKR_PENDING);
	CHECK(pub == 77 && priv == 77);
	bits = 0; /* the template was taken, not kept */
}

/* asynchronous: nothing is written before the result is asked for, and then where the call was told. */
static void asynchronous(void)
{
	CK_MECHANISM rsa = {CKM_RSA_PKCS_KEY_PAIR_GEN, NULL, 0}, sha = {CKM_SHA256_RSA_PKCS, NULL, 0};
	CK_ULONG bits = 1, id = 77, n;
	CK_ATTRIBUTE public[] = {{CKA_MODULUS_BITS, &bits, sizeof bits}, {CKA_VERIFY, &yes, 1}};
	CK_ATTRIBUTE private[] = {{CKA_SIGN, &yes, 1}};
	CK_ASYNC_DATA result = {0, wild, 7, 8, 9}, before = result, later = {1, NULL, 0, 0, 0};
	CK_OBJECT_HANDLE pub = 77, priv = 77;
	CK_SESSION_HANDLE s, other;
	CK_SESSION_INFO info;
	CK_TOKEN_INFO token;
	CK_UTF8CHAR *pair = (CK_UTF8CHAR *)"C_GenerateKeyPair";
	CK_BYTE *signature, data[] = "what is signed";
	CK_RV rv;

	OK(p11->C_GetTokenInfo(slot, &token));
	CHECK(token.flags & CKF_ASYNC_SESSION_SUPPORTED);
	OK(p11->C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_ASYNC_SESSION, NULL, NULL, &s));
	OK(p11->C_GetSessionInfo(s, &info));
	CHECK(info.flags == (CKF_SERIAL_SESSION | CKF_ASYNC_SESSION));
	WANT(p11->C_AsyncComplete(s, pair, &result), CKR_OPERATION_NOT_INITIALIZED);
	CHECK(memcmp(&result, &before, sizeof result) == 0);

	pending(s, 3072);
	WANT(p11->C_AsyncComplete(s, NULL, &result), CKR_ARGUMENTS_BAD);
	WANT(p11->C_AsyncComplete(s, pair, wild), CKR_ARGUMENTS_BAD);
	WANT(p11->C_AsyncComplete(s, pair, &later), CKR_ARGUMENTS_BAD);
	WANT(p11->C_AsyncGetID(s, pair, NULL), CKR_ARGUMENTS_BAD);
	WANT(p11->C_AsyncGetID(s, NULL, &id), CKR_ARGUMENTS_BAD);
	CHECK(id == 77);
	WANT(p11->C_AsyncJoin(s, pair, 1, NULL, 0), CKR_SAVED_STATE_INVALID);
	WANT(p11->C_AsyncJoin(s, NULL, 1, NULL, 0), CKR_ARGUMENTS_BAD);
	OK(p11->C_GetSessionInfo(s, &info));
	while ((rv = p11->C_AsyncComplete(s, pair, NULL)) == CKR_PENDING)
		usleep(1000);
	WANT(rv, CKR_ARGUMENTS_BAD); /* it has results, and they are not lost */
	CHECK(memcmp(&result, &before, sizeof result) == 0);
	OK(p11->C_AsyncComplete(s, pair, &result));
	CHECK(result.ulVersion == 0 && result.pValue == NULL && result.ulValue == 0 && result.hObject && result.hAdditionalObject);
	pub = result.hObject;
	priv = result.hAdditionalObject;
	WANT(p11->C_AsyncComplete(s, pair, &result), CKR_OPERATION_NOT_INITIALIZED);

	/* A signature: at once or later, it is the same. */
	n = 384;
	signature = malloc(n);
	memset(signature, UNTOUCHED, n);
	OK(p11->C_SignInit(s, &sha, priv));
	OK(p11->C_Sign(s, data, sizeof data, NULL, &n));
	CHECK(n == 384);
	n = 383;
	WANT(p11->C_Sign(s, data, sizeof data, signature, &n), CKR_BUFFER_TOO_SMALL);
	CHECK(n == 384);
	rv = p11->C_Sign(s, data, sizeof data, signature, &n);
	if (rv == CKR_PENDING) {
		CHECK(untouched(signature, 384));
		memset(&result, 0, sizeof result);
		OK(complete(s, "C_Sign", &result));
		CHECK(result.pValue == signature && result.ulValue == 384 && !result.hObject && !result.hAdditionalObject);
	} else {
		OK(rv);
	}
	OK(p11->C_VerifyInit(session, &sha, pub));
	OK(p11->C_Verify(session, data, sizeof data, signature, 384));
	free(signature);

	/* One that fails tells of itself, and of no buffer where there was none. */
	rv = p11->C_GenerateKeyPair(s, &rsa, public, 2, private, 1, &pub, &priv);
	if (rv == CKR_PENDING)
		rv = complete(s, "C_GenerateKeyPair", &result);
	CHECK(rv == CKR_ATTRIBUTE_VALUE_INVALID || rv == CKR_KEY_SIZE_RANGE);

	/* One that is pending ends with its session, and at last with C_Finalize. */
	OK(p11->C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_ASYNC_SESSION, NULL, NULL, &other));
	pending(other, 3072);
	OK(p11->C_CloseSession(other));
	WANT(p11->C_AsyncComplete(other, pair, &result), CKR_SESSION_HANDLE_INVALID);
	pending(s, 3072);
}

/* joined: a signature that goes on without its session, and is written to the memory of who has joined it. */
static void joined(void)
{
	CK_MECHANISM generate = {CKM_SLH_DSA_KEY_PAIR_GEN, NULL, 0}, slh = {CKM_SLH_DSA, NULL, 0};
	CK_ULONG set = CKP_SLH_DSA_SHA2_128F, id = 0, n = 17088;
	CK_ATTRIBUTE public[] = {{CKA_PARAMETER_SET, &set, sizeof set}, {CKA_VERIFY, &yes, 1}}, private[] = {{CKA_SIGN, &yes, 1}};
	CK_ASYNC_DATA result = {0, NULL, 0, 0, 0};
	CK_OBJECT_HANDLE pub, priv;
	CK_SESSION_HANDLE s;
	CK_UTF8CHAR *sign = (CK_UTF8CHAR *)"C_Sign";
	CK_BYTE data[] = "what is signed", *first, *second;
	CK_RV rv = CKR_OK;
	int i;

	OK(p11->C_GenerateKeyPair(session, &generate, public, 2, private, 1, &pub, &priv));
	OK(p11->C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_ASYNC_SESSION, NULL, NULL, &s));
	first = malloc(n);
	second = malloc(n);
	memset(second, UNTOUCHED, n);
	for (i = 0; i < 50 && rv == CKR_OK; i++) {
		OK(p11->C_SignInit(s, &slh, priv));
		rv = p11->C_Sign(s, data, sizeof data, first, &n);
	}
	WANT(rv, CKR_PENDING);
	OK(p11->C_AsyncGetID(s, sign, &id));
	CHECK(id != 0);
	free(first); /* as the standard has it; AddressSanitizer watches */
	OK(p11->C_CloseSession(s));
	WANT(p11->C_AsyncJoin(session, sign, id, NULL, n), CKR_ARGUMENTS_BAD);
	WANT(p11->C_AsyncJoin(session, sign, id, second, n - 1), CKR_BUFFER_TOO_SMALL);
	WANT(p11->C_AsyncJoin(session, sign, id + 1, second, n), CKR_SAVED_STATE_INVALID);
	OK(p11->C_AsyncJoin(session, sign, id, second, n));
	CHECK(untouched(second, n));
	OK(complete(session, "C_Sign", &result));
	CHECK(result.pValue == second && result.ulValue == 17088 && !result.hObject && !result.hAdditionalObject);
	OK(p11->C_VerifyInit(session, &slh, pub));
	OK(p11->C_Verify(session, data, sizeof data, second, 17088));
	WANT(p11->C_AsyncJoin(session, sign, id, second, n), CKR_SAVED_STATE_INVALID);
	free(second);
}

static void validation(void)
{
	CK_FLAGS flags = 77;

	WANT(p11->C_GetSessionValidationFlags(session, CKS_LAST_VALIDATION_OK, NULL), CKR_ARGUMENTS_BAD);
	WANT(p11->C_GetSessionValidationFlags(session, 99, &flags), CKR_ARGUMENTS_BAD);
	CHECK(flags == 77);
	OK(p11->C_GetSessionValidationFlags(session, CKS_LAST_VALIDATION_OK, &flags));
	CHECK(flags == 0);
}

static void *waiter(void *answer)
{
	CK_SLOT_ID event = 77;

	*(CK_RV *)answer = p11->C_WaitForSlotEvent(0, &event, NULL);
	return NULL;
}

int main(int argc, char **argv)
{
	CK_SLOT_ID event = 77;
	CK_RV answer = 0;
	pthread_t thread;

	CHECK(argc > 2);
	alarm(240);
	load_module(argv[1]);
	OK(p11->C_Initialize(NULL));
	CHECK(first_slot(&slot));
	OK(p11->C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &session));
	OK(p11->C_Login(session, CKU_USER, (CK_UTF8CHAR *)argv[2], strlen(argv[2])));
	encapsulation();
	wrapping();
	validation();
	joined();
	asynchronous();
	WANT(p11->C_WaitForSlotEvent(CKF_DONT_BLOCK, NULL, NULL), CKR_ARGUMENTS_BAD);
	WANT(p11->C_WaitForSlotEvent(CKF_DONT_BLOCK, &event, &event), CKR_ARGUMENTS_BAD);
	WANT(p11->C_WaitForSlotEvent(CKF_DONT_BLOCK, &event, NULL), CKR_NO_EVENT);
	CHECK(event == 77);
	CHECK(pthread_create(&thread, NULL, waiter, &answer) == 0);
	usleep(20000);
	OK(p11->C_Finalize(NULL));
	CHECK(pthread_join(thread, NULL) == 0);
	WANT(answer, CKR_CRYPTOKI_NOT_INITIALIZED);
	return 0;
}
