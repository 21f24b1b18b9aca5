#include "unroll/models/data/token_vocabulary.hpp"

#include <algorithm>
#include <utility>

namespace unroll {

TokenVocabulary TokenVocabulary::of(std::span<const std::vector<std::string>> lists,
                                    const TokenVocabularyOptions& options) {
  std::map<std::string, std::size_t, std::less<>> counts;
  for (const auto& list : lists) {
    for (const std::string& token : list) ++counts[token];
  }
  TokenVocabulary v;
  for (const std::string& token : options.specials) {
    v.add(token);
    counts.erase(token);
  }
  std::vector<std::pair<std::size_t, std::string>> order;
  for (const auto& [token, count] : counts) {
    if (count >= options.least_count) order.emplace_back(count, token);
  }
  std::stable_sort(order.begin(), order.end(),
                   [](const auto& a, const auto& b) { return a.first > b.first; });
  for (auto& [count, token] : order) {
    if (options.largest_size > 0 && v.tokens_.size() >= options.largest_size) break;
    v.add(std::move(token));
  }
  return v;
}

void TokenVocabulary::add(std::string token) {
  if (!ids_.emplace(token, size()).second) {
    fail("TokenVocabulary", "the token \"" + token + "\" occurs twice");
  }
  tokens_.push_back(std::move(token));
}

bool TokenVocabulary::contains(std::string_view token) const {
  return ids_.find(token) != ids_.end();
}

std::int64_t TokenVocabulary::id(std::string_view token) const {
  auto found = ids_.find(token);
  if (found == ids_.end()) found = ids_.find("<unk>");
  if (found == ids_.end()) {
    fail("TokenVocabulary", "\"" + std::string(token) + "\" is none of the " +
                                std::to_string(size()) + " tokens that it knows");
  }
  return found->second;
}

const std::string& TokenVocabulary::token(std::int64_t id) const {
  if (id < 0 || id >= size()) {
    fail("TokenVocabulary",
         "there is no token " + std::to_string(id) + " among " + std::to_string(size()));
  }
  return tokens_[static_cast<std::size_t>(id)];
}

std::vector<std::int64_t> TokenVocabulary::encode(std::span<const std::string> tokens) const {
  std::vector<std::int64_t> ids;
  ids.reserve(tokens.size());
  for (const std::string& t : tokens) ids.push_back(id(t));
  return ids;
}

std::vector<std::string> TokenVocabulary::decode(std::span<const std::int64_t> ids) const {
  std::vector<std::string> tokens;
  tokens.reserve(ids.size());
  for (const std::int64_t i : ids) tokens.push_back(token(i));
  return tokens;
}

std::string TokenVocabulary::to_string() const {
  std::string text;
  for (const std::string& t : tokens_) {
    for (const char c : t) {
      if (c == '\\') {
        text += "\\\\";
      } else if (c == '\n') {
        text += "\\n";
      } else {
        text += c;
      }
    }
    text += '\n';
  }
  return text;
}

TokenVocabulary TokenVocabulary::from_string(std::string_view text) {
  TokenVocabulary v;
  std::string token;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '\\' && i + 1 < text.size()) {
      token += text[++i] == 'n' ? '\n' : text[i];
    } else if (c != '\n') {
      token += c;
    } else if (v.contains(token)) {
      throw FormatError("vocabulary", "the token \"" + token + "\" occurs twice");
    } else {
      v.add(std::exchange(token, {}));
    }
  }
  return v;
}

std::vector<std::string> split_words(std::string_view text) {
  std::vector<std::string> words;
  constexpr std::string_view blank = " \t\r";
  for (std::size_t at = text.find_first_not_of(blank); at != std::string_view::npos;) {
    const std::size_t end = std::min(text.find_first_of(blank, at), text.size());
    words.emplace_back(text.substr(at, end - at));
    at = text.find_first_not_of(blank, end);
  }
  return words;
}

std::string join_words(std::span<const std::string> words) {
  std::string text;
  for (const std::string& w : words) text += (text.empty() ? "" : " ") + w;
  return text;
}

}  // namespace unroll
