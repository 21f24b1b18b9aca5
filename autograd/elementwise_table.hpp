// What the tape knows of an elementwise op, and the loops that run one over lanes.
//
//   map_arrays<Lane<T>, 2, 1>(out, in, n, 0, [](const auto& x, auto& y) { y[0] = x[0] * x[1]; });
//   table.forward(out, in, step, n, 0, op);
//
// Invariant: one copy of an op's function computes all of an array, so that no element is rounded otherwise for where it stands.
#pragma once

#include <algorithm>

#include "unroll/autograd/call.hpp"
#include "unroll/autograd/lane.hpp"
#include "unroll/autograd/sweep.hpp"

namespace unroll::detail {

// A loop over contiguous memory; an input whose step is 0 is one number (`step` is null where there is none), an output may be
// null. Outputs whose bit is set in `accumulate` are added to, after those before them were written: they may be one array.
// `op` is the op object or lambda.
template <class T>
using MapFunction = void (*)(T* const* out, const T* const* in, const Size* step, Size n,
                             unsigned accumulate, const void* op);

constexpr std::size_t max_inputs = 12;
constexpr std::size_t max_results = 4;
// Enough for cotangents, results and inputs of the largest op.
constexpr std::size_t max_operands = max_inputs + 2 * max_results;

template <class T>
struct ElementwiseTable : OpTable {
  std::size_t inputs = 0, results = 0;
  // Of `fuse`, which may read some arrays in equal parts of their last axis: how many arrays there are, and how many inputs each gives.
  std::size_t arrays = 0;
  std::array<std::uint8_t, max_inputs> parts{};
  std::uint8_t unparted = 0;  // an array that is one input, where there is one
  bool differentiable = true;
  // Known derivatives: 1 passes a cotangent on unchanged, 0 stops it, 2 stands for any other.
  std::array<std::int8_t, max_inputs> unit{};
  bool only_passes_on = false;        // cotangents, to some inputs: no derivative is to be computed
  bool all_recorded = false;          // no cotangent is stopped
  MapFunction<T> forward = nullptr;   // in: x...; out: results
  MapFunction<T> backward = nullptr;  // in: g..., y..., x...; out: the inputs' cotangents
  // Of an op object that begins with a pointer to what forward keeps for backward: how many elements, for n of the result's.
  Size (*kept)(const void* op, Size n) = nullptr;
  void (*rule)(Node&, Sweep&) = nullptr;  // the same over Vars
};

// Computes and, where an input is tracked, records. Writes `table.results` Vars, which were empty. N is the number of inputs
// of an op with one result, or `any_inputs`.
constexpr std::size_t any_inputs = 0;
template <class T, std::size_t N>
void apply_elementwise(const ElementwiseTable<T>& table, const Var<T>* const* inputs,
                       Var<T>* results, const void* op, std::size_t op_bytes);
// The same for operands that do not take the short path (elementwise_alike.hpp), which it does not try.
template <class T, std::size_t N>
void apply_unlike(const ElementwiseTable<T>& table, const Var<T>* const* inputs, Var<T>* results,
                  const void* op, std::size_t op_bytes);
template <class T, std::size_t N>
void sweep_elementwise(Node& n, Sweep& sweep);
// Writes the equal parts of x's last axis, as `split` gives them.
template <class T>
void split_last_axis(const Var<T>& x, std::size_t count, Var<T>* parts);
// Compiled into the library for ops of up to this many inputs; larger ones run as any_inputs.
template <std::size_t N>
inline constexpr std::size_t counted_inputs = N <= 3 ? N : any_inputs;

// The op object of a node; after the pointers to its result nodes, where it has several.
inline void* elementwise_op(Node& n, std::size_t results) {
  return static_cast<Node**>(n.op()) + (results > 1 ? results : 0);
}

// Runs f over lanes. A number is spread to a whole lane first.
template <class L, std::size_t In, std::size_t Out, class T, class F>
void map_lanes(T* const* out, const T* const* in, const Size* step, Size n, unsigned accumulate,
               F f) {
  constexpr Size w = L::width;
  alignas(64) T numbers[In][w];
  const T* from[In];
  Size from_step[In];
  for (std::size_t i = 0; i < In; ++i) {
    from[i] = in[i];
    const bool number = step && step[i] == 0;
    from_step[i] = number ? 0 : w;
    if (number) {
      L(*in[i]).store(numbers[i]);
      from[i] = numbers[i];
    }
  }
  T* to[Out];
  std::copy_n(out, Out, to);
  for (; n > 0; n -= w) {
    std::array<L, In> x;
    std::array<L, Out> y;
    if (n >= w) [[likely]] {
#pragma GCC unroll 20
      for (std::size_t i = 0; i < In; ++i) x[i] = L::load(from[i]);
    } else {
      for (std::size_t i = 0; i < In; ++i) {
        x[i] = from_step[i] == 0 ? L::load(from[i]) : L::load_part(from[i], n, T(1));
      }
    }
    f(x, y);
#pragma GCC unroll 20
    for (std::size_t j = 0; j < Out; ++j) {
      if (!to[j]) continue;
      const bool add = accumulate >> j & 1;
      if (n >= w) [[likely]] {
        (add ? L::load(to[j]) + y[j] : y[j]).store(to[j]);
      } else {
        (add ? L::load_part(to[j], n) + y[j] : y[j]).store_part(to[j], n);
      }
      to[j] += w;
    }
    for (std::size_t i = 0; i < In; ++i) from[i] += from_step[i];
  }
}

// The same for arrays alone. `kept`: see Fused; returns where what is kept for the elements behind these is.
template <class T>
using ArraysFunction = T* (*)(T* const* out, const T* const* in, Size n, unsigned accumulate,
                              const void* op, T* kept);
// Runs over arrays and numbers what takes arrays alone: numbers are written out for a piece at a time.
template <class T>
void run_with_numbers(ArraysFunction<T> arrays, T* const* out, std::size_t out_count,
                      const T* const* in, std::size_t in_count, const Size* step, Size n,
                      unsigned accumulate, const void* op, T* kept);

// The same over arrays alone that fill whole lanes, as small ones in a loop mostly do; they have no tail, so one copy of f sees
// all of an array here too.
template <class L, std::size_t In, std::size_t Out, class T, class F>
[[gnu::always_inline]] inline void map_whole_lanes(T* const* out, const T* const* in, Size n,
                                                   unsigned accumulate, F f) {
  for (Size at = 0; at < n; at += Size{L::width}) {
    std::array<L, In> x;
    std::array<L, Out> y;
#pragma GCC unroll 20
    for (std::size_t i = 0; i < In; ++i) x[i] = L::load(in[i] + at);
    f(x, y);
#pragma GCC unroll 20
    for (std::size_t j = 0; j < Out; ++j) {
      if (!out[j]) continue;
      (accumulate >> j & 1 ? L::load(out[j] + at) + y[j] : y[j]).store(out[j] + at);
    }
  }
}

// The same over arrays alone of any size.
template <class L, std::size_t In, std::size_t Out, class T, class F>
void map_arrays(T* const* out_at, const T* const* in_at, Size n, unsigned accumulate, F f) {
  constexpr Size w = L::width;
  // A store might be to the pointers themselves, for all that the compiler knows. Few of them are kept in registers instead.
  constexpr bool few = In + Out <= 6;
  const T* own_in[few ? In : 1];
  T* own_out[few ? Out : 1];
  if constexpr (few) {
    std::copy_n(in_at, In, own_in);
    std::copy_n(out_at, Out, own_out);
  }
  const T* const* const in = few ? own_in : in_at;
  T* const* const out = few ? own_out : out_at;
  for (Size at = 0; at < n; at += w) {
    const Size left = n - at;
    std::array<L, In> x;
    std::array<L, Out> y;
    if (left >= w) [[likely]] {
#pragma GCC unroll 20
      for (std::size_t i = 0; i < In; ++i) x[i] = L::load(in[i] + at);
    } else {
      for (std::size_t i = 0; i < In; ++i) x[i] = L::load_part(in[i] + at, left, T(1));
    }
    f(x, y);
#pragma GCC unroll 20
    for (std::size_t j = 0; j < Out; ++j) {
      if (!out[j]) continue;
      T* const to = out[j] + at;
      const bool add = accumulate >> j & 1;
      if (left >= w) [[likely]] {
        (add ? L::load(to) + y[j] : y[j]).store(to);
      } else {
        (add ? L::load_part(to, left) + y[j] : y[j]).store_part(to, left);
      }
    }
  }
}

}  // namespace unroll::detail
