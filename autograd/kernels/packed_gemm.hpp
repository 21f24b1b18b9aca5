// A matrix product by register tiles over packed panels.
//
//   const auto form = Panels<T>::of_tiles(k, n);
//   std::vector<T> room(form.elements());
//   const Panels<T> B = pack(room.data(), {data, row, column}, form);           // B[p, j] = data[p * row + j * column]
//   multiply(m, {a, k, 1}, B, c, n, /*accumulate=*/true);
//
// B lies in panels of a few lanes, each panel contiguous over k, so the inner loop reads memory in order. The order in which
// an element of the product is summed depends on k and on who reads the panels alone, hence so do its bits.
#pragma once

#include <algorithm>
#include <array>
#include <cstring>
#include <type_traits>
#include <utility>

#include "unroll/autograd/kernels.hpp"
#include "unroll/autograd/lane.hpp"

namespace unroll::detail {

// A tile's sums stay in registers, with two of B's lanes and an element of A's: 16 sums of 32 registers, 12 of 16. AVX-512 and
// 64-bit ARM have 32.
#ifdef __aarch64__
constexpr bool many_registers = true;
#else
constexpr bool many_registers = sizeof(Lane<float>) == 64;
#endif
template <class T>
struct Tile {
  static constexpr Size width = Lane<T>::width;
  static constexpr int rows = many_registers ? 8 : 6;
  static constexpr int lanes = 2;
};
constexpr Size depth = 256;       // of k, per block
constexpr Size block_rows = 256;  // of A, packed at once

namespace tiles {
// out[i, j] = in[j, i] for a square of width x width: each stage interleaves the halves, and log2(width) of them transpose.
template <class T>
void transpose_square(const T* in, Size in_row, T* out, Size out_row) {
  constexpr int w = static_cast<int>(Lane<T>::width);
  typedef T Vector __attribute__((vector_size(w * sizeof(T))));
  const auto interleave =
      []<int... I>(const Vector& a, const Vector& b, std::integer_sequence<int, I...>, auto first) {
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
}  // namespace tiles

// The lanes of the panels that a row of so many lanes fills best: few panels, with few lanes left empty in the last.
constexpr auto best_panel = [] {
  std::array<std::uint8_t, 65> best{};
  for (int lanes = 0; lanes <= 64; ++lanes) {
    const auto cost = [&](int x) { return (lanes + x - 1) / x * (x + 1); };
    int least = 8;
    for (const int x : {6, 4, 3, 2, 1}) {
      if (cost(x) < cost(least)) least = x;
    }
    best[static_cast<std::size_t>(lanes)] = static_cast<std::uint8_t>(least);
  }
  return best;
}();
template <class T>
int row_lanes(Size n) {
  constexpr auto width = static_cast<Size>(Lane<T>::width);
  const Size lanes = (n + width - 1) / width;
  return best_panel[static_cast<std::size_t>(std::min<Size>(lanes, 64))];
}

// How k x n lies in panels of `lanes` SIMD lanes. The last panel is filled up with zeros: a row's to all of its lanes, a tile's to
// those that it has columns for.
template <class T>
struct Panels {
  Size k, n;
  int lanes;
  bool whole;  // the last panel has as many lanes as the others
  const T* data = nullptr;

  // For `multiply`, and for `multiply_row` and what gives the same bits.
  static Panels of_tiles(Size k, Size n) { return {k, n, Tile<T>::lanes, false}; }
  static Panels of_row(Size k, Size n) { return {k, n, row_lanes<T>(n), true}; }

  Size width() const { return lanes * lane; }
  Size count() const { return (n + width() - 1) / width(); }
  const T* panel(Size j) const { return data + j * width() * k; }
  // Of a panel of so many columns: with those that are filled up.
  Size filled(Size columns) const {
    return whole ? width() : std::min(width(), (columns + lane - 1) / lane * lane);
  }
  Size elements() const { return (whole ? count() * width() : (n + lane - 1) / lane * lane) * k; }

 private:
  static constexpr auto lane = static_cast<Size>(Lane<T>::width);
};

namespace tiles {
// In squares of a register's width, transposed by interleaving where rows of B's transpose are contiguous.
template <class T>
void pack_columns(const T* in, Size k, Size row, Size column, Size columns, Size width, T* out) {
  constexpr Size w = Lane<T>::width;
  for (Size j = 0; j < columns; j += w) {
    for (Size p = 0; p < k; p += w) {
      if (row == 1 && j + w <= columns && p + w <= k) {
        transpose_square(in + p + j * column, column, out + p * width + j, width);
        continue;
      }
      const Size je = std::min(j + w, columns), pe = std::min(p + w, k);
      for (Size q = p; q < pe; ++q) {
        for (Size i = j; i < je; ++i) out[q * width + i] = in[q * row + i * column];
      }
    }
  }
}
}  // namespace tiles

template <class T>
Panels<T> pack(T* room, const Matrix<T>& b, Panels<T> form) {
  form.data = room;
  const Size k = form.k;
  for (Size j = 0; j < form.count(); ++j) {
    T* out = room + j * form.width() * k;
    const Size columns = std::min(form.width(), form.n - j * form.width());
    const Size width = form.filled(columns);
    const T* in = b.data + j * form.width() * b.column;
    if (b.column != 1) {
      if (columns < width) std::fill_n(out, width * k, T(0));
      tiles::pack_columns(in, k, b.row, b.column, columns, width, out);
      continue;
    }
    for (Size p = 0; p < k; ++p, in += b.row, out += width) {  // a call of memmove takes longer
      for_each_lane<T>(columns, [&](auto load, auto store) { store(out, load(in)); });
      if (columns < width) std::fill(out + columns, out + width, T(0));
    }
  }
  return form;
}

namespace tiles {

// Rows x Lanes lanes of C. `columns` of them exist. A[i, p] = a[i * row + p * column].
template <class T, int Rows, int Lanes>
void tile(Size k, const T* a, Size row, Size column, const T* b, T* c, Size c_row, Size columns,
          bool accumulate) {
  using Batch = typename Lane<T>::Batch;
  constexpr Size w = Lane<T>::width;
  Batch sum[Rows][Lanes];  // all loops over it are unrolled early, or g++ stores it at each p
#pragma GCC unroll 8
  for (int i = 0; i < Rows; ++i) {
#pragma GCC unroll 8
    for (int j = 0; j < Lanes; ++j) sum[i][j] = Batch(T(0));
  }
  for (Size p = 0; p < k; ++p) {
    Batch v[Lanes];
#pragma GCC unroll 8
    for (int j = 0; j < Lanes; ++j) v[j] = Batch::load_unaligned(b + j * w);
    b += Lanes * w;
#pragma GCC unroll 8
    for (int i = 0; i < Rows; ++i) {
      const Batch s(a[i * row + p * column]);
#pragma GCC unroll 8
      for (int j = 0; j < Lanes; ++j) sum[i][j] = xsimd::fma(s, v[j], sum[i][j]);
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < Rows; ++i) {
#pragma GCC unroll 8
    for (int j = 0; j < Lanes; ++j) {
      T* out = c + i * c_row + j * w;
      const Size n = std::min<Size>(w, columns - j * w);
      const Lane<T> s(sum[i][j]);
      if (n == w) {
        (accumulate ? Lane<T>::load(out) + s : s).store(out);
      } else if (n > 0) {
        (accumulate ? Lane<T>::load_part(out, n) + s : s).store_part(out, n);
      }
    }
  }
}

// sum[0][j] becomes the sum of all; the number of additions is known early, or g++ stores all sums at each p.
template <int Half, class Batch, int Chains, int Part>
[[gnu::always_inline]] inline void add_chains(Batch (&sum)[Chains][Part], int j) {
  if constexpr (Half > 0) {
#pragma GCC unroll 4
    for (int q = 0; q < Half; ++q) sum[q][j] = sum[q][j] + sum[q + Half][j];
    add_chains<Half / 2>(sum, j);
  }
}

// Rows x Part lanes of C, over a panel of `Lanes` lanes (b is where the part begins): `Chains` partial sums over k hide the
// latency where there are few lanes. An element's bits do not depend on Rows and Part.
template <class T, int Rows, int Part, int Lanes, int Chains>
void row_tile(Size k, const T* a, Size a_row, const T* b, T* c, Size c_row, Size columns,
              bool accumulate) {
  using Batch = typename Lane<T>::Batch;
  constexpr Size w = Lane<T>::width;
  Batch sum[Rows][Chains][Part];
#pragma GCC unroll 8
  for (int i = 0; i < Rows; ++i) {
#pragma GCC unroll 8
    for (int q = 0; q < Chains; ++q) {
#pragma GCC unroll 8
      for (int j = 0; j < Part; ++j) sum[i][q][j] = Batch(T(0));
    }
  }
  const auto add = [&](Size p, int chain) {
    Batch v[Part];
#pragma GCC unroll 8
    for (int j = 0; j < Part; ++j) v[j] = Batch::load_unaligned(b + p * (Lanes * w) + j * w);
#pragma GCC unroll 8
    for (int i = 0; i < Rows; ++i) {
      const Batch s(a[i * a_row + p]);
#pragma GCC unroll 8
      for (int j = 0; j < Part; ++j) sum[i][chain][j] = xsimd::fma(s, v[j], sum[i][chain][j]);
    }
  };
  const Size whole = k - k % Chains;
  if constexpr (Rows == 1) {
    for (Size p = 0; p < whole; p += Chains) {
#pragma GCC unroll 8
      for (int q = 0; q < Chains; ++q) add(p + q, q);
    }
  } else {  // one after the other: compilers load B's elements again for each row where chains mix
#pragma GCC unroll 8
    for (int q = 0; q < Chains; ++q) {
      for (Size p = q; p < whole; p += Chains) add(p, q);
    }
  }
  for (Size p = whole; p < k; ++p) add(p, 0);
#pragma GCC unroll 8
  for (int i = 0; i < Rows; ++i) {
#pragma GCC unroll 8
    for (int j = 0; j < Part; ++j) {
      add_chains<Chains / 2>(sum[i], j);
      T* out = c + i * c_row + j * w;
      const Size n = std::min<Size>(w, columns - j * w);
      const Lane<T> s(sum[i][0][j]);
      if (n == w) {
        (accumulate ? Lane<T>::load(out) + s : s).store(out);
      } else if (n > 0) {
        (accumulate ? Lane<T>::load_part(out, n) + s : s).store_part(out, n);
      }
    }
  }
}

template <class T, int Rows, int Lanes>
void some_rows_of(Size rows, Size k, const T* a, Size row, Size column, const T* b, T* c,
                  Size c_row, Size columns, bool accumulate) {
  if (rows == Rows) {
    tile<T, Rows, Lanes>(k, a, row, column, b, c, c_row, columns, accumulate);
  } else if constexpr (Rows > 1) {
    some_rows_of<T, Rows - 1, Lanes>(rows, k, a, row, column, b, c, c_row, columns, accumulate);
  }
}
// Up to Rows of them, over a panel of Panels::of_tiles.
template <class T, int Rows>
void some_rows(Size rows, Size k, const T* a, Size row, Size column, const T* b, T* c, Size c_row,
               Size columns, bool accumulate) {
  static_assert(Tile<T>::lanes == 2);
  if (columns <= static_cast<Size>(Lane<T>::width)) {
    some_rows_of<T, Rows, 1>(rows, k, a, row, column, b, c, c_row, columns, accumulate);
  } else {
    some_rows_of<T, Rows, 2>(rows, k, a, row, column, b, c, c_row, columns, accumulate);
  }
}

}  // namespace tiles

// f.template operator()<Lanes, Chains>() for what a panel of so many lanes is read with.
template <class F>
void for_row_panel(int lanes, F&& f) {
  switch (lanes) {
    case 8:
      return f.template operator()<8, 1>();
    case 6:
      return f.template operator()<6, 2>();
    case 4:
      return f.template operator()<4, 2>();
    case 3:
      return f.template operator()<3, 4>();
    case 2:
      return f.template operator()<2, 4>();
    default:
      return f.template operator()<1, 8>();
  }
}
// Which way this thread reads B next, for a few matrices at a time. A loop that reads a matrix in one order, with a little other
// memory between, finds nothing of it left in a cache that is just too small for both; every other time backwards, it finds what it
// read last. An element's bits do not depend on it, only on its own panel.
inline bool reads_backwards(const void* b) {
  [[gnu::tls_model("initial-exec")]] static constinit thread_local std::uint8_t turns[16] = {};
  std::uint8_t& turn = turns[reinterpret_cast<std::uintptr_t>(b) / 64 % 16];
  return (turn ^= 1) != 0;
}

// c [n] (+)= a [k] · B, one row: what does it for panels of so many lanes.
template <class T>
using RowByPanels = void (*)(const T* a, const Panels<T>& b, T* c, bool accumulate);
template <class T>
RowByPanels<T> row_by_panels(int lanes) {
  RowByPanels<T> chosen = nullptr;
  for_row_panel(lanes, [&]<int Lanes, int Chains>() {
    chosen = [](const T* a, const Panels<T>& b, T* c, bool accumulate) {
      constexpr Size width = Lanes * static_cast<Size>(Lane<T>::width);
      const auto panel = [&](Size first) {
        tiles::row_tile<T, 1, Lanes, Lanes, Chains>(b.k, a, 0, b.data + first * b.k, c + first, 0,
                                                    std::min(width, b.n - first), accumulate);
      };
      if (b.n <= width) {
        if (b.n > 0) panel(0);
      } else if (reads_backwards(b.data)) {
        for (Size first = (b.n - 1) / width * width; first >= 0; first -= width) panel(first);
      } else {
        for (Size first = 0; first < b.n; first += width) panel(first);
      }
    };
  });
  return chosen;
}
template <class T>
void multiply_row(const T* a, const Panels<T>& b, T* c, bool accumulate) {
  row_by_panels<T>(b.lanes)(a, b, c, accumulate);
}

// What stands in front of a packed form that a matrix keeps (Block::packed_forms): its elements follow on the next cache line.
template <class T>
struct KeptForm {
  Panels<T> panels;
  RowByPanels<T> row;  // of a form for one row: what multiplies it

  static constexpr Size elements = 64 / Size{sizeof(T)};  // that it takes the place of
};
static_assert(sizeof(KeptForm<float>) <= 64);

namespace tiles {
template <class T, int Rows, int Part, int Lanes, int Chains>
void some_rows_alike(Size rows, Size k, const T* a, Size a_row, const T* b, T* c, Size c_row,
                     Size columns) {
  if (rows == Rows) {
    row_tile<T, Rows, Part, Lanes, Chains>(k, a, a_row, b, c, c_row, columns, false);
  } else if constexpr (Rows > 1) {
    some_rows_alike<T, Rows - 1, Part, Lanes, Chains>(rows, k, a, a_row, b, c, c_row, columns);
  }
}
}  // namespace tiles

// C [m, n] = A [m, k] · B with the bits that multiply_row gives for each row, some rows at once.
template <class T>
void multiply_rows_alike(Size m, const T* a, Size a_row, const Panels<T>& b, T* c, Size c_row) {
  for_row_panel(b.lanes, [&]<int Lanes, int Chains>() {
    // As many sums as there are registers for, besides those for B's elements and one of A's.
    constexpr int sums = many_registers ? 24 : 12;
    constexpr int most = many_registers ? 4 : std::max(4 / Chains, 1);
    constexpr int part = Lanes <= most ? Lanes : Lanes % 4 == 0 ? most : std::min(most, 3);
    static_assert(Lanes % part == 0);
    constexpr int rows = std::max(sums / (part * Chains), 1);
    constexpr Size step = part * static_cast<Size>(Lane<T>::width);
    for (Size first = 0; first < b.n; first += step) {
      const Size panel = first / b.width(), columns = std::min(step, b.n - first);
      const T* from = b.panel(panel) + (first - panel * b.width());
      for (Size i = 0; i < m; i += rows) {
        tiles::some_rows_alike<T, rows, part, Lanes, Chains>(std::min<Size>(rows, m - i), b.k,
                                                             a + i * a_row, a_row, from,
                                                             c + i * c_row + first, c_row, columns);
      }
    }
  });
}

// C [m, n] (+)= A·B for panels of tiles, all of k at once.
template <class T>
void multiply(Size m, const Matrix<T>& a, const Panels<T>& b, T* c, Size c_row, bool accumulate) {
  constexpr int rows = Tile<T>::rows;
  for (Size j = 0; j < b.count(); ++j) {
    const Size first = j * b.width(), columns = std::min(b.width(), b.n - first);
    for (Size i = 0; i < m; i += rows) {
      tiles::some_rows<T, rows>(std::min<Size>(rows, m - i), b.k, a.data + i * a.row, a.row,
                                a.column, b.panel(j), c + i * c_row + first, c_row, columns,
                                accumulate);
    }
  }
}

// Rows of A in groups of Tile<T>::rows, each group contiguous over k. Where A's columns are contiguous, a few of them are
// copied for all groups before the next few: lines that lie a power of two apart would evict each other otherwise.
template <class T>
void pack_rows(T* room, const Matrix<T>& a, Size m, Size k) {
  constexpr Size rows = Tile<T>::rows, few = 8;
  for (Size p = 0; p < k; p += few) {
    const Size end = std::min(p + few, k);
    for (Size i = 0; i < m; i += rows) {
      const Size count = std::min(rows, m - i);
      T* out = room + i * k;
      const T* in = a.data + i * a.row;
      if (count == rows && a.row == 1) {
        for (Size q = p; q < end; ++q) {  // not copy_n: compilers call memmove for six elements
          std::memcpy(out + q * rows, in + q * a.column, rows * sizeof(T));
        }
        continue;
      }
      for (Size q = p; q < end; ++q) {
        for (Size r = 0; r < count; ++r) out[q * rows + r] = in[r * a.row + q * a.column];
      }
    }
  }
}

// C [m, n] (+)= A·B of any size and steps, in blocks of k and m that stay in the caches; `room` holds
// blocked_room<T>(n) elements.
template <class T>
Size blocked_room(Size n) {
  return Panels<T>::of_tiles(depth, n).elements() + depth * (block_rows + Tile<T>::rows);
}
template <class T>
void multiply_blocked(Size m, Size n, Size k, const Matrix<T>& a, const Matrix<T>& b, T* c,
                      Size c_row, bool accumulate, T* room) {
  constexpr int rows = Tile<T>::rows;
  T* a_room = room + Panels<T>::of_tiles(depth, n).elements();
  for (Size p = 0; p < k; p += depth) {
    const Size kc = std::min(depth, k - p);
    const Panels<T> panels =
        pack(room, {b.data + p * b.row, b.row, b.column}, Panels<T>::of_tiles(kc, n));
    const bool add = accumulate || p > 0;
    for (Size i = 0; i < m; i += block_rows) {
      const Size mc = std::min(block_rows, m - i);
      const Matrix<T> part{a.data + i * a.row + p * a.column, a.row, a.column};
      T* out = c + i * c_row;
      if (a.column == 1) {
        multiply(mc, part, panels, out, c_row, add);
        continue;
      }
      pack_rows(a_room, part, mc, kc);
      for (Size j = 0; j < panels.count(); ++j) {
        const Size first = j * panels.width(), columns = std::min(panels.width(), n - first);
        for (Size r = 0; r < mc; r += rows) {
          tiles::some_rows<T, rows>(std::min<Size>(rows, mc - r), kc, a_room + r * kc, 1, rows,
                                    panels.panel(j), out + r * c_row + first, c_row, columns, add);
        }
      }
    }
  }
}

}  // namespace unroll::detail
