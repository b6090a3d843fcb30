/* An application that does what it is told: each line of input is a command, each answered by a line with the return
 * value in hexadecimal, and what was read. "list" and "flags" answer with more. It holds one session. */
#include "token.h"
#include <fcntl.h>

static CK_SESSION_HANDLE session;

/* setup makes a token with both PINs, from nothing. */
static CK_RV setup(const char *so, const char *user)
{
	CK_UTF8CHAR label[32];
	CK_RV rv;

	memset(label, ' ', sizeof label);
	memcpy(label, "faults", 6);
	if ((rv = p11->C_InitToken(0, (CK_UTF8CHAR *)so, strlen(so), label)) || !*user)
		return rv;
	if ((rv = open_session(&session, CKF_RW_SESSION)) || (rv = login(session, CKU_SO, so)))
		return rv;
	rv = p11->C_InitPIN(session, (CK_UTF8CHAR *)user, strlen(user));
	return rv ? rv : p11->C_CloseSession(session);
}

static CK_RV flags(char *text)
{
	CK_TOKEN_INFO info;
	CK_RV rv = p11->C_GetTokenInfo(0, &info);

	if (!rv)
		sprintf(text, "%lx %.16s", info.flags, info.serialNumber);
	return rv;
}

static CK_RV slots(char *text)
{
	CK_ULONG n;
	CK_RV rv = p11->C_GetSlotList(CK_TRUE, NULL, &n);

	if (!rv)
		sprintf(text, "%lu", n);
	return rv;
}

/* list prints a line for each token object: its class, its label and, of data, the value. */
static CK_RV list(void)
{
	static CK_OBJECT_HANDLE found[MAX_FOUND];
	CK_ULONG n;
	CK_RV rv = find(session, NULL, -1, found, &n);

	for (CK_ULONG i = 0; !rv && i < n; i++) {
		char label[MAX_TEXT], value[MAX_TEXT] = "";
		CK_OBJECT_CLASS class;

		if ((rv = get_class(session, found[i], &class)) || (rv = get_text(session, found[i], CKA_LABEL, label)))
			return rv;
		if (class == CKO_DATA && (rv = get_text(session, found[i], CKA_VALUE, value)))
			return rv;
		say("- %lx %s %s", class, label, value);
	}
	return rv;
}

static CK_RV value(const char *label, char *text)
{
	CK_OBJECT_HANDLE object;
	CK_RV rv = find_one(session, label, CKO_DATA, &object);

	return rv ? rv : get_text(session, object, CKA_VALUE, text);
}

static CK_RV set(const char *label, const char *text)
{
	CK_OBJECT_HANDLE object;
	CK_RV rv = find_one(session, label, CKO_DATA, &object);

	return rv ? rv : set_text(session, object, CKA_VALUE, text);
}

static CK_RV destroy(const char *label)
{
	static CK_OBJECT_HANDLE found[MAX_FOUND];
	CK_ULONG n;
	CK_RV rv = find(session, label, -1, found, &n);

	for (CK_ULONG i = 0; !rv && i < n; i++)
		rv = p11->C_DestroyObject(session, found[i]);
	return rv || n ? rv : CKR_OBJECT_HANDLE_INVALID;
}

static CK_OBJECT_HANDLE kept_public, kept_private;

/* keep notes the handles of a pair, so that "kept" can use them later without another search. */
static CK_RV keep(const char *label)
{
	CK_RV rv = find_one(session, label, CKO_PRIVATE_KEY, &kept_private);

	return rv ? rv : find_one(session, label, CKO_PUBLIC_KEY, &kept_public);
}

/* fill writes a file until the disk is full, down to the last byte. */
static CK_RV fill(const char *path)
{
	static char block[4096];
	int fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);

	CHECK(fd >= 0);
	for (size_t size = sizeof block; size > 0; size /= 2)
		while (write(fd, block, size) == (ssize_t)size)
			;
	CHECK(errno == ENOSPC);
	CHECK(close(fd) == 0);
	return CKR_OK;
}

static CK_RV command(const char *verb, const char *a, const char *b, char *text)
{
	CK_OBJECT_HANDLE one, two;

#define IS(name) (strcmp(verb, name) == 0)
	if (IS("init"))
		return initialize();
	if (IS("fini"))
		return p11->C_Finalize(NULL);
	if (IS("setup"))
		return setup(a, b);
	if (IS("flags"))
		return flags(text);
	if (IS("slots"))
		return slots(text);
	if (IS("open"))
		return open_session(&session, *a == 'w' ? CKF_RW_SESSION : 0);
	if (IS("close"))
		return p11->C_CloseSession(session);
	if (IS("login"))
		return login(session, *a == 's' ? CKU_SO : CKU_USER, b);
	if (IS("logout"))
		return p11->C_Logout(session);
	if (IS("initpin"))
		return p11->C_InitPIN(session, (CK_UTF8CHAR *)a, strlen(a));
	if (IS("setpin"))
		return p11->C_SetPIN(session, (CK_UTF8CHAR *)a, strlen(a), (CK_UTF8CHAR *)b, strlen(b));
	if (IS("data"))
		return make_data(session, a, b, CK_FALSE);
	if (IS("secret"))
		return make_data(session, a, b, CK_TRUE);
	if (IS("aes"))
		return make_aes(session, a, CK_TRUE, &one);
	if (IS("pair"))
		return make_pair(session, a, CK_TRUE, &one, &two);
	if (IS("list"))
		return list();
	if (IS("value"))
		return value(a, text);
	if (IS("set"))
		return set(a, b);
	if (IS("destroy"))
		return destroy(a);
	if (IS("sign"))
		return sign_with(session, a);
	if (IS("keep"))
		return keep(a);
	if (IS("kept"))
		return sign_and_verify(session, kept_private, kept_public);
	if (IS("encrypt"))
		return encrypt_with(session, a, text);
	if (IS("fill"))
		return fill(a);
	if (IS("unlink"))
		return unlink(a) ? CKR_GENERAL_ERROR : CKR_OK;
	failed("no command %s", verb);
}

int main(int argc, char **argv)
{
	static char line[4 * MAX_TEXT];

	CHECK(argc == 2);
	load_module(argv[1]);
	while (fgets(line, sizeof line, stdin)) {
		char verb[MAX_TEXT] = "", a[MAX_TEXT] = "", b[MAX_TEXT] = "", text[MAX_TEXT] = "";
		CK_RV rv;

		sscanf(line, "%511s %511s %511s", verb, a, b);
		rv = command(verb, a, b, text);
		say("%lx %s", rv, text);
	}
	return 0;
}
