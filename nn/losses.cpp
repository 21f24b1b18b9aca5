#include "unroll/nn/losses.hpp"

namespace unroll {
namespace {

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
  return -mean(gather(log_softmax(logits), labels.reshaped(column), -1));
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
