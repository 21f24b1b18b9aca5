#include "unroll/models/data/labelled_text.hpp"

#include <algorithm>
#include <cctype>
#include <set>

#include "unroll/models/data/text_lines.hpp"
#include "unroll/nn/atomic_file.hpp"

namespace unroll {
namespace {

namespace fs = std::filesystem;

std::string lower_ascii(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}
bool is_blank(std::string_view text) { return text.find_first_not_of(" \t\r\n") == text.npos; }

// One record after the other; each call moves on, also where it throws.
class Records {
 public:
  Records(std::string_view bytes, std::string name, LabelledTextFormat format)
      : text_(utf8_text(bytes, name)), name_(std::move(name)), format_(format) {}

  [[nodiscard]] bool more() const { return at_ < text_.size(); }
  [[nodiscard]] std::int64_t line() const { return first_line_; }
  std::vector<std::string> next() {
    first_line_ = line_;
    std::vector<std::string> fields(1);
    while (true) {
      if (format_ == LabelledTextFormat::csv && fields.back().empty() && text_[at_] == '"') {
        quoted(fields.back());
      }
      const char c = text_[at_++];  // the text ends with a line end
      if (c == '\n') break;
      if (c == separator()) {
        fields.emplace_back();
      } else {
        fields.back() += c;
      }
    }
    ++line_;
    return fields;
  }

 private:
  [[nodiscard]] char separator() const { return format_ == LabelledTextFormat::csv ? ',' : '\t'; }
  // From an opening quote to behind the closing one.
  void quoted(std::string& field) {
    for (++at_; at_ < text_.size(); ++at_) {
      const char c = text_[at_];
      if (c == '"') {
        if (text_[++at_] != '"') return;
      }
      line_ += c == '\n';
      field += c;
    }
    throw DataError(name_, first_line_, "a quote that ends the field", "the end of the file");
  }

  std::string text_, name_;
  LabelledTextFormat format_;
  std::size_t at_ = 0;
  std::int64_t line_ = 1, first_line_ = 1;
};

LabelledText example_of(const std::vector<std::string>& fields, const std::string& name,
                        std::int64_t line) {
  if (fields.size() < 2) throw DataError(name, line, "a label and a text", "one column");
  LabelledText example{.text = fields[1], .label = fields[0]};
  for (std::size_t i = 2; i < fields.size(); ++i) example.text += " " + fields[i];
  if (is_blank(example.label)) throw DataError(name, line, "a label in the first column", "none");
  if (is_blank(example.text)) throw DataError(name, line, "a text after the label", "none");
  return example;
}

bool is_hidden(const fs::path& path) { return path.filename().string().starts_with('.'); }
std::vector<fs::path> sorted_entries(const fs::path& folder) {
  std::vector<fs::path> entries;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    if (!is_hidden(it->path())) entries.push_back(it->path());
  }
  if (error) throw FileError(folder.string(), "cannot read the folder: " + error.message());
  std::ranges::sort(entries);
  return entries;
}

std::vector<LabelledText> lines_of(const fs::path& file, const std::string& label, BadData& bad) {
  std::vector<LabelledText> texts;
  bad.attempt([&] {
    for (std::string& line : text_lines(read_whole_file(file), file.string())) {
      if (!is_blank(line)) texts.push_back({std::move(line), label, Size(texts.size())});
    }
  });
  return texts;
}

// The file of a text, its lines joined.
std::vector<LabelledText> whole_files(const fs::path& folder, BadData& bad) {
  std::vector<LabelledText> texts;
  for (const fs::path& file : sorted_entries(folder)) {
    if (!fs::is_regular_file(file)) continue;
    bad.attempt([&] {
      std::string text = utf8_text(read_whole_file(file), file.string());
      if (is_blank(text)) throw DataError(file.string(), 1, "a text", "an empty file");
      std::ranges::replace(text, '\n', ' ');
      texts.push_back({std::move(text), folder.filename().string(), Size(texts.size())});
    });
  }
  return texts;
}

void append(std::vector<LabelledText>& all, std::vector<LabelledText> more) {
  std::ranges::move(more, std::back_inserter(all));
}

std::vector<LabelledText> read_folder(const fs::path& folder, BadData& bad) {
  const auto entries = sorted_entries(folder);
  std::vector<LabelledText> texts;
  for (const fs::path& entry : entries) {
    if (fs::is_directory(entry)) append(texts, whole_files(entry, bad));
  }
  if (!texts.empty()) return texts;
  const auto has_ending = [](const fs::path& p) {
    return p.extension() == ".pos" || p.extension() == ".neg";
  };
  for (const fs::path& file : entries) {
    if (has_ending(file)) append(texts, lines_of(file, file.extension().string().substr(1), bad));
  }
  if (!texts.empty()) return texts;
  std::set<std::pair<std::string, std::string>> distinct;
  for (const fs::path& file : entries) {
    if (file.extension() != ".txt") continue;
    for (LabelledText& t : lines_of(file, file.stem().string(), bad)) {
      distinct.emplace(std::move(t.label), std::move(t.text));
    }
  }
  for (const auto& [label, text] : distinct) texts.push_back({text, label, Size(texts.size())});
  return texts;
}

}  // namespace

std::vector<LabelledText> parse_labelled_text(std::string_view bytes, const std::string& name,
                                              LabelledTextFormat format, BadData& bad) {
  std::vector<LabelledText> examples;
  Records records(bytes, name, format);
  while (records.more()) {
    bad.attempt([&] {
      const auto fields = records.next();
      const std::string first = lower_ascii(fields[0]);
      const bool is_heading = records.line() == 1 && (first == "label" || first == "class");
      if (is_heading || (fields.size() == 1 && is_blank(first))) return;
      examples.push_back(example_of(fields, name, records.line()));
      examples.back().number = Size(examples.size()) - 1;
    });
  }
  return examples;
}

std::vector<LabelledText> read_labelled_text(const fs::path& path, BadData& bad) {
  if (!fs::exists(path)) throw FileError(path.string(), "no such file or folder");
  std::vector<LabelledText> texts;
  if (fs::is_directory(path)) {
    texts = read_folder(path, bad);
  } else {
    const auto format = lower_ascii(path.extension().string()) == ".csv" ? LabelledTextFormat::csv
                                                                         : LabelledTextFormat::tsv;
    texts = parse_labelled_text(read_whole_file(path), path.string(), format, bad);
  }
  if (texts.empty()) {
    throw DataError(path.string(), FilePosition{},
                    "labelled texts: lines of label and text, folders of texts, files x.pos and "
                    "x.neg, or files Label.txt",
                    "none");
  }
  return texts;
}

}  // namespace unroll
