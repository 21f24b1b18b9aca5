// Many-to-many of equal length: a tag for each word of a sentence.
//
//   auto tagger = Tagger::make(Key(1), {.words = 5000, .letters = 80, .shapes = 40}, tag_names);
//   Var<float> loss = tagger.loss(batch, key);     // training; loss(batch) drops nothing
//   Indices tags = tagger.decode(batch);           // [T, B], -1 behind a sentence's end
//
// A word is a row of a table, what a bidirectional LSTM makes of its letters, and a row for its shape
// ("Xx", "d"); a bidirectional LSTM reads the sentence, an affine layer scores the tags, and a
// conditional random field weighs whole sequences of them (Lample et al., "Neural architectures for
// named entity recognition", 2016). Letters, shapes and field can be left out. Invariant: without a key
// nothing is dropped.
#pragma once

#include "unroll/nn/bidirectional.hpp"
#include "unroll/nn/cells.hpp"
#include "unroll/nn/crf.hpp"
#include "unroll/nn/embedding.hpp"
#include "unroll/nn/linear.hpp"
#include "unroll/nn/losses.hpp"
#include "unroll/nn/variational.hpp"

namespace unroll {

struct TaggingBatch {
  std::shared_ptr<const PackedLayout> layout;  // of B sentences, N words in all
  Indices words = {}, shapes = {};             // [N], packed
  Indices spelling = {};                       // [N]: which of the U distinct words it is
  std::shared_ptr<const PackedLayout> letters_layout = {};  // of those U words
  Indices letters = {};                                     // of all of them, packed
  Indices tags = {};                                        // [T, B]; any tag behind the end
};

struct TaggerOptions {
  Size words = 0, letters = 0, shapes = 0;  // in the vocabularies; no letters or shapes: 0
  Size word_size = 100, letter_size = 25, shape_size = 16;
  Size letter_hidden = 25, hidden = 100;  // units of each direction
  double input_dropout = 0.4;             // of words' vectors, one mask for all of a sentence
  double dropout = 0.4;                   // of what the LSTM puts out
  double unknown = 0.1;                   // the share of words taken for unknown ones, in training
  bool crf = true;
};

struct Tagger {
  using Reader = Bidirectional<Variational<Lstm<float>>>;
  Embedding<float> words = {};
  std::optional<Embedding<float>> letters = {}, shapes = {};
  std::optional<Bidirectional<Lstm<float>>> speller = {};
  Reader reader = {};
  Linear<float> scores = {};
  std::optional<Crf<float>> crf = {};
  double dropout_rate = 0, unknown_rate = 0;
  static constexpr auto fields() {
    return std::tuple{field("words", &Tagger::words),   field("letters", &Tagger::letters),
                      field("shapes", &Tagger::shapes), field("speller", &Tagger::speller),
                      field("reader", &Tagger::reader), field("scores", &Tagger::scores),
                      field("crf", &Tagger::crf)};
  }

  // Tags are named as in IOB2; word 0 is the unknown one.
  [[nodiscard]] static Tagger make(const Key& key, const TaggerOptions& o,
                                   const std::vector<std::string>& tags) {
    const auto k = split<7>(key);
    const auto table = [](const Key& own, Size rows, Size size) {  // small: rare words say little
      return Embedding<float>{normal<float>(own, {rows, size}, 0, 0.2)};
    };
    Tagger t{.words = table(k[0], o.words, o.word_size)};
    Size size = o.word_size;
    if (o.letters > 0) {
      t.letters = table(k[1], o.letters, o.letter_size);
      t.speller = Bidirectional<Lstm<float>>::make(k[2], o.letter_size, o.letter_hidden);
      size += 2 * o.letter_hidden;
    }
    if (o.shapes > 0) {
      t.shapes = table(k[3], o.shapes, o.shape_size);
      size += o.shape_size;
    }
    t.reader = Reader::make(k[4], size, VariationalRates{.input = o.input_dropout}, o.hidden);
    t.scores = Linear<float>::make(k[5], 2 * o.hidden, Size(tags.size()));
    if (o.crf) {
      t.crf = Crf<float>::make(k[6], Size(tags.size()));
      t.crf->allowed = iob2_constraints<float>(tags);
    }
    t.dropout_rate = o.dropout, t.unknown_rate = o.unknown;
    return t;
  }

  // What each word is, before the sentence is read: [N, size].
  [[nodiscard]] Var<float> word_vectors(const TaggingBatch& b,
                                        const std::optional<Key>& key) const {
    std::vector<Var<float>> parts{words(key ? some_unknown(b.words, *key) : b.words)};
    if (speller) {
      const auto read =
          unroll::unroll(*speller, Packed<float>{(*letters)(b.letters), b.letters_layout},
                         speller->initial_state(b.letters_layout->lengths.batch()));
      parts.push_back(take(concat({read.state.forward.h, read.state.backward.h}, -1), b.spelling));
    }
    if (shapes) parts.push_back((*shapes)(b.shapes));
    return concat(parts, -1);
  }
  // The scores of the tags, one row for each word: [N, tags], packed.
  [[nodiscard]] Packed<float> emissions(const TaggingBatch& b,
                                        const std::optional<Key>& key = {}) const {
    const auto [for_words, for_reader, for_outputs] = split<3>(key.value_or(Key()));
    const auto own = [&](const Key& k) { return key ? std::optional(k) : std::nullopt; };
    const auto run =
        unroll::unroll(reader, Packed<float>{word_vectors(b, own(for_words)), b.layout},
                       reader.initial_state(b.layout->lengths.batch()), {.key = own(for_reader)});
    const Var<float>& seen = run.outputs.data;
    return {scores(key ? dropout(seen, dropout_rate, for_outputs) : seen), b.layout};
  }
  // -log p(tags) of a sentence, mean over the sentences.
  [[nodiscard]] Var<float> loss(const TaggingBatch& b, const std::optional<Key>& key = {}) const {
    const Packed<float> e = emissions(b, key);
    const Lengths& lengths = b.layout->lengths;
    if (crf) return crf->loss(unpack(e), b.tags, lengths_of(lengths));
    return cross_entropy(e.data, pack(b.tags, lengths), {.reduction = Reduction::sum}) /
           float(lengths.batch());
  }
  [[nodiscard]] Indices decode(const TaggingBatch& b) const {
    const Var<float> e = unpack(emissions(b));
    return crf ? crf->decode(e, lengths_of(b.layout->lengths)).tags : argmax(e);
  }

  [[nodiscard]] static Indices lengths_of(const Lengths& lengths) {
    return Indices({lengths.batch()}, lengths.values());
  }
  [[nodiscard]] Indices some_unknown(const Indices& ids, const Key& key) const {
    const auto hidden = bernoulli<float>(key, ids.shape(), unknown_rate).to_vector();
    std::vector<std::int64_t> seen(ids.values().begin(), ids.values().end());
    for (std::size_t i = 0; i < seen.size(); ++i) seen[i] *= hidden[i] == 0;
    return Indices(ids.shape(), seen);
  }
};

}  // namespace unroll
