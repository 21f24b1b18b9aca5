#include "unroll/nn/clipping.hpp"

namespace unroll::detail {

// A fixed number of partial sums: neither speed nor result depends on the width of a register.
template <Real T>
double sum_of_squares(const Var<T>& x) {
  constexpr Size partial_sums = 8;
  const Ref values = contiguous(x.handle().block());
  const T* p = values->data<T>();
  const Size n = values->size();
  double parts[partial_sums] = {};
  Size i = 0;
  for (; i + partial_sums <= n; i += partial_sums) {
    for (Size j = 0; j < partial_sums; ++j) {
      const double e = static_cast<double>(p[i + j]);
      parts[j] += e * e;
    }
  }
  double total = 0;
  for (; i < n; ++i) total += static_cast<double>(p[i]) * static_cast<double>(p[i]);
  for (double part : parts) total += part;
  return total;
}

template double sum_of_squares(const Var<float>&);
template double sum_of_squares(const Var<double>&);

}  // namespace unroll::detail
