/* What hosts/sequence.c calls with: arguments, parameters and templates, by the tables of the standard. */
#include "sequence.h"
#include "sequence_table.h"

#define LENGTH(a) (sizeof(a) / sizeof *(a))
enum { FUNCTIONS = 104, KEYS = 128, GOOD = 80, FEW = 12, SESSIONS = 3, ASYNC = 2, LONGEST = 60 };

typedef CK_RV (*any_function)(CK_ULONG, CK_ULONG, CK_ULONG, CK_ULONG, CK_ULONG, CK_ULONG, CK_ULONG, CK_ULONG, CK_ULONG, CK_ULONG);

static CK_SLOT_ID slot;
static const char *pin;
static CK_SESSION_HANDLE sessions[SESSIONS];
static CK_OBJECT_HANDLE keys[KEYS];
static CK_ULONG nkeys, counts[512], okays, worked[FUNCTIONS];
static CK_MECHANISM_TYPE offered[1024];
static CK_ULONG noffered;
static const struct function *now;
static const struct mechanism *message; /* of the last C_Message...Init */
static volatile int64_t since;
static unsigned seed;
static long rounds_done;
static int async, tracing;
static CK_SESSION_HANDLE stay; /* where an operation has just begun, which is to be gone on with */
static const struct mechanism *current; /* of this call */
static CK_OBJECT_HANDLE liked[LENGTH(mechanisms)][FUNCTIONS]; /* a key with which a mechanism has worked in a function */
static CK_FLAGS flags[LENGTH(mechanisms)];

/* needs is the flag of the mechanisms with which a function may work. */
static const struct { const char *name; CK_FLAGS flag; } needs[] = {
	{"C_EncryptInit", CKF_ENCRYPT}, {"C_DecryptInit", CKF_DECRYPT}, {"C_DigestInit", CKF_DIGEST}, {"C_SignInit", CKF_SIGN},
	{"C_SignRecoverInit", CKF_SIGN_RECOVER}, {"C_VerifyInit", CKF_VERIFY}, {"C_VerifyRecoverInit", CKF_VERIFY_RECOVER},
	{"C_GenerateKey", CKF_GENERATE}, {"C_GenerateKeyPair", CKF_GENERATE_KEY_PAIR}, {"C_WrapKey", CKF_WRAP}, {"C_UnwrapKey", CKF_UNWRAP},
	{"C_DeriveKey", CKF_DERIVE}, {"C_MessageEncryptInit", CKF_MESSAGE_ENCRYPT}, {"C_MessageDecryptInit", CKF_MESSAGE_DECRYPT},
	{"C_MessageSignInit", CKF_MESSAGE_SIGN}, {"C_MessageVerifyInit", CKF_MESSAGE_VERIFY}, {"C_EncapsulateKey", CKF_ENCAPSULATE},
	{"C_DecapsulateKey", CKF_DECAPSULATE}, {"C_VerifySignatureInit", CKF_VERIFY}, {"C_WrapKeyAuthenticated", CKF_WRAP},
	{"C_UnwrapKeyAuthenticated", CKF_UNWRAP},
};

static CK_ULONG is(const char *name) { return strcmp(now->name, name) == 0; }
static int begins(const char *s, const char *with) { return strncmp(s, with, strlen(with)) == 0; }

/* number is what a counter, a tag's length, a type or a flag may be. */
static CK_ULONG number(void)
{
	static const CK_ULONG some[] = {
		0, 1, 2, 3, 4, 7, 8, 12, 13, 15, 16, 20, 24, 31, 32, 33, 48, 64, 96, 112, 120, 127, 128, 129, 192, 255, 256, 257, 1024, 2048,
		CKM_SHA_1, CKM_SHA256, CKM_SHA256, CKM_SHA512, CKM_SHA256_HMAC, CKM_AES_CMAC, CKG_MGF1_SHA256, CKG_MGF1_SHA1, CKD_SHA256_KDF,
		CKP_PKCS5_PBKD2_HMAC_SHA256, CKF_HKDF_SALT_DATA, 1 << 16, (1UL << 31) - 1, 1UL << 31, 1UL << 32, 1UL << 61, 1UL << 62, 1UL << 63,
		~0UL, ~0UL - 1, ~0UL / 8, ~0UL / 8 + 1, ~0UL - 7,
	};

	return some[below(LENGTH(some))];
}

static CK_ULONG handle(void)
{
	if (current && liked[current - mechanisms][now - functions] && once_in(2))
		return liked[current - mechanisms][now - functions];
	return once_in(16) || !nkeys ? number() : keys[below(nkeys)];
}

static CK_ULONG size(void)
{
	static const CK_ULONG usual[] = {0, 1, 7, 8, 12, 13, 16, 16, 20, 24, 28, 32, 32, 48, 64, 65, 66, 97, 128, 256, 512, 1088, 2420, 3309};

	return once_in(4) ? below(200) : usual[below(LENGTH(usual))];
}

static const struct mechanism *find(CK_MECHANISM_TYPE type)
{
	for (size_t i = 0; i < LENGTH(mechanisms); i++)
		if (mechanisms[i].type == type)
			return &mechanisms[i];
	return NULL;
}

static CK_ATTRIBUTE *template(CK_ULONG *n, int depth);

/* fill makes a struct: mostly what it should be, with pointers of all kinds. */
static void fill(int layout, CK_BYTE *p, int depth)
{
	const struct layout *l = &layouts[layout];

	for (int i = 0; i < l->n; i++)
		put(p + l->fields[i].off, number(), l->fields[i].size);
	for (int i = 0; i < l->n; i++) {
		const struct field *f = &l->fields[i];
		CK_BYTE *at = p + f->off, *to = NULL, *length = f->ref >= 0 ? p + l->fields[(int)f->ref].off : NULL;
		CK_ULONG n = size();

		switch (f->role) {
		case 'h':
			put(at, handle(), f->size);
			break;
		case 'b':
			for (size_t j = 0; j < f->size; j++)
				at[j] = below(f->size > 1 ? 256 : 3);
			break;
		case 'i': case 'k': case 'o': case 'F':
			if (!length)
				n = 16;
			noise(to = place(n), n);
			if (in_arena(to))
				may_write(to, n);
			put(at, (CK_ULONG)to, f->size);
			if (length)
				put(length, (f->role == 'k' ? 8 : 1) * lie(n), 8);
			break;
		case 'I': case 'w':
			to = place(PAGE);
			may_write(to, PAGE);
			put(at, (CK_ULONG)to, f->size);
			break;
		case 'v':
			if (f->size == 8) /* a handle may come there */
				may_write(at, 8);
			break;
		case 'T': case 'r': case 'a':
			if (f->inner < 0 || depth > 4)
				break;
			if (f->role == 'T') {
				fill(f->inner, at, depth + 1);
				break;
			}
			n = f->role == 'a' ? below(5) : 1;
			to = place(n * layouts[f->inner].size);
			for (CK_ULONG j = 0; j < n && (honest ? to != NULL : in_arena(to)); j++)
				fill(f->inner, to + j * layouts[f->inner].size, depth + 1);
			put(at, (CK_ULONG)to, 8);
			if (length)
				put(length, lie(n), 8);
			break;
		case 't':
			put(at, (CK_ULONG)template(&n, depth + 1), 8);
			put(length, n, 8);
			break;
		}
	}
}

/* attribute_value makes a value of a plausible size. */
static void attribute_value(CK_ATTRIBUTE *a, int depth)
{
	static const CK_BYTE p256[] = {6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7};
	CK_ULONG n;

	if (a->type & CKF_ARRAY_ATTRIBUTE && depth < 8) {
		a->pValue = template(&n, depth + 1);
		a->ulValueLen = n * sizeof *a;
		return;
	}
	switch (a->type) {
	case CKA_CLASS: case CKA_KEY_TYPE: case CKA_VALUE_LEN: case CKA_MODULUS_BITS: case CKA_CERTIFICATE_TYPE: case CKA_PARAMETER_SET:
		a->pValue = place(8);
		if (honest ? a->pValue != NULL : in_arena(a->pValue))
			put(a->pValue, a->type == CKA_CLASS ? below(10) : a->type == CKA_KEY_TYPE ? below(0x4b) : a->type == CKA_MODULUS_BITS ? below(1100) : number(), 8);
		a->ulValueLen = lie(8);
		return;
	case CKA_EC_PARAMS:
		a->pValue = place(n = sizeof p256);
		if (honest ? a->pValue != NULL : in_arena(a->pValue))
			memcpy(a->pValue, p256, n);
		break;
	default:
		n = once_in(2) ? 1 : size();
		a->pValue = place(n);
		noise(a->pValue, n);
		if (n == 1 && (honest ? a->pValue != NULL : in_arena(a->pValue)))
			*(CK_BYTE *)a->pValue = below(3);
	}
	a->ulValueLen = lie(n);
}

/* usual is a template that is right for something. */
static CK_ATTRIBUTE *usual(CK_ULONG *n)
{
	static CK_ULONG secret = CKO_SECRET_KEY, generic = CKK_GENERIC_SECRET, aes = CKK_AES, length = 16, bits = 1024, set = 2;
	static CK_BYTE p256[] = {6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7}, ed[] = {6, 3, 0x2b, 0x65, 0x70}, value[16];
	static const CK_ATTRIBUTE all[13][3] = {
		{{CKA_CLASS, &secret, 8}, {CKA_KEY_TYPE, &generic, 8}, {CKA_VALUE_LEN, &length, 8}},
		{{CKA_CLASS, &secret, 8}, {CKA_KEY_TYPE, &aes, 8}, {CKA_VALUE_LEN, &length, 8}},
		{{CKA_CLASS, &secret, 8}, {CKA_KEY_TYPE, &generic, 8}}, {{CKA_CLASS, &secret, 8}, {CKA_KEY_TYPE, &aes, 8}, {CKA_VALUE, value, 16}},
		{{CKA_EC_PARAMS, p256, sizeof p256}}, {{CKA_EC_PARAMS, ed, sizeof ed}}, {{CKA_PARAMETER_SET, &set, 8}}, {{CKA_MODULUS_BITS, &bits, 8}},
		{{CKA_VALUE_LEN, &length, 8}},
	};
	size_t i = below(LENGTH(all)); /* the last ones are empty */
	CK_ATTRIBUTE *t = (CK_ATTRIBUTE *)get(sizeof all[i]);

	memcpy(t, all[i], sizeof all[i]);
	for (*n = 0; *n < 3 && t[*n].ulValueLen; ++*n)
		;
	return t;
}

static CK_ATTRIBUTE *template(CK_ULONG *n, int depth)
{
	if (depth == 0 && once_in(2))
		return usual(n);
	static const CK_ULONG common[] = {
		CKA_CLASS, CKA_KEY_TYPE, CKA_VALUE, CKA_VALUE_LEN, CKA_EC_PARAMS, CKA_EC_POINT, CKA_MODULUS_BITS, CKA_MODULUS, CKA_PUBLIC_EXPONENT,
		CKA_SENSITIVE, CKA_EXTRACTABLE, CKA_TOKEN, CKA_ENCRYPT, CKA_SIGN, CKA_DERIVE, CKA_WRAP, CKA_UNWRAP_TEMPLATE, CKA_LABEL, CKA_PARAMETER_SET,
	};
	CK_ULONG k = below(6);
	CK_ATTRIBUTE *t = (CK_ATTRIBUTE *)place(k * sizeof *t);

	*n = lie(k);
	if (honest ? t == NULL : !in_arena((CK_BYTE *)t))
		return t;
	for (CK_ULONG i = 0; i < k; i++) {
		CK_ATTRIBUTE a = {once_in(3) ? attributes[below(LENGTH(attributes))] : common[below(LENGTH(common))], NULL, 0};

		attribute_value(&a, depth);
		t[i] = a;
	}
	return t;
}

/* wanted makes the template of C_GetAttributeValue. */
static CK_ATTRIBUTE *wanted(CK_ULONG *n)
{
	CK_ULONG k = below(8);
	CK_ATTRIBUTE *t = (CK_ATTRIBUTE *)place(k * sizeof *t);

	*n = honest ? k : lie(k);
	if (honest ? t == NULL : !in_arena((CK_BYTE *)t))
		return t;
	for (CK_ULONG i = 0; i < k; i++) {
		CK_ULONG room = once_in(3) ? 1 + below(300) : size();
		CK_BYTE *p = place(room);
		CK_ATTRIBUTE a = {attributes[below(LENGTH(attributes))], p, room};

		if (honest ? p != NULL : in_arena(p)) {
			memset(p, 0, room); /* templates inside are prepared */
			may_write(p, room);
		}
		may_write(&t[i].ulValueLen, 8);
		t[i] = a;
	}
	return t;
}

static CK_MECHANISM *mechanism(char role)
{
	const struct mechanism *m = find(offered[below(noffered)]);
	CK_BYTE *p = place(sizeof(CK_MECHANISM)), *param = NULL;
	CK_FLAGS flag = 0;
	CK_ULONG n = 0;

	for (size_t i = 0; i < LENGTH(needs) && !once_in(32); i++)
		if (is(needs[i].name))
			flag = needs[i].flag;
	for (int i = 0; i < 500 && !(m && (flags[m - mechanisms] & flag) == flag); i++)
		m = find(offered[below(noffered)]);
	if (once_in(32))
		m = &mechanisms[below(LENGTH(mechanisms))];
	current = m;
	if (!m || (honest ? p == NULL : !in_arena(p)))
		return (CK_MECHANISM *)p;
	int layout = role == 'M' && m->message >= 0 ? m->message : m->layout;
	if (layout >= 0 && !once_in(12)) {
		n = layouts[layout].size;
		param = place(n);
		if (honest ? param != NULL : in_arena(param))
			fill(layout, param, 0);
		n = honest ? n - (once_in(20) ? below(n + 1) : 0) : lie(n);
	} else if (m->kind != 'n' && !once_in(12)) {
		n = m->kind == 'i' ? (CK_ULONG)m->length : m->kind == 'u' || m->kind == 'h' ? 8 : size();
		noise(param = place(n), n);
		if (m->kind == 'u' && (honest ? param != NULL : in_arena(param)))
			put(param, number(), 8);
		if (m->kind == 'h' && (honest ? param != NULL : in_arena(param)))
			put(param, handle(), 8);
		n = lie(n);
	} else if (once_in(8)) {
		n = size();
		noise(param = place(n), n);
	}
	*(CK_MECHANISM *)p = (CK_MECHANISM){m->type, param, n};
	return (CK_MECHANISM *)p;
}

struct output { CK_BYTE *p; CK_ULONG room, unit; CK_ULONG *length; };

static struct output output; /* of the call */

static void arguments(CK_ULONG *a)
{
	int is_pin = is("C_Login") || is("C_LoginUser") || is("C_InitToken") || is("C_SetPIN") || is("C_InitPIN");

	memset(a, 0, 10 * sizeof *a);
	memset(&output, 0, sizeof output);
	async = 0;
	current = NULL;
	for (int i = 0; i < now->n; i++) {
		int ref = now->args[i].ref;
		CK_ULONG n = size();
		CK_BYTE *p;

		switch (now->args[i].role) {
		case 's': {
			a[i] = once_in(64) ? number() : stay && !once_in(8) ? stay : sessions[once_in(3) ? below(SESSIONS) : 0];
			async = a[i] == sessions[ASYNC];
			break;
		}
		case 'S': a[i] = once_in(16) ? number() : slot; break;
		case 'v': a[i] = number(); break;
		case 'h': a[i] = handle(); break;
		case 'm': case 'M': case 'W': a[i] = (CK_ULONG)mechanism(now->args[i].role); break;
		case 't': a[i] = (CK_ULONG)template(&a[ref], 0); break;
		case 'g': a[i] = (CK_ULONG)wanted(&a[ref]); break;
		case 'i':
			if (is_pin) {
				p = (CK_BYTE *)(once_in(40) ? "wrong-pin" : is("C_Login") || is("C_LoginUser") ? pin : NULL);
				a[ref] = p && i < 3 ? strlen((char *)p) : 0;
				a[i] = (CK_ULONG)p;
				break;
			}
			noise(p = place(n), n);
			a[i] = (CK_ULONG)p;
			a[ref] = lie(n);
			break;
		case 'p':
			n = message && message->message >= 0 ? layouts[message->message].size : 24;
			p = place(n);
			if (honest && (!message || message->message < 0))
				p = NULL, n = 0;
			else if (message && message->message >= 0 && (honest ? p != NULL : in_arena(p)))
				fill(message->message, p, 0);
			a[i] = (CK_ULONG)p;
			a[ref] = honest ? n : lie(n);
			break;
		case 'f':
			p = place(n);
			may_write(p, n);
			a[i] = (CK_ULONG)p;
			a[ref] = honest || in_arena(p) ? n : lie(n);
			break;
		case 'F':
			a[i] = (CK_ULONG)later;
			a[ref] = LATER;
			break;
		case 'x':
			a[i] = (CK_ULONG)(!honest && once_in(16) ? (const char *)place(4) : functions[below(FUNCTIONS)].name);
			break;
		case 'L':
			noise(p = place(32), 32);
			a[i] = (CK_ULONG)p;
			break;
		case 'o': {
			CK_ULONG *length = (CK_ULONG *)place(8), unit = strstr(now->name, "List") ? 8 : 1;

			if (once_in(3))
				n += 4000;
			p = async ? later : place(n * unit);
			if (writable(length, 8))
				put(length, n, 8); /* not what another call has left there */
			if (honest ? length != NULL : in_arena((CK_BYTE *)length)) {
				may_write(length, 8);
				output = (struct output){honest || in_arena(p) ? p : NULL, n, unit, length};
			}
			if (in_arena(p))
				may_write(p, n * unit);
			a[i] = (CK_ULONG)p;
			a[ref] = (CK_ULONG)length;
			break;
		}
		case 'H':
			p = place(8 * n);
			may_write(p, 8 * n);
			a[i] = (CK_ULONG)p;
			a[ref] = honest || in_arena(p) ? n : lie(n);
			break;
		case 'w':
			p = place(8);
			may_write(p, 8);
			a[i] = (CK_ULONG)p;
			break;
		case 'I':
			p = place(512);
			may_write(p, 512);
			a[i] = (CK_ULONG)p;
			break;
		case 'A':
			p = place(sizeof(CK_ASYNC_DATA));
			if (honest ? p != NULL : in_arena(p))
				memset(p, 0, sizeof(CK_ASYNC_DATA));
			may_write(p, sizeof(CK_ASYNC_DATA));
			a[i] = (CK_ULONG)p;
			break;
		}
	}
	if (is("C_WaitForSlotEvent"))
		a[0] |= CKF_DONT_BLOCK;
	if (is("C_OpenSession"))
		a[1] &= ~CKF_ASYNC_SESSION; /* whose results come late, into memory that is something else by then */
}
