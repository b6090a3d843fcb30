/* What the hosts of this folder share: the module by dlopen, one token in slot 0, objects by their label. Every helper
 * returns the module's answer, so that a host can print it or insist on it. */
#ifndef FAULTS_TOKEN_H
#define FAULTS_TOKEN_H

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "pkcs11.h"

#define MAX_TEXT 512
#define MAX_FOUND 4096

static CK_FUNCTION_LIST *p11;

/* say writes a line in one piece, at once. */
static inline void __attribute__((format(printf, 1, 2))) say(const char *format, ...)
{
	char text[MAX_TEXT + 128];
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(text, sizeof text - 1, format, args);
	va_end(args);
	if (n > (int)sizeof text - 2)
		n = sizeof text - 2;
	text[n++] = '\n';
	if (write(1, text, n) != n)
		_exit(99);
}

/* failed ends the process with a line on standard output: what stands on standard error came from the module. */
#define failed(...) (say("failed: " __VA_ARGS__), _exit(98))

#define CHECK(condition) \
	do { \
		if (!(condition)) \
			failed("%s:%d: %s: errno %d", __FILE__, __LINE__, #condition, errno); \
	} while (0)

#define WANT(call, want) \
	do { \
		CK_RV got_ = (call); \
		if (got_ != (CK_RV)(want)) \
			failed("%s:%d: %s: 0x%lx, expected %s", __FILE__, __LINE__, #call, got_, #want); \
	} while (0)

#define OK(call) WANT(call, CKR_OK)

static inline void load_module(const char *path)
{
	void *module = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	CK_C_GetFunctionList get;

	if (!module)
		failed("%s", dlerror());
	*(void **)&get = dlsym(module, "C_GetFunctionList");
	CHECK(get != NULL);
	OK(get(&p11));
}

#define ATTR(type, value) {type, &(value), sizeof(value)}
#define TEXT(type, text) {type, (void *)(text), strlen(text)}

static CK_BBOOL yes = CK_TRUE;

static inline CK_RV initialize(void)
{
	CK_C_INITIALIZE_ARGS args = {.flags = CKF_OS_LOCKING_OK};

	return p11->C_Initialize(&args);
}

static inline CK_RV open_session(CK_SESSION_HANDLE *session, CK_FLAGS how)
{
	return p11->C_OpenSession(0, CKF_SERIAL_SESSION | how, NULL, NULL, session);
}

static inline CK_RV login(CK_SESSION_HANDLE session, CK_USER_TYPE user, const char *pin)
{
	return p11->C_Login(session, user, (CK_UTF8CHAR *)pin, strlen(pin));
}

/* make_data makes a data object; private says who may see it. */
static inline CK_RV make_data(CK_SESSION_HANDLE session, const char *label, const char *value, CK_BBOOL private)
{
	CK_OBJECT_CLASS class = CKO_DATA;
	CK_OBJECT_HANDLE object;
	CK_ATTRIBUTE template[] = {ATTR(CKA_CLASS, class), ATTR(CKA_TOKEN, yes), ATTR(CKA_PRIVATE, private),
				   TEXT(CKA_LABEL, label), TEXT(CKA_VALUE, value)};

	return p11->C_CreateObject(session, template, 5, &object);
}

/* make_aes makes a secret key of a fixed value: 16 times the label's last character. */
static inline CK_RV make_aes(CK_SESSION_HANDLE session, const char *label, CK_BBOOL token, CK_OBJECT_HANDLE *key)
{
	CK_OBJECT_CLASS class = CKO_SECRET_KEY;
	CK_KEY_TYPE type = CKK_AES;
	CK_BYTE value[16];
	CK_ATTRIBUTE template[] = {ATTR(CKA_CLASS, class), ATTR(CKA_KEY_TYPE, type), ATTR(CKA_TOKEN, token), ATTR(CKA_PRIVATE, yes),
				   ATTR(CKA_ENCRYPT, yes), TEXT(CKA_LABEL, label), ATTR(CKA_VALUE, value)};

	memset(value, label[strlen(label) - 1], sizeof value);
	return p11->C_CreateObject(session, template, 7, key);
}

/* make_pair makes a P-256 key pair whose two halves have the same label. */
static inline CK_RV make_pair(CK_SESSION_HANDLE session, const char *label, CK_BBOOL token, CK_OBJECT_HANDLE *public,
			      CK_OBJECT_HANDLE *private)
{
	static CK_BYTE p256[] = {0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07};
	CK_MECHANISM generate = {CKM_EC_KEY_PAIR_GEN, NULL, 0};
	CK_ATTRIBUTE of_public[] = {ATTR(CKA_EC_PARAMS, p256), ATTR(CKA_TOKEN, token), ATTR(CKA_VERIFY, yes), TEXT(CKA_LABEL, label)};
	CK_ATTRIBUTE of_private[] = {ATTR(CKA_TOKEN, token), ATTR(CKA_PRIVATE, yes), ATTR(CKA_SENSITIVE, yes), ATTR(CKA_SIGN, yes),
				     TEXT(CKA_LABEL, label)};

	return p11->C_GenerateKeyPair(session, &generate, of_public, 4, of_private, 5, public, private);
}

/* find gives the token objects of a label and a class, either of which may be left open (NULL, -1). */
static inline CK_RV find(CK_SESSION_HANDLE session, const char *label, CK_OBJECT_CLASS class, CK_OBJECT_HANDLE *found, CK_ULONG *n)
{
	CK_ATTRIBUTE template[3] = {ATTR(CKA_TOKEN, yes)};
	CK_ULONG terms = 1, more = 1;
	CK_RV rv;

	if (label)
		template[terms++] = (CK_ATTRIBUTE)TEXT(CKA_LABEL, label);
	if (class != (CK_OBJECT_CLASS)-1)
		template[terms++] = (CK_ATTRIBUTE)ATTR(CKA_CLASS, class);
	*n = 0;
	if ((rv = p11->C_FindObjectsInit(session, template, terms)))
		return rv;
	while (!rv && more > 0 && *n < MAX_FOUND) {
		rv = p11->C_FindObjects(session, found + *n, MAX_FOUND - *n, &more);
		*n += more;
	}
	p11->C_FindObjectsFinal(session);
	return rv;
}

/* find_one wants exactly one object; CKR_OBJECT_HANDLE_INVALID for none. */
static inline CK_RV find_one(CK_SESSION_HANDLE session, const char *label, CK_OBJECT_CLASS class, CK_OBJECT_HANDLE *object)
{
	static __thread CK_OBJECT_HANDLE found[MAX_FOUND];
	CK_ULONG n;
	CK_RV rv = find(session, label, class, found, &n);

	if (rv)
		return rv;
	if (n > 1)
		failed("%lu objects are called %s", n, label ? label : "anything");
	*object = n ? found[0] : 0;
	return n ? CKR_OK : CKR_OBJECT_HANDLE_INVALID;
}

/* get_text reads a byte-string attribute as text. */
static inline CK_RV get_text(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type, char text[MAX_TEXT])
{
	CK_ATTRIBUTE template = {type, text, MAX_TEXT - 1};
	CK_RV rv = p11->C_GetAttributeValue(session, object, &template, 1);

	text[rv ? 0 : template.ulValueLen] = 0;
	return rv;
}

static inline CK_RV get_class(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_OBJECT_CLASS *class)
{
	CK_ATTRIBUTE template = {CKA_CLASS, class, sizeof *class};

	return p11->C_GetAttributeValue(session, object, &template, 1);
}

static inline CK_RV set_text(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type, const char *text)
{
	CK_ATTRIBUTE template = TEXT(type, text);

	return p11->C_SetAttributeValue(session, object, &template, 1);
}

/* sign_and_verify signs 32 bytes with one key and checks the signature with the other. */
static inline CK_RV sign_and_verify(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE private, CK_OBJECT_HANDLE public)
{
	CK_MECHANISM ecdsa = {CKM_ECDSA, NULL, 0};
	CK_BYTE digest[32] = {1, 2, 3}, signature[128];
	CK_ULONG n = sizeof signature;
	CK_RV rv;

	if ((rv = p11->C_SignInit(session, &ecdsa, private)) || (rv = p11->C_Sign(session, digest, 32, signature, &n)))
		return rv;
	if ((rv = p11->C_VerifyInit(session, &ecdsa, public)))
		return rv;
	return p11->C_Verify(session, digest, 32, signature, n);
}

/* sign_with signs with the key pair of a label. */
static inline CK_RV sign_with(CK_SESSION_HANDLE session, const char *label)
{
	CK_OBJECT_HANDLE private, public;
	CK_RV rv;

	if ((rv = find_one(session, label, CKO_PRIVATE_KEY, &private)) || (rv = find_one(session, label, CKO_PUBLIC_KEY, &public)))
		return rv;
	return sign_and_verify(session, private, public);
}

/* encrypt_with encrypts a block of zeros with the AES key of a label, into hexadecimal. */
static inline CK_RV encrypt_with(CK_SESSION_HANDLE session, const char *label, char text[MAX_TEXT])
{
	CK_MECHANISM ecb = {CKM_AES_ECB, NULL, 0};
	CK_BYTE block[16] = {0};
	CK_ULONG n = sizeof block;
	CK_OBJECT_HANDLE key;
	CK_RV rv;

	if ((rv = find_one(session, label, CKO_SECRET_KEY, &key)) || (rv = p11->C_EncryptInit(session, &ecb, key)))
		return rv;
	if ((rv = p11->C_Encrypt(session, block, sizeof block, block, &n)))
		return rv;
	for (int i = 0; i < 16; i++)
		sprintf(text + 2 * i, "%02x", block[i]);
	return CKR_OK;
}

#endif
