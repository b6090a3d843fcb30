/* After fork() the Go runtime in this image is dead in the child: of its threads only the caller's survived, so a call
 * into it would wait for ever. The exported functions are therefore C, look here first, and in a forked child go on to
 * a private copy of the library, loaded from its own file into the child as a fresh engine (image.c).
 *
 * To the application a child looks as the standard says: not initialised. Nothing is opened for a child that only
 * winds down (C_CloseSession, C_Finalize in an exit handler): C_Initialize is what opens the private copy, everything
 * else answers CKR_CRYPTOKI_NOT_INITIALIZED until then.
 *
 * A grandchild starts again from the first image: its page is clear, so it opens a copy of its own. The copy that its
 * parent used stays mapped and is never called. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include "fork.h"

#ifndef MADV_WIPEONFORK
#define MADV_WIPEONFORK 18
#endif

/* Where the page cannot be had, the facts live here and only the fork handler clears them. */
static struct coffer_process ordinary_memory;

struct coffer_process *coffer_process = &ordinary_memory;

/* The signals that the Go runtime of a shared library takes over, and what they did before it came. */
static struct {
	int number;
	struct sigaction before;
} taken[] = {{.number = SIGSEGV}, {.number = SIGBUS}, {.number = SIGFPE}, {.number = SIGPIPE}, {.number = SIGURG}};

#define NTAKEN (sizeof taken / sizeof taken[0])

/* The runtime's own way to tie a thread to it, and whether it is in use. Weak: they are not ours. */
extern void x_cgo_bindm(void *) __attribute__((weak));
extern uintptr_t x_cgo_pthread_key_created __attribute__((weak));

/* A fork in one thread while another is inside dlopen() would give the grandchild half a list of libraries. Wait for
 * it, but not for ever: old C libraries hold their list of fork handlers locked now, and the new image wants to put
 * itself on that list. */
static void before_fork(void)
{
	const struct timespec millisecond = {.tv_nsec = 1000000};

	for (int i = 0; i < 200 && __atomic_load_n(&coffer_process->opening, __ATOMIC_ACQUIRE); i++)
		nanosleep(&millisecond, NULL);
}

static void in_child(void)
{
	/* The kernel has done this already if the page is a special one. */
	memset(coffer_process, 0, sizeof *coffer_process);

	/* The dead runtime's handlers would wait for its threads, or print a Go crash for a fault in the host's C code.
	 * Handlers that the host put in their place meanwhile are the host's. */
	for (size_t i = 0; i < NTAKEN; i++) {
		struct sigaction now;

		if (sigaction(taken[i].number, NULL, &now) == 0 && coffer_image_holds((void *)now.sa_sigaction))
			sigaction(taken[i].number, &taken[i].before, NULL);
	}

	/* A thread that ever called into Go would call again, into the dead runtime, when it ends. */
	if (x_cgo_bindm && &x_cgo_pthread_key_created && x_cgo_pthread_key_created)
		x_cgo_bindm(NULL);
}

/* The only thing that happens when the library is loaded. It cannot wait for the first call: a process may load the
 * library, which starts the Go runtime, fork, and make its first call in the child. The priority puts it before the
 * start of the runtime, while the signals are still as they were. */
static void __attribute__((constructor(101))) at_load(void)
{
	void *page = mmap(NULL, sizeof *coffer_process, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	/* The page notices forks that run no handlers too: _Fork(), a bare clone(). Kernels before 4.14 do not have it. */
	if (page != MAP_FAILED) {
		madvise(page, sizeof *coffer_process, MADV_WIPEONFORK);
		coffer_process = page;
	}
	coffer_process->owner = 1;

	for (size_t i = 0; i < NTAKEN; i++)
		sigaction(taken[i].number, NULL, &taken[i].before);
	pthread_atfork(before_fork, NULL, in_child);
}

const CK_FUNCTION_LIST_3_2 *coffer_forward_open(void)
{
	const CK_FUNCTION_LIST_3_2 *f;

	pthread_mutex_lock(&coffer_process->lock);
	f = coffer_process->forward;
	if (f == NULL) {
		__atomic_store_n(&coffer_process->opening, 1, __ATOMIC_RELEASE);
		f = coffer_image_open();
		__atomic_store_n(&coffer_process->forward, f, __ATOMIC_RELEASE);
		__atomic_store_n(&coffer_process->opening, 0, __ATOMIC_RELEASE);
	}
	pthread_mutex_unlock(&coffer_process->lock);
	return f;
}
