// A library to be preloaded (LD_PRELOAD) that lets one system call or allocation of a program fail, from main on:
//   FCI_FAULT=CALL:N:ERRNO   the Nth CALL fails with that number; N+ : it and all after it
//   CALL                     write fsync rename mkdir open malloc; short: a write that takes half of its bytes
//   FCI_FAULT_COUNT=FILE     appends at the end how many there were: "write=12 fsync=3 ..."
//   FCI_FREE=BYTES           what every disk has left, says statvfs
// Writes to standard output and error count, too. Nothing here allocates.
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace {

enum Call { none = -1, write_call, fsync_call, rename_call, mkdir_call, open_call, malloc_call, calls };
constexpr const char* names[] = {"write", "fsync", "rename", "mkdir", "open", "malloc"};

std::atomic<long> count[calls];
std::atomic<bool> armed = false;
thread_local bool spared = false;
Call failing = none;
bool halved = false, onwards = false; // a short write; all from the Nth
long nth = 0;
int error = EIO;

void read_plan() {
    const char* plan = std::getenv("FCI_FAULT");
    if (!plan) return;
    const size_t length = std::strcspn(plan, ":");
    halved = std::strncmp(plan, "short", length) == 0;
    for (int c = 0; c < calls; ++c)
        if (halved ? c == write_call : std::strlen(names[c]) == length && std::strncmp(plan, names[c], length) == 0)
            failing = static_cast<Call>(c);
    char* end = nullptr;
    nth = std::strtol(plan + length + (plan[length] == ':'), &end, 10);
    onwards = *end == '+';
    if (const char* number = std::strrchr(end, ':')) error = std::atoi(number + 1);
}

// Whether this call is the one; errno is set then.
bool fails(Call c) {
    if (!armed || spared) return false;
    const long n = ++count[c];
    if (c != failing || nth <= 0 || !(onwards ? n >= nth : n == nth)) return false;
    errno = error;
    return true;
}

template <class F>
F next(const char* name) {
    return reinterpret_cast<F>(::dlsym(RTLD_NEXT, name));
}

void report() {
    armed = false;
    const char* path = std::getenv("FCI_FAULT_COUNT");
    const int fd = path ? next<int (*)(const char*, int, ...)>("open")(path, O_WRONLY | O_CREAT | O_APPEND, 0600) : -1;
    if (fd < 0) return;
    for (int c = 0; c < calls; ++c) ::dprintf(fd, "%s=%ld\n", names[c], count[c].load());
    ::close(fd);
}

int (*real_main)(int, char**, char**);
int main_with_faults(int argc, char** argv, char** environment) {
    read_plan();
    armed = true;
    const int code = real_main(argc, argv, environment);
    report();
    return code;
}

int open_with_mode(const char* name, const char* path, int flags, va_list rest) {
    const mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;
    return fails(open_call) ? -1 : next<int (*)(const char*, int, ...)>(name)(path, flags, mode);
}

} // namespace

extern "C" {

void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void*, size_t),
    *__libc_memalign(size_t, size_t);

int __libc_start_main(int (*main)(int, char**, char**), int argc, char** argv, void (*init)(), void (*fini)(),
                      void (*rtld_fini)(), void* stack_end) {
    real_main = main;
    return next<decltype(&__libc_start_main)>("__libc_start_main")(main_with_faults, argc, argv, init, fini, rtld_fini,
                                                                   stack_end);
}

// glibc ends the program by abort where it has no memory for this, whatever the program does.
int __cxa_thread_atexit_impl(void (*destroy)(void*), void* object, void* library) {
    spared = true;
    const int failed = next<decltype(&__cxa_thread_atexit_impl)>("__cxa_thread_atexit_impl")(destroy, object, library);
    spared = false;
    return failed;
}

void* malloc(size_t n) { return fails(malloc_call) ? nullptr : __libc_malloc(n); }
void* calloc(size_t n, size_t size) { return fails(malloc_call) ? nullptr : __libc_calloc(n, size); }
void* realloc(void* p, size_t n) { return fails(malloc_call) ? nullptr : __libc_realloc(p, n); }
void* aligned_alloc(size_t alignment, size_t n) { return fails(malloc_call) ? nullptr : __libc_memalign(alignment, n); }
int posix_memalign(void** p, size_t alignment, size_t n) {
    if (fails(malloc_call)) return ENOMEM;
    *p = __libc_memalign(alignment, n);
    return *p ? 0 : ENOMEM;
}

ssize_t write(int fd, const void* bytes, size_t n) {
    const bool now = fails(write_call);
    if (now && !halved) return -1;
    return next<ssize_t (*)(int, const void*, size_t)>("write")(fd, bytes, now ? (n + 1) / 2 : n);
}
int fsync(int fd) { return fails(fsync_call) ? -1 : next<int (*)(int)>("fsync")(fd); }
int rename(const char* from, const char* to) {
    return fails(rename_call) ? -1 : next<int (*)(const char*, const char*)>("rename")(from, to);
}
int statvfs(const char* path, struct statvfs* disk) {
    const int failed = next<int (*)(const char*, struct statvfs*)>("statvfs")(path, disk);
    if (const char* free = std::getenv("FCI_FREE")) disk->f_bavail = std::strtoul(free, nullptr, 10) / disk->f_frsize;
    return failed;
}
int mkdir(const char* path, mode_t mode) {
    return fails(mkdir_call) ? -1 : next<int (*)(const char*, mode_t)>("mkdir")(path, mode);
}
int open(const char* path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    const int fd = open_with_mode("open", path, flags, rest);
    va_end(rest);
    return fd;
}
int open64(const char* path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    const int fd = open_with_mode("open64", path, flags, rest);
    va_end(rest);
    return fd;
}
}
