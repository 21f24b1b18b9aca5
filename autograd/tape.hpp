// The tape under the transforms: nodes in the order in which they were recorded.
//
// Operations append nodes; a node's inputs are constants or earlier nodes, so the order is topological and a reading is a
// loop (sweep.hpp). The tape knows no calculus: what a node means is in its table of functions, which `op.hpp` makes from an
// op's declaration.
//
// Invariants: inputs precede outputs; nodes never move; a node's value never changes. A tape that an inner transform made
// joins the enclosing one (`merge`) as soon as an operation meets arguments from both: then its nodes follow the other's.
#pragma once

#include <functional>
#include <vector>

#include "unroll/autograd/kernels/read_ahead.hpp"
#include "unroll/autograd/var.hpp"

namespace unroll::detail {

struct Node;
class Sweep;
class Push;
class TapeCore;

// What the tape may ask of an op: one static table for each op and element type.
struct OpTable {
  const char* name = nullptr;
  void (*sweep)(Node&, Sweep&) = nullptr;  // adds to the inputs' cotangents, given the output's
  void (*push)(Node&, Push&) = nullptr;    // sets the output's tangent, given the inputs'
  void (*destroy)(Node&) =
      nullptr;  // of the op object in the node, where it has something to destroy
  enum class Kind : std::uint8_t {
    plain,
    several,  // its results are nodes of their own, which follow it and hold its cotangents
    result,
    leaf,
  } kind = Kind::plain;
  // Of an op of kind `several` whose op object begins with a PartsRoom, in a values sweep: where the cotangent of one of its results
  // may be written, as a block that the result's slot is to own then; null where there is no such place.
  Block* (*room)(Node&, Node& result) = nullptr;
};
// Once the node of an op with `room` has a slot, that is an array of all its results' cotangents, for each of which there is a header.
struct PartsRoom {
  char* headers = nullptr;
  std::uint32_t header = 0;  // bytes of each

  Block* place_of(std::uint32_t k) const { return reinterpret_cast<Block*>(headers + k * header); }
};

// Of the nodes that hold the results of an op of kind `several`; their one input is the op's node.
extern const OpTable result_table;

class Input {
 public:
  Input() = default;
  explicit Input(Node* n) : bits_(reinterpret_cast<std::uintptr_t>(n)) {}
  explicit Input(Block* b) : bits_(reinterpret_cast<std::uintptr_t>(b) | 1) {}
  Node* node() const { return bits_ & 1 ? nullptr : reinterpret_cast<Node*>(bits_); }
  Node* known_node() const {
    return reinterpret_cast<Node*>(bits_);
  }  // where it can be nothing else
  Block* constant() const { return bits_ & 1 ? reinterpret_cast<Block*>(bits_ - 1) : nullptr; }

 private:
  std::uintptr_t bits_ = 0;
};

struct Node {
  Block*
      value;  // owned; null for a node of several results, and may be so once a consuming sweep has passed
  const OpTable* table;
  Node* prev;
  std::uintptr_t slot = 0;  // the cotangent (or tangent) of the sweep in flight
  std::uint32_t input_count : 30;
  std::uint32_t
      dense : 1;  // elementwise: every input is a constant number or has the result's elements in its order
  // All inputs are nodes, there is no op to destroy, and a value that is counted by its holder: it has nothing to let go of. Of an
  // elementwise node also: every input has the result's elements in its order (TapeCore::record_alike).
  std::uint32_t alike : 1;
  std::uint32_t mark = 0;  // of the latest sweep that found this node to depend on its leaves

  Input* inputs() { return reinterpret_cast<Input*>(this + 1); }
  const Input* inputs() const { return reinterpret_cast<const Input*>(this + 1); }
  void* op() { return inputs() + input_count; }
  std::uint32_t& result_number() {
    return *static_cast<std::uint32_t*>(op());
  }  // of TapeCore::record_result
  Block* input_block(std::size_t i) const {
    const Input in = inputs()[i];
    return in.node() ? in.node()->value : in.constant();
  }
};
static_assert(sizeof(Node) == 40);
static_assert(alignof(Node) == 8 && std::is_standard_layout_v<Node> && offsetof(Node, value) == 0);

// How many bytes the nodes of one tape keep at most (`fuse`, decision 20); at the library's instruction level.
extern const std::size_t most_kept;

// Nodes in chunks of memory, newest last.
class TapeCore : public TapeState {
 public:
  // Of a vector or matrix of a tape.
  static constexpr std::size_t common_header = Block::header_of_sizes(2);

  Node* last() const { return last_; }
  // For sessions and marks: unlike any other of this thread, since tapes may be merged.
  static std::uint32_t next_number();

  Node* record(const OpTable* table, std::size_t inputs, std::size_t op_bytes, Block* value) {
    reserve(node_bytes(inputs, op_bytes));
    // A value that another node owns is shown by a view, so that each in_tape value has one owner.
    if (value && value->in_tape) [[unlikely]]
      value = view_of(value);
    return place_node(table, inputs, op_bytes, value);
  }
  // The node of an op with one result, of the model's type and shape, and `n` elements.
  Node* record_like(const Block& model, Size n, const OpTable* table, std::size_t inputs,
                    std::size_t op_bytes, bool dense) {
    if (!model.in_tape) [[unlikely]] {
      Block* value = new_value(model.dtype, model.sizes(), model.rank);
      reserve(node_bytes(inputs, op_bytes));
      return place_node(table, inputs, op_bytes, value, dense);
    }
    const std::size_t bytes = static_cast<std::size_t>(n) * (model.dtype == Dtype::f32 ? 4 : 8);
    reserve(value_room(model, bytes) + node_bytes(inputs, op_bytes));
    return place_node(table, inputs, op_bytes, place_value_like(model, bytes), dense);
  }
  // The same in two steps for a model that is common (BlockKind::common): where the node is going to be, for its inputs to be
  // written while they are looked at, and the node itself with its value of so many bytes.
  [[gnu::always_inline]] Input* inputs_of_next(std::size_t bytes, std::size_t inputs,
                                               std::size_t op_bytes) {
    reserve(common_header + bytes + largest_alignment + node_bytes(inputs, op_bytes));
    char* const node = elements_at(common_header, bytes) + whole_words(bytes);
    return reinterpret_cast<Input*>(node + sizeof(Node));
  }
  [[gnu::always_inline]] Node* record_alike(const Block& model, std::size_t bytes, Input* own,
                                            const OpTable* table, std::size_t inputs,
                                            std::size_t op_bytes) {
    at_ = reinterpret_cast<char*>(own) - sizeof(Node);
    Block* b = place_common(model, at_ - whole_words(bytes));
    return place_node(table, inputs, op_bytes, b, true, true);
  }
  // The node of an op with its value: in one piece where the last matrix was like it. Its inputs are not set; it has nothing to let
  // go of if they are all nodes, there is no op to destroy, and its value is counted by its holder.
  [[gnu::always_inline]] Node* record_with_value(Dtype dtype, const Size* sizes, std::size_t rank,
                                                 const OpTable* table, std::size_t inputs,
                                                 std::size_t op_bytes) {
    if (rank == 2 && is_like_latest(dtype, sizes)) {
      const std::size_t bytes =
          static_cast<std::size_t>(product(sizes, 2)) * (dtype == Dtype::f32 ? 4 : 8);
      return record_alike(*latest_, bytes, inputs_of_next(bytes, inputs, op_bytes), table, inputs,
                          op_bytes);
    }
    Block* value = new_other_value(dtype, sizes, rank);
    reserve(node_bytes(inputs, op_bytes));
    return place_node(table, inputs, op_bytes, value, false, value->counted_by_holder());
  }
  // And those of a node of several results to come, all of whose inputs have values like them.
  Input* inputs_of_several(std::size_t inputs, std::size_t op_bytes) {
    reserve(node_bytes(inputs, op_bytes));
    return reinterpret_cast<Input*>(at_ + sizeof(Node));
  }
  Node* record_several(const OpTable* table, std::size_t inputs, std::size_t op_bytes) {
    return place_node(table, inputs, op_bytes, nullptr, true, true);
  }
  // Memory for a value like one that is common.
  Block* new_common(const Block& model, std::size_t bytes) {
    reserve(common_header + bytes + largest_alignment);
    char* const elements = elements_at(common_header, bytes);
    at_ = elements + whole_words(bytes);
    return place_common(model, elements);
  }
  // Memory for a value of the next node. Small values lie in the tape beside their nodes;
  // if somebody still holds one when the tape closes, its chunk of the tape stays until they let go.
  [[gnu::always_inline]] Block* new_value(Dtype dtype, const Size* sizes, std::size_t rank) {
    if (rank == 2 && is_like_latest(dtype, sizes)) {
      const std::size_t element = dtype == Dtype::f32 ? 4 : 8;
      return new_common(*latest_, static_cast<std::size_t>(product(sizes, 2)) * element);
    }
    return new_other_value(dtype, sizes, rank);
  }
  // The same for a value of the model's type and shape, with `n` elements.
  Block* new_value_like(const Block& model, Size n) {
    if (!model.in_tape) return new_value(model.dtype, model.sizes(), model.rank);
    const std::size_t bytes = static_cast<std::size_t>(n) * (model.dtype == Dtype::f32 ? 4 : 8);
    reserve(value_room(model, bytes));
    return place_value_like(model, bytes);
  }
  // The header, in the tape, of a part of a value of this type, which lies in the tape too; the model for record_parts. Null for
  // large parts, and matrices that could be packed.
  Block* new_part(Dtype dtype, const Size* sizes, std::size_t rank);
  // The node of one of several results. It knows which, and holds nothing but its value.
  Node* record_result(Node& whole, std::uint32_t number, Block* value) {
    const std::size_t bytes = node_bytes(1, sizeof(number));
    reserve(bytes);
    last_ = place_result(at_, last_, whole, number, value);
    at_ += bytes;
    return last_;
  }
  // The nodes of `count` parts of `whole`'s value x, views of `bytes` bytes behind each other that lie in the tape, all like the
  // model, which has a header of so many bytes; f(number, node) for each. They count as no owners of x: the node before is one
  // for longer.
  template <class F>
  [[gnu::always_inline]] void record_parts(Node& whole, Block& x, const Block& model,
                                           std::size_t header, std::size_t bytes,
                                           std::uint32_t count, F&& f) {
    constexpr std::size_t of_node =
        sizeof(Node) + sizeof(Input) + sizeof(std::uint64_t);  // node_bytes(1, 4)
    reserve(count * (header + of_node));
    auto* elements = static_cast<char*>(x.elements);
    Block* const holder = reinterpret_cast<Block*>(chunks_) - 1;
    Block* const base = x.base ? x.base : &x;
    char* at = at_;
    Node* last = last_;
    for (std::uint32_t k = 0; k < count; ++k) {
      Block* b = place_header(at, model, header, holder);
      b->base = base;
      b->elements = elements;
      elements += bytes;
      last = place_result(at + header, last, whole, k, b);
      at += header + of_node;
      f(k, last);
    }
    at_ = at;
    last_ = last;
  }
  // A node for which it did that: others are often like it.
  Node* known_parts() const { return known_parts_; }
  void set_known_parts(Node* whole) { known_parts_ = whole; }
  // Memory for what the latest node keeps for its sweep; null for none, and for what exceeds `most_kept`.
  void* keep(std::size_t bytes) {
    if (bytes == 0 || kept_bytes_ + bytes > most_kept) return nullptr;
    kept_bytes_ += bytes;
    reserve(bytes + largest_alignment);
    const std::uintptr_t kept =
        (reinterpret_cast<std::uintptr_t>(at_) + largest_alignment) & ~std::uintptr_t{63};
    at_ = reinterpret_cast<char*>(kept + bytes);
    return reinterpret_cast<void*>(kept);
  }

  void set_input(Node* n, std::size_t i, const Handle& h) { set_input(n, i, h.contents()); }
  void set_input(Node* n, std::size_t i, const Handle::Contents& x) {
    if (!x.node) share(x.block);
    n->inputs()[i] = x.node ? Input(x.node) : Input(x.block);
  }

  ReadAhead& read_ahead() { return read_ahead_; }

  // A tape is taken from the thread's store and given back; its state stays for the handles that outlive it.
  static TapeCore* open(bool is_public);
  void close();
  // This thread's open tapes, oldest first; one that has joined another is empty.
  static std::vector<const TapeCore*> open_tapes();
  // f(the block of memory) for each chunk.
  void for_each_chunk(const std::function<void(const Block&)>& f) const;
  // The tape that is to record an operation on both: the older of the two, which the younger joins.
  static TapeState* merge(TapeState* a, TapeState* b);

 private:
  struct Chunk;
  bool is_like_latest(Dtype dtype, const Size* sizes) const {
    return latest_ && latest_->dtype == dtype && equal_sizes(latest_->sizes(), sizes, 2);
  }
  Block* new_other_value(Dtype dtype, const Size* sizes, std::size_t rank);
  friend class Sweep;  // which drops the nodes that it has passed
  void add_chunk(std::size_t at_least);
  [[gnu::always_inline]] void reserve(std::size_t bytes) {
    if (static_cast<std::size_t>(end_ - at_) < bytes) [[unlikely]]
      add_chunk(bytes);
  }
  static std::size_t node_bytes(std::size_t inputs, std::size_t op_bytes) {
    return sizeof(Node) + inputs * sizeof(Input) + whole_words(op_bytes);
  }
  [[gnu::always_inline]] Node* place_node(const OpTable* table, std::size_t inputs,
                                          std::size_t op_bytes, Block* value, bool dense = false,
                                          bool alike = false) {
    last_ = place_node(at_, last_, table, inputs, value, dense, alike);
    at_ += node_bytes(inputs, op_bytes);
    return last_;
  }
  [[gnu::always_inline]] static Node* place_node(char* at, Node* prev, const OpTable* table,
                                                 std::size_t inputs, Block* value, bool dense,
                                                 bool alike) {
    Node* n = reinterpret_cast<Node*>(at);
    n->table = table;
    n->prev = prev;
    n->value = value;
    n->slot = 0;
    n->input_count = static_cast<std::uint32_t>(inputs) & 0x3fffffffU;
    n->dense = dense;
    n->alike = alike;
    n->mark = 0;
    return n;
  }
  [[gnu::always_inline]] static Node* place_result(char* at, Node* prev, Node& whole,
                                                   std::uint32_t number, Block* value) {
    Node* r = place_node(at, prev, &result_table, 1, value, false, value->counted_by_holder());
    r->inputs()[0] = Input(&whole);
    r->result_number() = number;
    return r;
  }
  static constexpr std::size_t largest_alignment = 63;
  static std::size_t alignment(std::size_t bytes) { return bytes > 64 ? largest_alignment : 15; }
  // In a tape the elements follow the header at once.
  static std::size_t value_room(const Block& model, std::size_t bytes) {
    return model.header() + bytes + alignment(bytes);
  }
  // Where a value with a header of so many bytes goes, its elements aligned.
  [[gnu::always_inline]] char* elements_at(std::size_t header, std::size_t bytes) const {
    const std::uintptr_t align = alignment(bytes);
    return reinterpret_cast<char*>((reinterpret_cast<std::uintptr_t>(at_) + header + align) &
                                   ~align);
  }
  static std::size_t whole_words(std::size_t bytes) { return (bytes + 7) & ~std::size_t{7}; }
  [[gnu::always_inline]] Block* place_value(std::size_t header, std::size_t bytes) {
    char* const elements = elements_at(header, bytes);
    at_ = elements + whole_words(bytes);
    return place_before(elements, header);
  }
  // The block of elements that lie there.
  [[gnu::always_inline]] Block* place_before(char* elements, std::size_t header) {
    auto* b = reinterpret_cast<Block*>(elements - header);
    b->base = b->holder = reinterpret_cast<Block*>(chunks_) - 1;
    b->elements = elements;
    return b;
  }
  [[gnu::always_inline]] Block* place_value_like(const Block& model, std::size_t bytes) {
    Block* b = place_value(model.header(), bytes);
    b->size_class = model.size_class;
    init_block(b, model.dtype, false, true, model.sizes(), model.rank);
    return b;
  }
  // The same where the model is common (BlockKind::common).
  [[gnu::always_inline]] Block* place_common(const Block& model, char* elements) {
    Block* b = place_before(elements, common_header);
    // Field by field: to load them together would have to wait until each has left the store buffer.
    static_cast<BlockKind&>(*b) = model;
    b->refs.store(1, std::memory_order_relaxed);
    b->sizes()[0] = model.sizes()[0];
    b->sizes()[1] = model.sizes()[1];
    return b;
  }
  void clear();
  static void drop(Node& n);  // lets go of what it holds
  static Block* view_of(Block* value);

  Node* last_ = nullptr;
  char* at_ = nullptr;
  char* end_ = nullptr;
  Chunk* chunks_ = nullptr;
  const Block* latest_ =
      nullptr;  // of the common values that new_value made: the next is often like it
  Node* known_parts_ = nullptr;
  std::size_t bytes_ = 0;       // of all chunks
  std::size_t kept_bytes_ = 0;  // what nodes keep
  Pool* pool_ = nullptr;
  std::uint64_t born_ = 0;
  bool public_ = false;
  std::size_t next_chunk_ = 0;
  ReadAhead read_ahead_;
};

// The tape that two handles share, or null when neither is tracked.
inline TapeState* join(TapeState* a, TapeState* b) {
  if (a == b || b == nullptr) return a;
  if (a == nullptr) return b;
  return TapeCore::merge(a, b);
}

// Appends a leaf: a node that a session (a transform, a public tape) differentiates with respect to. A tracked value stays
// connected to it, so that an enclosing session sees through; this session's own readings stop here.
Node* record_leaf(TapeCore& tape, const Handle& value, std::uint32_t session);
bool is_leaf_of(const Node& n, std::uint32_t session);

}  // namespace unroll::detail
