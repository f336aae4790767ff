#define _GNU_SOURCE
// Takes more than its share, of one thing: "memory" until it is killed, "processes" until fork fails (prints how many there were).
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static int memory(void) {
    const size_t step = 4 << 20;
    // Bounded, so that a test of a limit that does not hold ends in a failure and not in a machine without memory.
    for (size_t taken = 0; taken < (size_t)1 << 30; taken += step) {
        char *block = malloc(step);
        if (block == NULL) { printf("malloc: %s\n", strerror(errno)); return 3; }
        memset(block, 1, step);
    }
    printf("took 1 GiB\n");
    return 0;
}

static int processes(int most) {
    int made = 0;
    while (made < most) {
        pid_t child = fork();
        if (child < 0) break;
        if (child == 0) { signal(SIGTERM, SIG_DFL); pause(); _exit(0); }
        made++;
    }
    int error = made < most ? errno : 0;
    printf("%d %s\n", made, error ? strerrorname_np(error) : "no limit");
    fflush(stdout);
    kill(0, SIGTERM);
    return 0;
}

int main(int count, char **arguments) {
    if (count == 2 && strcmp(arguments[1], "memory") == 0) return memory();
    if (count == 3 && strcmp(arguments[1], "processes") == 0) { signal(SIGTERM, SIG_IGN); return processes(atoi(arguments[2])); }
    fprintf(stderr, "usage: exhaust memory | exhaust processes MOST\n");
    return 2;
}
