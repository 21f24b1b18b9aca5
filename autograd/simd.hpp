// The one header that includes xsimd, 8 to 14, with all that depends on its version.
//
//   const T total = simd::sum_of_elements(x);
//
// Invariant: no other file includes xsimd or asks for its version. A call below finds xsimd's
// function by the type of its argument, under the name that this release has for it.
#pragma once

#include "unroll/autograd/cxx20.hpp"

#include <xsimd/xsimd.hpp>

namespace unroll::detail::simd {

template <class B>
typename B::value_type sum_of_elements(const B& x) {
  if constexpr (requires { reduce_add(x); }) {
    return reduce_add(x);
  } else {  // xsimd 8
    return hadd(x);
  }
}

// Truth values of integers, for batches of type To, whose elements have the same size.
template <class To, class Mask>
typename To::batch_bool_type mask_as(const Mask& m) {
  if constexpr (requires { batch_bool_cast<typename To::value_type>(m); }) {
    return batch_bool_cast<typename To::value_type>(m);
  } else {  // xsimd 8
    return bool_cast(m);
  }
}

}  // namespace unroll::detail::simd
