#include "unroll/autograd/block.hpp"

#include <mutex>

#include "unroll/autograd/pool.hpp"

namespace unroll::detail {
namespace {

constexpr std::size_t slab_limit = 4096;  // smaller blocks are cut from slabs
constexpr std::size_t slab_bytes = 1 << 18;

void* system_memory(std::size_t bytes) {
  void* p = std::aligned_alloc(64, (bytes + 63) & ~std::size_t{63});
  if (p == nullptr) throw std::bad_alloc();
  return p;
}

}  // namespace

constinit thread_local Pool* current_pool = nullptr;

void share_counted_by_holder(Block* b) {
  if (b->base != b->holder) share(b->base);
  share(b->holder);
}
void drop_share(Block* b) {
  if (single_thread()) {
    release_local(*b);
  } else if (b->refs.fetch_sub(1, std::memory_order_acq_rel) == 1) {
    free_block(b);
  }
}

void Pool::give_from_another_thread(Block* b) {
  b->base = remote_.load(std::memory_order_relaxed);
  while (!remote_.compare_exchange_weak(b->base, b, std::memory_order_release,
                                        std::memory_order_relaxed)) {
  }
}

void Pool::give_to_system(Block* b) {
  owned_ -= class_bytes(b->size_class);
  std::free(static_cast<void*>(b));
}

void Pool::drain() {
  Block* b = remote_.exchange(nullptr, std::memory_order_acquire);
  while (b) {
    Block* next = b->base;
    give(b);
    b = next;
  }
}

void Pool::trim() {
  drain();
  for (std::size_t c = 0; c < class_count; ++c) {
    if (class_bytes(c) <= static_cast<Size>(slab_limit)) continue;  // slabs stay whole
    while (Block* b = free_[c]) {
      free_[c] = b->base;
      give_to_system(b);
    }
  }
}

Block* Pool::refill(std::size_t c) {
  if (c >= class_count) throw std::bad_alloc();
  if (remote_.load(std::memory_order_relaxed)) {
    drain();
    if (Block* b = free_[c]) {
      free_[c] = b->base;
      return b;
    }
  }
  const auto bytes = static_cast<std::size_t>(class_bytes(c));
  void* p = nullptr;
  if (bypass_pool || bytes > slab_limit) {
    p = system_memory(bytes);
  } else {
    if (const auto odd = slab_left_ % 64; bytes % 64 == 0 && odd != 0 && slab_left_ > odd) {
      slab_at_ += odd;  // elements of large blocks begin on a line of the cache
      slab_left_ -= odd;
    }
    if (slab_left_ < bytes) {
      slabs_.emplace_back(static_cast<char*>(system_memory(slab_bytes)));
      slab_at_ = slabs_.back().get();
      slab_left_ = slab_bytes;
    }
    p = slab_at_;
    slab_at_ += bytes;
    slab_left_ -= bytes;
  }
  owned_ += static_cast<Size>(bytes);
  Block* b = new (p) Block;
  static_cast<BlockKind&>(*b) = BlockKind{};  // of rank 0: it has no header yet
  b->pool = this;
  b->size_class = static_cast<std::uint8_t>(c);
  return b;
}

namespace {

// Pools outlive their threads, since blocks may: a thread that ends leaves its pool to the next one that starts.
struct Registry {
  std::mutex mutex;
  std::vector<Pool*> all, idle;

  Pool* acquire() {
    const std::lock_guard lock(mutex);
    if (!idle.empty()) {
      Pool* p = idle.back();
      idle.pop_back();
      return p;
    }
    all.push_back(new Pool);
    return all.back();
  }
  void leave(Pool* p) {
    const std::lock_guard lock(mutex);
    idle.push_back(p);
  }
};
Registry& registry() {
  static auto* r =
      new Registry;  // never destroyed: blocks held by static objects outlive it otherwise
  return *r;
}

struct Lease {
  Pool* pool = registry().acquire();
  ~Lease();
};

Lease::~Lease() {
  current_pool = nullptr;  // what this thread still frees goes back as from any other thread
  registry().leave(pool);
}

}  // namespace

Pool& lease_pool() {
  thread_local Lease lease;
  current_pool = lease.pool;
  return *current_pool;
}

Pool& local_pool() { return this_pool(); }

Block* take_block(Pool& pool, std::size_t bytes) {
  Block* b = pool.take(class_of(bytes));
  b->rank = 0;  // what lies behind need not be sizes
  return b;
}

// Each rarer kind of block has a function of its own, called last, so that the common kind pays for no registers to be saved.
namespace {
[[gnu::noinline]] void free_with_packed_forms(Block* b) {
  for (std::size_t i = 0; i < Block::packed_slots; ++i) {
    const std::uintptr_t form = b->packed_forms()[i].load(std::memory_order_acquire);
    if (form > 1) release(reinterpret_cast<Block*>(form));
  }
  b->packable = false;
  b->rank = 0;
  free_block(b);
}
// Its memory is the holder's, its elements are perhaps another's.
[[gnu::noinline]] void free_in_tape(Block* b) {
  Block *const base = b->base, *const holder = b->holder;
  if (base != holder) release(base);
  release(holder);
}
[[gnu::noinline]] void free_of_another_thread(Block* b) {
  Block* const base = b->base;
  b->pool->give_from_another_thread(b);
  if (base) release(base);
}
}  // namespace

void free_block(Block* b) {
  if (b->packable) return free_with_packed_forms(b);
  if (b->in_tape) return free_in_tape(b);
  Block* const base = b->base;
  if (base) b->rank = 0;  // not like an array of these sizes
  if (b->pool != current_pool) return free_of_another_thread(b);
  b->pool->give(b);
  if (base) release(base);  // what a view showed, which has no base in turn
}

Block* new_block(Pool& pool, Dtype dtype, std::size_t element, const Size* sizes, std::size_t rank,
                 std::size_t more) {
  const Layout layout(element, sizes, rank);
  const std::size_t header = pooled_header(layout.header, layout.bytes);
  Block* b = pool.take(class_of(header + layout.bytes + more));
  init_block(b, dtype, layout.packable, false, sizes, rank);
  b->base = nullptr;
  b->elements = reinterpret_cast<char*>(b) + header;
  return b;
}
Block* new_block(Dtype dtype, std::size_t element, const Size* sizes, std::size_t rank) {
  return new_block(this_pool(), dtype, element, sizes, rank);
}

Block* new_like_any(Pool& pool, const Block& model, std::size_t more) {
  const std::size_t element = model.dtype == Dtype::f32 ? 4 : 8;
  if ((model.base && (!model.in_tape || model.owns_part)) || !model.contiguous) [[unlikely]] {
    return new_block(pool, model.dtype, element, model.sizes(), model.rank, more);
  }
  const std::size_t header =
      model.in_tape
          ? pooled_header(model.header(), static_cast<std::size_t>(model.size()) * element)
          : static_cast<std::size_t>(static_cast<const char*>(model.elements) -
                                     reinterpret_cast<const char*>(&model));
  Block* b =
      pool.take(more ? class_of(header + static_cast<std::size_t>(model.size()) * element + more)
                     : model.size_class);
  init_block(b, model.dtype, model.packable, false, model.sizes(), model.rank);
  b->base = nullptr;
  b->elements = reinterpret_cast<char*>(b) + header;
  return b;
}

Ref new_view(Block* parent, Size offset, const Size* sizes, std::size_t rank, const Size* strides) {
  Size expected = 1;
  bool contiguous = true;
  for (std::size_t i = rank; i-- > 0;) {
    if (sizes[i] != 1 && strides[i] != expected) contiguous = false;
    expected *= sizes[i];
  }
  if (contiguous || expected == 0) return new_contiguous_view(parent, offset, sizes, rank);
  Block* b = new_view_header(parent, offset, sizes, rank, sizeof(Block) + 2 * rank * sizeof(Size));
  b->contiguous = false;
  for (std::size_t i = 0; i < rank; ++i) b->sizes()[rank + i] = strides[i];
  return Ref(b);
}

Ref new_contiguous_view(Block* parent, Size offset, const Size* sizes, std::size_t rank) {
  return Ref(new_view_header(parent, offset, sizes, rank, Block::header_of_sizes(rank)));
}

Ref own_share(Block* b) {
  if (!b->in_tape) return Ref::share(b);
  const std::size_t element = b->dtype == Dtype::f32 ? 4 : 8;
  Ref copy(new_block(b->dtype, element, b->sizes(), b->rank));
  std::memcpy(copy->elements, b->elements, static_cast<std::size_t>(b->size()) * element);
  return copy;
}

Ref relabel(Ref b, const Shape& shape) {
  if (!b->exclusive() || b->owns_part || shape.rank() > b->rank)
    return new_contiguous_view(b.get(), 0, shape.begin(), shape.rank());
  b->rank = static_cast<std::uint8_t>(shape.rank());
  b->packable = false;
  b->set_sizes(shape.begin(), shape.rank());
  return b;
}

}  // namespace unroll::detail

namespace unroll {
MemoryReport memory_report() { return detail::local_pool().report(); }
void reset_memory_peak() { detail::local_pool().reset_peak(); }
void trim_memory() { detail::local_pool().trim(); }
}  // namespace unroll
