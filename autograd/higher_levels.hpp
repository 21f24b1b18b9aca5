// xsimd and lanes once more for each instruction level above the file's own: see levels.hpp. Only lane.hpp includes this.
//
// Each level has an xsimd in a namespace of its own, compiled for the level's instructions by a pragma: its types and functions are
// never those of other levels, nor of other files that are compiled for that level as a whole. What is not in the pragma's reach (the
// user's lambda, dual numbers, the standard library) only calls lanes, and becomes part of a kernel, which is in its reach.
//
// Invariants: standard headers are never included first in the pragma's reach; the macros of xsimd are what they were afterwards.
#pragma once

#include <immintrin.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <climits>
#include <cmath>
#include <complex>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <iterator>
#include <limits>
#include <memory>
#include <numeric>
#include <ostream>
#include <stdexcept>
#include <tuple>
#include <type_traits>
#include <utility>

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpsabi"
// False positives of g++ 12 inside AVX-512 intrinsics.
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#define UNROLL_HIGHER_LEVEL 3
#if UNROLL_OWN_LEVEL < 3
#pragma GCC push_options
#pragma GCC target("sse3,ssse3,sse4.1,sse4.2,popcnt,avx,avx2,fma,bmi,bmi2,lzcnt,f16c,movbe")
#define xsimd unroll_xsimd_v3
#define lane_math lane_math_v3
#include "unroll/autograd/simd.hpp"
//
#include "unroll/autograd/lane_at_level.hpp"
#undef lane_math
#undef xsimd
#pragma GCC pop_options
#endif

#undef UNROLL_HIGHER_LEVEL
#define UNROLL_HIGHER_LEVEL 4
#pragma GCC push_options
#pragma GCC target("sse3,ssse3,sse4.1,sse4.2,popcnt,avx,avx2,fma,bmi,bmi2,lzcnt,f16c,movbe")
#pragma GCC target("avx512f,avx512bw,avx512cd,avx512dq,avx512vl")
#define xsimd unroll_xsimd_v4
#define lane_math lane_math_v4
#include "unroll/autograd/simd.hpp"
//
#include "unroll/autograd/lane_at_level.hpp"
#undef lane_math
#undef xsimd
#pragma GCC pop_options

#undef UNROLL_HIGHER_LEVEL
#define UNROLL_HIGHER_LEVEL 0
#include "unroll/autograd/simd.hpp"
#undef UNROLL_HIGHER_LEVEL
#pragma GCC diagnostic pop
