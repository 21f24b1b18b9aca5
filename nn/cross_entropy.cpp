// The losses of labels: cross_entropy, nll, multi_margin.
#include <algorithm>

#include "unroll/autograd/elementwise.hpp"
#include "unroll/autograd/kernels/softmax.hpp"
#include "unroll/autograd/transforms.hpp"
#include "unroll/nn/loss_reduction.hpp"

namespace unroll {
namespace {

using detail::contiguous;
using detail::Handle;
using detail::Ref;

constexpr std::int64_t no_label = -1;  // of a row that does not count

struct Labels {
  Indices labels;  // some may be no_label
  bool all;        // none is

  // With a label that can be looked up where there is none.
  [[nodiscard]] Indices usable() const {
    if (all) return labels;
    std::vector<std::int64_t> out(labels.values().begin(), labels.values().end());
    for (std::int64_t& label : out) label = label == no_label ? 0 : label;
    return Indices(labels.shape(), out);
  }
  // 1, and 0 where there is no label; empty when all have one.
  template <class T>
  [[nodiscard]] Var<T> counted() const {
    if (all) return {};
    std::vector<T> out;
    out.reserve(labels.values().size());
    for (const std::int64_t label : labels.values()) out.push_back(label == no_label ? 0 : 1);
    return Var<T>(labels.shape(), out);
  }
  template <class T>
  [[nodiscard]] Var<T> keep_counted(const Var<T>& x) const {
    return all ? x : where(counted<T>(), x, 0);
  }
  [[nodiscard]] Labels column() const {
    Shape shape = labels.shape();
    shape.push_back(1);
    return {labels.reshaped(shape), all};
  }
};

// g · (softmax(x) - one_hot(labels)), g [..., 1], 0 without a label, in the shape of x [..., K]. `scaled_softmax(row number, g, y)`
// writes the first term of a row to y.
template <class T, class F>
Var<T> pull_back(const Indices& labels, const Var<T>& g, const Shape& shape, F&& scaled_softmax) {
  const Ref scale = contiguous(g.handle().block());
  Ref out = detail::new_block<T>(shape);
  const Size n = shape.back(), rows = scale->size();
  for (Size i = 0; i < rows; ++i) {
    const T s = scale->template data<T>()[i];
    T* y = out->template data<T>() + i * n;
    if (labels(i) == no_label) {
      std::fill_n(y, n, T(0));
    } else {
      scaled_softmax(i, s, y);
      y[labels(i)] -= s;
    }
  }
  return Var<T>(Handle(std::move(out)));
}

// The derivative of CrossEntropy where it is to be differentiated again.
struct CrossEntropyPullback {
  static constexpr auto name = "cross_entropy_pullback";
  Labels rows;  // [..., 1]
  template <class T>
  Var<T> f(const Var<T>& g, const Var<T>& x) const {
    const Ref b = contiguous(x.handle().block());
    const Size n = x.size(-1);
    return pull_back(rows.labels, g, x.shape(), [&](Size i, T s, T* y) {
      detail::softmax_row(b->template data<T>() + i * n, y, n, s);
    });
  }
  template <class T>
  Var<T> vjp(wrt<0>, const Var<T>& c, const Var<T>&, const Var<T>&, const Var<T>& x) const {
    return rows.keep_counted(sum(c * softmax(x), -1, KeepDims::yes) - gather(c, rows.usable(), -1));
  }
  template <class T>
  Var<T> vjp(wrt<1>, const Var<T>& c, const Var<T>&, const Var<T>& g, const Var<T>& x) const {
    const Var<T> p = softmax(x);
    return rows.keep_counted(g * p * (c - sum(c * p, -1, KeepDims::yes)));
  }
};

// logsumexp(x) - x[label] for each row, 0 without a label. A rule of its own because log_softmax, gather and
// their adjoints each pass over all classes, most of them into an array of their own.
template <class T>
struct CrossEntropy {
  static constexpr auto name = "cross_entropy";
  Labels rows;                  // [..., 1]
  detail::KeptSoftmax<T> kept;  // filled by f
  Var<T> f(const Var<T>& x) const {
    const Ref b = contiguous(x.handle().block());
    Ref out = detail::new_block<T>(rows.labels.shape());
    const Size n = b->sizes()[b->rank - 1u], count = out->size();
    const T* scores = b->template data<T>();
    T* y = out->template data<T>();
    kept.logsumexp(scores, count, n, y, [&](Size i) {
      return rows.labels(i) == no_label ? kept.no_row : rows.labels(i);
    });
    return Var<T>(Handle(std::move(out)));
  }
  Var<T> vjp(wrt<0>, const Var<T>& g, const Var<T>&, const Var<T>& x) const {
    if (!kept || g.is_tracked() || x.is_tracked()) return apply(CrossEntropyPullback{rows}, g, x);
    const Size n = x.size(-1);
    return pull_back(rows.labels, g, x.shape(),
                     [&](Size i, T s, T* y) { kept.pull_back(i, s, y, n); });
  }
};

// Checks labels [...] against scores [..., K]; those that do not count become no_label: the ignored
// ones, and rows whose weight is the constant 0.
template <class T, class Options>
Labels read_labels(const char* loss, const Var<T>& scores, const Indices& labels,
                   const Options& options) {
  detail::check_classes(loss, scores);
  Shape leading = scores.shape();
  leading.erase(leading.rank() - 1);
  if (!(labels.shape() == leading)) {
    fail(loss, "logits " + to_string(scores.shape()) + " need labels of shape " +
                   to_string(leading) + ", not " + to_string(labels.shape()));
  }
  const Size classes = scores.size(-1);
  Size ignored = 0;
  for (const std::int64_t label : labels.values()) {
    if (options.ignored && label == *options.ignored) {
      ++ignored;
    } else if (label < 0 || label >= classes) {
      fail(loss, "label " + std::to_string(label) + " is out of range for " +
                     std::to_string(classes) + " classes (0 to " + std::to_string(classes - 1) +
                     ")");
    }
  }
  const Var<T>& w = options.weights;
  const bool mask = !w.empty() && !w.is_tracked() && w.shape() == leading;
  if (ignored == 0 && !mask) return {labels, true};
  std::vector<std::int64_t> out(labels.values().begin(), labels.values().end());
  if (ignored > 0) std::replace(out.begin(), out.end(), *options.ignored, no_label);
  if (mask) {
    const std::vector<T> weights = w.to_vector();
    for (std::size_t i = 0; i < out.size(); ++i) {
      if (weights[i] == 0) out[i] = no_label;
    }
  }
  const bool all = std::find(out.begin(), out.end(), no_label) == out.end();
  return {Indices(leading, out), all};
}

// The product of two arrays of which an empty one is 1.
template <class T>
Var<T> times(const Var<T>& a, const Var<T>& b) {
  if (a.empty()) return b;
  return b.empty() ? a : a * b;
}

template <class T>
void check_class_weights(const char* loss, const Var<T>& class_weights, Size classes) {
  if (!class_weights.empty() && !(class_weights.shape() == Shape{classes})) {
    fail(loss, "class weights " + to_string(class_weights.shape()) + " for " +
                   std::to_string(classes) + " classes: they must be [" + std::to_string(classes) +
                   "]");
  }
}
template <class T>
void check_smoothing(const char* loss, const CrossEntropyOptions<T>& options) {
  if (!(options.label_smoothing >= 0 && options.label_smoothing <= 1)) {
    fail(loss, "label smoothing must be in [0, 1]");
  }
}

// weights · logarithms with 0 · log 0 = 0.
template <class T>
Var<T> weighted_logarithms(const Var<T>& weights, const Var<T>& logarithms) {
  return fuse([](auto w, auto l) { return detail::times_log(w, l); }, weights, logarithms);
}

// From the losses of rows, which have the class weights in them and are 0 without a label, to the loss.
template <class T>
Var<T> weigh_and_reduce(const char* loss, const Var<T>& values, const Labels& rows,
                        const CrossEntropyOptions<T>& options) {
  const Var<T>& weights = options.weights;
  Var<T> label_weights;
  if (!options.class_weights.empty()) label_weights = take(options.class_weights, rows.usable());
  // What a row counts in the mean is w · c[label]; the values have the latter in them already.
  const Var<T> counts = times(rows.counted<T>(), label_weights);
  if (counts.empty() || options.reduction != Reduction::mean) {
    return detail::reduce(loss, values, weights, options.reduction);
  }
  if (weights.empty()) return detail::weighted_mean(values, sum(counts));
  const Var<T> w = detail::aligned_weights(loss, weights, values.shape());
  return detail::weighted_mean(values * w, sum(counts * w));
}

template <class T>
Var<T> loss_of_labels(const char* loss, const Var<T>& log_probabilities, const Labels& rows,
                      const CrossEntropyOptions<T>& options) {
  check_smoothing(loss, options);
  const double s = options.label_smoothing;
  const Var<T>& c = options.class_weights;
  Var<T> own = squeeze(gather(log_probabilities, rows.column().usable(), -1), -1);
  if (!c.empty()) own = weighted_logarithms(take(c, rows.usable()), own);
  if (s > 0) {
    const Var<T> all =
        sum(c.empty() ? log_probabilities : weighted_logarithms(c, log_probabilities), -1);
    // With nothing left of the label's own part its logarithm may be infinite.
    const Var<T> smooth = all * (s / static_cast<double>(log_probabilities.size(-1)));
    own = s < 1 ? own * (1 - s) + smooth : smooth;
  }
  return weigh_and_reduce(loss, rows.keep_counted(-own), rows, options);
}

}  // namespace

template <FloatOrDouble T>
Var<T> cross_entropy(const Var<T>& logits, const Indices& labels,
                     const CrossEntropyOptions<T>& options) {
  constexpr auto loss = "cross_entropy";
  const Labels rows = read_labels(loss, logits, labels, options);
  check_class_weights(loss, options.class_weights, logits.size(-1));
  if (options.label_smoothing != 0) {  // all classes take part
    return loss_of_labels(loss, log_softmax(rows.column().keep_counted(logits)), rows, options);
  }
  Var<T> own =
      apply(CrossEntropy<T>{rows.column(), detail::KeptSoftmax<T>(logits)}, logits);  // [..., 1]
  // The plain case keeps its axis of one: a reshape is a node.
  if (rows.all && options.class_weights.empty() && options.weights.empty() &&
      options.reduction == Reduction::mean) {
    return mean(own);
  }
  own = squeeze(own, -1);
  if (!options.class_weights.empty()) {
    own = weighted_logarithms(take(options.class_weights, rows.usable()), own);
  }
  return weigh_and_reduce(loss, own, rows, options);
}

template <FloatOrDouble T>
Var<T> nll(const Var<T>& log_probabilities, const Indices& labels,
           const CrossEntropyOptions<T>& options) {
  const Labels rows = read_labels("nll", log_probabilities, labels, options);
  check_class_weights("nll", options.class_weights, log_probabilities.size(-1));
  return loss_of_labels("nll", log_probabilities, rows, options);
}

template <FloatOrDouble T>
Var<T> cross_entropy(const Var<T>& logits, const Var<T>& probabilities,
                     const CrossEntropyOptions<T>& options) {
  constexpr auto loss = "cross_entropy";
  const auto [z, t] = detail::counted(loss, logits, probabilities, options.weights);
  detail::check_classes(loss, logits);
  check_smoothing(loss, options);
  const Size classes = logits.size(-1);
  check_class_weights(loss, options.class_weights, classes);
  if (options.ignored) {
    fail(loss, "targets that are probabilities have no label to ignore; use weights");
  }
  Var<T> targets = t;
  if (const double s = options.label_smoothing; s > 0) {
    targets = targets * (1 - s) + s / static_cast<double>(classes);
  }
  if (!options.class_weights.empty()) targets = targets * options.class_weights;
  return detail::reduce(loss, -sum(weighted_logarithms(targets, log_softmax(z)), -1), options);
}

template <FloatOrDouble T>
Var<T> multi_margin(const Var<T>& scores, const Indices& labels,
                    const MultiMarginOptions<T>& options) {
  constexpr auto loss = "multi_margin";
  const Labels rows = read_labels(loss, scores, labels, options);
  const Size classes = scores.size(-1);
  const Indices column = rows.column().usable();
  const Var<T> others = 1 - one_hot<T>(rows.usable(), classes);
  const Var<T> z = rows.column().keep_counted(scores);
  Var<T> excess = others * relu(options.margin - gather(z, column, -1) + z);
  if (options.power == HingePower::two) excess = square(excess);
  const Var<T> losses = rows.keep_counted(sum(excess, -1) / static_cast<double>(classes));
  const CrossEntropyOptions<T> as_rows{.weights = options.weights, .reduction = options.reduction};
  return weigh_and_reduce(loss, losses, rows, as_rows);
}

template Var<float> cross_entropy(const Var<float>&, const Indices&,
                                  const CrossEntropyOptions<float>&);
template Var<float> cross_entropy(const Var<float>&, const Var<float>&,
                                  const CrossEntropyOptions<float>&);
template Var<float> nll(const Var<float>&, const Indices&, const CrossEntropyOptions<float>&);
template Var<float> multi_margin(const Var<float>&, const Indices&,
                                 const MultiMarginOptions<float>&);
template Var<double> cross_entropy(const Var<double>&, const Indices&,
                                   const CrossEntropyOptions<double>&);
template Var<double> cross_entropy(const Var<double>&, const Var<double>&,
                                   const CrossEntropyOptions<double>&);
template Var<double> nll(const Var<double>&, const Indices&, const CrossEntropyOptions<double>&);
template Var<double> multi_margin(const Var<double>&, const Indices&,
                                  const MultiMarginOptions<double>&);

}  // namespace unroll
