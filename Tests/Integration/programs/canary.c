// Notes that it ran. As a program it stands in an image under the names of programs that an engine might run on the host's side; as a shared
// library under the names that a C library might load. Without a C library of its own, so that nothing keeps it from being loaded.
#include <asm/unistd.h>
#include <fcntl.h>

static long call(long number, long a, long b, long c, long d) {
#ifdef __x86_64__
    long result;
    register long r10 __asm__("r10") = d;
    __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10) : "rcx", "r11", "memory");
    return result;
#else
    register long x8 __asm__("x8") = number, x0 __asm__("x0") = a, x1 __asm__("x1") = b, x2 __asm__("x2") = c, x3 __asm__("x3") = d;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3) : "memory");
    return x0;
#endif
}

__attribute__((constructor)) static void sing(void) {
    // On the host and in the image alike: whichever root it ran in, it is found.
    call(__NR_openat, AT_FDCWD, (long)"/tmp/coffer-canary-ran", O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
}

#ifndef LIBRARY
void _start(void) {
    sing();
    call(__NR_exit_group, 0, 0, 0, 0);
    __builtin_unreachable();
}
#endif
