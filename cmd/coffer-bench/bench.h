/* coffer-bench: measures operations of a PKCS#11 library through its C interface, as an application sees them.
 *
 * One process measures one library. main.c reads requests and prints one JSON object a line; module.c loads the library
 * and finds, makes and enters the token; measure.c runs the threads and the clock; operation.c is the table of
 * operations, whose rows point into object.c (what an operation works on) and step.c (what is measured). */
#ifndef COFFER_BENCH_H
#define COFFER_BENCH_H

#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include "pkcs11.h"

#define OBJECT_LABEL "coffer-bench" /* of everything that is made on a token */
#define MAX_THREADS 256
#define MAX_DATA 16384

/* Not a return value of a library: what went wrong here. */
#define RV_TOO_SLOW (CKR_VENDOR_DEFINED | 0x42454e01UL)
#define RV_STOPPED (CKR_VENDOR_DEFINED | 0x42454e02UL)
#define RV_MEMORY (CKR_VENDOR_DEFINED | 0x42454e03UL)
#define RV_WRONG (CKR_VENDOR_DEFINED | 0x42454e04UL)  /* the library said CKR_OK, but the result cannot be right */

/* caller is what calls of the library are made with. Each thread has its own. */
struct caller {
	CK_FUNCTION_LIST *p11;
	CK_SESSION_HANDLE session;
	const char *call; /* the function that was called last */
};

/* CALL calls a function of the library and remembers its name. c is a caller. */
#define CALL(c, function, ...) ((c)->call = "C_" #function, (c)->p11->C_##function(__VA_ARGS__))

/* handles is a growing list of objects. */
struct handles {
	CK_OBJECT_HANDLE *list;
	size_t count, room;
};

struct operation;

/* host is a loaded library with a session that is logged in, and what the current operation has set up. The session
 * owns the session objects; the threads use them from sessions of their own. */
struct host {
	struct caller caller;
	CK_SLOT_ID slot;
	int leave_objects;  /* the token is thrown away: what is on it at the end may stay */
	double setup_limit; /* seconds */
	uint64_t first_id;  /* of numbered objects; another run's are left over on a token at worst */

	const struct operation *current; /* NULL: nothing is set up */
	CK_RV setup_rv;
	struct handles made;
	CK_OBJECT_HANDLE key, public_key;
	CK_BYTE signature[512];
	CK_ULONG signature_len;
};

/* worker is one measuring thread. */
struct worker {
	struct caller caller;
	const struct host *host;
	const struct operation *op;
	uint64_t random;     /* state of next_random; differs between threads */
	uint64_t nonce;      /* of the next encryption; begins with the clock's nanoseconds */
	struct handles made; /* what steps leave behind, removed when the measurement is over */
	CK_BYTE in[MAX_DATA], out[MAX_DATA + 64];
};

/* operation is one row of the table. setup runs once, before the threads; step is what is measured. */
struct operation {
	const char *name;
	const char *text;       /* what a step does */
	CK_MECHANISM_TYPE mech; /* of the step */
	CK_ULONG size;          /* bits of the key, or number of objects */
	CK_ULONG bytes;         /* of input */
	CK_BBOOL token;         /* the key or the objects are token objects */
	CK_RV (*setup)(struct host *h, const struct operation *op); /* NULL: nothing to set up */
	CK_RV (*step)(struct worker *w);
};

/* operation.c */
extern const struct operation operations[];
const struct operation *operation_named(const char *name);
void list_operations(FILE *to);
int is_unsupported(CK_RV rv);

/* module.c: choice is the slot that was asked for, by its number or by its token's label; neither: the first that fits. */
struct choice {
	const char *label;
	long slot; /* -1: not chosen */
};
void module_load(struct host *h, const char *path, const char *parameters);
void module_info(const struct host *h, FILE *to, const char *path);
void module_init_token(struct host *h, const struct choice *c, const char *label);
void module_login(struct host *h, const struct choice *c);
void module_close(struct host *h);
void die(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));
void die_rv(const struct host *h, CK_RV rv) __attribute__((noreturn));

/* rv.c */
const char *rv_name(CK_RV rv);

/* measure.c: length is how long a measurement takes: so many steps of each thread, or a time if there are none. */
struct length {
	double seconds;
	uint64_t steps;
};
extern volatile sig_atomic_t interrupted;
void measure(struct host *h, const struct operation *op, unsigned threads, struct length length, FILE *to);
void operation_end(struct host *h);
uint64_t nanoseconds(void);

/* object.c: what operations work on. make_ functions are setups; each object is remembered in h->made. */
CK_RV remember(struct handles *l, CK_OBJECT_HANDLE object);
void destroy_all(struct caller *c, struct handles *l);
void put_number(CK_BYTE *to, uint64_t n);
CK_RV make_rsa(struct host *h, const struct operation *op);
CK_RV make_p256(struct host *h, const struct operation *op);
CK_RV make_p256_signature(struct host *h, const struct operation *op);
CK_RV make_ed25519(struct host *h, const struct operation *op);
CK_RV make_aes(struct host *h, const struct operation *op);
CK_RV make_hmac(struct host *h, const struct operation *op);
CK_RV make_numbered(struct host *h, const struct operation *op);
CK_RV create_secret(struct caller *c, CK_BBOOL token, uint64_t id, CK_OBJECT_HANDLE *object);
CK_RV generate_rsa(struct caller *c, CK_ULONG bits, CK_BBOOL token, CK_OBJECT_HANDLE *public_key, CK_OBJECT_HANDLE *key);
CK_RV generate_p256(struct caller *c, CK_BBOOL token, CK_OBJECT_HANDLE *public_key, CK_OBJECT_HANDLE *key);
CK_RV generate_aes(struct caller *c, CK_ULONG bits, CK_OBJECT_HANDLE *key);

/* step.c */
CK_RV step_sign(struct worker *w);
CK_RV step_verify(struct worker *w);
CK_RV step_gcm(struct worker *w);
CK_RV step_cbc(struct worker *w);
CK_RV step_digest(struct worker *w);
CK_RV step_random(struct worker *w);
CK_RV step_generate_rsa(struct worker *w);
CK_RV step_generate_p256(struct worker *w);
CK_RV step_generate_aes(struct worker *w);
CK_RV step_attributes(struct worker *w);
CK_RV step_session(struct worker *w);
CK_RV step_find(struct worker *w);
CK_RV step_create(struct worker *w);

#endif
