// Includes xsimd, 8 to 14, with all that depends on its version. levels.hpp includes this once; where a file has several
// instruction levels, higher_levels.hpp does so again for each level UNROLL_HIGHER_LEVEL (3 or 4), with `xsimd` and `lane_math`
// being other namespaces; at 0 the macros of xsimd become what they were.
//
//   const T total = lane_math::sum_of_elements(x);
//
// Invariant: no other file includes xsimd or asks for its version. g++ does not define __AVX2__ and the like for a pragma before
// it reads on, so the macros with which xsimd stands for the compiler's flags are set here, and the names of its include
// guards (8.1 to 13.2) are forgotten.

#if defined(UNROLL_HIGHER_LEVEL) && UNROLL_HIGHER_LEVEL == 0

#pragma pop_macro("XSIMD_WITH_SSE2")
#pragma pop_macro("XSIMD_WITH_SSE3")
#pragma pop_macro("XSIMD_WITH_SSSE3")
#pragma pop_macro("XSIMD_WITH_SSE4_1")
#pragma pop_macro("XSIMD_WITH_SSE4_2")
#pragma pop_macro("XSIMD_WITH_AVX")
#pragma pop_macro("XSIMD_WITH_FMA3_AVX")
#pragma pop_macro("XSIMD_WITH_AVX2")
#pragma pop_macro("XSIMD_WITH_FMA3_AVX2")
#pragma pop_macro("XSIMD_WITH_AVX512F")
#pragma pop_macro("XSIMD_WITH_AVX512CD")
#pragma pop_macro("XSIMD_WITH_AVX512DQ")
#pragma pop_macro("XSIMD_WITH_AVX512BW")
#undef UNROLL_XSIMD_AGAIN

#else

#ifdef UNROLL_HIGHER_LEVEL
#ifndef UNROLL_XSIMD_AGAIN
#define UNROLL_XSIMD_AGAIN
#pragma push_macro("XSIMD_WITH_SSE2")
#pragma push_macro("XSIMD_WITH_SSE3")
#pragma push_macro("XSIMD_WITH_SSSE3")
#pragma push_macro("XSIMD_WITH_SSE4_1")
#pragma push_macro("XSIMD_WITH_SSE4_2")
#pragma push_macro("XSIMD_WITH_AVX")
#pragma push_macro("XSIMD_WITH_FMA3_AVX")
#pragma push_macro("XSIMD_WITH_AVX2")
#pragma push_macro("XSIMD_WITH_FMA3_AVX2")
#pragma push_macro("XSIMD_WITH_AVX512F")
#pragma push_macro("XSIMD_WITH_AVX512CD")
#pragma push_macro("XSIMD_WITH_AVX512DQ")
#pragma push_macro("XSIMD_WITH_AVX512BW")
#endif

#undef XSIMD_WITH_SSE2
#define XSIMD_WITH_SSE2 1
#undef XSIMD_WITH_SSE3
#define XSIMD_WITH_SSE3 1
#undef XSIMD_WITH_SSSE3
#define XSIMD_WITH_SSSE3 1
#undef XSIMD_WITH_SSE4_1
#define XSIMD_WITH_SSE4_1 1
#undef XSIMD_WITH_SSE4_2
#define XSIMD_WITH_SSE4_2 1
#undef XSIMD_WITH_AVX
#define XSIMD_WITH_AVX 1
#undef XSIMD_WITH_FMA3_AVX
#define XSIMD_WITH_FMA3_AVX 1
#undef XSIMD_WITH_AVX2
#define XSIMD_WITH_AVX2 1
#undef XSIMD_WITH_FMA3_AVX2
#define XSIMD_WITH_FMA3_AVX2 1
#if UNROLL_HIGHER_LEVEL == 4
#undef XSIMD_WITH_AVX512F
#define XSIMD_WITH_AVX512F 1
#undef XSIMD_WITH_AVX512CD
#define XSIMD_WITH_AVX512CD 1
#undef XSIMD_WITH_AVX512DQ
#define XSIMD_WITH_AVX512DQ 1
#undef XSIMD_WITH_AVX512BW
#define XSIMD_WITH_AVX512BW 1
#endif

#undef XSIMD_ALGORITHMS_HPP
#undef XSIMD_ALIGNED_ALLOCATOR_HPP
#undef XSIMD_ALIGNMENT_HPP
#undef XSIMD_API_HPP
#undef XSIMD_ARCH_HPP
#undef XSIMD_AVX2_HPP
#undef XSIMD_AVX2_REGISTER_HPP
#undef XSIMD_AVX512BW_HPP
#undef XSIMD_AVX512BW_REGISTER_HPP
#undef XSIMD_AVX512CD_HPP
#undef XSIMD_AVX512CD_REGISTER_HPP
#undef XSIMD_AVX512DQ_REGISTER_HPP
#undef XSIMD_AVX512ER_HPP
#undef XSIMD_AVX512ER_REGISTER_HPP
#undef XSIMD_AVX512F_HPP
#undef XSIMD_AVX512F_REGISTER_HPP
#undef XSIMD_AVX512IFMA_REGISTER_HPP
#undef XSIMD_AVX512PF_HPP
#undef XSIMD_AVX512PF_REGISTER_HPP
#undef XSIMD_AVX512VBMI_HPP
#undef XSIMD_AVX512VBMI_REGISTER_HPP
#undef XSIMD_AVX512VNNI_AVX512BW_REGISTER_HPP
#undef XSIMD_AVX512VNNI_AVX512VBMI_HPP
#undef XSIMD_AVX512VNNI_AVX512VBMI_REGISTER_HPP
#undef XSIMD_AVX512VNNI_AVX512_BW_HPP
#undef XSIMD_AVX512_DQHPP
#undef XSIMD_AVXVNNI_HPP
#undef XSIMD_AVXVNNI_REGISTER_HPP
#undef XSIMD_AVX_HPP
#undef XSIMD_AVX_REGISTER_HPP
#undef XSIMD_BATCH_CONSTANT_HPP
#undef XSIMD_BATCH_HPP
#undef XSIMD_CPUID_HPP
#undef XSIMD_EMULATED_HPP
#undef XSIMD_EMULATED_REGISTER_HPP
#undef XSIMD_FMA3_AVX2_HPP
#undef XSIMD_FMA3_AVX2_REGISTER_HPP
#undef XSIMD_FMA3_AVX_HPP
#undef XSIMD_FMA3_AVX_REGISTER_HPP
#undef XSIMD_FMA3_SSE_HPP
#undef XSIMD_FMA3_SSE_REGISTER_HPP
#undef XSIMD_FMA4_HPP
#undef XSIMD_FMA4_REGISTER_HPP
#undef XSIMD_GENERIC_ARCH_HPP
#undef XSIMD_GENERIC_ARITHMETIC_HPP
#undef XSIMD_GENERIC_COMPLEX_HPP
#undef XSIMD_GENERIC_DETAILS_HPP
#undef XSIMD_GENERIC_FWD_HPP
#undef XSIMD_GENERIC_HPP
#undef XSIMD_GENERIC_LOGICAL_HPP
#undef XSIMD_GENERIC_MATH_HPP
#undef XSIMD_GENERIC_MEMORY_HPP
#undef XSIMD_GENERIC_ROUNDING_HPP
#undef XSIMD_GENERIC_TRIGO_HPP
#undef XSIMD_HPP
#undef XSIMD_I8MM_NEON64_HPP
#undef XSIMD_I8MM_NEON64_REGISTER_HPP
#undef XSIMD_INLINE_HPP
#undef XSIMD_ISA_HPP
#undef XSIMD_NEON64_HPP
#undef XSIMD_NEON64_REGISTER_HPP
#undef XSIMD_NEON_HPP
#undef XSIMD_NEON_REGISTER_HPP
#undef XSIMD_NUMERICAL_CONSTANT_HPP
#undef XSIMD_REGISTER_HPP
#undef XSIMD_RVV_HPP
#undef XSIMD_RVV_REGISTER_HPP
#undef XSIMD_SCALAR_HPP
#undef XSIMD_SSE2_HPP
#undef XSIMD_SSE2_REGISTER_HPP
#undef XSIMD_SSE3_HPP
#undef XSIMD_SSE3_REGISTER_HPP
#undef XSIMD_SSE4_1_HPP
#undef XSIMD_SSE4_1_REGISTER_HPP
#undef XSIMD_SSE4_2_HPP
#undef XSIMD_SSE4_2_REGISTER_HPP
#undef XSIMD_SSSE3_HPP
#undef XSIMD_SSSE3_REGISTER_HPP
#undef XSIMD_SVE_HPP
#undef XSIMD_SVE_REGISTER_HPP
#undef XSIMD_TRAITS_HPP
#undef XSIMD_UTILS_HPP
#undef XSIMD_WASM_HPP
#undef XSIMD_WASM_REGISTER_HPP

// g++ 12 compiles a friend for the pragma's level only if it has some attribute.
#define friend __attribute__((unused)) friend
#include <xsimd/xsimd.hpp>
#undef friend
#else
#include <xsimd/xsimd.hpp>
#endif

namespace unroll::detail::lane_math {

// Calls below find xsimd's functions by their argument's type, under the name that this release has.
template <class B>
typename B::value_type sum_of_elements(const B& x) {
  if constexpr (requires { reduce_add(x); }) {
    return reduce_add(x);
  } else {  // xsimd 8
    return hadd(x);
  }
}

// x where it is NaN, else the smaller, or larger, of the two: what xsimd's functions gave until 14.
template <class B>
B at_most(const B& bound, const B& x) {
#if XSIMD_VERSION_MAJOR >= 14
  return xsimd::select(bound < x, bound, x);
#else
  return xsimd::min(bound, x);
#endif
}
template <class B>
B at_least(const B& bound, const B& x) {
#if XSIMD_VERSION_MAJOR >= 14
  return xsimd::select(bound > x, bound, x);
#else
  return xsimd::max(bound, x);
#endif
}

// Truth values of integers, for batches of type To, whose elements have the same size.
template <class To, class M>
typename To::batch_bool_type mask_as(const M& m) {
  if constexpr (requires { batch_bool_cast<typename To::value_type>(m); }) {
    return batch_bool_cast<typename To::value_type>(m);
  } else {  // xsimd 8
    return bool_cast(m);
  }
}

}  // namespace unroll::detail::lane_math

#endif
