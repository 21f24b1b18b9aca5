// Many-to-one: a text in, a label out.
//
//   auto model = TextClassifier::make(Key(1), {.vocabulary = 5000, .labels = 2});
//   Var<float> logits = model(batch);              // [B, labels]; model(batch, key) in training
//
// A bidirectional LSTM reads words or characters; an affine layer scores the labels from its two last
// states and from what it put out along the text, the largest and the mean of each number. Invariant: without a key nothing
// is dropped.
#pragma once

#include "unroll/nn/bidirectional.hpp"
#include "unroll/nn/cells.hpp"
#include "unroll/nn/embedding.hpp"
#include "unroll/nn/lengths.hpp"
#include "unroll/nn/linear.hpp"
#include "unroll/nn/losses.hpp"
#include "unroll/nn/probe.hpp"
#include "unroll/nn/variational.hpp"

namespace unroll {

struct TextBatch {
  Indices units;                               // [N], words or characters, packed (nn/ragged.hpp)
  std::shared_ptr<const PackedLayout> layout;  // of B texts, none empty
  Indices labels;                              // [B]
};

struct TextClassifierOptions {
  Size vocabulary = 0, labels = 0;
  Size embedding = 64, hidden = 64;  // units of each direction
  double input_dropout = 0.5;        // of embeddings, one mask for all of a text
  double dropout = 0.5;              // of what the labels are scored from
  double unit_dropout = 0;           // the share of words that are not seen in training
};

struct TextClassifier {
  Embedding<float> table;
  Bidirectional<Variational<Lstm<float>>> reader;
  Linear<float> answer;
  TextClassifierOptions options;
  static constexpr auto fields() {
    return std::tuple{field("table", &TextClassifier::table),
                      field("reader", &TextClassifier::reader),
                      field("answer", &TextClassifier::answer)};
  }

  [[nodiscard]] static TextClassifier make(const Key& key, const TextClassifierOptions& o) {
    const auto [a, b, c] = split<3>(key);
    // Small, so that a word seen rarely says little.
    return {{normal<float>(a, {o.vocabulary, o.embedding}, 0, 0.2)},
            Bidirectional<Variational<Lstm<float>>>::make(
                b, o.embedding, VariationalRates{.input = o.input_dropout}, o.hidden),
            Linear<float>::make(c, 6 * o.hidden, o.labels),
            o};
  }

  [[nodiscard]] Var<float> operator()(const TextBatch& batch,
                                      const std::optional<Key>& key = {}) const {
    const auto [for_units, for_reader, for_pooled] = split<3>(key.value_or(Key()));
    Var<float> seen = table(batch.units);  // [N, embedding]
    if (key) {
      seen = seen * dropout(ones<float>({batch.units.size(), 1}), options.unit_dropout, for_units);
    }
    const Lengths& lengths = batch.layout->lengths;
    const auto read = unroll::unroll(reader, Packed<float>{seen, batch.layout},
                                     reader.initial_state(lengths.batch()),
                                     {.key = key ? std::optional(for_reader) : std::nullopt});
    Var<float> all = features(read.state, unpack(read.outputs), lengths);
    if (key) all = dropout(all, options.dropout, for_pooled);
    return answer(all);
  }

  /// The norm of the loss's gradient by the state of the forward reader after each unit (nn/probe.hpp).
  /// Throws std::invalid_argument unless the texts have one length.
  [[nodiscard]] std::vector<double> gradient_by_unit(const TextBatch& batch) const {
    const Lengths& lengths = batch.layout->lengths;
    if (lengths.total() != lengths.longest() * lengths.batch()) {
      fail("gradient_by_unit", "the texts have different lengths, so their steps do not compare");
    }
    const Var<float> xs = unpack(Packed<float>{table(batch.units), batch.layout});
    const auto start = reader.initial_state(lengths.batch());
    const auto back = unroll::unroll(reader.backward, flip(xs, 0), start.backward);
    return state_gradient_norms(reader.forward, xs, start.forward, [&](const auto& run) {
      const Var<float> outputs = concat({run.outputs, flip(back.outputs, 0)}, -1);
      const Var<float> all = features({run.state, back.state}, outputs, lengths);
      return cross_entropy(answer(all), batch.labels);
    });
  }

  // What the labels are scored from: [B, 6 hidden].
  [[nodiscard]] static Var<float> features(const BidirectionalState<LstmState<float>>& last,
                                           const Var<float>& outputs, const Lengths& lengths) {
    return concat({last.forward.h, last.backward.h, pooled(outputs, lengths)}, -1);
  }
  // The largest and the mean over the steps of each text: ys [T, B, n] -> [B, 2n].
  [[nodiscard]] static Var<float> pooled(const Var<float>& ys, const Lengths& lengths) {
    const Var<float> mask =
        expand(transpose(length_mask<float>(lengths.indices(), ys.size(0))), 2);  // [T, B, 1]
    return concat({max(ys + (mask - 1.0f) * 1e9f, {0}), sum(ys, {0}) / sum(mask, {0})}, -1);
  }
};

/// What the program is compared with: a weight for each word and label, added up over the text
/// (logistic regression on counts).
struct BagOfUnits {
  Embedding<float> weight;  // [vocabulary, labels]
  Var<float> bias;          // [labels]
  static constexpr auto fields() {
    return std::tuple{field("weight", &BagOfUnits::weight), field("bias", &BagOfUnits::bias)};
  }
  [[nodiscard]] static BagOfUnits make(Size vocabulary, Size labels) {
    return {{zeros<float>({vocabulary, labels})}, zeros<float>({labels})};
  }
  [[nodiscard]] Var<float> operator()(const TextBatch& batch,
                                      const std::optional<Key>& = {}) const {
    return sum(unpack(Packed<float>{weight(batch.units), batch.layout}), {0}) + bias;
  }
};

/// -log p(label), mean over the batch; with a key in training.
struct TextLoss {
  double smoothing = 0;  // of the labels, in training (nn/losses.hpp)

  template <class M>
  Var<float> operator()(const M& model, const TextBatch& batch, const Key& key) const {
    return cross_entropy(model(batch, key), batch.labels, {.label_smoothing = smoothing});
  }
  template <class M>
  Var<float> operator()(const M& model, const TextBatch& batch) const {
    return cross_entropy(model(batch), batch.labels);
  }
};

}  // namespace unroll
