/* Threads of one process, each with a session of its own, make token keys at once, sign, find and destroy. Then, round
 * after round, C_Finalize comes while they are at it. Arguments: the module, the PIN, the threads, the keys of each, the
 * rounds. */
#include "token.h"
#include <time.h>

static int keys;
static volatile int made;

static int64_t milliseconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * INT64_C(1000) + t.tv_nsec / 1000000;
}

static void *use_keys(void *arg)
{
	CK_OBJECT_HANDLE public, private, one;
	CK_SESSION_HANDLE session;
	char label[32];

	OK(open_session(&session, CKF_RW_SESSION));
	for (int i = 0; i < keys; i++) {
		snprintf(label, sizeof label, "t%d-%d", (int)(intptr_t)arg, i);
		OK(make_pair(session, label, CK_TRUE, &public, &private));
		OK(sign_and_verify(session, private, public));
		OK(find_one(session, label, CKO_PRIVATE_KEY, &one));
		CHECK(one == private);
		OK(p11->C_DestroyObject(session, private));
		WANT(find_one(session, label, CKO_PRIVATE_KEY, &one), CKR_OBJECT_HANDLE_INVALID);
		OK(find_one(session, label, CKO_PUBLIC_KEY, &one));
		OK(p11->C_DestroyObject(session, public));
		__sync_fetch_and_add(&made, 1);
	}
	OK(p11->C_CloseSession(session));
	return NULL;
}

/* ended reports an answer that tells that C_Finalize has come; any other that is not CKR_OK is wrong. */
static int ended(CK_RV rv)
{
	if (rv == CKR_CRYPTOKI_NOT_INITIALIZED || rv == CKR_SESSION_HANDLE_INVALID || rv == CKR_SESSION_CLOSED ||
	    rv == CKR_USER_NOT_LOGGED_IN || rv == CKR_OBJECT_HANDLE_INVALID || rv == CKR_KEY_HANDLE_INVALID)
		return 1;
	if (rv)
		failed("while C_Finalize comes: 0x%lx", rv);
	return 0;
}

static void *until_the_end(void *arg)
{
	CK_OBJECT_HANDLE public, private, one;
	CK_SESSION_HANDLE session;
	CK_TOKEN_INFO info;
	char label[32];
	CK_RV rv = open_session(&session, CKF_RW_SESSION);

	for (int i = 0; !ended(rv); i++) {
		snprintf(label, sizeof label, "f%d-%d", (int)(intptr_t)arg, i);
		if ((rv = make_pair(session, label, i % 4 == 0, &public, &private)) || (rv = sign_and_verify(session, private, public)))
			continue;
		if ((rv = find_one(session, "pair", CKO_PRIVATE_KEY, &one)) || (rv = p11->C_GetTokenInfo(0, &info)))
			continue;
		if ((rv = p11->C_DestroyObject(session, private)) || (rv = p11->C_DestroyObject(session, public)))
			continue;
		__sync_fetch_and_add(&made, 1);
	}
	return NULL;
}

static void run(int threads, void *(*f)(void *), const char *pin, int end_after)
{
	pthread_t all[threads];
	CK_SESSION_HANDLE session;

	OK(initialize());
	OK(open_session(&session, 0));
	OK(login(session, CKU_USER, pin));
	made = 0;
	for (int i = 0; i < threads; i++)
		CHECK(pthread_create(&all[i], NULL, f, (void *)(intptr_t)i) == 0);
	if (end_after) {
		while (made < end_after)
			usleep(200);
		OK(p11->C_Finalize(NULL));
		WANT(p11->C_Finalize(NULL), CKR_CRYPTOKI_NOT_INITIALIZED);
	}
	for (int i = 0; i < threads; i++)
		pthread_join(all[i], NULL);
	if (!end_after)
		OK(p11->C_Finalize(NULL));
}

int main(int argc, char **argv)
{
	int64_t start = milliseconds();
	int threads;

	CHECK(argc == 6);
	load_module(argv[1]);
	threads = atoi(argv[3]);
	keys = atoi(argv[4]);
	run(threads, use_keys, argv[2], 0);
	say("%d pairs by %d threads in %ld ms", made, threads, (long)(milliseconds() - start));
	for (int i = 0; i < atoi(argv[5]); i++)
		run(threads, until_the_end, argv[2], 1 + i * 7 % 20);
	say("finalized %s times", argv[5]);
	return 0;
}
