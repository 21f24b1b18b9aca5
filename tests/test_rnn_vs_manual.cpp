#include "unroll/autograd/random.hpp"
#include "unroll/models/hand_and_tape.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <string>

using namespace unroll;

namespace {

constexpr Size inputs = 5, hidden = 8, classes = 4;

template <class T>
Var<T> random_values(std::uint64_t seed, const Shape& shape, double scale = 0.8) {
  return uniform<T>(Key(seed), shape, static_cast<T>(-scale), static_cast<T>(scale));
}
template <class Tree>
Tree random_like(const Tree& tree, std::uint64_t seed, double scale = 0.8) {
  return tree_map(
      [&](const auto& p) {
        using T = typename std::remove_cvref_t<decltype(p)>::value_type;
        return random_values<T>(++seed, p.shape(), scale);
      },
      tree);
}

template <class T>
NotesRnn<T> network(const NotesRnn<T>*) {
  return {random_values<T>(1, {hidden, inputs}), random_values<T>(2, {hidden, hidden}, 0.5),
          random_values<T>(3, {hidden}), random_values<T>(4, {classes, hidden}),
          random_values<T>(5, {classes})};
}
template <class T, class Cell>
CellNetwork<T, Cell> network(const CellNetwork<T, Cell>*) {
  return {random_like(Cell::make(Key(1), inputs, hidden), 10, 0.5),
          random_values<T>(4, {classes, hidden}), random_values<T>(5, {classes})};
}
template <class T>
Var<T> state_of(const NotesRnn<T>&, Size batch) {
  return random_values<T>(6, {batch, hidden});
}
template <class T, class Cell>
auto state_of(const CellNetwork<T, Cell>& net, Size batch) {
  return random_like(net.cell.initial_state(batch), 30);
}

// A network with one batch.
template <class T, class Net>
struct Problem {
  Net net = network(static_cast<const Net*>(nullptr));
  Var<T> xs, ys;
  decltype(state_of(net, 1)) state;

  Problem(Size steps, Size batch)
      : xs(random_values<T>(7, {steps, batch, inputs})),
        ys(one_hot<T>(randint(Key(8), {steps, batch}, 0, classes), classes)),
        state(state_of(net, batch)) {}

  auto loss() const {
    return [this](const Net& n) { return n.loss(xs, ys, state); };
  }
};

template <class T, class Net>
double tape_against_hand(const char* name) {
  const double tolerance = std::is_same_v<T, double> ? 1e-12 : 1e-5;
  double worst = 0;
  for (const Size steps : {1, 2, 7, 50, 200}) {
    for (const Size batch : {1, 3, 16}) {
      const Problem<T, Net> p(steps, batch);
      const auto r = compare_gradients(gradients_by_hand(p.net, p.xs, p.ys, p.state),
                                       gradients_by_tape(p.net, p.xs, p.ys, p.state), tolerance);
      CAPTURE(name);
      CAPTURE(steps);
      CAPTURE(batch);
      INFO(r);
      CHECK(r.ok());
      CHECK(r.steps.size() >= static_cast<std::size_t>(steps));
      worst = std::max(worst, r.worst());
    }
  }
  return worst;
}

template <class T>
void all_networks(const char* type) {
  const double notes = tape_against_hand<T, NotesRnn<T>>("the notes' RNN");
  const double elman = tape_against_hand<T, CellNetwork<T, Elman<T>>>("Elman");
  const double lstm = tape_against_hand<T, CellNetwork<T, Lstm<T>>>("LSTM");
  const double gru = tape_against_hand<T, CellNetwork<T, Gru<T>>>("GRU");
  MESSAGE("tape against hand, " << std::string(type)
                                << ", T in {1, 2, 7, 50, 200}, B in {1, 3, 16}: RNN " << notes
                                << ", Elman cell " << elman << ", LSTM " << lstm << ", GRU "
                                << gru);
}

template <class Net>
void tangent_identity() {
  const Problem<double, Net> p(50, 3);
  const Net direction = random_like(p.net, 50);
  const double tangent = jvp(p.loss(), p.net, direction).tangent.item();
  const double product = tree_dot<double>(grad(p.loss())(p.net), direction).item();
  CHECK(std::abs(tangent - product) <= 1e-12 * std::max(1.0, std::abs(product)));
  CHECK(std::abs(product) > 1e-3);
}

}  // namespace

TEST_CASE("the tape gives RNN, LSTM and GRU the gradients derived by hand, in double") {
  all_networks<double>("double");
}

TEST_CASE("the tape gives RNN, LSTM and GRU the gradients derived by hand, in float") {
  all_networks<float>("float");
}

TEST_CASE("loss and predictions of the notes' network are those of the hand-written forward pass") {
  const Problem<double, NotesRnn<double>> p(7, 3);
  const auto& n = p.net;
  const auto g =
      manual::rnn_backward<double>({dense(n.U), dense(n.W), dense(n.b), dense(n.V), dense(n.c)},
                                   dense(p.xs), dense(p.ys), dense(p.state));
  CHECK(n.loss(p.xs, p.ys, p.state).item() == doctest::Approx(g.loss).epsilon(1e-14));
  const auto predictions = n.predictions(p.xs, p.state).to_vector();
  REQUIRE(predictions.size() == g.predictions.size());
  for (std::size_t i = 0; i < predictions.size(); ++i) {
    CHECK(std::abs(predictions[i] - g.predictions.data()[i]) <= 1e-15);
  }
}

TEST_CASE("the tangent of each network's loss is its gradient times the direction") {
  tangent_identity<NotesRnn<double>>();
  tangent_identity<CellNetwork<double, Lstm<double>>>();
  tangent_identity<CellNetwork<double, Gru<double>>>();
}

TEST_CASE("targets of another shape than the predictions are refused, not broadcast") {
  const Problem<double, NotesRnn<double>> p(2, 3);
  const Var<double> ys = zeros<double>({2, 1, classes});
  CHECK_THROWS_AS((void)p.net.loss(p.xs, ys, p.state), std::invalid_argument);
}
