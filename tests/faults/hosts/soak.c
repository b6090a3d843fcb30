/* Session objects are made, used and destroyed, and sessions opened and closed, over and over; the memory of the process
 * must not grow with that. Arguments: the module, the PIN, the cycles. */
#include "token.h"

/* resident is the process's memory in KiB. */
static long resident(void)
{
	FILE *f = fopen("/proc/self/statm", "r");
	long size, pages;

	CHECK(f != NULL);
	CHECK(fscanf(f, "%ld %ld", &size, &pages) == 2);
	fclose(f);
	return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

static void cycle(int i)
{
	CK_OBJECT_HANDLE public, private, key;
	CK_SESSION_HANDLE session;
	char text[MAX_TEXT];

	OK(open_session(&session, CKF_RW_SESSION));
	OK(make_pair(session, "session", CK_FALSE, &public, &private));
	OK(sign_and_verify(session, private, public));
	OK(make_aes(session, "session", CK_FALSE, &key));
	OK(encrypt_with(session, "aes1", text));
	OK(sign_with(session, "pair"));
	if (i % 2) { /* the other half goes with its session */
		OK(p11->C_DestroyObject(session, private));
		OK(p11->C_DestroyObject(session, public));
		OK(p11->C_DestroyObject(session, key));
	}
	if (i % 50 == 0) {
		OK(make_aes(session, "passing", CK_TRUE, &key));
		OK(p11->C_DestroyObject(session, key));
	}
	if (i % 7 == 0) { /* left running when the session is closed */
		CK_MECHANISM ecdsa = {CKM_ECDSA, NULL, 0};
		CK_ATTRIBUTE all[] = {ATTR(CKA_TOKEN, yes)};

		OK(find_one(session, "pair", CKO_PRIVATE_KEY, &private));
		OK(p11->C_SignInit(session, &ecdsa, private));
		OK(p11->C_FindObjectsInit(session, all, 1));
	}
	OK(p11->C_CloseSession(session));
}

int main(int argc, char **argv)
{
	long cycles, least[5] = {0}, most = 0;
	CK_SESSION_HANDLE session;

	CHECK(argc == 4);
	load_module(argv[1]);
	cycles = atol(argv[3]);
	CHECK(cycles >= 20000); /* fewer may end before the first garbage is collected */
	OK(initialize());
	OK(open_session(&session, 0));
	OK(login(session, CKU_USER, argv[2]));
	/* What is garbage and not yet collected comes and goes, so the least of each fifth counts. */
	for (long i = 0; i < cycles; i++) {
		cycle(i);
		if (i % 20 == 0) {
			long now = resident(), *fifth = &least[i * 5 / cycles];

			most = now > most ? now : most;
			*fifth = !*fifth || now < *fifth ? now : *fifth;
		}
	}
	say("%ld cycles: least memory by fifths %ld %ld %ld %ld %ld KiB, most %ld KiB", cycles, least[0], least[1], least[2], least[3],
	    least[4], most);
	if (least[4] > least[1] + 16 * 1024)
		failed("the memory grew by %ld KiB", least[4] - least[1]);
	OK(p11->C_Finalize(NULL));
	return 0;
}
