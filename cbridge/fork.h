/* What the exported functions need to know about forks. fork.c says how it works. */
#ifndef COFFER_FORK_H
#define COFFER_FORK_H

#include <pthread.h>
#include <stdint.h>
#include "pkcs11.h"

#pragma GCC visibility push(hidden)

/* The facts that hold for one process only. They live in memory that the kernel clears in a forked child, so that all
 * zeros, the first thing that a child sees, must mean: not the owner, nothing opened, unlocked. */
struct coffer_process {
	int owner;                             /* 1: the process that loaded the library; the Go runtime works here */
	int opening;                           /* 1: a private copy is being opened */
	pthread_mutex_t lock;                  /* held while it is opened */
	const CK_FUNCTION_LIST_3_2 *forward;   /* the private copy of a forked child */
};

extern struct coffer_process *coffer_process;

/* thread.c: set in the threads that have been inside Go; and a thread's first time there. */
extern pthread_key_t coffer_thread_key;
void coffer_thread_first(void);

/* coffer_owner says whether this process may enter the Go runtime of this image. If so, the calling thread is known there
 * when it returns. */
static inline int coffer_owner(void)
{
	if (__builtin_expect(!__atomic_load_n(&coffer_process->owner, __ATOMIC_RELAXED), 0))
		return 0;
	if (__builtin_expect(!pthread_getspecific(coffer_thread_key), 0))
		coffer_thread_first();
	return 1;
}

/* coffer_forward gives the functions of a child's private copy, NULL before the child's first C_Initialize. */
static inline const CK_FUNCTION_LIST_3_2 *coffer_forward(void)
{
	return __atomic_load_n(&coffer_process->forward, __ATOMIC_ACQUIRE);
}

/* coffer_forward_open is coffer_forward, but opens the private copy first if there is none. NULL if it cannot. */
const CK_FUNCTION_LIST_3_2 *coffer_forward_open(void);

/* image.c: the library's own file. */

/* coffer_image_holds says whether p points into this image as it is mapped. */
int coffer_image_holds(const void *p);

/* coffer_image_remember keeps the library's own file open, so that a child finds it whatever happens to its name. */
void coffer_image_remember(void);

/* coffer_image_open loads a second copy of this image and returns its functions, NULL if that is not possible. */
const CK_FUNCTION_LIST_3_2 *coffer_image_open(void);

#pragma GCC visibility pop

#endif
