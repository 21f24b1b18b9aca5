// Derivatives of functions: ordinary C++ callables over Vars, models, and tuples, vectors, ... of these.
//
//   auto [loss, gradient] = value_and_grad(sequence_loss, model);       // gradient has the type of the model
//   auto f2 = grad(grad(f));                                            // nested at will
//   auto [y, tangent] = jvp(f, x, t);
//   Net curvature = hvp(loss, model, direction);
//
// A transform opens a tape, hands f fresh leaves, reads the tape and drops it. When its arguments, or what f captures, are
// recorded on an enclosing tape already, it records there, so outer transforms see through it. f may return
// std::tuple{loss, extra...}: what stands behind the loss is handed back as constants that own their data.
// Invariant: leaves are fresh, so an inner transform never confuses its perturbation with an outer one.
#pragma once

#include <memory>

#include "unroll/autograd/model.hpp"
#include "unroll/autograd/op.hpp"

namespace unroll {

namespace detail {

// A transform's (or public tape's) stay on a tape: its leaves, and the readings that stop at them.
class Session {
 public:
  // Joins the enclosing tape when a value given here is tracked.
  explicit Session(TapeState* enclosing, bool is_public = false)
      : own_(enclosing ? nullptr : TapeCore::open(is_public)),
        start_(enclosing ? enclosing : own_),
        id_(static_cast<TapeCore*>(start_)->next_number()) {}
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;
  ~Session() {
    if (own_) own_->close();
  }

  TapeCore& core() const {
    TapeState* s = start_;
    while (s->merged_into) s = s->merged_into;
    return *static_cast<TapeCore*>(s);
  }
  // Does somebody outside depend on what is recorded here?
  bool open() const { return &core() != own_; }
  std::uint32_t id() const { return id_; }

  template <class T>
  Var<T> leaf(const Var<T>& x) {
    TapeState* s = start_;
    while (s->merged_into) s = s->merged_into;
    if (x.is_tracked()) s = join(s, x.handle().tape());
    auto& tape = *static_cast<TapeCore*>(s);
    Node* n = record_leaf(tape, x.handle(), id_);
    if (!floor_) floor_ = n;
    return Var<T>(Handle(n, start_));
  }
  // f(node) for each leaf, the newest first.
  template <class F>
  void for_each_leaf(F&& f) const {
    for (Node* n = floor_ ? core().last() : nullptr; n; n = n == floor_ ? nullptr : n->prev) {
      if (is_leaf_of(*n, id_)) f(*n);
    }
  }

  // What leaves the session: tracked on the enclosing tape if there is one, else a constant.
  template <class T>
  Var<T> release(const Var<T>& x) const {
    if (!x.is_tracked()) return x;
    if (!open()) return Var<T>(Handle(own_share(x.handle().block())));
    x.handle().block();  // throws if x is dead
    return Var<T>(Handle(x.handle().node(), &core()));
  }

  // Reads right to left from what `seed` puts into slots: seed(sweep). `cotangents` is the tape that records them, if any.
  enum class Record { automatic, always };
  template <class Seed>
  void pull(Seed&& seed, bool consume, TapeState* cotangents = nullptr,
            Record record = Record::automatic) {
    TapeCore& tape = core();
    mode_ = open() || record == Record::always  ? Sweep::Mode::recorded
            : cotangents && cotangents != &tape ? Sweep::Mode::recorded_elsewhere
                                                : Sweep::Mode::values;
    Node* last = tape.last();
    std::uint32_t mark = 0;
    if (open()) {
      mark = tape.next_number();
      mark_dependents(stretch(last, floor_), id_, mark);
    }
    Sweep sweep(tape, mode_, id_, mark, consume && mode_ == Sweep::Mode::values);
    seed(sweep);
    if (floor_) sweep.run(last, floor_);
  }
  // The cotangent that the latest such reading left at a leaf.
  template <class T>
  Var<T> cotangent(Node& leaf) {
    Sweep sweep(core(), mode_, id_);
    Var<T> g = sweep.take<T>(leaf);
    if (g.empty()) return zeros<T>(leaf.value->shape());
    return g;
  }

  // Reads left to right from the leaves' tangents.
  template <class SetTangents, class GetTangents>
  void push(SetTangents&& set, GetTangents&& get) {
    TapeCore& tape = core();
    Push push(tape, open() ? Sweep::Mode::recorded : Sweep::Mode::values, id_);
    const std::vector<Node*> nodes = floor_ ? stretch(tape.last(), floor_) : std::vector<Node*>{};
    set(push);
    try {
      for (Node* n : nodes) n->table->push(*n, push);
      get(push);
    } catch (...) {
      clear(nodes);
      throw;
    }
    clear(nodes);
  }

 private:
  static void clear(const std::vector<Node*>& nodes) {
    for (Node* n : nodes) {
      if (n->slot) drop_slot(*n);
    }
  }

  TapeCore* own_;
  TapeState* start_;
  std::uint32_t id_;
  Node* floor_ = nullptr;
  Sweep::Mode mode_ = Sweep::Mode::values;  // of the latest reading from right to left
};

// The tape on which some Var of these trees is tracked, or null.
template <class... X>
TapeState* tape_of(const X&... trees) {
  TapeState* tape = nullptr;
  const auto look = [&](const auto& v) {
    if (!v.empty()) tape = join(tape, v.handle().tape());
  };
  (tree_for_each(look, trees), ...);
  return tape;
}

// Numbers become scalar Vars, so that grad(f)(3.0) works; a tree is itself.
template <class X>
decltype(auto) as_tree(const X& x) {
  if constexpr (std::is_arithmetic_v<X>) {
    return Var<std::conditional_t<std::is_same_v<X, float>, float, double>>(x);
  } else if constexpr (Foreign<X>) {
    return typename ForeignArray<X>::var_type(x);
  } else {
    static_assert(
        Tree<X>,
        "transforms differentiate with respect to Vars, models (structs with fields()), and "
        "vectors, arrays, optionals, tuples and pairs of these; capture other arguments in the "
        "function");
    if constexpr (HasFields<X>) (void)checked_fields<X>;  // before deeper templates
    return (x);
  }
}

template <class X>
X lift(Session& s, const X& tree) {
  return tree_map([&](const auto& v) { return s.leaf(v); }, tree);
}
// A tuple of them. Its type is written out, since std::tuple{x} unpacks an x that is itself a tuple or a pair.
template <class... X>
std::tuple<X...> lift_all(Session& s, const X&... trees) {
  return std::tuple<X...>{lift(s, trees)...};
}
// A tree like `lifted` with the cotangents of its leaves.
template <class X>
X cotangents(Session& s, const X& lifted) {
  return tree_map(
      [&](const auto& v) {
        using T = typename std::remove_cvref_t<decltype(v)>::value_type;
        return s.cotangent<T>(*v.handle().node());
      },
      lifted);
}

// What a function may return besides its loss.
template <class X>
constexpr bool auxiliary_type() {
  if constexpr (is_var<X> || HasFields<X> || std::is_arithmetic_v<X> || std::is_enum_v<X> ||
                std::is_same_v<X, std::string> || std::is_same_v<X, Indices> || Foreign<X>) {
    return true;
  } else if constexpr (is_sequence<X> || is_optional<X>) {
    return auxiliary_type<typename X::value_type>();
  } else if constexpr (is_tuple<X>) {
    return []<std::size_t... I>(std::index_sequence<I...>) {
      return (auxiliary_type<std::tuple_element_t<I, X>>() && ...);
    }
    (std::make_index_sequence<std::tuple_size_v<X>>{});
  } else {
    return false;
  }
}

template <class X>
X release_all(const Session& s, const X& x) {
  static_assert(auxiliary_type<X>(),
                "an auxiliary result may be a Var, a model, numbers, strings, Indices, or tuples, "
                "pairs, arrays, vectors "
                "and optionals of these: a Var inside another type would outlive its tape");
  if constexpr (is_var<X>) {
    return x.empty() ? x : s.release(x);
  } else if constexpr (HasFields<X>) {
    return tree_map([&](const auto& v) { return v.empty() ? v : s.release(v); }, x);
  } else if constexpr (is_sequence<X> || is_optional<X>) {
    X out = x;
    if constexpr (is_optional<X>) {
      if (out) *out = release_all(s, *out);
    } else {
      for (auto& part : out) part = release_all(s, part);
    }
    return out;
  } else if constexpr (is_tuple<X>) {
    return [&]<std::size_t... I>(std::index_sequence<I...>) {
      return X{release_all(s, std::get<I>(x))...};
    }
    (std::make_index_sequence<std::tuple_size_v<X>>{});
  } else {
    return x;
  }
}

template <class T>
void seed_with(Sweep& sweep, const Session& s, const Var<T>& y, const Var<T>& seed) {
  if (!y.is_tracked() || y.handle().tape() != &s.core()) return;
  Node* n = y.handle().node();
  if (sweep.wants(*n)) sweep.add(*n, seed);
}

template <class T>
void check_scalar(const char* transform, const Var<T>& loss) {
  if (loss.size() != 1) {
    fail(transform, "the function returned an array of shape " + to_string(loss.shape()) +
                        "; only a single number can be differentiated so. Take sum(...) or "
                        "mean(...) of it, or use "
                        "vjp or jacobian");
  }
}

// What f returned: its loss, and what stands behind it.
template <class R>
struct Result {
  static constexpr bool has_auxiliary = false;
  static const R& loss(const R& r) { return r; }
};
template <class L, class... A>
struct Result<std::tuple<L, A...>> {
  static constexpr bool has_auxiliary = true;
  static const L& loss(const std::tuple<L, A...>& r) { return std::get<0>(r); }
  static auto auxiliary(const Session& s, const std::tuple<L, A...>& r) {
    if constexpr (sizeof...(A) == 1) {
      return release_all(s, std::get<1>(r));
    } else {
      return [&]<std::size_t... I>(std::index_sequence<I...>) {
        return std::tuple{release_all(s, std::get<I + 1>(r))...};
      }
      (std::index_sequence_for<A...>{});
    }
  }
};
template <class L, class A>
struct Result<std::pair<L, A>> {
  static constexpr bool has_auxiliary = true;
  static const L& loss(const std::pair<L, A>& r) { return r.first; }
  static auto auxiliary(const Session& s, const std::pair<L, A>& r) {
    return release_all(s, r.second);
  }
};

}  // namespace detail

template <class V, class G>
struct ValueAndGrad {
  V value;
  G gradient;
};
template <class V, class G, class A>
struct ValueGradAndAuxiliary {
  V value;
  G gradient;
  A auxiliary;
};

// The loss f(x...) and its gradient: of the type of x, or a tuple for several arguments. When f returns
// std::tuple{loss, extra...} or a pair, a third member `auxiliary` holds what stands behind the loss: one extra as it is,
// several as a tuple.
// A parameter that the loss does not use gets zeros. Throws when the loss is not a single number.
template <class F, class... X>
requires(sizeof...(X) > 0) [[nodiscard]] auto value_and_grad(F&& f, const X&... x) {
  const std::tuple<decltype(detail::as_tree(x))...> trees{detail::as_tree(x)...};
  detail::Session s(std::apply([](const auto&... t) { return detail::tape_of(t...); }, trees));
  const auto lifted =
      std::apply([&](const auto&... t) { return detail::lift_all(s, t...); }, trees);
  static_assert(!std::is_void_v<decltype(std::apply(f, lifted))>,
                "the function returns nothing: it must return its loss as a Var");
  const auto result = std::apply(f, lifted);
  using Result = detail::Result<std::remove_cvref_t<decltype(result)>>;
  const auto& loss = Result::loss(result);
  using Loss = std::remove_cvref_t<decltype(loss)>;
  static_assert(is_var<Loss>,
                "the function must return its loss as a Var (or a tuple that begins with it)");
  using T = typename Loss::value_type;
  detail::check_scalar("grad", loss);
  const Loss value = s.release(loss);
  const auto finish = [&](auto&& pack) {
    s.pull([&](detail::Sweep& sweep) { detail::seed_with(sweep, s, loss, ones<T>(loss.shape())); },
           /*consume=*/true);
    if constexpr (sizeof...(X) == 1) {
      return pack(detail::cotangents(s, std::get<0>(lifted)));
    } else {
      return pack(std::apply(
          [&](const auto&... t) { return std::tuple{detail::cotangents(s, t)...}; }, lifted));
    }
  };
  if constexpr (Result::has_auxiliary) {
    auto auxiliary = Result::auxiliary(s, result);
    return finish([&](auto gradient) {
      return ValueGradAndAuxiliary<Loss, decltype(gradient), decltype(auxiliary)>{
          value, std::move(gradient), std::move(auxiliary)};
    });
  } else {
    return finish([&](auto gradient) {
      return ValueAndGrad<Loss, decltype(gradient)>{value, std::move(gradient)};
    });
  }
}

// The function x... -> ∇f(x...).
template <class F>
[[nodiscard]] auto grad(F f) {
  return [f = std::move(f)](const auto&... x) { return value_and_grad(f, x...).gradient; };
}

// f(x) and the function that carries a cotangent of f(x) back to one of x; it may be called any number of times.
template <class Y, class X>
class Vjp {
 public:
  Y value;
  [[nodiscard]] X pullback(const Y& cotangent) const {
    detail::Session& s = *session_;
    s.pull(
        [&](detail::Sweep& sweep) {
          tree_for_each(
              [&](const auto& y, const auto& g) {
                if (!(y.shape() == g.shape())) {
                  fail("vjp", "the result has shape " + to_string(y.shape()) + ", its cotangent " +
                                  to_string(g.shape()));
                }
                detail::seed_with(sweep, s, y, g);
              },
              result_, cotangent);
        },
        /*consume=*/false, detail::tape_of(cotangent));
    return detail::cotangents(s, lifted_);
  }

  Vjp(Y v, std::shared_ptr<detail::Session> s, Y result, X lifted)
      : value(std::move(v)),
        session_(std::move(s)),
        result_(std::move(result)),
        lifted_(std::move(lifted)) {}

 private:
  std::shared_ptr<detail::Session> session_;
  Y result_;
  X lifted_;
};
template <class F, class X>
[[nodiscard]] auto vjp(F&& f, const X& x) {
  const auto tree = detail::as_tree(x);
  auto s = std::make_shared<detail::Session>(detail::tape_of(tree));
  auto lifted = detail::lift(*s, tree);
  auto y = f(lifted);
  static_assert(Tree<decltype(y)>,
                "vjp: the function must return a Var, a model, or tuples, vectors, ... of these");
  auto value = detail::release_all(*s, y);
  return Vjp(std::move(value), std::move(s), std::move(y), std::move(lifted));
}

// f(x), and its derivative in direction t (of the type of x). Throws when t's shapes are not x's.
template <class Y>
struct ValueAndTangent {
  Y value, tangent;
};
template <class F, class X, class D>
[[nodiscard]] auto jvp(F&& f, const X& x, const D& t) {
  const auto tree = detail::as_tree(x);
  const decltype(detail::as_tree(x)) direction(detail::as_tree(t));
  detail::Session s(detail::tape_of(tree, direction));
  const auto lifted = detail::lift(s, tree);
  const auto y = f(lifted);
  static_assert(Tree<decltype(y)>,
                "jvp: the function must return a Var, a model, or tuples, vectors, ... of these");
  auto tangent = y;
  s.push(
      [&](detail::Push& push) {
        tree_for_each(
            [&](const auto& v, const auto& d) {
              if (!(v.shape() == d.shape())) {
                fail("jvp", "an argument has shape " + to_string(v.shape()) + ", its tangent " +
                                to_string(d.shape()));
              }
              push.set(*v.handle().node(), d);
            },
            lifted, direction);
      },
      [&](const detail::Push& push) {
        tangent = tree_map(
            [&](const auto& v) {
              using V = std::remove_cvref_t<decltype(v)>;
              V d;
              if (v.is_tracked() && v.handle().tape() == &s.core()) {
                d = push.get<typename V::value_type>(*v.handle().node());
              }
              return d.empty() ? zeros<typename V::value_type>(v.shape()) : d;
            },
            y);
      });
  return ValueAndTangent<std::remove_cvref_t<decltype(y)>>{detail::release_all(s, y),
                                                           std::move(tangent)};
}

// [y..., x...]: all partial derivatives of an array with respect to an array, one reading per element of y.
template <class F, class X>
[[nodiscard]] auto jacobian(F&& f, const X& x) {
  const auto v = vjp(std::forward<F>(f), x);
  using V = std::remove_cvref_t<decltype(v.value)>;
  static_assert(is_var<V>, "jacobian: the function must return a Var");
  using T = typename V::value_type;
  const Shape out = v.value.shape();
  const Size n = out.size();
  std::vector<Var<T>> rows;
  for (Size i = 0; i < n; ++i) {
    const Var<T> seed = reshape(one_hot<T>(Indices(i), n), out);
    rows.push_back(v.pullback(seed));
  }
  Shape shape = out;
  const Shape in = detail::as_tree(x).shape();
  for (Size s : in) shape.push_back(s);
  if (rows.empty()) return zeros<T>(shape);
  return reshape(stack(rows), shape);
}

// ∇²f(x)·v by a tangent through the gradient (forward over reverse); x and v are trees of one type.
template <class F, class X>
[[nodiscard]] auto hvp(F&& f, const X& x, const X& v) {
  return jvp(grad(std::forward<F>(f)), x, v).tangent;
}
// [x..., x...]: all second derivatives of a scalar function.
template <class F, class X>
[[nodiscard]] auto hessian(F&& f, const X& x) {
  static_assert(is_var<std::remove_cvref_t<decltype(detail::as_tree(x))>>,
                "hessian: x must be a Var; hvp takes models and tuples");
  return jacobian(grad(std::forward<F>(f)), x);
}

// ---- the tape, for those who want to look --------------------------------------------------------------------------------

// Cotangents of leaves, by the leaf: cotangents(x).
template <FloatOrDouble T>
class Cotangents {
 public:
  [[nodiscard]] Var<T> operator()(const Var<T>& leaf) const {
    for (const auto& [node, g] : values_) {
      if (node == leaf.handle().node()) return g;
    }
    fail("pullback", "this Var is not a leaf of the tape that was read");
  }
  void add(const detail::Node* node, Var<T> g) { values_.emplace_back(node, std::move(g)); }

 private:
  std::vector<std::pair<const detail::Node*, Var<T>>> values_;
};

// A tape of one's own: leaves are made, operations on them record themselves, and it is read as often as one likes.
//
//   Tape<double> tape;
//   auto x = tape.leaf(3.0);
//   auto y = x * x;
//   tape.pullback(y)(x).item();                   // 6
//   tape.pushforward({{x, 1.0}}, y).item();       // 6
template <FloatOrDouble T>
class Tape {
 public:
  Tape() : session_(nullptr, /*is_public=*/true) {}

  [[nodiscard]] Var<T> leaf(const Var<T>& value) { return session_.leaf(value); }

  // The cotangents of all leaves, given that of y (by default 1; then y must be a single number).
  [[nodiscard]] Cotangents<T> pullback(const Var<T>& y) {
    detail::check_scalar("pullback", y);
    return pullback(y, ones<T>(y.shape()));
  }
  [[nodiscard]] Cotangents<T> pullback(const Var<T>& y, const Var<T>& seed) {
    return read(y, seed, detail::Session::Record::automatic);
  }
  // The same, recorded on this tape, so that it can be read in turn (second derivatives).
  [[nodiscard]] Cotangents<T> recorded_pullback(const Var<T>& y) {
    detail::check_scalar("pullback", y);
    return read(y, ones<T>(y.shape()), detail::Session::Record::always);
  }
  // The tangent of y, given those of some leaves (others are zero).
  [[nodiscard]] Var<T> pushforward(const std::vector<std::pair<Var<T>, Var<T>>>& tangents,
                                   const Var<T>& y) {
    check(y);
    Var<T> out;
    session_.push(
        [&](detail::Push& push) {
          for (const auto& [leaf, t] : tangents) {
            check(leaf);
            if (!(leaf.shape() == t.shape())) {
              fail("pushforward", "the leaf has shape " + to_string(leaf.shape()) +
                                      ", its tangent " + to_string(t.shape()));
            }
            push.set(*leaf.handle().node(), t);
          }
        },
        [&](const detail::Push& push) { out = push.get<T>(*y.handle().node()); });
    return out.empty() ? zeros<T>(y.shape()) : out;
  }

  // Not promised: for the library's own files.
  detail::Session& session() { return session_; }
  const detail::Session& session() const { return session_; }

 private:
  void check(const Var<T>& y) const {
    if (y.handle().tape() != &session_.core()) {
      fail("tape",
           "this Var was not recorded on this tape: none of what it was computed from is a leaf of "
           "it");
    }
  }
  Cotangents<T> read(const Var<T>& y, const Var<T>& seed, detail::Session::Record record) {
    check(y);
    if (!(y.shape() == seed.shape())) {
      fail("pullback", "the Var has shape " + to_string(y.shape()) + ", its cotangent " +
                           to_string(seed.shape()));
    }
    session_.pull([&](detail::Sweep& sweep) { detail::seed_with(sweep, session_, y, seed); },
                  /*consume=*/false, detail::tape_of(seed), record);
    Cotangents<T> out;
    session_.for_each_leaf([&](detail::Node& n) {
      if (n.value->dtype == detail::dtype_of<T>) out.add(&n, session_.cotangent<T>(n));
    });
    return out;
  }
  detail::Session session_;
};

namespace detail {
template <class T, class F>
Var<T> gradient_at(F&& f, const Var<T>& x) {
  return value_and_grad(f, x).gradient;
}
}  // namespace detail

}  // namespace unroll
