// The pool of a thread, for the files that take and return blocks in their inner loops (others call take_block and release).
//
// Invariant: free lists by size class, which only the owning thread touches; other threads push what they let go of onto
// a list of its own, from which the owner fetches it when a class runs out.
#pragma once

#include <array>
#include <bit>
#include <cstdlib>
#include <memory>
#include <vector>

#include "unroll/autograd/sanitizer.hpp"
#include "unroll/autograd/tape.hpp"

namespace unroll::detail {

// Under a sanitizer every block is its own allocation: a pool would hide each use after free.
#ifdef UNROLL_SANITIZED
constexpr bool bypass_pool = true;
#else
constexpr bool bypass_pool = false;
#endif

// Sizes 64, 96, 128, 192, 256, 384, ...: two classes to each power of two.
constexpr std::size_t class_count = 2 * 40;
constexpr Size class_bytes(std::size_t c) {
  const Size power = Size{64} << (c / 2);
  return c % 2 == 0 ? power : power + power / 2;
}
constexpr std::size_t class_of_large(std::size_t bytes) {
  if (bytes <= 64) return 0;
  const std::size_t k =
      static_cast<std::size_t>(std::bit_width(bytes - 1)) - 1;  // 2^k < bytes <= 2^(k+1)
  const std::size_t power = std::size_t{1} << k;
  return bytes <= power + power / 2 ? 2 * (k - 6) + 1 : 2 * (k - 6) + 2;
}
// Of small sizes, in steps of 32 bytes, which no class divides: looked up, since nothing can be done until the class is known.
constexpr auto small_classes = [] {
  std::array<std::uint8_t, 65> classes{};
  for (std::size_t i = 0; i < classes.size(); ++i) {
    classes[i] = static_cast<std::uint8_t>(class_of_large(32 * i));
  }
  return classes;
}();
constexpr std::size_t class_of(std::size_t bytes) {
  const std::size_t step = (bytes + 31) / 32;
  return step < small_classes.size() ? small_classes[step] : class_of_large(bytes);
}

constexpr auto class_sizes = [] {
  std::array<Size, class_count> sizes{};
  for (std::size_t c = 0; c < class_count; ++c) sizes[c] = class_bytes(c);
  return sizes;
}();

class Pool {
 public:
  Block* take(std::size_t size_class) {
    Block* b = size_class < class_count ? free_[size_class] : nullptr;
    if (b) [[likely]] {
      free_[size_class] = b->base;
    } else {
      b = refill(size_class);
    }
    count(size_class);
    return b;
  }
  // A block like a small array of a tape (BlockKind::common), if the next one of its class was like that when it was given back: its header still
  // says so. Null otherwise.
  Block* take_alike(const Block& model) {
    Block* const b = free_[model.size_class];
    if (!b || !b->same_form(model) || !equal_sizes(b->sizes(), model.sizes(), 2)) return nullptr;
    free_[model.size_class] = b->base;
    count(model.size_class);
    b->refs.store(1, std::memory_order_relaxed);
    b->base = nullptr;
    return b;
  }
  // The next block of its class; it is still the pool's.
  Block* next(std::size_t size_class) const { return free_[size_class]; }
  void give(Block* b) {
    const std::size_t c = b->size_class;
    live_ -= class_sizes[c];
    if constexpr (bypass_pool) {
      give_to_system(b);
    } else {
      b->base = free_[c];
      free_[c] = b;
    }
  }
  void give_from_another_thread(Block* b);
  void drain();
  void trim();
  MemoryReport report() {
    drain();
    return {live_, peak_, owned_ - live_};
  }
  void reset_peak() { peak_ = live_; }

 private:
  void count(std::size_t size_class) {
    live_ += class_sizes[size_class];
    if (live_ > peak_) peak_ = live_;
  }
  Block* refill(std::size_t size_class);
  void give_to_system(Block* b);

  struct Free {
    void operator()(char* p) const { std::free(p); }
  };
  std::array<Block*, class_count> free_{};
  Size live_ = 0, peak_ = 0, owned_ = 0;
  std::atomic<Block*> remote_{nullptr};
  char* slab_at_ = nullptr;
  std::size_t slab_left_ = 0;
  std::vector<std::unique_ptr<char, Free>> slabs_;
};

[[gnu::tls_model("initial-exec")]] extern constinit thread_local Pool* current_pool;
Pool& lease_pool();

[[gnu::always_inline]] inline Pool& this_pool() {
  return current_pool ? *current_pool : lease_pool();
}

// From the beginning of a block in a pool to its elements: large arrays start on a cache line; small ones follow their header,
// to stay in one or two lines.
constexpr std::size_t pooled_header(std::size_t header, std::size_t bytes) {
  const std::size_t align = bytes >= 64 ? 63 : 15;
  return (header + align) & ~align;
}

// Lets go of a block that is most likely this thread's own and nobody else's, such as a cotangent.
[[gnu::always_inline]] inline void release_own(Block* b) {
  if (b->refs.load(std::memory_order_acquire) == 1 && !b->base && !b->packable &&
      b->pool == current_pool) [[likely]] {
    b->pool->give(b);
  } else {
    release(b);
  }
}

// An uninitialised block of the model's type and shape, with `more` bytes for other uses at the end.
Block* new_like_any(Pool& pool, const Block& model, std::size_t more);
[[gnu::always_inline]] inline Block* new_like(Pool& pool, const Block& model,
                                              std::size_t more = 0) {
  if (more == 0 && model.common) [[likely]] {
    if (Block* b = pool.take_alike(model)) return b;
  }
  return new_like_any(pool, model, more);
}

// A view without gaps, with a header that has so many bytes. See new_view.
[[gnu::always_inline]] inline Block* new_view_header(Block* parent, Size offset, const Size* sizes,
                                                     std::size_t rank, std::size_t header) {
  Block* const owner = parent->base && !parent->owns_part ? parent->base : parent;
  Block* const b = this_pool().take(class_of(header));
  BlockKind kind{};  // written at once
  kind.dtype = parent->dtype;
  kind.rank = static_cast<std::uint8_t>(rank);
  kind.contiguous = true;
  kind.of_array = parent->base ? !parent->in_tape && parent->of_array : true;
  kind.size_class = b->size_class;
  static_cast<BlockKind&>(*b) = kind;
  b->refs.store(1, std::memory_order_relaxed);
  b->base = owner;
  share(owner);
  const Size width = parent->dtype == Dtype::f32 ? 4 : 8;
  b->elements = static_cast<char*>(parent->elements) + offset * width;
  b->set_sizes(sizes, rank);
  return b;
}

// Memory for the result of an op: of the next node where there is a tape.
template <class T>
Block* new_result(TapeCore* tape, const Size* sizes, std::size_t rank) {
  return tape ? tape->new_value(dtype_of<T>, sizes, rank)
              : new_block(dtype_of<T>, sizeof(T), sizes, rank);
}
// The same for a result of the model's type and shape, with `n` elements.
inline Block* new_result_like(TapeCore* tape, const Block& model, Size n) {
  return tape ? tape->new_value_like(model, n) : new_like(this_pool(), model);
}

// May the holder of one reference write to it, and are its elements in order?
[[gnu::always_inline]] inline Block* writable_block(std::uintptr_t slot) {
  auto* b = reinterpret_cast<Block*>(slot & 1 ? 0 : slot);
  return b && b->exclusive() ? b : nullptr;
}

}  // namespace unroll::detail
