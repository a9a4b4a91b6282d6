/* A disk that fails on purpose: preloaded, it lets the Nth write, fsync or rename of the process fail.

   faults.py compiles it (cc -shared -fPIC -o shim.so shim.c -ldl) and arms it through ctypes. Counted are calls on
   files only (descriptors above 2), from arming on; `fired` says whether it has struck. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <sys/uio.h>
#include <unistd.h>

enum { WRITE = 1, FSYNC = 2, RENAME = 3 };

static int operation, count, errno_to_give, halve, sticky, struck;

void shim_arm(int what, int nth, int error, int short_write, int for_ever) {
    operation = what, count = nth, errno_to_give = error, halve = short_write, sticky = for_ever, struck = 0;
}

int shim_fired(void) { return struck; }

static int strikes(int what) {
    if (operation != what || count <= 0) return 0;
    if (--count) return 0;
    struck++;
    if (sticky) count = 1;
    errno = errno_to_give;
    return 1;
}

ssize_t write(int file, const void *bytes, size_t size) {
    static ssize_t (*real)(int, const void *, size_t);
    if (!real) real = dlsym(RTLD_NEXT, "write");
    if (file > 2 && strikes(WRITE)) {
        if (halve && size > 1) { /* half of it, and then no more room */
            count = 1, halve = 0;
            return real(file, bytes, size / 2);
        }
        return -1;
    }
    return real(file, bytes, size);
}

int fsync(int file) {
    static int (*real)(int);
    if (!real) real = dlsym(RTLD_NEXT, "fsync");
    return strikes(FSYNC) ? -1 : real(file);
}

int rename(const char *from, const char *to) {
    static int (*real)(const char *, const char *);
    if (!real) real = dlsym(RTLD_NEXT, "rename");
    return strikes(RENAME) ? -1 : real(from, to);
}
