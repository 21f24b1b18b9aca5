#include "unroll/autograd/check.hpp"
#include "unroll/models/feed_forward.hpp"
#include "unroll/models/memory_task.hpp"
#include "unroll/models/tree_network.hpp"
#include "unroll/nn/losses.hpp"

#include <doctest/doctest.h>

#include <set>

using namespace unroll;

namespace {

// The truth of a formula from its text alone.
bool evaluate(const std::string& text, std::size_t& at) {
  if (text[at] != '(') return text[at++] == '1';
  ++at;
  const bool a = evaluate(text, at);
  const std::size_t end = text.find(' ', at + 1);
  const std::string name = text.substr(at + 1, end - at - 1);
  at = end + 1;
  const bool b = evaluate(text, at);
  ++at;
  return name == "and" ? a && b : name == "or" ? a || b : a != b;
}

}  // namespace

TEST_CASE("a random formula says in its text what its nodes compute") {
  std::mt19937_64 random(3);
  std::set<std::string> different;
  int truths = 0;
  for (int i = 0; i < 500; ++i) {
    const std::size_t leaves = 1 + random() % 12;
    const Formula f = random_formula(random, leaves);
    CHECK(f.nodes.size() == 2 * leaves - 1);
    std::size_t at = 0;
    CHECK(evaluate(f.text, at) == f.value());
    CHECK(at == f.text.size());
    for (std::size_t n = 0; n < f.nodes.size(); ++n) {
      if (!f.nodes[n].leaf) CHECK((f.nodes[n].left < n && f.nodes[n].right < n));
    }
    different.insert(f.text);
    truths += f.value();
  }
  CHECK(different.size() > 300);
  CHECK(truths > 150);
  CHECK(truths < 350);
  CHECK_THROWS_AS((void)random_formula(random, 0), std::invalid_argument);
}

TEST_CASE("a tree network's derivatives are right for trees of every shape") {
  std::mt19937_64 random(4);
  const auto net = TreeNetwork<double>::make(Key(1), 3);
  for (const std::size_t leaves : {1, 2, 3, 6}) {
    const Formula f = random_formula(random, leaves);
    CAPTURE(f.text);
    const auto loss = [&](const TreeNetwork<double>& n) { return sum(square(n.logit(f))); };
    CHECK_NOTHROW(check_grads(loss, net, {.order = leaves == 3 ? 2 : 1}));
  }
}

TEST_CASE("a chain of 100,000 connectives is walked without recursion") {
  Formula f;
  f.nodes.push_back({});
  for (std::size_t i = 0; i < 100'000; ++i) {
    f.nodes.push_back({i, i, Connective::exclusive, false, false});
  }
  const auto net = TreeNetwork<float>::make(Key(2), 2);
  const auto gradient = grad([&](const TreeNetwork<float>& n) { return sum(n.logit(f)); })(net);
  CHECK(std::isfinite(sum(gradient.out.weight).item()));
}

TEST_CASE("a feed-forward network is its layers with tanh between them") {
  const auto net = FeedForward<double>::make(Key(5), {4, 3, 2});
  REQUIRE(net.layers.size() == 2);
  const auto x = uniform<double>(Key(6), {5, 4}, -1, 1);
  const auto expected = net.layers[1](tanh(net.layers[0](x)));
  CHECK(net(x).to_vector() == expected.to_vector());
  CHECK_NOTHROW(check_grads([&](const auto& n) { return sum(square(n(x))); }, net));
  CHECK_THROWS_AS((void)FeedForward<double>::make(Key(5), {4}), std::invalid_argument);
}

TEST_CASE("last_steps puts the end of a sequence side by side, oldest first") {
  const Var<double> xs({3, 2, 2}, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12});
  CHECK(last_steps(xs, 2).to_vector() == std::vector<double>{5, 6, 9, 10, 7, 8, 11, 12});
  CHECK(last_steps(xs, 3).shape() == Shape{2, 6});
  CHECK_THROWS_WITH_AS((void)last_steps(xs, 4),
                       "[last_steps] a window of 4 does not fit into 3 steps",
                       std::invalid_argument);
}

TEST_CASE(
    "the recall task asks for the symbol of the first step, and accuracy counts the answers") {
  const auto batch = recall_task<double>(Key(7), {.steps = 5, .batch = 8, .symbols = 3});
  CHECK(batch.xs.shape() == Shape{5, 8, 3});
  const auto first = index(batch.xs, 0, 0);
  CHECK(accuracy(first, batch.labels) == 1);
  CHECK(accuracy(-first, batch.labels) == 0);
  const Var<double> logits({2, 2}, {1, 0, 1, 0});
  CHECK(accuracy(logits, Indices({2}, {0, 1})) == 0.5);
  CHECK_THROWS_AS((void)accuracy(logits, Indices({3}, {0, 1, 1})), std::invalid_argument);
}
