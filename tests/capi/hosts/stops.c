/* stops MODULE [GENERATIONS]: threads come, call the library and go, while the host stops all of them by a signal and has them go
 * on by another, again and again, as collectors of memory do (Mono's). Every thread must stop wherever it is: one that waits with
 * its signals blocked for another that is stopped already would wait for ever. */
#include "host.h"
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>

enum { AT_ONCE = 16, CALLS = 4, PATIENCE = 120 };

struct one {
	pthread_t thread;
	int alive; /* may be stopped; changes only while the world goes on */
	volatile sig_atomic_t goes_on;
};

static struct one all[AT_ONCE];
static __thread struct one *self;

static pthread_mutex_t world = PTHREAD_MUTEX_INITIALIZER; /* held while it is stopped */
static pthread_barrier_t together;
static sem_t answers;
static int over, stop_signal, go_signal;

static void on_stop(int number)
{
	int before = errno;
	sigset_t but_go;

	(void)number;
	sigfillset(&but_go);
	sigdelset(&but_go, go_signal);
	self->goes_on = 0;
	sem_post(&answers);
	while (!self->goes_on)
		sigsuspend(&but_go);
	sem_post(&answers);
	errno = before;
}

static void on_go(int number)
{
	(void)number;
	self->goes_on = 1;
}

/* The handlers are there before the library is, and have no stack of their own: Go sees to that when it starts. */
static void handle(int number, void (*handler)(int))
{
	struct sigaction how = {.sa_handler = handler, .sa_flags = SA_RESTART};

	sigfillset(&how.sa_mask);
	CHECK(sigaction(number, &how, NULL) == 0);
}

/* tell sends a signal to all that are alive and waits for as many answers. */
static void tell(int number)
{
	struct timespec until;
	int told = 0;

	for (int i = 0; i < AT_ONCE; i++)
		if (all[i].alive) {
			CHECK(pthread_kill(all[i].thread, number) == 0);
			told++;
		}
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += PATIENCE;
	for (int i = 0; i < told; i++)
		while (sem_timedwait(&answers, &until) != 0)
			if (errno != EINTR)
				failed(__FILE__, __LINE__, "%d of %d threads answer signal %d", i, told, number);
}

static void *stops_them(void *count)
{
	while (!__atomic_load_n(&over, __ATOMIC_ACQUIRE)) {
		pthread_mutex_lock(&world);
		tell(stop_signal);
		tell(go_signal);
		pthread_mutex_unlock(&world);
		++*(long *)count;
		sched_yield();
	}
	return NULL;
}

static void live(int alive)
{
	pthread_mutex_lock(&world);
	self->alive = alive;
	pthread_mutex_unlock(&world);
}

static void *calls(void *arg)
{
	CK_INFO info;

	self = arg;
	self->thread = pthread_self();
	live(1);
	pthread_barrier_wait(&together);
	for (int i = 0; i < CALLS; i++)
		OK(p11->C_GetInfo(&info));
	live(0);
	return NULL;
}

int main(int argc, char **argv)
{
	int generations = argc > 2 ? atoi(argv[2]) : 1000;
	pthread_t stopper, thread[AT_ONCE];
	long stopped = 0;

	CHECK(argc > 1);
	stop_signal = SIGRTMIN + 3;
	go_signal = SIGRTMIN + 4;
	handle(stop_signal, on_stop);
	handle(go_signal, on_go);
	load_module(argv[1]);
	OK(p11->C_Initialize(NULL));
	CHECK(sem_init(&answers, 0, 0) == 0);
	CHECK(pthread_barrier_init(&together, NULL, AT_ONCE) == 0);
	CHECK(pthread_create(&stopper, NULL, stops_them, &stopped) == 0);
	for (int g = 0; g < generations; g++) {
		for (int i = 0; i < AT_ONCE; i++)
			CHECK(pthread_create(&thread[i], NULL, calls, &all[i]) == 0);
		for (int i = 0; i < AT_ONCE; i++)
			CHECK(pthread_join(thread[i], NULL) == 0);
	}
	__atomic_store_n(&over, 1, __ATOMIC_RELEASE);
	CHECK(pthread_join(stopper, NULL) == 0);
	printf("%d threads, stopped %ld times\n", generations * AT_ONCE, stopped);
	return 0;
}
