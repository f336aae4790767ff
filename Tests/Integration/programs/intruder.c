// What a hostile program in a container tries on the engine's own processes and on what the engine made. Harmless: it opens and never writes.
#define _GNU_SOURCE
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t ended;
static void end(int number) { (void)number, ended = 1; }

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

// The next process of /proc that is neither this one nor the first; 0 at the end.
static int next(DIR *proc) {
    for (struct dirent *entry; (entry = readdir(proc));)
        if (isdigit(entry->d_name[0]) && atoi(entry->d_name) != getpid() && atoi(entry->d_name) != 1) return atoi(entry->d_name);
    return 0;
}

static int open_of(int pid, const char *name, int flags) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
    return open(path, flags | O_CLOEXEC);
}

// Whether a process is still the runtime on its way in: it calls itself so until its execve.
static int is_runtime(int pid) {
    char name[32] = "";
    int file = open_of(pid, "comm", O_RDONLY);
    if (file < 0) return 0;
    ssize_t length = read(file, name, sizeof name - 1);
    close(file);
    return length > 0 && strncmp(name, "coffer", 6) == 0;
}

// Whether what was just opened belonged to the runtime. execve closes its descriptors, opens the process to others and only then renames it: the
// name may be the old one where the program is the new one already.
static int was_runtime(int pid) {
    char link[256] = "", path[64];
    snprintf(path, sizeof path, "/proc/%d/exe", pid);
    return readlink(path, link, sizeof link - 1) > 0 && strstr(link, "coffer-runtime");
}

// CVE-2016-9962: everything that a process shows of itself, while it is still the runtime. Prints each hit, then how many it met.
static int spy(double seconds) {
    static const struct { const char *name; int flags; } doors[] = {
        {"fd", O_RDONLY}, {"root", O_RDONLY}, {"cwd", O_RDONLY}, {"exe", O_RDONLY}, {"mem", O_RDWR}, {"environ", O_RDONLY}};
    int met = 0, last = 0;
    for (double deadline = now() + seconds; !ended && now() < deadline;) {
        DIR *proc = opendir("/proc");
        for (int pid; proc && (pid = next(proc));) {
            if (!is_runtime(pid)) continue;
            if (pid != last) met++, last = pid;
            for (size_t i = 0; i < sizeof doors / sizeof *doors; i++) {
                int file = open_of(pid, doors[i].name, doors[i].flags);
                // environ opens for whoever may see the process and reads as nothing for whoever may not.
                char byte;
                int hit = file >= 0 && (strcmp(doors[i].name, "environ") != 0 || read(file, &byte, 1) == 1);
                if (hit && was_runtime(pid)) printf("HIT %s of %d\n", doors[i].name, pid);
                if (file >= 0) close(file);
            }
            if (ptrace(PTRACE_SEIZE, pid, 0, 0) == 0) {
                if (was_runtime(pid)) printf("HIT ptrace of %d\n", pid);
                ptrace(PTRACE_INTERRUPT, pid, 0, 0);
                waitpid(pid, NULL, __WALL);
                ptrace(PTRACE_DETACH, pid, 0, 0);
            }
        }
        if (proc) closedir(proc);
    }
    printf("met %d\n", met);
    return 0;
}

// CVE-2019-5736: the runtime, executed in here through a script's interpreter, hangs at opening a pipe. Its program is opened, the process
// ended, and the file opened again for writing.
static int catch(void) {
    while (!ended) {
        DIR *proc = opendir("/proc");
        for (int pid; proc && (pid = next(proc));) {
            char link[256] = "", path[64];
            snprintf(path, sizeof path, "/proc/%d/exe", pid);
            if (readlink(path, link, sizeof link - 1) < 0 || strstr(link, "intruder") || !strstr(link, "coffer-runtime")) continue;
            int file = open_of(pid, "exe", O_RDONLY);
            if (file < 0) continue;
            kill(pid, SIGKILL);
            snprintf(path, sizeof path, "/proc/self/fd/%d", file);
            int writing = -1;
            for (double deadline = now() + 1; writing < 0 && now() < deadline; usleep(1000)) {
                writing = open(path, O_WRONLY | O_CLOEXEC);
                if (writing < 0 && errno != ETXTBSY) break;
            }
            // ETXTBSY to the end: somebody on the host runs it just now, and will not for ever.
            printf("caught %s %s\n", link, writing >= 0 ? "WRITABLE" : strerrorname_np(errno));
            return 0;
        }
        if (proc) closedir(proc);
        usleep(500);
    }
    return 1;
}

// Type and device number of each path: masks are the null device or an empty, read-only directory.
static int types(int count, char **paths) {
    for (int i = 0; i < count; i++) {
        struct stat status;
        if (stat(paths[i], &status) != 0) printf("%s %s\n", paths[i], strerrorname_np(errno));
        else if (S_ISCHR(status.st_mode)) printf("%s char %u:%u\n", paths[i], major(status.st_rdev), minor(status.st_rdev));
        else printf("%s %s\n", paths[i], S_ISDIR(status.st_mode) ? "directory" : S_ISREG(status.st_mode) ? "file" : "other");
    }
    return 0;
}

// Each mount and its type (proc_pid_mountinfo(5)).
static int mounts(void) {
    FILE *table = fopen("/proc/self/mountinfo", "re");
    char line[4096], place[1024], kind[64];
    while (table && fgets(line, sizeof line, table)) {
        char *rest = strstr(line, " - ");
        if (rest && sscanf(line, "%*s %*s %*s %*s %1023s", place) == 1 && sscanf(rest, " - %63s", kind) == 1) printf("%s %s\n", place, kind);
    }
    return table ? fclose(table) : 1;
}

// The groups of this process on one line, and whether a file can be read on the next.
static int groups(const char *path) {
    gid_t list[64];
    int count = getgroups(64, list);
    for (int i = 0; i < count; i++) printf("%u ", list[i]);
    printf("%u\n", getegid());
    int file = open(path, O_RDONLY);
    return puts(file >= 0 ? "readable" : strerrorname_np(errno)), 0;
}

// The numbers of all open descriptors but the one of the directory that is read.
static int descriptors(void) {
    DIR *own = opendir("/proc/self/fd");
    for (struct dirent *entry; own && (entry = readdir(own));)
        if (isdigit(entry->d_name[0]) && atoi(entry->d_name) != dirfd(own)) printf("%s\n", entry->d_name);
    return own ? closedir(own) : 1;
}

// Whether device nodes can be made and opened: "c 1:11" is the kernel's log, which every kernel has.
static int device(void) {
    if (mknod("/tmp/kmsg", S_IFCHR | 0600, makedev(1, 11)) != 0) return printf("mknod %s\n", strerrorname_np(errno)), 0;
    int file = open("/tmp/kmsg", O_RDONLY | O_NONBLOCK);
    printf("open %s\n", file >= 0 ? "SUCCEEDED" : strerrorname_np(errno));
    return 0;
}

int main(int count, char **arguments) {
    const char *task = count > 1 ? arguments[1] : "";
    setvbuf(stdout, NULL, _IOLBF, 0);
    signal(SIGTERM, end);
    if (strcmp(task, "hold") == 0) return puts("holding"), pause(), 0;
    if (strcmp(task, "nothing") == 0) return 0;
    if (strcmp(task, "spy") == 0 && count == 3) return spy(atof(arguments[2]));
    if (strcmp(task, "catch") == 0) return puts("waiting"), catch();
    if (strcmp(task, "types") == 0) return types(count - 2, arguments + 2);
    if (strcmp(task, "groups") == 0 && count == 3) return groups(arguments[2]);
    if (strcmp(task, "descriptors") == 0) return descriptors();
    if (strcmp(task, "mounts") == 0) return mounts();
    if (strcmp(task, "device") == 0) return device();
    dprintf(2, "usage: intruder hold | nothing | spy SECONDS | catch | types PATH… | mounts | descriptors | groups PATH | device\n");
    return 2;
}
