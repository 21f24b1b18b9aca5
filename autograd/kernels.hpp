// Loops over raw memory for what is not elementwise. All are explicit instantiations for float and double in `.cpp` files.
//
// Sums are pairwise or in several lanes, in an order that depends on shapes alone, so equal inputs give equal bits.
#pragma once

#include <string_view>

#include "unroll/autograd/loop.hpp"
#include "unroll/autograd/var.hpp"

namespace unroll::detail {

template <class T>
Ref zeros_block(const Shape& shape);
template <class T>
Ref filled_block(const Shape& shape, T value);
// target += g; `target` is contiguous, both have the same shape.
template <class T>
void add_into(Block& target, const Block& g);
// Adds g to the elements of a strided window that starts at `out`.
template <class T>
void add_into_window(T* out, const Strides& strides, const Block& g);
template <class T>
Ref add_blocks(const Block& a, const Block& b);

// Throws, naming the op, where an array of this shape would have more bytes than an address can count.
void check_size(std::string_view op, const Shape& shape);

// Row i of g [rows, width] is added to row rows(i) of out [n, width].
template <class T>
void add_rows(T* out, const T* g, const Indices& rows, Size width, Size n);

enum class Reduction { sum, max, min };
// Reduces the axes whose bit is set in `axes`.
template <class T>
Ref reduce(Reduction kind, const Block& x, unsigned axes, KeepDims keep);
// The means of rows of n > 0 elements, exact where all are equal.
template <class T>
void mean_of_rows(const T* x, Size rows, Size n, T* out);
// Sums away what broadcasting added, so that the result has `shape`.
template <class T>
Ref sum_to(Ref x, const Shape& shape);

// C (+)= A·B with A [m, k], B [k, n] by row and column steps, and C row-major with `c_row` between its rows.
template <class T>
struct Matrix {
  const T* data;
  Size row, column;
  Matrix transposed() const { return {data, column, row}; }
};
template <class T>
void gemm(Size m, Size n, Size k, Matrix<T> a, Matrix<T> b, T* c, Size c_row, bool accumulate);

// The same with the whole matrix w [k, n] (or its transpose) on the right, which is packed once where it is used often. `a` is not
// copied: compilers do that with wide loads, which wait until all that is being stored has been.
template <class T>
void gemm_by_matrix(Size m, const Matrix<T>& a, Block& w, bool transposed, T* c, Size c_row,
                    bool accumulate = false);

template <class T>
struct Panels;  // both in kernels/packed_gemm.hpp
template <class T>
struct KeptForm;

// The same matrix on the right of many products, for loops that know it: packed at once, looked up once. w must outlive it.
//
//   const RightMatrix<float> recurrent(w, /*transposed=*/true, rows);
//   recurrent(a, a_row, c, c_row, /*accumulate=*/true);               // for each step
template <class T>
class RightMatrix {
 public:
  RightMatrix(Block& w, bool transposed, Size rows);
  void operator()(const T* a, Size a_row, T* c, Size c_row, bool accumulate) const;
  bool packed() const { return form_ != nullptr; }
  // `count` rows at once, with the bits that each has by itself; of a packed matrix made for one row.
  void one_by_one(Size count, const T* a, Size a_row, T* c, Size c_row) const;

 private:
  Matrix<T> matrix_;  // as it stands on the right, k x n
  Size rows_, k_, n_;
  const KeptForm<T>* form_ = nullptr;
  Ref own_form_;  // of a matrix that cannot keep one
  // Of one row: what multiplies it.
  void (*row_)(const T* a, const Panels<T>& b, T* c, bool accumulate) = nullptr;
};

// Which products run in kernels of our own: those that gain by it, or none (`plain`: all by BLAS), as the environment
// variable UNROLL_GEMM says, which is read once. Throws std::invalid_argument for a value other than "plain" and nothing.
enum class GemmPath { own, plain };
GemmPath gemm_path();
GemmPath gemm_path(std::string_view wish);  // what a value of the variable means

// How many matrix products this thread has computed.
Size gemm_calls();

}  // namespace unroll::detail
