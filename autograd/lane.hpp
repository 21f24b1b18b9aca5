// Lanes: the type over which an elementwise rule runs when it runs over arrays.
//
//   Lane<float> x = Lane<float>::load(p);
//   Lane<float> y = where(x > 0, x, exp(x) - 1);
//   y.store(q);
//
// A lane wraps one SIMD register (xsimd). It has just the names that rules use, found by argument-dependent lookup and
// nowhere else, so `tanh(x)` in a rule can never become the scalar one of <cmath>.
//
// Invariants: each operation works on the elements independently, so an element's bits do not depend on where in the lane it
// stands. Each operation is rounded by itself, so they do not depend on the copy of a kernel either: a compiler that may join
// a product and a sum into one operation (g++ does by default) finds products that it cannot see through.
#pragma once

#include <concepts>
#include <cstddef>
#include <limits>
#include <type_traits>

#include "unroll/autograd/call.hpp"
#include "unroll/autograd/lane_math.hpp"
#include "unroll/autograd/simd.hpp"

namespace unroll {

// The instructions in use, as xsimd names them ("sse2", "fma3+avx2", "avx512bw", ...): by the library's kernels, of which
// the loader takes the copy that fits the processor, and by the caller's own code (`fuse`, elementwise ops), which is
// compiled with the caller's flags.
[[nodiscard]] const char* kernel_level();
[[nodiscard]] inline const char* caller_level() { return xsimd::default_arch::name(); }

template <class T, class Arch = xsimd::default_arch>
class Lane {
 public:
  using value_type = T;
  using Batch = xsimd::batch<T, Arch>;
  using BatchMask = typename Batch::batch_bool_type;
  static constexpr std::size_t width = Batch::size;

  // The result of comparing lanes: one truth value per element.
  struct Mask {
    BatchMask m;
    friend Mask operator&&(const Mask& a, const Mask& b) { return {a.m && b.m}; }
    friend Mask operator||(const Mask& a, const Mask& b) { return {a.m || b.m}; }
    friend Mask operator!(const Mask& a) { return {!a.m}; }
    friend Lane where(const Mask& c, const Lane& a, const Lane& b) {
      return Lane(xsimd::select(c.m, a.batch(), b.batch()));
    }
  };

  Lane() = default;
  template <class U>
  requires std::is_arithmetic_v<U> Lane(U x) : v_(static_cast<T>(x)) {}
  explicit Lane(const Batch& v) : v_(v) {}
  static Lane load(const T* p) { return Lane(Batch::load_unaligned(p)); }
  void store(T* p) const { v_.store_unaligned(p); }
  // The first n elements (fewer than the width); the others are `rest`, and are not touched in memory.
  static Lane load_part(const T* p, std::ptrdiff_t n, T rest = T(0)) {
#ifdef __AVX512F__
    if constexpr (masked && std::is_same_v<T, float>) {
      return Lane(Batch(_mm512_mask_loadu_ps(_mm512_set1_ps(rest), mask16(n), p)));
    } else if constexpr (masked) {
      return Lane(Batch(_mm512_mask_loadu_pd(_mm512_set1_pd(rest), mask8(n), p)));
    }
#endif
    T tmp[width];
    for (std::size_t i = 0; i < width; ++i)
      tmp[i] = static_cast<std::ptrdiff_t>(i) < n ? p[i] : rest;
    return load(tmp);
  }
  void store_part(T* p, std::ptrdiff_t n) const {
#ifdef __AVX512F__
    if constexpr (masked && std::is_same_v<T, float>) {
      return _mm512_mask_storeu_ps(p, mask16(n), v_);
    } else if constexpr (masked) {
      return _mm512_mask_storeu_pd(p, mask8(n), v_);
    }
#endif
    T tmp[width];
    store(tmp);
    for (std::ptrdiff_t i = 0; i < n; ++i) p[i] = tmp[i];
  }
  const Batch& batch() const { return v_; }

  friend Lane operator+(const Lane& a, const Lane& b) { return Lane(a.v_ + b.v_); }
  friend Lane operator-(const Lane& a, const Lane& b) { return Lane(a.v_ - b.v_); }
  friend Lane operator*(const Lane& a, const Lane& b) { return rounded(a.v_ * b.v_); }
  friend Lane operator/(const Lane& a, const Lane& b) { return Lane(a.v_ / b.v_); }
  friend Lane operator-(const Lane& a) { return Lane(-a.v_); }

  friend Mask operator<(const Lane& a, const Lane& b) { return {a.v_ < b.v_}; }
  friend Mask operator<=(const Lane& a, const Lane& b) { return {a.v_ <= b.v_}; }
  friend Mask operator>(const Lane& a, const Lane& b) { return {a.v_ > b.v_}; }
  friend Mask operator>=(const Lane& a, const Lane& b) { return {a.v_ >= b.v_}; }
  friend Mask operator==(const Lane& a, const Lane& b) { return {a.v_ == b.v_}; }
  // xsimd's own != is false for NaN on some instruction sets.
  friend Mask operator!=(const Lane& a, const Lane& b) { return {!(a.v_ == b.v_)}; }
  // Truth values stored as numbers: anything but 0 is true.
  friend Lane where(const Lane& c, const Lane& a, const Lane& b) { return where(c != 0, a, b); }

  friend Lane sqrt(const Lane& x) { return Lane(xsimd::sqrt(x.v_)); }
  friend Lane exp(const Lane& x) { return rounded(detail::lane_math::exp(x.v_)); }
  friend Lane expm1(const Lane& x) { return rounded(detail::lane_math::expm1(x.v_)); }
  friend Lane log(const Lane& x) { return rounded(detail::lane_math::log(x.v_)); }
  friend Lane log1p(const Lane& x) { return rounded(xsimd::log1p(x.v_)); }
  friend Lane tanh(const Lane& x) { return rounded(xsimd::tanh(x.v_)); }
  friend Lane sigmoid(const Lane& x) { return rounded(detail::lane_math::sigmoid(x.v_)); }
  friend Lane sin(const Lane& x) { return rounded(detail::lane_math::sine(x.v_, 0)); }
  friend Lane cos(const Lane& x) { return rounded(detail::lane_math::sine(x.v_, 1)); }
  friend Lane erf(const Lane& x) { return rounded(detail::lane_math::erf(x.v_)); }
  friend Lane abs(const Lane& x) { return Lane(xsimd::abs(x.v_)); }
  // As C's: x^0 is 1 whatever x, and 0^y is infinite for negative y (xsimd's gives 0 for both at x = 0).
  friend Lane pow(const Lane& x, const Lane& y) {
    const Lane at_zero = where(y < 0, std::numeric_limits<T>::infinity(), where(y > 0, 0, y));
    return where(y == 0, 1, where(x == 0, at_zero, rounded(xsimd::pow(x.v_, y.v_))));
  }
  // max(a, b) and min(a, b) with a NaN in either operand carried through.
  friend Lane maximum(const Lane& a, const Lane& b) { return where(a != a, a, where(a > b, a, b)); }
  friend Lane minimum(const Lane& a, const Lane& b) { return where(a != a, a, where(a < b, a, b)); }

 private:
#ifdef __AVX512F__
  static constexpr bool masked = std::is_base_of_v<xsimd::avx512f, Arch>;
  static __mmask16 mask16(std::ptrdiff_t n) { return static_cast<__mmask16>((1U << n) - 1); }
  static __mmask8 mask8(std::ptrdiff_t n) { return static_cast<__mmask8>((1U << n) - 1); }
#endif
  // x as if it had been stored: the compiler does not know where it comes from.
  static Lane rounded(Batch x) {
#if defined(__x86_64__)
    asm("" : "+v"(x.data));
#elif defined(__aarch64__)
    asm("" : "+w"(x.data));
#endif
    return Lane(x);
  }
  Batch v_;
};

namespace detail {

// f(load, store) over [0, n) in lanes, the last of which may be partial: load(p) is the lane of p's elements at the place that
// f is called for, store(p, x) writes it.
//
//   for_each_lane<float>(n, [&](auto load, auto store) { store(y, tanh(load(x))); });
template <class T, class F>
[[gnu::always_inline]] inline void for_each_lane(std::ptrdiff_t n, F&& f) {
  using L = Lane<T>;
  constexpr auto w = static_cast<std::ptrdiff_t>(L::width);
  std::ptrdiff_t k = 0;
  for (; k + w <= n; k += w) {
    f([k](const T* p) { return L::load(p + k); }, [k](T* p, const L& x) { x.store(p + k); });
  }
  if (k < n) {
    f([k, n](const T* p) { return L::load_part(p + k, n - k); },
      [k, n](T* p, const L& x) { x.store_part(p + k, n - k); });
  }
}

}  // namespace detail

}  // namespace unroll
