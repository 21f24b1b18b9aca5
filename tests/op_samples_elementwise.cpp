// Elementwise ops: see op_samples.hpp.
#include "op_samples.hpp"

namespace unroll::testing {
namespace {

const std::vector<std::vector<Shape>> one_input{{Shape{}},  {Shape{1}},       {Shape{19}},
                                                {Shape{0}}, {Shape{3, 1, 5}}, {Shape{2, 0, 3}}};
const std::vector<std::vector<Shape>> two_inputs{
    {Shape{}, Shape{}},         {Shape{17}, Shape{17}},        {Shape{3, 4}, Shape{}},
    {Shape{}, Shape{3, 4}},     {Shape{3, 4}, Shape{4}},       {Shape{3, 1}, Shape{3, 5}},
    {Shape{4, 1}, Shape{1, 5}}, {Shape{2, 1, 3}, Shape{4, 1}}, {Shape{0, 3}, Shape{3}},
    {Shape{1, 3}, Shape{0, 1}}, {Shape{2, 3}, Shape{2, 3}}};

}  // namespace

void add_elementwise_ops(std::vector<OpEntry>& table) {
  const char* group = "";
  const auto unary = [&](const char* name, const char* formula, const char* notes, auto f,
                         Domain d = {}) {
    table.push_back({group, name, std::string(name) + "(x)", formula, notes, OpKind::elementwise,
                     samples(one_input, [f](const auto& x) { return f(x[0]); }, {d})});
  };
  const auto binary = [&](const char* name, const char* call, const char* formula,
                          const char* notes, auto f, std::vector<Domain> d = {}) {
    table.push_back({group, name, call, formula, notes, OpKind::elementwise,
                     samples(
                         two_inputs, [f](const auto& x) { return f(x[0], x[1]); }, d)});
  };
  const Domain positive{0.5, 2.5};

  group = "Arithmetic";
  binary("add", "a + b", "a + b", "", [](const auto& a, const auto& b) { return a + b; });
  binary("sub", "a - b", "a - b", "", [](const auto& a, const auto& b) { return a - b; });
  binary("mul", "a * b", "a·b", "", [](const auto& a, const auto& b) { return a * b; });
  binary("div", "a / b", "a / b", "b = 0: IEEE's ±inf or NaN, in the derivatives too",
         [](const auto& a, const auto& b) { return a / b; }, {{-1.5, 1.5}, positive});
  table.back().samples.push_back(
      sample({Shape{5}}, [](const auto& x) { return 2 / x[0] + x[0] / 3; }, {positive}));
  unary("neg", "-x", "", [](const auto& x) { return -x; });
  table.back().call = "-x";
  binary("pow", "pow(x, y)", "x^y",
         "∂/∂x = y·x^(y-1), and 0 where y = 0; ∂/∂y = x^y·log x, and 0 where x = 0; x < 0 needs a "
         "whole y",
         [](const auto& a, const auto& b) { return pow(a, b); }, {positive, {-1.5, 2.5}});
  table.back().samples.push_back(sample(
      {Shape{6}}, [](const auto& x) { return pow(x[0], 3); }, {}, "of both signs to the power 3:"));
  table.back().samples.push_back(sample(
      {Shape{6}}, [](const auto& x) { return pow(x[0], -2); }, {{-2.5, -0.5}},
      "negative to the power -2:"));
  table.back().samples.push_back(sample({Shape{6}}, [](const auto& x) { return pow(2, x[0]); }));
  unary("square", "x²", "", [](const auto& x) { return square(x); });
  unary(
      "sqrt", "√x", "derivative at 0: inf", [](const auto& x) { return sqrt(x); }, positive);
  unary("abs", "|x|", "derivative at 0: 0", [](const auto& x) { return abs(x); });

  group = "Exponentials and trigonometry";
  unary("exp", "eˣ", "", [](const auto& x) { return exp(x); });
  unary("expm1", "eˣ - 1", "accurate near 0", [](const auto& x) { return expm1(x); });
  unary(
      "log", "ln x", "at 0: -inf, derivative inf; x < 0: NaN", [](const auto& x) { return log(x); },
      positive);
  unary("log1p", "ln(1 + x)", "accurate near 0", [](const auto& x) { return log1p(x); },
        {-0.5, 1.5});
  unary("sin", "sin x", "", [](const auto& x) { return sin(x); });
  unary("cos", "cos x", "", [](const auto& x) { return cos(x); });
  unary("erf", "2/√π ∫₀ˣ e^(-t²) dt", "", [](const auto& x) { return erf(x); });

  group = "Activations";
  unary("tanh", "tanh x", "", [](const auto& x) { return tanh(x); });
  unary("sigmoid", "1 / (1 + e⁻ˣ)", "", [](const auto& x) { return sigmoid(x); });
  unary("relu", "max(x, 0)", "derivative at 0: 0", [](const auto& x) { return relu(x); });
  unary("normal_cdf", "erfc(-x/√2)/2", "Φ(x); its digits in the lower tail too",
        [](const auto& x) { return normal_cdf(x); });
  unary("gelu", "x·Φ(x)", "the exact form, not the tanh approximation",
        [](const auto& x) { return gelu(x); });
  unary("softplus", "ln(1 + eˣ)", "without overflow", [](const auto& x) { return softplus(x); });
  binary("leaky_relu", "leaky_relu(x, slope = 0.01)", "x where x > 0, else slope·x",
         "derivative at 0: slope", [](const auto& x, const auto& s) { return leaky_relu(x, s); },
         {{}, {0.1, 0.5}});
  table.back().samples.push_back(
      sample({Shape{9}}, [](const auto& x) { return leaky_relu(x[0]); }));
  binary("elu", "elu(x, alpha = 1)", "x where x > 0, else alpha·(eˣ - 1)", "derivative at 0: alpha",
         [](const auto& x, const auto& a) { return elu(x, a); }, {{}, {0.5, 1.5}});
  table.back().samples.push_back(sample({Shape{9}}, [](const auto& x) { return elu(x[0]); }));

  group = "Choices";
  binary("minimum", "minimum(a, b)", "the smaller",
         "equal operands: half of the cotangent to each; NaN is carried through",
         [](const auto& a, const auto& b) { return minimum(a, b); }, {{}, {-0.9, 1.3}});
  binary("maximum", "maximum(a, b)", "the larger",
         "equal operands: half of the cotangent to each; NaN is carried through",
         [](const auto& a, const auto& b) { return maximum(a, b); }, {{}, {-0.9, 1.3}});
  table.push_back(
      {group, "where", "where(c, a, b)", "a where c is not 0, else b",
       "no gradient reaches c; the branch not taken gets 0, but 0·inf further up is NaN",
       OpKind::elementwise,
       all_of({samples({{Shape{13}, Shape{13}},
                        {Shape{}, Shape{2, 3}},
                        {Shape{2, 3}, Shape{}},
                        {Shape{3, 1}, Shape{1, 4}},
                        {Shape{0}, Shape{1}}},
                       [](const auto& x) { return where(x[0] > 0.1, x[0], x[1]); }),
               samples({{Shape{4}, Shape{3, 1}}},
                       [](const auto& x) {
                         const Var<element_of<decltype(x)>> mask(
                             Shape{3, 4}, {1, 0, 0, 1, 0, 2, -1, 0, 0, 0, 1, 1});
                         return where(mask, x[0], square(x[1]));
                       }),
               samples({{Shape{7}}}, [](const auto& x) { return where(x[0] < 0, 2, x[0]); })})});
  table.push_back(
      {group, "clamp", "clamp(x, low, high)", "x limited to [low, high]",
       "at the limits: half of the cotangent", OpKind::composite,
       all_of({samples(one_input, [](const auto& x) { return clamp(x[0], -0.61, 0.83); }),
               samples({{Shape{2, 5}, Shape{5}, Shape{2, 1}}},
                       [](const auto& x) { return clamp(x[0], x[1], x[2]); },
                       {{}, {-0.9, -0.2}, {0.1, 0.95}})})});

  group = "Comparisons (1 where true, 0 where not)";
  const auto comparison = [&](const char* name, const char* call, auto f) {
    table.push_back({group, name, call, call, "", OpKind::not_differentiable,
                     samples({{Shape{5}, Shape{5}}, {Shape{2, 1}, Shape{3}}, {Shape{}, Shape{}}},
                             [f](const auto& x) { return f(x[0], x[1]); })});
  };
  comparison("less", "a < b", [](const auto& a, const auto& b) { return a < b; });
  comparison("less_equal", "a <= b", [](const auto& a, const auto& b) { return a <= b; });
  comparison("greater", "a > b", [](const auto& a, const auto& b) { return a > b; });
  comparison("greater_equal", "a >= b", [](const auto& a, const auto& b) { return a >= b; });
  comparison("equal", "a == b", [](const auto& a, const auto& b) { return a == b; });
  comparison("not_equal", "a != b", [](const auto& a, const auto& b) { return a != b; });

  group = "Of one's own";
  table.push_back(
      {group, "fuse", "fuse(f, a, b, ...)", "f of each element, f a lambda of elementwise ops",
       "one node, one pass; f may return a tuple; it chooses with where and captures numbers by "
       "value",
       OpKind::elementwise,
       all_of({samples(
                   two_inputs,
                   [](const auto& x) {
                     return fuse(
                         [](auto a, auto b) {
                           return tanh(a) * sigmoid(b) + where(a < b, a * a, b);
                         },
                         x[0], x[1]);
                   },
                   {{}, {-0.9, 1.3}}, "one result:"),
               samples(
                   {{Shape{9}, Shape{9}, Shape{9}},
                    {Shape{2, 1}, Shape{}, Shape{1, 3}},
                    {Shape{0, 2}, Shape{2}, Shape{1, 1}}},
                   [](const auto& x) {
                     return fuse(
                         [](auto i, auto f, auto c0) {
                           auto c1 = sigmoid(f) * c0 + sigmoid(i) * tanh(c0);
                           return std::tuple{sigmoid(f) * tanh(c1), c1};
                         },
                         x[0], x[1], x[2]);
                   },
                   {}, "two results:"),
               samples(
                   {{Shape{9}, Shape{3, 1}}},
                   [](const auto& x) {
                     return fuse(
                         [](auto a, auto b) {
                           return std::tuple{a * b, exp(a), b + 1, a};
                         },
                         x[0], x[1]);
                   },
                   {}, "four results, some of one input:"),
               samples(
                   {{Shape{9}}},
                   [](const auto& x) {
                     const double k = 1.75;
                     return fuse([k](auto a) { return maximum(k * a, 0.1) - abs(a) / 2; }, x[0]);
                   },
                   {}, "with a captured number:")})});
  table.push_back(
      {group, "parts", "fuse(f, parts<N>(z), ...)",
       "f of each element of the N equal parts of z's last axis",
       "as fuse(f, split<N>(z, -1)..., ...), without splitting matrices first", OpKind::elementwise,
       samples({{Shape{1, 8}, Shape{1, 4}},
                {Shape{3, 6}, Shape{3}},
                {Shape{4}, Shape{2}},
                {Shape{2, 1, 4}, Shape{2, 3, 1}}},
               [](const auto& x) {
                 return fuse([](auto a, auto b, auto c) { return tanh(a) * sigmoid(b) + c * b; },
                             parts<2>(x[0]), x[1]);
               })});
  table.push_back({group, "apply", "apply<Op>(a, b, ...)  apply(Op{...}, a, b, ...)",
                   "an op declared by f and d, by f and adjoint, or by f and vjp",
                   "see docs/design.md", OpKind::elementwise,
                   samples(two_inputs, [](const auto& x) { return apply<Mul>(x[0], x[1]); })});
}

}  // namespace unroll::testing
