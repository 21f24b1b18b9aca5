// A translator with its vocabularies: text in, text out, scores, and the file that holds all of it.
//
//   const TextTranslator translator = TextTranslator::load("run.best.safetensors");
//   std::vector<std::string> words = translator.translate({{"a", "dog", "runs"}}, {.beam = 4})[0];
//   TranslationScores scores = translator.score(test_pairs, {.beam = 4});       // BLEU, exact matches
//
// Invariant: a sentence's translation does not depend on those translated beside it, except in rounding and in
// where one that finds no end is cut.
#pragma once

#include <filesystem>

#include "unroll/models/training/run_report.hpp"
#include "unroll/models/translate/translate.hpp"
#include "unroll/nn/serialization.hpp"

namespace unroll {

using Words = std::vector<std::string>;

struct TranslationScores {
  double bleu = 0;         // 0 to 100, of the tokens as they are (sacreBLEU's --tokenize none)
  double exact_match = 0;  // the share of sentences that are right as a whole
  std::vector<Words> translations = {};
};

struct TextTranslator {
  Translator model;
  TranslationVocabularies words;

  /// An empty sentence is translated as one.
  [[nodiscard]] std::vector<Words> translate(std::span<const Words> sentences,
                                             const BeamOptions& options) const;
  [[nodiscard]] TranslationScores score(std::span<const TextPair> pairs,
                                        const BeamOptions& options) const;
  /// What each word of a translation looked at.
  [[nodiscard]] AttentionMap attention(const Words& source, const Words& target) const;

  /// Of the best model that a run saved, with the metadata of metadata_of(). Throws FileError, FormatError.
  [[nodiscard]] static TextTranslator load(const std::filesystem::path& path);
};

/// All that a model file needs besides the parameters.
[[nodiscard]] Metadata metadata_of(const TranslationVocabularies& words,
                                   const TranslatorSizes& sizes);

/// Sections about the test: the scores, what some translations looked at, more of them as text.
void add_translations(Report& report, const TextTranslator& translator,
                      std::span<const TextPair> test, const TranslationScores& scores);

}  // namespace unroll
