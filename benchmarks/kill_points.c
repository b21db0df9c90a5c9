/* Kills a process group just before the n-th change of a file below a directory.

   Preloaded (LD_PRELOAD) into a process, which calls `kill_points_arm` when the changes begin to
   count. A change is a call that creates, writes, flushes, synchronizes, closes, renames or removes
   a file or directory; of a write that is interrupted, half of the bytes reach the file. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

static char directory[PATH_MAX];
static size_t length;
static long deadly;         /* Number of the change that is not made; 0 for none. */
static atomic_long *made;   /* Shared by a process and what it forks. */

/* Arms this process: `path` is absolute, `number` counts from 1. */
void kill_points_arm(const char *path, long number) {
  made = mmap(NULL, sizeof *made, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  deadly = number;
  strncpy(directory, path, sizeof directory - 1);
  length = strlen(directory);
}

/* Returns the number of changes so far. */
long kill_points_count(void) { return made ? atomic_load(made) : 0; }

static int is_below(const char *path) {
  if (!length || !path) return 0;
  char whole[2 * PATH_MAX];
  if (path[0] != '/') {
    if (!getcwd(whole, PATH_MAX)) return 0;
    strcat(whole, "/");
    strncat(whole, path, PATH_MAX - 1);
    path = whole;
  }
  return !strncmp(path, directory, length) && (path[length] == '/' || !path[length]);
}

static int is_open_below(int fd) {
  if (!length) return 0;
  char link[64], path[PATH_MAX];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t size = readlink(link, path, sizeof path - 1);
  if (size < 0) return 0;
  path[size] = 0;
  return is_below(path);
}

static int is_deadly(void) { return atomic_fetch_add(made, 1) + 1 == deadly; }

static void die(void) {
  kill(0, SIGKILL);
  for (;;) pause();
}

#define REAL(name) \
  static __typeof__(name) *real; \
  if (!real) real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

#define ON_PATH(name, parameters, path, arguments) \
  int name parameters { \
    REAL(name); \
    if (is_below(path) && is_deadly()) die(); \
    return real arguments; \
  }

#define ON_DESCRIPTOR(name) \
  int name(int fd) { \
    REAL(name); \
    if (is_open_below(fd) && is_deadly()) die(); \
    return real(fd); \
  }

#define ON_STREAM(name) \
  int name(FILE *stream) { \
    REAL(name); \
    if (stream && is_open_below(fileno(stream)) && is_deadly()) die(); \
    return real(stream); \
  }

#define OPEN(name) \
  int name(const char *path, int flags, ...) { \
    REAL(name); \
    va_list rest; \
    va_start(rest, flags); \
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0; \
    va_end(rest); \
    if (flags & (O_CREAT | O_TRUNC) && is_below(path) && is_deadly()) die(); \
    return real(path, flags, mode); \
  }

#define FOPEN(name) \
  FILE *name(const char *path, const char *mode) { \
    REAL(name); \
    if (mode[0] != 'r' && is_below(path) && is_deadly()) die(); \
    return real(path, mode); \
  }

OPEN(open)
OPEN(open64)
FOPEN(fopen)
FOPEN(fopen64)
ON_PATH(rename, (const char *from, const char *to), to, (from, to))
ON_PATH(link, (const char *from, const char *to), to, (from, to))
ON_PATH(symlink, (const char *from, const char *to), to, (from, to))
ON_PATH(remove, (const char *path), path, (path))
ON_PATH(unlink, (const char *path), path, (path))
ON_PATH(rmdir, (const char *path), path, (path))
ON_PATH(mkdir, (const char *path, mode_t mode), path, (path, mode))
ON_DESCRIPTOR(fsync)
ON_DESCRIPTOR(fdatasync)
ON_STREAM(fflush)
ON_STREAM(fclose)

/* shutil.rmtree removes files relative to the directory that it has opened. */
int unlinkat(int at, const char *path, int flags) {
  REAL(unlinkat);
  int below = at == AT_FDCWD || path[0] == '/' ? is_below(path) : is_open_below(at);
  if (below && is_deadly()) die();
  return real(at, path, flags);
}

ssize_t write(int fd, const void *bytes, size_t size) {
  REAL(write);
  if (is_open_below(fd) && is_deadly()) {
    if (size > 1) (void)!real(fd, bytes, size / 2);
    die();
  }
  return real(fd, bytes, size);
}

size_t fwrite(const void *bytes, size_t size, size_t count, FILE *stream) {
  REAL(fwrite);
  if (is_open_below(fileno(stream)) && is_deadly()) {
    static int (*flush)(FILE *);
    if (!flush) flush = (int (*)(FILE *))dlsym(RTLD_NEXT, "fflush");
    real(bytes, 1, size * count / 2, stream);
    flush(stream);
    die();
  }
  return real(bytes, size, count, stream);
}

ssize_t sendfile(int out, int in, off_t *offset, size_t count) {
  static ssize_t (*real)(int, int, off_t *, size_t);
  if (!real) real = (ssize_t(*)(int, int, off_t *, size_t))dlsym(RTLD_NEXT, "sendfile");
  if (is_open_below(out) && is_deadly()) die();
  return real(out, in, offset, count);
}
