// Losses with their options against PyTorch's numbers (fixtures/torch_losses.py), against the same rows without
// a mask, and under differences.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "fixtures/torch_losses.hpp"
#include "unroll/autograd/check.hpp"
#include "unroll/autograd/random.hpp"
#include "unroll/nn/losses.hpp"

using namespace unroll;

namespace {

const Shape shape{4, 3, 5};  // [T, B, K]
const Var<double> logits = normal<double>(Key(1), shape, 0, 2);
const Var<double> targets = softmax(normal<double>(Key(2), shape));

// The arrays of fixtures/torch_losses.py, in the same order but as [T, B, ...].
namespace torch = torch_losses;

Var<double> pattern(Size step, Size shift, double divisor) {
  std::vector<double> x;
  for (Size i = 0; i < 60; ++i)
    x.push_back(static_cast<double>((i * step + shift) % 101 - 50) / divisor);
  return Var<double>(shape, x);
}
const Var<double> z = pattern(37, 5, 16), y = pattern(53, 11, 20), t = softmax(y);
const Var<double> class_weights({5}, {0.5, 1, 2, 0.25, 1.5});
constexpr std::int64_t padding = -100;

Indices every_label(bool with_padding) {
  std::vector<std::int64_t> out;
  for (std::int64_t i = 0; i < 12; ++i)
    out.push_back(with_padding && i % 4 == 1 ? padding : (i * 7 + 3) % 5);
  return Indices({4, 3}, out);
}
const Indices all = every_label(false), some = every_label(true);

Var<double> binary_targets() {
  std::vector<double> out;
  for (Size i = 0; i < 12; ++i)
    for (Size k = 0; k < 5; ++k) out.push_back((i * 3 + k * 2) % 7 < 3 ? 1 : 0);
  return Var<double>(shape, out);
}
const Var<double> binary = binary_targets(), signs = 2 * binary - 1, row_signs = index(signs, 2, 0);

void check_near(const Var<double>& loss, double expected) {
  CHECK(loss.rank() == 0);
  CHECK(std::abs(loss.item() - expected) < 1e-12 * std::max(1.0, std::abs(expected)));
}
void check_near(const Var<double>& losses, std::span<const double> expected) {
  CHECK(losses.shape() == Shape{4, 3});
  const auto found = losses.to_vector();
  REQUIRE(found.size() == expected.size());
  for (std::size_t i = 0; i < found.size(); ++i) CHECK(std::abs(found[i] - expected[i]) < 1e-12);
}

// `loss(reduction)` against the two numbers.
template <class Loss>
void check_both(Loss&& loss, double mean, double sum) {
  check_near(loss(Reduction::mean), mean);
  check_near(loss(Reduction::sum), sum);
}

}  // namespace

TEST_CASE("Losses of labels are PyTorch's, with class weights, smoothing and an ignored label") {
  using O = CrossEntropyOptions<double>;
  check_both([](Reduction r) { return cross_entropy(z, all, O{.reduction = r}); },
             torch::cross_entropy_mean, torch::cross_entropy_sum);
  check_both(
      [](Reduction r) { return cross_entropy(z, some, O{.ignored = padding, .reduction = r}); },
      torch::cross_entropy_ignored_mean, torch::cross_entropy_ignored_sum);
  const auto both_ways = [](O options, double mean, double sum) {
    options.ignored = padding;
    const auto with = [&](Reduction r) {
      O o = options;
      o.reduction = r;
      return o;
    };
    check_both([&](Reduction r) { return cross_entropy(z, some, with(r)); }, mean, sum);
    check_both([&](Reduction r) { return nll(log_softmax(z), some, with(r)); }, mean, sum);
  };
  both_ways({.class_weights = class_weights}, torch::cross_entropy_weighted_mean,
            torch::cross_entropy_weighted_sum);
  both_ways({.label_smoothing = 0.1}, torch::cross_entropy_smooth_mean,
            torch::cross_entropy_smooth_sum);
  both_ways({.label_smoothing = 0.1, .class_weights = class_weights}, torch::cross_entropy_all_mean,
            torch::cross_entropy_all_sum);
  CHECK(torch::nll_weighted_mean == torch::cross_entropy_weighted_mean);
  O rows{.label_smoothing = 0.1,
         .class_weights = class_weights,
         .ignored = padding,
         .reduction = Reduction::none};
  check_near(cross_entropy(z, some, rows), torch::cross_entropy_all_rows);
  check_near(nll(log_softmax(z), some, rows), torch::cross_entropy_all_rows);
  check_both(
      [](Reduction r) {
        return cross_entropy(
            z, t, O{.label_smoothing = 0.1, .class_weights = class_weights, .reduction = r});
      },
      torch::cross_entropy_probabilities_mean, torch::cross_entropy_probabilities_sum);
}

TEST_CASE("MAE, Huber, binary cross-entropy, KL, hinge of classes and cosine are PyTorch's") {
  check_both([](Reduction r) { return mae(z, y, {.reduction = r}); }, torch::mae_mean,
             torch::mae_sum);
  check_both([](Reduction r) { return huber(z, y, {.delta = 0.75, .reduction = r}); },
             torch::huber_mean, torch::huber_sum);
  check_both(
      [](Reduction r) { return binary_cross_entropy_with_logits(z, binary, {.reduction = r}); },
      torch::bce_mean, torch::bce_sum);
  check_both(
      [](Reduction r) {
        return binary_cross_entropy_with_logits(z, binary,
                                                {.positive_weight = class_weights, .reduction = r});
      },
      torch::bce_positive_mean, torch::bce_positive_sum);
  check_both([](Reduction r) { return multi_margin(z, all, {.margin = 0.7, .reduction = r}); },
             torch::multi_margin_mean, torch::multi_margin_sum);
  check_both(
      [](Reduction r) { return multi_margin(z, all, {.power = HingePower::two, .reduction = r}); },
      torch::multi_margin_squared_mean, torch::multi_margin_squared_sum);
  check_near(multi_margin(z, all, {.margin = 0.7, .reduction = Reduction::none}),
             torch::multi_margin_rows);
  check_near(kl_divergence(log_softmax(z), t), torch::kl_batchmean);
  check_near(kl_divergence(log_softmax(z), where(t < 0.1, 0, t)), torch::kl_sparse_batchmean);
  check_near(cosine_similarity(z, y), torch::cosine_rows);
  check_both(
      [](Reduction r) {
        return cosine_embedding(z, y, row_signs, {.margin = 0.1, .reduction = r});
      },
      torch::cosine_embedding_mean, torch::cosine_embedding_sum);
}

TEST_CASE("A mask of steps gives the loss of the steps that it keeps") {
  const Var<double> mask({4, 3}, {1, 1, 1, 1, 0, 1, 0, 0, 1, 0, 0, 1});
  // The same rows, one after the other.
  std::vector<Var<double>> kept_z, kept_y;
  std::vector<std::int64_t> kept_labels;
  for (Size i = 0; i < 12; ++i) {
    if (mask.to_vector()[static_cast<std::size_t>(i)] == 0) continue;
    kept_z.push_back(index(reshape(z, {12, 5}), 0, i));
    kept_y.push_back(index(reshape(y, {12, 5}), 0, i));
    kept_labels.push_back(all(i));
  }
  const Var<double> short_z = stack(kept_z), short_y = stack(kept_y);
  const Indices short_labels(kept_labels);
  const auto same = [](const Var<double>& a, const Var<double>& b) {
    CHECK(std::abs(a.item() - b.item()) < 1e-13 * std::max(1.0, std::abs(b.item())));
  };
  const auto compare = [&](auto&& masked, auto&& dense) {
    for (Reduction r : {Reduction::mean, Reduction::sum}) same(masked(r), dense(r));
  };
  compare([&](Reduction r) { return mse(z, y, {.weights = mask, .reduction = r}); },
          [&](Reduction r) { return mse(short_z, short_y, {.reduction = r}); });
  compare([&](Reduction r) { return squared_error(z, y, {.weights = mask, .reduction = r}); },
          [&](Reduction r) { return squared_error(short_z, short_y, {.reduction = r}); });
  compare([&](Reduction r) { return multi_margin(z, all, {.weights = mask, .reduction = r}); },
          [&](Reduction r) { return multi_margin(short_z, short_labels, {.reduction = r}); });
  for (double smoothing : {0.0, 0.2}) {
    for (const Var<double>& c : {Var<double>(), class_weights}) {
      using O = CrossEntropyOptions<double>;
      compare(
          [&](Reduction r) {
            return cross_entropy(z, all, O{smoothing, c, {}, mask, r});
          },
          [&](Reduction r) {
            return cross_entropy(short_z, short_labels, O{smoothing, c, {}, {}, r});
          });
    }
  }
  // Weights of the steps alone, and weights that are tracked, so that zeros are numbers like others.
  const Var<double> by_step({4}, {1, 0.5, 0, 2});
  const Var<double> by_row = repeat(expand(by_step, 1), 3, 1);
  same(cross_entropy(z, some, {.ignored = padding, .weights = by_step}),
       cross_entropy(z, some, {.ignored = padding, .weights = by_row}));
  same(mae(z, y, {.weights = by_step}), mae(z, y, {.weights = by_row}));
  const auto weighted = [&](const Var<double>& w) { return cross_entropy(z, all, {.weights = w}); };
  same(value_and_grad(weighted, mask).value, weighted(mask));
  check_grads(weighted, mask);
}

TEST_CASE("Where nothing counts the mean is 0, with a gradient of 0") {
  const Indices nothing({4, 3}, std::vector<std::int64_t>(12, padding));
  const Var<double> no_mask = zeros<double>({4, 3});
  const auto check_zero = [](auto&& loss) {
    const auto result = value_and_grad(loss, z);
    CHECK(result.value.item() == 0);
    CHECK(result.gradient.to_vector() == std::vector<double>(60, 0.0));
  };
  check_zero([&](const Var<double>& x) { return cross_entropy(x, nothing, {.ignored = padding}); });
  check_zero([&](const Var<double>& x) {
    return cross_entropy(
        x, nothing, {.label_smoothing = 0.1, .class_weights = class_weights, .ignored = padding});
  });
  check_zero([&](const Var<double>& x) { return nll(x, nothing, {.ignored = padding}); });
  check_zero([&](const Var<double>& x) { return multi_margin(x, nothing, {.ignored = padding}); });
  check_zero([&](const Var<double>& x) { return cross_entropy(x, all, {.weights = no_mask}); });
  check_zero([&](const Var<double>& x) { return cross_entropy(x, t, {.weights = no_mask}); });
  check_zero([&](const Var<double>& x) { return huber(x, y, {.weights = no_mask}); });
  CHECK_THROWS_AS((void)cross_entropy(zeros<double>({0, 5}), Indices(Shape{0}, {})),
                  std::invalid_argument);
  CHECK_THROWS_AS(
      (void)mse(zeros<double>({0, 5}), zeros<double>({0, 5}), {.weights = zeros<double>({0})}),
      std::invalid_argument);
}

TEST_CASE("A class of the model can be the ignored one") {
  const Indices with_class({3}, {0, 2, 1}), with_other({3}, {-7, 2, 1});
  const Var<double> rows = index(z, 0, 0);
  for (const Var<double>& c : {Var<double>(), class_weights}) {
    CHECK(cross_entropy(rows, with_class, {.class_weights = c, .ignored = 0}).item() ==
          cross_entropy(rows, with_other, {.class_weights = c, .ignored = -7}).item());
  }
  CHECK(cross_entropy(rows, with_class, {.ignored = -1}).item() ==
        cross_entropy(rows, with_class).item());
}

TEST_CASE("The logits of an ignored row may be anything") {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const Var<double> with_nan({2, 2}, {0, std::log(3.0), nan, 1});
  const Indices one({2}, {0, padding});
  for (double smoothing : {0.0, 0.2}) {
    const auto loss = [&](const Var<double>& x) {
      return cross_entropy(x, one, {.label_smoothing = smoothing, .ignored = padding});
    };
    const auto [value, gradient] = value_and_grad(loss, with_nan);
    CHECK(std::abs(value.item() - (std::log(4.0) - smoothing / 2 * std::log(3.0))) < 1e-14);
    const auto g = gradient.to_vector();
    CHECK(std::abs(g[0] - (0.25 - 1 + smoothing / 2)) < 1e-15);
    CHECK(g[2] == 0);
    CHECK(g[3] == 0);
  }
}

TEST_CASE("The other losses are right under differences, to second order") {
  const auto check_labels = [](const CrossEntropyOptions<double>& o) {
    check_grads([&](const Var<double>& x) { return cross_entropy(x, some, o); }, logits);
    check_grads([&](const Var<double>& x) { return nll(log_softmax(x), some, o); }, logits);
  };
  for (Reduction r : {Reduction::mean, Reduction::sum, Reduction::none}) {
    check_labels({.ignored = padding, .reduction = r});
    check_labels({.label_smoothing = 0.1,
                  .class_weights = class_weights,
                  .ignored = padding,
                  .weights = index(t, 2, 0),
                  .reduction = r});
    check_grads(
        [&](const Var<double>& x, const Var<double>& w) {
          return mse(x, targets, {.weights = w, .reduction = r});
        },
        std::tuple{logits, index(t, 2, 0)});
  }
  // With respect to the class weights too.
  check_grads(
      [](const Var<double>& x, const Var<double>& c) {
        return cross_entropy(x, some,
                             {.label_smoothing = 0.1, .class_weights = c, .ignored = padding});
      },
      std::tuple{logits, class_weights});
  check_grads([](const Var<double>& x, const Var<double>& p) { return mae(x, p); },
              std::tuple{logits, targets});
  check_grads(
      [](const Var<double>& x, const Var<double>& p) { return huber(x, p, {.delta = 0.7}); },
      std::tuple{logits, targets});
  check_grads(
      [](const Var<double>& x, const Var<double>& p, const Var<double>& q) {
        return binary_cross_entropy_with_logits(x, p, {.positive_weight = q});
      },
      std::tuple{logits, targets, class_weights});
  check_grads([](const Var<double>& x) { return hinge(x, signs, {.margin = 0.9}); }, logits);
  check_grads(
      [](const Var<double>& x, const Var<double>& p) { return kl_divergence(log_softmax(x), p); },
      std::tuple{logits, targets + 0.1});
  for (HingePower power : {HingePower::one, HingePower::two}) {
    check_grads(
        [&](const Var<double>& x) {
          return multi_margin(x, some, {.power = power, .ignored = padding});
        },
        logits);
  }
  check_grads([](const Var<double>& a, const Var<double>& b) { return cosine_similarity(a, b); },
              std::tuple{logits, y});
  check_grads(
      [](const Var<double>& a, const Var<double>& b) {
        return cosine_embedding(a, b, row_signs, {.margin = 0.1});
      },
      std::tuple{logits, y});
}

TEST_CASE("Options that do not fit are refused") {
  const auto message = [](auto&& f) {
    try {
      f();
    } catch (const std::invalid_argument& e) {
      return std::string(e.what());
    }
    return std::string("nothing was thrown");
  };
  CHECK(
      message([] {
        (void)mse(z, y, {.weights = ones<double>({3, 4})});
      }) ==
      "[mse] weights [3, 4] for losses [4, 3, 5]: they must have that shape, or that of its first "
      "axes");
  CHECK(message([] { (void)cross_entropy(z, all, {.class_weights = ones<double>({4})}); }) ==
        "[cross_entropy] class weights [4] for 5 classes: they must be [5]");
  CHECK(message([] { (void)cross_entropy(z, some, {.ignored = -1}); }) ==
        "[cross_entropy] label -100 is out of range for 5 classes (0 to 4)");
  CHECK(message([] { (void)nll(z, all, {.label_smoothing = 1.5}); }) ==
        "[nll] label smoothing must be in [0, 1]");
  CHECK(message([] { (void)cross_entropy(z, t, {.ignored = 0}); }) ==
        "[cross_entropy] targets that are probabilities have no label to ignore; use weights");
  CHECK(message([] { (void)huber(z, y, {.delta = 0}); }) == "[huber] delta must be positive");
  CHECK(message([] { (void)hinge(z, binary); }) == "[hinge] targets must be 1 or -1");
  CHECK(message([] {
          (void)binary_cross_entropy_with_logits(z, binary, {.positive_weight = ones<double>({3})});
        }) ==
        "[binary_cross_entropy_with_logits] a positive weight [3] for logits [4, 3, 5]: it must be "
        "one "
        "number or one for each class");
  CHECK(message([] { (void)cosine_embedding(z, y, ones<double>({4})); }) ==
        "[cosine_embedding] predictions and targets differ in shape: [4, 3] and [4]");
  CHECK(message([] { (void)cosine_similarity(z, ones<double>({5})); }) ==
        "[cosine_similarity] two arrays [..., D] of one shape are needed, not [4, 3, 5] and [5]");
  CHECK_THROWS_AS((void)multi_margin(z, Indices({4, 3}, std::vector<std::int64_t>(12, 5))),
                  std::invalid_argument);
  CHECK_THROWS_AS((void)cross_entropy(z, all, {.weights = ones<double>({4, 3, 5})}),
                  std::invalid_argument);
}
