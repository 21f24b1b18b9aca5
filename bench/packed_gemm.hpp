// The library's packed matrix products with room of their own, as the hand-written steps use them: no call allocates.
//
//   PackedMatrix<float> w(Panels<float>::of_row(k, n));    // room for any B of k x n
//   w.pack({data, row, column});                       // B[p, j] = data[p * row + j * column]
//   multiply_row(a, w.panels(), c, /*accumulate=*/true);
//
//   Gemm<float> gemm(max_n);
//   gemm(m, n, k, a, b, c, c_row, /*accumulate=*/false);
#pragma once

#include <vector>

#include "unroll/autograd/kernels/packed_gemm.hpp"

namespace unroll::bench {

using detail::Matrix;

// Elements that start on a cache line.
template <class T>
class Room {
 public:
  explicit Room(Size n) : storage_(static_cast<std::size_t>(n) + 64 / sizeof(T)) {
    const auto address = reinterpret_cast<std::uintptr_t>(storage_.data());
    data_ = storage_.data() + ((64 - address % 64) % 64) / sizeof(T);
  }
  Room(const Room&) = delete;
  Room& operator=(const Room&) = delete;
  T* data() { return data_; }
  std::size_t bytes() const { return storage_.size() * sizeof(T); }

 private:
  std::vector<T> storage_;
  T* data_;
};

template <class T>
class PackedMatrix {
 public:
  explicit PackedMatrix(const detail::Panels<T>& form) : room_(form.elements()), panels_(form) {}
  void pack(const Matrix<T>& b) { panels_ = detail::pack(room_.data(), b, panels_); }
  const detail::Panels<T>& panels() const { return panels_; }
  std::size_t bytes() const { return room_.bytes(); }

 private:
  Room<T> room_;
  detail::Panels<T> panels_;
};

// Products of any size with n up to max_n.
template <class T>
class Gemm {
 public:
  explicit Gemm(Size max_n) : room_(detail::blocked_room<T>(max_n)) {}
  void operator()(Size m, Size n, Size k, const Matrix<T>& a, const Matrix<T>& b, T* c, Size c_row,
                  bool accumulate) {
    detail::multiply_blocked(m, n, k, a, b, c, c_row, accumulate, room_.data());
  }
  std::size_t bytes() const { return room_.bytes(); }

 private:
  Room<T> room_;
};

}  // namespace unroll::bench
