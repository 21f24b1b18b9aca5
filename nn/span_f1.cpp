#include "unroll/nn/span_f1.hpp"

#include <algorithm>
#include <string_view>

namespace unroll {
namespace {

struct Tag {
  std::string_view letter = "O", type = "";
  [[nodiscard]] bool outside() const { return letter == "O" || letter == "."; }
  [[nodiscard]] bool is(std::string_view letters) const {
    return letter.size() == 1 && letters.find(letter) != letters.npos;
  }
};

Tag parse(std::string_view text) {
  const std::size_t dash = text.find('-');
  if (dash == text.npos) return {text, ""};
  return {text.substr(0, dash), text.substr(dash + 1)};
}

// Does a span end between two tags, and does one start there?
bool ends(const Tag& before, const Tag& after) {
  if (before.outside()) return false;
  return before.is("ES") || (before.is("BI") && after.is("BSO")) || before.type != after.type;
}
bool starts(const Tag& before, const Tag& after) {
  if (after.outside()) return false;
  return after.is("BS") || (before.is("ESO") && after.is("EI")) || before.type != after.type;
}

}  // namespace

std::vector<TaggedSpan> tagged_spans(std::span<const std::string> tags) {
  std::vector<TaggedSpan> spans;
  Tag before;
  bool open = false;
  for (std::size_t i = 0; i <= tags.size(); ++i) {
    const Tag tag = i < tags.size() ? parse(tags[i]) : Tag{};
    const Size here = static_cast<Size>(i);
    const bool starting = starts(before, tag);
    if (open && (starting || ends(before, tag))) {
      spans.back().end = here;
      open = false;
    }
    if (starting) {
      spans.push_back({here, here, std::string(tag.type)});
      open = true;
    }
    before = tag;
  }
  return spans;
}

SpanCounts& SpanCounts::operator+=(const SpanCounts& other) {
  right += other.right;
  predicted += other.predicted;
  truth += other.truth;
  return *this;
}

void SpanF1::add(std::span<const std::string> predicted, std::span<const std::string> truth) {
  if (predicted.size() != truth.size()) {
    fail("SpanF1", "a sentence has " + std::to_string(predicted.size()) + " predicted tags and " +
                       std::to_string(truth.size()) + " true ones");
  }
  for (std::size_t i = 0; i < truth.size(); ++i) tags.right += predicted[i] == truth[i];
  tags.total += static_cast<Size>(truth.size());
  const std::vector<TaggedSpan> found = tagged_spans(predicted), wanted = tagged_spans(truth);
  for (const TaggedSpan& span : found) {
    SpanCounts& counts = types[span.type];
    ++counts.predicted;
    counts.right += std::find(wanted.begin(), wanted.end(), span) != wanted.end();
  }
  for (const TaggedSpan& span : wanted) ++types[span.type].truth;
}

SpanCounts SpanF1::counts() const {
  SpanCounts all;
  for (const auto& [type, counts] : types) all += counts;
  return all;
}

SpanF1& SpanF1::operator+=(const SpanF1& other) {
  for (const auto& [type, counts] : other.types) types[type] += counts;
  tags += other.tags;
  return *this;
}

}  // namespace unroll
