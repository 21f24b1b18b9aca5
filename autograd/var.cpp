#include "unroll/autograd/tape.hpp"

namespace unroll {
namespace {
template <class T>
detail::Ref copy_in(const char* op, const Shape& shape, std::span<const T> values) {
  if (static_cast<Size>(values.size()) != shape.size()) {
    fail(op, std::to_string(values.size()) + " values for the shape " + to_string(shape) +
                 ", which has " + std::to_string(shape.size()) + " elements");
  }
  detail::Ref b = detail::new_block<T>(shape);
  std::copy(values.begin(), values.end(), b->data<T>());
  return b;
}
}  // namespace

template <FloatOrDouble T>
Var<T>::Var(const Shape& shape, std::span<const T> values)
    : handle_(copy_in<T>("var", shape, values)) {}

template <FloatOrDouble T>
T Var<T>::item() const {
  const detail::Block* b = handle_.block();
  if (b->size() != 1) {
    fail("item", "the Var has " + std::to_string(b->size()) + " elements: " + to_string(shape()));
  }
  return *b->data<T>();
}
template <FloatOrDouble T>
std::vector<T> Var<T>::to_vector() const {
  const detail::Ref b = detail::contiguous(handle_.block());
  return {b->data<T>(), b->data<T>() + b->size()};
}

template class Var<float>;
template class Var<double>;

Indices::Indices(const Shape& shape, std::span<const std::int64_t> values)
    : block_(copy_in<std::int64_t>("indices", shape, values)) {}
Indices Indices::operator[](Size i) const {
  const Shape whole = shape();
  if (whole.rank() == 0 || i < -whole[0] || i >= whole[0]) {
    fail("indices", "row " + std::to_string(i) + " is out of range in " + to_string(whole));
  }
  Shape row = whole;
  row.erase(0);
  return Indices(
      detail::new_contiguous_view(block_.get(), (i < 0 ? i + whole[0] : i) * row.size(), row));
}
Indices Indices::reshaped(const Shape& to) const {
  if (to.size() != size()) {
    fail("indices", "cannot make " + to_string(to) + " from " + to_string(shape()));
  }
  return Indices(detail::new_contiguous_view(block_.get(), 0, to));
}

}  // namespace unroll
