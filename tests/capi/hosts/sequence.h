/* The memory that hosts/sequence.c hands to the library, and a watch over it: what may be written is known for each call,
 * and anything else that changes ends the process. */
#include "host.h"
#include <pthread.h>
#include <stddef.h>
#include <sys/mman.h>

struct arg { char role; signed char ref; };
struct function { const char *name, *chapter; int n; struct arg args[10]; };
struct field { char role; signed char ref; short inner; size_t off, size; };
struct layout { size_t size, brief; const struct field *fields; int n; };
struct mechanism { CK_ULONG type; int layout, message; char kind; int length; };
struct answer { CK_RV rv; const char *name; };

enum { ARENA = 1 << 20, GUARD = 64, MOST_SPANS = 4096, PAGE = 4096, LATER = 1 << 17 };

static CK_BYTE *arena, *before; /* what the caller has, and how it was before the call */
static size_t used;
static struct span { CK_BYTE *p; size_t n; } spans[MOST_SPANS]; /* what may be written */
static int nspans;
static void *owned[MOST_SPANS]; /* of honest runs: each piece alone, so that AddressSanitizer knows its ends */
static int nowned, honest;
static CK_BYTE *edge, *readonly, *nothing, *beyond, *later;

static CK_ULONG below(CK_ULONG n) { return (CK_ULONG)random() % n; }
static int once_in(int n) { return below(n) == 0; }

static void prepare_memory(void)
{
	char name[] = "/tmp/sequence-XXXXXX";
	int file = mkstemp(name), flags = MAP_PRIVATE | MAP_ANONYMOUS;

	CHECK(file >= 0 && unlink(name) == 0 && ftruncate(file, 10) == 0);
	arena = mmap(NULL, ARENA, PROT_READ | PROT_WRITE, flags, -1, 0);
	before = mmap(NULL, ARENA, PROT_READ | PROT_WRITE, flags, -1, 0);
	edge = mmap(NULL, 9 * PAGE, PROT_READ | PROT_WRITE, flags, -1, 0);
	readonly = mmap(NULL, 8 * PAGE, PROT_READ, flags, -1, 0);
	nothing = mmap(NULL, PAGE, PROT_NONE, flags, -1, 0);
	beyond = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0); /* the second page is a bus error */
	later = mmap(NULL, LATER, PROT_READ | PROT_WRITE, flags, -1, 0);
	CHECK(arena != MAP_FAILED && before != MAP_FAILED && edge != MAP_FAILED && readonly != MAP_FAILED);
	CHECK(nothing != MAP_FAILED && beyond != MAP_FAILED && later != MAP_FAILED);
	CHECK(mprotect(edge + 8 * PAGE, PAGE, PROT_NONE) == 0);
	memset(arena, 0xa5, ARENA);
}

/* new_call forgets the memory of the call before. */
static void new_call(void)
{
	memset(arena, 0xa5, used);
	used = nspans = 0;
	while (nowned > 0)
		free(owned[--nowned]);
}

static CK_BYTE *get(size_t n)
{
	CK_BYTE *p;

	if (honest) {
		CHECK(nowned < MOST_SPANS && (p = malloc(n)) != NULL);
		memset(p, 0xa5, n);
		return owned[nowned++] = p;
	}
	CHECK(used + n + 3 * GUARD < ARENA);
	p = arena + used + GUARD;
	used += GUARD + (n + 15) / 16 * 16;
	return p;
}

/* may_write notes n bytes that the library may change. */
static void may_write(void *p, size_t n)
{
	CHECK(nspans < MOST_SPANS);
	spans[nspans++] = (struct span){p, n};
}

/* place gives memory for n bytes, or what only looks like it. */
static CK_BYTE *place(size_t n)
{
	static const CK_ULONG wild[] = {1, 8, PAGE - 1, 0x7000deadbee8, 1UL << 47, 1UL << 62, 1UL << 63, ~0UL, ~0UL - 7};

	switch (honest ? (once_in(40) ? 0 : 10) : below(200)) {
	case 0: return NULL;
	case 1: return (CK_BYTE *)wild[below(sizeof wild / sizeof *wild)];
	case 2: return nothing;
	case 3: return n < 8 * PAGE ? readonly + 8 * PAGE - n : readonly;
	case 4: return beyond + PAGE - below(16);
	case 5: return edge + 8 * PAGE - below(16); /* too short */
	case 6: case 7: case 8: case 9:
		if (!honest && n < 8 * PAGE) /* enough, and not a byte more */
			return edge + 8 * PAGE - n;
	}
	return get(n);
}

static int in_arena(const CK_BYTE *p) { return p >= arena && p < arena + ARENA; }

static int writable(const void *p, size_t n)
{
	uintptr_t b = (uintptr_t)p;

	return honest ? b != 0 : in_arena(p) || b - (uintptr_t)edge <= 8 * PAGE - n || b - (uintptr_t)beyond <= PAGE - n;
}

static void put(void *p, CK_ULONG v, size_t n) { memcpy(p, &v, n < sizeof v ? n : sizeof v); }

static void noise(CK_BYTE *p, size_t n)
{
	if (!honest && !in_arena(p))
		return;
	for (size_t i = 0; p != NULL && i < n; i++)
		p[i] = random();
}

/* lie is a length that is not that of the memory; a run that follows pointers has none that are too long. */
static CK_ULONG lie(CK_ULONG n)
{
	static const CK_ULONG lies[] = {1 << 20, 1 << 30, (1UL << 31) - 1, 1UL << 31, 1UL << 32, 1UL << 61, 1UL << 62, 1UL << 63, ~0UL};

	if (!once_in(40))
		return n;
	return honest || once_in(2) ? below(n + 1) : lies[below(sizeof lies / sizeof *lies)];
}

static void remember(void) { memcpy(before, arena, used + GUARD); }

/* unchanged fails if the library has written where it may not. */
static void unchanged(const char *what)
{
	for (int i = 0; i < nspans; i++)
		if (in_arena(spans[i].p))
			memcpy(before + (spans[i].p - arena), spans[i].p, spans[i].n);
	if (memcmp(before, arena, used + GUARD) == 0)
		return;
	for (size_t i = 0; i < used + GUARD; i++)
		if (before[i] != arena[i])
			failed(__FILE__, __LINE__, "%s has written to byte %zu of the caller's memory, which is not its to write", what, i);
}
