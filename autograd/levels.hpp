// For which instruction levels a file's kernels are compiled (`fuse`, a user's elementwise op), and which of them runs.
//
//   run_at_level<Body>(out, in, n);      // Body::run<Arch>(out, in, n), compiled for the best level that the library itself runs at
//
// A file that is compiled for any x86-64 has its kernels at that level, at x86-64-v3 and at x86-64-v4, all in one object; the
// library, of which the loader takes the copy that fits the processor, says which one runs. One level is compiled where the file's
// own is the highest, in the library itself, without optimisation and under a sanitizer (nothing would become part of a kernel), and by
// compilers that make no whole functions of a level's (others than g++): there `fuse` gives way to plain ops where these run at a
// higher level.
#pragma once

#include "unroll/autograd/cxx20.hpp"
#include "unroll/autograd/sanitizer.hpp"
//
#include "unroll/autograd/simd.hpp"

// Everything that a kernel calls becomes part of it; not under a sanitizer, where compiling that takes minutes.
#ifdef UNROLL_SANITIZED
#define UNROLL_KERNEL
#else
#define UNROLL_KERNEL [[gnu::flatten]]
#endif

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512CD__) && \
    defined(__AVX512DQ__) && defined(__AVX512VL__)
#define UNROLL_OWN_LEVEL 4
#elif defined(__AVX2__) && defined(__FMA__)
#define UNROLL_OWN_LEVEL 3
#else
#define UNROLL_OWN_LEVEL 0
#endif

// xsimd is included again for each level, which was tried with these versions (simd.hpp).
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && defined(__OPTIMIZE__) && \
    UNROLL_OWN_LEVEL < 4 && !defined(UNROLL_SANITIZED) && !defined(UNROLL_ONE_LEVEL) &&         \
    !defined(XSIMD_DEFAULT_ARCH) && XSIMD_VERSION_MAJOR >= 8 && XSIMD_VERSION_MAJOR <= 13
#define UNROLL_LEVELS 1
#elif defined(__x86_64__) && defined(__OPTIMIZE__) && !defined(UNROLL_SANITIZED) && \
    !defined(UNROLL_ONE_LEVEL)
#define UNROLL_GIVES_WAY 1
#endif

namespace unroll::detail {

// Is `fuse` to be plain ops where the library's level is above the file's own?
#ifdef UNROLL_GIVES_WAY
inline constexpr bool gives_way = true;
#else
inline constexpr bool gives_way = false;
#endif

// As in x86-64-v3; 0 stands for what is below, and for other processors.
inline constexpr int own_level = UNROLL_OWN_LEVEL;
// That of the library in use.
extern const int library_level;

// How a kernel runs at a level, which an xsimd architecture stands for; defined in lane_at_level.hpp.
template <class Arch>
struct AtLevel;

}  // namespace unroll::detail
