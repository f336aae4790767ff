// Raw system calls that glibc 2.36 (Debian 12) lacks, makes variadic or wraps for threads, and the constants that its
// headers are too old for. Each is one call, no logic: -1 and errno on failure, as syscall(2) has it.
#pragma once
#include <errno.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

// New calls have the same number on every architecture but alpha.
#ifndef SYS_pidfd_send_signal
#define SYS_pidfd_send_signal 424
#endif
#ifndef SYS_open_tree
#define SYS_open_tree 428
#define SYS_move_mount 429
#define SYS_fsopen 430
#define SYS_fsconfig 431
#define SYS_fsmount 432
#define SYS_fspick 433
#endif
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef SYS_clone3
#define SYS_clone3 435
#endif
#ifndef SYS_close_range
#define SYS_close_range 436
#endif
#ifndef SYS_openat2
#define SYS_openat2 437
#endif
#ifndef SYS_mount_setattr
#define SYS_mount_setattr 442
#endif
#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444
#define SYS_landlock_add_rule 445
#define SYS_landlock_restrict_self 446
#endif

// linux/sched.h
struct cl_clone_args {
    uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size, cgroup;
};
// linux/openat2.h
struct cl_open_how {
    uint64_t flags, mode, resolve;
};
// linux/mount.h
struct cl_mount_attr {
    uint64_t attr_set, attr_clr, propagation, userns_fd;
};
// linux/capability.h, version 3
struct cl_cap_data {
    uint32_t effective_low, permitted_low, inheritable_low, effective_high, permitted_high, inheritable_high;
};
// linux/landlock.h, ABI 6
struct cl_landlock_ruleset_attr {
    uint64_t handled_access_fs, handled_access_net, scoped;
};
struct cl_landlock_path_beneath_attr {
    uint64_t allowed_access;
    int32_t parent_fd;
} __attribute__((packed));
struct cl_landlock_net_port_attr {
    uint64_t allowed_access, port;
};
// linux/filter.h
struct cl_sock_fprog {
    unsigned short len;
    const void *filter;
};

static inline int cl_clone3(const struct cl_clone_args *args) { return (int)syscall(SYS_clone3, args, sizeof *args); }
static inline long cl_ptrace(long request, pid_t pid, long address, void *data) { return syscall(SYS_ptrace, request, pid, address, data); }
static inline int cl_unshare(uint64_t flags) { return (int)syscall(SYS_unshare, flags); }
static inline int cl_setns(int fd, int kind) { return (int)syscall(SYS_setns, fd, kind); }
static inline int cl_openat2(int dirfd, const char *path, uint64_t flags, uint64_t mode, uint64_t resolve) {
    struct cl_open_how how = {flags, mode, resolve};
    return (int)syscall(SYS_openat2, dirfd, path, &how, sizeof how);
}
static inline int cl_open_tree(int dirfd, const char *path, unsigned flags) {
    return (int)syscall(SYS_open_tree, dirfd, path, flags);
}
static inline int cl_move_mount(int fromfd, const char *from, int tofd, const char *to, unsigned flags) {
    return (int)syscall(SYS_move_mount, fromfd, from, tofd, to, flags);
}
static inline int cl_fsopen(const char *name, unsigned flags) { return (int)syscall(SYS_fsopen, name, flags); }
static inline int cl_fsconfig(int fd, unsigned command, const char *key, const void *value, int aux) {
    return (int)syscall(SYS_fsconfig, fd, command, key, value, aux);
}
static inline int cl_fsmount(int fd, unsigned flags, unsigned attributes) {
    return (int)syscall(SYS_fsmount, fd, flags, attributes);
}
static inline int cl_mount_setattr(int dirfd, const char *path, unsigned flags, const struct cl_mount_attr *attr) {
    return (int)syscall(SYS_mount_setattr, dirfd, path, flags, attr, sizeof *attr);
}
static inline int cl_mount(const char *source, const char *target, const char *type, unsigned long flags, const void *data) {
    return (int)syscall(SYS_mount, source, target, type, flags, data);
}
static inline int cl_umount2(const char *target, int flags) { return (int)syscall(SYS_umount2, target, flags); }
static inline int cl_pivot_root(const char *new_root, const char *put_old) {
    return (int)syscall(SYS_pivot_root, new_root, put_old);
}
static inline int cl_pidfd_open(int pid, unsigned flags) { return (int)syscall(SYS_pidfd_open, pid, flags); }
static inline int cl_pidfd_send_signal(int pidfd, int signal) {
    return (int)syscall(SYS_pidfd_send_signal, pidfd, signal, (void *)0, 0);
}
static inline int cl_close_range(unsigned first, unsigned last, unsigned flags) {
    return (int)syscall(SYS_close_range, first, last, flags);
}
static inline int cl_capset(const struct cl_cap_data *data) {
    struct { uint32_t version; int pid; } header = {0x20080522, 0};
    uint32_t sets[6] = {data->effective_low, data->permitted_low, data->inheritable_low,
                        data->effective_high, data->permitted_high, data->inheritable_high};
    return (int)syscall(SYS_capset, &header, sets);
}
// The calling thread's effective set; 0 when it cannot be read.
static inline uint64_t cl_effective_capabilities(void) {
    struct { uint32_t version; int pid; } header = {0x20080522, 0};
    uint32_t sets[6] = {0};
    return syscall(SYS_capget, &header, sets) != 0 ? 0 : sets[0] | (uint64_t)sets[3] << 32;
}
static inline int cl_prctl(int option, unsigned long a, unsigned long b, unsigned long c, unsigned long d) {
    return (int)syscall(SYS_prctl, option, a, b, c, d);
}
static inline int cl_prctl_string(int option, const char *text) { return (int)syscall(SYS_prctl, option, text, 0, 0, 0); }
static inline int cl_seccomp(unsigned operation, unsigned flags, const void *argument) {
    return (int)syscall(SYS_seccomp, operation, flags, argument);
}
static inline int cl_landlock_create_ruleset(const struct cl_landlock_ruleset_attr *attr, size_t size, unsigned flags) {
    return (int)syscall(SYS_landlock_create_ruleset, attr, size, flags);
}
static inline int cl_landlock_add_rule(int ruleset, int type, const void *rule) {
    return (int)syscall(SYS_landlock_add_rule, ruleset, type, rule, 0);
}
static inline int cl_landlock_restrict_self(int ruleset, unsigned flags) {
    return (int)syscall(SYS_landlock_restrict_self, ruleset, flags);
}
// The serial number of the session keyring; it is not made where there is none.
static inline long cl_keyctl_session(void) { return syscall(SYS_keyctl, 0 /* GET_KEYRING_ID */, -3, 0); }
static inline long cl_keyctl_join_session(const char *name) { return syscall(SYS_keyctl, 1 /* JOIN_SESSION_KEYRING */, name); }
static inline int cl_sethostname(const char *name, size_t length) { return (int)syscall(SYS_sethostname, name, length); }
static inline int cl_setdomainname(const char *name, size_t length) { return (int)syscall(SYS_setdomainname, name, length); }
// Raw, because glibc's wrappers signal every thread and its own bookkeeping does not survive a raw clone3.
static inline int cl_setresuid(uint32_t r, uint32_t e, uint32_t s) { return (int)syscall(SYS_setresuid, r, e, s); }
static inline int cl_setresgid(uint32_t r, uint32_t e, uint32_t s) { return (int)syscall(SYS_setresgid, r, e, s); }
static inline int cl_setgroups(size_t count, const uint32_t *groups) { return (int)syscall(SYS_setgroups, count, groups); }
static inline int cl_own_groups(size_t room, uint32_t *groups) { return (int)syscall(SYS_getgroups, room, groups); }
// getcwd(2) itself: glibc's wrapper hides "(unreachable)", which is what CVE-2024-21626 shows up as.
static inline long cl_getcwd(char *buffer, size_t size) { return syscall(SYS_getcwd, buffer, size); }
static inline int cl_ioctl_int(int fd, unsigned long request, unsigned long argument) { return ioctl(fd, request, argument); }
static inline int cl_ioctl_pointer(int fd, unsigned long request, void *argument) { return ioctl(fd, request, argument); }
static inline int cl_prlimit(int resource, uint64_t soft, uint64_t hard) {
    uint64_t limits[2] = {soft, hard};
    return (int)syscall(SYS_prlimit64, 0, resource, limits, (void *)0);
}
static inline int cl_getrlimit(int resource, uint64_t *soft, uint64_t *hard) {
    uint64_t limits[2] = {0, 0};
    int result = (int)syscall(SYS_prlimit64, 0, resource, (void *)0, limits);
    *soft = limits[0];
    *hard = limits[1];
    return result;
}
static inline int cl_personality(unsigned long persona) { return (int)syscall(SYS_personality, persona); }
static inline int cl_fcntl(int fd, int command, long argument) { return (int)syscall(SYS_fcntl, fd, command, argument); }
static inline int cl_memfd_create(const char *name, unsigned flags) { return (int)syscall(SYS_memfd_create, name, flags); }
static inline int cl_pipe2(int *ends, int flags) { return (int)syscall(SYS_pipe2, ends, flags); }
#ifndef SYS_faccessat2
#define SYS_faccessat2 439
#endif
static inline int cl_faccessat2(int dirfd, const char *path, int mode, int flags) {
    return (int)syscall(SYS_faccessat2, dirfd, path, mode, flags);
}
// linux/sched/types.h, the first version
struct cl_sched_attr {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime, deadline, period;
};
static inline int cl_sched_setattr(const struct cl_sched_attr *attr) { return (int)syscall(SYS_sched_setattr, 0, attr, 0u); }
static inline int cl_ioprio_set(int value) { return (int)syscall(SYS_ioprio_set, 1 /* IOPRIO_WHO_PROCESS */, 0, value); }
static inline int cl_sched_setaffinity(const uint64_t *mask, size_t bytes) { return (int)syscall(SYS_sched_setaffinity, 0, bytes, mask); }
// The policy of the calling thread (set_mempolicy(2)); `bits` is the length of the mask, 0 for none.
static inline int cl_set_mempolicy(int mode, const uint64_t *nodes, unsigned long bits) {
    return (int)syscall(SYS_set_mempolicy, mode, bits == 0 ? (void *)0 : nodes, bits);
}
#ifndef SYS_pidfd_getfd
#define SYS_pidfd_getfd 438
#endif
static inline int cl_pidfd_getfd(int pidfd, int fd) { return (int)syscall(SYS_pidfd_getfd, pidfd, fd, 0); }
static inline int cl_umask(unsigned mask) { return (int)syscall(SYS_umask, mask); }
static inline int cl_mknodat(int dirfd, const char *name, unsigned mode, uint64_t device) {
    return (int)syscall(SYS_mknodat, dirfd, name, mode, (unsigned)device);
}
// bpf(2), linux/bpf.h: BPF_PROG_LOAD of a BPF_PROG_TYPE_CGROUP_DEVICE program of `count` instructions; its descriptor.
static inline int cl_bpf_load_device_program(const void *instructions, uint32_t count) {
    struct {
        uint32_t type, count;
        uint64_t instructions, license;
        uint32_t log_level, log_size;
        uint64_t log;
        uint32_t kernel_version, flags;
        char name[16];
        uint32_t interface_index, attach_type;
    } load = {15, count, (uint64_t)(uintptr_t)instructions, (uint64_t)(uintptr_t)"Apache", 0, 0, 0, 0, 0, "coffer_devices", 0, 6 /* BPF_CGROUP_DEVICE */};
    return (int)syscall(SYS_bpf, 5, &load, sizeof load);
}
// BPF_PROG_ATTACH to a cgroup's directory, BPF_F_ALLOW_MULTI.
static inline int cl_bpf_attach_device_program(int group, int program) {
    struct {
        uint32_t target, program, type, flags;
    } attach = {(uint32_t)group, (uint32_t)program, 6, 2};
    return (int)syscall(SYS_bpf, 8, &attach, sizeof attach);
}
// User ID of a unix socket's peer (SO_PEERCRED), or -1.
int64_t cl_peer_user(int socket);
// Gives free heap and the clean pages of the program's own file back, then waits (poll(2)) without a limit: the kernel reads such pages again from the
// file when they are touched. `pagemap` is /proc/self/pagemap, opened.
struct pollfd;
int cl_poll_lean(struct pollfd *list, unsigned length, int pagemap);
// The file system's magic number (statfs(2)), or -1.
long cl_filesystem_magic(int fd);
// Sends one byte of data with one descriptor (SCM_RIGHTS, unix(7)).
int cl_send_descriptor(int socket, const void *data, size_t length, int descriptor);
// Receives data and at most one descriptor, close-on-exec; *descriptor is -1 when none came.
ssize_t cl_receive_descriptor(int socket, void *data, size_t length, int *descriptor);
