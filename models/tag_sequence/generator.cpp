#include "unroll/models/tag_sequence/generator.hpp"

#include <array>

#include "unroll/models/data/token_vocabulary.hpp"

namespace unroll {
namespace {

// A slot in capitals is filled with a name; NONE with one that has no tag.
constexpr std::array templates{
    "PER moved from LOC to LOC",
    "PER works for ORG in LOC",
    "ORG hired PER last year",
    "ORG bought ORG for a small sum",
    "LOC is far from LOC",
    "LOC was visited by PER",
    "WORK was written by PER",
    "WORK is shown at ORG tonight",
    "play WORK by PER",
    "book a table at ORG in LOC for PER",
    "tell PER that WORK is on tonight",
    "fly to LOC with ORG",
    "who wrote WORK , was it PER ?",
    "the word NONE means nothing",
    "he said NONE and went to LOC",
    "i read WORK while PER slept",
    "the road to LOC is closed , said PER",
    "NONE is a word that PER made up",
};

std::string syllable(std::int64_t i) {
  constexpr std::string_view consonants = "bdfgklmnprstvz", vowels = "aeiou";
  const auto at = std::size_t(i);
  return {consonants[at / vowels.size()], vowels[at % vowels.size()]};
}

// Words of three syllables; which of the 70 come first tells the gazetteers apart.
std::string name_word(const Key& key, Gazetteer gazetteer) {
  const auto [a, b] = split(key);
  const std::int64_t first = randint(a, {}, 0, 35)(0) * 2 + (gazetteer == Gazetteer::test);
  const Indices others = randint(b, {2}, 0, 70);
  return syllable(first) + syllable(others(0)) + syllable(others(1));
}

void add_name(TaggedSentence& s, const std::string& type, const Key& key, Gazetteer gazetteer) {
  const Size words = randint(fold_in(key, 0), {}, 1, 4)(0);
  for (Size i = 0; i < words; ++i) {
    s.words.push_back(name_word(fold_in(key, std::uint64_t(i + 1)), gazetteer));
    s.tags.push_back(type == "NONE" ? "O" : (i == 0 ? "B-" : "I-") + type);
  }
}

}  // namespace

std::vector<TaggedSentence> generated_sentences(const Key& key, Size count, Gazetteer gazetteer) {
  std::vector<TaggedSentence> sentences;
  for (Size i = 0; i < count; ++i) {
    const Key own = fold_in(key, std::uint64_t(i));
    const auto chosen = std::size_t(randint(fold_in(own, 0), {}, 0, Size(templates.size()))(0));
    TaggedSentence s;
    std::uint64_t slot = 0;
    for (const std::string& word : split_words(templates[chosen])) {
      if (word == "PER" || word == "LOC" || word == "ORG" || word == "WORK" || word == "NONE") {
        add_name(s, word, fold_in(own, ++slot), gazetteer);
      } else {
        s.words.push_back(word);
        s.tags.push_back("O");
      }
    }
    sentences.push_back(std::move(s));
  }
  return sentences;
}

}  // namespace unroll
