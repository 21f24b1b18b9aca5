// Sentences with a tag for each word, in two files of as many lines: seq.in and seq.out.
//
//   seq.in    play the song little robin redbreast
//   seq.out   O O B-music_item B-track I-track I-track
//
//   BadData bad(OnBadData::stop);
//   const auto sentences = read_slot_lines("snips/train", bad);
//
// Words and tags are divided by spaces. Tags are those of conll.hpp. Lines empty in both files are
// passed over.
#pragma once

#include "unroll/models/data/conll.hpp"

namespace unroll {

/// The names of both files are for messages. Throws DataError, with the line, where one line has more
/// words than tags or the other way round, for what is no tag, and where one file is longer.
[[nodiscard]] std::vector<TaggedSentence> parse_slot_lines(std::string_view words,
                                                           std::string_view tags,
                                                           const std::string& words_name,
                                                           const std::string& tags_name,
                                                           BadData& bad);
/// The files seq.in and seq.out of a folder. Throws FileError, DataError.
[[nodiscard]] std::vector<TaggedSentence> read_slot_lines(const std::filesystem::path& folder,
                                                          BadData& bad);

}  // namespace unroll
