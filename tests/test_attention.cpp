// Attention against numbers worked by hand, plain loops and PyTorch's.
#include <doctest/doctest.h>

#include <cmath>

#include "unroll/autograd/check.hpp"
#include "unroll/nn/attention.hpp"

using namespace unroll;

namespace {

double difference(const Var<double>& a, const Var<double>& b) {
  REQUIRE(a.shape() == b.shape());
  return a.size() == 0 ? 0 : max(abs(a - b)).item();
}

// softmax of the scores, and the mean of the memory's rows with these weights; one sequence.
struct Plain {
  std::vector<double> weights, context;
  Plain(const std::vector<double>& scores, const std::vector<std::vector<double>>& memory)
      : context(memory[0].size(), 0) {
    double total = 0;
    for (const double s : scores) total += std::exp(s);
    for (std::size_t i = 0; i < scores.size(); ++i) {
      weights.push_back(std::exp(scores[i]) / total);
      for (std::size_t j = 0; j < context.size(); ++j) context[j] += weights[i] * memory[i][j];
    }
  }
  void check(const Attended<double>& a) const {
    const auto c = a.context.to_vector(), w = a.weights.to_vector();
    REQUIRE(c.size() == context.size());
    REQUIRE(w.size() == weights.size());
    for (std::size_t i = 0; i < c.size(); ++i) CHECK(std::abs(c[i] - context[i]) < 1e-15);
    for (std::size_t i = 0; i < w.size(); ++i) CHECK(std::abs(w[i] - weights[i]) < 1e-15);
  }
};

// sin(1 + first + 0.7 row + 1.3 column), as the script that made the fixture has it.
Var<double> waves(double first, Size rows, Size columns) {
  std::vector<double> x;
  for (int i = 0; i < rows; ++i) {
    for (int j = 0; j < columns; ++j) x.push_back(std::sin(1.0 + first + 0.7 * i + 1.3 * j));
  }
  return Var<double>({rows, columns}, x);
}

const Var<double> memory = normal<double>(Key(1), {4, 3, 5});  // [S, B, M]
const Indices lengths({3}, {4, 2, 1});
const Var<double> mask = length_mask<double>(lengths, 4);

// f(attention, size of its queries) for each kind, over `memory`.
template <class F>
void for_each_kind(F&& f) {
  f(AdditiveAttention<double>::make(Key(2), 6, 5, 7), 6);
  f(DotAttention<double>{}, 5);
  f(GeneralAttention<double>::make(Key(3), 6, 5), 6);
  f(MultiHeadAttention<double>::make(Key(4), 6, 5, 4, 2), 6);
}

}  // namespace

TEST_CASE("Additive attention by hand") {
  // Scores vᵀ tanh(W q + U m) with q = (1, 2): W q = (-1, 0.5); m = 0, 1, -1.
  const AdditiveAttention<double> attention{Var<double>({2, 2}, {1, -1, 0.5, 0}),
                                            Var<double>({2, 1}, {2, -1}), Var<double>({2}, {3, 1})};
  const auto m = attention.prepare(Var<double>({3, 1, 1}, {0, 1, -1}));
  const std::vector<double> scores{3 * std::tanh(-1.0) + std::tanh(0.5),
                                   3 * std::tanh(1.0) + std::tanh(-0.5),
                                   3 * std::tanh(-3.0) + std::tanh(1.5)};
  Plain(scores, {{0}, {1}, {-1}}).check(attention(Var<double>({1, 2}, {1, 2}), m));
}

TEST_CASE("Luong's dot and general attention by hand") {
  const Var<double> two({2, 1, 2}, {1, 0, 2, -1}), q({1, 2}, {0.5, 1});
  // Scores 0.5 and 0.
  Plain({0.5, 0}, {{1, 0}, {2, -1}})
      .check(DotAttention<double>{}(q, DotAttention<double>{}.prepare(two)));
  // W m is (1, 3) and (0, 5), so qᵀ W m is 3.5 and 5.
  const GeneralAttention<double> general{Var<double>({2, 2}, {1, 2, 3, 1})};
  Plain({3.5, 5}, {{1, 0}, {2, -1}}).check(general(q, general.prepare(two)));
}

TEST_CASE("Scaled dot products by hand, and with equal scores the mean") {
  const Var<double> q({1, 4}, {1, 1, 2, 0}), k({2, 4}, {1, 0, 1, 0, 0, 0, 0, 9});
  // Scores 3 / 2 and 0.
  Plain({1.5, 0}, {{7}, {-2}})
      .check(scaled_dot_product_attention(q, k, Var<double>({2, 1}, {7, -2})));
  const auto even = scaled_dot_product_attention(zeros<double>({1, 4}), k, k);
  CHECK(difference(even.context, mean(k, 0, KeepDims::yes)) == 0);
}

TEST_CASE("Multi-head attention is PyTorch's, with both masks") {
  // torch.nn.MultiheadAttention(4, 2, kdim=3, vdim=3) of PyTorch 1.13 in double, need_weights,
  // average_attn_weights=False, with a key_padding_mask and an attn_mask.
  const Var<double> bias = waves(4, 1, 12);
  const auto part = [&](Size i) { return squeeze(slice(bias, 1, {4 * i, 4 * i + 4})); };
  const MultiHeadAttention<double> attention{{waves(0, 4, 4), part(0)},
                                             {waves(1, 4, 3), part(1)},
                                             {waves(2, 4, 3), part(2)},
                                             {waves(3, 4, 4), squeeze(waves(5, 1, 4))},
                                             2};
  const auto m = attention.prepare(stack({waves(8, 2, 3), waves(9, 2, 3), waves(10, 2, 3)}),
                                   Var<double>({2, 3}, {1, 1, 1, 1, 1, 0}));
  const auto [context, weights] = attention(stack({waves(6, 2, 4), waves(7, 2, 4)}), m,
                                            Var<double>({2, 3}, {1, 0, 0, 1, 1, 1}));
  const Var<double> context_there(
      {2, 2, 4},
      {-2.441617173551212, -2.3360868590434314, -1.9777764028250164, -1.419781839242828,
       -1.2421440423055015, -0.4391848644043034, -0.2755881927825278, -0.7128731264044252,
       -0.5940473264711872, -0.1674179304036424, -0.5079672761515125, -1.3401067132112832,
       -0.2087903949813366, 0.7064612930541414, 0.44353518574248, -0.7584874883459131});
  const Var<double> weights_there(  // [B, heads, steps, S]
      {2, 2, 2, 3}, {1, 0, 0, 0.9366545221438013,  0.06079012238388476, 0.002555355472313905,
                     1, 0, 0, 0.26126386751414976, 0.5838414061293008,  0.15489472635654938,
                     1, 0, 0, 0.7264740602451601,  0.2735259397548399,  0,
                     1, 0, 0, 0.5898365279038712,  0.41016347209612886, 0});
  CHECK(difference(context, context_there) < 1e-14);
  CHECK(difference(weights, permute(weights_there, {2, 0, 1, 3})) < 1e-15);
}

TEST_CASE("One query, several for each sequence, and a sequence of queries agree") {
  for_each_kind([](const auto& attention, Size size) {
    const auto m = attention.prepare(memory, mask);
    const Var<double> queries = normal<double>(Key(5), {2, 3, size});  // [steps, B, Q]
    const auto [contexts, weights] = attention(queries, m);
    // Two for each sequence, those of a sequence together.
    const auto grouped = attention(reshape(permute(queries, {1, 0, 2}), {6, size}), m);
    for (Size t = 0; t < 2; ++t) {
      const auto one = attention(index(queries, 0, t), m);
      CHECK(difference(one.context, index(contexts, 0, t)) < 1e-15);
      CHECK(difference(one.weights, index(weights, 0, t)) < 1e-15);
      for (Size b = 0; b < 3; ++b) {
        CHECK(difference(index(one.context, 0, b), index(grouped.context, 0, 2 * b + t)) < 1e-15);
        CHECK(difference(index(one.weights, 0, b), index(grouped.weights, 0, 2 * b + t)) < 1e-15);
      }
    }
  });
}

TEST_CASE(
    "A padded batch attends as each sequence does alone; padding has no weight, no gradient") {
  for_each_kind([](const auto& attention, Size size) {
    const Var<double> query = normal<double>(Key(6), {3, size});
    const auto run = [&](const Var<double>& m, const Var<double>& q,
                         const std::optional<Var<double>>& open) {
      return attention(q, attention.prepare(m, open));
    };
    const auto all = run(memory, query, mask);
    const Var<double> c = normal<double>(Key(7), all.context.shape());
    const auto g =
        grad([&](const Var<double>& m) { return sum(run(m, query, mask).context * c); })(memory);
    for (Size b = 0; b < 3; ++b) {
      const Size n = lengths(b);
      const Var<double> own = slice(memory, {{0, n}, {b, b + 1}}), q = slice(query, 0, {b, b + 1});
      const auto alone = run(own, q, std::nullopt);
      CHECK(difference(slice(all.context, 0, {b, b + 1}), alone.context) < 1e-14);
      CHECK(difference(slice(index(all.weights, 0, b), -1, {0, n}), index(alone.weights, 0, 0)) <
            1e-15);
      const auto own_gradient = grad([&](const Var<double>& m) {
        return sum(run(m, q, std::nullopt).context * slice(c, 0, {b, b + 1}));
      })(own);
      CHECK(difference(slice(g, {{0, n}, {b, b + 1}}), own_gradient) < 1e-14);
      if (n == 4) continue;
      CHECK(max(abs(slice(index(all.weights, 0, b), -1, {.start = n}))).item() == 0);
      CHECK(max(abs(slice(g, {{.start = n}, {b, b + 1}}))).item() == 0);
    }
  });
}

TEST_CASE("Under the causal mask no step sees a later one") {
  CHECK(causal_mask<double>(3).to_vector() == std::vector<double>{1, 0, 0, 1, 1, 0, 1, 1, 1});
  const auto attention = MultiHeadAttention<double>::make(Key(8), 5, 5, 6, 3);
  const auto context = [&](const Var<double>& x, Size steps) {
    return attention(x, attention.prepare(x), causal_mask<double>(steps)).context;
  };
  const Var<double> whole = context(memory, 4);
  CHECK(difference(slice(whole, 0, {0, 2}), context(slice(memory, 0, {0, 2}), 2)) < 1e-15);
  const auto g =
      grad([&](const Var<double>& x) { return sum(index(context(x, 4), 0, 1)); })(memory);
  CHECK(max(abs(slice(g, 0, {2, 4}))).item() == 0);
  CHECK(max(abs(slice(g, 0, {0, 2}))).item() > 0);
}

TEST_CASE("Attention is right under differences, to second order") {
  for_each_kind([](const auto& attention, Size size) {
    const auto both = [&](const auto& a, const Var<double>& m, const Var<double>& q) {
      const auto [context, weights] = a(q, a.prepare(m, mask));
      return std::tuple{context, weights};
    };
    check_grads(both, std::tuple{attention, memory, normal<double>(Key(9), {3, size})});
    check_grads(both, std::tuple{attention, memory, normal<double>(Key(10), {2, 3, size})});
  });
  const auto k = split<3>(Key(11));
  const Var<double> open({2, 3}, {1, 0, 1, 0, 1, 0});
  check_grads(
      [&](const Var<double>& q, const Var<double>& key, const Var<double>& value) {
        return scaled_dot_product_attention(q, key, value, open).context;
      },
      std::tuple{normal<double>(k[0], {2, 2, 4}), normal<double>(k[1], {2, 3, 4}),
                 normal<double>(k[2], {2, 3, 5})});
}

TEST_CASE("Length masks") {
  CHECK(length_mask<float>(Indices({3}, {3, 0, 1}), 3).to_vector() ==
        std::vector<float>{1, 1, 1, 0, 0, 0, 1, 0, 0});
  CHECK(length_mask<float>(Indices(), 3).shape() == Shape{0, 3});
  CHECK_THROWS_WITH_AS((void)length_mask<float>(Indices({1}, {4}), 3),
                       "[length_mask] the length of sequence 0 is 4; it can be 0 to 3",
                       std::invalid_argument);
}

TEST_CASE("Attention refuses what does not belong together, and a query with nothing to see") {
  const DotAttention<double> dot;
  const auto m = dot.prepare(memory);
  CHECK_THROWS_WITH_AS((void)dot.prepare(memory, length_mask<double>(Indices({3}, {4, 0, 1}), 4)),
                       "[DotAttention] row 1 of the mask is all zero: a query that may attend to "
                       "nothing has no weights (is there a sequence of length 0?)",
                       std::invalid_argument);
  CHECK_THROWS_WITH_AS(
      (void)dot.prepare(memory, ones<double>({4, 3})),
      "[DotAttention] the mask has shape [4, 3]; a memory [4, 3, 5] ([S, B, size]) "
      "needs [3, 4]",
      std::invalid_argument);
  CHECK_THROWS_WITH_AS((void)dot.prepare(zeros<double>({0, 3, 5})),
                       "[DotAttention] the memory has shape [0, 3, 5]; it is [S, B, size], of at "
                       "least one step",
                       std::invalid_argument);
  CHECK_THROWS_WITH_AS((void)dot(zeros<double>({4, 5}), m),
                       "[DotAttention] the query has shape [4, 5]; with a memory of 3 sequences it "
                       "is [rows, size], rows a multiple of that, or [steps, 3, size]",
                       std::invalid_argument);
  CHECK_THROWS_WITH_AS((void)dot(zeros<double>({3, 4}), m),
                       "[DotAttention] the query [3, 4] and the keys [3, 4, 5] differ in size",
                       std::invalid_argument);
  CHECK_THROWS_WITH_AS((void)MultiHeadAttention<double>::make(Key(1), 4, 4, 6, 4),
                       "[MultiHeadAttention] a size of 6 does not divide into 4 heads",
                       std::invalid_argument);
  const auto heads = MultiHeadAttention<double>::make(Key(1), 5, 5, 6, 2);
  CHECK_THROWS_AS((void)heads(memory, heads.prepare(memory), causal_mask<double>(3)),
                  std::invalid_argument);
  CHECK_THROWS_AS(
      (void)scaled_dot_product_attention(memory, memory, memory, zeros<double>({4, 3, 3})),
      std::invalid_argument);
  CHECK_THROWS_AS((void)scaled_dot_product_attention(zeros<double>({2, 3}), memory, memory),
                  std::invalid_argument);
}
