#include "unroll/nn/weight_average.hpp"

#include "unroll/autograd/elementwise.hpp"

namespace unroll::detail {

double average_decay(const WeightAverageOptions& o, double count) {
  if (!(o.decay >= 0 && o.decay <= 1)) fail("WeightAverage", "decay must be in [0, 1]");
  return o.warmup == AverageWarmup::yes ? std::min(o.decay, (1 + count) / (10 + count)) : o.decay;
}

template <FloatOrDouble T>
void update_average(Var<T>& average, const Var<T>& p, double decay) {
  average =
      fuse_values([decay](auto a, auto p0) { return decay * a + (1 - decay) * p0; }, average, p);
}

void fail_average(const Shape& average, const Shape& p) {
  fail("WeightAverage", "a parameter has shape " + to_string(p) + ", its average " +
                            to_string(average) + "; was the average made for this model?");
}

template void update_average(Var<float>&, const Var<float>&, double);
template void update_average(Var<double>&, const Var<double>&, double);

}  // namespace unroll::detail
