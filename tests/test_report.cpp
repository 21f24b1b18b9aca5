#include <doctest/doctest.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <limits>
#include <set>
#include <string>
#include <vector>

#include "temporary_folder.hpp"
#include "unroll/models/training/pictures.hpp"
#include "unroll/models/training/report.hpp"
#include "unroll/models/training/run_program.hpp"
#include "unroll/nn/atomic_file.hpp"

namespace fs = std::filesystem;
using namespace unroll;

namespace {

std::size_t count(const std::string& text, const std::string& part) {
  std::size_t found = 0;
  for (auto i = text.find(part); i != text.npos; i = text.find(part, i + 1)) ++found;
  return found;
}

bool contains(const std::string& text, const std::string& part) { return count(text, part) > 0; }

bool installed(const std::string& program) {
  return run_program({program, "-V"}, "").status != ProgramStatus::missing;
}

std::set<std::string> ids_of(const std::string& svg) {
  std::set<std::string> ids;
  for (const char quote : {'"', '\''}) {
    const std::string mark = std::string(" id=") + quote;
    for (auto i = svg.find(mark); i != svg.npos; i = svg.find(mark, i + 1)) {
      const auto begin = i + mark.size();
      ids.insert(svg.substr(begin, svg.find(quote, begin) - begin));
    }
  }
  return ids;
}

// An element that can stand in a page: no prologue, nothing that runs, references to itself only.
void check_svg(const Picture& picture) {
  INFO("the picture says: ", picture.problem);
  REQUIRE(picture.ok());
  CHECK(picture.problem.empty());
  CHECK(picture.svg.starts_with("<svg "));
  CHECK(picture.svg.ends_with("</svg>"));
  for (const char* absent : {"<?xml", "<!DOCTYPE", "<script", "<title", "href=\"http"}) {
    CHECK_FALSE(contains(picture.svg, absent));
  }
  const auto ids = ids_of(picture.svg);
  for (auto i = picture.svg.find("href='#"); i != picture.svg.npos;
       i = picture.svg.find("href='#", i + 1)) {
    const auto begin = i + 7;
    CHECK(ids.contains(picture.svg.substr(begin, picture.svg.find('\'', begin) - begin)));
  }
}

// No program is found while this lives.
class EmptyPath {
 public:
  EmptyPath() : old_(std::getenv("PATH")) { ::setenv("PATH", "/nowhere", 1); }
  ~EmptyPath() { ::setenv("PATH", old_.c_str(), 1); }

 private:
  std::string old_;
};

const double none = std::numeric_limits<double>::quiet_NaN();

}  // namespace

TEST_CASE("a program gets its input and arguments, and gives its output") {
  const std::string input(300'000, 'x');  // more than any pipe holds
  const ProgramResult cat = run_program({"cat"}, input);
  CHECK(cat.status == ProgramStatus::succeeded);
  CHECK(cat.output == input);
  // No shell: what would mean something to one is an argument like any other.
  CHECK(run_program({"echo", "$HOME; `id` | *"}, "").output == "$HOME; `id` | *\n");
}

TEST_CASE("a program that fails, is missing or hangs says so") {
  const ProgramResult failed = run_program({"sh", "-c", "echo oops >&2; exit 3"}, "");
  CHECK(failed.status == ProgramStatus::failed);
  CHECK(failed.problem == "oops");
  CHECK(run_program({"sh", "-c", "exit 3"}, "").problem == "exit code 3");
  CHECK(run_program({"sh", "-c", "kill -9 $$"}, "").problem == "ended by signal 9");
  CHECK(run_program({"no-such-program-here"}, "").status == ProgramStatus::missing);
  CHECK(run_program({"sleep", "20"}, "", 0.05).problem == "ended: it took too long");
}

TEST_CASE("a missing program is a sentence that says how to get it") {
  const EmptyPath nothing_installed;
  const Picture chart = line_chart_svg({{.name = "a", .y = {1, 2}}});
  CHECK_FALSE(chart.ok());
  CHECK(contains(chart.problem, "apt install gnuplot-nox"));
  const Picture graph = graph_svg("digraph { a -> b }");
  CHECK_FALSE(graph.ok());
  CHECK(contains(graph.problem, "apt install graphviz"));
  CHECK(contains(Report("t").picture(chart, "caption").html(), "apt install gnuplot-nox"));
}

TEST_CASE("a line chart shows its series and titles, whatever characters they have") {
  if (!installed("gnuplot")) return;
  const Picture chart = line_chart_svg(
      {{.name = "it's <b> & \"x_1\"", .y = {3, 2, none, 1}},
       {.name = "baseline", .x = {0, 3}, .y = {2, 2}, .style = LineStyle::dashed},
       {.name = "one point", .x = {1}, .y = {1}},
       {.name = "dots", .y = {1, 2, 3}, .style = LineStyle::points}},
      {.title = "a\nb'; system('x') \xe2\x88\x82", .x_title = "step", .y_title = "bits"});
  check_svg(chart);
  CHECK(contains(chart.svg, "it's &lt;b> &amp; "));
  CHECK(contains(chart.svg, "x_1"));
  CHECK(contains(chart.svg, "a b'; system('x') \xe2\x88\x82"));
  for (const char* text : {"baseline", "one point", "dots", "step", "bits"}) {
    CHECK(contains(chart.svg, text));
  }
  CHECK(contains(chart.svg, "width=\"820\""));
}

TEST_CASE("a logarithmic chart leaves out what is not positive") {
  if (!installed("gnuplot")) return;
  const ChartOptions options{.x_scale = Scale::logarithmic, .y_scale = Scale::logarithmic};
  check_svg(line_chart_svg({{.name = "a", .x = {0, 1, 10, 100}, .y = {1, 0, 1e-5, 10}}}, options));
  CHECK(
      contains(line_chart_svg({{.name = "a", .y = {0, -1}}}, options).problem, "nothing to draw"));
}

TEST_CASE("charts of nothing say so and charts of unequal lengths are refused") {
  CHECK(contains(line_chart_svg({}).problem, "nothing to draw"));
  CHECK(contains(line_chart_svg({{.name = "a", .y = {none, none}}}).problem, "nothing to draw"));
  CHECK_THROWS_AS((void)line_chart_svg({{.name = "a", .x = {1}, .y = {1, 2}}}),
                  std::invalid_argument);
}

TEST_CASE("constant, single and extreme values can be drawn") {
  if (!installed("gnuplot")) return;
  check_svg(line_chart_svg({{.name = "constant", .y = {5, 5, 5}}}));
  check_svg(line_chart_svg({{.name = "single", .y = {5}}}));
  check_svg(line_chart_svg({{.name = "wide", .y = {-1e300, 1e300}}}));
  check_svg(heat_map_svg(std::vector<double>{2}, 1, 1));
  check_svg(heat_map_svg(std::vector<double>(6, 0.0), 2, 3));
  check_svg(heat_map_svg(std::vector<double>(6, 0.5), 2, 3, {.scale = Scale::logarithmic}));
}

TEST_CASE("a heat map draws one cell per number and leaves NaN white") {
  if (!installed("gnuplot")) return;
  const std::vector<double> lower{1, none, none, 0.1, 1, none, 1e-300, 0, 1};
  const HeatMapOptions options{
      .title = "T", .scale = Scale::logarithmic, .first_x = 1, .first_y = 1};
  const Picture map = heat_map_svg(lower, 3, 3, options);
  check_svg(map);
  std::vector<double> full(9, 1.0);
  full[6] = 1e-300;
  const Picture all = heat_map_svg(full, 3, 3, options);
  check_svg(all);
  // The colour scale is the same in both, so the cells make the difference.
  CHECK(count(all.svg, "<polygon") - count(map.svg, "<polygon") == 3);
  // The largest number is yellow, what is 12 decades below it or less is violet.
  CHECK(contains(map.svg, "253, 231,  37"));
  CHECK(contains(map.svg, "rgb( 68,   1,  84)"));
}

TEST_CASE("a large heat map is drawn in blocks and a wrong size is refused") {
  if (installed("gnuplot")) {
    std::vector<double> large(500 * 300, 0.0);
    for (std::size_t i = 0; i < large.size(); ++i) large[i] = std::sin(0.001 * double(i));
    const Picture map = heat_map_svg(large, 500, 300);
    check_svg(map);
    CHECK(map.svg.size() < 4'000'000);
  }
  CHECK_THROWS_AS((void)heat_map_svg(std::vector<double>(5), 2, 3), std::invalid_argument);
  CHECK(contains(heat_map_svg({}, 0, 0).problem, "nothing to draw"));
}

TEST_CASE("a graph is drawn, and an unsound one says what dot says") {
  if (!installed("dot")) return;
  const Picture graph = graph_svg("digraph { a [label=\"<x> & y\"]; a -> b }");
  check_svg(graph);
  CHECK(contains(graph.svg, "&lt;x&gt; &amp; y"));
  const Picture unsound = graph_svg("digraph { a -> ");
  CHECK_FALSE(unsound.ok());
  CHECK(contains(unsound.problem, "syntax error"));
}

TEST_CASE("pictures in one page share no ids") {
  if (!installed("gnuplot") || !installed("dot")) return;
  const auto a = ids_of(line_chart_svg({{.name = "a", .y = {1, 2}}}).svg);
  const auto b = ids_of(line_chart_svg({{.name = "b", .y = {1, 2}}}).svg);
  const auto c = ids_of(graph_svg("digraph { a -> b }").svg);
  const auto d = ids_of(graph_svg("digraph { a -> c }").svg);
  CHECK(!a.empty());
  CHECK(!c.empty());
  std::set<std::string> all;
  for (const auto& ids : {a, b, c, d}) all.insert(ids.begin(), ids.end());
  CHECK(all.size() == a.size() + b.size() + c.size() + d.size());
}

TEST_CASE("HTML text is escaped and what no page may hold is replaced") {
  CHECK(html_escaped("<a href=\"x\">'&'</a>") ==
        "&lt;a href=&quot;x&quot;&gt;&#39;&amp;&#39;&lt;/a&gt;");
  CHECK(html_escaped("tab\tline\n\xc3\xa9") == "tab\tline\n\xc3\xa9");
  CHECK(html_escaped(std::string("\x01\0\x7f", 3)) == "\uFFFD\uFFFD\uFFFD");
  CHECK(html_escaped("\xff<") == "\uFFFD&lt;");
}

TEST_CASE("a report is one page with all its parts, in order, escaped, from nowhere else") {
  Report report("Title <1>", "Sub & title");
  report.section("First <section>")
      .paragraph("Some <text>.")
      .figures({{"1.87", "bits <per> character"}})
      .facts({{"command", "a --b 'c' <d>"}})
      .table({.columns = {"name", "value"},
              .rows = {{"a<b", "1.5e-3"}, {"c", "2,000"}, {"short"}},
              .caption = "The <caption>",
              .emphasised_rows = {1}})
      .section("Second")
      .sample("after", "\n  int main() { return a<b>::c; }\n\n")
      .picture({"<svg width=\"900\" height=\"10\"><rect/></svg>", ""}, "Cap <tion>")
      .picture({"", "Nothing <here>."});
  const std::string page = report.html();

  CHECK(page.starts_with("<!DOCTYPE html>\n<html lang=\"en\">"));
  CHECK(contains(page, "<meta charset=\"utf-8\">"));
  CHECK(contains(page, "name=\"viewport\""));
  CHECK(contains(page, "<title>Title &lt;1&gt;</title>"));
  CHECK(contains(page, "<h2 id=\"section-1\">First &lt;section&gt;</h2>"));
  CHECK(contains(page, "<a href=\"#section-2\">Second</a>"));
  CHECK(contains(page, "<b>1.87</b><span>bits &lt;per&gt; character</span>"));
  CHECK(contains(page, "<dt>command</dt><dd>a --b &#39;c&#39; &lt;d&gt;</dd>"));
  CHECK(contains(page, "<th class=\"number\">value</th>"));
  CHECK(contains(page, "<tr class=\"emphasised\"><td>c</td><td class=\"number\">2,000</td></tr>"));
  CHECK(contains(page, "<tr><td>short</td><td class=\"number\"></td></tr>"));
  CHECK(contains(page, "<pre>\n\n  int main() { return a&lt;b&gt;::c; }\n\n</pre>"));
  CHECK(contains(page, "min-width:540px\" width=\"900\""));
  CHECK(contains(page, "<figcaption>Cap &lt;tion&gt;</figcaption>"));
  CHECK(contains(page, "<div class=\"problem\">Nothing &lt;here&gt;.</div>"));
  CHECK(page.find("First") < page.find("<dl>"));
  CHECK(page.find("<dl>") < page.find("<table>"));
  CHECK(page.find("<table>") < page.rfind("Second"));
  for (const char* absent : {"<script", "http:", "https:", "@import", "url(", "<link", "src="}) {
    CHECK_FALSE(contains(page, absent));
  }
  for (const char* tag : {"div", "table", "tr", "td", "th", "dl", "figure", "pre", "main", "svg"}) {
    const std::string name = tag;
    const auto opened = count(page, "<" + name + ">") + count(page, "<" + name + " ");
    CHECK(opened == count(page, "</" + name + ">"));
  }
}

TEST_CASE("a report is written whole, or the path is named") {
  const testing::TemporaryFolder folder;
  Report report("T");
  report.paragraph("x");
  report.write(folder / "report.html");
  CHECK(read_whole_file(folder / "report.html") == report.html());
  CHECK_THROWS_WITH_AS(report.write("/nowhere/report.html"),
                       doctest::Contains("/nowhere/report.html"), FileError);
}
