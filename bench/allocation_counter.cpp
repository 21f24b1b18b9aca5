// Else the headers make mmap another name of mmap64, and both are defined here.
#undef _FILE_OFFSET_BITS
#include "unroll/bench/allocation_counter.hpp"

#include <execinfo.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdarg>
#include <cstddef>

namespace {

std::atomic<std::int64_t> count{0};
std::atomic<int> traced{0};
thread_local bool inside = false;

void note() {
  count.fetch_add(1, std::memory_order_relaxed);
  if (traced.load(std::memory_order_relaxed) <= 0 || inside) return;
  if (traced.fetch_sub(1) <= 0) return;
  inside = true;
  void* frames[24];
  backtrace_symbols_fd(frames, backtrace(frames, 24), STDERR_FILENO);
  const char end[] = "--\n";
  [[maybe_unused]] const auto written = write(STDERR_FILENO, end, sizeof end - 1);
  inside = false;
}

}  // namespace

extern "C" {
void* __libc_malloc(std::size_t);
void* __libc_calloc(std::size_t, std::size_t);
void* __libc_realloc(void*, std::size_t);
void* __libc_memalign(std::size_t, std::size_t);

void* malloc(std::size_t n) {
  note();
  return __libc_malloc(n);
}
void* calloc(std::size_t n, std::size_t size) {
  note();
  return __libc_calloc(n, size);
}
void* realloc(void* p, std::size_t n) {
  note();
  return __libc_realloc(p, n);
}
void* memalign(std::size_t alignment, std::size_t n) {
  note();
  return __libc_memalign(alignment, n);
}
void* aligned_alloc(std::size_t alignment, std::size_t n) {
  note();
  return __libc_memalign(alignment, n);
}
int posix_memalign(void** out, std::size_t alignment, std::size_t n) {
  note();
  *out = __libc_memalign(alignment, n);
  return *out ? 0 : ENOMEM;
}
void* mmap(void* address, std::size_t n, int protection, int flags, int file, off_t offset) {
  note();
  return reinterpret_cast<void*>(syscall(SYS_mmap, address, n, protection, flags, file, offset));
}
void* mmap64(void* address, std::size_t n, int protection, int flags, int file, off64_t offset) {
  return mmap(address, n, protection, flags, file, offset);
}
void* mremap(void* address, std::size_t old_n, std::size_t n, int flags, ...) {
  note();
  void* wish = nullptr;
  if (flags & MREMAP_FIXED) {
    va_list rest;
    va_start(rest, flags);
    wish = va_arg(rest, void*);
    va_end(rest);
  }
  return reinterpret_cast<void*>(syscall(SYS_mremap, address, old_n, n, flags, wish));
}
}

namespace unroll::bench {

std::int64_t allocations() { return count.load(std::memory_order_relaxed); }
void trace_allocations(int n) {
  void* frames[1];
  backtrace(frames, 1);  // its own first call allocates
  traced.store(n);
}

}  // namespace unroll::bench
