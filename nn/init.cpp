#include "unroll/nn/init.hpp"

#include <cmath>

namespace unroll {
namespace {

constexpr Size partial_sums = 8;

// A fixed number of partial sums, so that the sum does not depend on the width of a register.
double dot_product(const double* a, const double* b, Size n) {
  double parts[partial_sums] = {};
  Size i = 0;
  for (; i + partial_sums <= n; i += partial_sums) {
    for (Size j = 0; j < partial_sums; ++j) parts[j] += a[i + j] * b[i + j];
  }
  double total = 0;
  for (double p : parts) total += p;
  for (; i < n; ++i) total += a[i] * b[i];
  return total;
}

// Makes `count` rows of length n orthonormal. Two rounds against all rows before: once is not
// enough near dependence, twice is (Giraud, Langou & Rozloznik, 2005). The lengths stay positive,
// so Q is uniformly distributed.
void orthonormalize(double* rows, Size count, Size n) {
  for (Size r = 0; r < count; ++r) {
    double* row = rows + r * n;
    for (int round = 0; round < 2; ++round) {
      for (Size k = 0; k < r; ++k) {
        const double* other = rows + k * n;
        const double along = dot_product(row, other, n);
        for (Size i = 0; i < n; ++i) row[i] -= along * other[i];
      }
    }
    const double scale = 1 / std::sqrt(dot_product(row, row, n));
    for (Size i = 0; i < n; ++i) row[i] *= scale;
  }
}

template <class T>
Var<T> symmetric_uniform(const Key& key, const Shape& shape, double limit) {
  return uniform<T>(key, shape, -limit, limit);
}

}  // namespace

Fans fans(const Shape& shape) {
  if (shape.rank() < 2) {
    fail("init",
         "the shape " + to_string(shape) + " is not that of a weight: [out, in] is expected");
  }
  if (shape.size() == 0) return {1, 1};
  return {shape.size() / shape[0], shape[0] * (shape.size() / (shape[0] * shape[1]))};
}

template <FloatOrDouble T>
Var<T> glorot_uniform(const Key& key, const Shape& shape, double gain) {
  const Fans f = fans(shape);
  return symmetric_uniform<T>(key, shape,
                              gain * std::sqrt(6.0 / static_cast<double>(f.in + f.out)));
}
template <FloatOrDouble T>
Var<T> glorot_normal(const Key& key, const Shape& shape, double gain) {
  const Fans f = fans(shape);
  return normal<T>(key, shape, 0, gain * std::sqrt(2.0 / static_cast<double>(f.in + f.out)));
}
template <FloatOrDouble T>
Var<T> he_uniform(const Key& key, const Shape& shape, double gain) {
  return symmetric_uniform<T>(key, shape,
                              gain * std::sqrt(3.0 / static_cast<double>(fans(shape).in)));
}
template <FloatOrDouble T>
Var<T> he_normal(const Key& key, const Shape& shape, double gain) {
  return normal<T>(key, shape, 0, gain / std::sqrt(static_cast<double>(fans(shape).in)));
}
template <FloatOrDouble T>
Var<T> pytorch_uniform(const Key& key, const Shape& shape, Size fan) {
  if (fan < 1) fail("pytorch_uniform", "the fan " + std::to_string(fan) + " is not positive");
  return symmetric_uniform<T>(key, shape, 1 / std::sqrt(static_cast<double>(fan)));
}

template <FloatOrDouble T>
Var<T> orthogonal(const Key& key, const Shape& shape, double gain) {
  (void)fans(shape);  // checks the shape
  if (shape.size() == 0) return zeros<T>(shape);
  const Size out = shape[0], in = shape.size() / out;
  const bool wide = out <= in;
  const Size count = wide ? out : in, n = wide ? in : out;
  std::vector<double> rows = normal<double>(key, {count, n}).to_vector();
  orthonormalize(rows.data(), count, n);
  std::vector<T> values(rows.size());
  for (Size r = 0; r < count; ++r) {
    for (Size i = 0; i < n; ++i) {
      values[static_cast<std::size_t>(wide ? r * n + i : i * count + r)] =
          static_cast<T>(gain * rows[static_cast<std::size_t>(r * n + i)]);
    }
  }
  return Var<T>(shape, values);
}

template Var<float> glorot_uniform(const Key&, const Shape&, double);
template Var<double> glorot_uniform(const Key&, const Shape&, double);
template Var<float> glorot_normal(const Key&, const Shape&, double);
template Var<double> glorot_normal(const Key&, const Shape&, double);
template Var<float> he_uniform(const Key&, const Shape&, double);
template Var<double> he_uniform(const Key&, const Shape&, double);
template Var<float> he_normal(const Key&, const Shape&, double);
template Var<double> he_normal(const Key&, const Shape&, double);
template Var<float> pytorch_uniform(const Key&, const Shape&, Size);
template Var<double> pytorch_uniform(const Key&, const Shape&, Size);
template Var<float> orthogonal(const Key&, const Shape&, double);
template Var<double> orthogonal(const Key&, const Shape&, double);

}  // namespace unroll
