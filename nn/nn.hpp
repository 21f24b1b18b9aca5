// Everything for networks: keys and initial weights, layers and cells, unroll, losses, metrics,
// optimisers, schedules, saving.
//
//   #include <unroll/nn/nn.hpp>
//
// With the transforms (value_and_grad, ...), which every training loop needs; `fuse` and xtensor arrays
// have headers of their own: unroll/autograd/elementwise.hpp, unroll/autograd/xtensor.hpp.
#pragma once

#include "unroll/autograd/transforms.hpp"
#include "unroll/nn/attention.hpp"
#include "unroll/nn/bidirectional.hpp"
#include "unroll/nn/bleu.hpp"
#include "unroll/nn/cells.hpp"
#include "unroll/nn/crf.hpp"
#include "unroll/nn/ctc.hpp"
#include "unroll/nn/decoding.hpp"
#include "unroll/nn/embedding.hpp"
#include "unroll/nn/encoder_decoder.hpp"
#include "unroll/nn/init.hpp"
#include "unroll/nn/layer_norm.hpp"
#include "unroll/nn/lengths.hpp"
#include "unroll/nn/linear.hpp"
#include "unroll/nn/losses.hpp"
#include "unroll/nn/lstm_variants.hpp"
#include "unroll/nn/metrics.hpp"
#include "unroll/nn/optimizers.hpp"
#include "unroll/nn/probe.hpp"
#include "unroll/nn/pytorch_names.hpp"
#include "unroll/nn/ragged.hpp"
#include "unroll/nn/residual.hpp"
#include "unroll/nn/schedules.hpp"
#include "unroll/nn/serialization.hpp"
#include "unroll/nn/span_f1.hpp"
#include "unroll/nn/stack.hpp"
#include "unroll/nn/state.hpp"
#include "unroll/nn/truncated_bptt.hpp"
#include "unroll/nn/unroll.hpp"
#include "unroll/nn/variational.hpp"
#include "unroll/nn/weight_average.hpp"
