#include "unroll/nn/losses.hpp"

#include "unroll/autograd/kernels/softmax.hpp"
#include "unroll/autograd/transforms.hpp"

namespace unroll {
namespace {

using detail::contiguous;
using detail::Handle;
using detail::Ref;

// f(row number, row of logits) for each row of x [..., classes].
template <class T, class F>
void for_each_row(const Var<T>& x, F&& f) {
  const Ref b = contiguous(x.handle().block());
  const Size n = b->sizes()[b->rank - 1u], rows = n > 0 ? b->size() / n : 0;
  for (Size i = 0; i < rows; ++i) f(i, b->template data<T>() + i * n, n);
}

// g · (softmax(x) - one_hot(labels)), g [..., 1]: the derivative of CrossEntropy.
struct CrossEntropyPullback {
  static constexpr auto name = "cross_entropy_pullback";
  Indices labels;  // [..., 1]
  template <class T>
  Var<T> f(const Var<T>& g, const Var<T>& x) const {
    const Ref scale = contiguous(g.handle().block());
    Ref out = detail::new_block<T>(x.shape());
    for_each_row(x, [&](Size i, const T* row, Size n) {
      const T s = scale->template data<T>()[i];
      T* y = out->template data<T>() + i * n;
      detail::softmax_row(row, y, n, s);
      y[labels(i)] -= s;
    });
    return Var<T>(Handle(std::move(out)));
  }
  template <class T>
  Var<T> vjp(wrt<0>, const Var<T>& c, const Var<T>&, const Var<T>&, const Var<T>& x) const {
    return sum(c * softmax(x), -1, KeepDims::yes) - gather(c, labels, -1);
  }
  template <class T>
  Var<T> vjp(wrt<1>, const Var<T>& c, const Var<T>&, const Var<T>& g, const Var<T>& x) const {
    const Var<T> p = softmax(x);
    return g * p * (c - sum(c * p, -1, KeepDims::yes));
  }
};

// logsumexp(x) - x[label] for each row. A rule of its own because log_softmax, gather and their adjoints
// each pass over all classes, most of them into an array of their own. Where it is recorded it keeps the
// softmax, so that the sweep computes no exponentials again.
struct CrossEntropy {
  static constexpr auto name = "cross_entropy";
  Indices labels;  // [..., 1]
  Ref softmax;     // of x's shape, filled by f; empty where nothing is recorded
  template <class T>
  Var<T> f(const Var<T>& x) const {
    Ref out = detail::new_block<T>(labels.shape());
    for_each_row(x, [&](Size i, const T* row, Size n) {
      T* p = softmax ? softmax->data<T>() + i * n : nullptr;
      out->template data<T>()[i] = detail::row_logsumexp(row, n, p) - row[labels(i)];
    });
    return Var<T>(Handle(std::move(out)));
  }
  template <class T>
  Var<T> vjp(wrt<0>, const Var<T>& g, const Var<T>&, const Var<T>& x) const {
    if (!softmax || g.is_tracked() || x.is_tracked()) {
      return apply(CrossEntropyPullback{labels}, g, x);
    }
    const Ref scale = contiguous(g.handle().block());
    Ref out = detail::new_block<T>(x.shape());
    for_each_row(Var<T>(Handle::borrow(softmax.get())), [&](Size i, const T* row, Size n) {
      const T s = scale->template data<T>()[i];
      T* y = out->template data<T>() + i * n;
      for (Size k = 0; k < n; ++k) y[k] = s * row[k];
      y[labels(i)] -= s;
    });
    return Var<T>(Handle(std::move(out)));
  }
};

template <class T>
void check_shapes(const char* loss, const Var<T>& predictions, const Var<T>& targets) {
  if (!(predictions.shape() == targets.shape())) {
    fail(loss, "predictions and targets differ in shape: " + to_string(predictions.shape()) +
                   " and " + to_string(targets.shape()));
  }
}

template <class T>
void check_classes(const char* loss, const Var<T>& x) {
  if (x.rank() == 0)
    fail(loss, "a single number has no axis of classes; shapes are [..., classes]");
}

}  // namespace

template <Real T>
Var<T> squared_error(const Var<T>& predictions, const Var<T>& targets) {
  check_shapes("squared_error", predictions, targets);
  check_classes("squared_error", predictions);
  return mean(sum(square(predictions - targets), -1));
}

template <Real T>
Var<T> mse(const Var<T>& predictions, const Var<T>& targets) {
  check_shapes("mse", predictions, targets);
  return mean(square(predictions - targets));
}

template <Real T>
Var<T> cross_entropy(const Var<T>& logits, const Indices& labels) {
  check_classes("cross_entropy", logits);
  Shape leading = logits.shape();
  leading.erase(leading.rank() - 1);
  if (!(labels.shape() == leading)) {
    fail("cross_entropy", "logits " + to_string(logits.shape()) + " need labels of shape " +
                              to_string(leading) + ", not " + to_string(labels.shape()));
  }
  Shape column = leading;
  column.push_back(1);
  const Size classes = logits.size(-1);
  for (const std::int64_t label : labels.values()) {
    if (label < 0 || label >= classes) [[unlikely]] {
      fail("cross_entropy", "label " + std::to_string(label) + " is out of range for " +
                                std::to_string(classes) + " classes (0 to " +
                                std::to_string(classes - 1) + ")");
    }
  }
  Ref softmax = logits.is_tracked() ? detail::new_block<T>(logits.shape()) : Ref();
  return mean(apply(CrossEntropy{labels.reshaped(column), std::move(softmax)}, logits));
}

template <Real T>
Var<T> cross_entropy(const Var<T>& logits, const Var<T>& probabilities) {
  check_shapes("cross_entropy", logits, probabilities);
  check_classes("cross_entropy", logits);
  return -mean(sum(probabilities * log_softmax(logits), -1));
}

template <Real T>
Var<T> binary_cross_entropy_with_logits(const Var<T>& logits, const Var<T>& targets) {
  check_shapes("binary_cross_entropy_with_logits", logits, targets);
  return mean(softplus(logits) - targets * logits);
}

template Var<float> squared_error(const Var<float>&, const Var<float>&);
template Var<double> squared_error(const Var<double>&, const Var<double>&);
template Var<float> mse(const Var<float>&, const Var<float>&);
template Var<double> mse(const Var<double>&, const Var<double>&);
template Var<float> cross_entropy(const Var<float>&, const Indices&);
template Var<double> cross_entropy(const Var<double>&, const Indices&);
template Var<float> cross_entropy(const Var<float>&, const Var<float>&);
template Var<double> cross_entropy(const Var<double>&, const Var<double>&);
template Var<float> binary_cross_entropy_with_logits(const Var<float>&, const Var<float>&);
template Var<double> binary_cross_entropy_with_logits(const Var<double>&, const Var<double>&);

}  // namespace unroll
