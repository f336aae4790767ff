// Runs a program and kills it, or one of its descendants, with SIGKILL at the Nth system call.
//
//   killat N first|all PROGRAM [ARGUMENT…]
//
// first: only the program's own calls are counted; all: those of every process that descends from it, together. N = 0 kills nothing.
// The last line on standard error is "killat: killed NAME at call N" or "killat: CALLS calls, exit code CODE".
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

static const long options_first = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEEXEC;
static const long options_all = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEEXEC | PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK;

// Each call stops twice, on entry and on exit. Which one a stop is: a bit per process id.
static unsigned char inside[4 << 20];

static void name_of(pid_t process, char *name, size_t size) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/comm", process);
    FILE *file = fopen(path, "r");
    if (file == NULL || fgets(name, (int)size, file) == NULL) snprintf(name, size, "%d", process);
    name[strcspn(name, "\n")] = 0;
    if (file != NULL) fclose(file);
}

int main(int count, char **arguments) {
    if (count < 4) return fprintf(stderr, "usage: killat N first|all PROGRAM [ARGUMENT…]\n"), 2;
    long target = atol(arguments[1]), calls = 0;
    int all = strcmp(arguments[2], "all") == 0, code = -1, killed = 0;
    pid_t program = fork();
    if (program == 0) {
        ptrace(PTRACE_TRACEME, 0, 0, 0);
        raise(SIGSTOP);
        execv(arguments[3], arguments + 3);
        _exit(127);
    }
    int status;
    if (waitpid(program, &status, 0) != program || !WIFSTOPPED(status)) return 125;
    ptrace(PTRACE_SETOPTIONS, program, 0, all ? options_all : options_first);
    ptrace(PTRACE_SYSCALL, program, 0, 0);
    // Until the program itself has ended: what still lives then is let go by the kernel when the tracer ends.
    while (code < 0) {
        pid_t process = waitpid(-1, &status, __WALL);
        if (process < 0 && errno == EINTR) continue;
        if (process < 0) break;
        if (!WIFSTOPPED(status)) {
            if (process == program) code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
            continue;
        }
        int stopped = WSTOPSIG(status), deliver = 0;
        if (stopped == (SIGTRAP | 0x80)) {
            size_t place = (size_t)process % sizeof inside;
            inside[place] ^= 1;
            if (inside[place] && !killed && ++calls == target) {
                char name[64];
                name_of(process, name, sizeof name);
                kill(process, SIGKILL);
                killed = 1;
                fprintf(stderr, "killat: killed %s at call %ld\n", name, calls);
                continue;
            }
        } else if (stopped == SIGTRAP && status >> 16 != 0) {
            deliver = 0;
        } else if (stopped != SIGSTOP) {
            deliver = stopped;
        }
        ptrace(PTRACE_SYSCALL, process, 0, deliver);
    }
    if (!killed) fprintf(stderr, "killat: %ld calls, exit code %d\n", calls, code);
    return code < 0 ? 125 : code;
}
