// Stops at once, with one message, where the compiler is not in C++20: what it would say of the code
// below fills screens. Every header of the library comes to this one before its own first line.
#pragma once

#if defined(_MSVC_LANG) ? _MSVC_LANG < 202002L : __cplusplus < 202002L
#error "Unroll needs C++20: compile with -std=c++20 or later"
#include <unroll_needs_cxx20>  // there is no such file, which ends compilation
#endif
