// Calls that need C's CMSG macros, or a structure that Swift's Glibc module does not have.
#define _GNU_SOURCE
#include "CLinux.h"

#include <string.h>
#include <sys/vfs.h>

// Scripts/build writes the commit into the finished program, so that nothing is compiled anew because of it.
__attribute__((section("coffer_commit"), used)) static char build_commit[48] = "unknown";

const char *cl_build_commit(void) {
    // Not the initial value, which the compiler knows.
    __asm__ volatile("" : : : "memory");
    return build_commit;
}

int cl_send_descriptor(int socket, const void *data, size_t length, int descriptor) {
    struct iovec part = {(void *)data, length};
    union {
        char space[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control;
    memset(&control, 0, sizeof control);
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(header), &descriptor, sizeof(int));
    return sendmsg(socket, &message, MSG_NOSIGNAL) < 0 ? -1 : 0;
}

ssize_t cl_receive_descriptor(int socket, void *data, size_t length, int *descriptor) {
    struct iovec part = {data, length};
    union {
        char space[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control;
    memset(&control, 0, sizeof control);
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    *descriptor = -1;
    ssize_t count = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
    if (count < 0) return count;
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    if (header && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS)
        memcpy(descriptor, CMSG_DATA(header), sizeof(int));
    return count;
}

long cl_filesystem_magic(int fd) {
    struct statfs information;
    return fstatfs(fd, &information) != 0 ? -1 : (long)information.f_type;
}

int64_t cl_peer_user(int socket) {
    struct ucred peer;
    socklen_t length = sizeof peer;
    return getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0 ? -1 : (int64_t)peer.uid;
}
