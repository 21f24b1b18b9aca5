// The memory under every array: reference-counted blocks, taken from a pool that belongs to a thread.
//
//   detail::Ref r = detail::new_block<float>(Shape{3, 4});    // contiguous, uninitialised
//   float* p = r->data<float>();
//
// Invariant: a block with more than one owner never changes. A block goes back to the pool of the thread that took it,
// whichever thread lets go of it last. Shapes stand in the block itself, so an array is one pointer; a view is a small
// block that has strides and keeps the block with the elements alive.
#pragma once

#include <atomic>
#include <cstring>
#include <new>
#include <type_traits>
#include <utility>

#include "unroll/autograd/shape.hpp"

namespace unroll {

// What the calling thread's pool holds: bytes in use, their peak, and bytes kept for reuse.
struct MemoryReport {
  Size live_bytes = 0;
  Size peak_bytes = 0;
  Size cached_bytes = 0;
};
[[nodiscard]] MemoryReport memory_report();
void reset_memory_peak();
// Gives the memory that this thread's pool keeps for reuse back to the system.
void trim_memory();

namespace detail {

enum class Dtype : std::uint8_t { f32, f64, i64 };
template <class T>
inline constexpr Dtype dtype_of = std::is_same_v<T, float>    ? Dtype::f32
                                  : std::is_same_v<T, double> ? Dtype::f64
                                                              : Dtype::i64;

class Pool;
// The calling thread's pool.
Pool& local_pool();

struct Block {
  std::atomic<std::int32_t> refs;
  Dtype dtype;
  std::uint8_t rank;
  bool contiguous : 1;      // row-major without gaps; if not, strides follow the sizes
  bool packable : 1;        // a matrix with room for packed forms of itself (see packed_forms)
  std::uint8_t size_class;  // of this block's own memory, in its pool
  Pool* pool;
  Block* base;  // a view's owner of the elements; null when they follow in this block
  void* elements;

  Size* sizes() { return reinterpret_cast<Size*>(this + 1); }
  const Size* sizes() const { return reinterpret_cast<const Size*>(this + 1); }
  const Size* strides() const { return sizes() + rank; }  // only when not contiguous
  template <class T>
  T* data() {
    return static_cast<T*>(elements);
  }
  template <class T>
  const T* data() const {
    return static_cast<const T*>(elements);
  }
  Size size() const {
    Size n = 1;
    for (std::size_t i = 0; i < rank; ++i) n *= sizes()[i];
    return n;
  }
  Shape shape() const { return Shape(sizes(), sizes() + rank); }
  bool same_shape(const Block& other) const {
    if (rank != other.rank) return false;
    for (std::size_t i = 0; i < rank; ++i) {
      if (sizes()[i] != other.sizes()[i]) return false;
    }
    return true;
  }
  // Strides in elements, written for both kinds of block.
  void get_strides(Size* out) const {
    if (!contiguous) {
      std::memcpy(out, strides(), rank * sizeof(Size));
      return;
    }
    Size step = 1;
    for (std::size_t i = rank; i-- > 0;) {
      out[i] = step;
      step *= sizes()[i];
    }
  }
  // Forms of a matrix that products with it read: made when it is used a second time, dropped with the block. Slot
  // 2 * transposed + (one row on the left). 0: never used; 1: used once; else a block.
  static constexpr std::size_t packed_slots = 4;
  std::atomic<std::uintptr_t>* packed_forms() {
    return reinterpret_cast<std::atomic<std::uintptr_t>*>(sizes() + 2);
  }
  bool has_packed_form() const {
    if (!packable) return false;
    auto* forms = const_cast<Block*>(this)->packed_forms();
    for (std::size_t i = 0; i < packed_slots; ++i) {
      if (forms[i].load(std::memory_order_relaxed) > 1) return true;
    }
    return false;
  }
  // May the holder of one reference write to it?
  bool exclusive() const {
    return refs.load(std::memory_order_acquire) == 1 && base == nullptr && contiguous &&
           !has_packed_form();
  }
};
static_assert(sizeof(Block) == 32);

void free_block(Block* b);  // returns it to its pool; lets go of its base
Block* take_block(Pool& pool, std::size_t bytes);

[[gnu::always_inline]] inline void retain(Block* b) {
  b->refs.fetch_add(1, std::memory_order_relaxed);
}
[[gnu::always_inline]] inline void release(Block* b) {
  // A sole owner needs no atomic read-modify-write: nobody else can be counting.
  if (b->refs.load(std::memory_order_acquire) == 1 ||
      b->refs.fetch_sub(1, std::memory_order_acq_rel) == 1) {
    free_block(b);
  }
}

// An owning pointer to a block.
class Ref {
 public:
  Ref() = default;
  explicit Ref(Block* owned) : block_(owned) {}
  static Ref share(Block* b) {
    retain(b);
    return Ref(b);
  }
  Ref(const Ref& other) : block_(other.block_) {
    if (block_) retain(block_);
  }
  Ref(Ref&& other) noexcept : block_(std::exchange(other.block_, nullptr)) {}
  Ref& operator=(Ref other) noexcept {
    std::swap(block_, other.block_);
    return *this;
  }
  ~Ref() {
    if (block_) release(block_);
  }
  Block* operator->() const { return block_; }
  Block& operator*() const { return *block_; }
  Block* get() const { return block_; }
  Block* give() { return std::exchange(block_, nullptr); }
  explicit operator bool() const { return block_ != nullptr; }

 private:
  Block* block_ = nullptr;
};

// Matrices with fewer elements are not worth packing.
constexpr Size smallest_packed = 64;

inline Block* new_block(Pool& pool, Dtype dtype, std::size_t element, const Size* sizes,
                        std::size_t rank) {
  Size n = 1;
  for (std::size_t i = 0; i < rank; ++i) n *= sizes[i];
  const std::size_t bytes = static_cast<std::size_t>(n) * element;
  std::size_t header = sizeof(Block) + rank * sizeof(Size);
  const bool packable = rank == 2 && n >= smallest_packed;
  if (packable) header += Block::packed_slots * sizeof(std::uintptr_t);
  // Large arrays start on a cache line; small ones follow their header, to stay in one or two lines.
  header = bytes >= 64 ? (header + 63) & ~std::size_t{63} : (header + 15) & ~std::size_t{15};
  Block* b = take_block(pool, header + bytes);
  b->refs.store(1, std::memory_order_relaxed);
  b->dtype = dtype;
  b->rank = static_cast<std::uint8_t>(rank);
  b->contiguous = true;
  b->packable = packable;
  b->base = nullptr;
  b->elements = reinterpret_cast<char*>(b) + header;
  if (packable)
    std::memset(static_cast<void*>(b->sizes() + 2), 0,
                Block::packed_slots * sizeof(std::uintptr_t));
  for (std::size_t i = 0; i < rank; ++i) b->sizes()[i] = sizes[i];
  return b;
}

template <class T>
Ref new_block(Pool& pool, const Shape& shape) {
  return Ref(new_block(pool, dtype_of<T>, sizeof(T), shape.begin(), shape.rank()));
}
template <class T>
Ref new_block(const Shape& shape) {
  return new_block<T>(local_pool(), shape);
}

// A block that shows `parent`'s elements from `offset` on, with another shape and other strides (in elements).
Ref new_view(Block* parent, Size offset, const Shape& shape, const Size* strides);
// The same elements under another shape of the same size; `parent` must be contiguous.
Ref new_contiguous_view(Block* parent, Size offset, const Shape& shape);
// The same elements in another shape; a block with one owner is relabelled, others get a view. `b` must be contiguous.
Ref relabel(Ref b, const Shape& shape);

// Memory for a container that lives for one step only.
template <class X>
struct PoolAllocator {
  using value_type = X;
  PoolAllocator() = default;
  template <class Y>
  PoolAllocator(const PoolAllocator<Y>&) {}
  X* allocate(std::size_t n) {
    Block* b = take_block(local_pool(), sizeof(Block) + n * sizeof(X));
    b->refs.store(1, std::memory_order_relaxed);
    b->base = nullptr;
    b->packable = false;
    return reinterpret_cast<X*>(b + 1);
  }
  void deallocate(X* p, std::size_t) { release(reinterpret_cast<Block*>(p) - 1); }
  friend bool operator==(const PoolAllocator&, const PoolAllocator&) { return true; }
};

}  // namespace detail
}  // namespace unroll
