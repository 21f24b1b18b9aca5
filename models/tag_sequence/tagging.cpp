#include "unroll/models/tag_sequence/tagging.hpp"

#include <algorithm>

#include "unroll/models/data/slot_lines.hpp"
#include "unroll/nn/span_f1.hpp"

namespace unroll {
namespace {

std::string type_of(const std::string& tag) { return tag == "O" ? tag : tag.substr(2); }

}  // namespace

TagLists tags_of(const Tagger& tagger, const TagEncoder& encoder,
                 std::span<const TaggedSentence> sentences) {
  TagLists lists;
  const auto data = encoder.examples(sentences);
  for (const auto& chosen : batch_lists(data.size(), 32, Order::as_given, Key())) {
    const TaggingBatch batch = data.batch(chosen);
    const Indices ids = tagger.decode(batch);  // [T, B]
    const Size count = Size(chosen.size());
    for (Size i = 0; i < count; ++i) {
      auto& tags = lists.emplace_back();
      for (Size t = 0; t < batch.layout->lengths[i]; ++t) {
        tags.push_back(encoder.tags.token(ids(t * count + i)));
      }
    }
  }
  return lists;
}

TagLists most_frequent_tags(std::span<const TaggedSentence> training,
                            std::span<const TaggedSentence> sentences) {
  std::map<std::string, std::map<std::string, std::size_t>> counts;
  for (const TaggedSentence& s : training) {
    const auto tags = to_iob2(s.tags);
    for (std::size_t i = 0; i < tags.size(); ++i) ++counts[s.words[i]][tags[i]];
  }
  TagLists lists;
  for (const TaggedSentence& s : sentences) {
    auto& tags = lists.emplace_back();
    for (const std::string& word : s.words) {
      const auto& own = counts[word];
      const auto most = std::ranges::max_element(
          own, [](const auto& a, const auto& b) { return a.second < b.second; });
      tags.push_back(most == own.end() ? "O" : most->first);
    }
  }
  return lists;
}

TaggingScores tagging_scores(const TagLists& predicted, std::span<const TaggedSentence> sentences) {
  SpanF1 f1;
  for (std::size_t i = 0; i < sentences.size(); ++i) {
    f1.add(predicted.at(i), to_iob2(sentences[i].tags));
  }
  const auto all = f1.overall();
  return {all.precision, all.recall, all.f1, f1.tags.value()};
}

std::vector<double> type_confusions(const TagLists& predicted,
                                    std::span<const TaggedSentence> sentences,
                                    std::span<const std::string> types) {
  std::vector<double> counts(types.size() * types.size());
  for (std::size_t i = 0; i < sentences.size(); ++i) {
    for (std::size_t t = 0; t < sentences[i].tags.size(); ++t) {
      const auto row = std::ranges::find(types, type_of(sentences[i].tags[t])) - types.begin();
      const auto column = std::ranges::find(types, type_of(predicted[i][t])) - types.begin();
      const auto size = std::ptrdiff_t(types.size());
      if (row < size && column < size) ++counts[std::size_t(row * size + column)];
    }
  }
  return counts;
}

std::vector<std::vector<TaggedWord>> tagged_words(const TagLists& predicted,
                                                  std::span<const TaggedSentence> sentences,
                                                  std::size_t most) {
  const auto shown = [](const std::string& tag) { return tag == "O" ? "" : type_of(tag); };
  std::vector<std::vector<TaggedWord>> lines;
  for (std::size_t i = 0; i < std::min(most, sentences.size()); ++i) {
    auto& line = lines.emplace_back();
    for (std::size_t t = 0; t < sentences[i].words.size(); ++t) {
      line.push_back(
          {sentences[i].words[t], shown(predicted.at(i).at(t)), shown(sentences[i].tags[t])});
    }
  }
  return lines;
}

std::vector<std::string> types_of(const TagEncoder& encoder) {
  std::vector<std::string> types;
  for (const std::string& tag : encoder.tags.tokens()) {
    if (!tag.starts_with("I-")) types.push_back(type_of(tag));
  }
  return types;
}

SplitExamples<TaggedSentence> read_tagging_data(const std::filesystem::path& path, BadData& bad) {
  namespace fs = std::filesystem;
  if (!fs::exists(path)) throw FileError(path.string(), "no such file or folder");
  if (!fs::is_directory(path)) return split_examples(read_conll(path, bad));
  SplitExamples<TaggedSentence> parts;
  const bool in_columns = fs::exists(path / "train.txt");
  for (const auto& [split, name] :
       {std::pair{Split::training, "train"}, std::pair{Split::validation, "valid"},
        std::pair{Split::test, "test"}}) {
    parts[split] = in_columns ? read_conll(path / (std::string(name) + ".txt"), bad)
                              : read_slot_lines(path / name, bad);
  }
  return parts;
}

}  // namespace unroll
