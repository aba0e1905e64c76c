/* Shared by the system calls (WASI preview 1) of the SDKs for C++ and Go: their errors, what is UTF-8, and the calls that
 * every process is refused. */
#ifndef GUESTHOUSE_WASI_CALLS_H
#define GUESTHOUSE_WASI_CALLS_H

#include <stddef.h>
#include <stdint.h>

enum { SUCCESS = 0, BAD_FILE = 8, INVALID = 28, NO_SUCH_CALL = 52, NOT_SUPPORTED = 58 };

/* How many bytes the character there has; 0 if it is not UTF-8. */
static inline size_t character_bytes(const unsigned char *at, size_t left) {
    size_t bytes = at[0] < 0x80 ? 1 : at[0] < 0xC2 ? 0 : at[0] < 0xE0 ? 2 : at[0] < 0xF0 ? 3 : at[0] < 0xF5 ? 4 : 0;
    if (bytes > left || (bytes > 1 && (at[1] & 0xC0) != 0x80) || (bytes > 2 && (at[2] & 0xC0) != 0x80) ||
        (bytes > 3 && (at[3] & 0xC0) != 0x80))
        return 0;
    if ((at[0] == 0xE0 && at[1] < 0xA0) || (at[0] == 0xED && at[1] > 0x9F) || (at[0] == 0xF0 && at[1] < 0x90) ||
        (at[0] == 0xF4 && at[1] > 0x8F))
        return 0;
    return bytes;
}

/* Files, paths and sockets. `REFUSED(function, error, parameters…)` is to define one. */
#define W int32_t
#define D int64_t
#define REFUSED_CALLS(REFUSED) \
    REFUSED(fd_advise, BAD_FILE, W, D, D, W) \
    REFUSED(fd_allocate, BAD_FILE, W, D, D) \
    REFUSED(fd_close, BAD_FILE, W) \
    REFUSED(fd_datasync, BAD_FILE, W) \
    REFUSED(fd_fdstat_set_flags, BAD_FILE, W, W) \
    REFUSED(fd_fdstat_set_rights, BAD_FILE, W, D, D) \
    REFUSED(fd_filestat_get, BAD_FILE, W, W) \
    REFUSED(fd_filestat_set_size, BAD_FILE, W, D) \
    REFUSED(fd_filestat_set_times, BAD_FILE, W, D, D, W) \
    REFUSED(fd_pread, BAD_FILE, W, W, W, D, W) \
    REFUSED(fd_prestat_get, BAD_FILE, W, W) \
    REFUSED(fd_prestat_dir_name, BAD_FILE, W, W, W) \
    REFUSED(fd_pwrite, BAD_FILE, W, W, W, D, W) \
    REFUSED(fd_readdir, BAD_FILE, W, W, W, D, W) \
    REFUSED(fd_renumber, BAD_FILE, W, W) \
    REFUSED(fd_seek, BAD_FILE, W, D, W, W) \
    REFUSED(fd_sync, BAD_FILE, W) \
    REFUSED(fd_tell, BAD_FILE, W, W) \
    REFUSED(path_create_directory, NO_SUCH_CALL, W, W, W) \
    REFUSED(path_filestat_get, NO_SUCH_CALL, W, W, W, W, W) \
    REFUSED(path_filestat_set_times, NO_SUCH_CALL, W, W, W, W, D, D, W) \
    REFUSED(path_link, NO_SUCH_CALL, W, W, W, W, W, W, W) \
    REFUSED(path_open, NO_SUCH_CALL, W, W, W, W, W, D, D, W, W) \
    REFUSED(path_readlink, NO_SUCH_CALL, W, W, W, W, W, W) \
    REFUSED(path_remove_directory, NO_SUCH_CALL, W, W, W) \
    REFUSED(path_rename, NO_SUCH_CALL, W, W, W, W, W, W) \
    REFUSED(path_symlink, NO_SUCH_CALL, W, W, W, W, W) \
    REFUSED(path_unlink_file, NO_SUCH_CALL, W, W, W) \
    REFUSED(sock_accept, BAD_FILE, W, W, W) \
    REFUSED(sock_recv, BAD_FILE, W, W, W, W, W, W) \
    REFUSED(sock_send, BAD_FILE, W, W, W, W, W) \
    REFUSED(sock_shutdown, BAD_FILE, W, W)

#endif
