// Files that TensorBoard reads: curves and texts of a run.
//
//   EventFile events("runs/lstm");
//   events.scalar("loss/training", 1.93, step);
//   events.text("samples", "the cat sat", step);
//   // tensorboard --logdir runs
//
// The format is TFRecord: length (u64), masked CRC-32C of the length (u32), a message, masked CRC-32C
// of the message; all little-endian. The messages are tensorflow.Event of event.proto, encoded by
// hand: https://protobuf.dev/programming-guides/encoding, fields of event.proto, summary.proto and
// tensor.proto of TensorFlow. Checked against TensorBoard 2.21's own EventAccumulator and event file
// loader; tests/test_event_file.cpp reads the files with a decoder of its own.
// Invariant: records are whole and in order; a run that goes on begins a new file in the same folder.
#pragma once

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "unroll/autograd/error.hpp"

namespace unroll {

class EventFile {
 public:
  /// Creates the folder where it is missing, and in it a file that no other run writes. Throws
  /// FileError.
  explicit EventFile(const std::filesystem::path& folder);

  void scalar(std::string_view tag, double value, std::int64_t step);
  /// Shown as Markdown.
  void text(std::string_view tag, std::string_view text, std::int64_t step);
  /// To the file, so that TensorBoard shows it. Throws FileError where the disk is full.
  void flush();

  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  void record(std::string_view message);

  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  std::filesystem::path path_;
  std::unique_ptr<std::FILE, Close> file_;
};

/// CRC-32C (Castagnoli), as in RFC 3720.
[[nodiscard]] std::uint32_t crc32c(std::string_view bytes);

}  // namespace unroll
