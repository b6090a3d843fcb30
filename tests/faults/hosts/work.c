/* A process that is to be killed: two threads make, change and destroy key pairs and data objects, each its own, until
 * the end that never comes. A line says what is begun, and one that it was answered CKR_OK:
 *
 *	? THREAD VERB LABEL VALUE
 *	! THREAD VERB LABEL VALUE
 *
 * Arguments: the module, the PIN, a number that no earlier run had, a seed. */
#include "token.h"

#define OWN 12 /* objects of a thread at one time */

static const char *run;
static unsigned seed;

struct thing {
	char label[32];
	int pair, version;
};

static void done(CK_RV rv, const char *text)
{
	if (rv)
		failed("%s: 0x%lx", text, rv);
	say("! %s", text);
}

/* one does one thing, of which it tells before and after. */
static void one(CK_SESSION_HANDLE session, int thread, struct thing *t, unsigned dice, int number)
{
	CK_OBJECT_HANDLE object, public, private;
	char text[160], value[64];

	if (!t->label[0]) {
		snprintf(t->label, sizeof t->label, "r%s-t%d-%d", run, thread, number);
		t->pair = dice % 2;
		t->version = 0;
		snprintf(value, sizeof value, "%s=0", t->label);
		snprintf(text, sizeof text, "%d %s %s %s", thread, t->pair ? "pair" : "data", t->label, t->pair ? "" : value);
		say("? %s", text);
		done(t->pair ? make_pair(session, t->label, CK_TRUE, &public, &private)
			     : make_data(session, t->label, value, dice % 4 < 2), text);
		return;
	}
	if (!t->pair && dice % 3) {
		OK(find_one(session, t->label, CKO_DATA, &object));
		snprintf(value, sizeof value, "%s=%d", t->label, ++t->version);
		snprintf(text, sizeof text, "%d set %s %s", thread, t->label, value);
		say("? %s", text);
		done(set_text(session, object, CKA_VALUE, value), text);
		return;
	}
	/* A pair is destroyed in two acts. */
	OK(find_one(session, t->label, t->pair ? CKO_PRIVATE_KEY : CKO_DATA, &object));
	if (t->pair) {
		OK(find_one(session, t->label, CKO_PUBLIC_KEY, &public));
		OK(sign_and_verify(session, object, public));
		snprintf(text, sizeof text, "%d half %s", thread, t->label);
		say("? %s", text);
		done(p11->C_DestroyObject(session, public), text);
	}
	snprintf(text, sizeof text, "%d destroy %s", thread, t->label);
	say("? %s", text);
	done(p11->C_DestroyObject(session, object), text);
	t->label[0] = 0;
}

static void *work(void *arg)
{
	int thread = (int)(intptr_t)arg;
	unsigned state = seed + thread;
	struct thing things[OWN] = {0};
	CK_SESSION_HANDLE session;

	OK(open_session(&session, CKF_RW_SESSION));
	for (int number = 0;; number++)
		one(session, thread, &things[rand_r(&state) % OWN], rand_r(&state) >> 4, number);
	return NULL;
}

int main(int argc, char **argv)
{
	CK_SESSION_HANDLE session;
	pthread_t second;

	CHECK(argc == 5);
	load_module(argv[1]);
	run = argv[3];
	seed = strtoul(argv[4], NULL, 10);
	OK(initialize());
	OK(open_session(&session, CKF_RW_SESSION));
	OK(login(session, CKU_USER, argv[2]));
	say("ready");
	CHECK(pthread_create(&second, NULL, work, (void *)1) == 0);
	work((void *)0);
}
