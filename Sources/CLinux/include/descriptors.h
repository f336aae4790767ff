// Signals by descriptor (signalfd(2)), which Glibc's module leaves out.
#pragma once
#include <sys/signalfd.h>
