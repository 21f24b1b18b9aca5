// The matrix product against three loops: every combination of transposes and strides, sizes around the blocks of the
// kernel, with and without accumulation. tests/meson.build runs it with UNROLL_GEMM=plain too.
#include <doctest/doctest.h>

#include <cblas.h>

#include <cmath>
#include <cstdlib>
#include <limits>

#include "unroll/autograd/autograd.hpp"
#include "unroll/autograd/kernels.hpp"
#include "unroll/autograd/random.hpp"

using namespace unroll;
using detail::Matrix;

namespace {

// How a matrix lies in memory.
enum class Layout { rows, columns, padded_rows, padded_columns, every_second, broadcast_rows };
constexpr std::array<Layout, 6> layouts{Layout::rows,         Layout::columns,
                                        Layout::padded_rows,  Layout::padded_columns,
                                        Layout::every_second, Layout::broadcast_rows};

template <class T>
struct Stored {
  std::vector<T> memory;
  Matrix<T> matrix;
  T operator()(Size i, Size j) const { return matrix.data[i * matrix.row + j * matrix.column]; }
};

template <class T>
Stored<T> store(Size m, Size n, Layout layout, unsigned salt) {
  Stored<T> s;
  s.memory.resize(static_cast<std::size_t>(2 * (m + 3) * (n + 3) + 8));
  for (std::size_t k = 0; k < s.memory.size(); ++k) {
    s.memory[k] = static_cast<T>(static_cast<double>((k * 37 + salt * 11) % 101) / 50 - 1);
  }
  s.matrix.data = s.memory.data() + 1;  // not aligned
  switch (layout) {
    case Layout::rows:
      s.matrix = {s.matrix.data, n, 1};
      break;
    case Layout::columns:
      s.matrix = {s.matrix.data, 1, m};
      break;
    case Layout::padded_rows:
      s.matrix = {s.matrix.data, n + 3, 1};
      break;
    case Layout::padded_columns:
      s.matrix = {s.matrix.data, 1, m + 3};
      break;
    case Layout::every_second:
      s.matrix = {s.matrix.data, 2 * n, 2};
      break;
    case Layout::broadcast_rows:
      s.matrix = {s.matrix.data, 0, 1};
      break;
  }
  return s;
}

template <class T>
void check(Size m, Size n, Size k, Layout la, Layout lb, bool accumulate, Size gap) {
  const Stored<T> a = store<T>(m, k, la, 1), b = store<T>(k, n, lb, 2);
  const Size row = n + gap;
  const T marker = T(77);
  std::vector<T> c(static_cast<std::size_t>((m + 1) * row + 1), marker);
  for (Size i = 0; i < m; ++i) {
    for (Size j = 0; j < n; ++j) {
      c[static_cast<std::size_t>(i * row + j)] =
          accumulate ? static_cast<T>((i - j) % 7) : std::numeric_limits<T>::quiet_NaN();
    }
  }
  detail::gemm(m, n, k, a.matrix, b.matrix, c.data(), row, accumulate);
  const double tolerance = (std::is_same_v<T, float> ? 2e-6 : 3e-15) * static_cast<double>(k + 4);
  double worst = 0;
  bool untouched = true;
  for (Size i = 0; i <= m; ++i) {
    for (Size j = 0; j < row; ++j) {
      const T got = c[static_cast<std::size_t>(i * row + j)];
      if (i == m || j >= n) {
        untouched = untouched && got == marker;
        continue;
      }
      double sum = accumulate ? static_cast<double>((i - j) % 7) : 0;
      for (Size p = 0; p < k; ++p)
        sum += static_cast<double>(a(i, p)) * static_cast<double>(b(p, j));
      const double error = std::abs(static_cast<double>(got) - sum);
      worst = error <= worst ? worst : error;  // NaN becomes the worst
    }
  }
  INFO("[" << m << ", " << k << "] x [" << k << ", " << n << "], layouts " << static_cast<int>(la)
           << " and " << static_cast<int>(lb)
           << (accumulate ? std::string(", accumulated") : std::string()));
  CHECK(worst <= tolerance);
  CHECK(untouched);
}

}  // namespace

TEST_CASE_TEMPLATE("Products of small and odd sizes agree with loops in every layout", T, float,
                   double) {
  for (const Size m : {0, 1, 2, 5, 17}) {
    for (const Size n : {0, 1, 3, 16, 33}) {
      for (const Size k : {0, 1, 4, 19}) {
        for (const Layout la : layouts) {
          for (const Layout lb : layouts) {
            for (const bool accumulate : {false, true})
              check<T>(m, n, k, la, lb, accumulate, m % 2 ? 0 : 3);
          }
        }
      }
    }
  }
}

TEST_CASE_TEMPLATE("Products of larger sizes agree with loops", T, float, double) {
  const std::vector<std::array<Size, 3>> sizes{{64, 64, 64}, {1, 257, 130}, {130, 1, 257},
                                               {67, 129, 1}, {16, 512, 65}, {3, 100, 500},
                                               {200, 48, 7}, {97, 101, 103}};
  for (const auto& [m, n, k] : sizes) {
    for (const Layout la : {Layout::rows, Layout::columns, Layout::padded_rows}) {
      for (const Layout lb : {Layout::rows, Layout::columns, Layout::every_second}) {
        for (const bool accumulate : {false, true}) check<T>(m, n, k, la, lb, accumulate, 0);
      }
    }
  }
}

TEST_CASE_TEMPLATE("A matrix that is used again and again gives the same product each time", T,
                   float, double) {
  // gemm_by_matrix may keep a packed copy of the matrix on the right; it must not outlive the matrix's values.
  for (const bool transposed : {false, true}) {
    for (const auto& size : std::vector<std::array<Size, 3>>{
             {1, 33, 17}, {3, 64, 64}, {16, 130, 65}, {0, 4, 4}, {5, 1, 300}}) {
      const Size m = size[0], n = size[1], k = size[2];
      const Stored<T> a = store<T>(m, k, Layout::padded_rows, 3);
      for (unsigned round = 0; round < 3; ++round) {
        const Stored<T> w =
            store<T>(transposed ? n : k, transposed ? k : n, Layout::rows, 5 + round);
        const Var<T> W(transposed ? Shape{n, k} : Shape{k, n},
                       std::span<const T>(w.matrix.data, static_cast<std::size_t>(n * k)));
        for (int use = 0; use < 4; ++use) {
          std::vector<T> c(static_cast<std::size_t>(m * n), T(55));
          const bool accumulate = use % 2 == 1;
          if (accumulate) std::fill(c.begin(), c.end(), T(0.5));
          detail::gemm_by_matrix(m, a.matrix, *W.handle().block(), transposed, c.data(), n,
                                 accumulate);
          double worst = 0;
          for (Size i = 0; i < m; ++i) {
            for (Size j = 0; j < n; ++j) {
              double sum = accumulate ? 0.5 : 0;
              for (Size p = 0; p < k; ++p)
                sum += static_cast<double>(a(i, p)) *
                       static_cast<double>(transposed ? w(j, p) : w(p, j));
              const double error =
                  std::abs(static_cast<double>(c[static_cast<std::size_t>(i * n + j)]) - sum);
              worst = error <= worst ? worst : error;
            }
          }
          INFO("[" << m << ", " << k << "] x [" << k << ", " << n << "], use " << use);
          CHECK(worst <= (std::is_same_v<T, float> ? 2e-6 : 3e-15) * static_cast<double>(k + 4));
        }
      }
    }
  }
}

TEST_CASE_TEMPLATE("A small matrix on the right gives the same bits wherever it lies", T, float,
                   double) {
  // Of up to 1 kB: by itself, as a value of a tape, and as rows of a larger array; the second product may find what the first kept.
  for (const auto& size : std::vector<std::array<Size, 2>>{{8, 16}, {8, 8}, {2, 32}, {11, 7}}) {
    const Size k = size[0], n = size[1];
    const Var<T> W = normal<T>(Key(1), {k, n}), taller = concat<T>({W, W}, 0);
    for (const Size m : {1, 2, 7}) {
      CAPTURE(m);
      CAPTURE(k);
      CAPTURE(n);
      const Var<T> x = normal<T>(Key(2), {m, k}), z = normal<T>(Key(3), {m, n});
      const auto products = [&](const Var<T>& w) {
        return std::vector{matmul(x, w).to_vector(), linear(z, w).to_vector()};
      };
      const auto expected = products(W);
      CHECK(products(W) == expected);
      CHECK(products(slice(taller, 0, {k, 2 * k})) == expected);
      Tape<T> tape;
      const Var<T> w = tape.leaf(W) * 1;
      CHECK(products(w) == expected);
      CHECK(products(w) == expected);
    }
  }
}

TEST_CASE_TEMPLATE("NaN and inf in a factor reach the product where they should and nowhere else",
                   T, float, double) {
  const T nan = std::numeric_limits<T>::quiet_NaN();
  for (const Size n : {3, 20, 70}) {
    std::vector<T> a(static_cast<std::size_t>(n * n), 1), b(a), c(a);
    a[static_cast<std::size_t>(1 * n + 2)] = nan;
    detail::gemm<T>(n, n, n, {a.data(), n, 1}, {b.data(), n, 1}, c.data(), n, false);
    for (Size i = 0; i < n; ++i) {
      for (Size j = 0; j < n; ++j)
        CHECK(std::isnan(c[static_cast<std::size_t>(i * n + j)]) == (i == 1));
    }
  }
}

TEST_CASE_TEMPLATE("The rows of many products with one weight sum to its gradient", T, float,
                   double) {
  // d/dW Σ_t <g_t, W x_t> = Σ_t g_tᵀ x_t, whose rows wait for each other: any number of any width.
  const std::vector<std::array<Size, 2>> widths{{1, 1},   {3, 5},   {7, 33},   {48, 16},
                                                {16, 48}, {130, 7}, {1000, 24}};
  for (const auto& sizes : widths) {
    const Size m = sizes[0], n = sizes[1];  // clang captures no structured binding
    for (const Size k : {1, 2, 63, 64, 65, 200, 256, 257, 600}) {
      const Stored<T> g = store<T>(k, m, Layout::rows, 1), x = store<T>(k, n, Layout::rows, 2);
      const auto row = [](const Stored<T>& s, Size t, Size width) {
        return Var<T>(Shape{1, width}, std::span<const T>(s.matrix.data + t * width,
                                                          static_cast<std::size_t>(width)));
      };
      const auto loss = [&](const Var<T>& W) {
        Var<T> sum = T(0);
        for (Size t = k; t-- > 0;) sum += unroll::sum(linear(row(x, t, n), W) * row(g, t, m));
        return sum;
      };
      const std::vector<T> first = grad(loss)(zeros<T>({m, n})).to_vector();
      double worst = 0;
      for (Size i = 0; i < m; ++i) {
        for (Size j = 0; j < n; ++j) {
          double sum = 0;
          for (Size t = 0; t < k; ++t)
            sum += static_cast<double>(g(t, i)) * static_cast<double>(x(t, j));
          const double error =
              std::abs(static_cast<double>(first[static_cast<std::size_t>(i * n + j)]) - sum);
          worst = error <= worst ? worst : error;  // NaN becomes the worst
        }
      }
      INFO(k << " rows of " << m << " and " << n);
      CHECK(worst <= (std::is_same_v<T, float> ? 2e-6 : 3e-15) * static_cast<double>(k + 4));
      // With the room that these took from the first row on, and with what others leave.
      CHECK(grad(loss)(zeros<T>({m, n})).to_vector() == first);
      const auto both = [&](const Var<T>& W, const Var<T>& other) {
        return loss(W) + sum(linear(row(x, 0, n), other));
      };
      CHECK(std::get<0>(grad(both)(zeros<T>({m, n}), zeros<T>({2, n}))).to_vector() == first);
    }
  }
}

TEST_CASE("The same product has the same bits each time it is computed") {
  const Stored<float> a = store<float>(33, 129, Layout::rows, 1),
                      b = store<float>(129, 65, Layout::columns, 2);
  std::vector<float> first(33 * 65), again(33 * 65);
  detail::gemm(33, 65, 129, a.matrix, b.matrix, first.data(), 65, false);
  for (int round = 0; round < 5; ++round) {
    detail::gemm(33, 65, 129, a.matrix, b.matrix, again.data(), 65, false);
    CHECK(again == first);
  }
}

TEST_CASE("gemm_calls counts the products of this thread") {
  const Size before = detail::gemm_calls();
  const auto y = matmul(ones<float>({3, 4}), ones<float>({4, 2}));
  CHECK(y.to_vector() == std::vector<float>(6, 4));
  CHECK(detail::gemm_calls() == before + 1);
}

TEST_CASE("UNROLL_GEMM chooses who multiplies, and a mistyped value is an error") {
  using detail::GemmPath;
  CHECK(detail::gemm_path("") == GemmPath::own);
  CHECK(detail::gemm_path("plain") == GemmPath::plain);
  CHECK_THROWS_WITH_AS((void)detail::gemm_path("Plain"),
                       "[gemm] the environment variable UNROLL_GEMM is \"Plain\"; it may be "
                       "\"plain\" (all products by "
                       "BLAS) or unset",
                       std::invalid_argument);
  const char* wish = std::getenv("UNROLL_GEMM");
  CHECK(detail::gemm_path() == detail::gemm_path(wish ? wish : ""));
}

TEST_CASE("With UNROLL_GEMM=plain every product has the bits of one call of cblas") {
  if (detail::gemm_path() != detail::GemmPath::plain) return;
  for (const auto& sizes : std::vector<std::array<Size, 3>>{
           {1, 100, 64}, {3, 5, 7}, {8, 8, 8}, {16, 512, 65}, {40, 1, 33}, {97, 101, 103}}) {
    const Size m = sizes[0], n = sizes[1], k = sizes[2];
    const Stored<float> a = store<float>(m, k, Layout::rows, 1),
                        w = store<float>(n, k, Layout::rows, 2);
    const auto i = [](Size x) { return static_cast<blasint>(x); };
    std::vector<float> expected(static_cast<std::size_t>(m * n)), got(expected);
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, i(m), i(n), i(k), 1, a.matrix.data, i(k),
                w.matrix.data, i(k), 0, expected.data(), i(n));
    INFO("[" << m << ", " << k << "] x [" << k << ", " << n << "]");
    detail::gemm(m, n, k, a.matrix, w.matrix.transposed(), got.data(), n, false);
    CHECK(got == expected);
    const Var<float> W({n, k},
                       std::span<const float>(w.matrix.data, static_cast<std::size_t>(n * k)));
    const detail::RightMatrix<float> right(*W.handle().block(), true, m);
    for (int use = 0; use < 3; ++use) {  // no packed form is kept
      detail::gemm_by_matrix(m, a.matrix, *W.handle().block(), true, got.data(), n);
      CHECK(got == expected);
      right(a.matrix.data, k, got.data(), n, false);
      CHECK(got == expected);
    }
  }
}
