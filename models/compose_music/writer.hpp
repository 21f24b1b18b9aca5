// Tunes from a composer: what is asked for stands in its header, the rest is drawn.
//
//   const SavedComposer saved = load_composer("run.best.safetensors");
//   const TuneRequest request = parse_request("K:G M:6/8 | GABc", "standard input", 1);
//   const std::string abc = compose(saved, request, Key(1), {.temperature = 0.8});
//
// The model draws the header line by line; where it begins M: or K: it writes the metre or key that was
// asked for, and the notes asked for begin the music. Bars are drawn one by one: one that is too long, or
// too short where no part of a bar may stand (abc_bars.hpp), is taken back, with the model's state, and
// drawn again, `redraws` times at most; so is a header that cannot be read. Invariant: a tune is a function of model, request, key and options.
#pragma once

#include "unroll/models/compose_music/compose_music.hpp"
#include "unroll/models/data/abc_bars.hpp"
#include "unroll/nn/serialization.hpp"

namespace unroll {

struct SavedComposer {
  Composer model;
  Vocabulary vocabulary;
};

/// What a model file says about its model, so that load_composer needs nothing else.
[[nodiscard]] Metadata composer_metadata(const ComposerSizes& sizes, const Vocabulary& vocabulary);
/// Throws FileError; FormatError where the file holds no composer.
[[nodiscard]] SavedComposer load_composer(const std::filesystem::path& path);

/// What is left empty the model chooses.
struct TuneRequest {
  std::string key, metre;
  std::string notes;   // ABC, one line: how the music begins
  std::string number;  // what X: is to say; parse_request: the number of the line
};
/// "K:G M:6/8 | GABc": fields K: and M: in any order, then perhaps a bar line and notes. Throws DataError;
/// with a vocabulary also for characters that it does not have.
[[nodiscard]] TuneRequest parse_request(std::string_view line, const std::string& name,
                                        std::int64_t number, const Vocabulary* known = nullptr);

struct ComposeOptions {
  double temperature = 0.7;  // logits are divided by it
  Size redraws = 12;         // of one bar; 0: bars are taken as they come
  Size max_length = 2000;    // characters
};

/// A tune in ABC without the empty line that ends it. Throws std::invalid_argument for options that make
/// no sense, and for a request with characters that the model does not know.
[[nodiscard]] std::string compose(const SavedComposer& composer, const TuneRequest& request,
                                  const Key& key, const ComposeOptions& options = {});

/// So many tunes of which nothing is asked, with keys folded in from 0 on.
[[nodiscard]] std::vector<std::string> compose_many(const SavedComposer& composer, Size count,
                                                    const Key& key,
                                                    const ComposeOptions& options = {});

/// What part of some tunes can be read without a bar too long, and with every bar exact.
struct BarShares {
  double readable = 0, exact = 0;
};
[[nodiscard]] BarShares bar_shares(std::span<const std::string> texts);

}  // namespace unroll
