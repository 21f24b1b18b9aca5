#include "unroll/nn/clipping.hpp"

#include <cmath>
#include <limits>

namespace unroll::detail {

// A fixed number of partial sums: neither speed nor result depends on the width of a register.
template <FloatOrDouble T>
double length(const Var<T>& x) {
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
  if constexpr (std::is_same_v<T, double>) {  // a square of a float fits in a double
    if (total > std::numeric_limits<double>::max() || total < 1e-290) return norm(x).item();
  }
  return std::sqrt(total);
}

template double length(const Var<float>&);
template double length(const Var<double>&);

}  // namespace unroll::detail
