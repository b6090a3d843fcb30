/* nulls MODULE [ROUNDS [SEED]]: every function with NULL, zero, wild and mixed arguments, before C_Initialize and after, in
 * open, closed and invented sessions. The library must answer each call with a return value that the standard knows, and
 * never with CKR_GENERAL_ERROR, which would be a fault of its own. */
#include "host.h"

enum { MOST_ARGUMENTS = 10, FUNCTIONS = 104, PLACE = 65536 };

typedef CK_RV (*function)(CK_ULONG, CK_ULONG, CK_ULONG, CK_ULONG, CK_ULONG, CK_ULONG, CK_ULONG, CK_ULONG, CK_ULONG, CK_ULONG);

/* Memory that arguments may point to. What a function may write there fits: lengths are short or absurd. */
static unsigned char zeros[PLACE] __attribute__((aligned(16)));
static unsigned char ones[PLACE] __attribute__((aligned(16)));

static function nth(int i)
{
	/* The members of the list are pointers in a row behind the version. */
	function f;

	memcpy(&f, (char *)p11 + sizeof(void *) * (i + 1), sizeof f);
	return f;
}

static int is(int i, const void *member)
{
	return (const char *)member == (const char *)p11 + sizeof(void *) * (i + 1);
}

/* plain is the functions that are nothing but C and follow their pointers as C does. */
static int plain(int i)
{
	return is(i, &p11->C_GetFunctionList) || is(i, &p11->C_GetInterfaceList) || is(i, &p11->C_GetInterface);
}

/* waits is a call that would end with C_Finalize only. */
static int waits(int i, const CK_ULONG *a)
{
	return is(i, &p11->C_WaitForSlotEvent) && !(a[0] & CKF_DONT_BLOCK);
}

static CK_RV call(int i, const CK_ULONG *a)
{
	/* More arguments than a function takes do no harm in the calling conventions of amd64 and arm64. */
	CK_RV rv = nth(i)(a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7], a[8], a[9]);

	if (rv == CKR_GENERAL_ERROR || rv > CKR_PARAMETER_SET_NOT_SUPPORTED)
		failed(__FILE__, __LINE__, "function %d (%lx, %lx, %lx, %lx, %lx, %lx, ...): 0x%lx", i + 1, a[0], a[1], a[2],
		       a[3], a[4], a[5], rv);
	return rv;
}

/* same calls every function with first for its first argument and rest for the others. */
static void same(CK_ULONG first, CK_ULONG rest, int before_init)
{
	for (int i = 0; i < FUNCTIONS; i++) {
		CK_ULONG a[MOST_ARGUMENTS] = {first};

		for (int j = 1; j < MOST_ARGUMENTS; j++)
			a[j] = rest;
		if (!before_init && waits(i, a))
			continue;
		if ((plain(i) && (first || rest)) || is(i, &p11->C_Initialize) || is(i, &p11->C_Finalize))
			continue;
		CK_RV rv = call(i, a);
		if (plain(i) ? rv != CKR_ARGUMENTS_BAD : before_init && rv != CKR_CRYPTOKI_NOT_INITIALIZED)
			failed(__FILE__, __LINE__, "function %d (%lx, %lx, ...): 0x%lx", i + 1, first, rest, rv);
	}
}

static CK_ULONG pick(const CK_ULONG *values, size_t n)
{
	return values[random() % n];
}

int main(int argc, char **argv)
{
	int rounds = argc > 2 ? atoi(argv[2]) : 50000;
	unsigned seed = argc > 3 ? strtoul(argv[3], NULL, 0) : (unsigned)nanoseconds();
	CK_C_INITIALIZE_ARGS odd = {.flags = CKF_OS_LOCKING_OK, .pReserved = zeros};
	CK_C_INITIALIZE_ARGS half = {.CreateMutex = (CK_CREATEMUTEX)1, .flags = CKF_OS_LOCKING_OK};
	const CK_ULONG wild[] = {0, 1, ~0UL, 0x1000, 0x7000deadbee8, (CK_ULONG)zeros, (CK_ULONG)ones};
	CK_ULONG values[] = {0, 1, 2, 7, 8, 16, 24, 32, 4096, ~0UL, 1UL << 31, 1UL << 62, 0x7000deadbee8,
	                     (CK_ULONG)zeros, (CK_ULONG)zeros, (CK_ULONG)zeros, (CK_ULONG)ones, (CK_ULONG)ones + 1, 0, 0};
	const size_t nvalues = sizeof values / sizeof values[0];
	CK_SESSION_HANDLE open = 0, closed = 0;
	CK_SLOT_ID slot = 0;
	CK_INFO info;

	CHECK(argc > 1);
	memset(ones, 0xff, sizeof ones);
	load_module(argv[1]);
	for (size_t i = 0; i < sizeof wild / sizeof wild[0]; i++)
		for (size_t j = 0; j < sizeof wild / sizeof wild[0]; j++)
			same(wild[i], wild[j], 1);
	WANT(p11->C_Finalize(NULL), CKR_CRYPTOKI_NOT_INITIALIZED);
	WANT(p11->C_Initialize((void *)1), CKR_ARGUMENTS_BAD);
	WANT(p11->C_Initialize((void *)0x7000deadbee8), CKR_ARGUMENTS_BAD);
	WANT(p11->C_Initialize(&odd), CKR_ARGUMENTS_BAD);
	WANT(p11->C_Initialize(&half), CKR_ARGUMENTS_BAD);
	OK(p11->C_Initialize(NULL));
	WANT(p11->C_Initialize(NULL), CKR_CRYPTOKI_ALREADY_INITIALIZED);
	WANT(p11->C_Finalize(zeros), CKR_ARGUMENTS_BAD);

	if (first_slot(&slot)) {
		OK(p11->C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &closed));
		OK(p11->C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &open));
		OK(p11->C_CloseSession(closed));
	}
	for (size_t i = 0; i < sizeof wild / sizeof wild[0]; i++) {
		same(closed, wild[i], 0);
		same(0x123456, wild[i], 0);
		if (!open)
			continue;
		same(open, wild[i], 0);
		/* C_CloseSession was among them. */
		OK(p11->C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &open));
	}

	printf("seed %u\n", seed);
	fflush(stdout);
	srandom(seed);
	for (int n = 0; n < rounds; n++) {
		CK_ULONG a[MOST_ARGUMENTS];
		int i = random() % FUNCTIONS;

		if (plain(i) || is(i, &p11->C_Initialize) || is(i, &p11->C_Finalize) || is(i, &p11->C_InitToken))
			continue;
		for (int j = 0; j < MOST_ARGUMENTS; j++)
			a[j] = pick(values, nvalues);
		if (random() % 8)
			a[0] = open;
		if (waits(i, a))
			continue;
		memset(zeros, 0, 4096);
		memset(ones, 0xff, 4096);
		if (random() % 2) {
			/* A length, a type or a mechanism at the beginning, and something behind it. */
			CK_ULONG words[] = {pick(values, nvalues), pick(values, nvalues), pick(values, nvalues)};
			memcpy(zeros, words, sizeof words);
			words[0] = random() % 0x1200;
			memcpy(ones, words, sizeof words);
		}
		call(i, a);
		if (open && p11->C_GetSessionInfo(open, (CK_SESSION_INFO *)ones) != CKR_OK)
			OK(p11->C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &open));
	}
	OK(p11->C_GetInfo(&info));
	OK(p11->C_Finalize(NULL));
	same(open, 0, 1);
	printf("%d rounds\n", rounds);
	return 0;
}
