// Who holds the memory in use: a walk over this thread's open tapes.
#include <algorithm>
#include <unordered_map>
#include <unordered_set>

#include "unroll/autograd/inspect.hpp"
#include "unroll/autograd/pool.hpp"

namespace unroll {
namespace detail {
namespace {

class Census {
 public:
  void count(const TapeCore& tape) {
    Size chunks = 0, number = 0;
    tape.for_each_chunk([&](const Block& chunk) {
      seen_.insert(&chunk);
      chunks += class_bytes(chunk.size_class);
      ++number;
    });
    in_tape_ = 0;
    for (Node* n : stretch(tape.last(), nullptr)) {
      const bool result = n->table->kind == OpTable::Kind::result;
      const char* name = result ? n->inputs()[0].node()->table->name : n->table->name;
      if (n->value) count(*n->value, name);
      for (std::size_t i = 0; i < n->input_count; ++i) {
        if (Block* constant = n->inputs()[i].constant()) count(*constant, "constant");
      }
    }
    if (number > 0) add("tape", chunks - in_tape_, number);
  }

  std::vector<OpMemory> all(Size live_bytes) {
    if (live_bytes > total_) add("other", live_bytes - total_, 0);
    std::vector<OpMemory> out;
    for (auto& [name, memory] : by_name_) out.push_back(memory);
    std::sort(out.begin(), out.end(), [](const OpMemory& a, const OpMemory& b) {
      return a.bytes != b.bytes ? a.bytes > b.bytes : a.name < b.name;
    });
    return out;
  }

 private:
  void count(Block& b, const char* name, Size arrays = 1) {
    if (!seen_.insert(&b).second) return;
    if (b.in_tape) {
      const Size element = b.dtype == Dtype::f32 ? 4 : 8;
      const bool part = b.elements != reinterpret_cast<char*>(&b) + b.header();
      const auto bytes = static_cast<Size>(b.header()) + (part ? 0 : b.size() * element);
      in_tape_ += bytes;
      add(name, bytes, 1);
    } else {
      if (b.pool == &local_pool()) add(name, class_bytes(b.size_class), b.base ? 0 : arrays);
      if (b.base) count(*b.base, name);
    }
    if (!b.packable) return;
    for (std::size_t i = 0; i < Block::packed_slots; ++i) {
      const std::uintptr_t form = b.packed_forms()[i].load(std::memory_order_acquire);
      if (form > 1) count(*reinterpret_cast<Block*>(form), name, 0);
    }
  }
  void add(const char* name, Size bytes, Size arrays) {
    OpMemory& m = by_name_[name];
    m.name = name;
    m.bytes += bytes;
    m.count += arrays;
    total_ += bytes;
  }

  std::unordered_map<std::string, OpMemory> by_name_;
  std::unordered_set<const Block*> seen_;
  Size in_tape_ = 0, total_ = 0;
};

}  // namespace
}  // namespace detail

std::vector<OpMemory> memory_by_op() {
  detail::Census census;
  for (const detail::TapeCore* tape : detail::TapeCore::open_tapes()) census.count(*tape);
  return census.all(memory_report().live_bytes);
}

}  // namespace unroll
