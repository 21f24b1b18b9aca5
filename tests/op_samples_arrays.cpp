// Products and reductions: see op_samples.hpp.
#include "op_samples.hpp"
#include "unroll/autograd/random.hpp"

namespace unroll::testing {
namespace {

using Shapes = std::vector<std::vector<Shape>>;
const Shapes reducible{{Shape{}}, {Shape{7}}, {Shape{3, 4}}, {Shape{2, 3, 4}}, {Shape{1, 5, 1}}};

// Over all axes, each kind of choice of axes, and with kept dimensions.
template <class F>
std::vector<OpSample> over_axes(F f, bool empty_too, const std::vector<Domain>& d = {}) {
  auto out = all_of({
      samples(
          reducible, [f](const auto& x) { return f(x[0], Axes{}, KeepDims::no); }, d, "all axes:"),
      samples(
          {{Shape{3, 4}}}, [f](const auto& x) { return f(x[0], Axes{}, KeepDims::yes); }, d,
          "all, kept:"),
      samples(
          {{Shape{5}}, {Shape{3, 4}}, {Shape{2, 3, 4}}, {Shape{2, 1}}},
          [f](const auto& x) { return f(x[0], Axes(-1), KeepDims::no); }, d, "axis -1:"),
      samples(
          {{Shape{3, 4}}, {Shape{2, 3, 4}}, {Shape{1, 3}}},
          [f](const auto& x) { return f(x[0], Axes(0), KeepDims::no); }, d, "axis 0:"),
      samples(
          {{Shape{3, 4}}, {Shape{2, 3, 4}}},
          [f](const auto& x) { return f(x[0], Axes(1), KeepDims::yes); }, d, "axis 1, kept:"),
      samples(
          {{Shape{2, 3, 4}}, {Shape{2, 3, 2, 2}}},
          [f](const auto& x) {
            return f(x[0], Axes{0, -1}, KeepDims::no);
          },
          d, "axes {0, -1}:"),
      samples(
          {{Shape{2, 3, 4}}},
          [f](const auto& x) {
            return f(x[0], Axes{-1, 1}, KeepDims::yes);
          },
          d, "axes {-1, 1}, kept:"),
      samples(
          {{Shape{0, 3}}}, [f](const auto& x) { return f(x[0], Axes(1), KeepDims::no); }, d,
          "no rows, over the others:"),
  });
  if (empty_too) {
    auto more = all_of({
        samples(
            {{Shape{0}}, {Shape{3, 0}}},
            [f](const auto& x) { return f(x[0], Axes{}, KeepDims::no); }, d, "of nothing:"),
        samples(
            {{Shape{3, 0}}}, [f](const auto& x) { return f(x[0], Axes(1), KeepDims::yes); }, d,
            "of nothing, kept:"),
    });
    out.insert(out.end(), more.begin(), more.end());
  }
  return out;
}

}  // namespace

void add_array_ops(std::vector<OpEntry>& table) {
  const char* group = "Making arrays";
  const auto maker = [&](const char* name, const char* call, const char* formula, const char* notes,
                         auto f) {
    table.push_back({group, name, call, formula, notes, OpKind::maker, samples({{Shape{3}}}, f)});
  };
  maker("zeros", "zeros<T>(shape)", "0", "", [](const auto& x) {
    return zeros<element_of<decltype(x)>>(Shape{2, 3});
  });
  maker("ones", "ones<T>(shape)", "1", "", [](const auto& x) {
    return ones<element_of<decltype(x)>>(Shape{2, 3});
  });
  maker("full", "full<T>(shape, value)", "value", "", [](const auto& x) {
    return full<element_of<decltype(x)>>(Shape{2, 3}, 1.5);
  });
  maker("arange", "arange<T>(n)", "[0, 1, ..., n-1]", "",
        [](const auto& x) { return arange<element_of<decltype(x)>>(4); });
  maker("eye", "eye<T>(n)", "the identity matrix", "",
        [](const auto& x) { return eye<element_of<decltype(x)>>(3); });
  maker("one_hot", "one_hot<T>(labels, n)", "1 where the last index is the label",
        "labels outside [0, n) throw", [](const auto& x) {
          return one_hot<element_of<decltype(x)>>(Indices({2}, {0, 2}), 3);
        });
  maker("stop_gradient", "stop_gradient(x)", "x as a constant",
        "no gradient passes; the values are shared",
        [](const auto& x) { return stop_gradient(x[0]); });
  table.push_back(
      {group, "cast", "cast<To>(x)", "x in the other element type", "", OpKind::linear,
       samples({{Shape{3}}, {Shape{}}, {Shape{2, 3}}, {Shape{0}}}, [](const auto& x) {
         using T = element_of<decltype(x)>;
         if constexpr (std::is_same_v<T, double>) {
           return cast<T>(
               x[0]);  // through float the differences would see its steps: see the sweep
         } else {
           return cast<T>(cast<double>(x[0]));
         }
       })});

  group = "Products";
  table.push_back(
      {group, "matmul", "matmul(a, b)", "Σₖ aᵢₖ bₖⱼ",
       "vectors, matrices, and stacks whose leading axes broadcast", OpKind::linear,
       all_of({samples({{Shape{3, 4}, Shape{4, 5}},
                        {Shape{1, 4}, Shape{4, 1}},
                        {Shape{4}, Shape{4}},
                        {Shape{4}, Shape{4, 3}},
                        {Shape{3, 4}, Shape{4}},
                        {Shape{2, 3, 4}, Shape{4, 5}},
                        {Shape{2, 3, 4}, Shape{4}},
                        {Shape{4}, Shape{2, 4, 3}},
                        {Shape{3, 4}, Shape{2, 4, 2}},
                        {Shape{2, 3, 4}, Shape{2, 4, 2}},
                        {Shape{2, 1, 3, 4}, Shape{3, 4, 2}},
                        {Shape{1, 2, 3}, Shape{4, 3, 2}},
                        {Shape{0, 4}, Shape{4, 2}},
                        {Shape{3, 0}, Shape{0, 2}},
                        {Shape{3, 4}, Shape{4, 0}},
                        {Shape{0}, Shape{0}},
                        {Shape{0, 3, 4}, Shape{4, 2}},
                        {Shape{2, 3, 0}, Shape{2, 0, 2}},
                        {Shape{1, 1}, Shape{1, 1}}},
                       [](const auto& x) { return matmul(x[0], x[1]); }),
               samples(
                   {{Shape{3, 3}}},
                   [](const auto& x) { return matmul(x[0], matmul(x[0], transpose(x[0]))); }, {},
                   "one array three times:")})});
  table.push_back(
      {group, "linear", "linear(x, W)  linear(x, W, b)", "x Wᵀ + b over the last axis of x",
       "W is [out, in], b is [out]", OpKind::linear,
       all_of({samples({{Shape{3, 4}, Shape{5, 4}},
                        {Shape{4}, Shape{5, 4}},
                        {Shape{2, 3, 4}, Shape{1, 4}},
                        {Shape{1, 1}, Shape{2, 1}},
                        {Shape{0, 4}, Shape{2, 4}},
                        {Shape{3, 0}, Shape{2, 0}},
                        {Shape{3, 2}, Shape{0, 2}},
                        {Shape{2, 2, 3}, Shape{0, 3}},
                        {Shape{2, 2, 0}, Shape{3, 0}}},
                       [](const auto& x) { return linear(x[0], x[1]); }),
               samples(
                   {{Shape{3, 4}, Shape{5, 4}, Shape{5}},
                    {Shape{4}, Shape{1, 4}, Shape{1}},
                    {Shape{2, 2, 3}, Shape{2, 3}, Shape{2}}},
                   [](const auto& x) { return linear(x[0], x[1], x[2]); }, {}, "with bias:")})});
  table.push_back({group, "outer", "outer(a, b)", "aᵢ bⱼ", "", OpKind::composite,
                   samples({{Shape{3}, Shape{4}}, {Shape{1}, Shape{2}}, {Shape{0}, Shape{2}}},
                           [](const auto& x) { return outer(x[0], x[1]); })});
  table.push_back({group, "dot", "dot(a, b)", "Σ aᵢ bᵢ", "of two arrays of one shape",
                   OpKind::composite,
                   samples({{Shape{5}, Shape{5}},
                            {Shape{2, 3}, Shape{2, 3}},
                            {Shape{}, Shape{}},
                            {Shape{0}, Shape{0}}},
                           [](const auto& x) { return dot(x[0], x[1]); })});

  group = "Reductions (axes = all, keep = KeepDims::no)";
  const auto reduction = [&](const char* name, const char* formula, const char* notes, OpKind kind,
                             bool empty_too, auto f, const std::vector<Domain>& d = {}) {
    table.push_back({group, name, std::string(name) + "(x, axes, keep)", formula, notes, kind,
                     over_axes(f, empty_too, d)});
  };
  reduction("sum", "Σ x", "0 of nothing", OpKind::linear, true,
            [](const auto& x, const Axes& a, KeepDims k) { return sum(x, a, k); });
  reduction("mean", "Σ x / n", "of nothing: throws", OpKind::linear, false,
            [](const auto& x, const Axes& a, KeepDims k) { return mean(x, a, k); });
  reduction("max", "the largest", "equal largest elements share the cotangent; of nothing: throws",
            OpKind::general, false,
            [](const auto& x, const Axes& a, KeepDims k) { return max(x, a, k); });
  reduction("min", "the smallest",
            "equal smallest elements share the cotangent; of nothing: throws", OpKind::general,
            false, [](const auto& x, const Axes& a, KeepDims k) { return min(x, a, k); });
  reduction("prod", "Π x", "right with any number of zeros, to every order; 1 of nothing",
            OpKind::composite, true,
            [](const auto& x, const Axes& a, KeepDims k) { return prod(x, a, k); });
  reduction("logsumexp", "ln Σ eˣ", "without overflow; of -inf alone: -inf; of nothing: throws",
            OpKind::general, false,
            [](const auto& x, const Axes& a, KeepDims k) { return logsumexp(x, a, k); });
  reduction("norm", "√Σ x²", "without overflow; derivative at 0: 0; 0 of nothing", OpKind::general,
            true, [](const auto& x, const Axes& a, KeepDims k) { return norm(x, a, k); });
  table.push_back({group, "centre", "centre(x, axes)", "x - mean(x)", "0 where all are equal",
                   OpKind::linear,
                   all_of({samples({{Shape{}}, {Shape{7}}, {Shape{3, 0}}},
                                   [](const auto& x) { return centre(x[0]); }),
                           samples({{Shape{3, 4}}, {Shape{2, 3, 4}}},
                                   [](const auto& x) { return centre(x[0], 0); }),
                           samples({{Shape{2, 3, 4}}}, [](const auto& x) {
                             return centre(x[0], {-1, 0});
                           })})});
  const std::vector<std::vector<Shape>> more_than_one{{Shape{7}}, {Shape{3, 4}}, {Shape{2, 3, 4}}};
  table.push_back(
      {group, "var", "var(x, axes, ddof = 0, keep)", "Σ (x - mean)² / (n - ddof)",
       "n <= ddof throws", OpKind::composite,
       all_of(
           {over_axes([](const auto& x, const Axes& a, KeepDims k) { return var(x, a, 0, k); },
                      false),
            samples(
                more_than_one, [](const auto& x) { return var(x[0], Axes{}, 1); }, {}, "ddof = 1:"),
            samples(
                {{Shape{3, 4}}}, [](const auto& x) { return var(x[0], 0, 1, KeepDims::yes); }, {},
                "axis 0, ddof = 1, kept:")})});
  group = "Along one axis";
  const auto along = [](auto f, bool empty_too) {
    auto out =
        all_of({samples(
                    {{Shape{7}}, {Shape{3, 4}}, {Shape{2, 3, 4}}, {Shape{2, 1}}},
                    [f](const auto& x) { return f(x[0], -1); }, {}, "axis -1:"),
                samples(
                    {{Shape{3, 4}}, {Shape{2, 3, 4}}, {Shape{0, 3}}},
                    [f](const auto& x) { return f(x[0], 0); }, {}, "axis 0:"),
                samples(
                    {{Shape{2, 3, 4}}}, [f](const auto& x) { return f(x[0], 1); }, {}, "axis 1:")});
    if (empty_too) out.push_back(sample({Shape{0}}, [f](const auto& x) { return f(x[0], 0); }));
    return out;
  };
  table.push_back({group, "cumsum", "cumsum(x, axis)", "Σ_{j <= i} xⱼ", "", OpKind::linear,
                   along([](const auto& x, Size a) { return cumsum(x, a); }, true)});
  table.push_back({group, "softmax", "softmax(x, axis = -1)", "eˣ / Σ eˣ",
                   "without overflow; -inf gives 0", OpKind::general,
                   along([](const auto& x, Size a) { return softmax(x, a); }, true)});
  table.push_back({group, "log_softmax", "log_softmax(x, axis = -1)", "x - ln Σ eˣ",
                   "without overflow", OpKind::general,
                   along([](const auto& x, Size a) { return log_softmax(x, a); }, true)});
  const auto position = [&](const char* name, const char* formula, auto f) {
    table.push_back({group, name, std::string(name) + "(x, axis = -1)", formula,
                     "gives Indices; the first of equals", OpKind::not_differentiable,
                     samples({{Shape{5}}, {Shape{2, 3}}}, [f](const auto& x) {
                       using T = element_of<decltype(x)>;
                       const Indices i = f(x[0]);
                       std::vector<T> values(i.values().begin(), i.values().end());
                       return Var<T>(i.shape(), std::span<const T>(values));
                     })});
  };
  position("argmax", "where the largest is", [](const auto& x) { return argmax(x); });
  position("argmin", "where the smallest is", [](const auto& x) { return argmin(x); });

  group = "Random numbers by key";
  const auto integers = [](const Indices& i, const auto& x) {
    using T = element_of<decltype(x)>;
    const std::vector<T> values(i.values().begin(), i.values().end());
    return Var<T>(i.shape(), std::span<const T>(values));
  };
  maker("uniform", "uniform<T>(key, shape, low = 0, high = 1)", "evenly over [low, high)", "",
        [](const auto& x) {
          return uniform<element_of<decltype(x)>>(Key(1), Shape{2, 3});
        });
  maker("normal", "normal<T>(key, shape, mean = 0, std = 1)", "the normal distribution", "",
        [](const auto& x) {
          return normal<element_of<decltype(x)>>(Key(1), Shape{2, 3});
        });
  maker("bernoulli", "bernoulli<T>(key, shape, p)", "1 with probability p, else 0", "",
        [](const auto& x) {
          return bernoulli<element_of<decltype(x)>>(Key(1), Shape{2, 3}, 0.5);
        });
  maker("randint", "randint(key, shape, low, high)", "integers over [low, high)", "gives Indices",
        [integers](const auto& x) { return integers(randint(Key(1), Shape{4}, 0, 9), x); });
  maker("permutation", "permutation(key, n)", "0, ..., n-1 in random order", "gives Indices",
        [integers](const auto& x) { return integers(permutation(Key(1), 5), x); });
  maker("categorical", "categorical(key, logits)", "a choice per row, by softmax(logits)",
        "gives Indices",
        [integers](const auto& x) { return integers(categorical(Key(1), x[0]), x); });
  table.push_back({group, "dropout", "dropout(x, rate, key)", "x·mask / (1 - rate)",
                   "the mask is a constant made from the key", OpKind::composite,
                   samples({{Shape{9}}, {Shape{2, 3}}, {Shape{}}, {Shape{0}}},
                           [](const auto& x) { return dropout(x[0], 0.4, Key(5)); })});
}

}  // namespace unroll::testing
