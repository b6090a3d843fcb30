/* One of several processes on one token. Objects go round the ring of processes: each makes some, every other one finds
 * them as soon as it hears of them, with the value that they were said to have, changes them, and the last one destroys
 * half of them. A second thread of each process makes, changes and destroys objects of its own meanwhile, and changes
 * one object that all processes share.
 *
 * Arguments: the module, the PIN, this process's number, how many there are, how many objects each makes. Descriptor 3
 * leads to the next process, 4 comes from the one before. */
#include "token.h"

#define LAST_HOP 4

static int self, processes, objects;

/* news is what is said of an object: hop is how many have had it. */
static void tell(const char *label, int hop)
{
	char text[64];
	int n = snprintf(text, sizeof text, "%s %d\n", label, hop);

	CHECK(write(3, text, n) == n);
}

static void value_after(char text[MAX_TEXT], const char *label, int hop) { snprintf(text, MAX_TEXT, "%s/%d", label, hop); }

/* meet handles an object that the process before has just made or changed. */
static void meet(CK_SESSION_HANDLE session, const char *label, int hop)
{
	CK_OBJECT_HANDLE object, public;
	char want[MAX_TEXT], got[MAX_TEXT];
	int number = atoi(strchr(label, '-') + 1);

	if (hop == LAST_HOP) { /* back where it came from */
		CK_RV rv = find_one(session, label, CKO_DATA, &object);

		if (rv != (number % 2 ? CKR_OK : CKR_OBJECT_HANDLE_INVALID))
			failed("%s came back: 0x%lx", label, rv);
		return;
	}
	OK(find_one(session, label, CKO_DATA, &object));
	OK(get_text(session, object, CKA_VALUE, got));
	value_after(want, label, hop);
	if (strcmp(got, want))
		failed("%s holds %s, announced was %s", label, got, want);
	value_after(want, label, hop + 1);
	OK(set_text(session, object, CKA_VALUE, want));
	if (hop == 1 && number % 10 == 1) { /* a key of another process */
		OK(find_one(session, label, CKO_PRIVATE_KEY, &object));
		OK(find_one(session, label, CKO_PUBLIC_KEY, &public));
		OK(sign_and_verify(session, object, public));
	}
	if (hop == LAST_HOP - 1 && number % 2 == 0) {
		OK(p11->C_DestroyObject(session, object));
		WANT(find_one(session, label, CKO_DATA, &object), CKR_OBJECT_HANDLE_INVALID);
	}
	tell(label, hop + 1);
}

/* passes is the thread that makes the objects of this process and meets those of the others. */
static void *pass(void *unused)
{
	FILE *before = fdopen(4, "r");
	CK_SESSION_HANDLE session;
	CK_OBJECT_HANDLE public, private;
	char label[64], value[MAX_TEXT];
	int made = 0, met = 0, hop;

	(void)unused;
	OK(open_session(&session, CKF_RW_SESSION));
	/* Each object of this process and of the others comes by once, and the own ones once more at the end. */
	while (made < objects || met < objects * processes) {
		if (made < objects) {
			snprintf(label, sizeof label, "p%d-%d", self, made);
			value_after(value, label, 1);
			OK(make_data(session, label, value, made % 3 ? CK_TRUE : CK_FALSE));
			if (made % 10 == 1)
				OK(make_pair(session, label, CK_TRUE, &public, &private));
			tell(label, 1);
			made++;
		}
		CHECK(fscanf(before, "%63s %d", label, &hop) == 2);
		meet(session, label, hop);
		met++;
	}
	return NULL;
}

/* churn is the other thread. */
static void *churn(void *unused)
{
	CK_SESSION_HANDLE session;
	CK_OBJECT_HANDLE object, found;
	char label[64], value[MAX_TEXT];

	(void)unused;
	OK(open_session(&session, CKF_RW_SESSION));
	for (int i = 0; i < objects; i++) {
		snprintf(label, sizeof label, "own%d-%d", self, i);
		OK(make_aes(session, label, CK_TRUE, &object));
		OK(find_one(session, label, CKO_SECRET_KEY, &found));
		CHECK(found == object);
		OK(encrypt_with(session, label, value));
		OK(set_text(session, object, CKA_ID, label));
		OK(find_one(session, "shared", CKO_DATA, &found));
		snprintf(value, sizeof value, "p%d at %d", self, i);
		OK(set_text(session, found, CKA_VALUE, value));
		OK(get_text(session, found, CKA_VALUE, value));
		OK(p11->C_DestroyObject(session, object));
		WANT(find_one(session, label, CKO_SECRET_KEY, &found), CKR_OBJECT_HANDLE_INVALID);
		WANT(get_text(session, object, CKA_LABEL, value), CKR_OBJECT_HANDLE_INVALID);
	}
	return NULL;
}

static void report(CK_SESSION_HANDLE session)
{
	static CK_OBJECT_HANDLE found[MAX_FOUND];
	CK_ULONG n;

	OK(find(session, NULL, -1, found, &n));
	for (CK_ULONG i = 0; i < n; i++) {
		char label[MAX_TEXT], value[MAX_TEXT] = "";
		CK_OBJECT_CLASS class;

		OK(get_class(session, found[i], &class));
		OK(get_text(session, found[i], CKA_LABEL, label));
		if (class == CKO_DATA)
			OK(get_text(session, found[i], CKA_VALUE, value));
		say("- %lx %s %s", class, label, value);
	}
}

int main(int argc, char **argv)
{
	CK_SESSION_HANDLE session;
	pthread_t threads[2];

	CHECK(argc == 6);
	load_module(argv[1]);
	self = atoi(argv[3]);
	processes = atoi(argv[4]);
	objects = atoi(argv[5]);
	CHECK(processes == LAST_HOP);
	OK(initialize());
	OK(open_session(&session, 0));
	OK(login(session, CKU_USER, argv[2]));
	say("ready");
	CHECK(getchar() == 'g');
	CHECK(pthread_create(&threads[0], NULL, pass, NULL) == 0);
	CHECK(pthread_create(&threads[1], NULL, churn, NULL) == 0);
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	say("done");
	CHECK(getchar() == 'r'); /* when all are done */
	report(session);
	say("end");
	CHECK(getchar() == EOF);
	OK(p11->C_Finalize(NULL));
	return 0;
}
