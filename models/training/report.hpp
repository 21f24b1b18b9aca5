// A report: one HTML page that stands alone, without scripts and without anything from elsewhere.
//
//   Report report("A recurrent network learns to write", "250,000 characters of source code");
//   report.figures({{"1.87", "bits per character"}, {"2.60", "counting three characters"}});
//   report.section("Learning");
//   report.paragraph("Each point is the mean over 100 steps.");
//   report.picture(line_chart_svg(...), "Bits per character while training.");
//   report.write("report.html");
//
// Parts stand in the order of the calls. All text is escaped: only the SVG of a Picture is markup.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "unroll/autograd/error.hpp"
#include "unroll/models/training/pictures.hpp"

namespace unroll {

/// Cells that read as numbers are aligned to the right. Short rows are filled with empty cells.
struct ReportTable {
  std::vector<std::string> columns = {};
  std::vector<std::vector<std::string>> rows = {};
  std::string caption = {};
  std::vector<std::size_t> emphasised_rows = {};
};

/// A word and the tag that a network gave it; an empty tag marks nothing. Where the right tag is known
/// and another, the word is shown as wrong.
struct TaggedWord {
  std::string text = {};
  std::string tag = {};
  std::optional<std::string> right = {};
};

class Report {
 public:
  using Pairs = std::vector<std::pair<std::string, std::string>>;

  explicit Report(std::string_view title, std::string_view subtitle = {});

  /// A heading; the page links to it at its top.
  Report& section(std::string_view heading);
  Report& paragraph(std::string_view text);
  /// The few numbers that matter, large: {number, what it is}.
  Report& figures(const Pairs& figures);
  /// Name and value, small: the command, versions, the date.
  Report& facts(const Pairs& facts);
  Report& table(const ReportTable& table);
  /// Text as it is, with its line breaks and spaces, under a heading of its own.
  Report& sample(std::string_view heading, std::string_view text);
  /// Sentences, their tagged words in colours, one for each tag.
  Report& tagged(const std::vector<std::vector<TaggedWord>>& sentences);
  /// The picture, or the sentence that says why there is none.
  Report& picture(const Picture& picture, std::string_view caption = {});

  [[nodiscard]] std::string html() const;

  /// Atomically. Throws FileError.
  void write(const std::filesystem::path& path) const;

 private:
  std::string title_;
  std::string subtitle_;
  std::vector<std::string> headings_;
  std::string body_;
};

/// The text for use in HTML: & < > " ' escaped; what no page may hold becomes U+FFFD.
[[nodiscard]] std::string html_escaped(std::string_view text);

}  // namespace unroll
