// Matrix products. Small ones, and all with one row, run in register-blocked loops here, others in register tiles over packed
// panels where registers are wide or many; the rest goes to BLAS. Which of them depends on the shape and the instruction level
// alone, and on UNROLL_GEMM=plain, with which all goes to BLAS.
#include <cblas.h>

#include <algorithm>
#include <cstdlib>
#include <string_view>

#include "unroll/autograd/error.hpp"
#include "unroll/autograd/kernels.hpp"
#include "unroll/autograd/kernels/outer_rows.hpp"
#include "unroll/autograd/lane.hpp"

namespace unroll::detail {
namespace {

// Without a call to find it in a shared library.
[[gnu::tls_model("initial-exec")]] constinit thread_local Size calls = 0;

template <class T>
T horizontal_sum(const Lane<T>& x) {
  return lane_math::sum_of_elements(x.batch());
}

// Rows x Lanes elements of C at once; B's rows are contiguous.
template <class T, int Rows, int Lanes>
void tile(Size k, Matrix<T> a, const T* b, Size b_row, T* c, Size c_row, bool accumulate) {
  constexpr Size w = Lane<T>::width;
  Lane<T> sum[Rows][Lanes];
  for (int i = 0; i < Rows; ++i) {
    for (int j = 0; j < Lanes; ++j) {
      sum[i][j] = accumulate ? Lane<T>::load(c + i * c_row + j * w) : Lane<T>(0);
    }
  }
  for (Size p = 0; p < k; ++p) {
    Lane<T> v[Lanes];
    for (int j = 0; j < Lanes; ++j) v[j] = Lane<T>::load(b + p * b_row + j * w);
    for (int i = 0; i < Rows; ++i) {
      const Lane<T> s(a.data[i * a.row + p * a.column]);
      for (int j = 0; j < Lanes; ++j) {
        sum[i][j] = Lane<T>(xsimd::fma(s.batch(), v[j].batch(), sum[i][j].batch()));
      }
    }
  }
  for (int i = 0; i < Rows; ++i) {
    for (int j = 0; j < Lanes; ++j) sum[i][j].store(c + i * c_row + j * w);
  }
}

// The last columns, fewer than a lane.
template <class T>
void narrow_tile(Size m, Size n, Size k, Matrix<T> a, const T* b, Size b_row, T* c, Size c_row,
                 bool accumulate) {
  for (Size i = 0; i < m; ++i) {
    Lane<T> sum = accumulate ? Lane<T>::load_part(c + i * c_row, n) : Lane<T>(0);
    for (Size p = 0; p < k; ++p) {
      const Lane<T> s(a.data[i * a.row + p * a.column]);
      sum =
          Lane<T>(xsimd::fma(s.batch(), Lane<T>::load_part(b + p * b_row, n).batch(), sum.batch()));
    }
    sum.store_part(c + i * c_row, n);
  }
}

template <class T, int Lanes>
void columns(Size m, Size k, Matrix<T> a, const T* b, Size b_row, T* c, Size c_row,
             bool accumulate) {
  Size i = 0;
  for (; i + 4 <= m; i += 4) {
    tile<T, 4, Lanes>(k, {a.data + i * a.row, a.row, a.column}, b, b_row, c + i * c_row, c_row,
                      accumulate);
  }
  for (; i < m; ++i) {
    tile<T, 1, Lanes>(k, {a.data + i * a.row, a.row, a.column}, b, b_row, c + i * c_row, c_row,
                      accumulate);
  }
}

template <class T>
void small_gemm(Size m, Size n, Size k, Matrix<T> a, const T* b, Size b_row, T* c, Size c_row,
                bool accumulate) {
  constexpr Size w = Lane<T>::width;
  Size j = 0;
  for (; j + 4 * w <= n; j += 4 * w) columns<T, 4>(m, k, a, b + j, b_row, c + j, c_row, accumulate);
  for (; j + 2 * w <= n; j += 2 * w) columns<T, 2>(m, k, a, b + j, b_row, c + j, c_row, accumulate);
  for (; j + w <= n; j += w) columns<T, 1>(m, k, a, b + j, b_row, c + j, c_row, accumulate);
  if (j < n) narrow_tile(m, n - j, k, a, b + j, b_row, c + j, c_row, accumulate);
}

// c_j (+)= <x, row j of w>, for R rows at once; x and w's rows are contiguous.
template <class T, int R>
void dots(Size k, const T* x, const T* w, Size w_row, T* c, bool accumulate) {
  constexpr Size width = Lane<T>::width;
  Lane<T> sum[R];
  for (int r = 0; r < R; ++r) sum[r] = Lane<T>(0);
  Size p = 0;
  for (; p + width <= k; p += width) {
    const Lane<T> v = Lane<T>::load(x + p);
    for (int r = 0; r < R; ++r) {
      sum[r] =
          Lane<T>(xsimd::fma(v.batch(), Lane<T>::load(w + r * w_row + p).batch(), sum[r].batch()));
    }
  }
  if (p < k) {
    const Lane<T> v = Lane<T>::load_part(x + p, k - p);
    for (int r = 0; r < R; ++r) sum[r] = sum[r] + v * Lane<T>::load_part(w + r * w_row + p, k - p);
  }
  for (int r = 0; r < R; ++r) {
    const T s = horizontal_sum(sum[r]);
    c[r] = accumulate ? c[r] + s : s;
  }
}

template <class T>
void matrix_times_vector(Size n, Size k, const T* x, const T* w, Size w_row, T* c,
                         bool accumulate) {
  Size j = 0;
  for (; j + 8 <= n; j += 8) dots<T, 8>(k, x, w + j * w_row, w_row, c + j, accumulate);
  for (; j < n; ++j) dots<T, 1>(k, x, w + j * w_row, w_row, c + j, accumulate);
}

template <class T>
void blas(CBLAS_TRANSPOSE ta, CBLAS_TRANSPOSE tb, Size m, Size n, Size k, const T* a, Size lda,
          const T* b, Size ldb, T* c, Size ldc, bool accumulate) {
  const auto i = [](Size x) { return static_cast<blasint>(x); };
  if constexpr (std::is_same_v<T, float>) {
    cblas_sgemm(CblasRowMajor, ta, tb, i(m), i(n), i(k), 1.0F, a, i(lda), b, i(ldb),
                accumulate ? 1.0F : 0.0F, c, i(ldc));
  } else {
    cblas_dgemm(CblasRowMajor, ta, tb, i(m), i(n), i(k), 1.0, a, i(lda), b, i(ldb),
                accumulate ? 1.0 : 0.0, c, i(ldc));
  }
}

// A matrix that BLAS can read: one of its steps is 1. Others are copied.
template <class T>
struct BlasOperand {
  const T* data;
  Size leading;
  CBLAS_TRANSPOSE flag;
  Ref copy;

  BlasOperand(Matrix<T> x, Size rows, Size columns) {
    if ((x.column == 1 || columns == 1) && (x.row >= columns || rows == 1)) {
      data = x.data;
      leading = std::max<Size>(x.row, std::max<Size>(columns, 1));
      flag = CblasNoTrans;
    } else if ((x.row == 1 || rows == 1) && (x.column >= rows || columns == 1)) {
      data = x.data;
      leading = std::max<Size>(x.column, std::max<Size>(rows, 1));
      flag = CblasTrans;
    } else {
      copy = new_block<T>(Shape{rows, columns});
      T* p = copy->template data<T>();
      for (Size i = 0; i < rows; ++i) {
        for (Size j = 0; j < columns; ++j) p[i * columns + j] = x.data[i * x.row + j * x.column];
      }
      data = p;
      leading = columns;
      flag = CblasNoTrans;
    }
  }
};

// Below this many multiplications the loops here beat packing, and a call of BLAS.
constexpr Size small_product = 16 * 16 * 16;
// With registers of 32 bytes and more the tiles here beat OpenBLAS 0.3.21 on the skinny products of recurrent networks, since it
// packs both matrices at each call. With 32 registers of 16 bytes an 8 x 2 tile is as large as its own (docs/decisions/0008).
constexpr bool own_tiles = sizeof(Lane<float>) >= 32 || many_registers;

// Longer sums of products are made of halves: an element that grows by many small terms would lose them one by one.
constexpr Size longest_sum = 4096;

// Room that is kept for the next product of this thread.
template <class T>
T* scratch(Size n) {
  thread_local Ref room;
  if (!room || room->size() < n) room = new_block<T>(Shape{n});
  return room->template data<T>();
}

}  // namespace

Size gemm_calls() { return calls; }

GemmPath gemm_path(std::string_view wish) {
  if (wish.empty()) return GemmPath::own;
  if (wish == "plain") return GemmPath::plain;
  fail("gemm", "the environment variable UNROLL_GEMM is \"" + std::string(wish) +
                   "\"; it may be \"plain\" (all products by BLAS) or unset");
}
GemmPath gemm_path() {
  static const GemmPath path = [] {
    const char* wish = std::getenv("UNROLL_GEMM");
    return gemm_path(wish ? std::string_view(wish) : std::string_view());
  }();
  return path;
}

template <class T>
void gemm(Size m, Size n, Size k, Matrix<T> a, Matrix<T> b, T* c, Size c_row, bool accumulate) {
  if (k > longest_sum && m > 0 && n > 0) {
    const Size half = k / 2;
    gemm(m, n, half, a, b, c, c_row, accumulate);
    const Ref rest = new_block<T>(Shape{m, n});
    const T* from = rest->template data<T>();
    gemm(m, n, k - half, Matrix<T>{a.data + half * a.column, a.row, a.column},
         Matrix<T>{b.data + half * b.row, b.row, b.column}, rest->template data<T>(), n, false);
    for (Size i = 0; i < m; ++i, from += n) {
      for (Size j = 0; j < n; ++j) c[i * c_row + j] += from[j];
    }
    return;
  }
  ++calls;
  if (m == 0 || n == 0) return;
  if (k == 0) {
    if (accumulate) return;
    for (Size i = 0; i < m; ++i) std::fill_n(c + i * c_row, n, T(0));
    return;
  }
  const auto by_blas = [&] {
    const BlasOperand<T> left(a, m, k), right(b, k, n);
    blas(left.flag, right.flag, m, n, k, left.data, left.leading, right.data, right.leading, c,
         std::max(c_row, n), accumulate);
  };
  if (gemm_path() == GemmPath::plain) {
    by_blas();
    return;
  }
  if (n == 1 && m > 1 && c_row == 1) {  // (A·b)ᵀ = bᵀ·Aᵀ has one row
    std::swap(m, n);
    const Matrix<T> left = b.transposed();
    b = a.transposed();
    a = left;
    c_row = n;
  }
  const bool rows_contiguous = b.column == 1 || n == 1;
  if (m == 1 && b.row == 1 && (a.column == 1 || k == 1) && !(rows_contiguous && k < 4)) {
    matrix_times_vector(n, k, a.data, b.data, b.column, c, accumulate);
    return;
  }
  if (rows_contiguous && (m == 1 || m * n * k <= small_product)) {
    small_gemm(m, n, k, a, b.data, b.row, c, c_row, accumulate);
    return;
  }
  if (m * n * k <= small_product && b.row == 1 && a.column == 1) {
    for (Size i = 0; i < m; ++i) {
      matrix_times_vector(n, k, a.data + i * a.row, b.data, b.column, c + i * c_row, accumulate);
    }
    return;
  }
  if (own_tiles) {
    multiply_blocked(m, n, k, a, b, c, c_row, accumulate, scratch<T>(blocked_room<T>(n)));
    return;
  }
  by_blas();
}

namespace {

// Are products of `rows` rows with w computed from a packed form? A small w is packed wherever it lies, so that sums have one order.
template <class T>
bool packs(const Block& w, Size rows, Size a_column) {
  return gemm_path() == GemmPath::own &&
         (w.packable || (w.contiguous && may_be_packed(w.sizes(), w.rank) &&
                         w.size() * Size{sizeof(T)} <= small_value)) &&
         rows > 0 && a_column == 1 && (rows == 1 || own_tiles);
}
template <class T>
Panels<T> packed_form(Size rows, Size k, Size n) {
  return rows == 1 ? Panels<T>::of_row(k, n) : Panels<T>::of_tiles(k, n);
}

// The form of w that is kept, or null. A first use leaves a mark; the second, or `now`, makes one. That of a small matrix is made
// at once: it has to be packed in any case, and costs little memory if that was its only use.
constexpr Size small_form = 256 * 1024;  // bytes
template <class T>
KeptForm<T>& form_in(std::uintptr_t state) {
  return *reinterpret_cast<KeptForm<T>*>(reinterpret_cast<Block*>(state)->data<T>());
}
template <class T>
Ref new_form(Size rows, const Matrix<T>& b, Size k, Size n) {
  constexpr Size head = KeptForm<T>::elements;
  const Panels<T> panels = packed_form<T>(rows, k, n);
  Ref form = new_block<T>(Shape{head + panels.elements()});
  T* const elements = form->template data<T>();
  new (elements) KeptForm<T>{pack(elements + head, b, panels),
                             rows == 1 ? row_by_panels<T>(panels.lanes) : nullptr};
  return form;
}
template <class T>
[[gnu::noinline]] const KeptForm<T>* make_form(std::atomic<std::uintptr_t>& form, Size rows,
                                               const Matrix<T>& b, Size k, Size n, bool now) {
  std::uintptr_t state = form.load(std::memory_order_acquire);
  if (state == 0 && !now) {
    form.compare_exchange_strong(state, 1, std::memory_order_acq_rel);
    return nullptr;
  }
  if (state <= 1) {
    Ref packed = new_form(rows, b, k, n);
    const auto made = reinterpret_cast<std::uintptr_t>(packed.get());
    if (single_thread()) {
      form.store(made, std::memory_order_relaxed);
      packed.give();
      state = made;
    }
    while (state <= 1) {
      if (form.compare_exchange_weak(state, made, std::memory_order_acq_rel)) {
        packed.give();
        state = made;
      }
    }
  }
  return &form_in<T>(state);
}
template <class T>
const KeptForm<T>* kept_form(Block& w, bool transposed, Size rows, const Matrix<T>& b, Size k,
                             Size n, bool now) {
  std::atomic<std::uintptr_t>& form = w.packed_forms()[2 * transposed + (rows == 1)];
  const std::uintptr_t state = form.load(std::memory_order_acquire);
  if (state > 1) [[likely]]
    return &form_in<T>(state);
  return make_form(form, rows, b, k, n, now);
}

}  // namespace

template <class T>
void gemm_by_matrix(Size m, const Matrix<T>& a, Block& w, bool transposed, T* c, Size c_row,
                    bool accumulate) {
  if (m == 1 && w.packable && a.column == 1) {  // what a recurrent network does at each step
    const std::uintptr_t state =
        w.packed_forms()[2 * transposed + 1].load(std::memory_order_acquire);
    if (state > 1) {
      ++calls;
      const KeptForm<T>& form = form_in<T>(state);
      form.row(a.data, form.panels, c, accumulate);
      return;
    }
  }
  const Size k = w.sizes()[transposed ? 1 : 0], n = w.sizes()[transposed ? 0 : 1];
  const Matrix<T> right{w.data<T>(), w.sizes()[1], 1};
  const Matrix<T> b = transposed ? right.transposed() : right;
  if (k > longest_sum || !packs<T>(w, m, a.column)) {
    gemm(m, n, k, a, b, c, c_row, accumulate);
    return;
  }
  ++calls;
  const bool now = k * n * static_cast<Size>(sizeof(T)) <= small_form;
  const KeptForm<T>* form = w.packable ? kept_form(w, transposed, m, b, k, n, now) : nullptr;
  Panels<T> panels = form ? form->panels : packed_form<T>(m, k, n);
  if (!form) panels = pack(scratch<T>(panels.elements()), b, panels);
  if (m == 1) {
    multiply_row(a.data, panels, c, accumulate);
  } else {
    multiply(m, {a.data, a.row, 1}, panels, c, c_row, accumulate);
  }
}

template <class T>
RightMatrix<T>::RightMatrix(Block& w, bool transposed, Size rows)
    : matrix_{w.data<T>(), w.sizes()[1], 1},
      rows_(rows),
      k_(w.sizes()[transposed ? 1 : 0]),
      n_(w.sizes()[transposed ? 0 : 1]) {
  if (transposed) matrix_ = matrix_.transposed();
  if (!packs<T>(w, rows, 1)) return;
  if (w.packable) {
    form_ = kept_form(w, transposed, rows, matrix_, k_, n_, true);
  } else {
    own_form_ = new_form(rows, matrix_, k_, n_);
    form_ = reinterpret_cast<KeptForm<T>*>(own_form_->data<T>());
  }
  row_ = form_->row;
}
template <class T>
void RightMatrix<T>::operator()(const T* a, Size a_row, T* c, Size c_row, bool accumulate) const {
  if (row_) {
    ++calls;
    row_(a, form_->panels, c, accumulate);
  } else if (form_) {
    ++calls;
    multiply(rows_, {a, a_row, 1}, form_->panels, c, c_row, accumulate);
  } else {
    gemm(rows_, n_, k_, Matrix<T>{a, a_row, 1}, matrix_, c, c_row, accumulate);
  }
}
template <class T>
void RightMatrix<T>::one_by_one(Size count, const T* a, Size a_row, T* c, Size c_row) const {
  ++calls;
  multiply_rows_alike(count, a, a_row, form_->panels, c, c_row);
}

template <class T>
void OuterRows<T>::lay_out(Size m, Size n) {
  m_ = m;
  n_ = n;
  packed_ = own_tiles && gemm_path() == GemmPath::own;
  groups_ = packed_ ? (m + rows - 1) / rows : 1;
  panels_ = packed_ ? (n + width - 1) / width : 1;
  capacity_ = 0;
}
template <class T>
void OuterRows<T>::widen() {
  constexpr Size least = 64,
                 gap = 64 / sizeof(T);  // or all groups would meet in one set of a cache
  const Size capacity =
      capacity_ == 0 ? std::clamp(expected_, least, depth) : std::min(2 * capacity_, depth);
  const Size group = packed_ ? rows : m_, panel = packed_ ? width : n_;
  const Size a_step = capacity * group + gap, b_step = capacity * panel + gap;
  Ref wider = new_block<T>(Shape{groups_ * a_step + panels_ * b_step});
  T *const a = wider->template data<T>(), *const b = a + groups_ * a_step;
  for (Size i = 0; i < groups_; ++i) std::copy_n(a_ + i * a_step_, count_ * group, a + i * a_step);
  for (Size i = 0; i < panels_; ++i) std::copy_n(b_ + i * b_step_, count_ * panel, b + i * b_step);
  room_ = std::move(wider);
  capacity_ = capacity;
  a_ = a;
  b_ = b;
  a_step_ = a_step;
  b_step_ = b_step;
}
template <class T>
void OuterRows<T>::settle(T* c, bool accumulate) {
  if (!packed_) {
    gemm(m_, n_, count_, Matrix<T>{a_, 1, m_}, Matrix<T>{b_, n_, 1}, c, n_, accumulate);
  } else {
    ++calls;
    constexpr Size at_once = block_rows / rows;  // groups that stay in a cache
    for (Size first = 0; first < groups_; first += at_once) {
      for (Size j = 0; j < panels_; ++j) {
        for (Size i = first; i < std::min(first + at_once, groups_); ++i) {
          tiles::some_rows<T, rows>(std::min(rows, m_ - i * rows), count_, a_ + i * a_step_, 1,
                                    rows, b_ + j * b_step_, c + i * rows * n_ + j * width, n_,
                                    std::min(width, n_ - j * width), accumulate);
        }
      }
    }
  }
  settled_ += count_;
  count_ = 0;
}

template class OuterRows<float>;
template class OuterRows<double>;
template class RightMatrix<float>;
template class RightMatrix<double>;
template void gemm_by_matrix(Size, const Matrix<float>&, Block&, bool, float*, Size, bool);
template void gemm_by_matrix(Size, const Matrix<double>&, Block&, bool, double*, Size, bool);
template void gemm(Size, Size, Size, Matrix<float>, Matrix<float>, float*, Size, bool);
template void gemm(Size, Size, Size, Matrix<double>, Matrix<double>, double*, Size, bool);

}  // namespace unroll::detail
