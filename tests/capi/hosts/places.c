/* places MODULE CASE: what a host may do between loading the library and a child's first C_Initialize, so that the
 * library's own file is hard to find or its copy hard to load. MODULE is a copy that the host may do away with. */
#include "host.h"
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static char path[PATH_MAX], directory[PATH_MAX];

static void close_files(void)
{
	/* But what the runtime polls with, which it cannot live without (docs/limits.md). */
	for (int fd = 3; fd < 4096; fd++) {
		char name[64], what[64];
		ssize_t n;

		snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
		n = readlink(name, what, sizeof what - 1);
		what[n < 0 ? 0 : n] = 0;
		if (strstr(what, "[eventpoll]") == NULL && strstr(what, "[eventfd]") == NULL)
			close(fd);
	}
}

/* refuse_memfd lets memfd_create() fail as a sandbox would. */
static void refuse_memfd(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_memfd_create, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {sizeof code / sizeof code[0], code};

	CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
}

/* replace puts another file, no library at all, in the place of ours, as an upgrade might. */
static void replace(void)
{
	char other[PATH_MAX + 8];
	int fd;

	snprintf(other, sizeof other, "%s.new", path);
	fd = open(other, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	CHECK(fd >= 0 && write(fd, "no library", 10) == 10 && close(fd) == 0);
	CHECK(rename(other, path) == 0);
}

static void delete(void) { CHECK(unlink(path) == 0); }

static void delete_and_close(void)
{
	delete();
	close_files();
	/* The number that was ours now is another file's. */
	for (int i = 0; i < 100; i++)
		CHECK(open("/etc/passwd", O_RDONLY) >= 0);
	CHECK(setuid(65534) == 0); /* or the kernel itself would lead to the deleted file */
}

static void go_elsewhere(void) { CHECK(chdir("/") == 0); }

static void close_and_replace(void)
{
	close_files();
	replace();
	CHECK(setuid(65534) == 0);
}

/* new_root leaves a root directory with neither /proc nor the library. */
static void new_root(void)
{
	char temporary[PATH_MAX + 8];

	snprintf(temporary, sizeof temporary, "%s/tmp", directory);
	CHECK(mkdir(temporary, 0777) == 0 && chmod(temporary, 01777) == 0);
	CHECK(chroot(directory) == 0 && chdir("/") == 0);
}

static void new_root_as_nobody(void)
{
	new_root();
	CHECK(setuid(65534) == 0);
}

static const struct {
	const char *name;
	int initialised;      /* the parent calls C_Initialize */
	int relative;         /* the library is loaded by a relative name */
	void (*then)(void);   /* what the parent does before it forks */
	CK_RV want;
} cases[] = {
	{"nothing special", 0, 0, NULL, CKR_OK},
	{"relative name, directory changed", 0, 1, go_elsewhere, CKR_OK},
	{"files closed", 1, 0, close_files, CKR_OK},
	{"file deleted", 1, 0, delete, CKR_OK},
	{"file replaced", 1, 0, replace, CKR_OK},
	{"file deleted, files closed", 1, 0, delete_and_close, CKR_FUNCTION_FAILED},
	{"file replaced, files closed", 1, 0, close_and_replace, CKR_FUNCTION_FAILED},
	{"no memfd", 1, 0, refuse_memfd, CKR_OK},
	{"chroot without proc", 1, 0, new_root, CKR_OK},
	{"chroot without proc, not root", 1, 0, new_root_as_nobody, CKR_OK},
};

int main(int argc, char **argv)
{
	int status, i = argc > 2 ? atoi(argv[2]) : 0;
	CK_INFO info;
	pid_t pid;

	CHECK(argc > 1);
	if (i >= (int)(sizeof cases / sizeof cases[0])) {
		printf("no such case\n");
		return 2;
	}
	printf("%s\n", cases[i].name);
	fflush(stdout);
	CHECK(realpath(argv[1], path) != NULL);
	strcpy(directory, path);
	dirname(directory);
	if (cases[i].relative) {
		CHECK(chdir(directory) == 0);
		char name[PATH_MAX] = "./";
		strcat(name, basename(argv[1]));
		load_module(name);
	} else {
		load_module(path);
	}
	if (cases[i].initialised)
		OK(p11->C_Initialize(NULL));
	if (cases[i].then)
		cases[i].then();
	pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		alarm(240);
		WANT(p11->C_GetInfo(&info), CKR_CRYPTOKI_NOT_INITIALIZED);
		/* Where it cannot work it says so each time, and nothing else happens. */
		WANT(p11->C_Initialize(NULL), cases[i].want);
		if (cases[i].want == CKR_OK) {
			OK(p11->C_GetInfo(&info));
			OK(p11->C_Finalize(NULL));
		} else {
			WANT(p11->C_Initialize(NULL), cases[i].want);
			WANT(p11->C_GetInfo(&info), CKR_CRYPTOKI_NOT_INITIALIZED);
		}
		_exit(0);
	}
	CHECK(waitpid(pid, &status, 0) == pid);
	if (status != 0)
		failed(__FILE__, __LINE__, "wait status 0x%x", status);
	return 0;
}
