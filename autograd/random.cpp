#include "unroll/autograd/random.hpp"

#include <bit>
#include <cmath>
#include <limits>
#include <string>

#include "unroll/autograd/kernels.hpp"

namespace unroll {

namespace detail {

// ---- Threefry-2x64-20 ---------------------------------------------------------------------------

std::array<std::uint64_t, 2> threefry(const Key& key, std::uint64_t c0, std::uint64_t c1) {
  constexpr int rotations[2][4] = {{16, 42, 12, 31}, {16, 32, 24, 21}};
  const std::uint64_t words[3] = {key.a, key.b, key.a ^ key.b ^ 0x1BD11BDAA9FC1A22ULL};
  std::uint64_t x = c0 + words[0], y = c1 + words[1];
  for (unsigned group = 0; group < 5; ++group) {
    for (int r : rotations[group % 2]) {
      x += y;
      y = std::rotl(y, r) ^ x;
    }
    x += words[(group + 1) % 3];
    y += words[(group + 2) % 3] + group + 1;
  }
  return {x, y};
}

namespace {

// The second word of the counter says what the bits are for, so numbers, children and folded keys
// never coincide.
enum Purpose : std::uint64_t { numbers = 0, children = 1, folds = 2 };

// Calls f(i, bits) for i < n with 64 bits that depend on the key and i alone.
template <class F>
void for_each_bits(const Key& key, Size n, F&& f) {
  for (Size i = 0; i < n; i += 2) {
    const auto bits = threefry(key, static_cast<std::uint64_t>(i / 2), numbers);
    f(i, bits[0]);
    if (i + 1 < n) f(i + 1, bits[1]);
  }
}

// (0, 1): the middles of 2^52 equal parts; never an end, and 1 - u is exact.
double open_unit(std::uint64_t bits) { return (static_cast<double>(bits >> 12) + 0.5) * 0x1p-52; }

// ⌊bits·n / 2^64⌋: evenly over 0, ..., n-1 up to n/2^64.
std::uint64_t scaled(std::uint64_t bits, std::uint64_t n) {
  const std::uint64_t low = (bits & 0xFFFFFFFF) * (n & 0xFFFFFFFF);
  const std::uint64_t middle = (bits >> 32) * (n & 0xFFFFFFFF) + (low >> 32);
  const std::uint64_t other = (bits & 0xFFFFFFFF) * (n >> 32) + (middle & 0xFFFFFFFF);
  return (bits >> 32) * (n >> 32) + (middle >> 32) + (other >> 32);
}

template <class T, class F>
Ref fill(const char* op, const Key& key, const Shape& shape, F&& f) {
  check_size(op, shape);
  Ref block = new_block<T>(shape);
  T* out = block->data<T>();
  for_each_bits(key, shape.size(), [&](Size i, std::uint64_t bits) { out[i] = f(bits); });
  return block;
}

// Coefficients from the highest power down. Each step is a std::fma, so that the compiler has
// nothing to contract.
template <std::size_t N>
double polynomial(const double (&c)[N], double x) {
  double y = c[0];
  for (std::size_t i = 1; i < N; ++i) y = std::fma(y, x, c[i]);
  return y;
}

}  // namespace

Key child_key(const Key& key, std::uint64_t i) {
  const auto bits = threefry(key, i, children);
  return {bits[0], bits[1]};
}

// ---- functions with the same bits everywhere ----------------------------------------------------

// log(2^k (1 + f)) = k log 2 + log(1 + f), where log(1 + f) = f - f²/2 + s (f²/2 + R(s²)), s = f /
// (2 + f); the coefficients of R are those of fdlibm's e_log.c. Error below 1e-15 of the result
// (absolute near 1).
double portable_log(double x) {
  constexpr double ln2_high = 6.93147180369123816490e-01, ln2_low = 1.90821492927058770002e-10;
  constexpr double R[] = {1.479819860511658591e-01, 1.531383769920937332e-01,
                          1.818357216161805012e-01, 2.222219843214978396e-01,
                          2.857142874366239149e-01, 3.999999999940941908e-01,
                          6.666666666666735130e-01, 0.0};
  int exponent = 0;
  double m = std::frexp(x, &exponent);  // [1/2, 1)
  if (m < 0.70710678118654752) {
    m *= 2;
    --exponent;
  }
  const double f = m - 1, k = exponent;
  const double s = f / (2 + f);
  const double z = s * s;
  const double half = 0.5 * f;
  const double bracket = std::fma(half, f, polynomial(R, z));
  const double rest = std::fma(half, f, -std::fma(s, bracket, k * ln2_low));
  return std::fma(k, ln2_high, f - rest);
}

double normal_quantile(double p) {
  // P / Q in r = 0.180625 - q²; then in r = √(-log of the nearer tail), for moderate and for far
  // tails.
  constexpr double P0[] = {2.5090809287301226727e+3, 3.3430575583588128105e+4,
                           6.7265770927008700853e+4, 4.5921953931549871457e+4,
                           1.3731693765509461125e+4, 1.9715909503065514427e+3,
                           1.3314166789178437745e+2, 3.3871328727963666080e+0};
  constexpr double Q0[] = {5.2264952788528545610e+3, 2.8729085735721942674e+4,
                           3.9307895800092710610e+4, 2.1213794301586595867e+4,
                           5.3941960214247511077e+3, 6.8718700749205790830e+2,
                           4.2313330701600911252e+1, 1.0};
  constexpr double P1[] = {7.74545014278341407640e-4, 2.27238449892691845833e-2,
                           2.41780725177450611770e-1, 1.27045825245236838258e+0,
                           3.64784832476320460504e+0, 5.76949722146069140550e+0,
                           4.63033784615654529590e+0, 1.42343711074968357734e+0};
  constexpr double Q1[] = {1.05075007164441684324e-9, 5.47593808499534494600e-4,
                           1.51986665636164571966e-2, 1.48103976427480074590e-1,
                           6.89767334985100004550e-1, 1.67638483018380384940e+0,
                           2.05319162663775882187e+0, 1.0};
  constexpr double P2[] = {2.01033439929228813265e-7, 2.71155556874348757815e-5,
                           1.24266094738807843860e-3, 2.65321895265761230930e-2,
                           2.96560571828504891230e-1, 1.78482653991729133580e+0,
                           5.46378491116411436990e+0, 6.65790464350110377720e+0};
  constexpr double Q2[] = {2.04426310338993978564e-15, 1.42151175831644588870e-7,
                           1.84631831751005468180e-5,  7.86869131145613259100e-4,
                           1.48753612908506148525e-2,  1.36929880922735805310e-1,
                           5.99832206555887937690e-1,  1.0};
  const double q = p - 0.5;
  if (std::abs(q) <= 0.425) {
    const double r = std::fma(-q, q, 0.180625);
    return q * polynomial(P0, r) / polynomial(Q0, r);
  }
  const double r = std::sqrt(-portable_log(q <= 0 ? p : 1 - p));
  const double x = r <= 5 ? polynomial(P1, r - 1.6) / polynomial(Q1, r - 1.6)
                          : polynomial(P2, r - 5) / polynomial(Q2, r - 5);
  return q < 0 ? -x : x;
}

}  // namespace detail

std::vector<Key> split(const Key& key, std::size_t count) {
  std::vector<Key> keys(count);
  for (std::size_t i = 0; i < count; ++i) keys[i] = detail::child_key(key, i);
  return keys;
}

Key fold_in(const Key& key, std::uint64_t n) {
  const auto bits = detail::threefry(key, n, detail::folds);
  return {bits[0], bits[1]};
}

template <FloatOrDouble T>
Var<T> uniform(const Key& key, const Shape& shape, double low, double high) {
  const double width = high - low;
  if (!(width >= 0) || !std::isfinite(width)) {
    fail("uniform", "the interval [" + std::to_string(low) + ", " + std::to_string(high) +
                        ") is not one: its ends must be finite and in order");
  }
  // Rounding may reach the upper end, which does not belong to the interval.
  const T last = std::nextafter(static_cast<T>(high), -std::numeric_limits<T>::infinity());
  return Var<T>(detail::Handle(detail::fill<T>("uniform", key, shape, [&](std::uint64_t bits) {
    const double u = static_cast<double>(bits >> 11) * 0x1p-53;
    const T x = static_cast<T>(std::fma(u, width, low));
    return x > last && width > 0 ? std::max(last, static_cast<T>(low)) : x;
  })));
}

template <FloatOrDouble T>
Var<T> normal(const Key& key, const Shape& shape, double mean, double std) {
  if (!(std >= 0)) fail("normal", "the standard deviation " + std::to_string(std) + " is negative");
  return Var<T>(detail::Handle(detail::fill<T>("normal", key, shape, [&](std::uint64_t bits) {
    return static_cast<T>(std::fma(detail::normal_quantile(detail::open_unit(bits)), std, mean));
  })));
}

template <FloatOrDouble T>
Var<T> bernoulli(const Key& key, const Shape& shape, double p) {
  if (!(p >= 0 && p <= 1)) {
    fail("bernoulli", "the probability " + std::to_string(p) + " is not in [0, 1]");
  }
  return Var<T>(detail::Handle(detail::fill<T>("bernoulli", key, shape, [&](std::uint64_t bits) {
    return static_cast<T>(static_cast<double>(bits >> 11) * 0x1p-53 < p ? 1 : 0);
  })));
}

Indices randint(const Key& key, const Shape& shape, std::int64_t low, std::int64_t high) {
  if (low >= high) {
    fail("randint",
         "no whole number n has " + std::to_string(low) + " <= n < " + std::to_string(high));
  }
  const std::uint64_t first = static_cast<std::uint64_t>(low);
  const std::uint64_t count = static_cast<std::uint64_t>(high) - first;
  return Indices(detail::fill<std::int64_t>("randint", key, shape, [&](std::uint64_t bits) {
    return static_cast<std::int64_t>(first + detail::scaled(bits, count));
  }));
}

Indices permutation(const Key& key, Size n) {
  if (n < 0) fail("permutation", "the length " + std::to_string(n) + " is negative");
  detail::check_size("permutation", Shape{n});
  detail::Ref block = detail::new_block<std::int64_t>(Shape{n});
  std::int64_t* out = block->data<std::int64_t>();
  detail::for_each_bits(key, n, [&](Size i, std::uint64_t bits) {
    const auto j = static_cast<Size>(detail::scaled(bits, static_cast<std::uint64_t>(i) + 1));
    out[i] = i;
    std::swap(out[i], out[j]);
  });
  return Indices(std::move(block));
}

template <FloatOrDouble T>
Indices categorical(const Key& key, const Var<T>& logits) {
  Shape shape = logits.shape();
  if (shape.rank() == 0 || shape.back() == 0) {
    fail("categorical", "there is nothing to choose from in logits of shape " + to_string(shape));
  }
  const Size n = shape.back();
  const detail::Ref values = detail::contiguous(logits.handle().block());
  const T* x = values->data<T>();
  shape.erase(shape.rank() - 1);
  detail::Ref block = detail::new_block<std::int64_t>(shape);
  std::int64_t* out = block->data<std::int64_t>();
  constexpr double infinity = std::numeric_limits<double>::infinity();
  double best = -infinity;
  detail::for_each_bits(key, logits.size(), [&](Size i, std::uint64_t bits) {
    const Size row = i / n, column = i % n;
    const double logit = static_cast<double>(x[i]);
    if (!(logit < infinity)) {
      fail("categorical", "logit " + std::to_string(column) + " of row " + std::to_string(row) +
                              " is " + std::to_string(logit));
    }
    const double score =
        logit - detail::portable_log(-detail::portable_log(detail::open_unit(bits)));
    if (column == 0) {
      best = -infinity;
      out[row] = -1;
    }
    if (score > best) {
      best = score;
      out[row] = column;
    }
    if (column == n - 1 && out[row] < 0) {
      fail("categorical", "all logits of row " + std::to_string(row) + " are -inf");
    }
  });
  return Indices(std::move(block));
}

template <FloatOrDouble T>
Var<T> dropout(const Var<T>& x, double rate, const Key& key) {
  if (!(rate >= 0 && rate < 1)) {
    fail("dropout", "the rate " + std::to_string(rate) + " is not in [0, 1)");
  }
  if (rate == 0) return x;
  const T kept = static_cast<T>(1 / (1 - rate));
  const Var<T> mask(
      detail::Handle(detail::fill<T>("dropout", key, x.shape(), [&](std::uint64_t bits) {
        return static_cast<double>(bits >> 11) * 0x1p-53 < rate ? T(0) : kept;
      })));
  return x * mask;
}

// Explicit instantiations: the only element types are float and double.
template Var<float> uniform(const Key&, const Shape&, double, double);
template Var<double> uniform(const Key&, const Shape&, double, double);
template Var<float> normal(const Key&, const Shape&, double, double);
template Var<double> normal(const Key&, const Shape&, double, double);
template Var<float> bernoulli(const Key&, const Shape&, double);
template Var<double> bernoulli(const Key&, const Shape&, double);
template Indices categorical(const Key&, const Var<float>&);
template Indices categorical(const Key&, const Var<double>&);
template Var<float> dropout(const Var<float>&, double, const Key&);
template Var<double> dropout(const Var<double>&, double, const Key&);

}  // namespace unroll
