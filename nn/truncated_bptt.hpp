// Truncated backpropagation through time {k1, k2} (Williams & Peng, 1990; Sutskever, 2013, section 2.8.6): every k1 steps the
// gradient of the losses of these k1 steps, carried back through the last k2 steps.
//
//   TruncatedBptt bptt(net.initial_state(B), T, {.k1 = 20, .k2 = 40});
//   while (!bptt.done()) {
//     const auto [loss, gradient] = bptt.next(net, [&](const Net& n, const State& s, const BpttSteps& steps) {
//       const auto run = unroll::unroll(n.layers, slice(xs, 0, SliceRange{steps.begin, steps.end}), s);
//       return std::pair{sum_of_losses(n.read_out(run.outputs), steps), run.state};
//     });
//     adam.step(net, gradient);                         // or: total = tree_add(total, gradient)
//   }
//   state = bptt.state();                               // for the next stretch of a stream
//
// Between windows the caller decides: an update, or adding the gradients up. Invariants: every L_t is counted
// exactly once; a window of k1 steps sees as a constant the state k2 - k1 steps before its first (the last window, which may be
// shorter, too, so with k1 = k2 no step is run twice); with k1 = k2 = T there is one window, whose gradient is the whole one.
#pragma once

#include <algorithm>

#include "unroll/autograd/transforms.hpp"
#include "unroll/nn/state.hpp"

namespace unroll {

struct BpttOptions {
  Size k1 = 1;  // steps of a window: how often a gradient is taken
  Size k2 = 1;  // steps that it reaches back, at least k1
};

// The steps begin, ..., end - 1 of a sequence. Where their losses do not count, the run is there for its state alone:
// another window has counted them, and no read-out needs to be computed.
struct BpttSteps {
  Size begin, end;
  bool counted;
};

template <Tree State>
class TruncatedBptt {
 public:
  // Of `steps` steps, from a state whose past is constant. Throws unless 1 <= k1 <= k2 and there is a step.
  TruncatedBptt(const State& state, Size steps, const BpttOptions& options)
      : options_(options), steps_(steps), start_state_(detach(state)), state_(start_state_) {
    if (options.k1 < 1 || options.k2 < options.k1) {
      fail("TruncatedBptt", "k1 = " + std::to_string(options.k1) +
                                " and k2 = " + std::to_string(options.k2) +
                                "; 1 <= k1 <= k2 is needed, or some losses would reach nothing");
    }
    if (steps < 1) fail("TruncatedBptt", "the sequence has no steps");
  }

  [[nodiscard]] bool done() const { return at_ == steps_; }
  // After the last step that was counted; a constant.
  [[nodiscard]] const State& state() const { return state_; }
  [[nodiscard]] Size step() const { return at_; }  // steps counted so far

  // The next window: {value, gradient} of its losses, the gradient of the model's type.
  // run(model, state, BpttSteps) runs these steps on from a state and returns std::pair{the sum of their losses, the state
  // after them}; it is called for up to three stretches of the window. The k2 - k1 steps before the window are run again, with the
  // model as it is now.
  template <Tree Model, class Run>
  [[nodiscard]] auto next(const Model& model, Run&& run) {
    if (done()) fail("TruncatedBptt", "all steps were taken; done() says so");
    const Size end = std::min(at_ + options_.k1, steps_);
    // As far back as the next window will reach: the state there is kept as this one passes.
    const Size keep = std::max(end - (options_.k2 - options_.k1), start_);
    auto window = value_and_grad(
        [&](const Model& m) {
          State s = start_state_, kept = start_state_;
          using Loss = std::remove_cvref_t<decltype(run(m, s, BpttSteps{}).first)>;
          Loss loss(0);
          std::array<Size, 4> cuts{start_, at_, keep, end};
          std::sort(cuts.begin(), cuts.end());
          for (std::size_t k = 0; k + 1 < cuts.size(); ++k) {
            if (cuts[k] == cuts[k + 1]) continue;
            const bool counted = cuts[k] >= at_;
            auto part = run(m, s, BpttSteps{cuts[k], cuts[k + 1], counted});
            if (counted) loss = loss + part.first;
            s = std::move(part.second);
            if (cuts[k + 1] == keep) kept = s;
          }
          return std::tuple{loss, kept, s};
        },
        model);
    std::tie(start_state_, state_) = std::move(window.auxiliary);
    start_ = keep;
    at_ = end;
    return ValueAndGrad<decltype(window.value), Model>{window.value, std::move(window.gradient)};
  }

 private:
  BpttOptions options_;
  Size steps_;
  Size at_ = 0;        // counted up to here
  Size start_ = 0;     // where the next window's gradient ends
  State start_state_;  // the state there
  State state_;        // the state at at_
};

}  // namespace unroll
