#include "unroll/nn/layer_norm.hpp"

#include "unroll/autograd/elementwise.hpp"

namespace unroll {

template <FloatOrDouble T>
Var<T> layer_norm(const Var<T>& x, const Var<T>& weight, const Var<T>& bias, double epsilon) {
  const Shape shape = x.shape(), row{shape.rank() > 0 ? shape.back() : 0};
  if (shape.rank() == 0 || row[0] == 0 || !(weight.shape() == row) || !(bias.shape() == row)) {
    fail("layer_norm", "the weight " + to_string(weight.shape()) + " and the bias " +
                           to_string(bias.shape()) + " do not fit the rows of " + to_string(shape));
  }
  Var<T> centred = centre(x, {-1}), e(epsilon);
  Var<T> variance = mean(square(centred), {-1}, KeepDims::yes);
  if (!detail::all_finite(variance)) {
    // Squares of numbers this large are infinite: each such row is divided by a power of two, and its ε with it.
    const Var<T> unit = maximum(detail::power_of_two_below(centred, {-1}), 1);
    centred = centred / unit;
    e = e / unit / unit;
    variance = mean(square(centred), {-1}, KeepDims::yes);
  }
  const Var<T> scale = 1 / sqrt(variance + e);
  return fuse([](auto c, auto s, auto w, auto b) { return c * s * w + b; }, centred, scale, weight,
              bias);
}

template Var<float> layer_norm(const Var<float>&, const Var<float>&, const Var<float>&, double);
template Var<double> layer_norm(const Var<double>&, const Var<double>&, const Var<double>&, double);

}  // namespace unroll
