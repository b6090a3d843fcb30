/* A thread's first call. A thread that Go did not make needs one of the runtime's records for such threads, and gives it
 * back when it ends. There is always one to spare: who takes the last one makes the next, once it is inside Go. Who finds
 * none meanwhile waits for that with all signals blocked.
 *
 * A host that stops its threads by signals, to look through their memory (Mono's collector does), would stop the one and
 * wait for ever for the other. So threads come in one after another: they wait here, where a signal reaches them. */
#include "fork.h"
#include "_cgo_export.h"

/* Not a thread-local variable: those that a library brings with it are few, and each forked child's copy needs its own. Without
 * a key every call counts as a first one, which is slow and nothing worse. */
pthread_key_t coffer_thread_key = (pthread_key_t)-1;

static pthread_mutex_t door = PTHREAD_MUTEX_INITIALIZER;

static void __attribute__((constructor(101))) at_load(void)
{
	pthread_key_create(&coffer_thread_key, NULL);
}

void coffer_thread_first(void)
{
	pthread_mutex_lock(&door);
	coffer_go_thread();
	pthread_mutex_unlock(&door);
	pthread_setspecific(coffer_thread_key, &door);
}
