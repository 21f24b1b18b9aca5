// Several tapes on several threads. A program of its own, so that ThreadSanitizer watches all that it links.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <thread>

#include "unroll/models/training/trainer.hpp"
#include "unroll/nn/nn.hpp"

namespace {

using namespace unroll;

struct Net {
  Lstm<double> cell;
  Linear<double> out;
  static constexpr auto fields() {
    return std::tuple{field("cell", &Net::cell), field("out", &Net::out)};
  }
};

Net make_net() {
  const auto keys = split<2>(Key(7));
  return {Lstm<double>::make(keys[0], 5, 8), Linear<double>::make(keys[1], 8, 3)};
}

// One shard's share of the loss and its gradient.
auto shard_gradient(const Net& net, std::uint64_t shard) {
  const Var<double> xs = normal<double>(fold_in(Key(1), shard), {6, 4, 5});
  const Indices labels = randint(fold_in(Key(2), shard), {6, 4}, 0, 3);
  return value_and_grad(
      [&](const Net& n) {
        const auto run = unroll::unroll(n.cell, xs, n.cell.initial_state(4));
        return cross_entropy(n.out(run.outputs), labels);
      },
      net);
}

std::vector<double> flat(const Net& net) {
  std::vector<double> all;
  tree_for_each(
      [&](const auto& p) {
        const auto v = p.to_vector();
        all.insert(all.end(), v.begin(), v.end());
      },
      net);
  return all;
}

constexpr std::size_t shards = 4;

Net sum_in_order(const std::vector<Net>& gradients) {
  Net total = gradients[0];
  for (std::size_t i = 1; i < gradients.size(); ++i) total = tree_add(total, gradients[i]);
  return total;
}

TEST_CASE("gradients from tapes on several threads, added in order, have the bits of one thread") {
  const Net net = make_net();
  std::vector<Net> one(shards), several(shards);
  for (std::size_t s = 0; s < shards; ++s) one[s] = shard_gradient(net, s).gradient;
  for (int round = 0; round < 5; ++round) {
    std::vector<std::thread> threads;
    for (std::size_t s = 0; s < shards; ++s) {
      threads.emplace_back([&, s] { several[s] = shard_gradient(net, s).gradient; });
    }
    for (std::thread& t : threads) t.join();
    CHECK(flat(sum_in_order(several)) == flat(sum_in_order(one)));
  }
}

TEST_CASE(
    "threads may share parameters, copy them and drop each other's results while others compute") {
  Net net = make_net();
  const double before = flat(net)[0];
  for (int round = 0; round < 5; ++round) {
    std::vector<Net> gradients(shards);
    std::vector<std::thread> threads;
    for (std::size_t s = 0; s < shards; ++s) {
      threads.emplace_back([&, s] {
        const Net copy = net;
        gradients[s] = shard_gradient(copy, s).gradient;
      });
    }
    for (std::thread& t : threads) t.join();
    // The blocks of `gradients` belong to threads that have ended; they are dropped here, and the sum is made here.
    net = tree_map([](const auto& p, const auto& g) { return p - 0.1 * g; }, net,
                   sum_in_order(gradients));
  }
  CHECK(flat(net)[0] != before);
  CHECK(std::isfinite(flat(net)[0]));
}

TEST_CASE("memory given back by another thread is used again by the thread that took it") {
  const auto live = [] { return memory_report().live_bytes; };
  const Size before = live();
  for (int i = 0; i < 3; ++i) {
    Var<double> x = zeros<double>({1000});
    CHECK(memory_report().live_bytes > before);
    std::thread([y = std::move(x)]() mutable { y = Var<double>(); }).join();
    CHECK(memory_report().live_bytes == before);
  }
}

TEST_CASE("a training run has the bits of one thread on any number of threads") {
  const auto data = Examples(24, [](std::span<const Size> chosen) {
    return normal<double>(Key(std::uint64_t(chosen.front())), {Size(chosen.size()), 3});
  });
  const auto loss = [](const Linear<double>& net, const Var<double>& xs, const Key& key) {
    return mean(square(net(dropout(xs, 0.2, key)) - 1.0));
  };
  const auto run = [&](std::size_t threads) {
    const auto net = Linear<double>::make(Key(1), 3, 2);
    ModelTrainer trainer(
        net, Adam(net),
        {.epochs = 2, .batch = 6, .accumulate = 2, .threads = threads, .parts = 3, .log = nullptr});
    trainer.validate_on(data, loss);
    const double validated = trainer.fit(data, loss).validation->loss;
    return std::pair{trainer.model().weight.to_vector(), validated};
  };
  const auto alone = run(1);
  for (const std::size_t threads : {2u, 4u}) CHECK(run(threads) == alone);
}

TEST_CASE("an operation on Vars of tapes of two threads is refused") {
  Tape<double> tape;
  const Var<double> x = tape.leaf(2.0);
  std::string message;
  std::thread([&] {
    Tape<double> other;
    const Var<double> y = other.leaf(3.0);
    try {
      (void)(x * y);
    } catch (const std::invalid_argument& e) {
      message = e.what();
    }
  }).join();
  CHECK(message.find("different threads") != std::string::npos);
  CHECK(tape.pullback(x * x)(x).item() == 4.0);
}

}  // namespace
