/* Options and requests. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "bench.h"

#define MAX_SECONDS 3600.0

static const char help[] =
	"usage: coffer-bench --module FILE [options]\n"
	"\n"
	"Measures a PKCS#11 library and prints one JSON object a line: the library, then each measurement.\n"
	"The PIN is read from COFFER_PIN in the environment.\n"
	"\n"
	"  --module FILE           the library\n"
	"  --parameters TEXT       for C_Initialize of a library that refuses to do without (NSS's softokn)\n"
	"  --slot ID               the slot; default: the first with an initialised token\n"
	"  --token LABEL           the token, by its label\n"
	"  --operations A,B,...    what to measure; default: everything\n"
	"  --threads 1,2,...       with how many threads; default: 1\n"
	"  --seconds N             for how long each; default: 1\n"
	"  --steps N               for how many steps of each thread instead, after one that does not count\n"
	"  --setup-limit N         seconds that making an operation's objects may take; default: 120\n"
	"  --serve                 read requests from standard input: measure OPERATION THREADS SECONDS\n"
	"  --leave-objects         do not remove what is on the token at the end\n"
	"  --init LABEL            make a token instead; its PINs are in COFFER_SO_PIN and COFFER_PIN\n"
	"  --info                  print only the first line\n"
	"  --list                  print the operations; needs no library\n";

static void on_signal(int number)
{
	(void)number;
	interrupted = 1;
}

/* catch_signals lets an interrupt end the measurement and clean up. Reading a request ends too. */
static void catch_signals(void)
{
	struct sigaction a = {.sa_handler = on_signal};
	static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};

	for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
		sigaction(numbers[i], &a, NULL);
}

/* own_output keeps standard output to ourselves: what a module or a child of its prints there goes to standard error. */
static FILE *own_output(void)
{
	int fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
	FILE *to = fd < 0 ? NULL : fdopen(fd, "w");

	if (to == NULL || dup2(STDERR_FILENO, STDOUT_FILENO) < 0)
		die("standard output cannot be used: %s", strerror(errno));
	return to;
}

/* number reads a positive number that fills the whole word. */
static double number(const char *what, const char *word, double most)
{
	char *end;
	double n = strtod(word, &end);

	if (end == word || *end != 0 || !(n > 0) || n > most)
		die("%s is not a number above 0 and up to %.0f: %s", what, most, word);
	return n;
}

static unsigned thread_count(const char *word)
{
	double n = number("the number of threads", word, MAX_THREADS);

	if (n != (unsigned)n)
		die("the number of threads is not whole: %s", word);
	return (unsigned)n;
}

static const struct operation *operation_or_die(const char *name)
{
	const struct operation *op = operation_named(name);

	if (op == NULL)
		die("there is no operation %s; --list shows them", name);
	return op;
}

/* serve answers requests until they end. */
static void serve(struct host *h, FILE *to)
{
	char line[256], name[64], threads[16], seconds[32];

	while (!interrupted && fgets(line, sizeof line, stdin) != NULL) {
		if (sscanf(line, "measure %63s %15s %31s", name, threads, seconds) != 3)
			die("this is not a request: %s", line);
		measure(h, operation_or_die(name), thread_count(threads),
			(struct length){.seconds = number("the time", seconds, MAX_SECONDS)}, to);
		fflush(to);
	}
}

/* measure_threads measures one operation for each entry of a list of thread counts. */
static void measure_threads(struct host *h, const struct operation *op, const char *threads, struct length length, FILE *to)
{
	char *list = strdup(threads), *rest = NULL;

	for (char *w = strtok_r(list, ",", &rest); w != NULL && !interrupted; w = strtok_r(NULL, ",", &rest)) {
		measure(h, op, thread_count(w), length, to);
		fflush(to);
	}
	free(list);
}

/* chosen says whether an operation's name is in a list; without a list all are. */
static int chosen(const char *list, const char *name)
{
	size_t len = strlen(name);

	for (const char *p = list; p != NULL; p = strchr(p, ',')) {
		p += *p == ',';
		if (strncmp(p, name, len) == 0 && (p[len] == ',' || p[len] == 0))
			return 1;
	}
	return list == NULL;
}

static void check_names(const char *names)
{
	char *list = strdup(names), *rest = NULL;

	for (char *w = strtok_r(list, ",", &rest); w != NULL; w = strtok_r(NULL, ",", &rest))
		operation_or_die(w);
	free(list);
}

enum { MODULE = 256, PARAMETERS, SLOT, TOKEN, OPERATIONS, THREADS, SECONDS, STEPS, SETUP_LIMIT, SERVE, LEAVE, INIT, INFO, LIST, HELP };

static const struct option options[] = {
	{"module", 1, NULL, MODULE}, {"parameters", 1, NULL, PARAMETERS}, {"slot", 1, NULL, SLOT}, {"token", 1, NULL, TOKEN},
	{"operations", 1, NULL, OPERATIONS}, {"threads", 1, NULL, THREADS}, {"seconds", 1, NULL, SECONDS}, {"steps", 1, NULL, STEPS}, {"setup-limit", 1, NULL, SETUP_LIMIT},
	{"serve", 0, NULL, SERVE}, {"leave-objects", 0, NULL, LEAVE}, {"init", 1, NULL, INIT}, {"info", 0, NULL, INFO},
	{"list", 0, NULL, LIST}, {"help", 0, NULL, HELP}, {NULL, 0, NULL, 0},
};

int main(int argc, char **argv)
{
	static struct host h = {.setup_limit = 120};
	struct choice choice = {.slot = -1};
	const char *path = NULL, *parameters = NULL, *names = NULL, *threads = "1", *init = NULL;
	struct length length = {.seconds = 1};
	int serving = 0, info = 0, o;
	FILE *to;

	while ((o = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (o) {
		case MODULE: path = optarg; break;
		case PARAMETERS: parameters = optarg; break;
		case SLOT: choice.slot = atol(optarg); break;
		case TOKEN: choice.label = optarg; break;
		case OPERATIONS: check_names(names = optarg); break;
		case THREADS: threads = optarg; break;
		case SECONDS: length.seconds = number("the time", optarg, MAX_SECONDS); break;
		case STEPS: length.steps = (uint64_t)number("how many steps", optarg, 1e15); break;
		case SETUP_LIMIT: h.setup_limit = number("the limit", optarg, MAX_SECONDS); break;
		case SERVE: serving = 1; break;
		case LEAVE: h.leave_objects = 1; break;
		case INIT: init = optarg; break;
		case INFO: info = 1; break;
		case LIST: list_operations(stdout); return 0;
		case HELP: fputs(help, stdout); return 0;
		default: fputs(help, stderr); return 2;
		}
	}
	if (path == NULL || optind < argc) {
		fputs(help, stderr);
		return 2;
	}
	h.first_id = (uint64_t)getpid() << 32;
	to = own_output();
	module_load(&h, path, parameters);
	catch_signals();
	if (init != NULL)
		module_init_token(&h, &choice, init);
	else if (!info)
		module_login(&h, &choice);
	module_info(&h, to, path); /* now, because whoever reads it may take the login as done */
	if (init == NULL && !info) {
		if (serving)
			serve(&h, to);
		else
			for (const struct operation *op = operations; op->name != NULL && !interrupted; op++)
				if (chosen(names, op->name))
					measure_threads(&h, op, threads, length, to);
	}
	module_close(&h);
	return 0;
}
