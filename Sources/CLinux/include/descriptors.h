// Signals by descriptor (signalfd(2)), which Glibc's module leaves out.
#pragma once
#include <sys/signalfd.h>

// The commit that the program was built from, or "unknown".
const char *cl_build_commit(void);
