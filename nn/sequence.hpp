// Whole sequences of the built-in cells as one node of the tape.
//
//   if (auto run = sequence<LstmSteps>(projected, W, h0, c0)) ...    // run->outputs [T, B, H], run->h and run->c [B, H]
//
// What a cell's step() repeated T times gives, at the speed of the loop one would write by hand: gates are computed in one
// pass over each row, and the sweep keeps one array of all steps' pre-activation derivatives, which is a weight gradient's
// one product. `unroll` uses it for the built-in cells. Invariant: values and gradients are those of the steps, except in
// rounding; derivatives of higher order, and tangents, are taken through the steps themselves.
#pragma once

#include <optional>

#include "unroll/autograd/var.hpp"

namespace unroll::detail {

// Which cell: how its rows are computed is in sequence.cpp.
template <class Activation>
struct ElmanSteps;  // projected, W, h0
struct LstmSteps;   // projected, W, h0, c0
struct GruSteps;    // projected, W, h0, hidden bias

template <class T>
struct Sequence {
  Var<T> outputs, h, c;  // [T, B, H]; after the last step, [B, H]; c: LSTM only
};

// Nothing unless projected is [T, B, gates·H] with T > 0 and the states [B, H].
template <class Steps, FloatOrDouble T>
std::optional<Sequence<T>> sequence(const Var<T>& projected, const Var<T>& W, const Var<T>& h,
                                    const Var<T>& other = {});

}  // namespace unroll::detail
