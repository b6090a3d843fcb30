/* cloudhsm MODULE PIN [iv]: a program as it would be written for AWS CloudHSM, with its header, its mechanisms and its structs.
 * With iv the slot's configuration says cloudhsm_iv = true. */
#include "host.h"
#include "cloudhsm_pkcs11_vendor_defs.h"

enum { IV = 12, TAG = 16, MOST = 2048 };

static CK_SESSION_HANDLE session;
static CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
static CK_BYTE header[] = "what is not secret";

static CK_OBJECT_HANDLE aes_key(CK_ATTRIBUTE_TYPE one, CK_ATTRIBUTE_TYPE other)
{
	CK_MECHANISM generate = {CKM_AES_KEY_GEN, NULL, 0};
	CK_ULONG length = 32;
	CK_ATTRIBUTE template[] = {
		{CKA_VALUE_LEN, &length, sizeof length}, {CKA_TOKEN, &no, 1}, {CKA_SENSITIVE, &no, 1},
		{CKA_EXTRACTABLE, &yes, 1}, {one, &yes, 1}, {other, &yes, 1},
	};
	CK_OBJECT_HANDLE key;

	OK(p11->C_GenerateKey(session, &generate, template, sizeof template / sizeof *template, &key));
	return key;
}

static CK_ULONG value_of(CK_OBJECT_HANDLE key, CK_BYTE *value)
{
	CK_ATTRIBUTE a = {CKA_VALUE, value, MOST};

	OK(p11->C_GetAttributeValue(session, key, &a, 1));
	return a.ulValueLen;
}

static CK_ULONG encrypted(CK_MECHANISM *m, CK_OBJECT_HANDLE key, CK_BYTE *in, CK_ULONG size, CK_BYTE *out)
{
	CK_ULONG n = 0, asked;

	OK(p11->C_EncryptInit(session, m, key));
	OK(p11->C_Encrypt(session, in, size, NULL, &n));
	asked = n;
	OK(p11->C_Encrypt(session, in, size, out, &n));
	CHECK(n == asked);
	return n;
}

static void decrypts(CK_MECHANISM *m, CK_OBJECT_HANDLE key, CK_BYTE *in, CK_ULONG size, const CK_BYTE *want, CK_ULONG length)
{
	CK_BYTE out[MOST];
	CK_ULONG n = sizeof out;

	OK(p11->C_DecryptInit(session, m, key));
	OK(p11->C_Decrypt(session, in, size, out, &n));
	CHECK(n == length && memcmp(out, want, n) == 0);
}

/* prepended: CKM_CLOUDHSM_AES_GCM draws the IV and puts it before the ciphertext. */
static void prepended(CK_OBJECT_HANDLE key)
{
	CK_BYTE data[] = "what is encrypted", one[MOST], two[MOST];
	CK_GCM_PARAMS params = {NULL, 0, 0, header, sizeof header, 8 * TAG}, apart = params;
	CK_MECHANISM m = {CKM_CLOUDHSM_AES_GCM, &params, sizeof params}, standard = {CKM_AES_GCM, &apart, sizeof apart};
	CK_ULONG n = encrypted(&m, key, data, sizeof data, one), max = MOST;

	CHECK(n == IV + sizeof data + TAG);
	CHECK(encrypted(&m, key, data, sizeof data, two) == n && memcmp(one, two, IV) != 0);
	CHECK(params.pIv == NULL && params.ulIvLen == 0);
	decrypts(&m, key, one, n, data, sizeof data);
	decrypts(&m, key, two, n, data, sizeof data);
	apart.pIv = one;
	apart.ulIvLen = IV;
	decrypts(&standard, key, one + IV, n - IV, data, sizeof data);

	two[n - 1] ^= 1;
	OK(p11->C_DecryptInit(session, &m, key));
	WANT(p11->C_Decrypt(session, two, n, one, &max), CKR_ENCRYPTED_DATA_INVALID);
	WANT(p11->C_EncryptInit(session, &(CK_MECHANISM){CKM_CLOUDHSM_AES_GCM, &apart, sizeof apart}, key), CKR_MECHANISM_PARAM_INVALID);
}

/* written: CKM_AES_GCM writes the IV over the zeros that it is given, as cloudhsm_iv = true asks. */
static void written(CK_OBJECT_HANDLE key, CK_OBJECT_HANDLE kek)
{
	CK_BYTE data[] = "what is encrypted", iv[IV] = {0}, zeros[IV] = {0}, out[MOST];
	CK_GCM_PARAMS params = {iv, sizeof iv, 0, header, sizeof header, 8 * TAG};
	CK_MECHANISM m = {CKM_AES_GCM, &params, sizeof params};
	CK_OBJECT_CLASS class = CKO_SECRET_KEY;
	CK_KEY_TYPE type = CKK_AES;
	CK_ATTRIBUTE back[] = {{CKA_CLASS, &class, sizeof class}, {CKA_KEY_TYPE, &type, sizeof type}};
	CK_OBJECT_HANDLE got;
	CK_ULONG n = encrypted(&m, key, data, sizeof data, out);

	CHECK(n == sizeof data + TAG && memcmp(iv, zeros, IV) != 0);
	decrypts(&m, key, out, n, data, sizeof data);
	WANT(p11->C_EncryptInit(session, &m, key), CKR_MECHANISM_PARAM_INVALID); /* the IV of before is none for the next time */

	memset(iv, 0, IV);
	n = MOST;
	OK(p11->C_WrapKey(session, &m, kek, key, NULL, &n));
	CHECK(n == 32 + TAG && memcmp(iv, zeros, IV) == 0);
	OK(p11->C_WrapKey(session, &m, kek, key, out, &n));
	CHECK(n == 32 + TAG && memcmp(iv, zeros, IV) != 0);
	OK(p11->C_UnwrapKey(session, &m, kek, out, n, back, 2, &got));
}

/* given: without that word an IV of zeros is the caller's, and memory that holds it is not written. */
static void given(CK_OBJECT_HANDLE key)
{
	static const CK_BYTE zeros[IV];
	CK_BYTE data[] = "what is encrypted", out[MOST];
	CK_GCM_PARAMS params = {(CK_BYTE *)zeros, IV, 8 * IV, NULL, 0, 8 * TAG};
	CK_MECHANISM m = {CKM_AES_GCM, &params, sizeof params};

	decrypts(&m, key, out, encrypted(&m, key, data, sizeof data, out), data, sizeof data);
}

static void unwraps(CK_MECHANISM *m, CK_OBJECT_HANDLE kek, CK_OBJECT_HANDLE key, CK_KEY_TYPE type, CK_ULONG size)
{
	CK_OBJECT_CLASS class = CKO_SECRET_KEY;
	CK_ATTRIBUTE template[] = {
		{CKA_CLASS, &class, sizeof class}, {CKA_KEY_TYPE, &type, sizeof type}, {CKA_TOKEN, &no, 1},
		{CKA_SENSITIVE, &no, 1}, {CKA_EXTRACTABLE, &yes, 1},
	};
	CK_BYTE wrapped[MOST], one[MOST], two[MOST];
	CK_ULONG n = 0, length;
	CK_OBJECT_HANDLE got;

	OK(p11->C_WrapKey(session, m, kek, key, NULL, &n));
	CHECK(n == size);
	OK(p11->C_WrapKey(session, m, kek, key, wrapped, &n));
	CHECK(n == size);
	OK(p11->C_UnwrapKey(session, m, kek, wrapped, n, template, sizeof template / sizeof *template, &got));
	length = value_of(key, one);
	CHECK(value_of(got, two) == length && memcmp(one, two, length) == 0);
	OK(p11->C_DestroyObject(session, got));
	wrapped[n / 2] ^= 1;
	WANT(p11->C_UnwrapKey(session, m, kek, wrapped, n, template, sizeof template / sizeof *template, &got), CKR_WRAPPED_KEY_INVALID);
}

static void wrapping(CK_OBJECT_HANDLE kek, CK_OBJECT_HANDLE key)
{
	CK_MECHANISM none = {CKM_CLOUDHSM_AES_KEY_WRAP_NO_PAD, NULL, 0}, zero = {CKM_CLOUDHSM_AES_KEY_WRAP_ZERO_PAD, NULL, 0};
	CK_MECHANISM pkcs5 = {CKM_CLOUDHSM_AES_KEY_WRAP_PKCS5_PAD, NULL, 0};
	CK_GCM_PARAMS params = {NULL, 0, 0, header, sizeof header, 8 * TAG};
	CK_MECHANISM gcm = {CKM_CLOUDHSM_AES_GCM, &params, sizeof params};
	CK_MECHANISM generate = {CKM_GENERIC_SECRET_KEY_GEN, NULL, 0};
	CK_ULONG length = 20, n = MOST;
	CK_ATTRIBUTE template[] = {{CKA_VALUE_LEN, &length, sizeof length}, {CKA_SENSITIVE, &no, 1}, {CKA_EXTRACTABLE, &yes, 1}};
	CK_OBJECT_HANDLE odd;
	CK_BYTE wrapped[MOST];

	OK(p11->C_GenerateKey(session, &generate, template, 3, &odd));
	unwraps(&none, kek, key, CKK_AES, 40);
	unwraps(&zero, kek, key, CKK_AES, 40);
	unwraps(&pkcs5, kek, key, CKK_AES, 48);
	unwraps(&gcm, kek, key, CKK_AES, IV + 32 + TAG);
	unwraps(&zero, kek, odd, CKK_GENERIC_SECRET, 32);
	unwraps(&pkcs5, kek, odd, CKK_GENERIC_SECRET, 32);
	unwraps(&gcm, kek, odd, CKK_GENERIC_SECRET, IV + 20 + TAG);
	WANT(p11->C_WrapKey(session, &none, kek, odd, wrapped, &n), CKR_KEY_SIZE_RANGE);
}

/* rsa: CKM_RSA_AES_KEY_WRAP, with which keys come from other HSMs and go there. */
static void rsa(CK_OBJECT_HANDLE key)
{
	CK_MECHANISM generate = {CKM_RSA_PKCS_KEY_PAIR_GEN, NULL, 0};
	CK_ULONG bits = 2048, n = MOST;
	CK_BYTE exponent[] = {1, 0, 1}, wrapped[MOST], one[MOST], two[MOST];
	CK_ATTRIBUTE public[] = {{CKA_MODULUS_BITS, &bits, sizeof bits}, {CKA_PUBLIC_EXPONENT, exponent, 3}, {CKA_WRAP, &yes, 1}};
	CK_ATTRIBUTE private[] = {{CKA_UNWRAP, &yes, 1}, {CKA_SENSITIVE, &no, 1}, {CKA_EXTRACTABLE, &yes, 1}};
	CK_RSA_PKCS_OAEP_PARAMS oaep = {CKM_SHA256, CKG_MGF1_SHA256, CKZ_DATA_SPECIFIED, NULL, 0};
	CK_RSA_AES_KEY_WRAP_PARAMS params = {256, &oaep};
	CK_MECHANISM m = {CKM_RSA_AES_KEY_WRAP, &params, sizeof params};
	CK_OBJECT_CLASS class = CKO_SECRET_KEY;
	CK_KEY_TYPE type = CKK_AES;
	CK_ATTRIBUTE back[] = {
		{CKA_CLASS, &class, sizeof class}, {CKA_KEY_TYPE, &type, sizeof type}, {CKA_SENSITIVE, &no, 1}, {CKA_EXTRACTABLE, &yes, 1},
	};
	CK_OBJECT_HANDLE pub, priv, got;

	OK(p11->C_GenerateKeyPair(session, &generate, public, 3, private, 3, &pub, &priv));
	OK(p11->C_WrapKey(session, &m, pub, key, wrapped, &n));
	OK(p11->C_UnwrapKey(session, &m, priv, wrapped, n, back, 4, &got));
	CHECK(value_of(key, one) == 32 && value_of(got, two) == 32 && memcmp(one, two, 32) == 0);
}

/* derived: counter mode over AES-CMAC, under the older and the newer names, gives what CMAC says it gives (SP 800-108). */
static void derived(CK_PRF_DATA_TYPE counter_type, CK_PRF_DATA_TYPE label_type, CK_PRF_DATA_TYPE context_type, CK_PRF_DATA_TYPE length_type)
{
	CK_OBJECT_HANDLE base = aes_key(CKA_DERIVE, CKA_SIGN), got;
	CK_SP800_108_COUNTER_FORMAT counter = {16};
	CK_SP800_108_DKM_LENGTH_FORMAT length = {SP800_108_DKM_LENGTH_SUM_OF_KEYS, 32};
	CK_BYTE label[] = {'l', 'a', 'b', 'e', 'l', 0}, context[] = {'c', 'o', 'n'};
	CK_PRF_DATA_PARAM data[] = {
		{counter_type, &counter, sizeof counter}, {label_type, label, sizeof label},
		{context_type, context, sizeof context}, {length_type, &length, sizeof length},
	};
	CK_SP800_108_KDF_PARAMS params = {.prftype = CKM_AES_CMAC, .ulNumberOfDataParams = 4, .pDataParams = data};
	CK_MECHANISM m = {CKM_SP800_108_COUNTER_KDF, &params, sizeof params}, cmac = {CKM_AES_CMAC, NULL, 0};
	CK_OBJECT_CLASS class = CKO_SECRET_KEY;
	CK_KEY_TYPE type = CKK_AES;
	CK_ULONG size = 32, n = 16;
	CK_ATTRIBUTE template[] = {
		{CKA_CLASS, &class, sizeof class}, {CKA_KEY_TYPE, &type, sizeof type}, {CKA_VALUE_LEN, &size, sizeof size},
		{CKA_TOKEN, &no, 1}, {CKA_SENSITIVE, &no, 1}, {CKA_EXTRACTABLE, &yes, 1},
	};
	CK_BYTE value[MOST], mac[16], input[] = {0, 1, 'l', 'a', 'b', 'e', 'l', 0, 'c', 'o', 'n', 0, 0, 1, 0};

	CHECK(sizeof params == 24);
	OK(p11->C_DeriveKey(session, &m, base, template, sizeof template / sizeof *template, &got));
	CHECK(value_of(got, value) == 32);
	for (; input[1] <= 2; input[1]++) {
		OK(p11->C_SignInit(session, &cmac, base));
		OK(p11->C_Sign(session, input, sizeof input, mac, &n));
		CHECK(n == 16 && memcmp(mac, value + 16 * (input[1] - 1), 16) == 0);
	}
}

int main(int argc, char **argv)
{
	CK_OBJECT_HANDLE key, kek;
	CK_SLOT_ID slot;

	CHECK(argc > 2);
	alarm(240);
	load_module(argv[1]);
	OK(p11->C_Initialize(NULL));
	CHECK(first_slot(&slot));
	OK(p11->C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &session));
	OK(p11->C_Login(session, CKU_USER, (CK_UTF8CHAR *)argv[2], strlen(argv[2])));
	key = aes_key(CKA_ENCRYPT, CKA_DECRYPT);
	kek = aes_key(CKA_WRAP, CKA_UNWRAP);
	prepended(key);
	if (argc > 3)
		written(key, kek);
	else
		given(key);
	wrapping(kek, key);
	rsa(key);
	derived(SP800_108_COUNTER_FORMAT, SP800_108_PRF_LABEL, SP800_108_PRF_CONTEXT, SP800_108_DKM_FORMAT);
	derived(CK_SP800_108_ITERATION_VARIABLE, CK_SP800_108_BYTE_ARRAY, CK_SP800_108_BYTE_ARRAY, CK_SP800_108_DKM_LENGTH);
	OK(p11->C_Finalize(NULL));
	return 0;
}
