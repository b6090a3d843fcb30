/* The library's own file: finding it again in a forked child, and loading a second copy of it.
 *
 * The C library will not load one file twice, so the copy is a file of its own: in memory where that is allowed, else
 * in a directory that only we can enter, from which it is gone again before anybody else could look. Nothing is loaded
 * that is not, byte for byte, the beginning of the image that is running, with the build's own identity in it. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <link.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "fork.h"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif

/* The linker's name for the first byte of this image. Unlike dl_iterate_phdr() it takes no lock, which in a child might
 * be held for ever by a thread that is not there. */
extern const ElfW(Ehdr) __ehdr_start __attribute__((visibility("hidden")));

/* Our own file, open since C_Initialize; -1 before. Children inherit it. */
static int own_file = -1;

/* How many copies this process and its ancestors have loaded, for names that the C library has not seen. */
static unsigned generation;

static const ElfW(Phdr) *segments(void)
{
	return (const ElfW(Phdr) *)((const char *)&__ehdr_start + __ehdr_start.e_phoff);
}

int coffer_image_holds(const void *p)
{
	uintptr_t at = (uintptr_t)p - (uintptr_t)&__ehdr_start;

	for (int i = 0; i < __ehdr_start.e_phnum; i++) {
		const ElfW(Phdr) *s = &segments()[i];

		if (s->p_type == PT_LOAD && at >= s->p_vaddr && at - s->p_vaddr < s->p_memsz)
			return 1;
	}
	return 0;
}

/* read_at reads exactly n bytes at offset. */
static int read_at(int fd, char *to, size_t n, off_t offset)
{
	while (n > 0) {
		ssize_t got = pread(fd, to, n, offset);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return 0;
		to += got, n -= got, offset += got;
	}
	return 1;
}

/* is_ours says whether fd is the file that this image was loaded from. Device and inode do not tell (overlay file
 * systems show others than /proc), nor does the name (the package may have been replaced). The first segment does: it
 * is never written to, and holds the build identity. */
static int is_ours(int fd)
{
	const ElfW(Phdr) *s = segments();
	const char *image = (const char *)&__ehdr_start;
	struct stat st;
	char buf[16384];

	while (s->p_type != PT_LOAD)
		s++;
	if (fd < 0 || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || s->p_offset != 0 || (s->p_flags & PF_W))
		return 0;
	for (size_t done = 0; done < s->p_filesz; ) {
		size_t n = s->p_filesz - done < sizeof buf ? s->p_filesz - done : sizeof buf;

		if (!read_at(fd, buf, n, done) || memcmp(buf, image + done, n) != 0)
			return 0;
		done += n;
	}
	return 1;
}

/* open_ours opens path if it is our own file, else answers -1. */
static int open_ours(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

	if (fd >= 0 && !is_ours(fd)) {
		close(fd);
		return -1;
	}
	return fd;
}

/* open_mapped asks the kernel where our mapping came from. map_files leads to files that have lost their name and out
 * of a chroot, but only the privileged may follow it; the name is absolute even if the host gave a relative one. */
static int open_mapped(void)
{
	char line[PATH_MAX + 128], link[64];
	int fd = -1;
	FILE *maps = fopen("/proc/self/maps", "re");

	while (maps && fd < 0 && fgets(line, sizeof line, maps)) {
		unsigned long from, to;
		int name = 0;

		if (sscanf(line, "%lx-%lx %*s %*s %*s %*s %n", &from, &to, &name) != 2 || from != (unsigned long)&__ehdr_start)
			continue;
		snprintf(link, sizeof link, "/proc/self/map_files/%lx-%lx", from, to);
		fd = open_ours(link);
		line[strcspn(line, "\n")] = 0;
		if (fd < 0 && line[name] == '/')
			fd = open_ours(line + name);
	}
	if (maps)
		fclose(maps);
	return fd;
}

/* open_self opens our own file by whatever way is left. */
static int open_self(void)
{
	Dl_info info;
	int fd = -1;

	/* The host may have closed the remembered number and given it to another file. */
	if (own_file >= 0 && is_ours(own_file))
		return fcntl(own_file, F_DUPFD_CLOEXEC, 3);
	if (dladdr(&__ehdr_start, &info) && info.dli_fname[0] == '/')
		fd = open_ours(info.dli_fname);
	return fd >= 0 ? fd : open_mapped();
}

void coffer_image_remember(void)
{
	static int done;
	Dl_info info;

	if (__atomic_exchange_n(&done, 1, __ATOMIC_RELAXED))
		return;
	/* A private copy is never copied: the first image is. */
	if (dladdr(&__ehdr_start, &info) && strncmp(info.dli_fname, "/proc/self/", 11) == 0)
		return;
	int fd = open_self();
	if (fd < 0)
		return;
	/* Not among the low numbers that daemons close and expect to get back. */
	own_file = fcntl(fd, F_DUPFD_CLOEXEC, 64);
	if (own_file < 0)
		own_file = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	close(fd);
}

/* copy_range copies n bytes at offset from one file to the same place in another. */
static int copy_range(int to, int from, off_t offset, size_t n)
{
	if (lseek(to, offset, SEEK_SET) != offset)
		return 0;
	while (n > 0) {
		ssize_t done = sendfile(to, from, &offset, n);

		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return 0;
		n -= done;
	}
	return 1;
}

/* copy_image writes what the loader reads of the file, which leaves out debugging information. */
static int copy_image(int to, int from)
{
	for (int i = 0; i < __ehdr_start.e_phnum; i++) {
		const ElfW(Phdr) *s = &segments()[i];

		if (s->p_type == PT_LOAD && !copy_range(to, from, s->p_offset, s->p_filesz))
			return 0;
	}
	return 1;
}

static void *load(const char *path)
{
	return dlopen(path, RTLD_NOW | RTLD_LOCAL);
}

/* load_from_memory needs memfd_create() and /proc. */
static void *load_from_memory(int from)
{
	char path[PATH_MAX] = "/proc/self";
	void *image = NULL;
	size_t n = strlen(path);
	int fd = syscall(SYS_memfd_create, "coffer", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);

	if (fd < 0 && errno == EINVAL) /* a kernel before 6.3 */
		fd = syscall(SYS_memfd_create, "coffer", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return NULL;
	/* The C library remembers names, and our parent may have loaded its copy under the same number. */
	for (unsigned i = 0; i < generation && n < sizeof path - 32; i++, n += 2)
		memcpy(path + n, "/.", 2);
	snprintf(path + n, sizeof path - n, "/fd/%d", fd);
	if (copy_image(fd, from) && fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) == 0)
		image = load(path);
	close(fd);
	return image;
}

/* load_from_directory makes a file in a directory of our own below parent and removes both. */
static void *load_from_directory(const char *parent, int from)
{
	char dir[PATH_MAX - 16], path[PATH_MAX];
	void *image = NULL;
	int fd;

	if (!parent || parent[0] != '/' ||
	    snprintf(dir, sizeof dir, "%s/coffer-%u-XXXXXX", parent, generation) >= (int)sizeof dir || !mkdtemp(dir))
		return NULL;
	snprintf(path, sizeof path, "%s/copy.so", dir);
	fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd >= 0) {
		if (copy_image(fd, from))
			image = load(path);
		close(fd);
		unlink(path);
	}
	rmdir(dir);
	return image;
}

const CK_FUNCTION_LIST_3_2 *coffer_image_open(void)
{
	const char *parents[] = {secure_getenv("TMPDIR"), "/dev/shm", "/tmp", "/var/tmp"};
	CK_VERSION version = {3, 2};
	CK_INTERFACE *interface = NULL;
	CK_C_GetInterface get = NULL;
	void *image;
	int from = open_self();

	if (from < 0)
		return NULL;
	generation++;
	image = load_from_memory(from);
	for (size_t i = 0; !image && i < sizeof parents / sizeof parents[0]; i++)
		image = load_from_directory(parents[i], from);
	close(from);
	if (image)
		*(void **)&get = dlsym(image, "C_GetInterface");
	if (!get || get((CK_UTF8CHAR *)"PKCS 11", &version, &interface, 0) != CKR_OK)
		return NULL;
	return interface->pFunctionList;
}
