// Texts with a label each, in the layouts in which classification sets come.
//
//   BadData bad(OnBadData::stop);
//   const auto texts = read_labelled_text("reviews", bad);
//   texts[0].text; texts[0].label;                       // "a fine film", "pos"
//
//   file.tsv          label, tab, text; nothing is quoted (a tab cannot be part of a text)
//   file.csv          label,text by RFC 4180: "a field, with ""quotes"" and line ends"; more fields are
//                     joined to the text by spaces
//   folder/pos/*, folder/neg/*     a text for each file, whose label is the folder's name
//   folder/x.pos, folder/x.neg     a text for each line, whose label is the ending
//   folder/Italian.txt, ...        a text for each line, whose label is the file's name: names. Pairs that
//                                  occur twice count once
//
// A first line that begins with "label" or "class" is a heading. Texts are UTF-8 or latin-1
// (text_lines.hpp). Empty lines are passed over. Invariant: the order is a function of the files' names
// and contents: files by name, names by (label, text), both by bytes.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "unroll/autograd/shape.hpp"
#include "unroll/models/training/data_error.hpp"

namespace unroll {

struct LabelledText {
  std::string text = {};
  std::string label = {};
  Size number =
      0;  // its place, for split_of(): within its class where each class has files of its own
};

enum class LabelledTextFormat { tsv, csv };

/// Throws DataError, with the line, for a line without a text or a quote that does not end.
[[nodiscard]] std::vector<LabelledText> parse_labelled_text(std::string_view bytes,
                                                            const std::string& name,
                                                            LabelledTextFormat format,
                                                            BadData& bad);

/// A .tsv or .csv file, or one of the folders. Throws FileError where something cannot be read,
/// DataError where there is nothing of the kind.
[[nodiscard]] std::vector<LabelledText> read_labelled_text(const std::filesystem::path& path,
                                                           BadData& bad);

}  // namespace unroll
