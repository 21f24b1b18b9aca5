#include "unroll/models/training/report.hpp"

#include <algorithm>
#include <charconv>

#include "unroll/models/data/text.hpp"
#include "unroll/nn/atomic_file.hpp"

namespace unroll {
namespace {

constexpr std::string_view style = R"css(
:root { color-scheme: light dark; --ink: #111827; --soft: #4b5563; --line: #e5e7eb; --page: #ffffff;
  --card: #f8fafc; --accent: #0b6e99; --strong: #e6f4fa; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e5e7eb; --soft: #a3adba; --line: #2c3542; --page: #10151d; --card: #18202b;
    --accent: #6cc3ea; --strong: #15303e; } }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; scroll-behavior: smooth; }
body { margin: 0 auto; padding: 3rem 1.25rem 4rem; max-width: 58rem; background: var(--page);
  color: var(--ink); font: 1rem/1.6 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue",
  Arial, sans-serif; }
h1 { margin: 0; font-size: clamp(1.7rem, 5vw, 2.4rem); line-height: 1.15; letter-spacing: -0.02em;
  text-wrap: balance; }
h2 { margin: 3rem 0 0.75rem; padding-top: 1.5rem; border-top: 1px solid var(--line);
  font-size: 1.35rem; line-height: 1.3; letter-spacing: -0.01em; }
p { margin: 0.75rem 0; max-width: 44rem; }
.subtitle { margin: 0.6rem 0 0; color: var(--soft); font-size: 1.1rem; }
nav { margin: 1.5rem 0 0; display: flex; flex-wrap: wrap; gap: 0.4rem 1.25rem; font-size: 0.95rem; }
a { color: var(--accent); text-decoration: none; }
a:hover { text-decoration: underline; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(11rem, 1fr)); gap: 0.9rem;
  margin: 1.75rem 0; }
.figures div { padding: 0.9rem 1.1rem; background: var(--card); border: 1px solid var(--line);
  border-radius: 0.6rem; }
.figures b { display: block; font-size: 1.75rem; line-height: 1.25; font-weight: 650;
  letter-spacing: -0.02em; font-variant-numeric: tabular-nums; }
.figures span { color: var(--soft); font-size: 0.9rem; line-height: 1.35; display: block; }
.scroll { overflow-x: auto; }
table { width: 100%; border-collapse: collapse; font-size: 0.95rem; margin: 1rem 0;
  font-variant-numeric: tabular-nums; }
caption { caption-side: bottom; padding: 0.6rem 0.75rem 0; color: var(--soft); font-size: 0.9rem;
  text-align: left; }
th, td { padding: 0.5rem 0.75rem; text-align: left; border-bottom: 1px solid var(--line);
  vertical-align: top; }
th { color: var(--soft); font-weight: 600; border-bottom-width: 2px; white-space: nowrap; }
.number { text-align: right; white-space: nowrap; }
tr.emphasised td { background: var(--strong); font-weight: 600; }
dl { display: grid; grid-template-columns: minmax(7rem, max-content) 1fr; margin: 1rem 0;
  font-size: 0.95rem; }
dt, dd { margin: 0; padding: 0.4rem 0; border-bottom: 1px solid var(--line); }
dt { color: var(--soft); padding-right: 1.5rem; }
dd { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace;
  font-size: 0.88rem; line-height: 1.75; overflow-wrap: anywhere; }
figure { margin: 1.25rem 0; }
figure .paper { padding: 0.75rem; background: #ffffff; border: 1px solid var(--line);
  border-radius: 0.6rem; text-align: center; }
figure svg { display: block; margin: 0 auto; max-width: 100%; height: auto; }
figcaption { margin-top: 0.6rem; color: var(--soft); font-size: 0.9rem; }
.problem { padding: 0.9rem 1.1rem; border: 1px dashed var(--soft); border-radius: 0.6rem;
  color: var(--soft); }
.sample { margin: 1.25rem 0; border: 1px solid var(--line); border-radius: 0.6rem;
  overflow: hidden; }
.sample h3 { margin: 0; padding: 0.5rem 1rem; font-size: 0.9rem; font-weight: 600;
  color: var(--soft); background: var(--card); border-bottom: 1px solid var(--line); }
pre { margin: 0; padding: 0.9rem 1rem; overflow-x: auto; white-space: pre-wrap;
  overflow-wrap: anywhere; tab-size: 4; font: 0.85rem/1.55 ui-monospace, SFMono-Regular, Menlo,
  Consolas, "DejaVu Sans Mono", monospace; }
.tagged { padding: 0.6rem 0; border-bottom: 1px solid var(--line); line-height: 2.1; }
.tagged mark { padding: 0.15rem 0.4rem; border-radius: 0.35rem; color: #111827; }
.tagged small { margin-left: 0.35rem; font-size: 0.7rem; font-weight: 650; }
.tagged mark.wrong { outline: 2px dashed #b91c1c; }
.tag-0 { background: #bfdbfe; } .tag-1 { background: #fed7aa; } .tag-2 { background: #bbf7d0; }
.tag-3 { background: #e9d5ff; } .tag-4 { background: #fde68a; } .tag-5 { background: #fbcfe8; }
.tag-6 { background: #a5f3fc; } .tag-7 { background: #d1d5db; }
@media (max-width: 34rem) {
  body { padding-top: 1.75rem; }
  dl { grid-template-columns: 1fr; }
  dt { border-bottom: 0; padding-bottom: 0; }
  dd { padding-top: 0; }
}
@media print { body { max-width: none; padding: 0; } nav { display: none; }
  figure, .sample, table { break-inside: avoid; } }
)css";

bool is_number(std::string_view cell) {
  return !cell.empty() && cell.find_first_of("0123456789") != cell.npos &&
         cell.find_first_not_of("0123456789.,+-eE%x ") == cell.npos;
}

std::string element(std::string_view name, std::string_view text,
                    std::string_view name_of_class = {}) {
  std::string result = "<" + std::string(name);
  if (!name_of_class.empty()) result += " class=\"" + std::string(name_of_class) + "\"";
  return result + ">" + html_escaped(text) + "</" + std::string(name) + ">";
}

// The number in width="820" or width="412pt"; 0 where there is none.
double natural_width(std::string_view svg) {
  const std::string_view tag = svg.substr(0, svg.find('>'));
  constexpr std::string_view mark = "width=\"";
  const std::size_t begin = tag.find(mark);
  if (begin == tag.npos) return 0;
  double width = 0;
  const std::string_view digits = tag.substr(begin + mark.size());
  const auto end = std::from_chars(digits.data(), digits.data() + digits.size(), width).ptr;
  const bool in_points = std::string_view(end, 2) == "pt";
  return in_points ? width * 4 / 3 : width;
}

// Pictures shrink to the page, but not until nobody can read them: from there on they scroll.
int narrowest_width(double natural) {
  return static_cast<int>(std::max(std::min(natural, 500.0), 0.6 * natural));
}

}  // namespace

std::string html_escaped(std::string_view text) {
  const bool is_utf_8 = from_utf8(text).has_value();
  std::string result;
  result.reserve(text.size() + text.size() / 8);
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    switch (c) {
      case '&':
        result += "&amp;";
        break;
      case '<':
        result += "&lt;";
        break;
      case '>':
        result += "&gt;";
        break;
      case '"':
        result += "&quot;";
        break;
      case '\'':
        result += "&#39;";
        break;
      default:
        if ((byte < 32 && c != '\n' && c != '\t') || byte == 127 || (byte > 127 && !is_utf_8)) {
          result += "\uFFFD";
        } else {
          result += c;
        }
    }
  }
  return result;
}

Report::Report(std::string_view title, std::string_view subtitle)
    : title_(title), subtitle_(subtitle) {}

Report& Report::section(std::string_view heading) {
  headings_.emplace_back(heading);
  body_ += "<h2 id=\"section-" + std::to_string(headings_.size()) + "\">" + html_escaped(heading) +
           "</h2>\n";
  return *this;
}

Report& Report::paragraph(std::string_view text) {
  body_ += element("p", text) + "\n";
  return *this;
}

Report& Report::figures(const Pairs& figures) {
  body_ += "<div class=\"figures\">\n";
  for (const auto& [number, meaning] : figures) {
    body_ += "<div>" + element("b", number) + element("span", meaning) + "</div>\n";
  }
  body_ += "</div>\n";
  return *this;
}

Report& Report::facts(const Pairs& facts) {
  body_ += "<dl>\n";
  for (const auto& [name, value] : facts) {
    body_ += element("dt", name) + element("dd", value) + "\n";
  }
  body_ += "</dl>\n";
  return *this;
}

Report& Report::table(const ReportTable& table) {
  const auto numeric = [&](std::size_t column) {
    const auto fits = [&](const auto& row) {
      return column >= row.size() || row[column].empty() || is_number(row[column]);
    };
    return std::ranges::all_of(table.rows, fits);
  };
  body_ += "<div class=\"scroll\"><table>\n";
  if (!table.caption.empty()) body_ += element("caption", table.caption) + "\n";
  body_ += "<thead><tr>";
  for (std::size_t c = 0; c < table.columns.size(); ++c) {
    body_ += element("th", table.columns[c], numeric(c) ? "number" : "");
  }
  body_ += "</tr></thead>\n<tbody>\n";
  for (std::size_t r = 0; r < table.rows.size(); ++r) {
    const bool is_emphasised =
        std::ranges::find(table.emphasised_rows, r) != table.emphasised_rows.end();
    const auto& row = table.rows[r];
    body_ += is_emphasised ? "<tr class=\"emphasised\">" : "<tr>";
    for (std::size_t c = 0; c < std::max(row.size(), table.columns.size()); ++c) {
      body_ += element("td", c < row.size() ? row[c] : "", numeric(c) ? "number" : "");
    }
    body_ += "</tr>\n";
  }
  body_ += "</tbody></table></div>\n";
  return *this;
}

Report& Report::sample(std::string_view heading, std::string_view text) {
  // A first line break inside <pre> would be dropped by the browser, so one is put there for it.
  body_ += "<div class=\"sample\">" + element("h3", heading) + "<pre>\n" + html_escaped(text) +
           "</pre></div>\n";
  return *this;
}

Report& Report::tagged(const std::vector<std::vector<TaggedWord>>& sentences) {
  constexpr std::size_t colours = 8;
  std::vector<std::string> tags;  // in the order in which they come: the number is the colour
  const auto number = [&](const std::string& tag) {
    const auto found = std::ranges::find(tags, tag);
    const auto place = static_cast<std::size_t>(found - tags.begin());
    if (found == tags.end()) tags.push_back(tag);
    return std::to_string(place % colours);
  };
  for (const auto& sentence : sentences) {
    body_ += "<div class=\"tagged\">";
    for (const TaggedWord& word : sentence) {
      const bool is_wrong = word.right && *word.right != word.tag;
      if (word.tag.empty() && !is_wrong) {
        body_ += html_escaped(word.text) + " ";
        continue;
      }
      std::string label = word.tag;
      if (is_wrong) label += " (" + (word.right->empty() ? "no tag" : *word.right) + ")";
      const std::string& colour = word.tag.empty() ? *word.right : word.tag;
      body_ += "<mark class=\"tag-" + number(colour) + (is_wrong ? " wrong" : "") + "\">" +
               html_escaped(word.text) + element("small", label) + "</mark> ";
    }
    body_ += "</div>\n";
  }
  return *this;
}

Report& Report::picture(const Picture& picture, std::string_view caption) {
  body_ += "<figure>";
  if (picture.ok()) {
    std::string svg = picture.svg;
    if (const double natural = natural_width(svg); natural > 0) {
      svg.insert(4, " style=\"min-width:" + std::to_string(narrowest_width(natural)) + "px\"");
    }
    body_ += "<div class=\"paper scroll\">" + svg + "</div>";
  } else {
    body_ += element("div", picture.problem, "problem");
  }
  if (!caption.empty()) body_ += element("figcaption", caption);
  body_ += "</figure>\n";
  return *this;
}

std::string Report::html() const {
  std::string page =
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n" +
      element("title", title_) + "\n<style>" + std::string(style) + "</style>\n</head>\n<body>\n" +
      "<header>\n" + element("h1", title_) + "\n";
  if (!subtitle_.empty()) page += element("p", subtitle_, "subtitle") + "\n";
  if (headings_.size() > 1) {
    page += "<nav>\n";
    for (std::size_t i = 0; i < headings_.size(); ++i) {
      page += "<a href=\"#section-" + std::to_string(i + 1) + "\">" + html_escaped(headings_[i]) +
              "</a>\n";
    }
    page += "</nav>\n";
  }
  return page + "</header>\n<main>\n" + body_ + "</main>\n</body>\n</html>\n";
}

void Report::write(const std::filesystem::path& path) const { write_file_atomically(path, html()); }

}  // namespace unroll
