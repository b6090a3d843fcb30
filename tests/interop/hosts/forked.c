/* forked MODULE PIN LABEL CHILDREN: a process that signs, then forks, and signs on beside its children. Each signature is a line
 * "DIGEST SIGNATURE" in hex, for the test to verify; whatever fails ends the program with the function's name. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "pkcs11.h"

static CK_FUNCTION_LIST_PTR p11;

#define MUST(call) do { CK_RV rv = p11->call; if (rv != CKR_OK) { \
	fprintf(stderr, "%d: %s: %#lx\n", (int)getpid(), #call, rv); _exit(1); } } while (0)

static CK_SESSION_HANDLE session;
static CK_OBJECT_HANDLE key;

static void login(char *pin, char *label)
{
	CK_SLOT_ID slot;
	CK_ULONG n = 1;
	CK_OBJECT_CLASS class = CKO_PRIVATE_KEY;
	CK_ATTRIBUTE want[] = {{CKA_CLASS, &class, sizeof class}, {CKA_LABEL, label, strlen(label)}};
	CK_C_INITIALIZE_ARGS args = {0};

	args.flags = CKF_OS_LOCKING_OK;
	MUST(C_Initialize(&args));
	MUST(C_GetSlotList(CK_TRUE, &slot, &n));
	MUST(C_OpenSession(slot, CKF_SERIAL_SESSION, NULL, NULL, &session));
	MUST(C_Login(session, CKU_USER, (CK_UTF8CHAR_PTR)pin, strlen(pin)));
	MUST(C_FindObjectsInit(session, want, 2));
	MUST(C_FindObjects(session, &key, 1, &n));
	MUST(C_FindObjectsFinal(session));
	if (n != 1) {
		fprintf(stderr, "no key %s\n", label);
		_exit(1);
	}
}

static void hex(char *to, const CK_BYTE *b, CK_ULONG n)
{
	for (CK_ULONG i = 0; i < n; i++)
		sprintf(to + 2 * i, "%02x", b[i]);
}

static void sign(int times, CK_BYTE who)
{
	CK_MECHANISM ecdsa = {CKM_ECDSA, NULL, 0};

	for (int i = 0; i < times; i++) {
		CK_BYTE digest[32], sig[256];
		CK_ULONG n = sizeof sig;
		char line[2 * sizeof digest + 2 * sizeof sig + 3] = "";

		memset(digest, i, sizeof digest);
		digest[0] = who;
		MUST(C_SignInit(session, &ecdsa, key));
		MUST(C_Sign(session, digest, sizeof digest, sig, &n));
		hex(line, digest, sizeof digest);
		strcat(line, " ");
		hex(line + strlen(line), sig, n);
		strcat(line, "\n");
		if (write(1, line, strlen(line)) < 0) /* whole lines, also from several processes */
			_exit(1);
	}
}

int main(int argc, char **argv)
{
	void *library = argc == 5 ? dlopen(argv[1], RTLD_NOW | RTLD_LOCAL) : NULL;
	CK_RV (*list)(CK_FUNCTION_LIST_PTR_PTR) = library ? dlsym(library, "C_GetFunctionList") : NULL;
	int children = list ? atoi(argv[4]) : 0, failed = 0, status;

	if (!list || list(&p11) != CKR_OK) {
		fprintf(stderr, "usage: forked MODULE PIN LABEL CHILDREN (%s)\n", dlerror());
		return 2;
	}
	login(argv[2], argv[3]);
	sign(2, 0);
	for (int i = 1; i <= children; i++) {
		pid_t pid = fork();

		if (pid == 0) {
			login(argv[2], argv[3]);
			sign(5, i);
			MUST(C_Finalize(NULL));
			_exit(0);
		}
		if (pid < 0)
			return 1;
	}
	sign(5, 255); /* the parent's session is as it was */
	while (wait(&status) > 0)
		failed |= status;
	MUST(C_Finalize(NULL));
	return failed != 0;
}
