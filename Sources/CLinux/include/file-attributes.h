// Extended attributes and syncfs, which glibc's module for Swift leaves out.
#pragma once
#include <stddef.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

static inline int cl_fsetxattr(int fd, const char *name, const void *value, size_t size) {
    return (int)syscall(SYS_fsetxattr, fd, name, value, size, 0);
}
static inline ssize_t cl_fgetxattr(int fd, const char *name, void *value, size_t size) {
    return syscall(SYS_fgetxattr, fd, name, value, size);
}
static inline ssize_t cl_flistxattr(int fd, char *names, size_t size) { return syscall(SYS_flistxattr, fd, names, size); }
static inline int cl_syncfs(int fd) { return (int)syscall(SYS_syncfs, fd); }
// renameat2 with RENAME_NOREPLACE.
static inline int cl_rename_new(int from_dir, const char *from, int to_dir, const char *to) {
    return (int)syscall(SYS_renameat2, from_dir, from, to_dir, to, 1);
}
