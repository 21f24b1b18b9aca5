#include "unroll/models/char_rnn/text_streams.hpp"

#include <algorithm>
#include <string>

namespace unroll {

TextStreams::TextStreams(std::vector<std::int64_t> ids, const StreamOptions& options)
    : ids_(std::move(ids)), window_(options.window) {
  if (options.streams < 1 || options.window < 1) {
    fail("TextStreams", "streams and window must be at least 1");
  }
  const auto predictions = static_cast<Size>(ids_.size()) - 1;
  if (predictions < 1) fail("TextStreams", "a text of at least two characters is needed");
  streams_ = std::clamp(predictions / window_, Size{1}, options.streams);
  length_ = predictions / streams_;
}

Size TextStreams::windows() const { return (length_ + window_ - 1) / window_; }

TextWindow TextStreams::window(Size i, Size first, Size count) const {
  if (i < 0 || i >= windows()) {
    fail("TextStreams::window",
         "window " + std::to_string(i) + " is outside [0, " + std::to_string(windows()) + ")");
  }
  if (first < 0 || count < 0 || first + count > streams_) {
    fail("TextStreams::window", "there are " + std::to_string(streams_) + " streams only");
  }
  const Size steps = std::min(window_, length_ - i * window_);
  std::vector<std::int64_t> inputs, targets;
  inputs.reserve(static_cast<std::size_t>(steps * count));
  targets.reserve(static_cast<std::size_t>(steps * count));
  for (Size t = 0; t < steps; ++t) {
    for (Size b = first; b < first + count; ++b) {
      const auto at = static_cast<std::size_t>(b * length_ + i * window_ + t);
      inputs.push_back(ids_[at]);
      targets.push_back(ids_[at + 1]);
    }
  }
  const Shape shape{steps, count};
  return {Indices(shape, inputs), Indices(shape, targets)};
}

}  // namespace unroll
