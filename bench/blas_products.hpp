// The matrix products of one training step, in cblas: what the products of the step by hand are compared with.
#pragma once

#include <cblas.h>

#include "unroll/autograd/shape.hpp"
#include "unroll/bench/measure.hpp"
#include "unroll/bench/problem.hpp"

namespace unroll::bench {

// Work of the products of one step.
inline double flops(const Case& c, double gates) {
  const double rows = static_cast<double>(c.B * c.T), h = static_cast<double>(c.H);
  return 2 * rows * h * (5 * gates * h + 3 * static_cast<double>(classes)) -
         2 * static_cast<double>(c.B) * h * 3 * gates * h;
}

// c = op(a) op(b) + beta c; one row by gemv, which OpenBLAS has the faster code for.
template <class T>
void blas(bool ta, bool tb, Size m, Size n, Size k, const T* a, const T* b, T* c, T beta) {
  constexpr bool single = std::is_same_v<T, float>;
  const auto i = [](Size x) { return static_cast<blasint>(x); };
  const auto f = [](bool t) { return t ? CblasTrans : CblasNoTrans; };
  const Size lda = ta ? m : k, ldb = tb ? k : n;
  if (m == 1 && !ta) {
    const auto gemv = [] {
      if constexpr (single)
        return cblas_sgemv;
      else
        return cblas_dgemv;
    }();
    gemv(CblasRowMajor, f(!tb), i(tb ? n : k), i(ldb), 1, b, i(ldb), a, 1, beta, c, 1);
    return;
  }
  const auto gemm = [] {
    if constexpr (single)
      return cblas_sgemm;
    else
      return cblas_dgemm;
  }();
  gemm(CblasRowMajor, f(ta), f(tb), i(m), i(n), i(k), 1, a, i(lda), b, i(ldb), beta, c, i(n));
}

// Seconds that cblas takes for the same products.
template <class T>
double blas_seconds(const Case& c, Size gates) {
  const Size G = gates * c.H, rows = c.B * c.T;
  const auto buffer = [](Size n) { return std::vector<T>(static_cast<std::size_t>(n), T(0.01)); };
  const auto xs = buffer(rows * c.H), w = buffer(G * c.H), v = buffer(classes * c.H);
  auto z = buffer(rows * G), h = buffer(rows * c.H), dw = buffer(G * c.H),
       y = buffer(rows * classes);
  return time_per_call(
      [&] {
        blas<T>(false, true, rows, G, c.H, xs.data(), w.data(), z.data(), 0);
        for (Size t = 1; t < c.T; ++t) {
          blas<T>(false, false, c.B, G, c.H, h.data() + (t - 1) * c.B * c.H, w.data(),
                  z.data() + t * c.B * G, 0);
        }
        blas<T>(false, true, rows, classes, c.H, h.data(), v.data(), y.data(), 0);
        blas<T>(true, false, classes, c.H, rows, y.data(), h.data(), dw.data(), 0);
        blas<T>(false, false, rows, c.H, classes, y.data(), v.data(), h.data(), 0);
        for (Size t = c.T; --t > 0;) {
          blas<T>(false, false, c.B, c.H, G, z.data() + t * c.B * G, w.data(),
                  h.data() + t * c.B * c.H, 0);
        }
        blas<T>(true, false, G, c.H, rows, z.data(), xs.data(), dw.data(), 0);
        if (c.T > 1) blas<T>(true, false, G, c.H, rows - c.B, z.data(), h.data(), dw.data(), 0);
      },
      3, 1e-2);
}

}  // namespace unroll::bench
