/* Preloaded into a node, it makes the machine misbehave: writes to files fail, the wall clock is another. What it does
 * is said, while the node runs, in the file that FAULTS_FILE names, as struct faults. Workers and compilers are started
 * without it. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

struct faults {
    int64_t clock_offset_ns; /* added to CLOCK_REALTIME */
    int32_t write_error;     /* errno of every write to a regular file, 0 for none */
    int32_t sync_error;      /* the same of fsync and fdatasync */
};

static volatile struct faults none;
static volatile struct faults *faults = &none;

__attribute__((constructor)) static void begin(void) {
    const char *name = getenv("FAULTS_FILE");
    int file = name ? open(name, O_RDWR | O_CLOEXEC) : -1;
    if (file < 0)
        return;
    void *mapped = mmap(NULL, sizeof *faults, PROT_READ, MAP_SHARED, file, 0);
    if (mapped != MAP_FAILED)
        faults = mapped;
    close(file);
    unsetenv("LD_PRELOAD");
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static int refused(int file) {
    struct stat status;
    if (faults->write_error == 0 || fstat(file, &status) != 0 || !S_ISREG(status.st_mode))
        return 0;
    errno = faults->write_error;
    return 1;
}

ssize_t write(int file, const void *data, size_t size) {
    return refused(file) ? -1 : REAL(write)(file, data, size);
}

ssize_t pwrite(int file, const void *data, size_t size, off_t offset) {
    return refused(file) ? -1 : REAL(pwrite)(file, data, size, offset);
}

ssize_t pwrite64(int file, const void *data, size_t size, off64_t offset) {
    return refused(file) ? -1 : REAL(pwrite64)(file, data, size, offset);
}

int ftruncate(int file, off_t size) { return refused(file) ? -1 : REAL(ftruncate)(file, size); }

int ftruncate64(int file, off64_t size) { return refused(file) ? -1 : REAL(ftruncate64)(file, size); }

static int not_synced(void) {
    if (faults->sync_error == 0)
        return 0;
    errno = faults->sync_error;
    return 1;
}

int fsync(int file) { return not_synced() ? -1 : REAL(fsync)(file); }

int fdatasync(int file) { return not_synced() ? -1 : REAL(fdatasync)(file); }

static void shift(struct timespec *time) {
    int64_t nanoseconds = time->tv_sec * 1000000000LL + time->tv_nsec + faults->clock_offset_ns;
    time->tv_sec = nanoseconds / 1000000000LL;
    time->tv_nsec = nanoseconds % 1000000000LL;
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    int result = REAL(clock_gettime)(clock, time);
    if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        shift(time);
    return result;
}

int gettimeofday(struct timeval *restrict time, void *restrict zone) {
    struct timespec now;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    time->tv_sec = now.tv_sec;
    time->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *result) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (result)
        *result = now.tv_sec;
    return now.tv_sec;
}
