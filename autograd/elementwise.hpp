// How an elementwise op, or a fused lambda, runs: kernels over lanes, made by the compiler from its one declaration, and the
// table through which the tape calls them.
//
//   struct Cube { static constexpr auto name = "cube";
//                 static auto f(const auto& x) { return x * x * x; }
//                 static auto d(wrt<0>, const auto& y, const auto& x) { return 3 * x * x; } };
//   auto y = apply<Cube>(x);                              // a user's op: recorded, every order, any shape
//
//   auto [h, c] = fuse([](auto i, auto f, auto g) { auto c = sigmoid(f) * i; return std::tuple{tanh(c) * g, c}; }, a, b, d);
//
// `fuse` records any elementwise lambda as one node: one pass over memory forward, one backward. `parts<4>(z)` in the place of an
// array stands for the four parts of its last axis, without splitting it first. The lambda chooses with
// `where`, and captures nothing, or numbers by value. Kernels run at the library's instruction level (levels.hpp). What its
// tanh, exp, ... gave is kept for the backward pass; a user's op asks for that with `static constexpr bool costly = true`.
#pragma once

#include "unroll/autograd/elementwise_rows.hpp"
#include "unroll/autograd/ops/elementwise.hpp"

namespace unroll {

template <FloatOrDouble T>
Var<T> sum_to(const Var<T>& x, const Shape& shape);
template <FloatOrDouble T>
Var<T> broadcast_to(const Var<T>& x, const Shape& shape);

namespace detail {

template <class Y>
inline constexpr std::size_t result_count = 1;
template <class Y>
requires requires { std::tuple_size<Y>::value; }
inline constexpr std::size_t result_count<Y> = std::tuple_size_v<Y>;

template <class Y, class F>
void for_each_result(const Y& y, F&& f) {
  if constexpr (requires { std::tuple_size<Y>::value; }) {
    [&]<std::size_t... K>(std::index_sequence<K...>) {
      (f(std::integral_constant<std::size_t, K>{}, std::get<K>(y)), ...);
    }
    (std::make_index_sequence<std::tuple_size_v<Y>>{});
  } else {
    f(std::integral_constant<std::size_t, 0>{}, y);
  }
}

// ---- an op with declared derivatives -----------------------------------------------------------------------------------

template <class Op>
inline constexpr bool op_differentiable = true;
template <class Op>
requires requires { Op::differentiable; }
inline constexpr bool op_differentiable<Op> = Op::differentiable;

template <class D>
inline constexpr std::int8_t unit_code = 2;
template <int V>
inline constexpr std::int8_t unit_code<Unit<V>> = V == 1 || V == 0 ? V : 2;

template <class Op, class T, std::size_t N>
struct DeclaredOp {
  template <std::size_t I, class V>
  static auto partial(const V& y, const std::array<V, N>& x) {
    return [&]<std::size_t... J>(std::index_sequence<J...>) { return Op::d(wrt<I>{}, y, x[J]...); }
    (std::make_index_sequence<N>{});
  }
  template <std::size_t I, class V>
  using Partial = decltype(partial<I>(std::declval<V>(), std::declval<std::array<V, N>>()));

  // Calls f(integral_constant<I>) for each input.
  template <class F>
  static void for_each_input(F&& f) {
    [&]<std::size_t... I>(std::index_sequence<I...>) {
      (f(std::integral_constant<std::size_t, I>{}), ...);
    }
    (std::make_index_sequence<N>{});
  }

  template <class L, std::size_t In, std::size_t Out, class F>
  static void map(T* const* out, const T* const* in, const Size* step, Size n, unsigned accumulate,
                  F f) {
    if (!step && n % Size{L::width} == 0) {
      map_whole_lanes<L, In, Out>(out, in, n, accumulate, f);
    } else {
      map_lanes<L, In, Out>(out, in, step, n, accumulate, f);
    }
  }
  // Over lanes: y = f(x...), and the inputs' cotangents from g, y, x....
  struct Function {
    void operator()(const auto& x, auto& y) const {
      y[0] = [&]<std::size_t... I>(std::index_sequence<I...>) { return Op::f(x[I]...); }
      (std::make_index_sequence<N>{});
    }
  };
  struct Derivatives {
    void operator()(const auto& v, auto& d) const {
      using L = std::remove_cvref_t<decltype(v[0])>;
      std::array<L, N> x;
      std::copy_n(v.begin() + 2, N, x.begin());
      for_each_input([&](auto i) { d[i] = times<L>(partial<i>(v[1], x), v[0]); });
    }
  };
  struct Forward {
    template <class Arch>
    static void run(T* const* out, const T* const* in, const Size* step, Size n) {
      map<Lane<T, Arch>, N, 1>(out, in, step, n, 0, Function{});
    }
    static void own(T* const* out, const T* const* in, const Size* step, Size n) {
      run<xsimd::default_arch>(out, in, step, n);
    }
  };
  struct Backward {
    template <class Arch>
    static void run(T* const* out, const T* const* in, const Size* step, Size n,
                    unsigned accumulate) {
      map<Lane<T, Arch>, 2 + N, N>(out, in, step, n, accumulate, Derivatives{});
    }
    static void own(T* const* out, const T* const* in, const Size* step, Size n,
                    unsigned accumulate) {
      run<xsimd::default_arch>(out, in, step, n, accumulate);
    }
  };
  static void forward(T* const* out, const T* const* in, const Size* step, Size n, unsigned,
                      const void*) {
    run_at_level<Forward>(out, in, step, n);
  }
  static void backward(T* const* out, const T* const* in, const Size* step, Size n,
                       unsigned accumulate, const void*) {
    run_at_level<Backward>(out, in, step, n, accumulate);
  }
  [[gnu::cold]] static void rule(Node& n, Sweep& sweep) {
    const Var<T> g = sweep.take<T>(n);
    const Var<T> y = sweep.of_node<T>(n);
    const std::array<Var<T>, N> x = inputs(n, sweep);
    for_each_input([&](auto i) {
      if constexpr (!std::is_same_v<Partial<i, Var<T>>, Unit<0>>) {
        if (!sweep.wants(n, i)) return;
        sweep.add(*n.inputs()[i].node(), sum_to(times<Var<T>>(partial<i>(y, x), g), x[i].shape()));
      }
    });
  }
  [[gnu::cold]] static void push(Node& n, Push& push) {
    const Var<T> y = push.values().template of_node<T>(n);
    const std::array<Var<T>, N> x = inputs(n, push.values());
    Var<T> tangent;
    for_each_input([&](auto i) {
      if constexpr (!std::is_same_v<Partial<i, Var<T>>, Unit<0>>) {
        const Var<T> t = push.input_tangent<T>(n, i);
        if (t.empty()) return;
        const Var<T> term = times<Var<T>>(partial<i>(y, x), t);
        tangent = tangent.empty() ? term : tangent + term;
      }
    });
    if (!tangent.empty()) push.set(n, broadcast_to(tangent, y.shape()));
  }
  static std::array<Var<T>, N> inputs(Node& n, const Sweep& sweep) {
    return [&]<std::size_t... I>(std::index_sequence<I...>) {
      return std::array<Var<T>, N>{sweep.input<T>(n, I)...};
    }
    (std::make_index_sequence<N>{});
  }

  static constexpr ElementwiseTable<T> table() {
    ElementwiseTable<T> t;
    t.name = Op::name;
    t.inputs = N;
    t.results = 1;
    t.forward = forward;
    if constexpr (op_differentiable<Op>) {
      t.sweep = sweep_elementwise<T, counted_inputs<N>>;
      t.push = push;
      t.backward = backward;
      t.rule = rule;
      [&]<std::size_t... I>(std::index_sequence<I...>) {
        t.unit = {unit_code<Partial<I, Var<T>>>...};
        t.only_passes_on = ((unit_code<Partial<I, Var<T>>> != 2) && ...);
        t.all_recorded = ((unit_code<Partial<I, Var<T>>> != 0) && ...);
      }
      (std::make_index_sequence<N>{});
    } else {
      t.differentiable = false;
    }
    return t;
  }
};

template <class Op, class T, class... X>
Var<T> apply_declared(const X&... x) {
  static constexpr ElementwiseTable<T> table = DeclaredOp<Op, T, sizeof...(X)>::table();
  const Var<T>* inputs[] = {&x...};
  Var<T> y;
  apply_elementwise<T, counted_inputs<sizeof...(X)>>(table, inputs, &y, nullptr, 0);
  return y;
}

// ---- a fused lambda ------------------------------------------------------------------------------------------------------

// What the costly ops in a fused lambda gave: the forward kernel writes it, lane by lane in the order of their calls, and the
// backward kernel reads it instead of computing it again. Both run one instance of the lambda, hence in one order.
template <class L>
class Kept {
 public:
  using T = typename L::value_type;
  enum class Use { count, write, read };
  Kept(Use use, T* at) : use_(use), at_(at) {}

  template <class F>
  L operator()(const F& compute) {
    if (use_ == Use::count) {
      ++count_;
      return L(1);
    }
    if (use_ == Use::read && at_) {
      const L y = L::load(at_);
      at_ += L::width;
      return y;
    }
    const L y = compute();
    if (use_ == Use::write && at_) {
      y.store(at_);
      at_ += L::width;
    }
    return y;
  }
  Size count() const { return count_; }
  T* at() const { return at_; }

 private:
  Use use_;
  T* at_;  // null: nothing is kept
  Size count_ = 0;
};

template <class F, class T, std::size_t N>
struct FusedKernels {
  using L = Lane<T>;
  // The op object of a node.
  struct Op {
    T* kept;
    [[no_unique_address]] F f;
  };

  // The lambda over dual numbers: results with their derivatives with respect to every input.
  template <class V, std::size_t... I>
  static auto run(const F& f, const V* x, Kept<V>* kept, std::index_sequence<I...>) {
    return f(Dual<V, 1U << I>{x[I], {V(1)}, kept}...);
  }
  static constexpr auto indices = std::make_index_sequence<N>{};
  static constexpr std::size_t results = result_count<decltype(run(
      std::declval<F>(), std::declval<L*>(), std::declval<Kept<L>*>(), indices))>;

  // sum += Σ_k g_k ∂y_k/∂x_i over those inputs that result k depends on.
  template <class V, class Y, class Sum>
  static void combine(const Y& y, const V* g, Sum&& sum) {
    for_each_result(y, [&](auto k, const auto& result) {
      using R = std::remove_cvref_t<decltype(result)>;
      [&]<std::size_t... I>(std::index_sequence<I...>) {
        (
            [&] {
              if constexpr (depends_on<R>(I)) {
                sum(k, std::integral_constant<std::size_t, I>{}, result.d[slot_of<mask_of<R>>(I)]);
              }
            }(),
            ...);
      }
      (indices);
    });
    (void)g;
  }

  // One copy of the lambda in each direction, at each level.
  struct Forward {
    template <class Arch>
    static T* run(T* const* out, const T* const* in, Size n, const void* op, T* keep_at) {
      using K = Lane<T, Arch>;
      const F f = static_cast<const Op*>(op)->f;
      Kept<K> kept(Kept<K>::Use::write, keep_at);
      map_arrays<K, N, results>(out, in, n, 0, [&](const auto& x, auto& y) {
        for_each_result(FusedKernels::run(f, x.data(), &kept, indices),
                        [&](auto k, const auto& r) { y[k] = primal<K>(r); });
      });
      return kept.at();
    }
    static T* own(T* const* out, const T* const* in, Size n, const void* op, T* keep_at) {
      return AtLevel<xsimd::default_arch>::run<Forward>(out, in, n, op, keep_at);
    }
  };
  struct Backward {
    template <class Arch>
    static T* run(T* const* out, const T* const* in, Size n, unsigned accumulate, const void* op,
                  T* kept_at) {
      using K = Lane<T, Arch>;
      const F f = static_cast<const Op*>(op)->f;
      Kept<K> kept(Kept<K>::Use::read, kept_at);
      map_arrays<K, 2 * results + N, N>(out, in, n, accumulate, [&](const auto& v, auto& sums) {
        sums.fill(K(0));
        const auto y = FusedKernels::run(f, v.data() + 2 * results, &kept, indices);
        combine(y, v.data(), [&](auto k, auto i, const auto& d) { sums[i] = sums[i] + v[k] * d; });
      });
      return kept.at();
    }
    static T* own(T* const* out, const T* const* in, Size n, unsigned accumulate, const void* op,
                  T* kept_at) {
      return AtLevel<xsimd::default_arch>::run<Backward>(out, in, n, accumulate, op, kept_at);
    }
  };
  static T* forward_arrays(T* const* out, const T* const* in, Size n, unsigned, const void* op,
                           T* keep_at) {
    return run_at_level<Forward>(out, in, n, op, keep_at);
  }
  static T* backward_arrays(T* const* out, const T* const* in, Size n, unsigned accumulate,
                            const void* op, T* kept_at) {
    return run_at_level<Backward>(out, in, n, accumulate, op, kept_at);
  }
  template <ArraysFunction<T> arrays, std::size_t In, std::size_t Out>
  static void map(T* const* out, const T* const* in, const Size* step, Size n, unsigned accumulate,
                  const void* op) {
    T* const kept = static_cast<const Op*>(op)->kept;
    if (!step) {
      arrays(out, in, n, accumulate, op, kept);
    } else {
      run_with_numbers<T>(arrays, out, Out, in, In, step, n, accumulate, op, kept);
    }
  }
  UNROLL_KERNEL static Size kept(const void* op, Size n) {
    const Size width = run_at_level<LaneWidth>(T(0));
    const std::array<L, N> x{};
    Kept<L> kept(Kept<L>::Use::count, nullptr);
    (void)run(static_cast<const Op*>(op)->f, x.data(), &kept, indices);
    return kept.count() * ((n + width - 1) / width * width);
  }
};

// Array i stands for Parts[i] inputs of the lambda: for the parts of its last axis where that is not one.
template <class F, class T, std::size_t... Parts>
struct Fused : FusedKernels<F, T, (Parts + ...)> {
  static constexpr std::size_t N = (Parts + ...), arrays = sizeof...(Parts);
  static constexpr bool parted = ((Parts != 1) || ...);
  using Kernels = FusedKernels<F, T, N>;
  using Op = typename Kernels::Op;
  using Kernels::indices, Kernels::results;

  // For each input, which part of which array it is.
  struct Place {
    std::size_t array, part, of;
  };
  static constexpr auto places = [] {
    std::array<Place, N> all{};
    std::size_t at = 0, array = 0;
    const auto add = [&](std::size_t count) {
      for (std::size_t k = 0; k < count; ++k) all[at++] = {array, k, count};
      ++array;
    };
    (add(Parts), ...);
    return all;
  }();
  // The inputs, given whole(i) for each array; an empty array gives empty ones.
  template <class Whole>
  static std::array<Var<T>, N> inputs_of(Whole&& whole) {
    std::array<Var<T>, N> x;
    for (std::size_t j = 0; j < N; j += places[j].of) {
      const Var<T> w = whole(places[j].array);
      if (places[j].of == 1) {
        x[j] = w;
      } else if (!w.empty()) {
        split_last_axis(w, places[j].of, &x[j]);
      }
    }
    return x;
  }

  [[gnu::cold]] static void rule(Node& n, Sweep& sweep) {
    const F& f = static_cast<const Op*>(elementwise_op(n, results))->f;
    std::array<Var<T>, results> g = take_results(n, sweep);
    const auto x = inputs_of([&](std::size_t i) { return sweep.input<T>(n, i); });
    const auto y = Kernels::run(f, x.data(), static_cast<Kept<Var<T>>*>(nullptr), indices);
    Kernels::combine(y, g.data(), [&](auto k, auto j, const auto& d) {
      constexpr Place place = places[j];
      if (!sweep.wants(n, place.array) || g[k].empty()) return;
      Node& target = *n.inputs()[place.array].node();
      Var<T> term = sum_to(g[k] * d, x[j].shape());
      if constexpr (place.of == 1) {
        sweep.add(target, std::move(term));
      } else {
        const std::size_t axis = x[j].rank() - 1;
        const Size start = static_cast<Size>(place.part) * x[j].shape()[axis];
        sweep.add(target, Region<T>{std::move(term), target.value->shape(), axis, start});
      }
    });
  }
  [[gnu::cold]] static void push(Node& n, Push& push) {
    const F& f = static_cast<const Op*>(elementwise_op(n, results))->f;
    const auto x = inputs_of([&](std::size_t i) { return push.values().template input<T>(n, i); });
    const auto tangents = inputs_of([&](std::size_t i) { return push.input_tangent<T>(n, i); });
    std::array<Var<T>, results> tangent;
    Kernels::combine(Kernels::run(f, x.data(), static_cast<Kept<Var<T>>*>(nullptr), indices),
                     static_cast<const Var<T>*>(nullptr), [&](auto k, auto j, const auto& d) {
                       const Var<T>& t = tangents[j];
                       if (t.empty()) return;
                       tangent[k] = tangent[k].empty() ? d * t : tangent[k] + d * t;
                     });
    for (std::size_t k = 0; k < results; ++k) {
      Node& r = results > 1 ? *static_cast<Node**>(n.op())[k] : n;
      if (!tangent[k].empty()) push.set(r, broadcast_to(tangent[k], r.value->shape()));
    }
  }
  static std::array<Var<T>, results> take_results(Node& n, Sweep& sweep) {
    std::array<Var<T>, results> g;
    for (std::size_t k = 0; k < results; ++k) {
      g[k] = sweep.take<T>(results > 1 ? *static_cast<Node**>(n.op())[k] : n);
    }
    return g;
  }

  // One of its nodes is swept by the short path that it was recorded by (elementwise_alike.hpp, elementwise_rows.hpp) if it can be.
  static constexpr std::size_t known = results == 1 ? counted_inputs<N> : any_inputs;
  struct Kernel {
    static void forward(T* const* out, const T* const* in, Size n, const void* op) {
      Kernels::forward_arrays(out, in, n, 0, op, static_cast<const Op*>(op)->kept);
    }
    static void backward(T* const* out, const T* const* in, Size n, unsigned accumulate,
                         const void* op) {
      Kernels::backward_arrays(out, in, n, accumulate, op, static_cast<const Op*>(op)->kept);
    }
  };
  static void sweep(Node& n, Sweep& sweep) {
    if constexpr (parted) {
      bool any = results == 1;
      for (std::size_t k = 0; results > 1 && k < results; ++k) {
        any = any || result_node(n, results, k).slot;
      }
      if (any && (sweep.recorded() || !sweep_rows<T, results>(n, sweep, table, Kernel{}))) {
        rule(n, sweep);
      }
      for (std::size_t k = 0; results > 1 && k < results; ++k) {
        sweep.free_value(result_node(n, results, k));
      }
    } else {
      if (!sweep.recorded() && n.alike && sweep_alike<T, known>(n, sweep, table, Kernel{})) return;
      sweep_elementwise<T, known>(n, sweep);
    }
  }

  static constexpr ElementwiseTable<T> make_table() {
    ElementwiseTable<T> t;
    t.name = "fuse";
    t.kind = results > 1 ? OpTable::Kind::several : OpTable::Kind::plain;
    t.inputs = N;
    t.results = results;
    t.arrays = arrays;
    t.parts = {Parts...};
    const auto one = std::find(t.parts.begin(), t.parts.begin() + arrays, 1);
    t.unparted =
        one == t.parts.begin() + arrays ? 0 : static_cast<std::uint8_t>(one - t.parts.begin());
    t.sweep = sweep;
    t.push = push;
    t.forward = Kernels::template map<Kernels::forward_arrays, N, results>;
    t.backward = Kernels::template map<Kernels::backward_arrays, 2 * results + N, N>;
    t.rule = rule;
    t.kept = Kernels::kept;
    t.unit.fill(2);
    t.all_recorded = true;
    return t;
  }
  static constexpr ElementwiseTable<T> table = make_table();
};

template <class F, class T, std::size_t... I>
Fused<F, T, (I + 1 - I)...> fused_arrays(std::index_sequence<I...>);  // each is one input

// Computes and records f of these arrays, one for each of `Rules::arrays`.
template <class Rules, class T>
void record_fused(const typename Rules::Op& op, const Var<T>* const* x, Var<T>* y) {
  constexpr typename Rules::Kernel kernel{};
  if constexpr (!Rules::parted) {
    if (apply_alike<T, Rules::known>(Rules::table, x, y, &op, sizeof(op), kernel)) return;
    apply_unlike<T, Rules::known>(Rules::table, x, y, &op, sizeof(op));
  } else if (!apply_to_rows<T, Rules::results>(Rules::table, x, y, &op, sizeof(op), kernel)) {
    using Whole = decltype(fused_arrays<decltype(op.f), T>(Rules::indices));
    const auto inputs = Rules::inputs_of([&](std::size_t i) { return *x[i]; });
    std::array<const Var<T>*, Rules::N> at;
    for (std::size_t j = 0; j < Rules::N; ++j) at[j] = &inputs[j];
    record_fused<Whole, T>({nullptr, op.f}, at.data(), y);
  }
}
// The same by plain ops.
template <class Rules, class T, class F>
auto apply_plainly(const F& f, const Var<T>* const* arrays) {
  const auto x = Rules::inputs_of([&](std::size_t i) { return *arrays[i]; });
  Shape shape = x[0].shape();
  for (const Var<T>& v : x) shape = broadcast_shapes("fuse", shape, v.shape());
  std::array<Var<T>, Rules::results> y;
  for_each_result(std::apply(f, x), [&](auto k, const auto& r) {
    y[k] = as_var<T>(r);
    if (y[k].shape() != shape) y[k] = broadcast_to(y[k], shape);
  });
  return y;
}
template <class Rules, class T, class F, class... X>
auto apply_fused(const F& f, const X&... x) {
  const Var<T>* arrays[] = {&x...};
  std::array<Var<T>, Rules::results> y;
  bool plainly = false;
  if constexpr (gives_way) {
    plainly = library_level > own_level;
    if (plainly) y = apply_plainly<Rules, T>(f, arrays);
  }
  if (!plainly) record_fused<Rules, T>({nullptr, f}, arrays, y.data());
  if constexpr (Rules::results == 1) {
    return std::move(y[0]);
  } else {
    return [&]<std::size_t... K>(std::index_sequence<K...>) {
      return std::tuple{std::move(y[K])...};
    }
    (std::make_index_sequence<Rules::results>{});
  }
}

// Elementwise functions of which no derivative is compiled.
template <class F, class T, std::size_t N>
struct ValuesOnly {
  template <std::size_t... I>
  static auto run(const F& f, const Lane<T>* x, std::index_sequence<I...>) {
    return f(x[I]...);
  }
  static constexpr auto indices = std::make_index_sequence<N>{};
  static constexpr std::size_t results =
      result_count<decltype(run(std::declval<F>(), std::declval<Lane<T>*>(), indices))>;

  UNROLL_KERNEL static void forward(T* const* out, const T* const* in, const Size* step, Size n,
                                    unsigned, const void* op) {
    const F f = *static_cast<const F*>(op);
    map_lanes<Lane<T>, N, results>(out, in, step, n, 0, [&](const auto& x, auto& y) {
      for_each_result(run(f, x.data(), indices), [&](auto k, const auto& r) { y[k] = r; });
    });
  }
  static constexpr ElementwiseTable<T> table = [] {
    ElementwiseTable<T> t;
    t.name = "fuse";
    t.inputs = N;
    t.results = results;
    t.forward = forward;
    t.differentiable = false;
    return t;
  }();
};

// f(x...) like `fuse`, for what is hardly ever differentiated, such as an optimiser's step: one pass over constants. Where an
// argument is tracked, f runs over Vars, and its ops are recorded one by one.
template <class F, class T, class... X>
auto fuse_values(F f, const Var<T>& first, const X&... rest) {
  using Kernel = ValuesOnly<F, T, 1 + sizeof...(X)>;
  std::array<Var<T>, Kernel::results> y;
  if ((first.is_tracked() || ... || rest.is_tracked())) {
    for_each_result(f(first, rest...), [&](auto k, const auto& r) { y[k] = r; });
  } else {
    const Var<T>* inputs[] = {&first, &rest...};
    apply_elementwise<T, any_inputs>(Kernel::table, inputs, y.data(), &f, sizeof(f));
  }
  if constexpr (Kernel::results == 1) {
    return std::move(y[0]);
  } else {
    return std::tuple_cat(std::move(y));
  }
}

}  // namespace detail

// Applies a user's elementwise op (see the top of this file) to arrays that broadcast.
template <class Op, class... X>
requires(is_var<X> || ...) auto apply(const X&... x) {
  using T = typename detail::FirstVar<X...>::type;
  return detail::apply_declared<Op, T>(detail::as_var<T>(x)...);
}
// Over lanes and dual numbers, so that a user's op also works inside `fuse`.
template <class Op, class... X>
requires(!(is_var<X> || ...)) auto apply(const X&... x) { return call<detail::UserOp<Op>>(x...); }

// The N equal parts of x's last axis, each an argument of its own for `fuse`: what `split<N>(x, -1)` would give it.
//
//   auto [h, c] = fuse([](auto i, auto f, auto g, auto o, auto c0) { ... }, parts<4>(z), c);     // z [B, 4 H], c [B, H]
//
// Where the arguments are matrices, and vectors that all rows share, nothing is split: the node reads the parts where they are, and
// writes their cotangents into one array. Throws where the axis does not divide.
template <std::size_t N, FloatOrDouble T>
struct PartsOf {
  Var<T> whole;
};
template <std::size_t N, FloatOrDouble T>
[[nodiscard]] PartsOf<N, T> parts(Var<T> x) {
  static_assert(N > 1, "parts: two at least");
  return {std::move(x)};
}

namespace detail {
template <class X>
inline constexpr std::size_t parts_in = 1;
template <std::size_t N, class T>
inline constexpr std::size_t parts_in<PartsOf<N, T>> = N;
template <std::size_t N, class T, class... Rest>
struct FirstVar<PartsOf<N, T>, Rest...> {
  using type = T;
};
template <class T, class X>
decltype(auto) whole_of(const X& x) {
  return as_var<T>(x);
}
template <class T, std::size_t N, class Other>
const Var<T>& whole_of(const PartsOf<N, Other>& x) {
  static_assert(std::is_same_v<T, Other>,
                "parts: of an array of the other arguments' element type");
  return x.whole;
}
// Is a copy of f good for as long as it is kept? Compilers refuse to make references and pointers out of bytes in a constant.
template <class F>
concept OwnsCaptures = std::is_empty_v<F> ||(std::is_trivially_copyable_v<F>&& requires {
  typename std::bool_constant<(std::bit_cast<F>(std::array<std::byte, sizeof(F)>{}), true)>;
});
}  // namespace detail

// Records f(x...) as one elementwise node; returns a Var, or a tuple of them when f returns a tuple, pair or array. All results have the
// broadcast shape of the arguments. f is called with lanes, dual numbers or Vars: write it with `auto` parameters.
// An argument may be `parts<N>(z)`: N arguments of f. The backward pass calls f after the caller's variables are gone, so f
// captures numbers, and structs of numbers, by value.
template <class F, class... X>
requires((is_var<X> || detail::parts_in<X> > 1) || ...) auto fuse(F f, const X&... x) {
  static_assert(detail::OwnsCaptures<F>,
                "fuse: the lambda may capture numbers by value, [k], but no references, [&], "
                "pointers, Vars or other objects: pass arrays as arguments");
  if constexpr (detail::OwnsCaptures<F>) {
    using T = typename detail::FirstVar<X...>::type;
    using Rules = detail::Fused<F, T, detail::parts_in<X>...>;
    static_assert(Rules::N <= detail::max_inputs && Rules::results <= detail::max_results,
                  "fuse: at most 12 inputs and 4 results");
    return detail::apply_fused<Rules, T>(f, detail::whole_of<T>(x)...);
  }
}

}  // namespace unroll
