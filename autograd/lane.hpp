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
#include "unroll/autograd/levels.hpp"

namespace unroll {

// The instructions in use, as xsimd names them ("sse2", "fma3+avx2", "avx512bw", ...): by the library's kernels, of which
// the loader takes the copy that fits the processor, and by the kernels in the caller's own file (`fuse`, elementwise ops), of
// which the one for the library's level is taken where the compiler's flags do not allow a higher one (levels.hpp).
[[nodiscard]] const char* kernel_level();
[[nodiscard]] const char* caller_level();

template <class T, class Arch = xsimd::default_arch>
class Lane;

}  // namespace unroll

#include "unroll/autograd/lane_at_level.hpp"
#ifdef UNROLL_LEVELS
#include "unroll/autograd/higher_levels.hpp"
#endif

namespace unroll {

namespace detail {

// Runs a kernel's body at the level in use: Body::own(a...), which is Body::run for the file's own level, or Body::run for a higher one.
template <class Body, class... A>
[[gnu::always_inline]] inline auto run_at_level(A... a) {
#ifdef UNROLL_LEVELS
  if (library_level >= 4) return AtLevel<unroll_xsimd_v4::default_arch>::run<Body>(a...);
#if UNROLL_OWN_LEVEL < 3
  if (library_level >= 3) return AtLevel<unroll_xsimd_v3::default_arch>::run<Body>(a...);
#endif
#endif
  return Body::own(a...);
}

// The number of T's in a lane at that level.
struct LaneWidth {
  template <class Arch, class T>
  static Size run(T) {
    return Size{Lane<T, Arch>::width};
  }
  static Size own(auto x) { return run<xsimd::default_arch>(x); }
};
struct LevelName {
  template <class Arch>
  static const char* run() {
    return Arch::name();
  }
  static const char* own() { return run<xsimd::default_arch>(); }
};

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

inline const char* caller_level() { return detail::run_at_level<detail::LevelName>(); }

}  // namespace unroll
