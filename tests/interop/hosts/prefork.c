/* A server that loads the module, logs in and finds its key, and then forks children that serve: each takes connections from
 * the one socket, signs the 32 bytes that it is sent, and answers with its process number and the signature, in a line. A
 * child ends after so many answers and another takes its place, as with php-fpm and Apache's prefork.
 *
 *     prefork MODULE PIN LABEL PORT CHILDREN ANSWERS
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include "pkcs11.h"

static CK_FUNCTION_LIST *p11;
static CK_SESSION_HANDLE session;
static CK_OBJECT_HANDLE key;

#define CHECK(condition) \
	do { \
		if (!(condition)) { \
			fprintf(stderr, "%s:%d: process %d: %s: errno %d\n", __FILE__, __LINE__, (int)getpid(), #condition, errno); \
			_exit(1); \
		} \
	} while (0)

#define WANT(call, want) \
	do { \
		CK_RV got_ = (call); \
		if (got_ != (want)) { \
			fprintf(stderr, "%s:%d: process %d: %s: 0x%lx, expected %s\n", __FILE__, __LINE__, (int)getpid(), #call, got_, #want); \
			_exit(1); \
		} \
	} while (0)

#define OK(call) WANT(call, CKR_OK)

static void load(const char *path)
{
	void *module = dlopen(path, RTLD_NOW);
	CK_C_GetFunctionList get;

	CHECK(module != NULL);
	*(void **)&get = dlsym(module, "C_GetFunctionList");
	CHECK(get != NULL);
	OK(get(&p11));
}

/* begin is what each process does for itself. */
static void begin(char *pin, char *label)
{
	CK_OBJECT_CLASS class = CKO_PRIVATE_KEY;
	CK_ATTRIBUTE template[] = {{CKA_CLASS, &class, sizeof class}, {CKA_LABEL, label, strlen(label)}};
	CK_ULONG n = 1;
	CK_SLOT_ID slot;

	OK(p11->C_Initialize(NULL));
	OK(p11->C_GetSlotList(CK_TRUE, &slot, &n));
	OK(p11->C_OpenSession(slot, CKF_SERIAL_SESSION, NULL, NULL, &session));
	OK(p11->C_Login(session, CKU_USER, (CK_UTF8CHAR *)pin, strlen(pin)));
	OK(p11->C_FindObjectsInit(session, template, 2));
	OK(p11->C_FindObjects(session, &key, 1, &n));
	CHECK(n == 1);
	OK(p11->C_FindObjectsFinal(session));
}

static CK_ULONG sign(CK_BYTE digest[32], CK_BYTE signature[128])
{
	CK_MECHANISM ecdsa = {CKM_ECDSA, NULL, 0};
	CK_ULONG n = 128;

	OK(p11->C_SignInit(session, &ecdsa, key));
	OK(p11->C_Sign(session, digest, 32, signature, &n));
	return n;
}

static int listens(int port)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int one = 1, fd = socket(AF_INET, SOCK_STREAM, 0);

	CHECK(fd >= 0);
	CHECK(!setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one));
	CHECK(!bind(fd, (struct sockaddr *)&a, sizeof a) && !listen(fd, 128));
	return fd;
}

static void serve(int fd, int answers)
{
	while (answers-- > 0) {
		CK_BYTE digest[32], signature[128];
		char line[300];
		int n, c = accept(fd, NULL, NULL);

		CHECK(c >= 0);
		if (recv(c, digest, sizeof digest, MSG_WAITALL) == sizeof digest) {
			CK_ULONG length = sign(digest, signature);

			n = sprintf(line, "%d ", (int)getpid());
			for (CK_ULONG i = 0; i < length; i++)
				n += sprintf(line + n, "%02x", signature[i]);
			line[n++] = '\n';
			CHECK(write(c, line, n) == n);
		}
		close(c);
	}
}

static void child(int fd, char **argv)
{
	CK_BYTE digest[32] = {0}, signature[128];
	CK_ULONG n;
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (pid == 0) {
		WANT(p11->C_GetSlotList(CK_TRUE, NULL, &n), CKR_CRYPTOKI_NOT_INITIALIZED);
		begin(argv[2], argv[3]);
		serve(fd, atoi(argv[6]));
		OK(p11->C_Finalize(NULL));
		_exit(0);
	}
	sign(digest, signature); /* what the parent has it keeps */
}

int main(int argc, char **argv)
{
	int fd, status;

	CHECK(argc == 7);
	load(argv[1]);
	begin(argv[2], argv[3]);
	fd = listens(atoi(argv[4]));
	for (int i = atoi(argv[5]); i > 0; i--)
		child(fd, argv);
	for (;;) {
		CHECK(wait(&status) > 0);
		CHECK(!WIFEXITED(status) || WEXITSTATUS(status) == 0); /* one that is killed is no failure */
		child(fd, argv);
	}
}
