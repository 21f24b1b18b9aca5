// The two ways to read a tape: right to left with cotangents (`Sweep`), left to right with tangents (`Push`).
//
//   Sweep sweep(tape, Sweep::Mode::values, session);
//   sweep.add(y, ones);                              // the cotangent of a node
//   sweep.run(&y, floor);                            // those of the session's leaves are in their slots then
//
// Invariant: a node's slot holds what reached it so far; a rule takes it whole, and adds to the slots of the node's inputs.
#pragma once

#include <variant>

#include "unroll/autograd/tape.hpp"

namespace unroll::detail {

// ---- reading right to left -----------------------------------------------------------------------------------------

// Structured cotangents say how they are to be added instead of being arrays. They may hold aliases of a rule's arguments;
// what is kept beyond the rule is copied, which makes it own its share.

// aᵀ·b for a [k, m] and b [k, n]: the sum of k outer products of rows. A rule returns it instead of computing it, and many
// of them that reach one accumulator are settled as one product.
template <class T>
struct RowProduct {
  Var<T> a, b;
  operator Var<T>() const { return eval(); }
  Var<T> eval() const;
};

// The cotangent of a slice along one axis: g placed into zeros of the shape of the whole.
template <class T>
struct Region {
  Var<T> g;
  Shape shape;  // of the whole
  std::size_t axis = 0;
  Size start = 0, step = 1;  // a negative step walks backwards
  bool drop = false;         // g lacks the axis (an index, not a range)
  operator Var<T>() const { return eval(); }
  Var<T> eval() const;
};

// The cotangent of a row look-up: row i of g is added to row rows(i) of an array [n, ...].
template <class T>
struct RowSum {
  Var<T> g;
  Indices rows;
  Size n = 0;
  operator Var<T>() const { return eval(); }
  Var<T> eval() const;
};

// The cotangent of an array that was broadcast: g, summed to the shape of the target.
template <class T>
struct Broadcasted {
  Var<T> g;
};

// One reading of a stretch of tape, from its last node back to `floor`.
class Sweep {
 public:
  enum class Mode {
    values,              // over constants: fast, nothing is recorded
    recorded,            // over tracked Vars: the reading itself can be read again
    recorded_elsewhere,  // over constants, with cotangents that another tape records
  };
  // With `mark`, only nodes that carry it take part. A consuming sweep takes nodes off the tape as it passes.
  Sweep(TapeCore& tape, Mode mode, std::uint32_t session, std::uint32_t mark = 0,
        bool consume = false)
      : tape_(tape), mode_(mode), session_(session), mark_(mark), consume_(consume) {}

  bool recorded() const { return mode_ != Mode::values; }
  // Is this the last reading, so that what a node keeps for it may be written over?
  bool consumes() const { return consume_; }
  bool is_own_leaf(const Node& n) const { return is_leaf_of(n, session_); }
  bool wants_all() const { return mark_ == 0; }
  bool wants(const Node& n) const { return mark_ == 0 || n.mark == mark_; }
  bool wants(const Node& n, std::size_t i) const {
    const Node* in = n.inputs()[i].node();
    return in && wants(*in);
  }
  template <class T>
  Var<T> input(Node& n, std::size_t i) const {
    const Input in = n.inputs()[i];
    if (in.node()) return of_node<T>(*in.node());
    return Var<T>(Handle::borrow(in.constant()));
  }
  template <class T>
  Var<T> of_node(Node& n) const {
    return mode_ == Mode::recorded ? Var<T>(Handle(&n, &tape_)) : Var<T>(Handle::borrow(n.value));
  }

  // Contributions to the cotangent of a node; each has the shape of the node's value.
  template <class T>
  void add(Node& target, Var<T> g) {
    if (recorded()) {
      add_recorded(target, std::move(g));
    } else {
      add_block<T>(target, detail::take_block(std::move(g)));
    }
  }
  template <class T>
  void add(Node& target, const RowProduct<T>& p);
  // The same in values mode, of blocks that others own too.
  template <class T>
  void add_product(Node& target, Block& a, Block& b);
  template <class T>
  void add(Node& target, const Region<T>& r);
  template <class T>
  void add(Node& target, const RowSum<T>& r);
  template <class T>
  void add(Node& target, const Broadcasted<T>& b);
  template <class T, class Other>
  void add(Node& target, std::variant<Var<T>, Other> v) {
    std::visit([&](auto& term) { add(target, std::move(term)); }, v);
  }
  // Adds an array of the target's size in its order, whatever its shape (values mode).
  template <class T>
  void add_same_size(Node& target, Ref g);
  template <class T>
  void add_block(Node& target, Ref g) {
    if (target.slot == 0) {
      target.slot = reinterpret_cast<std::uintptr_t>(g.give());
    } else {
      add_to_others<T>(target, std::move(g));
    }
  }

  // The whole cotangent of a node, settled; the node forgets it. Empty when nothing reached it.
  template <class T>
  Var<T> take(Node& n) {
    if (n.slot & 1) return settle<T>(n);
    return Var<T>(Handle(Ref(reinterpret_cast<Block*>(std::exchange(n.slot, 0)))));
  }

  // In a consuming sweep: lets go of a result that no earlier node needs.
  void free_value(Node& n) const {
    if (consume_ && n.value && !n.value->in_tape) release(std::exchange(n.value, nullptr));
  }
  // The same as an owned block, for a values sweep.
  template <class T>
  Ref take_block(Node& n) {
    if (n.slot & 1) return detail::take_block(settle<T>(n));
    return Ref(reinterpret_cast<Block*>(std::exchange(n.slot, 0)));
  }

  // Reads from `last` back to `floor`, both included; the cotangents of the session's leaves stay in their slots.
  void run(Node* last, Node* floor);

 private:
  template <bool ahead, bool consume>
  void walk(Node* last, Node* floor);
  template <class T>
  void add_recorded(Node& target, Var<T> g);
  template <class T>
  void add_to_others(Node& target, Ref g);
  template <class T>
  Var<T> settle(Node& n);

  TapeCore& tape_;
  Mode mode_;
  std::uint32_t session_;
  std::uint32_t mark_;
  bool consume_;
};

// The nodes from `floor` to `last`, oldest first.
std::vector<Node*> stretch(Node* last, Node* floor);
// Marks those of them that depend on the session's leaves.
void mark_dependents(const std::vector<Node*>& nodes, std::uint32_t session, std::uint32_t mark);

void drop_slot(Node& n);  // forgets a cotangent or tangent

// ---- reading left to right -----------------------------------------------------------------------------------------

class Push {
 public:
  Push(TapeCore& tape, Sweep::Mode mode, std::uint32_t session) : sweep_(tape, mode, session) {}
  const Sweep& values() const { return sweep_; }
  template <class T>
  void set(Node& n, Var<T> tangent);
  // The tangent of a node, or an empty Var for zero.
  template <class T>
  Var<T> get(const Node& n) const;
  template <class T>
  Var<T> input_tangent(const Node& n, std::size_t i) const {
    const Node* in = n.inputs()[i].node();
    return in ? get<T>(*in) : Var<T>();
  }

 private:
  Sweep sweep_;
};

}  // namespace unroll::detail
