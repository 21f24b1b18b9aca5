#include "unroll/models/classify_text/text_encoder.hpp"

#include <cctype>

#include "unroll/models/data/text_lines.hpp"
#include "unroll/nn/metrics.hpp"

namespace unroll {
namespace {

bool is_punctuation(char c) { return std::ispunct(static_cast<unsigned char>(c)) != 0; }

// "(Fine!)" is "(", "fine", "!", ")".
void add_word(std::vector<std::string>& words, std::string word) {
  std::size_t begin = 0, end = word.size();
  while (begin < end && is_punctuation(word[begin])) words.emplace_back(1, word[begin++]);
  while (end > begin && is_punctuation(word[end - 1])) --end;
  std::string kernel = word.substr(begin, end - begin);
  for (char& c : kernel) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  if (!kernel.empty()) words.push_back(std::move(kernel));
  for (; end < word.size(); ++end) words.emplace_back(1, word[end]);
}

}  // namespace

Units units_named(std::string_view name) {
  if (name == "words") return Units::words;
  if (name == "characters") return Units::characters;
  fail("units", "there are words and characters, no \"" + std::string(name) + "\"");
}

Units usual_units(std::span<const LabelledText> texts) {
  std::size_t words = 0;
  for (const LabelledText& t : texts) words += split_words(t.text).size();
  return words >= 3 * texts.size() ? Units::words : Units::characters;
}

std::vector<std::string> units_of(std::string_view text, Units units) {
  if (units == Units::characters) return split_characters(text);
  std::vector<std::string> words;
  for (std::string& w : split_words(text)) add_word(words, std::move(w));
  return words;
}

TextEncoder TextEncoder::of(std::span<const LabelledText> training, Units units) {
  std::vector<std::vector<std::string>> texts;
  std::map<std::string, bool> names;
  for (const LabelledText& t : training) {
    texts.push_back(units_of(t.text, units));
    names[t.label] = true;
  }
  if (names.size() < 2) fail("TextEncoder", "the texts have fewer than two labels");
  std::vector<std::string> in_order;
  for (const auto& [name, unused] : names) in_order.push_back(name);
  return {.units = units,
          .vocabulary = TokenVocabulary::of(texts, {.least_count = 2, .specials = {"<unk>"}}),
          .labels = TokenVocabulary::of({}, {.specials = in_order})};
}

std::vector<std::int64_t> TextEncoder::encode(std::string_view text) const {
  auto ids = vocabulary.encode(units_of(text, units));
  if (ids.empty()) ids.push_back(vocabulary.id("<unk>"));
  if (Size(ids.size()) > longest) ids.resize(std::size_t(longest));
  return ids;
}

Indices TextEncoder::labels_of(std::span<const LabelledText> texts) const {
  std::vector<std::int64_t> ids;
  for (const LabelledText& t : texts) ids.push_back(labels.id(t.label));
  return Indices(ids);
}

TextBatch TextEncoder::batch(std::span<const std::vector<std::int64_t>* const> texts,
                             const Indices& label_ids) const {
  std::vector<Size> lengths;
  for (const auto* t : texts) lengths.push_back(Size(t->size()));
  auto layout = std::make_shared<const PackedLayout>(Lengths(lengths));
  return {packed_ids(texts, *layout), layout, label_ids};
}

Metadata TextEncoder::metadata() const {
  return {{"program", "classify_text"},
          {"units", units == Units::words ? "words" : "characters"},
          {"vocabulary", vocabulary.to_string()},
          {"labels", labels.to_string()}};
}

TextEncoder TextEncoder::from_metadata(const Metadata& metadata,
                                       const std::filesystem::path& file) {
  const auto entry = [&](const std::string& name) {
    const auto found = metadata.find(name);
    if (found == metadata.end()) {
      throw FormatError(file.string(), "is no model of classify_text: it has no entry \"" + name +
                                           "\" (a best model, FILE.best.safetensors, has)");
    }
    return found->second;
  };
  return {.units = units_named(entry("units")),
          .vocabulary = TokenVocabulary::from_string(entry("vocabulary")),
          .labels = TokenVocabulary::from_string(entry("labels"))};
}

double share_right(const Var<float>& scores, const Indices& labels) {
  Accuracy accuracy;
  accuracy.add(scores, labels);
  return accuracy.value();
}

std::vector<double> confusions(const Var<float>& scores, const Indices& labels) {
  ConfusionMatrix matrix(scores.size(-1));
  matrix.add(argmax(scores), labels);
  return {matrix.counts.begin(), matrix.counts.end()};
}

}  // namespace unroll
