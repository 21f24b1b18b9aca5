// Functions over SIMD registers where xsimd's are not exact enough over their whole range: exp, log, sigmoid, expm1, erf,
// normal_cdf, pow, sin and cos. `Lane` has them under their usual names; bench/accuracy measures them.
//
//   exp(x) = 2^k e^r with k = round(x / ln 2), |r| <= ln 2 / 2                 also where the result is denormal
//   sigmoid(x) = e / (1 + e) with e = exp(x)                                    tiny, but not 0, for very negative x
//
// Polynomials interpolate at Chebyshev points of their interval. Constants from which multiples are subtracted come in parts of
// so few bits that the products are exact without fused multiply-add. Invariant: an element's result does not depend on its
// neighbours in the register: what is computed only where some element needs it is chosen element by element.

#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <type_traits>
#include <utility>

namespace unroll::detail::lane_math {

template <class B>
using Element = typename B::value_type;
template <class B>
inline constexpr bool single = std::is_same_v<Element<B>, float>;

// c[0] + c[1] x + c[2] x² + ...
template <class B, std::size_t N>
B polynomial(const B& x, const std::array<Element<B>, N>& c) {
  B sum(c[N - 1]);
  // Not a loop, which -O2 would leave with its constants in memory.
  [&]<std::size_t... I>(std::index_sequence<I...>) {
    ((sum = xsimd::fma(sum, x, B(c[N - 2 - I]))), ...);
  }
  (std::make_index_sequence<N - 1>{});
  return sum;
}

// f(x[i]) for each element, in scalar code.
template <class B, class F>
B each(const B& x, F f) {
  std::array<Element<B>, B::size> y;
  x.store_unaligned(y.data());
  for (auto& e : y) e = f(e);
  return B::load_unaligned(y.data());
}
template <class B, class F>
B each(const B& a, const B& b, F f) {
  std::array<Element<B>, B::size> x, y;
  a.store_unaligned(x.data()), b.store_unaligned(y.data());
  for (std::size_t i = 0; i < y.size(); ++i) y[i] = f(x[i], y[i]);
  return B::load_unaligned(y.data());
}

// ---- exponentials ----------------------------------------------------------------------------------------------------

template <class B>
inline constexpr int mantissa_bits = std::numeric_limits<Element<B>>::digits - 1;
// The number whose bits, read as a whole number, are `magic_bits` + n where it is added to a small whole n.
template <class B>
inline constexpr auto magic = static_cast<Element<B>>(1.5 *
                                                      static_cast<double>(1LL << mantissa_bits<B>));

// 2^k for whole k between the exponents of normal numbers.
template <class B>
B power_of_two(const B& k) {
  constexpr int bias = std::numeric_limits<Element<B>>::max_exponent - 1;
  const B sum = k + B(magic<B> + Element<B>(bias));
  return std::bit_cast<B>(std::bit_cast<xsimd::as_integer_t<B>>(sum) << mantissa_bits<B>);
}
// y 2^k for whole k, rounded once. k may reach twice as far as the exponents of normal numbers.
template <class B>
B scaled(const B& y, const B& k) {
#if XSIMD_WITH_AVX512F
  if constexpr (std::is_base_of_v<xsimd::avx512f, typename B::arch_type>) {
    if constexpr (single<B>) {
      return _mm512_scalef_ps(y, k);
    } else {
      return _mm512_scalef_pd(y, k);
    }
  }
#endif
  constexpr int normal = std::numeric_limits<Element<B>>::max_exponent - 3;
  if (xsimd::all(xsimd::abs(k) <= B(Element<B>(normal)))) return y * power_of_two(k);
  const B half = xsimd::nearbyint(k * B(Element<B>(0.5)));
  return y * power_of_two(half) * power_of_two(k - half);
}

// Calls name the namespace: xsimd's functions of the same names would be found by the arguments' type, and preferred.
template <class B>
B exp(const B& any) {
  using T = Element<B>;
  constexpr T most = single<B> ? T(89) : T(710), least = single<B> ? T(-104) : T(-746);
  constexpr T ln2_high = single<B> ? T(0.693145751953125) : T(0.69314718055989033);
  constexpr T ln2_low = single<B> ? T(1.428606765330187e-06) : T(5.4979230187083712e-14);
  const B x = at_least(B(least), at_most(B(most), any));
  const B k = xsimd::nearbyint(x * B(T(1.4426950408889634)));
  const B one(T(1)), high = xsimd::fnma(k, B(ln2_high), x), r = xsimd::fnma(k, B(ln2_low), high);
  if constexpr (single<B>) {
    // e^r = 1 + r + r² q(r)
    constexpr std::array q{0.5F, 0.16666576845993977F, 0.041666554437685938F,
                           0.0083632029715758546F, 0.0013926213466332444F};
    return scaled(one + xsimd::fma(polynomial(r, q), r * r, r), k);
  } else {
    // r coth(r/2) = 2 + r² p(r²), so with c = r - r² p: e^r = 1 + r + r c / (2 - c). And 1 + high is sum + lost, exactly: one
    // rounding remains that counts.
    constexpr std::array p{0.1666666666666666, -0.0027777777777563718, 6.6137564712822206e-05,
                           -1.6534059504897808e-06, 4.1437411344187316e-08};
    const B z = r * r, c = xsimd::fnma(z, polynomial(z, p), r);
    const B sum = one + high, lost = (one - sum) + high;
    return scaled(sum + (lost + xsimd::fnma(k, B(ln2_low), r * c / (B(T(2)) - c))), k);
  }
}

// e / (1 + e): what e is wrong by counts less and less as e grows, and from e^40 on the result is 1. For small e the rounding of
// 1 + e would count twice in double; there it is e - e (e / (1 + e)).
template <class B>
B sigmoid(const B& x) {
  using T = Element<B>;
  const B e = lane_math::exp(at_most(B(T(40)), x)), y = e / (B(T(1)) + e);
  if constexpr (single<B>) {
    return y;
  } else {
    return xsimd::select(e < B(0.5), xsimd::fnma(e, y, e), y);
  }
}

// xsimd's is infinite for the last results below infinity; from e^40 on, 1 is less than half an ulp.
template <class B>
B expm1(const B& x) {
  const B y = xsimd::expm1(x);
  const auto large = x > B(Element<B>(40));
  return xsimd::any(large) ? xsimd::select(large, lane_math::exp(x), y) : y;
}

// xsimd's is wrong for denormal numbers of double.
template <class B>
B log(const B& x) {
  if constexpr (single<B>) {
    return xsimd::log(x);
  } else {
    const auto denormal = x < B(std::numeric_limits<double>::min());
    if (!xsimd::any(denormal)) return xsimd::log(x);
    const B y = xsimd::log(xsimd::select(denormal, x * B(0x1p54), x));
    return y - xsimd::select(denormal, B(37.429947750237046), B(0.0));  // 54 ln 2
  }
}

// ---- erf -------------------------------------------------------------------------------------------------------------

// erf(x) = x (1 + p(x²)) up to 1; beyond, 1 - e^(-x²) q(t) with t = (x - 3) / (x + 3), and 1 from 6 on.
template <class B>
B erf(const B& x) {
  if constexpr (single<B>) {
    const B end(10.0F);  // xsimd's would overflow to NaN
    return xsimd::erf(at_least(-end, at_most(end, x)));
  } else {
    constexpr std::array p{
        0.12837916709551259,     -0.37612638903183748,    0.11283791670954879,
        -0.026866170645076792,   0.0052239776248180145,   -0.000854832698083379,
        0.0001205533111164271,   -1.4925595266831182e-05, 1.6461000484121368e-06,
        -1.6350312701054695e-07, 1.4659775274047436e-08,  -1.1372848856791674e-09,
        5.9571761477489113e-11};
    constexpr std::array q{
        0.17900115118138996,     -0.32623356004303722,    0.2456038017123309,
        -0.15011593650077742,    0.071665837197973467,    -0.024392499318655416,
        0.0042691363331483021,   0.00070774643851773534,  -0.00059706195861583045,
        4.5255298034073955e-05,  6.4056733422068437e-05,  -1.2860318447907675e-05,
        -7.9798177043487269e-06, 2.1169509641489688e-06,  1.2598817267482604e-06,
        -2.7269500546476834e-07, -2.3893874634747922e-07, -2.592589458123332e-08};
    const B size = at_most(B(6.0), xsimd::abs(x)), z = size * size;
    B y = xsimd::fma(polynomial(z, p), size, size);
    const auto far = size > B(1.0);
    if (xsimd::any(far)) {
      const B t = (size - B(3.0)) / (size + B(3.0));
      y = xsimd::select(far, B(1.0) - lane_math::exp(-z) * polynomial(t, q), y);
    }
    return xsimd::copysign(y, x);
  }
}

// erfc(-x/√2) / 2, by the C library's erfc where 1 + erf would cancel.
template <class B>
B normal_cdf(const B& x) {
  using T = Element<B>;
  constexpr T cancels(-0.25);
  const auto tail = [](T e) -> T {
    if (!(e < cancels) || e < -40) return 0;
    const double z = -static_cast<double>(e) * 0.70710678118654757;
    if constexpr (single<B>) {
      return static_cast<T>(0.5 * std::erfc(z));
    } else {  // and what z lost when it was rounded, times the slope there
      const double lost = std::fma(-e, 0.70710678118654757, -z) + e * 4.8336466567264567e-17;
      return 0.5 * (std::erfc(z) - 1.1283791670955126 * std::exp(-z * z) * lost);
    }
  };
  const B half(T(0.5)), y = half + half * lane_math::erf(x * B(T(0.70710678118654757)));
  const auto low = x < B(cancels);
  return xsimd::any(low) ? xsimd::select(low, each(x, tail), y) : y;
}

// As C's, whose library has it within one ulp: special values, signs and denormal results are its own.
template <class B>
B pow(const B& x, const B& y) {
  using T = Element<B>;
  return each(x, y, [](T a, T b) { return b == 2 ? a * a : std::pow(a, b); });
}

// ---- sine and cosine -------------------------------------------------------------------------------------------------

// sin(x + quarter π/2).
template <class B>
B sine(const B& x, int quarter) {
  using T = Element<B>;
  // sin r = r + r³ s(r²), cos r = 1 - r²/2 + r⁴ c(r²) up to π/4
  constexpr auto s = [] {
    if constexpr (single<B>) {
      return std::array{-0.16666664650292082F, 0.0083327459363804219F, -0.00019587387068464455F};
    } else {
      return std::array{-0.16666666666666666,   0.0083333333333333315,   -0.00019841269841265017,
                        2.7557319219301919e-06, -2.5052106219521895e-08, 1.6058529572267877e-10,
                        -7.5865765881710725e-13};
    }
  }();
  constexpr auto c = [] {
    if constexpr (single<B>) {
      return std::array{0.041666664647457378F, -0.0013888300696903899F, 2.45474372101932e-05F};
    } else {
      return std::array{0.041666666666666664,    -0.0013888888888888887, 2.4801587301584618e-05,
                        -2.7557319221382114e-07, 2.0876755783894038e-09, -1.1470459749675607e-11,
                        4.7458048897606743e-14};
    }
  }();
  // π/2 in three parts: products with the multiples that occur are exact in the first two.
  constexpr std::array<T, 3> part = [] {
    if constexpr (single<B>) {
      return std::array{1.5707855224609375F, 1.0804273188114166e-05F, 6.07709993438732e-11F};
    } else {
      return std::array{1.5707963267341256, 6.077100506303966e-11, 2.0222662487959506e-21};
    }
  }();
  constexpr T furthest = single<B> ? T(200) : T(1.6e6);
  const auto near = xsimd::abs(x) <= B(furthest);
  const B n = xsimd::nearbyint(x * B(T(0.63661977236758134)));
  // x - n π/2 = r + low
  const B a = xsimd::fnma(n, B(part[0]), x), b = n * B(part[1]), first = a - b;
  const B rest = xsimd::fma(n, B(part[2]), -((a - first) - b));
  const B r = first - rest, low = (first - r) - rest;
  const B z = r * r, half = B(T(0.5)) * z, one(T(1)), w = one - half;
  const B sin_r = r + xsimd::fma(polynomial(z, s) * z, r, w * low);
  const B cos_r = w + (((one - w) - half) + xsimd::fma(polynomial(z, c), z * z, -r * low));
  using Bits = xsimd::as_integer_t<B>;
  const Bits turn = std::bit_cast<Bits>(n + B(magic<B> + T(quarter)));
  const auto odd = mask_as<B>((turn & Bits(1)) == Bits(1));
  const auto negative = mask_as<B>((turn & Bits(2)) == Bits(2));
  const B y = xsimd::select(odd, cos_r, sin_r), signed_y = xsimd::select(negative, -y, y);
  if (xsimd::all(near)) return signed_y;
  return xsimd::select(
      near, signed_y, each(x, [quarter](T e) { return quarter == 0 ? std::sin(e) : std::cos(e); }));
}

}  // namespace unroll::detail::lane_math
