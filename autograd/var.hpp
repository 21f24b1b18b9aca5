// Var<T>: a cheap handle to an immutable array of float or double.
//
//   Var<double> x = xt::xarray<double>{1, 2, 3};    // a constant (with unroll/autograd/xtensor.hpp)
//   Var<double> y = tanh(x) * 2;                    // a constant too: nothing is recorded
//   Tape<double> tape;
//   Var<double> z = tanh(tape.leaf(x));             // recorded: an argument was tracked
//
// Whether an operation records is decided by its arguments alone. Invariant: the value behind a Var never changes. A
// constant owns its elements together with its copies; a tracked Var points to a node of its tape and may be used while
// the tape lives (afterwards each use throws).
#pragma once

#include <concepts>
#include <cstdint>
#include <span>

#include "unroll/autograd/block.hpp"

namespace unroll {

template <class T>
concept FloatOrDouble = std::same_as<T, float> || std::same_as<T, double>;

template <FloatOrDouble T>
class Var;

namespace detail {

struct Node;

// What a handle must know of its tape. States are never freed, so a handle may always ask whether its tape lives.
struct TapeState {
  std::uint64_t generation = 1;  // of the tape that uses this state now
  TapeState* merged_into = nullptr;
};

[[noreturn]] void fail_dead_tape();
[[noreturn]] void fail_empty_var();

// A field that is read by itself. Read with its neighbour, as compilers like to, it would have to wait until both, which were just
// written one by one, have left the store buffer: tens of cycles, where a tape is being written.
template <class P>
[[gnu::always_inline]] inline P* apart(P* field) {
  asm("" : "+r"(field));
  return field;
}

// A constant (a block that it owns), a borrowed constant, or a node on a tape.
class Handle {
 public:
  Handle() = default;
  [[gnu::always_inline]] explicit Handle(Ref block) : pointer_(block.give()) {}
  [[gnu::always_inline]] Handle(Node* node, TapeState* tape)
      : pointer_(node), tape_(tape), generation_(tape->generation) {}
  [[gnu::always_inline]] static Handle borrow(Block* block) {
    Handle h;
    h.pointer_ = block;
    h.tape_ = borrowed();
    return h;
  }

  [[gnu::always_inline]] Handle(const Handle& other)
      : pointer_(other.pointer_), tape_(apart(other.tape_)), generation_(other.generation_) {
    if (!tracked() && pointer_) {
      tape_ = nullptr;
      detail::share(static_cast<Block*>(pointer_));
    }
  }
  [[gnu::always_inline]] Handle(Handle&& other) noexcept
      : pointer_(other.pointer_), tape_(apart(other.tape_)), generation_(other.generation_) {
    if (!tape_) other.pointer_ = nullptr;
  }
  [[gnu::always_inline]] Handle& operator=(Handle other) noexcept {
    void* const pointer = pointer_;
    TapeState* const tape = apart(tape_);
    pointer_ = other.pointer_;
    tape_ = apart(other.tape_);
    generation_ = other.generation_;
    other.pointer_ = pointer;  // let go of with it
    other.tape_ = tape;
    return *this;
  }
  [[gnu::always_inline]] ~Handle() {
    if (!tape_ && pointer_) release(static_cast<Block*>(pointer_));
  }

  bool empty() const { return pointer_ == nullptr; }
  bool tracked() const { return reinterpret_cast<std::uintptr_t>(tape_) > borrowed_bits; }
  // The tape that records what is done with this handle, or null; throws when that tape is gone.
  TapeState* tape() const {
    if (!tracked()) return nullptr;
    if (tape_->generation != generation_) fail_dead_tape();
    return latest(tape_);
  }
  struct Contents {
    Block* block;
    Node* node;       // as node() says
    TapeState* tape;  // as tape() says
  };
  [[gnu::always_inline]] Contents contents() const {
    if (!pointer_) fail_empty_var();
    if (!tracked()) return {static_cast<Block*>(pointer_), nullptr, nullptr};
    if (tape_->generation != generation_) fail_dead_tape();
    return {*static_cast<Block* const*>(pointer_), static_cast<Node*>(pointer_), latest(tape_)};
  }
  Node* node() const { return tracked() ? static_cast<Node*>(pointer_) : nullptr; }
  // The tape of a handle that was looked at and is tracked; the node of another handle if that is of the same tape, null else.
  struct Origin {
    TapeState* tape;
    std::uint64_t generation;
  };
  Origin origin() const { return {tape_, generation_}; }
  [[gnu::always_inline]] Node* node_of(const Origin& origin) const {
    return tape_ == origin.tape && generation_ == origin.generation ? static_cast<Node*>(pointer_)
                                                                    : nullptr;
  }
  // The constant's block; the handle is empty afterwards, unless it was borrowed or tracked.
  Ref take() && {
    if (tape_) return share();
    return Ref(static_cast<Block*>(std::exchange(pointer_, nullptr)));
  }
  Ref share() const { return pointer_ ? Ref::share(block()) : Ref(); }
  [[gnu::always_inline]] Block* block() const {
    if (!pointer_) fail_empty_var();
    if (!tracked()) return static_cast<Block*>(pointer_);
    if (tape_->generation != generation_) fail_dead_tape();
    return *static_cast<Block* const*>(pointer_);  // a node begins with its value (tape.hpp)
  }

 private:
  // In the place of a tape: somebody else keeps the constant alive while this handle is moved about; a copy owns its share.
  static constexpr std::uintptr_t borrowed_bits = 1;
  static TapeState* borrowed() { return reinterpret_cast<TapeState*>(borrowed_bits); }
  static TapeState* latest(TapeState* t) {
    while (t->merged_into) [[unlikely]] t = t->merged_into;
    return t;
  }

  void* pointer_ = nullptr;
  TapeState* tape_ = nullptr;
  std::uint64_t generation_ = 0;
};

// How arrays of another library become blocks; specialised in unroll/autograd/xtensor.hpp.
template <class E>
struct ForeignArray {
  static constexpr bool supported = false;
};
template <class E>
concept Foreign = ForeignArray<std::remove_cvref_t<E>>::supported;

// What makes an array of another library from a Var; defined in unroll/autograd/xtensor.hpp.
template <class T>
struct ArrayView;

Ref scalar_block(double x, Dtype dtype);
Ref contiguous(Block* b);  // the same values without gaps; shares the block when it is so already

}  // namespace detail

template <FloatOrDouble T>
class Var {
 public:
  using value_type = T;

  // An empty Var, as a model's parameters are before initialisation; each use of it throws.
  Var() = default;
  // A scalar (no axes).
  template <class U>
  requires std::is_arithmetic_v<U> Var(U x)
      : handle_(detail::scalar_block(static_cast<double>(x), detail::dtype_of<T>)) {}
  // A constant with the values of an xtensor expression.
  template <detail::Foreign E>
  Var(const E& expression)
      : handle_(detail::ForeignArray<std::remove_cvref_t<E>>::template block<T>(expression)) {}
  // A constant of this shape from values in row-major order.
  Var(const Shape& shape, std::span<const T> values);
  Var(const Shape& shape, std::initializer_list<T> values)
      : Var(shape, std::span<const T>(values.begin(), values.size())) {}

  [[nodiscard]] Shape shape() const { return handle_.block()->shape(); }
  [[nodiscard]] std::size_t rank() const { return handle_.block()->rank; }
  [[nodiscard]] Size size() const { return handle_.block()->size(); }
  // The size of one axis; negative axes count from the end.
  [[nodiscard]] Size size(Size axis) const {
    const detail::Block* b = handle_.block();
    return b->sizes()[normalize_axis("size", axis, b->rank)];
  }
  [[nodiscard]] bool empty() const { return handle_.empty(); }
  [[nodiscard]] bool is_tracked() const { return handle_.tracked(); }

  // The number in a Var of one element; throws std::invalid_argument otherwise.
  [[nodiscard]] T item() const;
  // The elements in row-major order, copied.
  [[nodiscard]] std::vector<T> to_vector() const;
  // The values as an xtensor expression that keeps them alive; needs unroll/autograd/xtensor.hpp.
  template <class U = T>
  [[nodiscard]] auto value() const {
    return detail::ArrayView<U>::of(*this);
  }

  // Not promised: for the library's own files.
  explicit Var(detail::Handle handle) : handle_(std::move(handle)) {}
  const detail::Handle& handle() const { return handle_; }

 private:
  detail::Handle handle_;
};

// Integers for labels and indices: immutable, never differentiated.
//
//   Indices words({2, 3}, {0, 4, 1,  2, 2, 0});
class Indices {
 public:
  Indices() : Indices(Shape{0}, std::span<const std::int64_t>{}) {}
  Indices(std::int64_t i) : Indices(Shape{}, std::span<const std::int64_t>(&i, 1)) {}
  Indices(const Shape& shape, std::span<const std::int64_t> values);
  Indices(const Shape& shape, std::initializer_list<std::int64_t> values)
      : Indices(shape, std::span<const std::int64_t>(values.begin(), values.size())) {}
  explicit Indices(const std::vector<std::int64_t>& values)
      : Indices(Shape{static_cast<Size>(values.size())}, values) {}
  template <detail::Foreign E>
  Indices(const E& expression)
      : block_(detail::ForeignArray<std::remove_cvref_t<E>>::template block<std::int64_t>(
            expression)) {}
  explicit Indices(detail::Ref block) : block_(std::move(block)) {}

  [[nodiscard]] Shape shape() const { return block_->shape(); }
  [[nodiscard]] Size size() const { return block_->size(); }
  [[nodiscard]] std::size_t rank() const { return block_->rank; }
  [[nodiscard]] std::int64_t operator()(Size flat) const { return data()[flat]; }
  [[nodiscard]] std::span<const std::int64_t> values() const {
    return {data(), static_cast<std::size_t>(size())};
  }
  // One row along the first axis: a view.
  [[nodiscard]] Indices operator[](Size i) const;
  [[nodiscard]] Indices reshaped(const Shape& shape) const;
  template <class I = std::int64_t>
  [[nodiscard]] auto value() const {
    return detail::ArrayView<I>::of(*this);
  }

  const detail::Ref& block() const { return block_; }

 private:
  const std::int64_t* data() const { return block_->data<std::int64_t>(); }
  detail::Ref block_;  // always contiguous
};

namespace detail {
// The same value without a share in its memory; good for as long as x is. A copy of it owns a share.
template <class T>
[[gnu::always_inline]] inline Var<T> alias(const Var<T>& x) {
  return x.is_tracked() ? x : Var<T>(Handle::borrow(x.handle().block()));
}
// The block of a Var that is not needed any more, without counting it again.
template <class T>
Ref take_block(Var<T>&& y) {
  return std::move(const_cast<Handle&>(y.handle())).take();
}
}  // namespace detail

template <class V>
inline constexpr bool is_var = false;
template <class T>
inline constexpr bool is_var<Var<T>> = true;

}  // namespace unroll
