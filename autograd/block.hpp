// The memory under every array: reference-counted blocks, taken from a pool that belongs to a thread.
//
//   detail::Ref r = detail::new_block<float>(Shape{3, 4});    // contiguous, uninitialised
//   float* p = r->data<float>();
//
// Invariant: a block with more than one owner never changes. A block goes back to the pool of the thread that took it,
// whichever thread lets go of it last. Shapes stand in the block itself, so an array is one pointer; a view is a small
// block that has strides and keeps the block with the elements alive.
#pragma once

#if __has_include(<sys/single_threaded.h>)
#include <sys/single_threaded.h>
#endif

#include <atomic>
#include <cstddef>
#include <cstring>
#include <new>
#include <type_traits>
#include <utility>

#include "unroll/autograd/shape.hpp"

namespace unroll {

// What the calling thread's pool holds: bytes in use, their peak, and bytes kept for reuse. What the bytes in use are for:
// memory_by_op() in inspect.hpp.
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

// What kind of block it is, in four bytes that can be compared at once.
struct BlockKind {
  Dtype dtype;
  std::uint8_t rank;
  bool contiguous : 1;      // row-major without gaps; if not, strides follow the sizes
  bool packable : 1;        // a matrix with room for packed forms of itself (see packed_forms)
  bool in_tape : 1;         // lies in the memory of another block, `holder`: a tape's, mostly
  bool of_array : 1;        // of a view: `base` is a whole array, not a tape's memory
  bool owns_part : 1;       // lies in another block's memory, and nobody else has its elements
  bool has_parts : 1;       // behind its elements are the headers of parts of it (ops/split.cpp)
  bool common : 1;          // a tape's vector or matrix: only type and sizes in its header
  std::uint8_t unused : 1;  // written with the others, which makes one store of all of them
  std::uint8_t size_class;  // in its pool, of this block's memory; in a tape, of one laid out alike

  std::uint32_t bits() const {
    std::uint32_t all;
    std::memcpy(&all, this, sizeof(all));
    return all;
  }
  // The same type and rank, and both with or both without strides?
  bool same_type(const BlockKind& other) const {
    return ((bits() ^ other.bits()) & type().bits()) == 0;
  }
  // And the same fields in front of the elements?
  bool same_form(const BlockKind& other) const {
    BlockKind form = type();
    form.packable = true;
    return ((bits() ^ other.bits()) & form.bits()) == 0;
  }

 private:
  static BlockKind type() {
    BlockKind seen{};
    seen.dtype = Dtype{0xff};
    seen.rank = 0xff;
    seen.contiguous = true;
    return seen;
  }
};
static_assert(sizeof(BlockKind) == 4);

struct Block : BlockKind {
  std::atomic<std::int32_t> refs;
  union {
    Pool* pool;
    Block* holder;  // of a block that lies in another's memory
  };
  Block* base;  // the owner of the elements; null when they follow in a block of its own
  void* elements;

  // A contiguous vector has a second one, 1, so that its elements are counted like a matrix's.
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
  Size size() const { return product(sizes(), rank); }
  Shape shape() const { return Shape::checked(sizes(), rank); }
  bool same_shape(const Block& other) const {
    return rank == other.rank && equal_sizes(sizes(), other.sizes(), rank);
  }
  // Have both one shape, and their elements in order?
  bool alike(const Block& other) const {
    return contiguous && other.contiguous && same_shape(other);
  }
  // Is it nothing by itself: a small value of a tape, say? Its shares are shares in the memory that it lies in, and in its elements,
  // and its own count stays 1, so that who made it has nothing to let go of.
  bool counted_by_holder() const {
    BlockKind own{}, seen{};
    own.in_tape = true;
    seen.in_tape = seen.owns_part = true;
    return (bits() & seen.bits()) == own.bits();
  }
  // It has those elements of another block's memory to itself.
  void own_part() {
    owns_part = true;
    common = false;
  }
  // Of a contiguous block: the part of its header that every one has, and all of it.
  static constexpr std::size_t header_of_sizes(std::size_t axes) {
    return sizeof(Block) + (axes == 1 ? 2 : axes) * sizeof(Size);
  }
  std::size_t header() const {
    return header_of_sizes(rank) + (packable ? packed_slots * sizeof(std::uintptr_t) : 0);
  }
  void set_sizes(const Size* from, std::size_t axes) {
    copy_sizes(sizes(), from, axes);
    if (axes == 1) sizes()[1] = 1;
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
  [[gnu::noinline]] bool has_packed_form() const {
    auto* forms = const_cast<Block*>(this)->packed_forms();
    for (std::size_t i = 0; i < packed_slots; ++i) {
      if (forms[i].load(std::memory_order_relaxed) > 1) return true;
    }
    return false;
  }
  // May the holder of one reference write to it?
  [[gnu::always_inline]] bool exclusive() const {
    return refs.load(std::memory_order_acquire) == 1 && (base == nullptr || owns_part) &&
           contiguous && !(packable && has_packed_form());
  }
};
static_assert(sizeof(Block) == 32);

void free_block(Block* b);  // returns it to its pool; lets go of its base
Block* take_block(Pool& pool, std::size_t bytes);

// Of a block that other threads cannot know; one who lets go is not the last.
inline void retain_local(Block& b) {
  b.refs.store(b.refs.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
}
inline void release_local(Block& b) {
  b.refs.store(b.refs.load(std::memory_order_relaxed) - 1, std::memory_order_relaxed);
}

// Does the process have one thread? Then nothing needs an atomic read-modify-write, which waits until all that was written before
// has left the store buffer.
inline bool single_thread() {
#if __has_include(<sys/single_threaded.h>)
  return __libc_single_threaded != 0;  // the C library knows, where it tells
#else
  return false;
#endif
}
void share_counted_by_holder(Block* b);
// Takes one more share.
inline void share(Block* b) {
  if (b->counted_by_holder()) return share_counted_by_holder(b);
  if (single_thread()) {
    retain_local(*b);
  } else {
    b->refs.fetch_add(1, std::memory_order_relaxed);
  }
}
void drop_share(Block* b);  // of a block that had other owners a moment ago
[[gnu::always_inline]] inline void release(Block* b) {
  // A sole owner needs no atomic read-modify-write: nobody else can be counting.
  if (b->refs.load(std::memory_order_acquire) == 1) {
    free_block(b);
  } else {
    drop_share(b);
  }
}

// An owning pointer to a block.
class Ref {
 public:
  Ref() = default;
  explicit Ref(Block* owned) : block_(owned) {}
  static Ref share(Block* b) {
    detail::share(b);
    return Ref(b);
  }
  Ref(const Ref& other) : block_(other.block_) {
    if (block_) detail::share(block_);
  }
  Ref(Ref&& other) noexcept : block_(std::exchange(other.block_, nullptr)) {}
  Ref& operator=(Ref other) noexcept {
    std::swap(block_, other.block_);
    return *this;
  }
  [[gnu::always_inline]] ~Ref() {
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

// Matrices with fewer elements, and single rows, are not worth packing.
constexpr Size smallest_packed = 64;

inline bool may_be_packed(const Size* sizes, std::size_t rank) {
  return rank == 2 && sizes[0] > 1 && sizes[0] * sizes[1] >= smallest_packed;
}

// Up to this many bytes, copying elements costs less than sharing them, and values lie in the tape beside their nodes.
constexpr Size small_value = 1024;

// What a block of some shape needs in a pool.
struct Layout {
  std::size_t bytes;   // of the elements
  std::size_t header;  // of what stands before them
  bool packable;

  Layout(std::size_t element, const Size* sizes, std::size_t rank) {
    const Size n = product(sizes, rank);
    bytes = static_cast<std::size_t>(n) * element;
    packable = may_be_packed(sizes, rank);
    header = Block::header_of_sizes(rank);
    if (packable) header += Block::packed_slots * sizeof(std::uintptr_t);
  }
};

// Writes what stands before the elements of a block with one owner, whose class it knows already; where these are and what keeps
// them is left to do.
[[gnu::always_inline]] inline void init_block(Block* b, Dtype dtype, bool packable, bool in_tape,
                                              const Size* sizes, std::size_t rank) {
  BlockKind kind{};  // written at once, since it is read at once
  kind.dtype = dtype;
  kind.rank = static_cast<std::uint8_t>(rank);
  kind.contiguous = true;
  kind.packable = packable;
  kind.in_tape = in_tape;
  kind.common = in_tape && (rank == 1 || rank == 2);
  kind.size_class = b->size_class;
  static_cast<BlockKind&>(*b) = kind;
  b->refs.store(1, std::memory_order_relaxed);
  b->set_sizes(sizes, rank);
  if (packable) [[unlikely]] {
    std::memset(static_cast<void*>(b->sizes() + 2), 0,
                Block::packed_slots * sizeof(std::uintptr_t));
  }
}

// A block with one owner at `to`, in the memory of `holder`, whose header of so many bytes is like the model's; where its elements
// are, and what keeps them, is left to do.
[[gnu::always_inline]] inline Block* place_header(void* to, const Block& model, std::size_t header,
                                                  Block* holder) {
  const void* from = &model;
  if (constexpr std::size_t of_matrix = Block::header_of_sizes(2); header == of_matrix) {
    std::memcpy(to, from, of_matrix);  // without a call
  } else {
    std::memcpy(to, from, header);
  }
  auto* b = static_cast<Block*>(to);
  b->refs.store(1, std::memory_order_relaxed);
  b->holder = holder;
  return b;
}

// With `more` bytes for other uses at the end.
Block* new_block(Pool& pool, Dtype dtype, std::size_t element, const Size* sizes, std::size_t rank,
                 std::size_t more = 0);
// From this thread's pool.
Block* new_block(Dtype dtype, std::size_t element, const Size* sizes, std::size_t rank);

template <class T>
Ref new_block(const Shape& shape) {
  return Ref(new_block(dtype_of<T>, sizeof(T), shape.begin(), shape.rank()));
}

// A block that shows `parent`'s elements from `offset` on, with another shape and other strides (in elements).
Ref new_view(Block* parent, Size offset, const Size* sizes, std::size_t rank, const Size* strides);
// A view without gaps: of as many elements from `offset` on as `sizes` say; `parent` must be contiguous.
Ref new_contiguous_view(Block* parent, Size offset, const Size* sizes, std::size_t rank);
inline Ref new_contiguous_view(Block* parent, Size offset, const Shape& shape) {
  return new_contiguous_view(parent, offset, shape.begin(), shape.rank());
}
// The same elements in another shape; a block with one owner is relabelled, others get a view. `b` must be contiguous.
Ref relabel(Ref b, const Shape& shape);

// A share in a block for a holder who outlives tapes: small values that lie in a tape are copied.
Ref own_share(Block* b);

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
    b->packable = b->in_tape = false;
    return reinterpret_cast<X*>(b + 1);
  }
  void deallocate(X* p, std::size_t) { release(reinterpret_cast<Block*>(p) - 1); }
  friend bool operator==(const PoolAllocator&, const PoolAllocator&) { return true; }
};

}  // namespace detail
}  // namespace unroll
