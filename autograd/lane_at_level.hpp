// Lane at one instruction level, and how kernels run there. Not promised to users; lane.hpp includes this text once for each level that
// a file is compiled for (levels.hpp), with `xsimd` and `lane_math` being other namespaces each time.
//
// Invariant: no lane or mask is copied but by a function of its level. So they are passed by their
// address, where code of two levels would not agree in which register to pass a SIMD type, and a function that is not made part of a
// kernel (a user's that is marked so) is right, if slow. g++ 12 compiles a friend for the level only if it has some attribute. The
// comparison in an assignment keeps its operand an address (g++ would pass what is behind it). Copied by functions, lanes in
// dual numbers stay in registers, which g++ 12 otherwise copies through memory: `fuse` at AVX2 takes a seventh less time.

#include "unroll/autograd/lane_math.hpp"

namespace unroll {

template <class T>
class Lane<T, xsimd::default_arch> {
 public:
  using Arch = xsimd::default_arch;
  using value_type = T;
  using Batch = xsimd::batch<T, Arch>;
  using BatchMask = typename Batch::batch_bool_type;
  static constexpr std::size_t width = Batch::size;

  // The result of comparing lanes: one truth value per element.
  struct Mask {
    BatchMask m;
    Mask(const BatchMask& mask) : m(mask) {}
    Mask(const Mask& x) : m(x.m) {}
    Mask& operator=(const Mask& x) {
      if (this != &x) m = x.m;
      return *this;
    }
    [[nodiscard]] friend Mask operator&&(const Mask& a, const Mask& b) { return {a.m && b.m}; }
    [[nodiscard]] friend Mask operator||(const Mask& a, const Mask& b) { return {a.m || b.m}; }
    [[nodiscard]] friend Mask operator!(const Mask& a) { return {!a.m}; }
    [[nodiscard]] friend Lane where(const Mask& c, const Lane& a, const Lane& b) {
      return Lane(xsimd::select(c.m, a.batch(), b.batch()));
    }
  };

  Lane() {}
  Lane(const Lane& x) : v_(x.v_) {}
  Lane& operator=(const Lane& x) {
    if (this != &x) v_ = x.v_;
    return *this;
  }
  template <class U>
  requires std::is_arithmetic_v<U> Lane(U x) : v_(static_cast<T>(x)) {}
  explicit Lane(const Batch& v) : v_(v) {}
  static Lane load(const T* p) { return Lane(Batch::load_unaligned(p)); }
  void store(T* p) const { v_.store_unaligned(p); }
  // The first n elements (fewer than the width); the others are `rest`, and are not touched in memory.
  static Lane load_part(const T* p, std::ptrdiff_t n, T rest = T(0)) {
#if XSIMD_WITH_AVX512F
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
#if XSIMD_WITH_AVX512F
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

  [[nodiscard]] friend Lane operator+(const Lane& a, const Lane& b) { return Lane(a.v_ + b.v_); }
  [[nodiscard]] friend Lane operator-(const Lane& a, const Lane& b) { return Lane(a.v_ - b.v_); }
  [[nodiscard]] friend Lane operator*(const Lane& a, const Lane& b) { return rounded(a.v_ * b.v_); }
  [[nodiscard]] friend Lane operator/(const Lane& a, const Lane& b) { return Lane(a.v_ / b.v_); }
  [[nodiscard]] friend Lane operator-(const Lane& a) { return Lane(-a.v_); }

  [[nodiscard]] friend Mask operator<(const Lane& a, const Lane& b) { return {a.v_ < b.v_}; }
  [[nodiscard]] friend Mask operator<=(const Lane& a, const Lane& b) { return {a.v_ <= b.v_}; }
  [[nodiscard]] friend Mask operator>(const Lane& a, const Lane& b) { return {a.v_ > b.v_}; }
  [[nodiscard]] friend Mask operator>=(const Lane& a, const Lane& b) { return {a.v_ >= b.v_}; }
  [[nodiscard]] friend Mask operator==(const Lane& a, const Lane& b) { return {a.v_ == b.v_}; }
  // xsimd's own != is false for NaN on some instruction sets.
  [[nodiscard]] friend Mask operator!=(const Lane& a, const Lane& b) { return {!(a.v_ == b.v_)}; }
  // Truth values stored as numbers: anything but 0 is true.
  [[nodiscard]] friend Lane where(const Lane& c, const Lane& a, const Lane& b) {
    return where(c != 0, a, b);
  }

  [[nodiscard]] friend Lane sqrt(const Lane& x) { return Lane(xsimd::sqrt(x.v_)); }
  [[nodiscard]] friend Lane exp(const Lane& x) { return rounded(detail::lane_math::exp(x.v_)); }
  [[nodiscard]] friend Lane expm1(const Lane& x) { return rounded(detail::lane_math::expm1(x.v_)); }
  [[nodiscard]] friend Lane log(const Lane& x) { return rounded(detail::lane_math::log(x.v_)); }
  [[nodiscard]] friend Lane log1p(const Lane& x) { return rounded(xsimd::log1p(x.v_)); }
  [[nodiscard]] friend Lane tanh(const Lane& x) { return rounded(xsimd::tanh(x.v_)); }
  [[nodiscard]] friend Lane sigmoid(const Lane& x) {
    return rounded(detail::lane_math::sigmoid(x.v_));
  }
  [[nodiscard]] friend Lane sin(const Lane& x) { return rounded(detail::lane_math::sine(x.v_, 0)); }
  [[nodiscard]] friend Lane cos(const Lane& x) { return rounded(detail::lane_math::sine(x.v_, 1)); }
  [[nodiscard]] friend Lane erf(const Lane& x) { return rounded(detail::lane_math::erf(x.v_)); }
  [[nodiscard]] friend Lane abs(const Lane& x) { return Lane(xsimd::abs(x.v_)); }
  [[nodiscard]] friend Lane normal_cdf(const Lane& x) {
    return rounded(detail::lane_math::normal_cdf(x.v_));
  }
  [[nodiscard]] friend Lane pow(const Lane& x, const Lane& y) {
    return Lane(detail::lane_math::pow(x.v_, y.v_));
  }
  // max(a, b) and min(a, b) with a NaN in either operand carried through.
  [[nodiscard]] friend Lane maximum(const Lane& a, const Lane& b) {
    return where(a != a, a, where(a > b, a, b));
  }
  [[nodiscard]] friend Lane minimum(const Lane& a, const Lane& b) {
    return where(a != a, a, where(a < b, a, b));
  }

 private:
#if XSIMD_WITH_AVX512F
  static constexpr bool masked = std::is_base_of_v<xsimd::avx512f, Arch>;
  static __mmask16 mask16(std::ptrdiff_t n) { return static_cast<__mmask16>((1U << n) - 1); }
  static __mmask8 mask8(std::ptrdiff_t n) { return static_cast<__mmask8>((1U << n) - 1); }
#endif
  // x as if it had been stored: the compiler does not know where it comes from.
  static Lane rounded(const Batch& x) {
    Batch y = x;
#if defined(__x86_64__)
    asm("" : "+v"(y.data));
#elif defined(__aarch64__)
    asm("" : "+w"(y.data));
#endif
    return Lane(y);
  }
  Batch v_;
};

namespace detail {

// Runs a kernel's body at this level: everything that it calls becomes part of this function.
template <>
struct AtLevel<xsimd::default_arch> {
  template <class Body, class... A>
  UNROLL_KERNEL static auto run(A... a) {
    return Body::template run<xsimd::default_arch>(a...);
  }
};

}  // namespace detail

}  // namespace unroll
