// What a probe asks of the kernel: any call by its number, through every table that a filter may have forgotten.
#pragma once
#include <errno.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

// Calls that an architecture does not have.
#ifndef SYS_iopl
#define SYS_iopl -1
#define SYS_ioperm -1
#endif
#ifndef SYS_modify_ldt
#define SYS_modify_ldt -1
#endif
#ifndef SYS_uselib
#define SYS_uselib -1
#endif
#ifndef SYS_lookup_dcookie
#define SYS_lookup_dcookie -1
#endif
#ifndef SYS_process_madvise
#define SYS_process_madvise 440
#endif
#ifndef SYS_memfd_secret
#define SYS_memfd_secret 447
#endif
#ifndef SYS_listmount
#define SYS_listmount 458
#endif

// One system call; -1 and errno on failure.
static inline long cl_call(long number, uintptr_t a, uintptr_t b, uintptr_t c, uintptr_t d, uintptr_t e, uintptr_t f) {
    return syscall(number, a, b, c, d, e, f);
}
// A call of the 32-bit table: int 0x80. -1 and errno on failure; ENOEXEC where the architecture has no such table.
long cl_call_int80(long number, uint32_t a, uint32_t b, uint32_t c);
// A call of the x32 table; ENOEXEC where the architecture has none.
static inline long cl_call_x32(long number) {
#ifdef __x86_64__
    return syscall(0x40000000L | number);
#else
    (void)number;
    errno = ENOEXEC;
    return -1;
#endif
}
// Memory whose address fits into 32 bits, of one page, or NULL.
void *cl_low_page(void);
// "EPERM"; glibc 2.32. Declared here: glibc shows it under _GNU_SOURCE only.
extern const char *strerrorname_np(int number);
static inline const char *cl_errno_name(int number) { return strerrorname_np(number); }
unsigned cl_major(uint64_t device);
unsigned cl_minor(uint64_t device);
uint64_t cl_device(unsigned major, unsigned minor);
static inline long cl_ptrace(int request, int pid, uintptr_t address, uintptr_t data) { return syscall(SYS_ptrace, (long)request, (long)pid, address, data); }
// The type of the file system at a path (statfs(2)), or -1.
long cl_path_magic(const char *path);
// The program's arguments as the kernel gave them: Swift's CommandLine reads /proc/self/cmdline, and there may be no /proc.
int cl_argument_count(void);
const char *cl_argument(int index);
// renameat2 with RENAME_EXCHANGE.
static inline int cl_rename_exchange(const char *one, const char *other) { return (int)syscall(SYS_renameat2, -100, one, -100, other, 2); }
