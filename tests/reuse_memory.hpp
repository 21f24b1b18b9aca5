// For tests of what outlives a tape.
#pragma once

#include "unroll/autograd/autograd.hpp"

namespace unroll::testing {

// Other tapes write over whatever memory was given back.
inline void reuse_memory() {
  for (const Size n : {3, 24}) {
    for (int i = 0; i < 20; ++i) {
      (void)grad([](const Var<double>& x) {
        Var<double> y = x;
        for (int k = 0; k < 200; ++k) y = sin(y) * 1.5 + 7;
        return sum(y);
      })(full<double>({1, n}, 5));
    }
  }
}

}  // namespace unroll::testing
