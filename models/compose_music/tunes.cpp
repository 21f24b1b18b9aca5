#include "unroll/models/compose_music/tunes.hpp"

#include "unroll/models/data/ragged_examples.hpp"

namespace unroll {

namespace {

std::u32string code_points(const std::string& text) {
  auto decoded = from_utf8(text);
  if (!decoded) fail("TuneTexts", "a text is not UTF-8");
  return std::move(*decoded);
}

}  // namespace

Vocabulary tune_vocabulary(std::span<const std::string> texts) {
  std::u32string all = U"\n";
  for (const std::string& text : texts) all += code_points(text);
  return Vocabulary(all);
}

TuneTexts::TuneTexts(std::span<const std::string> texts, const Vocabulary& vocabulary) {
  for (const std::string& text : texts) {
    tunes_.push_back(vocabulary.encode(U'\n' + code_points(text) + U'\n'));
  }
}

TuneBatch TuneTexts::batch(std::span<const Size> chosen) const {
  std::vector<Size> lengths;
  std::vector<std::vector<std::int64_t>> inputs, targets;
  for (const Size i : chosen) {
    const auto& tune = tunes_[std::size_t(i)];
    inputs.emplace_back(tune.begin(), tune.end() - 1);
    targets.emplace_back(tune.begin() + 1, tune.end());
    lengths.push_back(Size(inputs.back().size()));
  }
  const Lengths all(lengths);
  return {pack(padded_ids(inputs, 0), all), pack(padded_ids(targets, 0), all),
          std::make_shared<const PackedLayout>(all)};
}

BatchLists TuneTexts::epoch(const Key& key, Size batch_size, Order order) const {
  std::vector<Size> lengths;
  for (const auto& tune : tunes_) lengths.push_back(Size(tune.size()));
  return bucketed_batches(lengths, batch_size, order == Order::shuffled ? key : Key());
}

std::vector<std::int64_t> TuneTexts::joined() const {
  std::vector<std::int64_t> ids;
  for (const auto& tune : tunes_) ids.insert(ids.end(), tune.begin() + 1, tune.end());
  return ids;
}

}  // namespace unroll
