// The sealed copy of coffer-runtime (ContainerRuntime's ProgramSeal, CVE-2019-5736), made before Swift's runtime starts. Whether a container needs it
// stands in its configuration; to have read that, and then to start again, is a quarter of what an exec takes. So root's create, run and exec start
// again here, where there is nothing yet to throw away, and ProgramSeal finds a program that nobody can write and goes on.
//
// It decides nothing: wherever something fails or is not as expected, this returns, and ProgramSeal does it all, or refuses.
#define _GNU_SOURCE
#include "CEarlySeal.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

const int ces_linked = 1;

// linux/mount.h, Linux 5.2; the numbers of the calls are the same on all architectures that we build for.
enum { FSOPEN = 430, FSCONFIG = 431, FSMOUNT = 432, FACCESSAT2 = 439 };
enum { SET_STRING = 1, CREATE = 6, CLOSE_ON_EXEC = 1, READ_ONLY_NOSUID_NODEV = 1 | 2 | 4 };

#define OWN_PROGRAM "/proc/self/exe"
// An overlay without an upper layer wants two lower ones: this one has no programs.
#define SECOND_LAYER ":/sys"

// Whether a container may come of this command line. The engine's own forms name a state: its containers have a user namespace of their own, in which
// nobody may write this file.
static bool makes_process(int argc, char **argv) {
    bool makes = false;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--state") == 0) return false;
        if (strcmp(argv[i], "exec") == 0 || strcmp(argv[i], "run") == 0 || strcmp(argv[i], "create") == 0) makes = true;
    }
    return makes;
}

// The directory of this program becomes the layers, its name is left behind: in `path`, of `size` bytes. NULL where overlay would misread them.
static const char *split_into_layers(char *path, size_t size) {
    ssize_t length = readlink(OWN_PROGRAM, path, size - sizeof SECOND_LAYER);
    if (length <= 0 || (size_t)length >= size - sizeof SECOND_LAYER) return NULL;
    path[length] = 0;
    char *slash = strrchr(path, '/');
    if (slash == NULL || slash == path || strpbrk(path, ":\\,") != NULL) return NULL;
    static char name[256];
    if (snprintf(name, sizeof name, "%s", slash + 1) >= (int)sizeof name) return NULL;
    memcpy(slash, SECOND_LAYER, sizeof SECOND_LAYER);  // readlink left room for it
    return name;
}

static int mount_layers(const char *layers) {
    int context = (int)syscall(FSOPEN, "overlay", CLOSE_ON_EXEC);
    if (context < 0) return -1;
    int tree = -1;
    if (syscall(FSCONFIG, context, SET_STRING, "lowerdir", layers, 0) == 0 && syscall(FSCONFIG, context, CREATE, NULL, NULL, 0) == 0)
        tree = (int)syscall(FSMOUNT, context, CLOSE_ON_EXEC, READ_ONLY_NOSUID_NODEV);
    close(context);
    return tree;
}

__attribute__((constructor(101))) static void seal_early(int argc, char **argv, char **environment) {
    if (geteuid() != 0 || !makes_process(argc, argv)) return;
    int program = open(OWN_PROGRAM, O_RDONLY | O_CLOEXEC);
    if (program < 0) return;
    char path[4096];
    struct stat own, sealed;
    // EROFS: sealed already, or nobody can write it anyway. EACCES: root of a user namespace that the file's owner is not in.
    const char *name = syscall(FACCESSAT2, program, "", W_OK, AT_EACCESS | AT_EMPTY_PATH) == 0 ? split_into_layers(path, sizeof path) : NULL;
    int tree = name != NULL ? mount_layers(path) : -1;
    int copy = tree >= 0 ? openat(tree, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC) : -1;
    if (tree >= 0) close(tree);
    // What lies there may be another version by now.
    if (copy >= 0 && fstat(program, &own) == 0 && fstat(copy, &sealed) == 0 && own.st_ino == sealed.st_ino) fexecve(copy, argv, environment);
    if (copy >= 0) close(copy);
    close(program);
}
