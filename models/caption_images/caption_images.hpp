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
  Size rows = 32, columns = 32;  // of an image, in pixels
  Size window = 16, stride = 4;  // of the windows, and from one to the next
  Size memory = 64, hidden = 64, embedding = 16;
  Size vocabulary = 0;

  [[nodiscard]] Size windows() const {
    return window_count(rows, window, stride) * window_count(columns, window, stride);
  }
};

struct Captioner {
  using Decoder = LuongDecoder<float, Gru<float>, AdditiveAttention<float>>;
  static constexpr std::int64_t begin = 0, end = 1;  // the first two words of the vocabulary

  CaptionerSizes sizes;
  Linear<float> look, see;  // what a window shows: [.., window² 3] -> [.., memory]
  Var<float> places;        // [windows, 1, memory]
  Decoder decoder;
  static constexpr auto fields() {
    return std::tuple{field("look", &Captioner::look), field("see", &Captioner::see),
                      field("places", &Captioner::places), field("decoder", &Captioner::decoder)};
  }

  [[nodiscard]] static Captioner make(const Key& key, const CaptionerSizes& n) {
    const auto k = split<5>(key);
    const auto attention = AdditiveAttention<float>::make(k[3], n.hidden, n.memory, n.hidden);
    return {n, Linear<float>::make(k[0], 3 * n.window * n.window, n.memory),
            Linear<float>::make(k[1], n.memory, n.memory),
            normal<float>(k[2], {n.windows(), 1, n.memory}, 0, 0.3),
            Decoder::make(k[4], attention,
                          {.vocabulary = n.vocabulary,
                           .embedding = n.embedding,
                           .hidden = n.hidden,
                           .context = n.memory})};
  }

  // The decoder's step over what the images [B, rows, columns, 3] show, and its first state.
  [[nodiscard]] auto read(const Var<float>& images) const {
    const Var<float> seen = windows(images - 0.4F, sizes.window, sizes.stride);  // [S, B, ..]
    return attending(decoder, relu(see(relu(look(seen)))) + places);
  }
  [[nodiscard]] auto start(Size batch) const {
    return decoder.start(decoder.cell.initial_state(batch));
  }

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
