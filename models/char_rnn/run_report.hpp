// The page that a run of the character RNN leaves: what it learnt, how well, and how one can tell.
//
//   write_run_report("report.html", trainer, run);
//
// One self-contained HTML file: the learning curve beside what counting can do, samples before and
// after, hand-derived against automatic gradients, how far the network looks back, the unrolled
// network, and what is needed to make the page again.
#pragma once

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "unroll/models/char_rnn/path_norms.hpp"
#include "unroll/models/char_rnn/trainer.hpp"

namespace unroll {

/// What the report says besides what the trainer knows.
struct CharRnnRun {
  std::string command = {};
  std::string text_name = {};  // the path, as shown
  std::string text_size = {};  // in words
  double unigram_bits = 0;     // of the held-out text, as is all that follows
  double trigram_bits = 0;
  double bits_before = 0;  // before the first step of this run
  double bits_after = 0;
  double seconds = 0;  // of training in this run
  Size steps = 0;      // in this run
  std::size_t threads = 1;
  std::string sample_before = {}, sample_after = {};
  PathNorms paths_before = {};  // those after training are computed for the page
};

/// A piece of the held-out text for tables and graphs: the most varied `count` characters among the
/// beginnings of some lines in its middle, or what there is.
[[nodiscard]] std::u32string_view piece_of_held_out(const CharRnnTrainer& trainer,
                                                    std::size_t count = 42);

/// Throws FileError.
void write_run_report(const std::filesystem::path& path, const CharRnnTrainer& trainer,
                      const CharRnnRun& run);

}  // namespace unroll
