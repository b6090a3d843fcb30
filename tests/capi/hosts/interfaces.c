/* interfaces MODULE: the function lists and the functions that find them, before C_Initialize and in a forked child. */
#include "host.h"
#include <sys/wait.h>

static CK_C_GetFunctionList get_list;
static CK_C_GetInterfaceList get_interfaces;
static CK_C_GetInterface get;

static CK_UTF8CHAR standard[] = "PKCS 11";

/* has checks one interface with its list. */
static void has(CK_BYTE major, CK_BYTE minor, size_t functions)
{
	CK_VERSION version = {major, minor};
	CK_INTERFACE *interface = NULL, *again = NULL;
	void *pointers[104];

	OK(get(standard, &version, &interface, 0));
	CHECK(strcmp((char *)interface->pInterfaceName, "PKCS 11") == 0 && interface->flags == 0);
	CHECK(memcmp(interface->pFunctionList, &version, sizeof version) == 0);
	memcpy(pointers, (char *)interface->pFunctionList + sizeof(void *), functions * sizeof(void *));
	for (size_t i = 0; i < functions; i++)
		CHECK(pointers[i] != NULL);
	/* Each list begins like the longer one. */
	CHECK(memcmp(pointers, (char *)p11 + sizeof(void *), functions * sizeof(void *)) == 0);
	OK(get(NULL, &version, &again, 0));
	CHECK(again == interface);
	WANT(get(standard, &version, &again, CKF_INTERFACE_FORK_SAFE), CKR_ARGUMENTS_BAD);
	WANT(get(standard, &version, &again, 1UL << 40), CKR_ARGUMENTS_BAD);
}

static void all(void)
{
	const CK_VERSION unknown[] = {{2, 39}, {2, 41}, {3, 1}, {3, 3}, {4, 0}, {0, 0}, {255, 255}};
	CK_INTERFACE list[8], *interface = NULL;
	CK_FUNCTION_LIST *old = NULL;
	CK_ULONG n = 0;

	has(2, 40, 68);
	has(3, 0, 92);
	has(3, 2, 104);
	WANT(get_list(NULL), CKR_ARGUMENTS_BAD);
	OK(get_list(&old));
	CHECK(old->version.major == 2 && old->version.minor == 40 && old->C_GetFunctionList(&old) == CKR_OK);

	OK(get(NULL, NULL, &interface, 0));
	CHECK(interface->pFunctionList == p11);
	OK(get(standard, NULL, &interface, 0));
	CHECK(interface->pFunctionList == p11);
	WANT(get(standard, NULL, NULL, 0), CKR_ARGUMENTS_BAD);
	WANT(get((CK_UTF8CHAR *)"PKCS 1", NULL, &interface, 0), CKR_ARGUMENTS_BAD);
	WANT(get((CK_UTF8CHAR *)"PKCS 11 ", NULL, &interface, 0), CKR_ARGUMENTS_BAD);
	WANT(get((CK_UTF8CHAR *)"", NULL, &interface, 0), CKR_ARGUMENTS_BAD);
	WANT(get((CK_UTF8CHAR *)"Vendor Coffer", NULL, &interface, 0), CKR_ARGUMENTS_BAD);
	for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++) {
		CK_VERSION version = unknown[i];

		WANT(get(standard, &version, &interface, 0), CKR_ARGUMENTS_BAD);
		WANT(get(NULL, &version, &interface, 0), CKR_ARGUMENTS_BAD);
	}

	WANT(get_interfaces(list, NULL), CKR_ARGUMENTS_BAD);
	OK(get_interfaces(NULL, &n));
	CHECK(n == 3);
	n = 2;
	WANT(get_interfaces(list, &n), CKR_BUFFER_TOO_SMALL);
	CHECK(n == 3);
	n = 8;
	OK(get_interfaces(list, &n));
	CHECK(n == 3 && list[0].pFunctionList == p11 && list[2].pFunctionList == old);
}

int main(int argc, char **argv)
{
	void *module;
	int status;
	pid_t pid;

	CHECK(argc > 1);
	module = load_module(argv[1]);
	*(void **)&get_list = dlsym(module, "C_GetFunctionList");
	*(void **)&get_interfaces = dlsym(module, "C_GetInterfaceList");
	*(void **)&get = dlsym(module, "C_GetInterface");
	CHECK(get_list && get_interfaces && get);
	all();
	pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		alarm(240);
		all();
		_exit(0);
	}
	CHECK(waitpid(pid, &status, 0) == pid && status == 0);
	OK(p11->C_Initialize(NULL));
	all();
	/* The host may close a module that it opened, but code of ours may be on some thread's stack: it stays. */
	CHECK(dlclose(module) == 0);
	OK(p11->C_Finalize(NULL));
	return 0;
}
