/* Threads of one process sign with RSA keys at once, so that signatures are computed several at a time, and check each.
 * Meanwhile the process forks: its children do the same. Then, round after round, C_Finalize comes while they are at it.
 * Arguments: the module, the PIN, the threads, the signatures of each, the forks, the rounds. */
#include "token.h"
#include <sys/wait.h>

enum { KEYS = 3, MOST = 64 };

static struct pair {
	CK_OBJECT_HANDLE public, private;
} pairs[KEYS];

static int signatures; /* 0: until C_Finalize */
static volatile int made;

static void make_rsa(CK_SESSION_HANDLE session, CK_ULONG bits, struct pair *pair)
{
	CK_MECHANISM generate = {CKM_RSA_PKCS_KEY_PAIR_GEN, NULL, 0};
	CK_ATTRIBUTE of_public[] = {ATTR(CKA_MODULUS_BITS, bits), ATTR(CKA_VERIFY, yes)};
	CK_ATTRIBUTE of_private[] = {ATTR(CKA_PRIVATE, yes), ATTR(CKA_SENSITIVE, yes), ATTR(CKA_SIGN, yes)};

	OK(p11->C_GenerateKeyPair(session, &generate, of_public, 2, of_private, 3, &pair->public, &pair->private));
}

/* one makes a signature of its own message and checks it. */
static CK_RV one(CK_SESSION_HANDLE session, const struct pair *pair, int message)
{
	CK_MECHANISM pkcs1 = {CKM_SHA256_RSA_PKCS, NULL, 0};
	CK_BYTE signature[512];
	CK_ULONG len = sizeof signature;
	CK_RV rv;

	if ((rv = p11->C_SignInit(session, &pkcs1, pair->private)) ||
	    (rv = p11->C_Sign(session, (CK_BYTE *)&message, sizeof message, signature, &len)) ||
	    (rv = p11->C_VerifyInit(session, &pkcs1, pair->public)))
		return rv;
	return p11->C_Verify(session, (CK_BYTE *)&message, sizeof message, signature, len);
}

static void *sign(void *arg)
{
	int me = (int)(intptr_t)arg;
	CK_SESSION_HANDLE session;
	CK_RV rv = open_session(&session, 0);

	for (int i = 0; rv == CKR_OK && (signatures == 0 || i < signatures); i++)
		if (!(rv = one(session, &pairs[me % KEYS], me << 16 | i)))
			__sync_fetch_and_add(&made, 1);
	if (signatures > 0) {
		OK(rv);
		OK(p11->C_CloseSession(session));
	} else if (rv != CKR_CRYPTOKI_NOT_INITIALIZED && rv != CKR_SESSION_HANDLE_INVALID && rv != CKR_SESSION_CLOSED &&
		   rv != CKR_USER_NOT_LOGGED_IN && rv != CKR_OBJECT_HANDLE_INVALID && rv != CKR_KEY_HANDLE_INVALID) {
		failed("while C_Finalize comes: 0x%lx", rv);
	}
	return NULL;
}

static void begin(const char *pin)
{
	CK_SESSION_HANDLE session;

	OK(initialize());
	OK(open_session(&session, 0));
	OK(login(session, CKU_USER, pin));
	for (int i = 0; i < KEYS; i++)
		make_rsa(session, i == 2 ? 3072 : 2048, &pairs[i]);
	made = 0;
}

/* run has threads sign. forks is how many children do the same meanwhile; end_after ends it when so many are made. */
static void run(int threads, const char *pin, int forks, int end_after)
{
	pthread_t all[MOST];
	pid_t children[MOST];
	int status;

	begin(pin);
	for (int i = 0; i < threads; i++)
		CHECK(pthread_create(&all[i], NULL, sign, (void *)(intptr_t)i) == 0);
	for (int i = 0; i < forks; i++) {
		CHECK((children[i] = fork()) >= 0);
		if (children[i] == 0) {
			alarm(100);
			run(threads, pin, 0, 0);
			_exit(0);
		}
	}
	if (end_after > 0) {
		while (made < end_after)
			usleep(200);
		OK(p11->C_Finalize(NULL));
	}
	for (int i = 0; i < threads; i++)
		pthread_join(all[i], NULL);
	for (int i = 0; i < forks; i++) {
		CHECK(waitpid(children[i], &status, 0) == children[i]);
		if (status != 0)
			failed("child %d ended with %#x", i, status);
	}
	if (end_after == 0)
		OK(p11->C_Finalize(NULL));
}

int main(int argc, char **argv)
{
	int threads, forks, rounds;

	CHECK(argc == 7);
	load_module(argv[1]);
	threads = atoi(argv[3]);
	signatures = atoi(argv[4]);
	forks = atoi(argv[5]);
	rounds = atoi(argv[6]);
	CHECK(threads <= MOST && forks <= MOST);
	alarm(110);
	run(threads, argv[2], forks, 0);
	CHECK(made == threads * signatures);
	say("%d signatures by %d threads, and as many by each of %d children", made, threads, forks);
	signatures = 0;
	for (int i = 0; i < rounds; i++)
		run(threads, argv[2], 0, 1 + i * 7 % 20);
	say("finalized %d times", rounds);
	return 0;
}
