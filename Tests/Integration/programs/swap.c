// Exchanges the names of each pair in the working directory as fast as it can (renameat2, RENAME_EXCHANGE), until it is ended; then prints how often it did.
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>

static volatile sig_atomic_t ended;
static void end(int number) { (void)number, ended = 1; }

int main(int count, char **arguments) {
    if (count < 3 || count % 2 == 0) return dprintf(2, "usage: swap (NAME NAME)…\n"), 2;
    signal(SIGTERM, end);
    long swaps = 0;
    while (!ended) {
        for (int i = 1; i < count; i += 2)
            if (renameat2(AT_FDCWD, arguments[i], AT_FDCWD, arguments[i + 1], RENAME_EXCHANGE) != 0) return perror("renameat2"), 1;
        swaps++;
    }
    printf("%ld\n", swaps);
    return 0;
}
