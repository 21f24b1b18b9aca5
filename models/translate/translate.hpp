// A translator: an encoder reads the source from both ends, a decoder with attention writes the target.
//
//   const auto model = Translator::make(Key(1), {.source = 5893, .target = 6470});
//   Weighted<float> loss = model.loss(batch, {.dropout = 0.3, .label_smoothing = 0.1}, key);
//   auto best = model.translate(batch, {.beam = 4, .length_penalty = 1});        // a Hypothesis for each
//
// With m the encoder's outputs, s its last state, both directions side by side (Luong et al., 2015):
//   s_0 = tanh(bridge(s)),   s_t = GRU(embedding(y_{t-1}), s_{t-1})
//   c_t = softmax(s_t W_a m) m,   p(y_t) = softmax(out(tanh(W [c_t; s_t])))
// Invariant: padding changes neither loss nor translations; both vocabularies begin with special_tokens.
#pragma once

#include "unroll/models/training/gradient_sum.hpp"
#include "unroll/models/translate/sentences.hpp"
#include "unroll/nn/bidirectional.hpp"
#include "unroll/nn/encoder_decoder.hpp"
#include "unroll/nn/lengths.hpp"
#include "unroll/nn/losses.hpp"

namespace unroll {

struct TranslatorSizes {
  Size source = 0, target = 0;  // words
  Size embedding = 256, hidden = 256;
};

struct TranslatorRegularization {
  double dropout = 0;  // of both embeddings and of what is read out
  double label_smoothing = 0;
};

struct Translator {
  using Cell = Gru<float>;
  using Decoder = PlainLuongDecoder<float, Cell, GeneralAttention<float>>;

  Embedding<float> embedding;  // of the source
  Bidirectional<Cell> encoder;
  Linear<float> bridge;  // [2 hidden] -> [hidden]
  Decoder decoder;
  static constexpr auto fields() {
    return std::tuple{field("embedding", &Translator::embedding),
                      field("encoder", &Translator::encoder), field("bridge", &Translator::bridge),
                      field("decoder", &Translator::decoder)};
  }

  [[nodiscard]] static Translator make(const Key& key, const TranslatorSizes& n) {
    const auto k = split<5>(key);
    const auto attention = GeneralAttention<float>::make(k[0], n.hidden, 2 * n.hidden);
    return {Embedding<float>::make(k[1], n.source, n.embedding),
            Bidirectional<Cell>::make(k[2], n.embedding, n.hidden),
            Linear<float>::make(k[3], 2 * n.hidden, n.hidden),
            Decoder::make(k[4], attention,
                          {.vocabulary = n.target,
                           .embedding = n.embedding,
                           .hidden = n.hidden,
                           .context = 2 * n.hidden})};
  }

  // The decoder looking at its source, and its first state [B, hidden].
  [[nodiscard]] auto read(const SourceBatch& b, double rate = 0, const Key& key = {}) const {
    const Var<float> xs = dropout(embedding(b.words), rate, key);  // [S, B, embedding]
    const auto run = unroll::unroll(encoder, xs, encoder.initial_state(b.lengths.batch()),
                                    {.lengths = b.lengths});
    const auto mask = length_mask<float>(b.lengths.indices(), b.words.shape()[0]);
    return std::pair{attending(decoder, run.outputs, mask),
                     tanh(bridge(concat({run.state.forward, run.state.backward}, -1)))};
  }

  // The mean over the target's words, nats. Only these are read out: padding costs no product.
  [[nodiscard]] Weighted<float> loss(const SentenceBatch& b, const TranslatorRegularization& how,
                                     const Key& key) const {
    const auto k = split<3>(key);
    const auto [step, start] = read(b.source, how.dropout, k[0]);
    const auto all = step.advance_all(dropout(step.embed(b.inputs), how.dropout, k[1]), start);
    const Var<float> features = pack(all.features, b.target_lengths).data;  // [N, hidden]
    return {cross_entropy(step.readout(dropout(features, how.dropout, k[2])), b.targets,
                          {.label_smoothing = how.label_smoothing}),
            double(b.target_lengths.total())};
  }

  [[nodiscard]] std::vector<Hypothesis> translate(const SourceBatch& b,
                                                  const BeamOptions& options) const {
    const auto [step, start] = read(b);
    const Indices first(std::vector<std::int64_t>(std::size_t(b.lengths.batch()), begin_token));
    // Twice the source and some more: what is longer has lost its way.
    const DecodingLimits limits{.max_length = 2 * b.lengths.longest() + 20, .end = end_token};
    if (options.beam == 1) return greedy_search(first, start, step, limits);
    std::vector<Hypothesis> best;
    for (auto& found : beam_search(first, start, step, options, limits)) {
      best.push_back(std::move(found.front()));
    }
    return best;
  }

  // What each target word looked at: [T, B, S].
  [[nodiscard]] Var<float> attention(const SentenceBatch& b) const {
    const auto [step, start] = read(b.source);
    return attention_map(step, b.inputs, start);
  }
};

// For the trainer; validation calls it without a key: then nothing is dropped or smoothed.
struct TranslationLoss {
  TranslatorRegularization how;
  Weighted<float> operator()(const Translator& m, const SentenceBatch& b, const Key& key) const {
    return m.loss(b, how, key);
  }
  Weighted<float> operator()(const Translator& m, const SentenceBatch& b) const {
    return m.loss(b, {}, {});
  }
};

}  // namespace unroll
