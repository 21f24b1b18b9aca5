// Words, tags, labels and their ids.
//
//   const TokenVocabulary words = TokenVocabulary::of(sentences, {.least_count = 2});
//   const std::vector<std::int64_t> ids = words.encode(sentence);        // unknown() for words it does not know
//   words.token(ids[0]);
//
//   const TokenVocabulary tags = TokenVocabulary::of(all_tags, {.specials = {}});     // closed: no unknown ones
//
// Special tokens have the first ids, in their order; the others follow, the most frequent first, equals in the
// order of their bytes. Invariant: from_string(v.to_string()) == v, so a model's file can carry it as metadata.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "unroll/autograd/error.hpp"

namespace unroll {

struct TokenVocabularyOptions {
  std::size_t least_count = 1;   // rarer tokens are left out
  std::size_t largest_size = 0;  // of all, special ones included; 0: no limit
  std::vector<std::string> specials = {"<pad>", "<unk>", "<s>", "</s>"};
};

class TokenVocabulary {
 public:
  TokenVocabulary() = default;

  /// The tokens of all lists.
  [[nodiscard]] static TokenVocabulary of(std::span<const std::vector<std::string>> lists,
                                          const TokenVocabularyOptions& options = {});

  [[nodiscard]] std::int64_t size() const { return static_cast<std::int64_t>(tokens_.size()); }
  [[nodiscard]] bool contains(std::string_view token) const;
  /// The id of "<unk>" where there is no such token; throws std::invalid_argument, with the token, where there is no
  /// "<unk>" either.
  [[nodiscard]] std::int64_t id(std::string_view token) const;
  /// Throws std::invalid_argument for an id outside [0, size()).
  [[nodiscard]] const std::string& token(std::int64_t id) const;

  [[nodiscard]] std::vector<std::int64_t> encode(std::span<const std::string> tokens) const;
  [[nodiscard]] std::vector<std::string> decode(std::span<const std::int64_t> ids) const;
  /// All tokens in the order of their ids.
  [[nodiscard]] const std::vector<std::string>& tokens() const { return tokens_; }

  /// One token a line; a backslash and a line end inside a token are escaped. from_string throws FormatError for
  /// text that says a token twice.
  [[nodiscard]] std::string to_string() const;
  [[nodiscard]] static TokenVocabulary from_string(std::string_view text);

  bool operator==(const TokenVocabulary& other) const { return tokens_ == other.tokens_; }

 private:
  void add(std::string token);

  std::vector<std::string> tokens_;
  std::map<std::string, std::int64_t, std::less<>> ids_;
};

/// The words between spaces and tabs.
[[nodiscard]] std::vector<std::string> split_words(std::string_view text);
/// ... and joined by single spaces.
[[nodiscard]] std::string join_words(std::span<const std::string> words);

}  // namespace unroll
