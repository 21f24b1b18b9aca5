#include "unroll/models/compose_music/tunes.hpp"

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
  Size longest = 0;
  for (const Size i : chosen) {
    lengths.push_back(Size(tunes_[std::size_t(i)].size()) - 1);
    longest = std::max(longest, lengths.back());
  }
  const Size batch = Size(chosen.size());
  std::vector<std::int64_t> inputs(std::size_t(longest * batch), 0), targets = inputs;
  for (Size b = 0; b < batch; ++b) {
    const auto& tune = tunes_[std::size_t(chosen[std::size_t(b)])];
    for (Size t = 0; t < lengths[std::size_t(b)]; ++t) {
      inputs[std::size_t(t * batch + b)] = tune[std::size_t(t)];
      targets[std::size_t(t * batch + b)] = tune[std::size_t(t + 1)];
    }
  }
  const Lengths all(lengths);
  const Shape shape{longest, batch};
  return {pack(Indices(shape, inputs), all), pack(Indices(shape, targets), all),
          std::make_shared<const PackedLayout>(all)};
}

BatchLists TuneTexts::epoch(const Key& key, Size batch_size, Order order) const {
  std::vector<Size> lengths;
  for (const auto& tune : tunes_) lengths.push_back(Size(tune.size()));
  BatchLists batches;
  const Key own = order == Order::shuffled ? key : Key();
  for (const Indices& bucket : bucket_by_length(lengths, batch_size, own)) {
    batches.emplace_back(bucket.values().begin(), bucket.values().end());
  }
  return batches;
}

std::vector<std::int64_t> TuneTexts::joined() const {
  std::vector<std::int64_t> ids;
  for (const auto& tune : tunes_) ids.insert(ids.end(), tune.begin() + 1, tune.end());
  return ids;
}

}  // namespace unroll
