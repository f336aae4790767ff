// Waiting with as little of the program in memory as there can be. In C, and nearly without a call: what runs between dropping the program's pages and
// falling asleep is read in again, 64 kB for each place it is in; and nothing may write to a page of data between the look at it and its return.
#define _GNU_SOURCE
#include "CLinux.h"

#include <elf.h>
#include <link.h>
#include <malloc.h>
#include <poll.h>
#include <sys/auxv.h>
#include <sys/mman.h>

// Where the program's file begins in memory; the linker defines it.
extern const ElfW(Ehdr) __ehdr_start __attribute__((visibility("hidden")));

// proc_pid_pagemap(5): the page is in memory, and is still the file's own.
#define PRESENT_PAGE_OF_FILE (1ull << 63 | 1ull << 61)

enum { BATCH = 256 };

static void drop_clean(uintptr_t start, uintptr_t end, uintptr_t page, int pagemap) {
    uint64_t entries[BATCH];
    while (start < end) {
        size_t wanted = (end - start) / page < BATCH ? (end - start) / page : BATCH;
        long got = syscall(SYS_pread64, pagemap, entries, wanted * sizeof *entries, (off_t)(start / page * sizeof *entries));
        if (got < (long)sizeof *entries) return;
        size_t count = (size_t)got / sizeof *entries;
        for (size_t first = 0; first < count;) {
            size_t next = first;
            while (next < count && (entries[next] & PRESENT_PAGE_OF_FILE) == PRESENT_PAGE_OF_FILE) next++;
            if (next > first) syscall(SYS_madvise, start + first * page, (next - first) * page, MADV_DONTNEED);
            first = next + 1;
        }
        start += count * page;
    }
}

int cl_poll_lean(struct pollfd *list, unsigned length, int pagemap) {
    malloc_trim(0);
    uintptr_t page = getauxval(AT_PAGESZ);
    uintptr_t file = (uintptr_t)&__ehdr_start;
    const ElfW(Phdr) *headers = (const void *)(file + __ehdr_start.e_phoff);
    uintptr_t base = 0;
    for (int index = 0; index < __ehdr_start.e_phnum; index++)
        if (headers[index].p_type == PT_LOAD && headers[index].p_offset == 0) base = file - headers[index].p_vaddr;
    // From the last to the first: code comes before data, and what drops the data is code.
    for (int index = __ehdr_start.e_phnum - 1; index >= 0; index--) {
        if (headers[index].p_type != PT_LOAD) continue;
        uintptr_t start = (base + headers[index].p_vaddr) & ~(page - 1);
        uintptr_t end = (base + headers[index].p_vaddr + headers[index].p_filesz + page - 1) & ~(page - 1);
        drop_clean(start, end, page, pagemap);
    }
    return (int)syscall(SYS_ppoll, list, length, (void *)0, (void *)0, 0);
}
