// A matrix product by register tiles over packed panels: what the hand-written steps run on.
//
//   PackedMatrix<float> w(k, n);                       // room for any B of k x n
//   w.pack({data, row, column});                       // B[p, j] = data[p * row + j * column]
//   multiply(m, {a, k, 1}, w, c, n, /*accumulate=*/true, scratch);
//
// B lies in panels of a few lanes, each panel contiguous over k, so the inner loop reads memory in order. A is read by
// broadcast; where its rows are not contiguous it is packed first, into `scratch`. No call allocates.
#pragma once

#include <algorithm>
#include <cstring>
#include <type_traits>
#include <utility>
#include <vector>

#include "unroll/autograd/kernels.hpp"
#include "unroll/autograd/lane.hpp"

namespace unroll::bench {

using detail::Matrix;

template <class T>
struct Tile {
  static constexpr Size width = Lane<T>::width;
  static constexpr bool wide = width * sizeof(T) == 64;  // 32 registers
  static constexpr int rows = wide ? 8 : 6;
  static constexpr int lanes = 2;
};
constexpr Size depth = 256;       // of k, per block
constexpr Size block_rows = 256;  // of A, packed at once

namespace inner {
// out[i, j] = in[j, i] for a square of width x width: each stage interleaves the halves, and log2(width) of them transpose.
template <class T>
void transpose_square(const T* in, Size in_row, T* out, Size out_row) {
  constexpr int w = static_cast<int>(Lane<T>::width);
  typedef T Vector __attribute__((vector_size(w * sizeof(T))));
  const auto interleave = []<int... I>(const Vector& a, const Vector& b, std::integer_sequence<int, I...>,
                                       auto first) {
    constexpr int start = decltype(first)::value;
    return __builtin_shufflevector(a, b, ((I % 2) * w + start + I / 2)...);
  };
  constexpr auto all = std::make_integer_sequence<int, w>();
  Vector v[w], next[w];
  for (int i = 0; i < w; ++i) std::memcpy(&v[i], in + i * in_row, sizeof(Vector));
  for (int stage = 1; stage < w; stage *= 2) {
    for (int i = 0; i < w / 2; ++i) {
      next[2 * i] = interleave(v[i], v[i + w / 2], all, std::integral_constant<int, 0>());
      next[2 * i + 1] = interleave(v[i], v[i + w / 2], all, std::integral_constant<int, w / 2>());
    }
    for (int i = 0; i < w; ++i) v[i] = next[i];
  }
  for (int i = 0; i < w; ++i) std::memcpy(out + i * out_row, &v[i], sizeof(Vector));
}
}  // namespace inner

// k x n, in panels of `lanes` SIMD lanes; the last panel is filled up with zeros.
template <class T>
class PackedMatrix {
 public:
  PackedMatrix() = default;
  PackedMatrix(Size k, Size n, int lanes = Tile<T>::lanes)
      : k_(k), n_(n), lanes_(lanes), panel_(lanes * Lane<T>::width) {
    storage_.resize(static_cast<std::size_t>(panels() * panel_ * k + 16));
    const auto address = reinterpret_cast<std::uintptr_t>(storage_.data());
    data_ = storage_.data() + ((64 - address % 64) % 64) / sizeof(T);
  }
  PackedMatrix(const PackedMatrix&) = delete;
  PackedMatrix& operator=(const PackedMatrix&) = delete;
  PackedMatrix(PackedMatrix&&) = default;
  PackedMatrix& operator=(PackedMatrix&&) = default;

  // B may be smaller than the room.
  void pack(const Matrix<T>& b, Size k, Size n) {
    k_ = k;
    n_ = n;
    for (Size j = 0; j < panels(); ++j) {
      T* out = data_ + j * panel_ * k_;
      const Size columns = std::min(panel_, n_ - j * panel_);
      const T* in = b.data + j * panel_ * b.column;
      if (columns < panel_) std::fill_n(out, panel_ * k_, T(0));
      if (b.column == 1) {
        if (columns == panel_) {
          constexpr Size w = Lane<T>::width;
          for (Size p = 0; p < k_; ++p) {
            for (Size i = 0; i < panel_; i += w) {
              Lane<T>::load(in + p * b.row + i).store(out + p * panel_ + i);
            }
          }
          continue;
        }
        for (Size p = 0; p < k_; ++p) std::copy_n(in + p * b.row, columns, out + p * panel_);
      } else {
        pack_columns(in, b.row, b.column, columns, out);
      }
    }
  }
  void pack(const Matrix<T>& b) { pack(b, k_, n_); }

  Size k() const { return k_; }
  Size n() const { return n_; }
  int lanes() const { return lanes_; }
  Size panels() const { return (n_ + panel_ - 1) / panel_; }
  Size panel_width() const { return panel_; }
  const T* panel(Size j) const { return data_ + j * panel_ * k_; }
  std::size_t bytes() const { return storage_.size() * sizeof(T); }

 private:
  // In squares of a register's width, transposed by interleaving where rows of B's transpose are contiguous.
  void pack_columns(const T* in, Size row, Size column, Size columns, T* out) {
    constexpr Size w = Lane<T>::width;
    for (Size j = 0; j < columns; j += w) {
      for (Size p = 0; p < k_; p += w) {
        if (row == 1 && j + w <= columns && p + w <= k_) {
          inner::transpose_square(in + p + j * column, column, out + p * panel_ + j, panel_);
          continue;
        }
        const Size je = std::min(j + w, columns), pe = std::min(p + w, k_);
        for (Size q = p; q < pe; ++q) {
          for (Size i = j; i < je; ++i) out[q * panel_ + i] = in[q * row + i * column];
        }
      }
    }
  }
  Size k_ = 0, n_ = 0;
  int lanes_ = 1;
  Size panel_ = 1;
  std::vector<T> storage_;
  T* data_ = nullptr;
};

namespace inner {

template <class T>
Lane<T> load_part(const T* p, Size n) {
  T tmp[Lane<T>::width] = {};
  std::copy_n(p, n, tmp);
  return Lane<T>::load(tmp);
}
template <class T>
void store_part(const Lane<T>& x, T* p, Size n) {
  T tmp[Lane<T>::width];
  x.store(tmp);
  std::copy_n(tmp, n, p);
}

// Rows x Lanes lanes of C. `columns` of them exist. A[i, p] = a[i * row + p * column].
template <class T, int Rows, int Lanes>
void tile(Size k, const T* a, Size row, Size column, const T* b, T* c, Size c_row, Size columns,
          bool accumulate) {
  constexpr Size w = Lane<T>::width;
  typename Lane<T>::Batch sum[Rows][Lanes];
  for (int i = 0; i < Rows; ++i) {
    for (int j = 0; j < Lanes; ++j) sum[i][j] = typename Lane<T>::Batch(T(0));
  }
  for (Size p = 0; p < k; ++p) {
    typename Lane<T>::Batch v[Lanes];
    for (int j = 0; j < Lanes; ++j) v[j] = Lane<T>::Batch::load_unaligned(b + j * w);
    b += Lanes * w;
    for (int i = 0; i < Rows; ++i) {
      const typename Lane<T>::Batch s(a[i * row + p * column]);
      for (int j = 0; j < Lanes; ++j) sum[i][j] = xsimd::fma(s, v[j], sum[i][j]);
    }
  }
  for (int i = 0; i < Rows; ++i) {
    for (int j = 0; j < Lanes; ++j) {
      T* out = c + i * c_row + j * w;
      const Size n = std::min<Size>(w, columns - j * w);
      const Lane<T> s(sum[i][j]);
      if (n == w) {
        (accumulate ? Lane<T>::load(out) + s : s).store(out);
      } else if (n > 0) {
        store_part(accumulate ? load_part(out, n) + s : s, out, n);
      }
    }
  }
}

// One row: `Chains` partial sums over k hide the latency where there are few lanes.
template <class T, int Lanes, int Chains>
void row_tile(Size k, const T* a, const T* b, T* c, Size columns, bool accumulate) {
  constexpr Size w = Lane<T>::width;
  typename Lane<T>::Batch sum[Chains][Lanes];
  for (int q = 0; q < Chains; ++q) {
    for (int j = 0; j < Lanes; ++j) sum[q][j] = typename Lane<T>::Batch(T(0));
  }
  Size p = 0;
  for (; p + Chains <= k; p += Chains) {
    for (int q = 0; q < Chains; ++q) {
      const typename Lane<T>::Batch s(a[p + q]);
      for (int j = 0; j < Lanes; ++j) {
        sum[q][j] = xsimd::fma(s, Lane<T>::Batch::load_unaligned(b + j * w), sum[q][j]);
      }
      b += Lanes * w;
    }
  }
  for (; p < k; ++p) {
    const typename Lane<T>::Batch s(a[p]);
    for (int j = 0; j < Lanes; ++j) {
      sum[0][j] = xsimd::fma(s, Lane<T>::Batch::load_unaligned(b + j * w), sum[0][j]);
    }
    b += Lanes * w;
  }
  for (int j = 0; j < Lanes; ++j) {
    for (int half = Chains / 2; half > 0; half /= 2) {
      for (int q = 0; q < half; ++q) sum[q][j] = sum[q][j] + sum[q + half][j];
    }
    T* out = c + j * w;
    const Size n = std::min<Size>(w, columns - j * w);
    const Lane<T> s(sum[0][j]);
    if (n == w) {
      (accumulate ? Lane<T>::load(out) + s : s).store(out);
    } else if (n > 0) {
      store_part(accumulate ? load_part(out, n) + s : s, out, n);
    }
  }
}

template <class T, int Rows>
void some_rows(Size rows, Size k, const T* a, Size row, Size column, const T* b, T* c, Size c_row,
               Size columns, bool accumulate) {
  if (rows == Rows) {
    tile<T, Rows, Tile<T>::lanes>(k, a, row, column, b, c, c_row, columns, accumulate);
  } else if constexpr (Rows > 1) {
    some_rows<T, Rows - 1>(rows, k, a, row, column, b, c, c_row, columns, accumulate);
  }
}

}  // namespace inner

// c [n] (+)= a [k] · B, one row.
template <class T>
void multiply_row(const T* a, const PackedMatrix<T>& b, T* c, bool accumulate) {
  for (Size j = 0; j < b.panels(); ++j) {
    const Size first = j * b.panel_width(), columns = std::min(b.panel_width(), b.n() - first);
    switch (b.lanes()) {
      case 8: inner::row_tile<T, 8, 1>(b.k(), a, b.panel(j), c + first, columns, accumulate); break;
      case 4: inner::row_tile<T, 4, 2>(b.k(), a, b.panel(j), c + first, columns, accumulate); break;
      case 2: inner::row_tile<T, 2, 4>(b.k(), a, b.panel(j), c + first, columns, accumulate); break;
      default: inner::row_tile<T, 1, 8>(b.k(), a, b.panel(j), c + first, columns, accumulate);
    }
  }
}
// The widest panel that a row of n elements fills.
template <class T>
int row_lanes(Size n) {
  const Size lanes = (n + Lane<T>::width - 1) / static_cast<Size>(Lane<T>::width);
  return lanes >= 8 ? 8 : lanes >= 4 ? 4 : lanes >= 2 ? 2 : 1;
}

// C [m, n] (+)= A·B for an A whose rows are contiguous and a B of tile panels, all of k at once.
template <class T>
void multiply(Size m, const T* a, Size a_row, const PackedMatrix<T>& b, T* c, Size c_row,
              bool accumulate) {
  constexpr int rows = Tile<T>::rows;
  for (Size j = 0; j < b.panels(); ++j) {
    const Size first = j * b.panel_width(), columns = std::min(b.panel_width(), b.n() - first);
    for (Size i = 0; i < m; i += rows) {
      inner::some_rows<T, rows>(std::min<Size>(rows, m - i), b.k(), a + i * a_row, a_row, 1,
                                b.panel(j), c + i * c_row + first, c_row, columns, accumulate);
    }
  }
}

// C [m, n] (+)= A·B of any size, in blocks; owns the room for packed operands.
template <class T>
class Gemm {
 public:
  // Room for products with n up to max_n.
  explicit Gemm(Size max_n)
      : b_(depth, max_n), a_(static_cast<std::size_t>(depth * (block_rows + Tile<T>::rows))) {}

  void operator()(Size m, Size n, Size k, Matrix<T> a, Matrix<T> b, T* c, Size c_row,
                  bool accumulate) {
    for (Size p = 0; p < k; p += depth) {
      const Size kc = std::min(depth, k - p);
      b_.pack({b.data + p * b.row, b.row, b.column}, kc, n);
      const Matrix<T> part{a.data + p * a.column, a.row, a.column};
      const bool add = accumulate || p > 0;
      for (Size i = 0; i < m; i += block_rows) {
        const Size mc = std::min(block_rows, m - i);
        if (a.column == 1) {
          multiply(mc, part.data + i * a.row, a.row, b_, c + i * c_row, c_row, add);
        } else {
          packed_rows(mc, kc, {part.data + i * a.row, a.row, a.column}, c + i * c_row, c_row, add);
        }
      }
    }
  }
  std::size_t bytes() const { return b_.bytes() + a_.size() * sizeof(T); }

 private:
  void packed_rows(Size m, Size k, Matrix<T> a, T* c, Size c_row, bool accumulate) {
    constexpr int rows = Tile<T>::rows;
    for (Size i = 0; i < m; i += rows) {
      const Size count = std::min<Size>(rows, m - i);
      T* out = a_.data() + i * k;
      if (count == rows && a.row == 1) {
        for (Size p = 0; p < k; ++p) {
          std::copy_n(a.data + i + p * a.column, rows, out + p * rows);
        }
        continue;
      }
      for (Size p = 0; p < k; ++p) {
        for (Size r = 0; r < count; ++r) {
          out[p * rows + r] = a.data[(i + r) * a.row + p * a.column];
        }
      }
    }
    for (Size j = 0; j < b_.panels(); ++j) {
      const Size first = j * b_.panel_width(), columns = std::min(b_.panel_width(), b_.n() - first);
      for (Size i = 0; i < m; i += rows) {
        inner::some_rows<T, rows>(std::min<Size>(rows, m - i), k, a_.data() + i * k, 1, rows,
                                  b_.panel(j), c + i * c_row + first, c_row, columns, accumulate);
      }
    }
  }
  PackedMatrix<T> b_;
  std::vector<T> a_;
};

}  // namespace unroll::bench
