// Filling, copying and adding arrays, contiguous or strided.
#include <algorithm>

#include "unroll/autograd/kernels.hpp"
#include "unroll/autograd/lane.hpp"

namespace unroll::detail {
namespace {

template <class T>
Ref contiguous_copy(Block* b) {
  Ref out = new_block<T>(b->shape());
  std::array<Strides, 2> strides{row_major(b->shape()), {}};
  b->get_strides(strides[1].data());
  const Loop<2> loop(b->shape(), strides.data());
  loop.run(std::array<T*, 2>{out->data<T>(), b->data<T>()},
           [](std::array<T*, 2> p, const std::array<Size, 2>& step, Size n) {
             if (step[1] == 1) {
               std::copy_n(p[1], n, p[0]);
             } else if (step[1] == 0) {
               std::fill_n(p[0], n, *p[1]);
             } else {
               for (Size i = 0; i < n; ++i) p[0][i] = p[1][i * step[1]];
             }
           });
  return out;
}

template <class T>
void add_strided(T* out, const Strides& out_strides, const Block& g) {
  std::array<Strides, 2> strides{out_strides, {}};
  g.get_strides(strides[1].data());
  const Loop<2> loop(g.shape(), strides.data());
  loop.run(std::array<T*, 2>{out, const_cast<Block&>(g).data<T>()},
           [](std::array<T*, 2> p, const std::array<Size, 2>& step, Size n) {
             T* __restrict a = p[0];
             const T* __restrict b = p[1];
             if (step[0] == 1 && step[1] == 1) {
               for (Size i = 0; i < n; ++i) a[i] += b[i];
             } else {
               for (Size i = 0; i < n; ++i) a[i * step[0]] += b[i * step[1]];
             }
           });
}

}  // namespace

Ref contiguous(Block* b) {
  if (b->contiguous) return Ref::share(b);
  switch (b->dtype) {
    case Dtype::f32:
      return contiguous_copy<float>(b);
    case Dtype::f64:
      return contiguous_copy<double>(b);
    default:
      return contiguous_copy<std::int64_t>(b);
  }
}

Ref scalar_block(double x, Dtype dtype) {
  Block* b = new_block(dtype, dtype == Dtype::f32 ? 4 : 8, nullptr, 0);
  if (dtype == Dtype::f32) {
    *b->data<float>() = static_cast<float>(x);
  } else {
    *b->data<double>() = x;
  }
  return Ref(b);
}

void check_size(std::string_view op, const Shape& shape) {
  constexpr Size largest_element = 8;
  Size bytes = largest_element;
  bool fits = true;
  for (const Size n : shape) {
    if (n == 0) return;
    fits = fits && !__builtin_mul_overflow(bytes, n, &bytes);
  }
  if (!fits) fail(op, "an array of shape " + to_string(shape) + " is larger than any memory");
}

template <class T>
Ref filled_block(const Shape& shape, T value) {
  Ref b = new_block<T>(shape);
  std::fill_n(b->template data<T>(), shape.size(), value);
  return b;
}
template <class T>
Ref zeros_block(const Shape& shape) {
  return filled_block<T>(shape, T(0));
}
template <class T>
void add_into(Block& target, const Block& g) {
  if (g.contiguous) {
    T* const a = target.data<T>();
    const T* const b = g.data<T>();
    for_each_lane<T>(target.size(), [&](auto load, auto store) { store(a, load(a) + load(b)); });
    return;
  }
  add_strided(target.data<T>(), row_major(target.shape()), g);
}
template <class T>
void add_into_window(T* out, const Strides& strides, const Block& g) {
  add_strided(out, strides, g);
}
template <class T>
Ref add_blocks(const Block& a, const Block& b) {
  const Shape shape = a.shape();
  Ref out = new_block<T>(shape);
  if (a.contiguous && b.contiguous) {
    T* __restrict o = out->data<T>();
    const T* __restrict x = a.data<T>();
    const T* __restrict y = b.data<T>();
    const Size n = shape.size();
    for (Size i = 0; i < n; ++i) o[i] = x[i] + y[i];
    return out;
  }
  const Ref copy = contiguous(const_cast<Block*>(&a));
  std::copy_n(copy->data<T>(), shape.size(), out->data<T>());
  add_into<T>(*out, b);
  return out;
}

template Ref filled_block(const Shape&, float);
template Ref filled_block(const Shape&, double);
template Ref filled_block(const Shape&, std::int64_t);
template Ref zeros_block<float>(const Shape&);
template Ref zeros_block<double>(const Shape&);
template void add_into<float>(Block&, const Block&);
template void add_into<double>(Block&, const Block&);
template void add_into_window(float*, const Strides&, const Block&);
template void add_into_window(double*, const Strides&, const Block&);
template Ref add_blocks<float>(const Block&, const Block&);
template Ref add_blocks<double>(const Block&, const Block&);

}  // namespace unroll::detail
