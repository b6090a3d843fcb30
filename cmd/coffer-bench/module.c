/* The library and its token. What goes wrong here ends the program: nothing has been made on a token yet. */
#include <dlfcn.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include "bench.h"

void die(const char *format, ...)
{
	va_list args;

	fputs("coffer-bench: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	exit(1);
}

void die_rv(const struct host *h, CK_RV rv)
{
	die("%s answered %s", h->caller.call, rv_name(rv));
}

static void must(const struct host *h, CK_RV rv)
{
	if (rv != CKR_OK)
		die_rv(h, rv);
}

/* initialize calls C_Initialize. NSS's softokn refuses to be called without a text with the place of its token: it takes the
 * pointer in the place of pReserved, and looks at one more field behind it. Others are asked as the standard has it. */
static CK_RV initialize(struct host *h, const char *parameters)
{
	struct {
		CK_C_INITIALIZE_ARGS args;
		void *reserved;
	} with = {{.flags = CKF_OS_LOCKING_OK}, NULL};
	CK_RV rv = CALL(&h->caller, Initialize, &with);

	if (rv != CKR_ARGUMENTS_BAD || parameters == NULL)
		return rv;
	with.args.pReserved = (void *)parameters;
	return CALL(&h->caller, Initialize, &with);
}

void module_load(struct host *h, const char *path, const char *parameters)
{
	CK_C_GetFunctionList get;
	void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);

	if (library == NULL)
		die("%s", dlerror());
	*(void **)&get = dlsym(library, "C_GetFunctionList");
	if (get == NULL)
		die("%s has no C_GetFunctionList", path);
	h->caller.call = "C_GetFunctionList";
	must(h, get(&h->caller.p11));
	must(h, initialize(h, parameters));
}

/* print_text writes a field that is padded with blanks as a JSON string. */
static void print_text(FILE *to, const char *name, const CK_UTF8CHAR *text, size_t len)
{
	while (len > 0 && (text[len - 1] == ' ' || text[len - 1] == 0))
		len--;
	fprintf(to, "\"%s\":\"", name);
	for (size_t i = 0; i < len; i++) {
		if (text[i] < ' ' || text[i] == '"' || text[i] == '\\')
			fprintf(to, "\\u%04x", text[i]);
		else
			fputc(text[i], to);
	}
	fputc('"', to);
}

void module_info(const struct host *h, FILE *to, const char *path)
{
	struct caller c = h->caller;
	CK_INFO info;
	CK_RV rv = CALL(&c, GetInfo, &info);

	if (rv != CKR_OK)
		die("%s answered %s", c.call, rv_name(rv));
	fputc('{', to);
	print_text(to, "module", (const CK_UTF8CHAR *)path, strlen(path));
	fputc(',', to);
	print_text(to, "manufacturer", info.manufacturerID, sizeof info.manufacturerID);
	fputc(',', to);
	print_text(to, "description", info.libraryDescription, sizeof info.libraryDescription);
	fprintf(to, ",\"version\":\"%u.%u\",\"cryptoki\":\"%u.%u\"}\n", info.libraryVersion.major, info.libraryVersion.minor,
		info.cryptokiVersion.major, info.cryptokiVersion.minor);
	fflush(to);
}

static int has_label(const CK_TOKEN_INFO *t, const char *label)
{
	size_t len = strlen(label);

	if (len > sizeof t->label || memcmp(t->label, label, len) != 0)
		return 0;
	for (size_t i = len; i < sizeof t->label; i++)
		if (t->label[i] != ' ')
			return 0;
	return 1;
}

/* choose finds the slot: the one asked for, else the first whose token is initialised, or is not, as is wanted. */
static CK_SLOT_ID choose(struct host *h, const struct choice *c, int initialized)
{
	CK_ULONG count = 0;
	CK_SLOT_ID *slots, found;

	if (c->slot >= 0)
		return (CK_SLOT_ID)c->slot;
	must(h, CALL(&h->caller, GetSlotList, CK_TRUE, NULL, &count));
	slots = calloc(count + 1, sizeof *slots);
	if (slots == NULL)
		die("out of memory");
	must(h, CALL(&h->caller, GetSlotList, CK_TRUE, slots, &count));
	for (CK_ULONG i = 0; i < count; i++) {
		CK_TOKEN_INFO t;

		if (CALL(&h->caller, GetTokenInfo, slots[i], &t) != CKR_OK)
			continue;
		if (initialized != ((t.flags & CKF_TOKEN_INITIALIZED) != 0))
			continue;
		if (initialized && c->label != NULL && !has_label(&t, c->label))
			continue;
		found = slots[i];
		free(slots);
		return found;
	}
	if (c->label != NULL && initialized)
		die("there is no token labelled %s", c->label);
	die(initialized ? "there is no initialised token" : "there is no slot whose token is not initialised");
}

/* pin takes a PIN from the environment, where other users cannot read it. */
static CK_UTF8CHAR *pin(const char *variable)
{
	char *p = getenv(variable);

	if (p == NULL || *p == 0)
		die("%s is not set", variable);
	return (CK_UTF8CHAR *)p;
}

static void enter(struct host *h, CK_USER_TYPE user, CK_UTF8CHAR *p)
{
	struct caller *c = &h->caller;

	must(h, CALL(c, OpenSession, h->slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &c->session));
	must(h, CALL(c, Login, c->session, user, p, strlen((char *)p)));
}

/* module_init_token makes a token and sets its user's PIN. Where the security officer's PIN is set and empty, the token is
 * there already and has no PIN yet: NSS's. */
void module_init_token(struct host *h, const struct choice *choice, const char *label)
{
	static CK_UTF8CHAR none[1];
	struct caller *c = &h->caller;
	char *officer = getenv("COFFER_SO_PIN");
	CK_UTF8CHAR *so = officer != NULL && *officer == 0 ? none : pin("COFFER_SO_PIN");
	CK_UTF8CHAR *user = pin("COFFER_PIN"), padded[32];

	if (strlen(label) > sizeof padded)
		die("a token's label has at most %zu bytes", sizeof padded);
	memset(padded, ' ', sizeof padded);
	memcpy(padded, label, strlen(label));
	h->slot = choose(h, choice, 0);
	if (*so != 0)
		must(h, CALL(c, InitToken, h->slot, so, strlen((char *)so), padded));
	enter(h, CKU_SO, so);
	must(h, CALL(c, InitPIN, c->session, user, strlen((char *)user)));
	must(h, CALL(c, Logout, c->session));
	must(h, CALL(c, CloseSession, c->session));
}

void module_login(struct host *h, const struct choice *choice)
{
	h->slot = choose(h, choice, 1);
	enter(h, CKU_USER, pin("COFFER_PIN"));
}

void module_close(struct host *h)
{
	if (!h->leave_objects || h->current == NULL || !h->current->token)
		operation_end(h);
	h->caller.p11->C_CloseSession(h->caller.session);
	h->caller.p11->C_Finalize(NULL);
}
