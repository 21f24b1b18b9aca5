// From texts and labels to what a classifier reads.
//
//   const auto encoder = TextEncoder::of(training, Units::words);
//   const auto data = encoder.examples(training);                    // a dataset for the trainer
//   trainer options: .metadata = encoder.metadata()
//   const auto same = TextEncoder::from_metadata(saved_metadata(file), file);
//
// Words are those between spaces, in lower case, with the punctuation at their ends apart; characters
// are code points as they are. Invariant: every text has at least one unit.
#pragma once

#include <filesystem>

#include "unroll/models/classify_text/classify_text.hpp"
#include "unroll/models/data/labelled_text.hpp"
#include "unroll/models/data/ragged_examples.hpp"
#include "unroll/models/data/token_vocabulary.hpp"
#include "unroll/nn/serialization.hpp"

namespace unroll {

enum class Units { words, characters };
/// "words" or "characters"; throws std::invalid_argument for another name.
[[nodiscard]] Units units_named(std::string_view name);
/// Words where texts have three of them or more on average.
[[nodiscard]] Units usual_units(std::span<const LabelledText> texts);

[[nodiscard]] std::vector<std::string> units_of(std::string_view text, Units units);

struct TextEncoder {
  Units units = Units::words;
  TokenVocabulary vocabulary;  // "<unk>" is its first
  TokenVocabulary labels;      // in the order of their bytes
  Size longest = 400;          // units of a text that are read

  /// Units that occur once are unknown ones. Throws std::invalid_argument where there are not two labels.
  [[nodiscard]] static TextEncoder of(std::span<const LabelledText> training, Units units);

  [[nodiscard]] std::vector<std::int64_t> encode(std::string_view text) const;
  /// Throws std::invalid_argument for a label that it does not know; so does the next.
  [[nodiscard]] Indices labels_of(std::span<const LabelledText> texts) const;
  [[nodiscard]] auto examples(std::span<const LabelledText> texts) const;
  [[nodiscard]] TextBatch batch(std::span<const std::vector<std::int64_t>* const> texts,
                                const Indices& label_ids) const;

  [[nodiscard]] Metadata metadata() const;
  /// Throws FormatError where `file` is not a model of such texts.
  [[nodiscard]] static TextEncoder from_metadata(const Metadata& metadata,
                                                 const std::filesystem::path& file);
};

/// The share of rows of scores [n, labels] whose largest is that of the label [n].
[[nodiscard]] double share_right(const Var<float>& scores, const Indices& labels);
/// How often each label (row) was taken for each other: [labels, labels], in row-major order.
[[nodiscard]] std::vector<double> confusions(const Var<float>& scores, const Indices& labels);

/// The probabilities of the labels of each example, in their order: [n, labels].
template <class M, BatchSource D>
[[nodiscard]] Var<float> label_probabilities(const M& model, const D& data) {
  std::vector<Var<float>> parts;
  for (const auto& chosen : batch_lists(data.size(), 64, Order::as_given, Key())) {
    parts.push_back(softmax(model(data.batch(chosen))));
  }
  return concat(parts, 0);
}

inline auto TextEncoder::examples(std::span<const LabelledText> texts) const {
  std::vector<std::vector<std::int64_t>> ids;
  std::vector<Size> lengths;
  for (const LabelledText& t : texts) {
    ids.push_back(encode(t.text));
    lengths.push_back(Size(ids.back().size()));
  }
  const auto batch_of = [encoder = *this, ids = std::move(ids),
                         all_labels = labels_of(texts)](std::span<const Size> chosen) {
    std::vector<const std::vector<std::int64_t>*> some;
    std::vector<std::int64_t> some_labels;
    for (const Size i : chosen) {
      some.push_back(&ids[std::size_t(i)]);
      some_labels.push_back(all_labels(i));
    }
    return encoder.batch(some, Indices(some_labels));
  };
  return RaggedExamples(Lengths(lengths), batch_of);
}

}  // namespace unroll
