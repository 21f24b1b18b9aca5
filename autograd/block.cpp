#include "unroll/autograd/block.hpp"

#include <array>
#include <bit>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <vector>

// Under a sanitizer every block is its own allocation: a pool would hide each use after free.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define UNROLL_BYPASS_POOL 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define UNROLL_BYPASS_POOL 1
#endif
#endif

namespace unroll::detail {
namespace {

#ifdef UNROLL_BYPASS_POOL
constexpr bool bypass = true;
#else
constexpr bool bypass = false;
#endif

// Sizes 64, 96, 128, 192, 256, 384, ...: two classes to each power of two.
constexpr std::size_t class_count = 2 * 40;
constexpr std::size_t class_bytes(std::size_t c) {
  const std::size_t power = std::size_t{64} << (c / 2);
  return c % 2 == 0 ? power : power + power / 2;
}
std::size_t class_of(std::size_t bytes) {
  if (bytes <= 64) return 0;
  const std::size_t k = std::bit_width(bytes - 1) - 1;  // 2^k < bytes <= 2^(k+1)
  const std::size_t power = std::size_t{1} << k;
  return bytes <= power + power / 2 ? 2 * (k - 6) + 1 : 2 * (k - 6) + 2;
}
constexpr std::size_t slab_limit = 4096;  // smaller blocks are cut from slabs
constexpr std::size_t slab_bytes = 1 << 18;

void* system_memory(std::size_t bytes) {
  void* p = std::aligned_alloc(64, (bytes + 63) & ~std::size_t{63});
  if (p == nullptr) throw std::bad_alloc();
  return p;
}

}  // namespace

// Free lists by size class. Only the owning thread touches them; other threads push what they let go of onto `remote_`.
class Pool {
 public:
  Block* take(std::size_t bytes) {
    const std::size_t c = class_of(bytes);
    if (c >= class_count) throw std::bad_alloc();
    live_ += static_cast<Size>(class_bytes(c));
    if (live_ > peak_) peak_ = live_;
    if (Block* b = free_[c]) {
      free_[c] = b->base;
      cached_ -= static_cast<Size>(class_bytes(c));
      return b;
    }
    return refill(c);
  }

  void give(Block* b) {
    const std::size_t c = b->size_class;
    live_ -= static_cast<Size>(class_bytes(c));
    if constexpr (bypass) {
      std::free(static_cast<void*>(b));
      return;
    }
    cached_ += static_cast<Size>(class_bytes(c));
    b->base = free_[c];
    free_[c] = b;
  }

  void give_from_another_thread(Block* b) {
    b->base = remote_.load(std::memory_order_relaxed);
    while (!remote_.compare_exchange_weak(b->base, b, std::memory_order_release,
                                          std::memory_order_relaxed)) {
    }
  }

  void drain() {
    Block* b = remote_.exchange(nullptr, std::memory_order_acquire);
    while (b) {
      Block* next = b->base;
      give(b);
      b = next;
    }
  }

  void trim() {
    drain();
    for (std::size_t c = 0; c < class_count; ++c) {
      if (class_bytes(c) <= slab_limit) continue;  // slabs stay: their blocks lie side by side
      while (Block* b = free_[c]) {
        free_[c] = b->base;
        cached_ -= static_cast<Size>(class_bytes(c));
        std::free(static_cast<void*>(b));
      }
    }
  }

  MemoryReport report() {
    drain();
    return {live_, peak_, cached_};
  }
  void reset_peak() { peak_ = live_; }

 private:
  Block* refill(std::size_t c) {
    if (remote_.load(std::memory_order_relaxed)) {
      drain();
      if (Block* b = free_[c]) {
        free_[c] = b->base;
        cached_ -= static_cast<Size>(class_bytes(c));
        return b;
      }
    }
    const std::size_t bytes = class_bytes(c);
    if (bypass || bytes > slab_limit) return stamp(system_memory(bytes), c);
    if (slab_left_ < bytes) {
      slabs_.emplace_back(static_cast<char*>(system_memory(slab_bytes)));
      slab_at_ = slabs_.back().get();
      slab_left_ = slab_bytes;
    }
    void* p = slab_at_;
    slab_at_ += bytes;
    slab_left_ -= bytes;
    return stamp(p, c);
  }

  Block* stamp(void* memory, std::size_t c) {
    Block* b = new (memory) Block;
    b->pool = this;
    b->size_class = static_cast<std::uint8_t>(c);
    return b;
  }

  struct Free {
    void operator()(char* p) const { std::free(p); }
  };
  std::array<Block*, class_count> free_{};
  std::atomic<Block*> remote_{nullptr};
  Size live_ = 0, peak_ = 0, cached_ = 0;
  char* slab_at_ = nullptr;
  std::size_t slab_left_ = 0;
  std::vector<std::unique_ptr<char, Free>> slabs_;
};

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

[[gnu::tls_model("initial-exec")]] thread_local Pool* current = nullptr;

Lease::~Lease() {
  current = nullptr;  // what this thread still frees goes back as from any other thread
  registry().leave(pool);
}

Pool& lease_pool() {
  thread_local Lease lease;
  current = lease.pool;
  return *current;
}

}  // namespace

Pool& local_pool() {
  if (current == nullptr) [[unlikely]]
    return lease_pool();
  return *current;
}

Block* take_block(Pool& pool, std::size_t bytes) { return pool.take(bytes); }

namespace {
void drop_packed_forms(Block& b) {
  for (std::size_t i = 0; i < Block::packed_slots; ++i) {
    const std::uintptr_t form = b.packed_forms()[i].load(std::memory_order_acquire);
    if (form > 1) release(reinterpret_cast<Block*>(form));
  }
}
}  // namespace

void free_block(Block* b) {
  while (b) {
    Block* base = b->base;
    if (b->packable) drop_packed_forms(*b);
    if (b->pool == current) {
      b->pool->give(b);
    } else {
      b->pool->give_from_another_thread(b);
    }
    // A view lets go of the block it showed; views do not nest, so this loop runs at most twice.
    b = nullptr;
    if (base && (base->refs.load(std::memory_order_acquire) == 1 ||
                 base->refs.fetch_sub(1, std::memory_order_acq_rel) == 1)) {
      b = base;
    }
  }
}

namespace {
Ref view_header(Block* parent, Size offset, std::size_t rank, std::size_t numbers) {
  Block* owner = parent->base ? parent->base : parent;
  Block* b = take_block(local_pool(), sizeof(Block) + numbers * sizeof(Size));
  b->refs.store(1, std::memory_order_relaxed);
  b->dtype = parent->dtype;
  b->rank = static_cast<std::uint8_t>(rank);
  b->packable = false;
  b->base = owner;
  retain(owner);
  const Size width = parent->dtype == Dtype::f32 ? 4 : 8;
  b->elements = static_cast<char*>(parent->elements) + offset * width;
  return Ref(b);
}
}  // namespace

Ref new_view(Block* parent, Size offset, const Shape& shape, const Size* strides) {
  Size expected = 1;
  bool contiguous = true;
  for (std::size_t i = shape.rank(); i-- > 0;) {
    if (shape[i] != 1 && strides[i] != expected) contiguous = false;
    expected *= shape[i];
  }
  if (expected == 0) contiguous = true;
  if (contiguous) return new_contiguous_view(parent, offset, shape);
  Ref b = view_header(parent, offset, shape.rank(), 2 * shape.rank());
  b->contiguous = false;
  for (std::size_t i = 0; i < shape.rank(); ++i) {
    b->sizes()[i] = shape[i];
    b->sizes()[shape.rank() + i] = strides[i];
  }
  return b;
}

Ref new_contiguous_view(Block* parent, Size offset, const Shape& shape) {
  Ref b = view_header(parent, offset, shape.rank(), shape.rank());
  b->contiguous = true;
  for (std::size_t i = 0; i < shape.rank(); ++i) b->sizes()[i] = shape[i];
  return b;
}

Ref relabel(Ref b, const Shape& shape) {
  if (!b->exclusive() || shape.rank() > b->rank) return new_contiguous_view(b.get(), 0, shape);
  b->rank = static_cast<std::uint8_t>(shape.rank());
  b->packable = false;
  std::copy(shape.begin(), shape.end(), b->sizes());
  return b;
}

}  // namespace unroll::detail

namespace unroll {
MemoryReport memory_report() { return detail::local_pool().report(); }
void reset_memory_peak() { detail::local_pool().reset_peak(); }
void trim_memory() { detail::local_pool().trim(); }
}  // namespace unroll
