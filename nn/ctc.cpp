#include "unroll/nn/ctc.hpp"

#include <cmath>
#include <limits>
#include <map>

#include "unroll/autograd/elementwise.hpp"
#include "unroll/nn/lengths.hpp"

namespace unroll {
namespace {

using detail::log_zero;
using LabelSequence = std::vector<std::int64_t>;

struct Problem {
  Size steps, batch, symbols;
  Indices lengths;  // [B]
};

template <class T>
Problem problem(const char* op, const Var<T>& logits, const CtcOptions& options) {
  const Shape shape = logits.shape();
  if (shape.rank() != 3 || shape[2] == 0) {
    fail(op, "logits have shape " + to_string(shape) + "; they are [steps, batch, symbols]");
  }
  if (options.blank < 0 || options.blank >= shape[2]) {
    fail(op, "the blank is symbol " + std::to_string(options.blank) + " of " +
                 std::to_string(shape[2]) + " (0 to " + std::to_string(shape[2] - 1) + ")");
  }
  if (options.lengths) {
    detail::check_lengths(op, *options.lengths, shape[1], 0, shape[0]);
    return {shape[0], shape[1], shape[2], *options.lengths};
  }
  return {shape[0], shape[1], shape[2],
          Indices(LabelSequence(static_cast<std::size_t>(shape[1]), shape[0]))};
}

void check_targets(const Problem& p, const CtcTargets& targets, std::int64_t blank) {
  const Shape shape = targets.labels.shape();
  if (shape.rank() != 2 || shape[0] != p.batch) {
    fail("ctc_loss", "targets have shape " + to_string(shape) + "; a batch of " +
                         std::to_string(p.batch) + " needs [" + std::to_string(p.batch) +
                         ", labels]");
  }
  detail::check_lengths("ctc_loss", targets.lengths, p.batch, 0, shape[1]);
  for (Size b = 0; b < p.batch; ++b) {
    for (Size s = 0; s < targets.lengths(b); ++s) {
      const std::int64_t label = targets.labels(b * shape[1] + s);
      if (label >= 0 && label < p.symbols && label != blank) continue;
      fail("ctc_loss",
           "label " + std::to_string(label) + " of sequence " + std::to_string(b) +
               (label == blank ? " is the blank"
                               : " is out of range for " + std::to_string(p.symbols) +
                                     " symbols (0 to " + std::to_string(p.symbols - 1) + ")"));
    }
  }
}

// The states of the recursion, [B, 2 S + 1]: the labels with blanks around each.
struct States {
  std::vector<std::int64_t> symbols;  // [B, 2 S + 1]
  std::vector<bool> skips;            // may be entered from two states before
  Size count;
};

States states(const CtcTargets& targets, std::int64_t blank) {
  const Size batch = targets.labels.shape()[0], width = targets.labels.shape()[1];
  States s{{}, {}, 2 * width + 1};
  s.symbols.assign(static_cast<std::size_t>(batch * s.count), blank);
  s.skips.assign(s.symbols.size(), false);
  for (Size b = 0; b < batch; ++b) {
    for (Size i = 0; i < targets.lengths(b); ++i) {
      const Size label = b * width + i;
      const std::size_t at = static_cast<std::size_t>(b * s.count + 2 * i + 1);
      s.symbols[at] = targets.labels(label);
      s.skips[at] = i > 0 && targets.labels(label) != targets.labels(label - 1);
    }
  }
  return s;
}

// log Σ exp of staying, coming from one or from two states before, times the symbol's probability;
// what does not run any more stays as it is.
template <class T>
Var<T> advance(const Var<T>& alpha, const Var<T>& skip, const Var<T>& emitted,
               const Var<T>& running) {
  const Size count = alpha.size(1);
  const Var<T> padded = pad(alpha, 1, 2, 0, log_zero<T>);
  return fuse(
      [](auto stay, auto one, auto two, auto skips, auto e, auto runs) {
        auto far = two + skips;
        auto top = maximum(stay, maximum(one, far));
        return where(runs, top + log(exp(stay - top) + exp(one - top) + exp(far - top)) + e, stay);
      },
      alpha, slice(padded, 1, {1, count + 1}), slice(padded, 1, {0, count}), skip, emitted,
      running.empty() ? Var<T>(1) : running);
}

// A row of log-probabilities for each running step of sequence b: f(step, row).
template <class T, class F>
void for_each_step(const Problem& p, const std::vector<T>& values, Size b, F&& f) {
  for (Size t = 0; t < p.lengths(b); ++t) {
    f(t, std::span(values).subspan(static_cast<std::size_t>((t * p.batch + b) * p.symbols),
                                   static_cast<std::size_t>(p.symbols)));
  }
}

double log_add(double a, double b) {
  const double top = std::max(a, b), rest = std::min(a, b);
  return std::isinf(rest) ? top : top + std::log1p(std::exp(rest - top));
}

// The paths of one labelling so far: those that end in a blank, and those that end in its last
// label.
struct Prefix {
  double blank = -std::numeric_limits<double>::infinity();
  double label = -std::numeric_limits<double>::infinity();
  double total() const { return log_add(blank, label); }
};
using Prefixes = std::map<LabelSequence, Prefix>;

std::vector<std::pair<LabelSequence, Prefix>> best_prefixes(const Prefixes& all, std::size_t beam) {
  std::vector<std::pair<LabelSequence, Prefix>> best(std::min(beam, all.size()));
  std::partial_sort_copy(
      all.begin(), all.end(), best.begin(), best.end(),
      [](const auto& a, const auto& b) { return a.second.total() > b.second.total(); });
  return best;
}

template <class T>
Prefixes extend(const std::vector<std::pair<LabelSequence, Prefix>>& beam, std::span<const T> row,
                std::int64_t blank) {
  Prefixes next;
  const auto add = [](double& sum, double x) { sum = log_add(sum, x); };
  for (const auto& [labels, p] : beam) {
    for (std::size_t k = 0; k < row.size(); ++k) {
      const std::int64_t symbol = static_cast<std::int64_t>(k);
      const double e = static_cast<double>(row[k]);
      if (std::isinf(e)) continue;
      if (symbol == blank) {
        add(next[labels].blank, p.total() + e);
        continue;
      }
      const bool repeats = !labels.empty() && labels.back() == symbol;
      if (repeats) add(next[labels].label, p.label + e);
      const double before = repeats ? p.blank : p.total();
      if (std::isinf(before)) continue;
      LabelSequence longer = labels;
      longer.push_back(symbol);
      add(next[longer].label, before + e);
    }
  }
  return next;
}

}  // namespace

CtcTargets ctc_targets(const std::vector<LabelSequence>& labels) {
  std::size_t width = 0;
  for (const LabelSequence& row : labels) width = std::max(width, row.size());
  LabelSequence flat(labels.size() * width, -1), lengths;
  for (std::size_t b = 0; b < labels.size(); ++b) {
    std::ranges::copy(labels[b], flat.begin() + static_cast<std::ptrdiff_t>(b * width));
    lengths.push_back(static_cast<std::int64_t>(labels[b].size()));
  }
  return {Indices({static_cast<Size>(labels.size()), static_cast<Size>(width)}, flat),
          Indices(lengths)};
}

template <FloatOrDouble T>
Var<T> ctc_loss(const Var<T>& logits, const CtcTargets& targets, const CtcOptions& options) {
  const Problem p = problem("ctc_loss", logits, options);
  check_targets(p, targets, options.blank);
  const States s = states(targets, options.blank);
  const std::size_t each = s.symbols.size();
  // What each state emits at each step, [T, B, states].
  LabelSequence symbols(static_cast<std::size_t>(p.steps) * each);
  for (std::size_t i = 0; i < symbols.size(); ++i) symbols[i] = s.symbols[i % each];
  const Var<T> emitted = maximum(gather(log_softmax(detail::without_padding(logits, p.lengths)),
                                        Indices({p.steps, p.batch, s.count}, symbols), -1),
                                 log_zero<T>);
  // Where a path can be: before the first step in front of the first blank, at the end in the last
  // label or the blank behind it.
  std::vector<T> skip(each), begin(each, log_zero<T>), end(each, log_zero<T>);
  for (std::size_t i = 0; i < each; ++i) {
    const Size b = static_cast<Size>(i) / s.count, state = static_cast<Size>(i) % s.count;
    const Size last = 2 * targets.lengths(b);
    skip[i] = s.skips[i] ? T(0) : log_zero<T>;
    if (state == 0) begin[i] = 0;
    if (state == last || state + 1 == last) end[i] = 0;
  }
  const Shape shape{p.batch, s.count};
  const Var<T> skips(shape, skip);
  const std::vector<Var<T>> running = detail::running_masks<T>(p.lengths, p.steps);
  Var<T> alpha(shape, begin);
  if (p.steps > 0) {
    const std::vector<Var<T>> steps = unbind(emitted);
    for (std::size_t t = 0; t < steps.size(); ++t) {
      alpha = advance(alpha, skips, steps[t], running[t]);
    }
  }
  const Var<T> likelihood = logsumexp(alpha + Var<T>(shape, end), -1);
  const T worth =
      options.impossible == CtcImpossible::zero ? T(0) : std::numeric_limits<T>::infinity();
  return where(detail::is_impossible(likelihood), worth, -likelihood);
}

template <FloatOrDouble T>
std::vector<LabelSequence> ctc_greedy(const Var<T>& logits, const CtcOptions& options) {
  const Problem p = problem("ctc_greedy", logits, options);
  const std::vector<T> values =
      detail::comparable_values("ctc_greedy", detail::without_padding(logits, p.lengths));
  std::vector<LabelSequence> out(static_cast<std::size_t>(p.batch));
  for (Size b = 0; b < p.batch; ++b) {
    std::int64_t before = options.blank;
    for_each_step(p, values, b, [&](Size, std::span<const T> row) {
      const std::int64_t symbol = std::max_element(row.begin(), row.end()) - row.begin();
      if (symbol != before && symbol != options.blank) {
        out[static_cast<std::size_t>(b)].push_back(symbol);
      }
      before = symbol;
    });
  }
  return out;
}

template <FloatOrDouble T>
std::vector<std::vector<CtcHypothesis>> ctc_beam_search(const Var<T>& logits, std::size_t beam,
                                                        const CtcOptions& options) {
  const Problem p = problem("ctc_beam_search", logits, options);
  if (beam == 0) fail("ctc_beam_search", "a beam of 0 finds nothing; it has to be at least 1");
  const std::vector<T> values = detail::comparable_values(
      "ctc_beam_search", log_softmax(detail::without_padding(logits, p.lengths)));
  std::vector<std::vector<CtcHypothesis>> out(static_cast<std::size_t>(p.batch));
  for (Size b = 0; b < p.batch; ++b) {
    std::vector<std::pair<LabelSequence, Prefix>> best{{LabelSequence{}, Prefix{.blank = 0}}};
    for_each_step(p, values, b, [&](Size, std::span<const T> row) {
      best = best_prefixes(extend(best, row, options.blank), beam);
    });
    for (const auto& [labels, prefix] : best) {
      out[static_cast<std::size_t>(b)].push_back({labels, prefix.total()});
    }
  }
  return out;
}

template Var<float> ctc_loss(const Var<float>&, const CtcTargets&, const CtcOptions&);
template Var<double> ctc_loss(const Var<double>&, const CtcTargets&, const CtcOptions&);
template std::vector<LabelSequence> ctc_greedy(const Var<float>&, const CtcOptions&);
template std::vector<LabelSequence> ctc_greedy(const Var<double>&, const CtcOptions&);
template std::vector<std::vector<CtcHypothesis>> ctc_beam_search(const Var<float>&, std::size_t,
                                                                 const CtcOptions&);
template std::vector<std::vector<CtcHypothesis>> ctc_beam_search(const Var<double>&, std::size_t,
                                                                 const CtcOptions&);

}  // namespace unroll
