// A service: sends each argument as one message to the service manager (sd_notify(3)), then stays until SIGTERM. "-" asks for a barrier.
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static void end(int number) { _exit(number == SIGTERM ? 0 : 1); }

// sd_notify_barrier(3): a descriptor that the reader closes when it has read everything before it.
static int barrier(int receiver, struct sockaddr_un *manager) {
    int ends[2];
    if (pipe(ends) != 0) return 1;
    char text[] = "BARRIER=1", space[CMSG_SPACE(sizeof(int))] = {0};
    struct iovec part = {text, strlen(text)};
    struct msghdr message = {.msg_name = manager, .msg_namelen = sizeof *manager, .msg_iov = &part, .msg_iovlen = 1,
                             .msg_control = space, .msg_controllen = sizeof space};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET, header->cmsg_type = SCM_RIGHTS, header->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(header), &ends[1], sizeof(int));
    if (sendmsg(receiver, &message, 0) < 0) return 1;
    close(ends[1]);
    struct pollfd closed = {ends[0], 0, 0};
    return poll(&closed, 1, 10000) != 1;
}

int main(int count, char **arguments) {
    const char *path = getenv("NOTIFY_SOCKET");
    if (path == NULL) return fprintf(stderr, "no NOTIFY_SOCKET\n"), 1;
    signal(SIGTERM, end);
    struct sockaddr_un manager = {.sun_family = AF_UNIX};
    if (snprintf(manager.sun_path, sizeof manager.sun_path, "%s", path) >= (int)sizeof manager.sun_path) return 1;
    int sender = socket(AF_UNIX, SOCK_DGRAM, 0);
    for (int i = 1; i < count; i++) {
        if (strcmp(arguments[i], "-") == 0) {
            if (barrier(sender, &manager) != 0) return fprintf(stderr, "barrier: %s\n", strerror(errno)), 1;
            continue;
        }
        if (sendto(sender, arguments[i], strlen(arguments[i]), 0, (struct sockaddr *)&manager, sizeof manager) < 0)
            return fprintf(stderr, "%s: %s\n", path, strerror(errno)), 1;
    }
    printf("said %d\n", count - 1);
    fflush(stdout);
    for (;;) pause();
}
