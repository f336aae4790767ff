// What Swift cannot import: raw system calls, variadic calls, macros with arguments, and constants that Debian 12's
// headers are too old to have. No logic here.
#pragma once
#include "syscalls.h"
#include "process-spawn.h"
#include "file-attributes.h"
#include "descriptors.h"
