// Raw system calls that glibc 2.36 (Debian 12) lacks or makes variadic, and the constants that its headers are too old for.
#pragma once
#include <errno.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>
