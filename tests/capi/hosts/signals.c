/* signals MODULE [FORKS]: children that never call the library, while threads of the parent enter the Go runtime for the
 * first time and leave it for good. That keeps the runtime's list of foreign threads in motion, and a fork may find it
 * locked: the runtime's signal handlers, and what it does when a thread ends, would then wait for ever in the child. */
#include "host.h"
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

enum { CHURNING = 3, AT_ONCE = 4, PATIENCE = 120 };

static const int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGPIPE, SIGURG, 0};

static void *brief(void *arg)
{
	CK_INFO info;

	(void)arg;
	OK(p11->C_GetInfo(&info));
	return NULL;
}

static void *come_and_go(void *arg)
{
	pthread_t threads[AT_ONCE];

	for (;;) {
		for (int i = 0; i < AT_ONCE; i++)
			CHECK(pthread_create(&threads[i], NULL, brief, NULL) == 0);
		for (int i = 0; i < AT_ONCE; i++)
			CHECK(pthread_join(threads[i], NULL) == 0);
	}
	return arg;
}

struct one {
	int signal; /* 0: the thread that forked ends, as the last of its process */
	pid_t pid;
};

static void *forks(void *arg)
{
	const struct rlimit no_core = {0, 0};
	struct one *one = arg;

	brief(NULL);
	one->pid = fork();
	CHECK(one->pid >= 0);
	if (one->pid > 0)
		return NULL;
	alarm(PATIENCE);
	setrlimit(RLIMIT_CORE, &no_core);
	if (one->signal == 0)
		return NULL;
	if (one->signal == SIGSEGV)
		*(volatile int *)(uintptr_t)0x7000deadbee8 = 1;
	CHECK(raise(one->signal) == 0);
	_exit(0);
}

/* reap waits for a child; a handler that waits for ever does so with all signals blocked, so alarm() is no help. */
static void reap(const struct one *one)
{
	int64_t until = nanoseconds() + PATIENCE * INT64_C(1000000000);
	int want = one->signal == SIGURG ? 0 : one->signal;
	int status;
	pid_t pid;

	while ((pid = waitpid(one->pid, &status, WNOHANG)) == 0 && nanoseconds() < until)
		usleep(200);
	if (pid == 0) {
		kill(one->pid, SIGKILL);
		failed(__FILE__, __LINE__, "child %d, signal %d: hangs", (int)one->pid, one->signal);
	}
	CHECK(pid == one->pid);
	if (want ? !(WIFSIGNALED(status) && WTERMSIG(status) == want) : status != 0)
		failed(__FILE__, __LINE__, "child %d, signal %d: wait status 0x%x", (int)pid, one->signal, status);
}

int main(int argc, char **argv)
{
	int n = argc > 2 ? atoi(argv[2]) : 1000;
	pthread_t thread;

	CHECK(argc > 1);
	load_module(argv[1]);
	OK(p11->C_Initialize(NULL));
	for (int i = 0; i < CHURNING; i++)
		CHECK(pthread_create(&thread, NULL, come_and_go, NULL) == 0);
	for (int i = 0; i < n; i++) {
		struct one one = {.signal = signals[i % (sizeof signals / sizeof signals[0])]};

		/* Half of the children are forked by a thread of their own, as the end of a thread needs. */
		if (one.signal == 0 || i / 6 % 2) {
			CHECK(pthread_create(&thread, NULL, forks, &one) == 0);
			CHECK(pthread_join(thread, NULL) == 0);
		} else {
			forks(&one);
		}
		reap(&one);
	}
	printf("%d children\n", n);
	fflush(stdout);
	_exit(0); /* the threads go on to the end */
}
