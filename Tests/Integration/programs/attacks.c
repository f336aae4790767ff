// Tries what a container must not be able to do, harmlessly, and prints one line for each: "NAME denied ERRNO" or "NAME SUCCEEDED".
// With arguments: tries only these. Exit status: how many succeeded.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

// Runs in a child, so that an attempt that ends the process ends only the attempt. The child's exit status is the errno, 0 for success,
// 255 for "killed by a signal".
static int in_child(long (*attempt)(void)) {
    pid_t child = fork();
    if (child < 0) return errno;
    if (child == 0) {
        errno = 0;
        long result = attempt();
        _exit(result >= 0 ? 0 : (errno ? errno : 254));
    }
    int status;
    if (waitpid(child, &status, 0) != child) return errno;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 255;
}

static long unshare_user(void) { return unshare(CLONE_NEWUSER); }

static long child_of(long pid) {
    if (pid == 0) _exit(0);
    return pid;
}

static long clone_user(void) { return child_of(syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0)); }

static long clone3_user(void) {
    struct clone_args arguments = {.flags = CLONE_NEWUSER, .exit_signal = SIGCHLD};
    return child_of(syscall(SYS_clone3, &arguments, sizeof arguments));
}

static long mknod_whiteout(void) { return mknod("/tmp/coffer-whiteout", S_IFCHR | 0600, makedev(0, 0)); }
static long mknod_memory(void) { return mknod("/tmp/coffer-memory", S_IFCHR | 0600, makedev(1, 1)); }
static long mknod_disk(void) { return mknod("/tmp/coffer-disk", S_IFBLK | 0600, makedev(8, 0)); }
static long keyctl_session(void) { return syscall(SYS_keyctl, 0 /* KEYCTL_GET_KEYRING_ID */, -3 /* session */, 1); }
static long add_key(void) { return syscall(SYS_add_key, "user", "coffer", "x", 1, -3); }
static long socket_vsock(void) { return socket(AF_VSOCK, SOCK_STREAM, 0); }
static long socket_alg(void) { return socket(AF_ALG, SOCK_SEQPACKET, 0); }
static long socket_packet(void) { return socket(AF_PACKET, SOCK_RAW, 0); }
static long socket_raw(void) { return socket(AF_INET, SOCK_RAW, 1); }

// The kernel takes an int: a filter that compares 64 bits sees another family than the kernel does.
static long socket_high_bits(void) { return syscall(SYS_socket, (uint64_t)AF_VSOCK | (1ULL << 32), SOCK_STREAM, 0); }

static long push_terminal_input(void) {
    int master = posix_openpt(O_RDWR | O_NOCTTY);
    if (master < 0 || grantpt(master) != 0 || unlockpt(master) != 0) {
        dprintf(2, "cannot make a terminal to try TIOCSTI on: %s\n", strerror(errno));
        _exit(254);
    }
    setsid();
    int terminal = open(ptsname(master), O_RDWR);
    if (terminal < 0) _exit(254);
    return ioctl(terminal, TIOCSTI, "x");
}

// The same with bits that the kernel ignores set above the low 32 (CVE-2019-10063).
static long push_terminal_input_high_bits(void) {
    int master = posix_openpt(O_RDWR | O_NOCTTY);
    if (master < 0 || grantpt(master) != 0 || unlockpt(master) != 0) _exit(254);
    setsid();
    int terminal = open(ptsname(master), O_RDWR);
    if (terminal < 0) _exit(254);
    return syscall(SYS_ioctl, terminal, TIOCSTI | (1ULL << 32), "x");
}

static long int80(void) {
#ifdef __x86_64__
    long result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(20 /* getpid of the 32-bit table */) : "memory", "r8", "r9", "r10", "r11");
    if (result < 0) errno = (int)-result;
    return result < 0 ? -1 : result;
#else
    errno = ENOSYS;
    return -1;
#endif
}

static long mount_tmpfs(void) { return mount("none", "/tmp", "tmpfs", 0, NULL); }
static long remount_proc_sys(void) { return mount(NULL, "/proc/sys", NULL, MS_REMOUNT | MS_BIND, NULL); }
static long umount_proc_sys(void) { return umount2("/proc/sys", MNT_DETACH); }

// Whichever of the masked paths this kernel has.
static long umount_mask(void) {
    static const char *const masks[] = {"/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware"};
    for (size_t i = 0; i < sizeof masks / sizeof *masks; i++)
        if (umount2(masks[i], MNT_DETACH) == 0) return 0;
        else if (errno != ENOENT) return -1;
    return -1;
}

static long write_sysrq(void) { return open("/proc/sysrq-trigger", O_WRONLY); }
static long write_core_pattern(void) { return open("/proc/sys/kernel/core_pattern", O_WRONLY); }
static long read_kcore(void) { char byte; int file = open("/proc/kcore", O_RDONLY); return file < 0 ? -1 : read(file, &byte, 1) == 1 ? 0 : (errno = EIO, -1); }
static long bpf_program(void) { return syscall(SYS_bpf, 0, NULL, 0); }
static long io_uring(void) { char parameters[120] = {0}; return syscall(SYS_io_uring_setup, 1, parameters); }
static long userfault(void) { return syscall(SYS_userfaultfd, 1); }
static long perf_event(void) { char attributes[128] = {0}; return syscall(SYS_perf_event_open, attributes, 0, -1, -1, 0); }
static long change_host_name(void) { return sethostname("escaped", 7); }
static long set_clock(void) { struct timespec now; clock_gettime(CLOCK_REALTIME, &now); return clock_settime(CLOCK_REALTIME, &now); }
static long load_module(void) { return syscall(SYS_finit_module, -1, "", 0); }
static long reboot_nothing(void) { return syscall(SYS_reboot, 0, 0, 0, 0); }
static long change_root(void) { return chroot("/tmp"); }
static long open_by_handle(void) { return syscall(SYS_open_by_handle_at, -1, NULL, 0); }

#define ATTACK(name) {#name, name}
static const struct { const char *name; long (*attempt)(void); } attacks[] = {
    ATTACK(unshare_user), ATTACK(clone_user), ATTACK(clone3_user), ATTACK(mknod_whiteout), ATTACK(mknod_memory), ATTACK(mknod_disk),
    ATTACK(keyctl_session), ATTACK(add_key), ATTACK(socket_vsock), ATTACK(socket_alg), ATTACK(socket_packet), ATTACK(socket_raw),
    ATTACK(socket_high_bits), ATTACK(push_terminal_input), ATTACK(push_terminal_input_high_bits), ATTACK(int80), ATTACK(mount_tmpfs),
    ATTACK(remount_proc_sys), ATTACK(umount_proc_sys), ATTACK(umount_mask), ATTACK(write_sysrq), ATTACK(write_core_pattern),
    ATTACK(read_kcore), ATTACK(bpf_program), ATTACK(io_uring), ATTACK(userfault), ATTACK(perf_event),
    ATTACK(change_host_name), ATTACK(set_clock), ATTACK(load_module), ATTACK(reboot_nothing), ATTACK(change_root), ATTACK(open_by_handle),
};

int main(int count, char **arguments) {
    int succeeded = 0;
    for (size_t i = 0; i < sizeof attacks / sizeof *attacks; i++) {
        int wanted = count == 1;
        for (int j = 1; j < count; j++) wanted |= strcmp(arguments[j], attacks[i].name) == 0;
        if (!wanted) continue;
        int error = in_child(attacks[i].attempt);
        if (error == 0) printf("%s SUCCEEDED\n", attacks[i].name);
        else if (error == 255) printf("%s denied KILLED\n", attacks[i].name);
        else if (error == 254) printf("%s NOT-TRIED\n", attacks[i].name);
        else printf("%s denied %s\n", attacks[i].name, strerrorname_np(error));
        succeeded += error == 0;
        fflush(stdout);
    }
    return succeeded;
}
