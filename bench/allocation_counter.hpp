// Counts what a program asks of the system: malloc, calloc, realloc, aligned_alloc, posix_memalign, memalign, mmap and mremap.
//
//   const auto before = unroll::bench::allocations();
//   step();
//   unroll::bench::allocations() - before;            // of all threads, operator new included
//
// Link allocation_counter.cpp into the executable: it replaces these functions (glibc). Not for sanitizer builds.
#pragma once

#include <cstdint>

namespace unroll::bench {

std::int64_t allocations();
// Prints where the next `count` allocations come from to standard error (addresses for addr2line, symbols with -rdynamic).
void trace_allocations(int count);

}  // namespace unroll::bench
