// The gradient from the tape against the one derived by hand (docs/bptt.md), for the notes'
// network, the LSTM and the GRU. Beside it, in a random direction v: the tangent dL(v), and central
// differences, against ∇L·v. All differences are relative. Exit code 1 when one of them is off.
#include <unroll/examples/options.hpp>
#include <unroll/models/hand_and_tape.hpp>

#include <fmt/format.h>

#include <iostream>

using namespace unroll;

struct Options {
  Size steps = 50, batch = 3, inputs = 5, hidden = 16, classes = 4;
  bool single = false, details = false;
};
using Row = std::pair<std::string, bool>;  // of the table, and whether its numbers are right

template <class T, class Net, class State>
Row compare(const char* name, const Net& net, const State& state, const Options& o) {
  const auto xs = uniform<T>(Key(7), {o.steps, o.batch, o.inputs}, -1, 1);
  const auto ys = one_hot<T>(randint(Key(8), {o.steps, o.batch}, 0, o.classes), o.classes);
  const auto hand =
      compare_gradients(gradients_by_hand(net, xs, ys, state),
                        gradients_by_tape(net, xs, ys, state), o.single ? 1e-5 : 1e-12);

  const auto loss = [&](const Net& n) { return n.loss(xs, ys, state); };
  int i = 0;
  Net v = tree_map([&](const auto& p) { return normal<T>(fold_in(Key(9), ++i), p.shape()); }, net);
  v = tree_scale(v, 1 / std::sqrt(tree_dot<double>(v, v).item()));
  const double slope = tree_dot<double>(grad(loss)(net), v).item();
  const auto off = [&](double other) { return std::abs(other - slope) / std::abs(slope); };
  const auto at = [&](double e) { return double{loss(tree_add(net, tree_scale(v, e))).item()}; };
  const double h = o.single ? 0.1 : 2e-3, tangent = off(jvp(loss, net, v).tangent.item());
  const double difference = off((8 * (at(h) - at(-h)) - at(2 * h) + at(-2 * h)) / (12 * h));
  const bool ok =
      hand.ok() && tangent <= (o.single ? 1e-4 : 1e-12) && difference <= (o.single ? 1e-2 : 1e-8);
  if (o.details || !hand.ok()) std::cout << "---- " << name << '\n' << hand << '\n';
  return {fmt::format("{:<8}{:>10}{:>12.6f}{:>14.1e}{:>14.1e}{:>14.1e}   {}\n", name,
                      parameter_count(net), at(0), hand.worst(), tangent, difference,
                      ok ? "agree" : "DIFFER"),
          ok};
}

template <class T>
int run(const Options& o) {
  const auto k = split<4>(Key(1));
  const auto V = glorot_uniform<T>(k[0], {o.classes, o.hidden}), c = zeros<T>({o.classes});
  const auto elman = Elman<T>::make(k[1], o.inputs, o.hidden);
  const CellNetwork<T, Lstm<T>> lstm{Lstm<T>::make(k[2], o.inputs, o.hidden), V, c};
  const CellNetwork<T, Gru<T>> gru{Gru<T>::make(k[3], o.inputs, o.hidden), V, c};
  const NotesRnn<T> rnn{elman.U, elman.W, elman.b, V, c};
  const Row rows[] = {compare<T>("RNN", rnn, elman.initial_state(o.batch), o),
                      compare<T>("LSTM", lstm, lstm.cell.initial_state(o.batch), o),
                      compare<T>("GRU", gru, gru.cell.initial_state(o.batch), o)};

  fmt::print(
      "Gradients by tape: {} steps, batch of {}, {} hidden units, {}. Relative differences to\n",
      o.steps, o.batch, o.hidden, o.single ? "float" : "double");
  fmt::print("{:<8}{:>10}{:>12}{:>14}{:>14}{:>14}\n", "network", "parameters", "loss", "hand",
             "tangents", "differences");
  for (const Row& row : rows) fmt::print("{}", row.first);
  fmt::print("{:<30}{:>14}{:>14}{:>14}\n", "at most", o.single ? "1e-05" : "1e-12",
             o.single ? "1e-04" : "1e-12", o.single ? "1e-02" : "1e-08");
  return rows[0].second && rows[1].second && rows[2].second ? 0 : 1;
}

int main(int argc, char** argv) {
  Options o;
  CLI::App app("The gradients of RNN, LSTM and GRU: by tape, by hand, by tangents, by differences");
  app.option_defaults()->always_capture_default();
  app.add_option("--steps", o.steps, "time steps")->check(CLI::Range(1, 100000));
  app.add_option("--batch", o.batch, "sequences at a time")->check(CLI::Range(1, 10000));
  app.add_option("--hidden", o.hidden, "hidden units")->check(CLI::Range(1, 4096));
  app.add_flag("--float", o.single, "compute in float instead of double");
  app.add_flag("--details", o.details, "show each parameter, and each step and gate");
  if (const auto code = examples::parse(app, argc, argv)) return *code;
  return o.single ? run<float>(o) : run<double>(o);
}
