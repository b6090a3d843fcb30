/*
 * Calls a token as Oracle's Transparent Data Encryption is documented to: `tde LIBRARY PIN set-key|open|rekey`, each a process
 * of its own. What the database keeps in its dictionary is in the files master, table-key and table-key.sha256.
 *
 * The labels are those that administrators find on their HSMs: ORACLE.TDE.HSM.MK.<id> for a master key, and data objects
 * ORACLE.SECURITY.KM.ENCRYPTION.<hex of the id> and DATA_OBJECT_SUPPORTED_IDEN beside it.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <pkcs11.h>

static CK_FUNCTION_LIST *p11;
static CK_SESSION_HANDLE session;
static CK_BBOOL yes = CK_TRUE, no = CK_FALSE;

#define MUST(is) do { if (!(is)) { printf("%s:%d: %s\n", __FILE__, __LINE__, #is); exit(1); } } while (0)
#define OK(call) do { CK_RV rv_ = (call); if (rv_ != CKR_OK) { printf("%s:%d: %s: 0x%lx\n", __FILE__, __LINE__, #call, rv_); exit(1); } } while (0)
#define COUNT(list) (sizeof(list) / sizeof *(list))

/* ids are a byte of kind (06: a database's master key) and 16 random ones, in capital hex */
#define ID_LENGTH 34
static char id[ID_LENGTH + 1];

static void keep(const char *name, const void *data, size_t n)
{
	FILE *f = fopen(name, "wb");
	MUST(f && fwrite(data, 1, n, f) == n && fclose(f) == 0);
}

static size_t kept(const char *name, void *data, size_t room)
{
	FILE *f = fopen(name, "rb");
	MUST(f);
	size_t n = fread(data, 1, room, f);
	fclose(f);
	return n;
}

static void hex(char *out, const CK_BYTE *in, size_t n)
{
	for (size_t i = 0; i < n; i++)
		sprintf(out + 2 * i, "%02X", in[i]);
}

static void master_label(char *out) { sprintf(out, "ORACLE.TDE.HSM.MK.%s", id); }

static void companion_label(char *out)
{
	strcpy(out, "ORACLE.SECURITY.KM.ENCRYPTION.");
	hex(out + strlen(out), (CK_BYTE *)id, ID_LENGTH);
}

/* finds the only object, 0 if there is none */
static CK_OBJECT_HANDLE find(CK_ATTRIBUTE *template, CK_ULONG n)
{
	CK_OBJECT_HANDLE found[2] = {0};
	CK_ULONG count = 0;

	OK(p11->C_FindObjectsInit(session, template, n));
	OK(p11->C_FindObjects(session, found, 2, &count));
	OK(p11->C_FindObjectsFinal(session));
	MUST(count < 2);
	return found[0];
}

static CK_OBJECT_HANDLE labelled(CK_OBJECT_CLASS class, const char *label)
{
	CK_ATTRIBUTE template[] = {{CKA_LABEL, (void *)label, strlen(label)}, {CKA_CLASS, &class, sizeof class}, {CKA_TOKEN, &yes, sizeof yes}};
	return find(template, COUNT(template));
}

static void data_object(const char *label, const void *value, CK_ULONG n)
{
	CK_OBJECT_CLASS class = CKO_DATA;
	CK_OBJECT_HANDLE object;
	CK_ATTRIBUTE template[] = {
		{CKA_CLASS, &class, sizeof class}, {CKA_TOKEN, &yes, sizeof yes}, {CKA_PRIVATE, &yes, sizeof yes},
		{CKA_LABEL, (void *)label, strlen(label)}, {CKA_APPLICATION, "Oracle TDE", 10}, {CKA_VALUE, (void *)value, n},
	};
	OK(p11->C_CreateObject(session, template, COUNT(template), &object));
}

static void log_in(const char *library, const char *pin)
{
	CK_C_INITIALIZE_ARGS threads = {.flags = CKF_OS_LOCKING_OK};
	CK_SLOT_ID slots[8];
	CK_ULONG n = 0;
	CK_SLOT_INFO slot;
	CK_TOKEN_INFO token;
	CK_MECHANISM_INFO mechanism;
	CK_INFO info;
	void *module = dlopen(library, RTLD_NOW);
	if (!module)
		printf("%s\n", dlerror());
	MUST(module);
	CK_C_GetFunctionList list = (CK_C_GetFunctionList)dlsym(module, "C_GetFunctionList");
	MUST(list);
	OK(list(&p11));
	OK(p11->C_Initialize(&threads));
	OK(p11->C_GetInfo(&info));
	OK(p11->C_GetSlotList(CK_TRUE, NULL, &n));
	MUST(n > 0 && n <= COUNT(slots));
	OK(p11->C_GetSlotList(CK_TRUE, slots, &n));
	OK(p11->C_GetSlotInfo(slots[0], &slot));
	OK(p11->C_GetTokenInfo(slots[0], &token));
	MUST(!(token.flags & CKF_WRITE_PROTECTED));
	OK(p11->C_GetMechanismInfo(slots[0], CKM_AES_KEY_GEN, &mechanism));
	MUST(mechanism.flags & CKF_GENERATE);
	for (int i = 0; i < 2; i++) {
		OK(p11->C_GetMechanismInfo(slots[0], i ? CKM_AES_CBC_PAD : CKM_AES_CBC, &mechanism));
		MUST((mechanism.flags & (CKF_ENCRYPT | CKF_DECRYPT)) == (CKF_ENCRYPT | CKF_DECRYPT));
	}
	OK(p11->C_OpenSession(slots[0], CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &session));
	OK(p11->C_Login(session, CKU_USER, (CK_UTF8CHAR *)pin, strlen(pin)));
}

/* makes a master key and what lies beside it; id names it from then on */
static CK_OBJECT_HANDLE make_master(void)
{
	CK_MECHANISM generate = {CKM_AES_KEY_GEN, NULL, 0};
	CK_OBJECT_CLASS class = CKO_SECRET_KEY;
	CK_KEY_TYPE type = CKK_AES;
	CK_ULONG length = 32;
	CK_BYTE random[16];
	CK_OBJECT_HANDLE key;
	char label[128];

	OK(p11->C_GenerateRandom(session, random, sizeof random));
	strcpy(id, "06");
	hex(id + 2, random, sizeof random);
	master_label(label);
	MUST(!labelled(CKO_SECRET_KEY, label));
	CK_ATTRIBUTE template[] = {
		{CKA_CLASS, &class, sizeof class}, {CKA_KEY_TYPE, &type, sizeof type}, {CKA_TOKEN, &yes, sizeof yes},
		{CKA_PRIVATE, &yes, sizeof yes}, {CKA_SENSITIVE, &yes, sizeof yes}, {CKA_EXTRACTABLE, &no, sizeof no},
		{CKA_MODIFIABLE, &no, sizeof no}, {CKA_ENCRYPT, &yes, sizeof yes}, {CKA_DECRYPT, &yes, sizeof yes},
		{CKA_LABEL, label, strlen(label)}, {CKA_VALUE_LEN, &length, sizeof length},
	};
	OK(p11->C_GenerateKey(session, &generate, template, COUNT(template), &key));
	companion_label(label);
	data_object(label, id, ID_LENGTH);
	keep("master", id, ID_LENGTH);
	return key;
}

/* the master key of the dictionary, as it is looked for when a keystore is opened: by its label alone, and by its class too */
static CK_OBJECT_HANDLE open_master(void)
{
	char label[128], value[64];
	CK_ULONG length = 0;
	CK_BBOOL sensitive = CK_FALSE;

	MUST(kept("master", id, sizeof id) == ID_LENGTH);
	master_label(label);
	CK_ATTRIBUTE alone[] = {{CKA_LABEL, label, strlen(label)}};
	CK_OBJECT_HANDLE key = labelled(CKO_SECRET_KEY, label);
	MUST(key && find(alone, 1) == key);
	CK_ATTRIBUTE of[] = {{CKA_VALUE_LEN, &length, sizeof length}, {CKA_SENSITIVE, &sensitive, sizeof sensitive}};
	OK(p11->C_GetAttributeValue(session, key, of, 2));
	MUST(length == 32 && sensitive);
	CK_ATTRIBUTE secret = {CKA_VALUE, value, sizeof value};
	MUST(p11->C_GetAttributeValue(session, key, &secret, 1) == CKR_ATTRIBUTE_SENSITIVE);

	companion_label(label);
	CK_OBJECT_HANDLE companion = labelled(CKO_DATA, label);
	MUST(companion);
	CK_ATTRIBUTE beside = {CKA_VALUE, value, sizeof value};
	OK(p11->C_GetAttributeValue(session, companion, &beside, 1));
	MUST(beside.ulValueLen == ID_LENGTH && !memcmp(value, id, ID_LENGTH));
	MUST(labelled(CKO_DATA, "DATA_OBJECT_SUPPORTED_IDEN"));
	return key;
}

static void digest(const CK_BYTE *data, CK_ULONG n, CK_BYTE out[32])
{
	CK_MECHANISM sha256 = {CKM_SHA256, NULL, 0};
	CK_ULONG length = 32;
	OK(p11->C_DigestInit(session, &sha256));
	OK(p11->C_Digest(session, (CK_BYTE *)data, n, out, &length));
}

/* puts a table key under the master key: its vector, and 48 bytes with padding or 32 without */
static void wrap(CK_OBJECT_HANDLE master, CK_MECHANISM_TYPE mode, CK_BYTE key[32])
{
	CK_BYTE out[16 + 48], sum[32];
	CK_ULONG n = 0;
	OK(p11->C_GenerateRandom(session, out, 16));
	CK_MECHANISM m = {mode, out, 16};
	OK(p11->C_EncryptInit(session, &m, master));
	OK(p11->C_Encrypt(session, key, 32, NULL, &n));
	MUST(n == (mode == CKM_AES_CBC ? 32 : 48));
	OK(p11->C_Encrypt(session, key, 32, out + 16, &n));
	keep("table-key", out, 16 + n);
	digest(key, 32, sum);
	keep("table-key.sha256", sum, sizeof sum);
}

static void unwrap(CK_OBJECT_HANDLE master, CK_BYTE key[32])
{
	CK_BYTE in[64], got[64], sum[32], want[32];
	CK_ULONG n = sizeof got;
	size_t have = kept("table-key", in, sizeof in);
	CK_MECHANISM m = {have == 48 ? CKM_AES_CBC : CKM_AES_CBC_PAD, in, 16};
	OK(p11->C_DecryptInit(session, &m, master));
	OK(p11->C_Decrypt(session, in + 16, have - 16, got, &n));
	MUST(n == 32);
	digest(got, 32, sum);
	MUST(kept("table-key.sha256", want, sizeof want) == 32 && !memcmp(sum, want, 32));
	memcpy(key, got, 32);
}

int main(int argc, char **argv)
{
	CK_BYTE key[32];
	MUST(argc == 4);
	log_in(argv[1], argv[2]);
	if (!strcmp(argv[3], "set-key")) {
		if (!labelled(CKO_DATA, "DATA_OBJECT_SUPPORTED_IDEN"))
			data_object("DATA_OBJECT_SUPPORTED_IDEN", "\1", 1);
		CK_OBJECT_HANDLE master = make_master();
		OK(p11->C_GenerateRandom(session, key, sizeof key));
		wrap(master, CKM_AES_CBC_PAD, key);
	} else if (!strcmp(argv[3], "open")) {
		unwrap(open_master(), key);
	} else if (!strcmp(argv[3], "rekey")) {
		CK_OBJECT_HANDLE old = open_master();
		unwrap(old, key);
		wrap(make_master(), CKM_AES_CBC, key);
	} else {
		MUST(!"a command");
	}
	OK(p11->C_Logout(session));
	OK(p11->C_CloseSession(session));
	OK(p11->C_Finalize(NULL));
	printf("ok %s %s\n", argv[3], id);
	return 0;
}
