// Looking at a tape: one line per node as text, or the unrolled network as a picture for Graphviz.
//
//   Tape<double> tape;
//   auto net = lift(tape, model);                      // a model whose parameters are leaves
//   std::vector<Var<double>> states = run(net, xs);    // a_1, a_2, ...
//   print(tape);                                       // 3  matmul  [2, 4]  <- 0, const [4, 4]
//   write(to_dot(tape, {.steps = states, .names = names_of<double>(net)}));   // | dot -Tsvg
//
// `trace_dot` and `trace_text` do the same for a function that was not written with a tape in mind.
// Time steps are told after the fact, by the Vars at which they end, so a program that does not ask
// for a picture pays nothing. Invariant: looking changes nothing; a tape can be read and recorded
// on afterwards.
#pragma once

#include <iosfwd>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "unroll/autograd/model.hpp"
#include "unroll/autograd/transforms.hpp"

namespace unroll {

// What Vars are called in texts and pictures.
template <FloatOrDouble T>
using Names = std::vector<std::pair<Var<T>, std::string>>;

// The dotted names of a tree's parameters that are of element type T.
template <FloatOrDouble T, Tree X>
[[nodiscard]] Names<T> names_of(const X& tree, const std::string& prefix = {}) {
  Names<T> names;
  for_each_named(tree, [&](const std::string& name, const auto& p) {
    if constexpr (std::is_same_v<std::remove_cvref_t<decltype(p)>, Var<T>>) {
      names.emplace_back(p, prefix.empty() || name.empty() ? prefix + name : prefix + "." + name);
    }
  });
  return names;
}

// A copy of a tree whose parameters are leaves of the tape.
template <FloatOrDouble T, Tree X>
[[nodiscard]] X lift(Tape<T>& tape, const X& tree) {
  return tree_map([&](const auto& p) { return tape.session().leaf(p); }, tree);
}

// ---- text ---------------------------------------------------------------------------------------

// One line per node, oldest first: its number, the op, its shape, its inputs by number or as `const
// [shape]`.
template <FloatOrDouble T>
[[nodiscard]] std::string to_text(const Tape<T>& tape, const Names<T>& names = {});
template <FloatOrDouble T>
std::ostream& operator<<(std::ostream& out, const Tape<T>& tape);
// To standard output.
template <FloatOrDouble T>
void print(const Tape<T>& tape);

// ---- pictures -----------------------------------------------------------------------------------

enum class Constants { hide, show };
// Where time runs: to the right, or down a page (for long steps).
enum class TimeAxis { right, down };

template <FloatOrDouble T>
struct DotOptions {
  // Step t is what was recorded after steps[t - 2] up to and including steps[t - 1]: pass the
  // states a_1, ..., a_T, or whatever each step computes last. What reads only inputs (a slice of
  // xs) is drawn in the step that uses it.
  std::vector<Var<T>> steps = {};
  Names<T> names = {};
  Constants constants = Constants::hide;
  TimeAxis time = TimeAxis::right;
  std::string title = {};
};

// The graph in Graphviz's language: steps as boxes labelled "t = 1", leaves outside of them. Throws
// std::invalid_argument when a step was not recorded on this tape.
template <FloatOrDouble T>
[[nodiscard]] std::string to_dot(const Tape<T>& tape, const DotOptions<T>& options = {});

// ---- memory -------------------------------------------------------------------------------------

struct OpMemory {
  std::string name;
  Size bytes = 0;
  Size count = 0;  // of arrays
};
// What holds the memory that this thread's pool has in use now, most first: the values on its open
// tapes by the op that computed them ("leaf": parameters; "constant": arrays that ops keep for the
// sweep), "tape" for the nodes themselves, and "other" for what no open tape's node shows: arrays of
// the program, cotangents, what built-in sequences keep inside their one node. The bytes are the
// pool's, so they add up to memory_report().live_bytes; what several nodes show counts once, where it
// was first recorded. Walks over the tapes when it is called; nothing is counted before.
//
//   const auto loss = model_loss(net);                    // inside a transform, or on a Tape
//   for (const OpMemory& m : memory_by_op()) fmt::print("{:<10} {:>9} in {}\n", m.name, m.bytes, m.count);
[[nodiscard]] std::vector<OpMemory> memory_by_op();

// ---- functions ----------------------------------------------------------------------------------

namespace detail {

struct GraphOptions {
  std::vector<const Node*> steps;
  std::vector<std::pair<const Node*, std::string>> names;
  Constants constants = Constants::hide;
  TimeAxis time = TimeAxis::right;
  std::string title;
};
std::string graph_text(const Node* last, const GraphOptions& options);
std::string graph_dot(const Node* last, const GraphOptions& options);

// The steps in what a traced function returned: tuple{loss, std::vector of states, ...}.
template <class R>
void collect_steps(const R& result, GraphOptions& options) {
  if constexpr (is_tuple<R>) {
    if constexpr (std::tuple_size_v < R >> 1) {
      using Second = std::tuple_element_t<1, R>;
      if constexpr (is_sequence<Second>) {
        if constexpr (is_var<typename Second::value_type>) {
          for (const auto& v : std::get<1>(result)) options.steps.push_back(v.handle().node());
        }
      }
    }
  }
}

template <class F, class... X>
std::pair<std::shared_ptr<Session>, GraphOptions> trace(F&& f, const X&... x) {
  const std::tuple<decltype(as_tree(x))...> trees{as_tree(x)...};
  auto s = std::make_shared<Session>(nullptr);
  const auto lifted = std::apply([&](const auto&... t) { return lift_all(*s, t...); }, trees);
  GraphOptions options;
  collect_steps(std::apply(f, lifted), options);
  std::size_t at = 0;
  const auto name = [&](const auto& tree) {
    ++at;
    for_each_named(tree, [&](const std::string& part, const auto& p) {
      const std::string argument = sizeof...(X) == 1 ? "x" : "x" + std::to_string(at);
      options.names.emplace_back(p.handle().node(), part.empty() ? argument : part);
    });
  };
  std::apply([&](const auto&... t) { (name(t), ...); }, lifted);
  return {std::move(s), std::move(options)};
}

}  // namespace detail

// Calls f(x...) on leaves and shows what it records. The x are what transforms take; parameters are
// named as in the model. When f returns a tuple or pair whose second part is a std::vector of Vars,
// these are the ends of the time steps:
//
//   trace_dot([&](const Net& net) {
//     auto a = states(net, xs);
//     return std::pair{loss(net, a), a};
//   }, net);
template <class F, class... X>
requires(sizeof...(X) > 0) [[nodiscard]] std::string trace_dot(F&& f, const X&... x) {
  const auto [session, options] = detail::trace(std::forward<F>(f), x...);
  return detail::graph_dot(session->core().last(), options);
}
template <class F, class... X>
requires(sizeof...(X) > 0) [[nodiscard]] std::string trace_text(F&& f, const X&... x) {
  const auto [session, options] = detail::trace(std::forward<F>(f), x...);
  return detail::graph_text(session->core().last(), options);
}

}  // namespace unroll
