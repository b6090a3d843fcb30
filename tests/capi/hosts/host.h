/* What the C hosts share: a module loaded by dlopen, and checks that end the process with a line saying what was found. */
#ifndef CAPI_HOST_H
#define CAPI_HOST_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "pkcs11.h"

static CK_FUNCTION_LIST_3_2 *p11;

/* failed prints to standard output: standard error must stay empty, for what appears there came from the library. */
static void __attribute__((noreturn, format(printf, 3, 4))) failed(const char *file, int line, const char *format, ...)
{
	char text[512];
	int n = snprintf(text, sizeof text, "%s:%d: process %d: ", file, line, (int)getpid());
	va_list args;

	va_start(args, format);
	n += vsnprintf(text + n, sizeof text - n, format, args);
	va_end(args);
	if (n > (int)sizeof text - 2)
		n = sizeof text - 2;
	text[n++] = '\n';
	if (write(1, text, n) < 0)
		_exit(99);
	_exit(98);
}

#define CHECK(condition) \
	do { \
		if (!(condition)) \
			failed(__FILE__, __LINE__, "%s: errno %d", #condition, errno); \
	} while (0)

#define WANT(call, want) \
	do { \
		CK_RV got_ = (call); \
		if (got_ != (CK_RV)(want)) \
			failed(__FILE__, __LINE__, "%s: 0x%lx, expected %s", #call, got_, #want); \
	} while (0)

#define OK(call) WANT(call, CKR_OK)

static inline void *load_module(const char *path)
{
	CK_VERSION version = {3, 2};
	CK_INTERFACE *interface = NULL;
	CK_C_GetInterface get;
	void *module = dlopen(path, RTLD_NOW | RTLD_LOCAL);

	if (!module)
		failed(__FILE__, __LINE__, "%s", dlerror());
	*(void **)&get = dlsym(module, "C_GetInterface");
	CHECK(get != NULL);
	OK(get((CK_UTF8CHAR *)"PKCS 11", &version, &interface, 0));
	p11 = interface->pFunctionList;
	return module;
}

static inline int64_t nanoseconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

/* first_slot gives the first slot, or says that there is none. */
static inline int first_slot(CK_SLOT_ID *slot)
{
	CK_SLOT_ID all[64];
	CK_ULONG n = 64;

	OK(p11->C_GetSlotList(CK_TRUE, all, &n));
	if (n > 0)
		*slot = all[0];
	return n > 0;
}

#endif
