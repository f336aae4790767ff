#define _GNU_SOURCE
#include "CProbing.h"

#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

long cl_call_int80(long number, uint32_t a, uint32_t b, uint32_t c) {
#ifdef __x86_64__
    long result;
    // The kernel clears r8 to r11 on the way back.
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"((long)a), "c"((long)b), "d"((long)c) : "memory", "r8", "r9", "r10", "r11");
    int answer = (int)result;
    if (answer < 0 && answer > -4096) {
        errno = -answer;
        return -1;
    }
    return answer;
#else
    (void)number, (void)a, (void)b, (void)c;
    errno = ENOEXEC;
    return -1;
#endif
}

static int argument_count;
static char **argument_list;
// glibc gives these to constructors too. This one is before Swift's own, which ends the program where it finds neither its place in /proc nor this
// variable; it looks for a program that prints stack traces there, and does without.
__attribute__((constructor(101))) static void keep_arguments(int count, char **list) {
    argument_count = count;
    argument_list = list;
    if (access("/proc/self/exe", F_OK) != 0) setenv("SWIFT_ROOT", "/", 0);  // allowed(environment-change): there is no thread yet
}
int cl_argument_count(void) { return argument_count; }
const char *cl_argument(int index) { return index >= 0 && index < argument_count ? argument_list[index] : NULL; }

void *cl_low_page(void) {
#ifdef MAP_32BIT
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    return page == MAP_FAILED ? NULL : page;
#else
    return NULL;
#endif
}

unsigned cl_major(uint64_t device) { return major(device); }
unsigned cl_minor(uint64_t device) { return minor(device); }
uint64_t cl_device(unsigned major_number, unsigned minor_number) { return makedev(major_number, minor_number); }

long cl_path_magic(const char *path) {
    struct statfs found;
    return statfs(path, &found) == 0 ? (long)found.f_type : -1;
}
