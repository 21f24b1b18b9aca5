// The engine: arrays with derivatives, the ops, and the transforms. Add unroll/autograd/xtensor.hpp to pass xtensor arrays
// in and out.
//
//   auto [loss, gradient] = value_and_grad([&](const Var<float>& w) { return mean(square(linear(x, w) - y)); }, w0);
#pragma once

#include "unroll/autograd/elementwise.hpp"
#include "unroll/autograd/op.hpp"
#include "unroll/autograd/ops/ops.hpp"
#include "unroll/autograd/transforms.hpp"
