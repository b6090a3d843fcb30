/* The threads and the clock. A measurement goes like this: each thread opens its session and warms up, all meet at a
 * barrier, run until the main thread says stop, and note when they ended. So the end of a slow step counts as well. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "bench.h"

#define SECOND 1000000000ULL
#define SAMPLES 65536 /* a power of two */
#define FAST 10000    /* ns: steps that are faster are not all timed, because reading the clock costs some 25 ns */
#define FAST_EVERY 16

volatile sig_atomic_t interrupted;

/* run is one measurement. */
struct run {
	struct host *host;
	const struct operation *op;
	unsigned threads;
	uint64_t warm_up; /* ns */
	uint64_t steps;   /* of each thread; 0: until they are stopped */
	int stop;         /* atomic */
	pthread_barrier_t start;
};

/* lane is one thread of a run, and what it found. */
struct lane {
	struct run *run;
	pthread_t thread;
	struct worker worker;
	CK_RV rv;
	const char *call;
	uint64_t count, elapsed;  /* steps, ns */
	uint64_t *samples, taken; /* latencies in ns; NULL if they are not wanted */
	uint64_t every;           /* each so many steps one is timed; a power of two */
};

uint64_t nanoseconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * SECOND + (uint64_t)t.tv_nsec;
}

static int stopped(const struct run *r)
{
	return __atomic_load_n(&r->stop, __ATOMIC_RELAXED);
}

static int goes_on(const struct lane *l)
{
	return !stopped(l->run) && (l->run->steps == 0 || l->count < l->run->steps);
}

static void note(struct lane *l, CK_RV rv)
{
	l->rv = rv;
	l->call = l->worker.caller.call;
}

/* timed takes one step and its latency. When there is no more room every second sample goes, and half as many come. */
static CK_RV timed(struct lane *l)
{
	uint64_t before = nanoseconds();
	CK_RV rv = l->run->op->step(&l->worker);

	if (l->taken == SAMPLES) {
		for (uint64_t i = 0; i < SAMPLES / 2; i++)
			l->samples[i] = l->samples[2 * i];
		l->taken = SAMPLES / 2;
		l->every *= 2;
	}
	l->samples[l->taken++] = nanoseconds() - before;
	return rv;
}

/* warm_up takes at least one step and finds out how fast they are. */
static CK_RV warm_up(struct lane *l)
{
	uint64_t begin = nanoseconds(), spent, steps = 0;

	do {
		CK_RV rv = l->run->op->step(&l->worker);

		if (rv != CKR_OK)
			return rv;
		steps++;
		spent = nanoseconds() - begin;
	} while (spent < l->run->warm_up && !interrupted);
	l->every = spent / steps < FAST ? FAST_EVERY : 1;
	return CKR_OK;
}

static void run_steps(struct lane *l)
{
	uint64_t begin = nanoseconds();

	do {
		CK_RV rv = l->samples != NULL && l->count % l->every == 0 ? timed(l) : l->run->op->step(&l->worker);

		if (rv != CKR_OK) {
			note(l, rv);
			__atomic_store_n(&l->run->stop, 1, __ATOMIC_RELAXED);
			return;
		}
		l->count++;
	} while (goes_on(l));
	l->elapsed = nanoseconds() - begin;
}

static void *lane_main(void *p)
{
	struct lane *l = p;
	struct caller *c = &l->worker.caller;
	CK_RV rv = CALL(c, OpenSession, l->run->host->slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &c->session);
	int open = rv == CKR_OK;

	if (open)
		rv = warm_up(l);
	note(l, rv);
	pthread_barrier_wait(&l->run->start);
	if (rv == CKR_OK)
		run_steps(l);
	if (open) {
		destroy_all(c, &l->worker.made);
		c->p11->C_CloseSession(c->session);
	}
	return NULL;
}

/* nap waits until the time is over or something ended the run. */
static void nap(const struct run *r, uint64_t ns)
{
	uint64_t end = nanoseconds() + ns;

	for (uint64_t t = nanoseconds(); t < end && !interrupted && !stopped(r); t = nanoseconds()) {
		uint64_t left = end - t < SECOND / 20 ? end - t : SECOND / 20;
		struct timespec wait = {0, (long)left};

		nanosleep(&wait, NULL);
	}
}

static int by_size(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void print_failure(const struct operation *op, unsigned threads, CK_RV rv, const char *call, FILE *to)
{
	fprintf(to, "{\"operation\":\"%s\",\"threads\":%u,\"%s\":\"%s\",\"call\":\"%s\"}\n", op->name, threads,
		is_unsupported(rv) ? "unsupported" : "error", rv_name(rv), call == NULL ? "" : call);
}

static void print_run(const struct run *r, struct lane **lanes, FILE *to)
{
	uint64_t count = 0, longest = 0;
	double rate = 0;

	for (unsigned i = 0; i < r->threads; i++) {
		const struct lane *l = lanes[i];

		if (l->rv != CKR_OK) {
			print_failure(r->op, r->threads, l->rv, l->call, to);
			return;
		}
		count += l->count;
		rate += (double)l->count * 1e9 / (double)l->elapsed;
		longest = l->elapsed > longest ? l->elapsed : longest;
	}
	fprintf(to, "{\"operation\":\"%s\",\"threads\":%u,\"count\":%llu,\"seconds\":%.6f,\"rate\":%.3f", r->op->name,
		r->threads, (unsigned long long)count, (double)longest / 1e9, rate);
	if (lanes[0]->samples != NULL) {
		uint64_t *s = lanes[0]->samples, n = lanes[0]->taken;

		qsort(s, n, sizeof *s, by_size);
		fprintf(to, ",\"median_ns\":%llu,\"p99_ns\":%llu", (unsigned long long)s[n / 2],
			(unsigned long long)s[n * 99 / 100]);
	}
	fprintf(to, "}\n");
}

static void lane_free(struct lane *l)
{
	if (l != NULL)
		free(l->samples);
	free(l);
}

static struct lane *lane_new(struct run *r, unsigned number)
{
	struct lane *l = calloc(1, sizeof *l);

	if (l == NULL)
		return NULL;
	l->run = r;
	l->worker.host = r->host;
	l->worker.op = r->op;
	l->worker.caller.p11 = r->host->caller.p11;
	l->worker.random = (number + 1) * 0x9e3779b97f4a7c15ULL;
	l->worker.nonce = nanoseconds();
	/* Which steps are timed is found by the clock: a run of so many steps does not look at it. */
	if (r->threads == 1 && r->steps == 0 && (l->samples = calloc(SAMPLES, sizeof *l->samples)) == NULL) {
		lane_free(l);
		return NULL;
	}
	return l;
}

static void run_all(struct run *r, uint64_t ns, FILE *to)
{
	struct lane *lanes[MAX_THREADS] = {NULL};
	int ready = 1;

	for (unsigned i = 0; i < r->threads; i++)
		ready &= (lanes[i] = lane_new(r, i)) != NULL;
	if (ready && pthread_barrier_init(&r->start, NULL, r->threads + 1) == 0) {
		/* Threads that are there already wait for the missing one for ever: there is no way back. */
		for (unsigned i = 0; i < r->threads; i++)
			if (pthread_create(&lanes[i]->thread, NULL, lane_main, lanes[i]) != 0)
				die("thread %u of %u cannot be started", i + 1, r->threads);
		pthread_barrier_wait(&r->start);
		if (r->steps == 0) {
			nap(r, ns);
			__atomic_store_n(&r->stop, 1, __ATOMIC_RELAXED);
		}
		for (unsigned i = 0; i < r->threads; i++)
			pthread_join(lanes[i]->thread, NULL);
		pthread_barrier_destroy(&r->start);
		print_run(r, lanes, to);
	} else {
		print_failure(r->op, r->threads, RV_MEMORY, NULL, to);
	}
	for (unsigned i = 0; i < r->threads; i++)
		lane_free(lanes[i]);
}

/* operation_end removes what the current operation had set up. */
void operation_end(struct host *h)
{
	if (h->current != NULL)
		destroy_all(&h->caller, &h->made);
	h->current = NULL;
}

/* continues says whether op only needs more of the objects that the current operation made. */
static int continues(const struct host *h, const struct operation *op)
{
	const struct operation *now = h->current;

	return now != NULL && h->setup_rv == CKR_OK && op->setup == make_numbered && now->setup == make_numbered &&
		now->token == op->token && now->size <= op->size;
}

/* measure prints one measurement. What the operation works on is made once, and stays until another operation's turn. */
void measure(struct host *h, const struct operation *op, unsigned threads, struct length length, FILE *to)
{
	struct run r = {.host = h, .op = op, .threads = threads, .steps = length.steps};

	if (h->current != op) {
		if (!continues(h, op))
			operation_end(h);
		h->current = op;
		h->setup_rv = op->setup != NULL ? op->setup(h, op) : CKR_OK;
	}
	if (h->setup_rv != CKR_OK) {
		print_failure(op, threads, h->setup_rv, h->caller.call, to);
		return;
	}
	if (length.steps == 0)
		r.warm_up = (uint64_t)(length.seconds * 1e9 / 10);
	run_all(&r, (uint64_t)(length.seconds * 1e9), to);
}
