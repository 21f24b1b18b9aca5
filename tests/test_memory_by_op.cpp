// Who holds the memory: known graphs, whose arrays' sizes are counted by hand (the pool hands out 4096 bytes for 1000 floats and
// their header), and sums that must agree with what the pool has counted on its own.
#include <doctest/doctest.h>

#include <map>
#include <thread>

#include "unroll/autograd/autograd.hpp"
#include "unroll/autograd/inspect.hpp"

using namespace unroll;

namespace {

struct Held {
  Size bytes = 0, count = 0;
  bool operator==(const Held&) const = default;
};
std::ostream& operator<<(std::ostream& out, const Held& h) {
  return out << h.bytes << " bytes in " << h.count;
}

// By name; checks the order and the sum on the way.
std::map<std::string, Held> held() {
  std::map<std::string, Held> out;
  Size sum = 0, last = std::numeric_limits<Size>::max();
  for (const OpMemory& m : memory_by_op()) {
    CHECK(m.bytes <= last);
    CHECK_FALSE(out.contains(m.name));
    last = m.bytes;
    sum += m.bytes;
    out[m.name] = {m.bytes, m.count};
  }
  CHECK(sum == memory_report().live_bytes);
  return out;
}

constexpr Size n = 1000, block = 4096;
Var<float> array() { return full<float>({n}, 0.5F); }

}  // namespace

TEST_CASE("Each op is there with the bytes of its values") {
  Tape<float> tape;
  const Var<float> x = tape.leaf(array());
  const Var<float> y = tanh(tanh(x)), z = x * y;
  const std::vector<Var<float>> halves = split(z, 2, 0);
  (void)exp(y + z);
  const auto now = held();
  CHECK(now.at("leaf") == Held{block, 1});
  CHECK(now.at("tanh") == Held{2 * block, 2});
  CHECK(now.at("mul") == Held{block, 1});
  CHECK(now.at("add") == Held{block, 1});
  CHECK(now.at("exp") == Held{block, 1});
  CHECK(now.at("tape").bytes >= 4096);
  CHECK_FALSE(now.contains("constant"));
}

TEST_CASE("A view adds its own few bytes to what it shows, which counts once") {
  Tape<float> tape;
  const Var<float> x = tape.leaf(array());
  const Var<float> part = slice(x, 0, {0, 600}), again = slice(x, 0, {100, 900});
  const auto now = held();
  CHECK(now.at("leaf") == Held{block, 1});
  CHECK(now.at("slice").count == 0);
  CHECK(now.at("slice").bytes >= 2 * 40);
  CHECK(now.at("slice").bytes <= 2 * 128);
}

TEST_CASE("Arrays that an op keeps are constants") {
  Tape<float> tape;
  const Var<float> c = array();
  const Var<float> y = tape.leaf(array()) * c, z = y * c;
  CHECK(held().at("constant") == Held{block, 1});
}

TEST_CASE("Small values lie in the tape, and are told from its nodes") {
  Tape<double> tape;
  Var<double> x = tape.leaf(Var<double>({8}, std::vector<double>(8, 0.5)));
  for (int i = 0; i < 10; ++i) x = sin(x);
  const auto now = held();
  CHECK(now.at("sin").count == 10);
  CHECK(now.at("sin").bytes >= 10 * 64);
  CHECK(now.at("sin").bytes <= 10 * 128);
}

TEST_CASE("A parameter's packed forms are its own") {
  const Var<float> W = full<float>({40, 40}, 0.1F);
  Tape<float> tape;
  const Var<float> w = tape.leaf(W);
  const Size before = held().at("leaf").bytes;
  Var<float> a = full<float>({1, 40}, 0.1F);
  for (int t = 0; t < 3; ++t) a = linear(a, w);
  CHECK(held().at("leaf").bytes >= before + 40 * 40 * 4);
  CHECK(held().at("leaf").count == 1);
}

TEST_CASE("The results of an op that has several count as its own") {
  Tape<float> tape;
  const auto [s, c] = fuse([](auto x) { return std::tuple{sin(x), cos(x)}; }, tape.leaf(array()));
  const auto now = held();
  CHECK(now.at("fuse") == Held{2 * block, 2});
  CHECK_FALSE(now.contains("result"));
}

TEST_CASE("Inside a transform, and inside another, there is what has been recorded so far") {
  const auto f = [](const Var<float>& x) {
    const Var<float> y = tanh(x * x);
    CHECK(held().at("tanh") == Held{block, 1});
    const Var<float> g = grad([&](const Var<float>& u) {
      const Var<float> v = exp(u);
      const auto now = held();
      CHECK(now.at("tanh") == Held{block, 1});
      CHECK(now.at("exp") == Held{block, 1});
      return sum(v * v);
    })(y);
    CHECK(held().at("exp").count >= 1);
    return sum(g);
  };
  const Var<float> x = array();
  (void)grad(f)(x);
  CHECK(held().at("other").bytes >= block);
}

TEST_CASE("Closed tapes, in whatever order they close, and those of other threads are not there") {
  const auto total = [] {
    Size tapes = 0;
    for (const auto& [name, h] : held()) tapes += name == "other" ? 0 : h.bytes;
    return tapes;
  };
  CHECK(total() == 0);
  auto first = std::make_unique<Tape<float>>(), second = std::make_unique<Tape<float>>();
  const Var<float> x = first->leaf(array()), y = second->leaf(array());
  const Var<float> u = tanh(x), v = sin(y);
  first.reset();
  CHECK_FALSE(held().contains("tanh"));
  CHECK(held().at("sin") == Held{block, 1});
  std::thread([&] {
    CHECK(total() == 0);
    Tape<float> own;
    const Var<float> z = cos(own.leaf(array()));
    CHECK(held().at("cos") == Held{block, 1});
    CHECK_FALSE(held().contains("sin"));
  }).join();
  CHECK_FALSE(held().contains("cos"));
  second.reset();
  CHECK(total() == 0);
}
