// Nothing to call: what this room does is done before main (EarlySeal.c). The symbol makes the linker keep it.
#pragma once
extern const int ces_linked;
