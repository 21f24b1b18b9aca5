// One-to-many: an image in, a sentence out. A decoder writes word by word and looks, for each, at the
// windows of the image that matter.
//
//   auto net = Captioner::make(Key(1), {.rows = 32, .columns = 32, .vocabulary = words.size()});
//   Var<float> loss = net.loss(images, words, lengths);                 // images [B, rows, columns, 3]
//   auto found = net.describe(images, 3, 20);                           // beam search: found[b][0].tokens
//
// Every window is read by the same small network, and where it lies is added to what it shows: so what a
// thing is and where it is stay apart, and combinations that never occurred can be told.
#pragma once

#include "unroll/models/data/windows.hpp"
#include "unroll/nn/encoder_decoder.hpp"
#include "unroll/nn/losses.hpp"

namespace unroll {

struct CaptionerSizes {
  Size rows = 32, columns = 32;   // of an image, in pixels
  Size patch = 4, features = 24;  // patches of pixels, 2 apart, and the features of each
  Size window = 6;                // windows of 6 x 6 patches, 2 apart: 14 pixels, 4 apart
  Size memory = 64, hidden = 64, embedding = 16;
  Size vocabulary = 0;

  static constexpr Size stride = 2;

  // Along one side of an image, and along one side of what these patches make.
  [[nodiscard]] Size patches(Size side) const { return window_count(side, patch, stride); }
  [[nodiscard]] Size windows(Size side) const {
    return window_count(patches(side), window, stride);
  }
};

/// Reads the words so far, looks, and says the next word from what it sees and what it has said:
///   s' = cell(embedding, s),   c = attention(s', memory),   logits = out([c; s'])
/// What it sees never enters the state, and the last layer is linear: which shapes go with which places
/// cannot be learnt as a habit, only read off the image.
struct CaptionDecoder {
  Embedding<float> embedding;
  Gru<float> cell;
  AdditiveAttention<float> attention;
  Linear<float> out;  // [memory + hidden] -> [vocabulary]
  static constexpr auto fields() {
    return std::tuple{
        field("embedding", &CaptionDecoder::embedding), field("cell", &CaptionDecoder::cell),
        field("attention", &CaptionDecoder::attention), field("out", &CaptionDecoder::out)};
  }
  [[nodiscard]] static CaptionDecoder make(const Key& key, const CaptionerSizes& n) {
    const auto k = split<4>(key);
    return {Embedding<float>::make(k[0], n.vocabulary, n.embedding),
            Gru<float>::make(k[1], n.embedding, n.hidden),
            AdditiveAttention<float>::make(k[2], n.hidden, n.memory, n.hidden),
            Linear<float>::make(k[3], n.memory + n.hidden, n.vocabulary)};
  }
  [[nodiscard]] Var<float> embed(const Indices& tokens) const { return embedding(tokens); }
  [[nodiscard]] DecoderAdvance<float, Var<float>> advance(
      const Var<float>& embedded, const Var<float>& state,
      const AttentionMemory<float>& memory) const {
    const Var<float> next = cell(embedded, state);
    const auto [context, weights] = attention(next, memory);
    return {concat({context, next}, -1), next, weights};
  }
};

struct Captioner {
  static constexpr std::int64_t begin = 0, end = 1;  // the first two words of the vocabulary

  CaptionerSizes sizes;
  Linear<float> look;  // [.., patch² 3] -> [.., features]
  Linear<float> see;   // [.., window² features] -> [.., memory]
  Var<float> places;   // [windows, 1, memory]
  CaptionDecoder decoder;
  static constexpr auto fields() {
    return std::tuple{field("look", &Captioner::look), field("see", &Captioner::see),
                      field("places", &Captioner::places), field("decoder", &Captioner::decoder)};
  }

  [[nodiscard]] static Captioner make(const Key& key, const CaptionerSizes& n) {
    const auto k = split<4>(key);
    return {n, Linear<float>::make(k[0], 3 * n.patch * n.patch, n.features),
            Linear<float>::make(k[1], n.window * n.window * n.features, n.memory),
            normal<float>(k[2], {n.windows(n.rows) * n.windows(n.columns), 1, n.memory}, 0, 0.3),
            CaptionDecoder::make(k[3], n)};
  }

  // The decoder's step over what the images [B, rows, columns, 3] show, and its first state.
  [[nodiscard]] auto read(const Var<float>& images) const {
    const Size batch = images.size(0), across = sizes.patches(sizes.columns);
    const Var<float> patches = windows(images - 0.4F, sizes.patch, sizes.stride);
    const Var<float> features = reshape(relu(look(patches)), {-1, across, batch, sizes.features});
    const Var<float> seen =
        windows(permute(features, {2, 0, 1, 3}), sizes.window, sizes.stride);  // [S, B, ..]
    return attending(decoder, relu(see(seen)) + places);
  }
  [[nodiscard]] auto start(Size batch) const { return decoder.cell.initial_state(batch); }

  // Mean over words. inputs and targets [T, B]; a target of -1 does not count.
  [[nodiscard]] Var<float> loss(const Var<float>& images, const Indices& inputs,
                                const Indices& targets) const {
    const auto taught = teacher_forced(read(images), inputs, start(images.size(0)));
    return cross_entropy(taught.outputs, targets, {.ignored = -1});
  }
  // The best caption of each image first, by beam search; a beam of 1 is greedy.
  [[nodiscard]] auto describe(const Var<float>& images, Size beam, Size longest) const {
    const Size batch = images.size(0);
    const Indices first(std::vector<std::int64_t>(std::size_t(batch), begin));
    return beam_search(first, start(batch), read(images), {.beam = beam},
                       {.max_length = longest, .end = end});
  }
  // Where each word looks: [T, B, windows].
  [[nodiscard]] Var<float> attention(const Var<float>& images, const Indices& inputs) const {
    return attention_map(read(images), inputs, start(images.size(0)));
  }
};

}  // namespace unroll
