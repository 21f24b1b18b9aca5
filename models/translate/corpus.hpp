// The pairs of sentences that a translator is trained, validated and tested on.
//
//   const ParallelCorpus corpus = read_parallel_corpus({.path = "multi30k", .from = "en", .to = "fr"}, bad);
//   const ParallelCorpus corpus = generated_corpus(20000, TranslationTask::both);
//
// Invariant: no pair of lines is part of two of the three.
#pragma once

#include "unroll/models/translate/generator.hpp"

namespace unroll {

struct ParallelCorpus {
  std::vector<TextPair> training, validation, test;
};

struct CorpusFiles {
  std::string path =
      {};  // a folder with train.FROM, train.TO, val.FROM, ..., or a file for parse_parallel_tsv
  std::string from = "en", to = "fr";
  std::string test = "test_2016_flickr";
};

/// Pair i is for the test where i mod 10 = 9, for validation where i mod 10 = 8, else for training.
[[nodiscard]] ParallelCorpus split_pairs(std::vector<TextPair> pairs);

/// Throws FileError, DataError; std::invalid_argument where a file of pairs is too short to be split.
[[nodiscard]] ParallelCorpus read_parallel_corpus(const CorpusFiles& files, BadData& bad);

/// The same pairs each time, split as above.
[[nodiscard]] ParallelCorpus generated_corpus(Size count, TranslationTask task);

/// "numbers", "dates" or "both". Throws std::invalid_argument for anything else.
[[nodiscard]] TranslationTask task_named(const std::string& name);

}  // namespace unroll
