// A training step (loss and gradient) on a ragged batch against one on a dense batch with as many real tokens, measured in
// turns in one run.
//
//   ragged                                  // a table: networks, sizes, how far the lengths spread
//   ragged --check                          // fails when a 3-layer bidirectional LSTM exceeds the bar
//
// The dense batch is [T, B]; the lengths of the ragged one have the mean T and lie evenly between T - spread·T and
// T + spread·T. "packed" packs the batch and takes the loss of the packed steps; "padded" gives the lengths to unroll and
// masks the loss. Both lay the batch out anew in each step, as with new data. Ratios are turn by turn.
#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "unroll/bench/one_blas_thread.hpp"
#include "unroll/bench/runner.hpp"
#include "unroll/nn/nn.hpp"

namespace {

using namespace unroll;
using namespace unroll::bench;

constexpr Size in = 64, classes = 32;

struct Setting {
  Size H, B, T;
  double spread;
};

template <class Layer>
struct Net {
  Layer layer;
  Linear<float> read_out;
  static constexpr auto fields() {
    return std::tuple{field("layer", &Net::layer), field("read_out", &Net::read_out)};
  }
};

enum class Way { dense, packed, padded };

template <class Layer>
class Step {
 public:
  Step(Layer layer, const Setting& s, Way way) : way_(way), lengths_(spread(s)) {
    const Size out = detail::output_size(layer);
    net_ = {std::move(layer), Linear<float>::make(Key(3), out, classes)};
    const Size steps = way == Way::dense ? s.T : Lengths(lengths_).longest();
    xs_ = normal<float>(Key(4), {steps, s.B, in});
    labels_ = randint(Key(5), {steps, s.B}, 0, classes);
  }
  double step(double) {
    const auto r = value_and_grad([&](const Net<Layer>& n) { return loss(n); }, net_);
    return static_cast<double>(r.value.item());
  }

 private:
  static std::vector<Size> spread(const Setting& s) {
    std::vector<Size> lengths;
    const double far = s.spread * static_cast<double>(s.T);
    for (Size b = 0; b < s.B; ++b) {
      const double place =
          s.B > 1 ? 2 * static_cast<double>(b) / static_cast<double>(s.B - 1) - 1 : 0;
      lengths.push_back(s.T + static_cast<Size>(std::lround(place * far)));
    }
    return lengths;
  }
  Var<float> loss(const Net<Layer>& n) const {
    const auto s0 = n.layer.initial_state(xs_.size(1));
    if (way_ == Way::dense) {
      return cross_entropy(n.read_out(unroll::unroll(n.layer, xs_, s0).outputs), labels_);
    }
    const Lengths lengths(lengths_);
    if (way_ == Way::packed) {
      const auto run = unroll::unroll(n.layer, pack(xs_, lengths), s0);
      return cross_entropy(n.read_out(run.outputs.data), pack(labels_, lengths));
    }
    const auto run = unroll::unroll(n.layer, xs_, s0, {.lengths = lengths});
    const auto y = n.read_out(run.outputs);
    const auto each = logsumexp(y, {-1}) - squeeze(gather(y, expanded_labels(), -1), {-1});
    return sum(each * transpose(length_mask<float>(lengths.indices(), xs_.size(0)))) /
           static_cast<float>(lengths.total());
  }
  Indices expanded_labels() const { return labels_.reshaped({xs_.size(0), xs_.size(1), 1}); }

  Way way_;
  std::vector<Size> lengths_;
  Net<Layer> net_;
  Var<float> xs_;
  Indices labels_;
};

struct Options {
  Turns turns{.alternations = 15, .seconds = 0.5};
  double bar = 1.15;
  bool check = false, met = true;
};

template <class Layer>
void measure(const std::string& name, const Layer& layer, const Setting& s, bool barred,
             Options& o) {
  std::vector<std::unique_ptr<Runner>> all;
  for (const auto& [way, words] : {std::pair{Way::dense, "dense"}, std::pair{Way::packed, "packed"},
                                   std::pair{Way::padded, "padded"}}) {
    all.push_back(in_process(words, std::make_unique<Step<Layer>>(layer, s, way), Clock::cpu));
  }
  const auto seconds = take_turns(all, o.turns);
  const Interval packed = interval(ratios(seconds[1], seconds[0]));
  const Interval padded = interval(ratios(seconds[2], seconds[0]));
  const bool missed = barred && packed.low > o.bar;
  fmt::print("{:<24}{:>5}{:>5}{:>5}{:>8.2f}{:>12.3f}   {:<22}{:<22}{}\n", name, s.H, s.B, s.T,
             s.spread, median(seconds[0]) * 1e3,
             fmt::format("{:.2f} [{:.2f}, {:.2f}]", packed.median, packed.low, packed.high),
             fmt::format("{:.2f} [{:.2f}, {:.2f}]", padded.median, padded.low, padded.high),
             !barred ? "" : fmt::format("bar {} {}", o.bar, missed ? "MISSED" : "met"));
  std::fflush(stdout);
  o.met = o.met && !missed;
}

}  // namespace

int main(int argc, char** argv) {
  unroll::bench::one_blas_thread(argv);
  Options o;
  CLI::App app{"Ragged batches against dense ones with as many real tokens"};
  app.option_defaults()->always_capture_default();
  app.add_flag("--check", o.check, "fail when the bar is missed");
  app.add_option("--bar", o.bar, "of packed against dense, 3-layer bidirectional LSTM");
  app.add_option("--alternations", o.turns.alternations, "turns, at least");
  app.add_option("--seconds", o.turns.seconds, "of each comparison, at least");
  CLI11_PARSE(app, argc, argv);

  fmt::print("{:<24}{:>5}{:>5}{:>5}{:>8}{:>12}   {:<22}{:<22}\n", "network", "H", "B", "T",
             "spread", "dense ms", "packed/dense [95 %]", "padded/dense [95 %]");
  for (const Setting& s :
       {Setting{64, 16, 40, 0.1}, Setting{64, 16, 40, 0.5}, Setting{128, 32, 50, 0.1},
        Setting{128, 32, 50, 0.5}, Setting{256, 32, 50, 0.5}}) {
    measure("LSTM", Lstm<float>::make(Key(1), in, s.H), s, false, o);
    measure("GRU", Gru<float>::make(Key(1), in, s.H), s, false, o);
    measure("projected LSTM (steps)", ProjectedLstm<float>::make(Key(1), in, s.H, s.H / 2), s,
            false, o);
    measure("3 bidirectional LSTM",
            Stack<Bidirectional<Lstm<float>>>::make(Key(1), {.layers = 3}, in, s.H), s, true, o);
  }
  return o.check && !o.met ? 1 : 0;
}
