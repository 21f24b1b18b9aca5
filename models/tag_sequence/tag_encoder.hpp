// From sentences and tags to what a tagger reads, and back.
//
//   const auto encoder = TagEncoder::of(training);
//   const auto data = encoder.examples(training);                   // a dataset for the trainer
//   trainer options: .metadata = encoder.metadata(options)
//
// Words are looked up in lower case with 0 for every digit; their letters as they are; their shape is X
// for capitals, x for small letters, d for digits, other characters as they are, each once in a row:
// "McDonald's" is "XxXx'x". Invariant: the tags are O and, for each type, B- and I-.
#pragma once

#include <filesystem>

#include "unroll/models/data/conll.hpp"
#include "unroll/models/data/ragged_examples.hpp"
#include "unroll/models/data/token_vocabulary.hpp"
#include "unroll/models/tag_sequence/tag_sequence.hpp"
#include "unroll/nn/serialization.hpp"

namespace unroll {

[[nodiscard]] std::string word_shape(std::string_view word);

struct TagEncoder {
  struct Sentence {
    std::vector<std::int64_t> words = {}, shapes = {}, tags = {};
    std::vector<std::string> spelled = {};
  };
  TokenVocabulary words, letters, shapes;  // "<unk>" is the first of each
  TokenVocabulary tags;                    // closed

  /// Words and shapes that occur once are unknown ones.
  [[nodiscard]] static TagEncoder of(std::span<const TaggedSentence> training);

  /// The sizes of the vocabularies, in options that otherwise stay; 0 for letters and shapes left out.
  [[nodiscard]] TaggerOptions sizes(TaggerOptions options, bool with_letters,
                                    bool with_shapes) const;

  /// Tags may be missing, and types that it does not know count as O: nothing can be learned of them.
  [[nodiscard]] Sentence encode(const TaggedSentence& sentence) const;
  [[nodiscard]] TaggingBatch batch(std::span<const Sentence* const> sentences) const;
  /// Throws std::invalid_argument for sentences without words.
  [[nodiscard]] auto examples(std::span<const TaggedSentence> sentences) const {
    std::vector<Sentence> all;
    std::vector<Size> lengths;
    for (const TaggedSentence& s : sentences) {
      if (s.words.empty()) fail("TagEncoder", "a sentence has no words");
      all.push_back(encode(s));
      lengths.push_back(Size(s.words.size()));
    }
    const auto batch_of = [encoder = *this, all = std::move(all)](std::span<const Size> chosen) {
      std::vector<const Sentence*> some;
      for (const Size i : chosen) some.push_back(&all[std::size_t(i)]);
      return encoder.batch(some);
    };
    return RaggedExamples(Lengths(lengths), batch_of);
  }

  [[nodiscard]] Metadata metadata(const Tagger& tagger) const;
  /// Throws FormatError where `file` is no model of tag_sequence.
  [[nodiscard]] static TagEncoder from_metadata(const Metadata& metadata,
                                                const std::filesystem::path& file);
};

/// A tagger from its file, with what it needs. Throws FileError, FormatError.
struct LoadedTagger {
  TagEncoder encoder;
  Tagger tagger;
};
[[nodiscard]] LoadedTagger load_tagger(const std::filesystem::path& file);

}  // namespace unroll
