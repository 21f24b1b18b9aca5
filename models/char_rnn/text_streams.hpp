// A long text as B streams that are read side by side, window after window.
//
//   const TextStreams text(ids, {.streams = 64, .window = 64});
//   for (Size i = 0; i < text.windows(); ++i) {
//     const TextWindow w = text.window(i);           // w.inputs [T, B], w.targets [T, B]
//   }
//
// Stream b is the b-th of B equal parts of the text. Window i + 1 begins where window i ends, so a
// state that is carried from one to the next has seen the stream from its beginning. The target of
// a character is the character after it. The last window may be shorter.
#pragma once

#include <cstdint>
#include <vector>

#include "unroll/autograd/ops/ops.hpp"

namespace unroll {

struct StreamOptions {
  Size streams = 64;
  Size window = 64;
};

struct TextWindow {
  Indices inputs;   // [T, B]
  Indices targets;  // [T, B], the characters that follow
};

class TextStreams {
 public:
  /// Short texts get fewer streams, of at least one full window each where that is possible. Throws
  /// std::invalid_argument for fewer than two ids and for sizes below 1.
  TextStreams(std::vector<std::int64_t> ids, const StreamOptions& options);

  [[nodiscard]] Size streams() const { return streams_; }
  /// In one pass over the text.
  [[nodiscard]] Size windows() const;
  /// Predictions in one pass: the text's length without its first character and a rest below B.
  [[nodiscard]] Size characters() const { return streams_ * length_; }

  /// Window i of all streams, or of `count` of them from `first` on.
  [[nodiscard]] TextWindow window(Size i) const { return window(i, 0, streams_); }
  [[nodiscard]] TextWindow window(Size i, Size first, Size count) const;

 private:
  std::vector<std::int64_t> ids_;
  Size window_;
  Size streams_;
  Size length_;  // predictions in one stream
};

}  // namespace unroll
