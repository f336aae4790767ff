// The floor: the least that any container start costs on this kernel. One clone3 with seven namespaces, an overlay, /proc, pivot_root, execve.
//
//   floor LOWER UPPER WORK MERGED PROGRAM [ARGUMENT…]
#define _GNU_SOURCE
#include <errno.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void need(int ok, const char *call) {
    if (ok) return;
    fprintf(stderr, "floor: %s: %s\n", call, strerror(errno));
    _exit(125);
}

int main(int count, char **arguments) {
    if (count < 6) return fprintf(stderr, "usage: floor LOWER UPPER WORK MERGED PROGRAM [ARGUMENT…]\n"), 2;
    struct clone_args clone = {
        .flags = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWCGROUP | CLONE_NEWTIME,
        .exit_signal = SIGCHLD,
    };
    // A time namespace comes with unshare alone; the seventh here is user where the caller is not root.
    clone.flags &= ~(unsigned long long)CLONE_NEWTIME;
    clone.flags |= CLONE_NEWUSER;
    int ready[2];
    need(pipe2(ready, 02000000) == 0, "pipe2");
    long child = syscall(SYS_clone3, &clone, sizeof clone);
    need(child >= 0, "clone3");
    if (child == 0) {
        char byte;
        need(read(ready[0], &byte, 1) == 1, "read");
        char options[4096];
        snprintf(options, sizeof options, "lowerdir=%s,upperdir=%s,workdir=%s,userxattr", arguments[1], arguments[2], arguments[3]);
        need(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0, "mount private");
        need(mount("overlay", arguments[4], "overlay", 0, options) == 0, "mount overlay");
        need(chdir(arguments[4]) == 0, "chdir");
        need(mount("proc", "proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) == 0, "mount proc");
        need(syscall(SYS_pivot_root, ".", ".") == 0, "pivot_root");
        need(umount2(".", MNT_DETACH) == 0, "umount2");
        execv(arguments[5], arguments + 5);
        need(0, "execv");
    }
    char path[64];
    const char *maps[] = {"uid_map", "gid_map"};
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "/proc/%ld/%s", child, maps[i]);
        FILE *map = fopen(path, "w");
        need(map != NULL && fputs("0 0 65536", map) >= 0 && fclose(map) == 0, path);
    }
    need(write(ready[1], "x", 1) == 1, "write");
    int status;
    need(waitpid((pid_t)child, &status, 0) == child, "waitpid");
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
