/* sequence MODULE PIN MODE SEED ROUNDS SECONDS: every function of PKCS#11 3.2 in random order, with every mechanism that is
 * listed. MODE is
 *   lengths  parameter structs of every length from 0 to twice their size, and nothing else
 *   hostile  arguments and parameters that are right, wrong, or point to no memory
 *   honest   the same with pointers that may be followed, each piece of memory alone, for AddressSanitizer
 * SEED 0 chooses one, which is printed. ROUNDS 0 goes on for SECONDS. With SEQUENCE_TRACE set every call is printed first.
 *
 * Required: the process lives and no call lasts; the return value is the standard's, not CKR_GENERAL_ERROR, and one that
 * such a function may have; nothing is written but results, into the room that was given, and no output after a failure. */
#include "sequence_make.h"

static void *watch(void *unused)
{
	(void)unused;
	for (;;) {
		usleep(200000);
		int64_t begun = since;
		if (begun && nanoseconds() - begun > LONGEST * INT64_C(1000000000))
			failed(__FILE__, __LINE__, "seed %u, call %ld: %s lasts more than %d s", seed, rounds_done, now->name, LONGEST);
	}
	return NULL;
}

static int has(const char *roles)
{
	for (int i = 0; i < now->n; i++)
		if (strchr(roles, now->args[i].role))
			return 1;
	return 0;
}

/* fits says whether a function may give such an answer. */
static int fits(const char *name)
{
	if (strcmp(name, "CKR_GENERAL_ERROR") == 0 || strcmp(name, "CKR_HOST_MEMORY") == 0 || strcmp(name, "CKR_DEVICE_ERROR") == 0)
		return 0;
	if (is("C_AsyncComplete"))
		return 1; /* what the pending call has come to */
	if (begins(name, "CKR_BUFFER_TOO_SMALL"))
		return has("oHgF") || strstr(now->name, "Async") || is("C_DeriveKey");
	if (begins(name, "CKR_MECHANISM_"))
		return has("mMWp") || is("C_GetMechanismInfo");
	if (begins(name, "CKR_TEMPLATE_") || begins(name, "CKR_ATTRIBUTE_"))
		return has("tgmMW"); /* parameters may have templates too */
	if (begins(name, "CKR_SIGNATURE_"))
		return strstr(now->name, "Verify") != NULL;
	if (begins(name, "CKR_WRAPPED_KEY_"))
		return begins(now->name, "C_Unwrap") || is("C_DecapsulateKey");
	if (begins(name, "CKR_SAVED_STATE_"))
		return is("C_SetOperationState") || is("C_AsyncJoin");
	if (begins(name, "CKR_PIN_"))
		return strstr(now->name, "PIN") != NULL || begins(now->name, "C_Login") || is("C_InitToken");
	return 1;
}

static any_function nth(int i)
{
	any_function f;

	memcpy(&f, (char *)p11 + sizeof(void *) * (i + 1), sizeof f);
	return f;
}

static void check(CK_RV rv, const CK_ULONG *a)
{
	size_t i = 0;

	while (i < LENGTH(answers) && answers[i].rv != rv)
		i++;
	if (i == LENGTH(answers) || !fits(answers[i].name))
		failed(__FILE__, __LINE__, "seed %u, call %ld: %s(%lx, %lx, %lx, %lx, %lx, %lx) answers 0x%lx %s, mechanism 0x%lx", seed, rounds_done, now->name,
		       a[0], a[1], a[2], a[3], a[4], a[5], rv, i < LENGTH(answers) ? answers[i].name : "",
		       now->n > 1 && strchr("mMW", now->args[1].role) && in_arena((CK_BYTE *)a[1]) ? *(CK_ULONG *)a[1] : 0UL);
	counts[i]++;
	okays += rv == CKR_OK;
	worked[now - functions] += rv == CKR_OK;
	/* After success what is behind the output is as it was, after a failure all of it. */
	if (output.p && !async) {
		size_t from = rv == CKR_OK ? *output.length * output.unit : 0, room = output.room * output.unit;

		if (from > room)
			failed(__FILE__, __LINE__, "seed %u, call %ld: %s says %zu bytes in a room of %zu", seed, rounds_done, now->name, from, room);
		for (; from < room; from++)
			if (output.p[from] != 0xa5)
				failed(__FILE__, __LINE__, "seed %u, call %ld: %s answers 0x%lx and has written to byte %zu of its room", seed, rounds_done, now->name, rv, from);
	}
	if (!honest) {
		char what[100];
		snprintf(what, sizeof what, "seed %u, call %ld: %s, 0x%lx,", seed, rounds_done, now->name, rv);
		unchanged(what);
	}
}

/* made_key takes a key into the pool, in the place of another when that is full. */
static void made_key(CK_OBJECT_HANDLE h)
{
	if (nkeys < KEYS) {
		keys[nkeys++] = h;
		return;
	}
	CK_ULONG i = GOOD + below(KEYS - GOOD); /* the first ones are good keys and stay */
	if (h != keys[i])
		p11->C_DestroyObject(sessions[0], keys[i]);
	keys[i] = h;
}

static void make_keys(void)
{
	static const CK_BYTE p256[] = {6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7}, ed[] = {6, 3, 0x2b, 0x65, 0x70}, x[] = {6, 3, 0x2b, 0x65, 0x6e};
	static const struct { CK_MECHANISM_TYPE m; CK_ULONG number; const CK_BYTE *params; CK_ULONG n; CK_ATTRIBUTE_TYPE type; } kinds[] = {
		{CKM_AES_KEY_GEN, 16, NULL, 8, CKA_VALUE_LEN}, {CKM_AES_KEY_GEN, 32, NULL, 8, CKA_VALUE_LEN}, {CKM_GENERIC_SECRET_KEY_GEN, 48, NULL, 8, CKA_VALUE_LEN},
		{CKM_HKDF_KEY_GEN, 32, NULL, 8, CKA_VALUE_LEN}, {CKM_DES3_KEY_GEN, 0, NULL, 0, 0}, {CKM_CHACHA20_KEY_GEN, 0, NULL, 0, 0},
		{CKM_POLY1305_KEY_GEN, 0, NULL, 0, 0},
		{CKM_RSA_PKCS_KEY_PAIR_GEN, 2048, NULL, 8, CKA_MODULUS_BITS}, {CKM_EC_KEY_PAIR_GEN, 0, p256, sizeof p256, CKA_EC_PARAMS},
		{CKM_EC_EDWARDS_KEY_PAIR_GEN, 0, ed, sizeof ed, CKA_EC_PARAMS}, {CKM_EC_MONTGOMERY_KEY_PAIR_GEN, 0, x, sizeof x, CKA_EC_PARAMS},
		{CKM_ML_DSA_KEY_PAIR_GEN, 1, NULL, 8, CKA_PARAMETER_SET}, {CKM_ML_KEM_KEY_PAIR_GEN, 1, NULL, 8, CKA_PARAMETER_SET},
	};
	static CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
	/* What keys may do; a kind of key that may not do so is not made. */
	static const struct { CK_ATTRIBUTE_TYPE secret[5], public[2], private[2]; } uses[] = {
		{{CKA_ENCRYPT, CKA_DECRYPT, CKA_SIGN, CKA_VERIFY, CKA_DERIVE}, {CKA_ENCRYPT, CKA_VERIFY}, {CKA_DECRYPT, CKA_SIGN}},
		{{CKA_WRAP, CKA_UNWRAP}, {CKA_WRAP}, {CKA_UNWRAP}},
		{{CKA_DERIVE, CKA_DERIVE, CKA_DERIVE}, {CKA_ENCAPSULATE}, {CKA_DECAPSULATE}},
		{{CKA_SIGN, CKA_VERIFY}, {CKA_VERIFY}, {CKA_SIGN}},
		{{CKA_ENCRYPT, CKA_DECRYPT}, {0}, {CKA_DERIVE}},
	};

	for (size_t i = 0; i < LENGTH(kinds); i++) {
		for (size_t u = 0; u < LENGTH(uses) - (kinds[i].m == CKM_RSA_PKCS_KEY_PAIR_GEN ? 3 : 0); u++) {
			CK_MECHANISM m = {kinds[i].m, NULL, 0};
			CK_ATTRIBUTE t[10], public[4], private[5];
			CK_OBJECT_HANDLE h[2] = {0, 0};
			CK_ULONG n = 0, npublic = 0, nprivate = 0;
			CK_ATTRIBUTE what = {kinds[i].type, kinds[i].params ? (void *)kinds[i].params : (void *)&kinds[i].number, kinds[i].n};

			if (what.ulValueLen)
				t[n++] = public[npublic++] = what;
			t[n++] = private[nprivate++] = (CK_ATTRIBUTE){CKA_SENSITIVE, &no, 1};
			t[n++] = private[nprivate++] = (CK_ATTRIBUTE){CKA_EXTRACTABLE, &yes, 1};
			for (int j = 0; j < 5 && uses[u].secret[j] && (j == 0 || uses[u].secret[j] != uses[u].secret[j - 1]); j++)
				t[n++] = (CK_ATTRIBUTE){uses[u].secret[j], &yes, 1};
			for (int j = 0; j < 2; j++) {
				if (uses[u].public[j])
					public[npublic++] = (CK_ATTRIBUTE){uses[u].public[j], &yes, 1};
				if (uses[u].private[j])
					private[nprivate++] = (CK_ATTRIBUTE){uses[u].private[j], &yes, 1};
			}
			if (p11->C_GenerateKey(sessions[0], &m, t, n, &h[0]) != CKR_OK &&
			    p11->C_GenerateKeyPair(sessions[0], &m, public, npublic, private, nprivate, &h[0], &h[1]) != CKR_OK)
				continue;
			made_key(h[0]);
			if (h[1])
				made_key(h[1]);
		}
	}
	CHECK(nkeys >= FEW);
}

/* again brings back what a call may have ended: sessions, the login, keys. */
static void again(void)
{
	CK_SESSION_INFO info;
	CK_RV rv;

	for (int i = 0; i < SESSIONS; i++)
		if (p11->C_GetSessionInfo(sessions[i], &info) != CKR_OK)
			OK(p11->C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION | (i == ASYNC ? CKF_ASYNC_SESSION : 0), NULL, NULL, &sessions[i]));
	rv = p11->C_Login(sessions[0], CKU_USER, (CK_BYTE *)pin, strlen(pin));
	CHECK(rv == CKR_OK || rv == CKR_USER_ALREADY_LOGGED_IN);
	for (CK_ULONG i = 0; i < nkeys; i++) {
		CK_ULONG n;
		if (p11->C_GetObjectSize(sessions[0], keys[i], &n) == CKR_OBJECT_HANDLE_INVALID)
			keys[i--] = keys[--nkeys];
	}
	if (nkeys < FEW)
		make_keys();
}

static const struct function *choose(void)
{
	static const char *chapter;
	const struct function *f = &functions[below(FUNCTIONS)];

	for (int i = 0; i < 500 && chapter && !once_in(stay ? 200 : 3) && (strcmp(f->chapter, chapter) != 0 || (stay && strstr(f->name, "Init"))); i++)
		f = &functions[below(FUNCTIONS)];
	chapter = f->chapter;
	return f;
}

/* ends_much is what is done rarely, for after it a session, the login or keys are to be made anew. */
static int ends_much(void)
{
	return begins(now->name, "C_Close") || is("C_Logout") || is("C_DestroyObject") || is("C_InitToken") || strstr(now->name, "PIN");
}

static void one_call(void)
{
	CK_ULONG a[10];
	CK_RV rv;

	now = choose();
	if (is("C_Initialize") || is("C_Finalize") || is("C_GetFunctionList") || begins(now->name, "C_GetInterface") || (ends_much() && !once_in(300)))
		return;
	new_call();
	arguments(a);
	remember();
	if (tracing)
		printf("%ld %s %lx %lx %lx %lx %lx %lx\n", rounds_done, now->name, a[0], a[1], a[2], a[3], a[4], a[5]), fflush(stdout);
	since = nanoseconds();
	rv = nth(now - functions)(a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7], a[8], a[9]);
	if (tracing)
		printf("  0x%lx in %.3f ms\n", rv, (nanoseconds() - since) / 1e6), fflush(stdout);
	since = 0;
	check(rv, a);
	if (rv == CKR_OK && strcmp(now->chapter, "keys") == 0 && now->args[now->n - 1].role == 'w') {
		CK_OBJECT_HANDLE *h = (CK_OBJECT_HANDLE *)a[now->n - 1];

		if (h && (honest || in_arena((CK_BYTE *)h)) && *h != 0xa5a5a5a5a5a5a5a5)
			made_key(*h);
	}
	if (rv == CKR_OK && strstr(now->name, "Init") && now->args[0].role == 's')
		stay = a[0];
	else if ((rv != CKR_OK && rv != CKR_BUFFER_TOO_SMALL) || once_in(8))
		stay = 0;
	if (current && now->n > 2 && now->args[2].role == 'h' && (rv == CKR_OK || rv == CKR_BUFFER_TOO_SMALL || rv == CKR_WRAPPED_KEY_LEN_RANGE || rv == CKR_KEY_NOT_WRAPPABLE))
		liked[current - mechanisms][now - functions] = a[2];
	if (rv == CKR_OK && current && begins(now->name, "C_Message"))
		message = current;
	if (ends_much() || begins(now->name, "C_Login"))
		again();
	if (is("C_OpenSession") && rv == CKR_OK && a[4] && (honest || in_arena((CK_BYTE *)a[4])))
		p11->C_CloseSession(*(CK_SESSION_HANDLE *)a[4]);
}

/* parameter_lengths calls all functions that take a mechanism. A length that no version of the struct has is the only thing
 * wrong, and has its answer. */
static void parameter_lengths(void)
{
	long tried = 0;

	for (CK_ULONG i = 0; i < noffered; i++) {
		const struct mechanism *m = find(offered[i]);

		if (!m || m->layout < 0)
			continue;
		const struct layout *l = &layouts[m->layout];
		for (size_t n = 0; n <= 2 * l->size; n++) {
			for (size_t f = 0; f < FUNCTIONS; f++) {
				CK_ULONG a[10], *count = NULL;
				CK_RV rv;

				now = &functions[f];
				if (now->n < 2 || !strchr("mMW", now->args[1].role))
					continue;
				int own = now->args[1].role == 'M' && m->message >= 0;
				l = &layouts[own ? m->message : m->layout];
				int right = n == l->size || n == l->brief || (n == 0 && own && begins(now->name, "C_Message")) ||
				            (n == sizeof(CK_GCM_WRAP_PARAMS) && m->type == CKM_AES_GCM && now->args[1].role == 'W');
				new_call();
				memset(a, 0, sizeof a);
				CK_BYTE *whole = get(2 * l->size + sizeof(CK_GCM_WRAP_PARAMS));
				fill(m->layout, whole, 0);
				CK_BYTE *param = edge + 8 * PAGE - n;
				memcpy(param, whole, n);
				CK_MECHANISM *mech = (CK_MECHANISM *)get(sizeof *mech);
				*mech = (CK_MECHANISM){m->type, param, n};
				for (int j = 2; j < now->n; j++) {
					if (now->args[j].role == 'w')
						may_write((void *)(a[j] = (CK_ULONG)get(8)), 8);
					if (now->args[j].role == 'h')
						a[j] = keys[below(nkeys)];
					if (now->args[j].role == 'i') {
						a[j] = (CK_ULONG)get(32);
						a[(int)now->args[j].ref] = 32;
					}
					if (now->args[j].role == 'o') {
						CK_BYTE *room = get(2048);
						may_write(room, 2048);
						a[j] = (CK_ULONG)room;
						a[(int)now->args[j].ref] = (CK_ULONG)(count = (CK_ULONG *)get(8));
						*count = 2048;
						may_write(count, 8);
					}
				}
				a[0] = sessions[0];
				a[1] = (CK_ULONG)mech;
				remember();
				memset(&output, 0, sizeof output);
				since = nanoseconds();
				rv = nth(f)(a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7], a[8], a[9]);
				since = 0;
				check(rv, a);
				tried++;
				if (!right && rv != CKR_MECHANISM_PARAM_INVALID)
					failed(__FILE__, __LINE__, "%s, mechanism 0x%lx, %zu bytes: 0x%lx", now->name, m->type, n, rv);
				if (rv == CKR_OK && strstr(now->name, "Init")) {
					OK(p11->C_CloseSession(sessions[0]));
					again();
				}
			}
		}
	}
	printf("%ld lengths\n", tried);
}

int main(int argc, char **argv)
{
	int64_t begun = nanoseconds();
	pthread_t watcher;

	CHECK(argc == 7 && LENGTH(functions) == FUNCTIONS);
	pin = argv[2];
	honest = strcmp(argv[3], "honest") == 0;
	seed = strtoul(argv[4], NULL, 0);
	long rounds = atol(argv[5]), seconds = atol(argv[6]);
	tracing = getenv("SEQUENCE_TRACE") != NULL;
	if (!seed)
		seed = (unsigned)begun | 1;
	printf("seed %u\n", seed);
	fflush(stdout);
	srandom(seed);
	prepare_memory();
	load_module(argv[1]);
	OK(p11->C_Initialize(NULL));
	CHECK(first_slot(&slot));
	noffered = LENGTH(offered);
	OK(p11->C_GetMechanismList(slot, offered, &noffered));
	for (CK_ULONG i = 0; i < noffered; i++) {
		const struct mechanism *m = find(offered[i]);
		CK_MECHANISM_INFO info;

		OK(p11->C_GetMechanismInfo(slot, offered[i], &info));
		if (m)
			flags[m - mechanisms] = info.flags;
	}
	again();
	CHECK(pthread_create(&watcher, NULL, watch, NULL) == 0);
	if (strcmp(argv[3], "lengths") == 0)
		parameter_lengths();
	else
		for (; rounds ? rounds_done < rounds : nanoseconds() - begun < seconds * INT64_C(1000000000); rounds_done++)
			one_call();
	OK(p11->C_Finalize(NULL));
	printf("%ld calls, %lu of them successful\n", rounds_done, okays);
	for (size_t i = 0; i < LENGTH(answers); i++)
		if (counts[i])
			printf("%8lu %s\n", counts[i], answers[i].name);
	printf("never successful:");
	for (size_t i = 0; i < FUNCTIONS; i++)
		if (!worked[i])
			printf(" %s", functions[i].name);
	printf("\n");
	return 0;
}
