// Everything for networks: keys and initial weights, layers and cells, unroll, losses, optimisers,
// saving.
//
//   #include <unroll/nn/nn.hpp>
#pragma once

#include "unroll/nn/cells.hpp"
#include "unroll/nn/embedding.hpp"
#include "unroll/nn/init.hpp"
#include "unroll/nn/linear.hpp"
#include "unroll/nn/losses.hpp"
#include "unroll/nn/optimizers.hpp"
#include "unroll/nn/probe.hpp"
#include "unroll/nn/serialization.hpp"
#include "unroll/nn/unroll.hpp"
