#include "unroll/nn/crf.hpp"

#include <limits>

#include "unroll/autograd/transforms.hpp"
#include "unroll/nn/lengths.hpp"

namespace unroll {
namespace {

using detail::log_zero;

constexpr Size no_tag = -1;

// The parameters with what is forbidden at log_zero; transitions to the row's tag from the
// column's, so that a step's sum runs along rows.
template <class T>
struct Chain {
  Var<T> to_from, start, end;
  Size batch, steps, tags;
  Indices lengths;
  bool ragged;
};

template <class T>
Chain<T> chain(const char* op, const Crf<T>& crf, const Var<T>& emissions,
               const std::optional<Indices>& lengths) {
  const Shape shape = emissions.shape();
  const Size tags = crf.start.size();
  if (shape.rank() != 3 || shape[0] == 0 || shape[1] == 0 || tags == 0 || shape[2] != tags) {
    fail(op, "emissions have shape " + to_string(shape) + "; they are [steps, batch, " +
                 std::to_string(tags) + "], the last as many as the field has tags, none empty");
  }
  const auto check = [&](const char* name, const Shape& got, const Shape& expected) {
    if (got == expected) return;
    fail(op,
         std::string(name) + " has shape " + to_string(got) + " instead of " + to_string(expected));
  };
  check("transitions", crf.transitions.shape(), {tags, tags});
  check("start", crf.start.shape(), {tags});
  check("end", crf.end.shape(), {tags});
  Chain<T> c{transpose(crf.transitions), crf.start, crf.end, shape[1], shape[0], tags, {}, false};
  if (crf.allowed) {
    check("allowed.transitions", crf.allowed->transitions.shape(), {tags, tags});
    check("allowed.start", crf.allowed->start.shape(), {tags});
    check("allowed.end", crf.allowed->end.shape(), {tags});
    c.to_from = where(transpose(crf.allowed->transitions), c.to_from, log_zero<T>);
    c.start = where(crf.allowed->start, c.start, log_zero<T>);
    c.end = where(crf.allowed->end, c.end, log_zero<T>);
  }
  c.to_from = maximum(c.to_from, log_zero<T>);
  c.start = maximum(c.start, log_zero<T>);
  c.end = maximum(c.end, log_zero<T>);
  if (lengths) {
    detail::check_lengths(op, *lengths, c.batch, 1, c.steps);
    c.lengths = *lengths;
  } else {
    c.lengths = Indices(std::vector<std::int64_t>(static_cast<std::size_t>(c.batch), c.steps));
  }
  for (const std::int64_t n : c.lengths.values()) c.ragged = c.ragged || n < c.steps;
  return c;
}

template <class T>
Var<T> minus_infinity_where_impossible(const Var<T>& log_value, const Var<T>& result) {
  return where(detail::is_impossible(log_value), -std::numeric_limits<T>::infinity(), result);
}

// log Z by the forward recursion, [B].
template <class T>
Var<T> forward(const Chain<T>& c, const Var<T>& emissions) {
  const std::vector<Var<T>> e = unbind(emissions);
  const std::vector<Var<T>> running = detail::running_masks<T>(c.lengths, c.steps);
  Var<T> alpha = c.start + e[0];  // [B, K]
  for (std::size_t t = 1; t < e.size(); ++t) {
    const Var<T> next = logsumexp(expand(alpha, 1) + c.to_from, -1) + e[t];
    alpha = running[t].empty() ? next : where(running[t], next, alpha);
  }
  return logsumexp(alpha + c.end, -1);
}

// The tags' places in the parameters, 0 behind a sequence's end.
struct Places {
  Indices emission;     // [T, B, 1]
  Indices transition;   // [T - 1, B], into the flat to_from
  Indices first, last;  // [B]
};

template <class T>
Places places(const char* op, const Chain<T>& c, const Indices& tags) {
  if (!(tags.shape() == Shape{c.steps, c.batch})) {
    fail(op, "tags have shape " + to_string(tags.shape()) + "; emissions of " +
                 std::to_string(c.steps) + " steps and a batch of " + std::to_string(c.batch) +
                 " need " + to_string(Shape{c.steps, c.batch}));
  }
  const std::size_t batch = static_cast<std::size_t>(c.batch);
  std::vector<std::int64_t> clean(static_cast<std::size_t>(tags.size())),
      moves(clean.size() - batch);
  std::vector<std::int64_t> last(batch);
  for (std::size_t i = 0; i < clean.size(); ++i) {
    const Size step = static_cast<Size>(i / batch), sequence = static_cast<Size>(i % batch);
    if (step >= c.lengths(sequence)) continue;
    const std::int64_t tag = tags(static_cast<Size>(i));
    if (tag < 0 || tag >= c.tags) {
      fail(op, "tag " + std::to_string(tag) + " at step " + std::to_string(step) + " of sequence " +
                   std::to_string(sequence) + " is out of range for " + std::to_string(c.tags) +
                   " tags (0 to " + std::to_string(c.tags - 1) + ")");
    }
    clean[i] = last[i % batch] = tag;
    if (step > 0) moves[i - batch] = tag * c.tags + clean[i - batch];
  }
  return {Indices({c.steps, c.batch, 1}, clean), Indices({c.steps - 1, c.batch}, moves),
          Indices({c.batch}, std::span(clean).first(batch)), Indices(last)};
}

template <class T>
Var<T> path_score(const Chain<T>& c, const Var<T>& emissions, const Places& at) {
  Var<T> emitted = squeeze(gather(emissions, at.emission, -1), -1);  // [T, B]
  Var<T> moved = take(reshape(c.to_from, {-1}), at.transition);      // [T - 1, B]
  if (c.ragged) {
    const Var<T> mask = transpose(length_mask<T>(c.lengths, c.steps));
    emitted = emitted * mask;
    moved = moved * slice(mask, 0, {.start = 1});
  }
  return sum(emitted, 0) + sum(moved, 0) + take(c.start, at.first) + take(c.end, at.last);
}

template <class T>
Var<T> floored(const Chain<T>& c, const Var<T>& emissions) {
  return maximum(detail::without_padding(emissions, c.lengths), log_zero<T>);
}

template <class T>
TagConstraints<T> constraints(const char* op, const std::vector<std::string>& names, bool bioes) {
  const std::string letters = bioes ? "BIES" : "BI";
  for (const std::string& name : names) {
    const bool typed =
        name.size() >= 2 && name[1] == '-' && letters.find(name[0]) != std::string::npos;
    if (name != "O" && !typed) {
      fail(op, "\"" + name + "\" is no tag of this scheme: \"O\", or one of " + letters +
                   " followed by \"-\" and a type");
    }
  }
  const auto opens = [&](const std::string& tag) {  // must be continued
    return bioes && (tag[0] == 'B' || tag[0] == 'I');
  };
  const auto inside = [](const std::string& tag) { return tag[0] == 'I' || tag[0] == 'E'; };
  const auto continues = [&](const std::string& a, const std::string& b) {
    return inside(b) && (a[0] == 'B' || a[0] == 'I') && a.substr(1) == b.substr(1);
  };
  std::vector<T> transitions, start, end;
  for (const std::string& a : names) {
    start.push_back(!inside(a));
    end.push_back(!opens(a));
    for (const std::string& b : names) {
      transitions.push_back(continues(a, b) || (!inside(b) && !opens(a)));
    }
  }
  const Size n = static_cast<Size>(names.size());
  return {Var<T>({n, n}, transitions), Var<T>({n}, start), Var<T>({n}, end)};
}

// The best of scores[i] + row[i], and where it is.
template <class T>
std::pair<T, Size> best_sum(const T* scores, const T* row, Size n) {
  std::pair<T, Size> best{scores[0] + row[0], 0};
  for (Size i = 1; i < n; ++i) {
    const T x = scores[i] + row[i];
    if (x > best.first) best = {x, i};
  }
  return best;
}

}  // namespace

template <FloatOrDouble T>
TagConstraints<T> iob2_constraints(const std::vector<std::string>& names) {
  return constraints<T>("iob2_constraints", names, false);
}
template <FloatOrDouble T>
TagConstraints<T> bioes_constraints(const std::vector<std::string>& names) {
  return constraints<T>("bioes_constraints", names, true);
}

template <FloatOrDouble T>
Var<T> Crf<T>::score(const Var<T>& emissions, const Indices& tags, const Lengths& lengths) const {
  const Chain<T> c = chain("Crf::score", *this, emissions, lengths);
  const Var<T> s = path_score(c, floored(c, emissions), places("Crf::score", c, tags));
  return minus_infinity_where_impossible(s, s);
}

template <FloatOrDouble T>
Var<T> Crf<T>::log_partition(const Var<T>& emissions, const Lengths& lengths) const {
  const Chain<T> c = chain("Crf::log_partition", *this, emissions, lengths);
  const Var<T> z = forward(c, floored(c, emissions));
  return minus_infinity_where_impossible(z, z);
}

template <FloatOrDouble T>
Var<T> Crf<T>::log_likelihood(const Var<T>& emissions, const Indices& tags,
                              const Lengths& lengths) const {
  const Chain<T> c = chain("Crf::log_likelihood", *this, emissions, lengths);
  const Places at = places("Crf::log_likelihood", c, tags);
  const Var<T> e = floored(c, emissions), s = path_score(c, e, at);
  return minus_infinity_where_impossible(s, s - forward(c, e));
}

template <FloatOrDouble T>
Var<T> Crf<T>::marginals(const Var<T>& emissions, const Lengths& lengths) const {
  return grad([&](const Var<T>& e) { return sum(log_partition(e, lengths)); })(emissions);
}

template <FloatOrDouble T>
TagPaths<T> Crf<T>::decode(const Var<T>& emissions, const Lengths& lengths) const {
  const Chain<T> c = chain("Crf::decode", *this, emissions, lengths);
  const std::vector<T> e = detail::comparable_values("Crf::decode", floored(c, emissions));
  const std::vector<T> to_from = c.to_from.to_vector();
  const std::vector<T> start = c.start.to_vector(), end = c.end.to_vector();
  const std::size_t tag_count = static_cast<std::size_t>(c.tags);
  std::vector<std::int64_t> tags(static_cast<std::size_t>(c.steps * c.batch), no_tag);
  std::vector<T> scores(static_cast<std::size_t>(c.batch)), now(tag_count), next(tag_count);
  std::vector<Size> from(static_cast<std::size_t>(c.steps) * tag_count);
  for (Size b = 0; b < c.batch; ++b) {
    const Size length = c.lengths(b);
    for (Size t = 0; t < length; ++t) {
      const T* emitted = e.data() + (t * c.batch + b) * c.tags;
      for (Size k = 0; k < c.tags; ++k) {
        const std::size_t at = static_cast<std::size_t>(k);
        std::pair<T, Size> best{start[at], 0};
        if (t > 0) best = best_sum(now.data(), to_from.data() + k * c.tags, c.tags);
        next[at] = best.first + emitted[k];
        from[static_cast<std::size_t>(t * c.tags + k)] = best.second;
      }
      std::swap(now, next);
    }
    auto [score, tag] = best_sum(now.data(), end.data(), c.tags);
    const bool possible = score > log_zero<T> / 2;
    scores[static_cast<std::size_t>(b)] = possible ? score : -std::numeric_limits<T>::infinity();
    for (Size t = length; possible && t-- > 0;) {
      tags[static_cast<std::size_t>(t * c.batch + b)] = tag;
      tag = from[static_cast<std::size_t>(t * c.tags + tag)];
    }
  }
  return {Indices({c.steps, c.batch}, tags), Var<T>({c.batch}, scores)};
}

template struct Crf<float>;
template struct Crf<double>;
template TagConstraints<float> iob2_constraints(const std::vector<std::string>&);
template TagConstraints<double> iob2_constraints(const std::vector<std::string>&);
template TagConstraints<float> bioes_constraints(const std::vector<std::string>&);
template TagConstraints<double> bioes_constraints(const std::vector<std::string>&);

}  // namespace unroll
