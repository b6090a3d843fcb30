/* messages MODULE PIN: the message functions and the state of operations, as C sees them: what is written into the caller's
 * memory and when, questions for lengths, short buffers, NULL and memory that cannot be. */
#include "host.h"
#include <sys/mman.h>

static CK_SESSION_HANDLE session;
static CK_OBJECT_HANDLE key;

static const CK_BYTE plain[20] = "twenty bytes of text";
static const CK_BYTE header[6] = "header";

static CK_BYTE iv[12], tag[16];

static CK_GCM_MESSAGE_PARAMS fresh(CK_GENERATOR_FUNCTION generator)
{
	CK_GCM_MESSAGE_PARAMS p = {iv, sizeof iv, 32, generator, tag, 8 * sizeof tag};

	memcpy(iv, "abcdEFGHIJKL", sizeof iv);
	memset(tag, 0xee, sizeof tag);
	return p;
}

static int all(const CK_BYTE *p, int n, CK_BYTE value)
{
	while (n > 0 && p[n - 1] == value)
		n--;
	return n == 0;
}

static void make_key(void)
{
	CK_MECHANISM m = {CKM_AES_KEY_GEN, NULL, 0};
	CK_ULONG length = 32;
	CK_BBOOL yes = CK_TRUE;
	CK_ATTRIBUTE template[] = {
		{CKA_VALUE_LEN, &length, sizeof length}, {CKA_ENCRYPT, &yes, 1}, {CKA_DECRYPT, &yes, 1},
		{CKA_SIGN, &yes, 1}, {CKA_VERIFY, &yes, 1},
	};

	OK(p11->C_GenerateKey(session, &m, template, sizeof template / sizeof *template, &key));
}

/* begin_both starts a process of each direction. */
static void begin_both(void)
{
	CK_GCM_MESSAGE_PARAMS p = fresh(CKG_NO_GENERATE);
	CK_MECHANISM bare = {CKM_AES_GCM, NULL, 0}, full = {CKM_AES_GCM, &p, sizeof p}, odd = {CKM_AES_GCM, &p, 7};
	CK_MECHANISM wild = {CKM_AES_GCM, (void *)8, sizeof p};

	WANT(p11->C_MessageEncryptInit(session, &odd, key), CKR_MECHANISM_PARAM_INVALID);
	WANT(p11->C_MessageEncryptInit(session, &wild, key), CKR_MECHANISM_PARAM_INVALID);
	OK(p11->C_MessageEncryptInit(session, &bare, key));
	WANT(p11->C_MessageEncryptInit(session, &bare, key), CKR_OPERATION_ACTIVE);
	OK(p11->C_MessageEncryptInit(session, NULL, 0));
	OK(p11->C_MessageEncryptInit(session, &full, key));
	OK(p11->C_MessageDecryptInit(session, &bare, key));
}

/* lengths: nothing is written and no vector is used up before there is room. */
static void lengths(void)
{
	CK_GCM_MESSAGE_PARAMS p = fresh(CKG_GENERATE_COUNTER);
	CK_BYTE out[64];
	CK_ULONG n = 0;

	OK(p11->C_EncryptMessage(session, &p, sizeof p, NULL, 0, (CK_BYTE *)plain, sizeof plain, NULL, &n));
	CHECK(n == sizeof plain);
	memset(out, 0xee, sizeof out);
	n = sizeof plain - 1;
	WANT(p11->C_EncryptMessage(session, &p, sizeof p, NULL, 0, (CK_BYTE *)plain, sizeof plain, out, &n), CKR_BUFFER_TOO_SMALL);
	CHECK(n == sizeof plain && all(out, sizeof out, 0xee) && all(tag, sizeof tag, 0xee) && memcmp(iv, "abcdEFGHIJKL", 12) == 0);
	for (CK_BYTE i = 0; i < 3; i++) {
		CK_BYTE back[sizeof plain], want[12] = "abcd";

		want[11] = i;
		p = fresh(CKG_GENERATE_COUNTER);
		n = sizeof plain;
		OK(p11->C_EncryptMessage(session, &p, sizeof p, (CK_BYTE *)header, sizeof header, (CK_BYTE *)plain, sizeof plain, out, &n));
		CHECK(n == sizeof plain && memcmp(iv, want, sizeof iv) == 0 && !all(tag, sizeof tag, 0xee) && all(out + n, sizeof out - n, 0xee));

		n = sizeof back;
		memset(back, 0xee, sizeof back);
		tag[3] ^= 1;
		WANT(p11->C_DecryptMessage(session, &p, sizeof p, (CK_BYTE *)header, sizeof header, out, sizeof plain, back, &n), CKR_AEAD_DECRYPT_FAILED);
		CHECK(all(back, sizeof back, 0xee));
		tag[3] ^= 1;
		n = sizeof back;
		OK(p11->C_DecryptMessage(session, &p, sizeof p, (CK_BYTE *)header, sizeof header, out, sizeof plain, back, &n));
		CHECK(n == sizeof plain && memcmp(back, plain, n) == 0);
		/* In place. */
		memcpy(out, plain, sizeof plain);
		n = sizeof out;
		p = fresh(CKG_NO_GENERATE);
		OK(p11->C_EncryptMessage(session, &p, sizeof p, NULL, 0, out, sizeof plain, out, &n));
		OK(p11->C_DecryptMessage(session, &p, sizeof p, NULL, 0, out, n, out, &n));
		CHECK(n == sizeof plain && memcmp(out, plain, n) == 0);
	}
}

/* constants: a vector that is not generated may be in memory that nobody can write. */
static void constants(void)
{
	CK_GCM_MESSAGE_PARAMS p = fresh(CKG_NO_GENERATE);
	CK_BYTE *page = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), out[64];
	CK_ULONG n = sizeof out;

	CHECK(page != MAP_FAILED);
	p.pIv = page;
	OK(p11->C_EncryptMessage(session, &p, sizeof p, NULL, 0, (CK_BYTE *)plain, sizeof plain, out, &n));
	n = sizeof out;
	p.pTag = page;
	WANT(p11->C_EncryptMessage(session, &p, sizeof p, NULL, 0, (CK_BYTE *)plain, sizeof plain, out, &n), CKR_ARGUMENTS_BAD);
	CHECK(munmap(page, 4096) == 0);
}

/* refusals: parameters that cannot be. */
static void refusals(void)
{
	CK_GCM_MESSAGE_PARAMS p;
	CK_BYTE out[64];
	CK_ULONG n = sizeof out;

#define ENCRYPT(parameter, length) p11->C_EncryptMessage(session, parameter, length, NULL, 0, (CK_BYTE *)plain, sizeof plain, out, &n)
	p = fresh(CKG_NO_GENERATE);
	WANT(ENCRYPT(NULL, 0), CKR_MECHANISM_PARAM_INVALID);
	WANT(ENCRYPT(NULL, sizeof p), CKR_ARGUMENTS_BAD);
	WANT(ENCRYPT(&p, sizeof p - 1), CKR_MECHANISM_PARAM_INVALID);
	WANT(ENCRYPT((void *)16, sizeof p), CKR_ARGUMENTS_BAD);
	p = fresh(CKG_NO_GENERATE), p.pIv = NULL;
	WANT(ENCRYPT(&p, sizeof p), CKR_MECHANISM_PARAM_INVALID);
	p = fresh(CKG_GENERATE), p.pIv = NULL;
	WANT(ENCRYPT(&p, sizeof p), CKR_MECHANISM_PARAM_INVALID);
	p = fresh(CKG_NO_GENERATE), p.pTag = NULL;
	WANT(ENCRYPT(&p, sizeof p), CKR_MECHANISM_PARAM_INVALID);
	p = fresh(CKG_NO_GENERATE), p.pTag = (void *)24;
	WANT(ENCRYPT(&p, sizeof p), CKR_ARGUMENTS_BAD);
	p = fresh(CKG_NO_GENERATE), p.ulTagBits = 127;
	WANT(ENCRYPT(&p, sizeof p), CKR_MECHANISM_PARAM_INVALID);
	p = fresh(CKG_NO_GENERATE), p.ulTagBits = (CK_ULONG)-1;
	WANT(ENCRYPT(&p, sizeof p), CKR_ARGUMENTS_BAD);
	p = fresh(CKG_NO_GENERATE), p.ulIvLen = (CK_ULONG)-1;
	WANT(ENCRYPT(&p, sizeof p), CKR_ARGUMENTS_BAD);
	p = fresh(77);
	WANT(ENCRYPT(&p, sizeof p), CKR_MECHANISM_PARAM_INVALID);
	CHECK(n == sizeof out);
}

/* parts: ciphertext and tag come with the last part, the vector with the first call. */
static void parts(void)
{
	CK_GCM_MESSAGE_PARAMS p = fresh(CKG_GENERATE_COUNTER);
	CK_BYTE out[64], back[64];
	CK_ULONG n, total;

	OK(p11->C_EncryptMessageBegin(session, &p, sizeof p, (CK_BYTE *)header, sizeof header));
	CHECK(memcmp(iv, "abcd\0\0\0\0\0\0\0\3", 12) == 0 && all(tag, sizeof tag, 0xee));
	n = sizeof out;
	OK(p11->C_EncryptMessageNext(session, &p, sizeof p, (CK_BYTE *)plain, 7, out, &n, 0));
	total = n;
	CHECK(all(tag, sizeof tag, 0xee));
	OK(p11->C_EncryptMessageNext(session, &p, sizeof p, (CK_BYTE *)plain + 7, 13, NULL, &n, CKF_END_OF_MESSAGE));
	CHECK(total + n == sizeof plain && all(tag, sizeof tag, 0xee));
	n--;
	WANT(p11->C_EncryptMessageNext(session, &p, sizeof p, (CK_BYTE *)plain + 7, 13, out + total, &n, CKF_END_OF_MESSAGE), CKR_BUFFER_TOO_SMALL);
	OK(p11->C_EncryptMessageNext(session, &p, sizeof p, (CK_BYTE *)plain + 7, 13, out + total, &n, CKF_END_OF_MESSAGE));
	CHECK(total + n == sizeof plain && !all(tag, sizeof tag, 0xee));

	OK(p11->C_DecryptMessageBegin(session, &p, sizeof p, (CK_BYTE *)header, sizeof header));
	n = sizeof back;
	OK(p11->C_DecryptMessageNext(session, &p, sizeof p, out, 9, back, &n, 0));
	CHECK(n == 0);
	n = sizeof back;
	OK(p11->C_DecryptMessageNext(session, &p, sizeof p, out + 9, 11, back, &n, CKF_END_OF_MESSAGE));
	CHECK(n == sizeof plain && memcmp(back, plain, n) == 0);

	/* What cannot be decoded ends the message, and not the process. */
	OK(p11->C_EncryptMessageBegin(session, &p, sizeof p, NULL, 0));
	WANT(p11->C_EncryptMessageNext(session, &p, sizeof p, NULL, 9, out, &n, CKF_END_OF_MESSAGE), CKR_ARGUMENTS_BAD);
	WANT(p11->C_EncryptMessageNext(session, &p, sizeof p, NULL, 0, out, &n, CKF_END_OF_MESSAGE), CKR_OPERATION_NOT_INITIALIZED);
	OK(p11->C_EncryptMessageBegin(session, &p, sizeof p, NULL, 0));
	WANT(p11->C_MessageEncryptFinal(session), CKR_OPERATION_ACTIVE);
	OK(p11->C_SessionCancel(session, CKF_MESSAGE_ENCRYPT));
	WANT(p11->C_MessageEncryptFinal(session), CKR_OPERATION_NOT_INITIALIZED);
	OK(p11->C_MessageDecryptFinal(session));
}

/* signatures: a NULL length, and a NULL signature to verify, say that more comes. */
static void signatures(void)
{
	CK_MECHANISM m = {CKM_AES_CMAC, NULL, 0};
	CK_BYTE mac[16], again[16];
	CK_ULONG n = 0;

	OK(p11->C_MessageSignInit(session, &m, key));
	OK(p11->C_MessageVerifyInit(session, &m, key));
	OK(p11->C_SignMessage(session, NULL, 0, (CK_BYTE *)plain, sizeof plain, NULL, &n));
	CHECK(n == sizeof mac);
	n--;
	WANT(p11->C_SignMessage(session, NULL, 0, (CK_BYTE *)plain, sizeof plain, mac, &n), CKR_BUFFER_TOO_SMALL);
	CHECK(n == sizeof mac);
	WANT(p11->C_SignMessage(session, mac, sizeof mac, (CK_BYTE *)plain, sizeof plain, mac, &n), CKR_MECHANISM_PARAM_INVALID);
	OK(p11->C_SignMessage(session, NULL, 0, (CK_BYTE *)plain, sizeof plain, mac, &n));
	OK(p11->C_VerifyMessage(session, NULL, 0, (CK_BYTE *)plain, sizeof plain, mac, n));
	WANT(p11->C_VerifyMessage(session, NULL, 0, (CK_BYTE *)plain, sizeof plain - 1, mac, n), CKR_SIGNATURE_INVALID);
	WANT(p11->C_VerifyMessage(session, NULL, 0, (CK_BYTE *)plain, sizeof plain, mac, n - 1), CKR_SIGNATURE_LEN_RANGE);

	OK(p11->C_SignMessageBegin(session, NULL, 0));
	OK(p11->C_SignMessageNext(session, NULL, 0, (CK_BYTE *)plain, 7, NULL, NULL));
	OK(p11->C_SignMessageNext(session, NULL, 0, (CK_BYTE *)plain + 7, 13, NULL, &n));
	OK(p11->C_SignMessageNext(session, NULL, 0, (CK_BYTE *)plain + 7, 13, again, &n));
	CHECK(n == sizeof mac && memcmp(mac, again, n) == 0);
	OK(p11->C_VerifyMessageBegin(session, NULL, 0));
	OK(p11->C_VerifyMessageNext(session, NULL, 0, (CK_BYTE *)plain, 7, NULL, 0));
	OK(p11->C_VerifyMessageNext(session, NULL, 0, (CK_BYTE *)plain + 7, 13, mac, n));
	OK(p11->C_MessageSignFinal(session));
	OK(p11->C_MessageVerifyFinal(session));

	OK(p11->C_VerifySignatureInit(session, &m, key, mac, sizeof mac));
	OK(p11->C_VerifySignatureUpdate(session, (CK_BYTE *)plain, sizeof plain));
	OK(p11->C_VerifySignatureFinal(session));
	WANT(p11->C_VerifySignatureInit(session, &m, key, NULL, sizeof mac), CKR_ARGUMENTS_BAD);
}

/* states: an encryption and a digest go on in another session. */
static void states(CK_SESSION_HANDLE other)
{
	CK_BYTE zeros[16] = {0}, state[4096], again[4096], out[64], digest[32], want[32];
	CK_MECHANISM cbc = {CKM_AES_CBC_PAD, zeros, sizeof zeros}, sha = {CKM_SHA256, NULL, 0};
	CK_ULONG n, size, first, whole;

	n = sizeof state;
	WANT(p11->C_GetOperationState(session, state, &n), CKR_OPERATION_NOT_INITIALIZED);
	OK(p11->C_DigestInit(session, &sha));
	n = sizeof want;
	OK(p11->C_Digest(session, (CK_BYTE *)plain, sizeof plain, want, &n));
	OK(p11->C_EncryptInit(session, &cbc, key));
	OK(p11->C_DigestInit(session, &sha));
	first = sizeof out;
	OK(p11->C_DigestEncryptUpdate(session, (CK_BYTE *)plain, 17, out, &first));
	CHECK(first == 16);
	WANT(p11->C_GetOperationState(session, state, NULL), CKR_ARGUMENTS_BAD);
	size = 0;
	OK(p11->C_GetOperationState(session, NULL, &size));
	CHECK(size > 0 && size < sizeof state);
	n = size - 1;
	WANT(p11->C_GetOperationState(session, state, &n), CKR_BUFFER_TOO_SMALL);
	CHECK(n == size);
	OK(p11->C_GetOperationState(session, state, &n));
	CHECK(n == size && memmem(state, n, plain, 17) == NULL);

	WANT(p11->C_SetOperationState(other, NULL, size, key, 0), CKR_ARGUMENTS_BAD);
	WANT(p11->C_SetOperationState(other, NULL, 0, key, 0), CKR_SAVED_STATE_INVALID);
	WANT(p11->C_SetOperationState(other, state, size, 0, 0), CKR_KEY_NEEDED);
	WANT(p11->C_SetOperationState(other, state, size, key, key), CKR_KEY_NOT_NEEDED);
	memcpy(again, state, size);
	again[size / 2] ^= 4;
	WANT(p11->C_SetOperationState(other, again, size, key, 0), CKR_SAVED_STATE_INVALID);
	for (int i = 0; i < 2; i++) { /* as often as wanted */
		OK(p11->C_SetOperationState(other, state, size, key, 0));
		n = sizeof out - first;
		OK(p11->C_DigestEncryptUpdate(other, (CK_BYTE *)plain + 17, 3, out + first, &n));
		whole = first + n;
		n = sizeof out - whole;
		OK(p11->C_EncryptFinal(other, out + whole, &n));
		whole += n;
		n = sizeof digest;
		OK(p11->C_DigestFinal(other, digest, &n));
		CHECK(n == sizeof want && memcmp(digest, want, n) == 0);
		OK(p11->C_DecryptInit(other, &cbc, key));
		n = sizeof again;
		OK(p11->C_Decrypt(other, out, whole, again, &n));
		CHECK(n == sizeof plain && memcmp(again, plain, n) == 0);
	}
}

int main(int argc, char **argv)
{
	CK_SLOT_ID slot = 0;
	CK_SESSION_HANDLE other;
	CK_MECHANISM_INFO info;

	CHECK(argc == 3);
	alarm(240);
	load_module(argv[1]);
	OK(p11->C_Initialize(NULL));
	CHECK(first_slot(&slot));
	OK(p11->C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &session));
	OK(p11->C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &other));
	OK(p11->C_Login(session, CKU_USER, (CK_UTF8CHAR *)argv[2], strlen(argv[2])));
	OK(p11->C_GetMechanismInfo(slot, CKM_AES_GCM, &info));
	CHECK((info.flags & (CKF_MESSAGE_ENCRYPT | CKF_MESSAGE_DECRYPT | CKF_MULTI_MESSAGE)) == (CKF_MESSAGE_ENCRYPT | CKF_MESSAGE_DECRYPT | CKF_MULTI_MESSAGE));
	make_key();
	begin_both();
	lengths();
	constants();
	refusals();
	parts();
	signatures();
	states(other);
	OK(p11->C_Finalize(NULL));
	printf("messages and states: done\n");
	return 0;
}
