/* fork MODULE [FORKS]: a host that forks while its threads are inside the library.
 *
 * Four threads of the parent never leave the library, others come and go. Children use it with three threads, fork again, never call it,
 * get signals, end in every way. Environment:
 *
 *   CAPI_OBJECTS=1   parent and children also create objects in the first slot, which must have a token that takes
 *                    public objects without a login, or none yet: then it is initialised. At the end all are counted. */
#include "host.h"
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

enum { BUSY = 8, WORKING = 4, THREADS = 3, AT_ONCE = 4, PATIENCE = 180, MOST = 100000 };

/* What a child does, by its number. */
enum kind { USES, NEVER_CALLS, URGENT, FAULTS, WRITES_TO_NOBODY, ENDS_A_THREAD, BARE_FORK, NKINDS };

static const char *const kind_name[NKINDS] = {"uses", "never calls", "SIGURG", "SIGSEGV", "SIGPIPE", "ends a thread", "bare fork"};

/* Seen by all processes. */
static struct shared {
	atomic_long firsts;         /* how many first calls were timed */
	atomic_long objects;        /* token objects created */
	int64_t first[MOST];      /* what they took */
} *shared;

static int with_objects;
static atomic_int stop;
static atomic_long rounds[BUSY];
static CK_FUNCTION_LIST *list_of_parent;

static const CK_BYTE application[] = "coffer fork test";

static void create(CK_SESSION_HANDLE session, CK_BBOOL token)
{
	CK_OBJECT_CLASS class = CKO_DATA;
	CK_BBOOL no = CK_FALSE;
	CK_ULONG who = getpid();
	CK_ATTRIBUTE template[] = {
		{CKA_CLASS, &class, sizeof class},
		{CKA_TOKEN, &token, sizeof token},
		{CKA_PRIVATE, &no, sizeof no},
		{CKA_APPLICATION, (void *)application, sizeof application - 1},
		{CKA_VALUE, &who, sizeof who},
	};
	CK_ATTRIBUTE back = {CKA_VALUE, &who, sizeof who};
	CK_OBJECT_HANDLE object;

	OK(p11->C_CreateObject(session, template, 5, &object));
	who = 0;
	OK(p11->C_GetAttributeValue(session, object, &back, 1));
	CHECK(who == (CK_ULONG)getpid());
	if (token)
		atomic_fetch_add(&shared->objects, 1);
	else
		OK(p11->C_DestroyObject(session, object));
}

static CK_ULONG count(CK_SESSION_HANDLE session)
{
	CK_BBOOL yes = CK_TRUE;
	CK_ATTRIBUTE template[] = {
		{CKA_TOKEN, &yes, sizeof yes},
		{CKA_APPLICATION, (void *)application, sizeof application - 1},
	};
	CK_OBJECT_HANDLE found[64];
	CK_ULONG n, all = 0;

	OK(p11->C_FindObjectsInit(session, template, 2));
	do {
		OK(p11->C_FindObjects(session, found, 64, &n));
		all += n;
	} while (n > 0);
	OK(p11->C_FindObjectsFinal(session));
	return all;
}

/* work is one round of real calls. */
static void work(int objects)
{
	static const CK_BYTE abc[] = {0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea}; /* SHA-256("abc") begins so */
	CK_MECHANISM sha256 = {CKM_SHA256, NULL, 0};
	CK_SESSION_HANDLE session;
	CK_BYTE out[32];
	CK_ULONG n = sizeof out;
	CK_SLOT_ID slot;
	CK_INFO info;

	OK(p11->C_GetInfo(&info));
	CHECK(info.cryptokiVersion.major == 3);
	if (!first_slot(&slot)) {
		WANT(p11->C_OpenSession(0, CKF_SERIAL_SESSION, NULL, NULL, &session), CKR_SLOT_ID_INVALID);
		return;
	}
	OK(p11->C_OpenSession(slot, CKF_SERIAL_SESSION | (objects ? CKF_RW_SESSION : 0), NULL, NULL, &session));
	OK(p11->C_GenerateRandom(session, out, sizeof out));
	OK(p11->C_DigestInit(session, &sha256));
	OK(p11->C_Digest(session, (CK_BYTE *)"abc", 3, out, &n));
	CHECK(n == 32 && memcmp(out, abc, sizeof abc) == 0);
	if (objects) {
		create(session, CK_FALSE);
		create(session, CK_TRUE);
	}
	OK(p11->C_CloseSession(session));
}

static void *busy(void *arg)
{
	while (!atomic_load(&stop)) {
		work(0);
		atomic_fetch_add((atomic_long *)arg, 1);
	}
	return NULL;
}

static void *brief(void *arg)
{
	CK_INFO info;

	(void)arg;
	OK(p11->C_GetInfo(&info));
	return NULL;
}

/* come_and_go keeps the runtime's list of foreign threads in motion: a fork may find it locked, and then a signal handler
 * or the end of a thread that looks at it in the child waits for ever. */
static void *come_and_go(void *arg)
{
	pthread_t threads[4];

	while (!atomic_load(&stop)) {
		for (int i = 0; i < 4; i++)
			CHECK(pthread_create(&threads[i], NULL, brief, NULL) == 0);
		for (int i = 0; i < 4; i++)
			CHECK(pthread_join(threads[i], NULL) == 0);
		atomic_fetch_add((atomic_long *)arg, 1);
	}
	return NULL;
}

static pthread_barrier_t together;
static atomic_int initialised;

static void *user(void *arg)
{
	CK_C_INITIALIZE_ARGS args = {.flags = CKF_OS_LOCKING_OK};
	int64_t begin;
	CK_RV rv;

	(void)arg;
	pthread_barrier_wait(&together);
	begin = nanoseconds();
	rv = p11->C_Initialize(&args);
	if (rv == CKR_OK) {
		shared->first[atomic_fetch_add(&shared->firsts, 1) % MOST] = nanoseconds() - begin;
		atomic_fetch_add(&initialised, 1);
	} else {
		WANT(rv, CKR_CRYPTOKI_ALREADY_INITIALIZED);
	}
	for (int i = 0; i < 20; i++)
		work(with_objects && i == 0);
	return NULL;
}

static void finish(pid_t pid, enum kind kind)
{
	int status, want_signal = kind == FAULTS ? SIGSEGV : kind == WRITES_TO_NOBODY ? SIGPIPE : 0;

	CHECK(waitpid(pid, &status, 0) == pid);
	if (want_signal ? !(WIFSIGNALED(status) && WTERMSIG(status) == want_signal) : status != 0)
		failed(__FILE__, __LINE__, "child %d (%s): wait status 0x%x", (int)pid, kind_name[kind], status);
}

/* uses is a child that works: it sees a library that is not initialised, and one that works once it is. */
static void uses(int depth)
{
	CK_FUNCTION_LIST *list = NULL;
	CK_INTERFACE *interface = NULL;
	CK_SESSION_HANDLE session = 1;
	pthread_t threads[THREADS];
	CK_INFO info;
	pid_t pid = -1;

	WANT(p11->C_GetInfo(&info), CKR_CRYPTOKI_NOT_INITIALIZED);
	WANT(p11->C_CloseSession(session), CKR_CRYPTOKI_NOT_INITIALIZED);
	WANT(p11->C_Finalize(NULL), CKR_CRYPTOKI_NOT_INITIALIZED);
	OK(p11->C_GetFunctionList(&list));
	CHECK(list == list_of_parent);
	OK(p11->C_GetInterface(NULL, NULL, &interface, 0));
	CHECK(interface->pFunctionList == p11);

	atomic_store(&initialised, 0);
	CHECK(pthread_barrier_init(&together, NULL, THREADS) == 0);
	for (int i = 0; i < THREADS; i++)
		CHECK(pthread_create(&threads[i], NULL, user, NULL) == 0);
	if (depth > 0) {
		/* While the threads are somewhere in it, the opening of the private copy included. */
		usleep(random() % 8000);
		pid = fork();
		CHECK(pid >= 0);
		if (pid == 0) {
			alarm(PATIENCE);
			uses(depth - 1);
			_exit(0);
		}
	}
	for (int i = 0; i < THREADS; i++)
		CHECK(pthread_join(threads[i], NULL) == 0);
	CHECK(atomic_load(&initialised) == 1);
	if (pid > 0)
		finish(pid, USES);
	OK(p11->C_Finalize(NULL));
	WANT(p11->C_GetInfo(&info), CKR_CRYPTOKI_NOT_INITIALIZED);
	OK(p11->C_Initialize(NULL));
	work(0);
	OK(p11->C_Finalize(NULL));
}

static void *calls_and_forks(void *arg)
{
	work(0);
	*(pid_t *)arg = fork();
	if (*(pid_t *)arg == 0)
		alarm(PATIENCE);
	/* In the child this thread, which has been in Go, is the only one, and ends like any other. */
	return NULL;
}

static void child(enum kind kind, int number)
{
	const struct rlimit no_core = {0, 0};
	int ends[2];

	alarm(PATIENCE);
	switch (kind) {
	case NEVER_CALLS:
		break;
	case URGENT:
		for (int i = 0; i < 100; i++)
			CHECK(kill(getpid(), SIGURG) == 0);
		break;
	case FAULTS:
		setrlimit(RLIMIT_CORE, &no_core);
		*(volatile int *)(uintptr_t)(number % 2 ? 8 : 0x7000deadbee8) = 1;
		break;
	case WRITES_TO_NOBODY:
		CHECK(pipe(ends) == 0 && close(ends[0]) == 0);
		CHECK(write(ends[1], "x", 1) == 1);
		break;
	default:
		uses(number % 5 == 0 ? 2 : 0);
	}
	if (number % 2)
		_exit(0);
	exit(0);
}

static pid_t start(enum kind kind, int number)
{
	pthread_t thread;
	pid_t pid;

	switch (kind) {
	case ENDS_A_THREAD:
		CHECK(pthread_create(&thread, NULL, calls_and_forks, &pid) == 0);
		CHECK(pthread_join(thread, NULL) == 0);
		CHECK(pid > 0);
		return pid;
	case BARE_FORK:
		/* No fork handlers, and locks of the C library as they happened to be: only what needs none is asked. */
		pid = syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
		if (pid == 0) {
			CK_SESSION_HANDLE session = 1;

			alarm(PATIENCE);
			WANT(p11->C_CloseSession(session), CKR_CRYPTOKI_NOT_INITIALIZED);
			_exit(0);
		}
		break;
	default:
		pid = fork();
		if (pid == 0)
			child(kind, number);
	}
	CHECK(pid > 0);
	return pid;
}

static int ascending(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return x < y ? -1 : x > y;
}

static void report(int forks)
{
	long n = atomic_load(&shared->firsts), all = 0;

	if (n > MOST)
		n = MOST;
	qsort(shared->first, n, sizeof shared->first[0], ascending);
	for (int i = 0; i < BUSY; i++)
		all += atomic_load(&rounds[i]);
	printf("%d forks, %ld rounds in the parent meanwhile; first C_Initialize in %ld children: "
	       "best %.1f ms, median %.1f ms, worst %.1f ms\n", forks, all, n, n ? shared->first[0] / 1e6 : 0.0,
	       n ? shared->first[n / 2] / 1e6 : 0.0, n ? shared->first[n - 1] / 1e6 : 0.0);
}

/* prepare gives the first slot a token that objects can be created in. */
static CK_SESSION_HANDLE prepare(void)
{
	CK_UTF8CHAR label[32], pin[] = "12345678";
	CK_SESSION_HANDLE session;
	CK_TOKEN_INFO info;
	CK_SLOT_ID slot;

	CHECK(first_slot(&slot));
	OK(p11->C_GetTokenInfo(slot, &info));
	if (!(info.flags & CKF_TOKEN_INITIALIZED)) {
		memset(label, ' ', sizeof label);
		memcpy(label, "fork", 4);
		OK(p11->C_InitToken(slot, pin, 8, label));
		OK(p11->C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &session));
		OK(p11->C_Login(session, CKU_SO, pin, 8));
		OK(p11->C_InitPIN(session, pin, 8));
		OK(p11->C_Logout(session));
		OK(p11->C_CloseSession(session));
	}
	OK(p11->C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &session));
	return session;
}

int main(int argc, char **argv)
{
	int forks = argc > 2 ? atoi(argv[2]) : 500;
	CK_SESSION_HANDLE session = 0;
	CK_ULONG before = 0;
	pthread_t threads[BUSY];
	pid_t pids[AT_ONCE];
	enum kind kinds[AT_ONCE];

	CHECK(argc > 1);
	shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(shared != MAP_FAILED);
	load_module(argv[1]);
	OK(p11->C_GetFunctionList(&list_of_parent));
	OK(p11->C_Initialize(NULL));
	if (getenv("CAPI_OBJECTS")) {
		with_objects = 1;
		session = prepare();
		before = count(session);
	}
	for (int i = 0; i < BUSY; i++)
		CHECK(pthread_create(&threads[i], NULL, i < WORKING ? busy : come_and_go, &rounds[i]) == 0);

	for (int i = 0; i < forks + AT_ONCE; i++) {
		int at = i % AT_ONCE;

		if (i >= AT_ONCE)
			finish(pids[at], kinds[at]);
		if (i < forks) {
			/* Two of three use the library. */
			kinds[at] = i % 3 ? USES : 1 + i / 3 % (NKINDS - 1);
			pids[at] = start(kinds[at], i);
			if (with_objects)
				create(session, CK_TRUE);
		}
	}

	atomic_store(&stop, 1);
	for (int i = 0; i < BUSY; i++) {
		CHECK(pthread_join(threads[i], NULL) == 0);
		CHECK(atomic_load(&rounds[i]) > 0);
	}
	work(0);
	if (with_objects) {
		CK_ULONG now = count(session);

		if (now - before != (CK_ULONG)atomic_load(&shared->objects))
			failed(__FILE__, __LINE__, "%lu objects, expected %ld", now - before, atomic_load(&shared->objects));
		printf("%lu objects\n", now - before);
	}
	OK(p11->C_Finalize(NULL));
	report(forks);
	return 0;
}
