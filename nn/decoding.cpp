#include "unroll/nn/decoding.hpp"

#include <cmath>
#include <limits>
#include <numeric>

namespace unroll {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

void check_start(const char* op, const Indices& first, const DecodingLimits& limits) {
  if (first.rank() != 1) {
    fail(op, "the first tokens have shape " + to_string(first.shape()) +
                 "; they are [B], one for each sequence");
  }
  if (limits.max_length < 0) fail(op, "max_length is negative");
}

// The rows [R, K] of what a step gave.
template <class T>
std::vector<T> step_rows(const char* op, const Var<T>& log_probabilities, Size rows) {
  const Shape shape = log_probabilities.shape();
  if (shape.rank() != 2 || shape[0] != rows || shape[1] == 0) {
    fail(op, "the step gave scores of shape " + to_string(shape) + " for " + std::to_string(rows) +
                 " tokens; they are [" + std::to_string(rows) + ", vocabulary]");
  }
  return log_probabilities.to_vector();
}

template <class T>
std::span<const T> part(const std::vector<T>& values, Size first, Size count) {
  return std::span<const T>(values).subspan(static_cast<std::size_t>(first),
                                            static_cast<std::size_t>(count));
}

[[noreturn]] void fail_nan(const char* op, Size row) {
  fail(op, "the step gave NaN for row " + std::to_string(row));
}

// Sets all but the chosen to -inf.
template <class T>
void filter_row(std::span<T> row, const LogitFilter& filter) {
  std::vector<std::size_t> order(row.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::stable_sort(order, [&](std::size_t a, std::size_t b) { return row[a] > row[b]; });
  std::size_t keep = row.size();
  if (filter.top_k > 0) keep = std::min(keep, static_cast<std::size_t>(filter.top_k));
  if (filter.top_p < 1) {
    const auto mass = [&](std::size_t i) {
      return std::exp(static_cast<double>(row[order[i]]) - static_cast<double>(row[order[0]]));
    };
    double total = 0, reached = 0;
    for (std::size_t i = 0; i < keep; ++i) total += mass(i);
    std::size_t count = 0;
    while (count < keep && (count == 0 || reached < filter.top_p * total)) reached += mass(count++);
    keep = count;
  }
  for (std::size_t i = keep; i < order.size(); ++i) row[order[i]] = -static_cast<T>(infinity);
}

}  // namespace

template <FloatOrDouble T>
Var<T> filter_logits(const Var<T>& logits, const LogitFilter& filter) {
  constexpr auto op = "filter_logits";
  if (!(filter.temperature > 0)) fail(op, "the temperature must be positive");
  if (filter.top_k < 0) fail(op, "top_k is negative");
  if (!(filter.top_p > 0 && filter.top_p <= 1)) fail(op, "top_p is not in (0, 1]");
  if (logits.rank() == 0 || logits.size(-1) == 0) {
    fail(op, "there is nothing to choose from in logits of shape " + to_string(logits.shape()));
  }
  const Var<T> scaled = stop_gradient(logits) * static_cast<T>(1 / filter.temperature);
  if (filter.top_k == 0 && filter.top_p == 1) return scaled;
  std::vector<T> values = scaled.to_vector();
  const std::size_t width = static_cast<std::size_t>(logits.size(-1));
  for (std::size_t i = 0; i < values.size(); i += width) {
    filter_row(std::span(values).subspan(i, width), filter);
  }
  return Var<T>(logits.shape(), values);
}

namespace detail {

Size TokenHistory::add(std::int64_t token, Size before) {
  places_.push_back({token, before});
  return static_cast<Size>(places_.size()) - 1;
}

std::vector<std::int64_t> TokenHistory::tokens(Size last) const {
  std::vector<std::int64_t> out;
  for (Size at = last; at != none; at = places_[static_cast<std::size_t>(at)].before) {
    out.push_back(places_[static_cast<std::size_t>(at)].token);
  }
  std::ranges::reverse(out);
  return out;
}

Generation::Generation(const Indices& first, const DecodingLimits& limits)
    : limits_(limits), tokens_(first) {
  check_start("decoding", first, limits);
  results_.resize(static_cast<std::size_t>(first.size()));
}

bool Generation::done() const {
  return length_ == limits_.max_length ||
         std::ranges::all_of(results_, [](const Hypothesis& h) { return h.ended; });
}

template <FloatOrDouble T>
void Generation::advance(const Var<T>& log_probabilities, const Indices& chosen) {
  const std::vector<T> p =
      step_rows("decoding", log_probabilities, static_cast<Size>(results_.size()));
  const Size width = log_probabilities.size(1);
  for (std::size_t i = 0; i < results_.size(); ++i) {
    Hypothesis& h = results_[i];
    if (h.ended) continue;
    const Size row = static_cast<Size>(i);
    const std::int64_t token = chosen(row);
    const double gain =
        static_cast<double>(part(p, row * width, width)[static_cast<std::size_t>(token)]);
    if (std::isnan(gain)) fail_nan("decoding", row);
    h.log_probability += gain;
    h.score = h.log_probability;
    h.ended = limits_.end && token == *limits_.end;
    if (!h.ended) h.tokens.push_back(token);
  }
  tokens_ = chosen;
  ++length_;
}

BeamSearch::BeamSearch(const Indices& first, const BeamOptions& options,
                       const DecodingLimits& limits)
    : options_(options), limits_(limits), first_(first) {
  check_start("beam_search", first, limits);
  if (options.beam < 1) fail("beam_search", "the beam must be at least 1");
  if (options.n_best < 1 || options.n_best > options.beam) {
    fail("beam_search", "n_best is " + std::to_string(options.n_best) + "; with a beam of " +
                            std::to_string(options.beam) + " it can be 1 to that");
  }
  if (!(options.length_penalty >= 0)) fail("beam_search", "the length penalty is negative");
  for (Size b = 0; b < first.size(); ++b) {
    // One alive at first: `beam` equal ones would stay equal.
    for (Size i = 0; i < options.beam; ++i) {
      rows_.push_back(dead(b));
      rows_.back().from = b;
      rows_.back().alive = i == 0;
      if (i == 0) rows_.back().log_probability = rows_.back().score = 0;
    }
  }
}

double BeamSearch::score(double log_probability, Size length) const {
  return log_probability / std::pow((5 + static_cast<double>(length)) / 6, options_.length_penalty);
}

BeamSearch::Row BeamSearch::dead(Size sequence) const {
  return {-infinity, -infinity, 0, TokenHistory::none, first_(sequence), sequence * options_.beam,
          false,     false};
}

// Nothing that goes on can get among the n best: probabilities only fall, and the penalty divides by
// no more than at the greatest length.
bool BeamSearch::settled(Size sequence) const {
  const auto mine = part(rows_, sequence * options_.beam, options_.beam);
  double reachable = -infinity;
  bool alive = false;
  for (const Row& r : mine) {
    if (!r.alive || r.ended) continue;
    alive = true;
    reachable = std::max(reachable, score(r.log_probability, limits_.max_length));
  }
  return !alive || std::ranges::count_if(mine, [&](const Row& r) {
                     return r.ended && r.score > reachable;
                   }) >= options_.n_best;
}

bool BeamSearch::done() const {
  if (length_ == limits_.max_length) return true;
  for (Size b = 0; b < first_.size(); ++b) {
    if (!settled(b)) return false;
  }
  return true;
}

Indices BeamSearch::tokens() const {
  std::vector<std::int64_t> out;
  for (const Row& r : rows_) out.push_back(r.token);
  return Indices(out);
}
Indices BeamSearch::rows() const {
  std::vector<std::int64_t> out;
  for (const Row& r : rows_) out.push_back(r.from);
  return Indices(out);
}

// The `beam` best of what has ended and of all continuations, best first; of equals the one that
// comes from the better row, then the lower token.
template <class T>
std::vector<BeamSearch::Row> BeamSearch::candidates(Size sequence,
                                                    std::span<const T> log_probabilities) const {
  const std::size_t beam = static_cast<std::size_t>(options_.beam);
  const std::size_t width = log_probabilities.size() / beam;
  const auto better = [](const Row& a, const Row& b) {
    if (a.score != b.score) return a.score > b.score;
    return a.from != b.from ? a.from < b.from : a.token < b.token;
  };
  std::vector<Row> best;  // a heap with the worst on top
  const auto offer = [&](const Row& row) {
    if (best.size() == beam) {
      if (!better(row, best.front())) return;
      std::ranges::pop_heap(best, better);
      best.pop_back();
    }
    best.push_back(row);
    std::ranges::push_heap(best, better);
  };
  for (std::size_t i = 0; i < beam; ++i) {
    const Size from = sequence * options_.beam + static_cast<Size>(i);
    const Row& row = rows_[static_cast<std::size_t>(from)];
    if (!row.alive) continue;
    if (row.ended) {
      Row same = row;
      same.from = from;
      offer(same);
      continue;
    }
    for (std::size_t k = 0; k < width; ++k) {
      const double p = row.log_probability + static_cast<double>(log_probabilities[i * width + k]);
      if (std::isnan(p)) fail_nan("beam_search", from);
      if (p == -infinity) continue;
      const std::int64_t token = static_cast<std::int64_t>(k);
      offer({p, score(p, row.length + 1), row.length + 1, row.last, token, from, true,
             limits_.end && token == *limits_.end});
    }
  }
  std::ranges::sort(best, better);
  return best;
}

template <FloatOrDouble T>
void BeamSearch::advance(const Var<T>& log_probabilities) {
  const std::vector<T> p =
      step_rows("beam_search", log_probabilities, static_cast<Size>(rows_.size()));
  const Size width = options_.beam * log_probabilities.size(1);
  for (Size b = 0; b < first_.size(); ++b) {
    if (settled(b)) {  // its rows go on unheeded
      for (Size i = 0; i < options_.beam; ++i) {
        const Size row = b * options_.beam + i;
        rows_[static_cast<std::size_t>(row)].from = row;
      }
      continue;
    }
    std::vector<Row> next = candidates(b, part(p, b * width, width));
    for (Row& row : next) {
      const bool grew = row.length == length_ + 1;
      if (grew && !row.ended) row.last = history_.add(row.token, row.last);
    }
    next.resize(static_cast<std::size_t>(options_.beam), dead(b));
    std::ranges::copy(next, rows_.begin() + b * options_.beam);
  }
  ++length_;
}

std::vector<std::vector<Hypothesis>> BeamSearch::best() const {
  std::vector<std::vector<Hypothesis>> out;
  for (Size b = 0; b < first_.size(); ++b) {
    std::vector<Hypothesis> mine;
    for (const Row& row : part(rows_, b * options_.beam, options_.n_best)) {
      if (row.alive) {
        mine.push_back({history_.tokens(row.last), row.log_probability, row.score, row.ended});
      }
    }
    out.push_back(std::move(mine));
  }
  return out;
}

template void Generation::advance(const Var<float>&, const Indices&);
template void Generation::advance(const Var<double>&, const Indices&);
template void BeamSearch::advance(const Var<float>&);
template void BeamSearch::advance(const Var<double>&);

}  // namespace detail

template Var<float> filter_logits(const Var<float>&, const LogitFilter&);
template Var<double> filter_logits(const Var<double>&, const LogitFilter&);

}  // namespace unroll
