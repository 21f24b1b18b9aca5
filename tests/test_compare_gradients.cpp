#include "unroll/models/compare_gradients.hpp"
#include "unroll/models/rnn.hpp"
#include "unroll/tests/test_manual_helpers.hpp"

#include <doctest/doctest.h>

#include <limits>
#include <sstream>

using namespace unroll;
using namespace unroll::test;

namespace {

constexpr std::size_t T = 6, B = 2, I = 3, H = 4, K = 3;

struct PlainLstm {
  manual::LstmParameters<double> p{random_array({4 * H, I}, 1), random_array({4 * H, H}, 2),
                                   random_array({4 * H}, 3),    random_array({4 * H}, 4),
                                   random_array({K, H}, 5),     random_array({K}, 6)};
  Array xs = random_array({T, B, I}, 7), ys = one_hot(T, B, K, 8), h0 = random_array({B, H}, 9),
        c0 = random_array({B, H}, 10);

  GradientSet by_hand() const { return gradient_set(manual::lstm_backward(p, xs, ys, h0, c0)); }

  // An LSTM on the tape, in which the derivative of one gate at one step can be made wrong: the
  // value passes unchanged, but a part of the cotangent does not.
  GradientSet by_tape(int wrong_gate = -1, Size wrong_step = -1) const {
    using V = Var<double>;
    const auto loss = [&](const V& w_ih, const V& w_hh, const V& b_ih, const V& b_hh, const V& V_,
                          const V& c_, const V& h_start, const V& c_start, const V& x,
                          const V& probes) {
      V h = h_start, cell = c_start;
      std::vector<V> predictions;
      for (Size t = 0; t < x.size(0); ++t) {
        const V z = linear(index(x, 0, t), w_ih) + b_ih + linear(h, w_hh) + b_hh;
        auto gates = split<4>(z + index(probes, 0, t), -1);
        if (t == wrong_step) {
          V& g = gates[static_cast<std::size_t>(wrong_gate)];
          g = 0.9 * g + 0.1 * stop_gradient(g);
        }
        cell = sigmoid(gates[1]) * cell + sigmoid(gates[0]) * tanh(gates[2]);
        h = sigmoid(gates[3]) * tanh(cell);
        predictions.push_back(read_out(h, V_, c_));
      }
      return squared_error(stack(predictions), V(ys));
    };
    const auto g = grad(loss)(V(p.weight_ih), V(p.weight_hh), V(p.bias_ih), V(p.bias_hh), V(p.V),
                              V(p.c), V(h0), V(c0), V(xs), zeros<double>({T, B, 4 * H}));
    return {{{"weight_ih", double_array(std::get<0>(g))},
             {"weight_hh", double_array(std::get<1>(g))},
             {"bias_ih", double_array(std::get<2>(g))},
             {"bias_hh", double_array(std::get<3>(g))},
             {"V", double_array(std::get<4>(g))},
             {"c", double_array(std::get<5>(g))},
             {"h0", double_array(std::get<6>(g))},
             {"c0", double_array(std::get<7>(g))},
             {"xs", double_array(std::get<8>(g))}},
            {{"z", double_array(std::get<9>(g)), {"i", "f", "g", "o"}}}};
  }
};

std::string table_of(const GradientComparison& r) {
  std::ostringstream out;
  out << r;
  return out.str();
}

}  // namespace

TEST_CASE("a right LSTM passes the comparison by parameter, by step and by gate") {
  const PlainLstm lstm;
  const auto r = compare_gradients(lstm.by_hand(), lstm.by_tape());
  INFO(r);
  CHECK(r.ok());
  CHECK(r.exit_code() == 0);
  CHECK_FALSE(r.culprit);
  CHECK(r.steps.size() == 4 * T);
  CHECK(table_of(r).find("they agree") != std::string::npos);
}

TEST_CASE("a wrong derivative of one gate at one step is named, whichever gate and step") {
  const PlainLstm lstm;
  const GradientSet hand = lstm.by_hand();
  const std::vector<std::string> names{"i", "f", "g", "o"};
  for (int gate = 0; gate < 4; ++gate) {
    for (Size step = 0; step < static_cast<Size>(T); ++step) {
      CAPTURE(gate);
      CAPTURE(step);
      const auto r = compare_gradients(hand, lstm.by_tape(gate, step));
      CHECK(r.exit_code() == 1);
      REQUIRE(r.culprit);
      CHECK(r.culprit->gate == names[static_cast<std::size_t>(gate)]);
      CHECK(r.culprit->step == static_cast<std::size_t>(step));
      // The other gates of that step, and all later steps, are untouched.
      for (const auto& s : r.steps) {
        const bool later = s.step > r.culprit->step;
        const bool beside = s.step == r.culprit->step && s.gate != r.culprit->gate;
        if (later || beside) CHECK(s.difference.relative <= 1e-12);
      }
    }
  }
}

TEST_CASE("the table says where two gradients part") {
  const PlainLstm lstm;
  const auto r = compare_gradients(lstm.by_hand(), lstm.by_tape(1, 3));
  const std::string table = table_of(r);
  CHECK(table.find("they differ") != std::string::npos);
  CHECK(table.find("step t = 4, gate f of z") != std::string::npos);
  CHECK(table.find("<- differs") != std::string::npos);
}

TEST_CASE("the largest difference of a parameter is found with its place and both numbers") {
  const GradientSet a{{{"W", filled({2, 3}, {1, 2, 3, 4, 5, 8})}}, {}};
  const GradientSet b{{{"W", filled({2, 3}, {1, 2, 3, 4, 5.5, 8})}}, {}};
  const auto r = compare_gradients(a, b);
  REQUIRE(r.parameters.size() == 1);
  const auto& d = r.parameters[0].difference;
  CHECK(d.relative == 0.5 / 8);
  CHECK(d.index == std::vector<std::size_t>{1, 1});
  CHECK(d.manual == 5);
  CHECK(d.automatic == 5.5);
  CHECK(compare_gradients(a, b, 0.1).ok());
}

TEST_CASE("a gradient that is not a number never passes") {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const GradientSet good{{{"b", filled({2}, {1, 2})}}, {}};
  const GradientSet bad{{{"b", filled({2}, {1, nan})}}, {}};
  CHECK_FALSE(compare_gradients(good, bad, 1e300).ok());
  CHECK_FALSE(compare_gradients(bad, good, 1e300).ok());
  CHECK_FALSE(compare_gradients(bad, bad, 1e300).ok());
}

TEST_CASE("gradients that are both zero agree, and zero against anything is told by its size") {
  const GradientSet zero{{{"b", filled({2}, {0, 0})}}, {}};
  const GradientSet other{{{"b", filled({2}, {0, 0.25})}}, {}};
  CHECK(compare_gradients(zero, zero).worst() == 0);
  CHECK(compare_gradients(zero, other).worst() == 0.25);
}

TEST_CASE("sets that do not hold the same arrays are refused") {
  const GradientSet one{{{"U", filled({2}, {1, 2})}}, {}};
  const GradientSet two{{{"W", filled({2}, {1, 2})}}, {}};
  const GradientSet three{{{"U", filled({1, 2}, {1, 2})}}, {}};
  CHECK_THROWS_WITH_AS((void)compare_gradients(one, two),
                       "[compare_gradients] the second set has no \"U\"; it has W",
                       std::invalid_argument);
  CHECK_THROWS_WITH_AS((void)compare_gradients(one, three),
                       "[compare_gradients] \"U\" is [2] in the first set and [1, 2] in the second",
                       std::invalid_argument);
  CHECK_THROWS_AS((void)compare_gradients(one, GradientSet{}), std::invalid_argument);
}
