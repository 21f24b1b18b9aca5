#include "unroll/autograd/sweep.hpp"

#include <mutex>

#include "unroll/autograd/pool.hpp"

namespace unroll::detail {

const OpTable result_table{"result", [](Node&, Sweep&) {}, [](Node&, Push&) {}, nullptr,
                           OpTable::Kind::result};

void fail_dead_tape() {
  throw std::invalid_argument(
      "[tape] this Var was recorded on a tape that no longer exists. A Var lives as long as its "
      "Tape or the transform (grad, value_and_grad, ...) that passed it to your function; return "
      "what you need as a result or an auxiliary result instead of keeping it");
}
void fail_empty_var() {
  throw std::invalid_argument(
      "[var] an empty Var was used. A parameter that was never initialised, or a Var that was "
      "declared but not assigned");
}

struct TapeCore::Chunk {
  Chunk* next;
};

namespace {

constexpr std::size_t first_chunk = 4000;
constexpr std::size_t largest_chunk = (std::size_t{1} << 16) - 64;

// Tapes are kept by the thread that used them; their states are read by handles that may outlive both, so a thread leaves
// its store to the next one instead of freeing it.
struct Store {
  struct Open {
    TapeCore* tape;
    std::uint64_t generation;  // another one: it was closed, perhaps by another thread
    bool still() const { return tape->generation == generation; }
  };
  std::vector<TapeCore*> idle;
  std::vector<Open> open;
};
struct Stores {
  std::mutex mutex;
  std::vector<Store*> idle;
};
Stores& stores() {
  static auto* s = new Stores;
  return *s;
}
struct StoreLease {
  Store* store = nullptr;
  StoreLease() {
    const std::lock_guard lock(stores().mutex);
    if (stores().idle.empty()) {
      store = new Store;
    } else {
      store = stores().idle.back();
      stores().idle.pop_back();
    }
  }
  ~StoreLease() {
    const std::lock_guard lock(stores().mutex);
    stores().idle.push_back(store);
  }
};
Store& local_store() {
  thread_local StoreLease lease;
  return *lease.store;
}

std::atomic<std::uint64_t> births{0};

}  // namespace

TapeCore* TapeCore::open(bool is_public) {
  Store& store = local_store();
  TapeCore* t = nullptr;
  if (store.idle.empty()) {
    t = new TapeCore;
  } else {
    t = store.idle.back();
    store.idle.pop_back();
  }
  t->pool_ = &local_pool();
  t->born_ = births.fetch_add(1, std::memory_order_relaxed);
  t->public_ = is_public;
  t->merged_into = nullptr;
  t->last_ = nullptr;
  t->at_ = t->end_ = nullptr;
  t->next_chunk_ = first_chunk;
  store.open.push_back({t, t->generation});
  return t;
}

std::vector<const TapeCore*> TapeCore::open_tapes() {
  std::vector<const TapeCore*> tapes;
  for (const Store::Open& o : local_store().open) {
    if (o.still()) tapes.push_back(o.tape);
  }
  return tapes;
}

void TapeCore::for_each_chunk(const std::function<void(const Block&)>& f) const {
  for (const Chunk* c = chunks_; c; c = c->next) f(*(reinterpret_cast<const Block*>(c) - 1));
}

std::uint32_t TapeCore::next_number() {
  thread_local std::uint32_t number = 0;
  if (++number == 0) ++number;  // 0 stands for no mark
  return number;
}

void TapeCore::close() {
  clear();
  ++generation;
  Store& store = local_store();
  std::erase_if(store.open, [](const Store::Open& o) { return !o.still(); });
  store.idle.push_back(this);
}

void TapeCore::add_chunk(std::size_t at_least) {
  std::size_t bytes = next_chunk_;
  while (bytes < at_least + sizeof(Chunk)) bytes *= 2;
  next_chunk_ = std::min(2 * bytes, largest_chunk);
  // A chunk is a block of the pool, so that it is reused, counted and poisoned like any other.
  Block* b = take_block(*pool_, sizeof(Block) + bytes);
  b->refs.store(1, std::memory_order_relaxed);
  b->base = nullptr;
  b->packable = b->in_tape = false;
  auto* c = reinterpret_cast<Chunk*>(b + 1);
  c->next = chunks_;
  chunks_ = c;
  bytes_ += bytes;
  at_ = reinterpret_cast<char*>(c + 1);
  end_ = reinterpret_cast<char*>(c) + bytes;
}

Block* TapeCore::new_other_value(Dtype dtype, const Size* sizes, std::size_t rank) {
  const std::size_t element = dtype == Dtype::f32 ? 4 : 8;
  const std::size_t bytes = static_cast<std::size_t>(product(sizes, rank)) * element;
  if (bypass_pool || bytes > std::size_t{small_value})
    return new_block(*pool_, dtype, element, sizes, rank);
  const std::size_t header = Block::header_of_sizes(rank);
  reserve(header + bytes + alignment(bytes));
  Block* b = place_value(header, bytes);
  b->size_class = static_cast<std::uint8_t>(class_of(pooled_header(header, bytes) + bytes));
  init_block(b, dtype, false, true, sizes, rank);
  if (rank == 2) latest_ = b;
  return b;
}

Block* TapeCore::new_part(Dtype dtype, const Size* sizes, std::size_t rank) {
  const std::size_t element = dtype == Dtype::f32 ? 4 : 8;
  const std::size_t bytes = static_cast<std::size_t>(product(sizes, rank)) * element;
  if (bypass_pool || bytes > std::size_t{small_value}) return nullptr;
  const std::size_t header = Block::header_of_sizes(rank);
  reserve(header);
  auto* b = reinterpret_cast<Block*>(at_);
  at_ += header;
  b->size_class = static_cast<std::uint8_t>(class_of(pooled_header(header, bytes) + bytes));
  init_block(b, dtype, false, true, sizes, rank);
  return b;
}

Block* TapeCore::view_of(Block* value) {
  const Ref owned(value);
  return new_contiguous_view(value, 0, value->sizes(), value->rank).give();
}

namespace {
[[gnu::noinline]] void drop_value(Block* b) {
  if (b->in_tape) {
    if (b->counted_by_holder()) return;
    share(b->holder);  // whoever holds it lets go of that last
    if (b->base != b->holder) share(b->base);
  }
  release(b);
}

// Walks over a tape go through memory once, from its end to its beginning. What will be needed soon is fetched meanwhile, if the
// tape is too large for the near caches: the nodes with the small values between them, and the heads of other values.
class Ahead {
 public:
  static constexpr std::size_t small_tape = 1 << 20;
  // Before `n` is visited.
  [[gnu::always_inline]] void operator()(const Node* n) {
    const auto at = reinterpret_cast<std::uintptr_t>(n);
    if (at - fetched_ > 2 * distance) fetched_ = at;  // another chunk, or the first node
    for (; fetched_ + distance > at; fetched_ -= line) fetch(fetched_ - line);
    if (n->prev && n->prev->prev) {
      const auto value = reinterpret_cast<std::uintptr_t>(n->prev->prev->value);
      fetch(value);
      fetch(value + line);
    }
  }

 private:
  static void fetch(std::uintptr_t p) { __builtin_prefetch(reinterpret_cast<const void*>(p)); }

  static constexpr std::uintptr_t line = 64, distance = 8192;
  std::uintptr_t fetched_ = 0;
};
}  // namespace

[[gnu::always_inline]] inline void TapeCore::drop(Node& n) {
  if (n.alike) [[likely]]
    return;
  if (n.value) drop_value(n.value);
  for (std::size_t i = 0; i < n.input_count; ++i) {
    if (Block* b = n.inputs()[i].constant()) release(b);
  }
  if (n.table->destroy) n.table->destroy(n);
}

void TapeCore::clear() {
  Ahead ahead;
  const bool large = bytes_ > Ahead::small_tape;
  for (Node* n = last_; n; n = n->prev) {
    if (large) ahead(n);
    drop(*n);
  }
  while (chunks_) {
    Chunk* next = chunks_->next;
    release(reinterpret_cast<Block*>(chunks_) - 1);
    chunks_ = next;
  }
  bytes_ = kept_bytes_ = 0;
  last_ = nullptr;
  latest_ = nullptr;
  known_parts_ = nullptr;
  read_ahead_.clear();
}

TapeState* TapeCore::merge(TapeState* a, TapeState* b) {
  auto* older = static_cast<TapeCore*>(a);
  auto* younger = static_cast<TapeCore*>(b);
  if (older->born_ > younger->born_) std::swap(older, younger);
  if ((older->public_ && younger->public_) || older->pool_ != younger->pool_ ||
      older->pool_ != &local_pool()) {
    throw std::invalid_argument(
        older->pool_ != younger->pool_ || older->pool_ != &local_pool()
            ? "[tape] an operation mixes Vars of tapes that belong to different threads. Give each "
              "thread its own tape and add their gradients"
            : "[tape] an operation mixes Vars of two tapes of which neither encloses the other. "
              "Make all leaves on one Tape");
  }
  // Nothing on the younger tape depends on the older one so far, so its nodes may follow all of the older one's.
  if (Node* first = younger->last_) {
    while (first->prev) first = first->prev;
    first->prev = older->last_;
    older->last_ = younger->last_;
  }
  if (younger->chunks_) {
    Chunk* oldest = younger->chunks_;
    while (oldest->next) oldest = oldest->next;
    oldest->next = older->chunks_;
    older->chunks_ = younger->chunks_;
    older->at_ = younger->at_;
    older->end_ = younger->end_;
    older->bytes_ += younger->bytes_;
    older->kept_bytes_ += younger->kept_bytes_;
  }
  younger->read_ahead_.clear();
  younger->last_ = nullptr;
  younger->latest_ = nullptr;
  younger->known_parts_ = nullptr;
  younger->chunks_ = nullptr;
  younger->bytes_ = younger->kept_bytes_ = 0;
  younger->merged_into = older;
  return older;
}

std::vector<Node*> stretch(Node* last, Node* floor) {
  std::vector<Node*> nodes;
  for (Node* n = last; n; n = n->prev) {
    nodes.push_back(n);
    if (n == floor) break;
  }
  std::reverse(nodes.begin(), nodes.end());
  return nodes;
}

namespace {

struct LeafOp {
  std::uint32_t session;
};
template <class T>
void sweep_leaf(Node& n, Sweep& sweep) {
  if (sweep.is_own_leaf(n)) return;
  Var<T> g = sweep.take<T>(n);
  if (n.input_count > 0 && sweep.wants(n, 0)) sweep.add(*n.inputs()[0].node(), std::move(g));
}
template <class T>
void push_leaf(Node& n, Push& push) {
  if (push.values().is_own_leaf(n) || n.input_count == 0) return;
  push.set(n, push.input_tangent<T>(n, 0));
}
template <class T>
constexpr OpTable leaf_table{"leaf", sweep_leaf<T>, push_leaf<T>, nullptr, OpTable::Kind::leaf};

}  // namespace

Node* record_leaf(TapeCore& tape, const Handle& value, std::uint32_t session) {
  Block* b = value.block();
  share(b);
  const OpTable* table = b->dtype == Dtype::f32 ? &leaf_table<float> : &leaf_table<double>;
  Node* n = tape.record(table, value.tracked() ? 1 : 0, sizeof(LeafOp), b);
  if (value.tracked()) tape.set_input(n, 0, value);
  *static_cast<LeafOp*>(n->op()) = {session};
  return n;
}

bool is_leaf_of(const Node& n, std::uint32_t session) {
  return n.table->kind == OpTable::Kind::leaf &&
         static_cast<const LeafOp*>(const_cast<Node&>(n).op())->session == session;
}

void mark_dependents(const std::vector<Node*>& nodes, std::uint32_t session, std::uint32_t mark) {
  for (Node* n : nodes) {
    bool depends = is_leaf_of(*n, session);
    for (std::size_t i = 0; !depends && i < n->input_count; ++i) {
      const Node* in = n->inputs()[i].node();
      depends = in && in->mark == mark;
    }
    if (depends) n->mark = mark;
  }
}

template <bool ahead, bool consume>
void Sweep::walk(Node* last, Node* floor) {
  Ahead fetch;
  Node** stays = &tape_.last_;  // consuming: where the list of the nodes that stay goes on
  for (Node* n = last;; n = n->prev) {
    if constexpr (ahead) fetch(n);
    const OpTable& table = *n->table;
    if (table.kind == OpTable::Kind::plain) [[likely]] {
      if (n->slot) table.sweep(*n, *this);
    } else if (table.kind == OpTable::Kind::leaf) {
      if (n->slot) table.sweep(*n, *this);
      stays = &n->prev;  // its cotangent is still to be read
      if (n == floor) return;
      continue;
    } else {
      // Results are needed by the node that computed them, which comes before them all and looks at their slots.
      if (table.kind == OpTable::Kind::result) n = n->inputs()[0].known_node();
      n->table->sweep(*n, *this);
    }
    if constexpr (consume) {
      for (Node* m = *stays; m != n; m = m->prev) TapeCore::drop(*m);
      *stays = n->prev;
      TapeCore::drop(*n);
    }
    if (n == floor) return;
  }
}

void Sweep::run(Node* last, Node* floor) {
  if (consume_) tape_.read_ahead().clear();
  try {
    const bool large = tape_.bytes_ > Ahead::small_tape;
    if (consume_) {
      large ? walk<true, true>(last, floor) : walk<false, true>(last, floor);
    } else {
      large ? walk<true, false>(last, floor) : walk<false, false>(last, floor);
    }
  } catch (...) {
    for (Node* m = last; m; m = m->prev) {
      if (m->slot) drop_slot(*m);
      if (m == floor) break;
    }
    throw;
  }
}

}  // namespace unroll::detail
