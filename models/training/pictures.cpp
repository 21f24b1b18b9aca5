#include "unroll/models/training/pictures.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <limits>

#include "unroll/autograd/error.hpp"
#include "unroll/models/training/run_program.hpp"

namespace unroll {
namespace {

constexpr std::size_t most_cells = 128;  // in a row or column; more makes the page slow

// ---- Making an <svg> document an element of a page ----

void replace_all(std::string& text, std::string_view from, std::string_view to) {
  for (std::size_t i = text.find(from); i != text.npos; i = text.find(from, i + to.size())) {
    text.replace(i, from.size(), to);
  }
}

void remove_elements(std::string& text, const std::string& name) {
  const std::string last = "</" + name + ">";
  for (std::size_t i = text.find("<" + name + ">"); i != text.npos;
       i = text.find("<" + name + ">", i)) {
    const std::size_t end = text.find(last, i);
    if (end == text.npos) return;
    text.erase(i, end + last.size() - i);
  }
}

// Equal pictures get equal ids, which is harmless; others get others (FNV-1a, 32 bits).
std::string id_prefix(std::string_view text) {
  std::uint32_t hash = 2166136261u;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 16777619u;
  std::array<char, 8> digits{};
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), hash, 16).ptr;
  return "svg" + std::string(digits.data(), end) + "-";
}

std::string inlined(std::string text) {
  const std::size_t begin = text.find("<svg");
  const std::size_t end = text.rfind("</svg>");
  if (begin == text.npos || end == text.npos) return "";
  text = text.substr(begin, end + 6 - begin);
  // Titles would show up as tooltips, with names that the programs made up.
  remove_elements(text, "title");
  remove_elements(text, "desc");
  const std::string prefix = id_prefix(text);
  for (const std::string_view mark : {" id=\"", " id='", "href=\"#", "href='#", "url(#"}) {
    replace_all(text, mark, std::string(mark) + prefix);
  }
  return text.insert(4, " role=\"img\"");
}

Picture draw(const std::vector<std::string>& command, const std::string& input,
             const std::string& package) {
  const ProgramResult result = run_program(command, input);
  const std::string& program = command.front();
  if (result.status == ProgramStatus::missing) {
    return {"",
            "This picture needs " + program + ", which is not installed: apt install " + package};
  }
  if (result.status != ProgramStatus::succeeded) return {"", program + ": " + result.problem};
  Picture picture{inlined(result.output), ""};
  if (!picture.ok()) picture.problem = program + " drew nothing: " + result.problem;
  return picture;
}

// ---- The language of gnuplot ----

std::string number(double value) {
  if (!std::isfinite(value)) return "NaN";
  std::array<char, 40> digits{};
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr;
  return {digits.data(), end};
}

// Single quotes: nothing inside is special but the quote itself.
std::string in_quotes(std::string_view text) {
  std::string result = "'";
  for (const char c : text) {
    if (c == '\'') result += '\'';
    result += static_cast<unsigned char>(c) < 32 ? ' ' : c;
  }
  return result + "'";
}

std::string prologue(int width, int height, const std::string& title) {
  return "set encoding utf8\n"
         "set terminal svg enhanced size " +
         std::to_string(width) + "," + std::to_string(height) +
         " font 'Helvetica,Arial,sans-serif,14' background '#ffffff'\n"
         "set border 3 linecolor '#6b7280' linewidth 1\n"
         "set tics out nomirror scale 0.5 textcolor '#374151'\n"
         "set title " +
         in_quotes(title) + " noenhanced font ',16' textcolor '#111827'\n";
}

std::string axis_title(const std::string& axis, const std::string& title) {
  return "set " + axis + "label " + in_quotes(title) + " noenhanced textcolor '#374151'\n";
}

std::string logarithmic_axis(const std::string& axis, double largest_ratio) {
  // Powers of ten read better as such, but not where an axis has room for one or two of them.
  const bool as_power = largest_ratio > 1e3;
  return "set logscale " + axis + "\n" + (as_power ? "set format " + axis + " '10^{%L}'\n" : "");
}

struct AxisRange {
  double low = std::numeric_limits<double>::infinity();
  double high = -std::numeric_limits<double>::infinity();

  void include(double value) {
    low = std::min(low, value);
    high = std::max(high, value);
  }
  [[nodiscard]] bool empty() const { return low > high; }
};

// Words instead of numbers along an axis.
std::string labels(const std::string& axis, const std::vector<std::string>& words, double first) {
  std::string text;
  for (std::size_t i = 0; i < words.size(); ++i) {
    text += (text.empty() ? "" : ", ") + in_quotes(words[i]) + " " +
            number(first + static_cast<double>(i));
  }
  return "set " + axis + "tics (" + text + ") noenhanced scale 0" +
         (axis == "x" ? " rotate by -45" : "") + "\n";
}

// The colours of viridis (van der Walt and Smith 2015), readable in grey and by the colour-blind.
constexpr std::string_view palette =
    "set palette defined (0 '#440154', 1 '#482878', 2 '#3e4989', 3 '#31688e', 4 '#26828e', "
    "5 '#1f9e89', 6 '#35b779', 7 '#6ece58', 8 '#b5de2b', 9 '#fde725')\n";

// Told apart by the colour-blind, dark enough on white (after Okabe and Ito 2008).
constexpr std::array colours{"#0072b2", "#d55e00", "#009e73", "#7b3294",
                             "#b8860b", "#444444", "#56b4e9", "#cc79a7"};

}  // namespace

Picture line_chart_svg(const std::vector<Series>& series, const ChartOptions& options) {
  AxisRange x_range;
  AxisRange y_range;
  std::string data;
  std::string curves;
  for (std::size_t s = 0; s < series.size(); ++s) {
    const auto& [name, x, y, style] = series[s];
    if (!x.empty() && x.size() != y.size()) {
      fail("line_chart_svg", "series \"" + name + "\" has " + std::to_string(x.size()) + " x but " +
                                 std::to_string(y.size()) + " y values");
    }
    const std::string block = "$s" + std::to_string(s);
    std::size_t drawn = 0;
    data += block + " << EOD\n";
    for (std::size_t i = 0; i < y.size(); ++i) {
      const double at = x.empty() ? static_cast<double>(i) : x[i];
      const bool shown = std::isfinite(at) && std::isfinite(y[i]) &&
                         (options.x_scale == Scale::linear || at > 0) &&
                         (options.y_scale == Scale::linear || y[i] > 0);
      if (shown) {
        x_range.include(at);
        y_range.include(y[i]);
        ++drawn;
      }
      data += shown ? number(at) + " " + number(y[i]) + "\n" : "\n";  // a blank line is a gap
    }
    data += "EOD\n";
    if (drawn == 0) continue;
    const std::string colour = in_quotes(colours[s % colours.size()]);
    curves += (curves.empty() ? "" : ", ") + block + " using 1:2 ";
    curves += style == LineStyle::points || drawn == 1
                  ? "with points pointtype 7 pointsize 0.5 linecolor " + colour
                  : "with lines linewidth 2 linecolor " + colour +
                        (style == LineStyle::dashed ? " dashtype (6,4)" : "");
    curves += " title " + in_quotes(name) + " noenhanced";
  }
  if (curves.empty()) return {"", "There is nothing to draw: no finite values."};

  std::string text = prologue(options.width, options.height, options.title) + data;
  text += "set grid linecolor '#e5e7eb' linetype 1 linewidth 1\n";
  text += std::string("set key ") + (options.title.empty() ? "tmargin" : "bmargin") +
          " left horizontal Left reverse samplen 2 textcolor '#374151' noenhanced\n";
  text += axis_title("x", options.x_title) + axis_title("y", options.y_title);
  if (options.x_scale == Scale::logarithmic) {
    text += logarithmic_axis("x", x_range.high / x_range.low);
  }
  if (options.y_scale == Scale::logarithmic) {
    text += logarithmic_axis("y", y_range.high / y_range.low);
  }
  if (x_range.low == x_range.high) text += "set offsets graph 0.5, graph 0.5, 0, 0\n";
  text += "plot " + curves + "\n";
  return draw({"gnuplot", "-d", "-"}, text, "gnuplot-nox");
}

Picture heat_map_svg(std::span<const double> values, std::size_t rows, std::size_t columns,
                     const HeatMapOptions& options) {
  if (values.size() != rows * columns) {
    fail("heat_map_svg", std::to_string(values.size()) + " values do not make " +
                             std::to_string(rows) + " rows of " + std::to_string(columns));
  }
  const auto check_labels = [](std::size_t count, std::size_t cells) {
    if (count != 0 && count != cells) {
      fail("heat_map_svg",
           std::to_string(count) + " labels for " + std::to_string(cells) + " rows or columns");
    }
  };
  check_labels(options.x_labels.size(), columns);
  check_labels(options.y_labels.size(), rows);
  const bool is_log = options.scale == Scale::logarithmic;
  AxisRange range;
  for (const double value : values) {
    if (std::isfinite(value) && (!is_log || value > 0)) range.include(value);
  }
  if (range.empty()) return {"", "There is nothing to draw: no finite values."};
  if (is_log) range.low = std::max(range.low, range.high * std::pow(10, -options.decades));

  const std::size_t row_step = (rows + most_cells - 1) / most_cells;
  const std::size_t column_step = (columns + most_cells - 1) / most_cells;
  std::string text = prologue(options.width, options.height, options.title) + "$m << EOD\n";
  for (std::size_t row = 0; row < rows; row += row_step) {
    for (std::size_t column = 0; column < columns; column += column_step) {
      double largest = std::numeric_limits<double>::quiet_NaN();
      for (std::size_t r = row; r < std::min(row + row_step, rows); ++r) {
        for (std::size_t c = column; c < std::min(column + column_step, columns); ++c) {
          largest = std::fmax(largest, values[r * columns + c]);  // NaN only if all are
        }
      }
      // Out of range is the nearest colour, where gnuplot would leave the cell out.
      text += (std::isnan(largest) ? "NaN" : number(std::clamp(largest, range.low, range.high)));
      text += ' ';
    }
    text += '\n';
  }
  text += "EOD\n";
  if (range.low == range.high) {
    const double margin = is_log ? 0 : std::max(std::abs(range.low), 1.0) / 10;
    range = is_log ? AxisRange{range.low / 10, range.high * 10}
                   : AxisRange{range.low - margin, range.high + margin};
  }

  const auto axis = [](double first, std::size_t step, const std::string& column) {
    return "(" + number(first + static_cast<double>(step - 1) / 2) + "+" + std::to_string(step) +
           "*$" + column + ")";
  };
  const double last_x = options.first_x + static_cast<double>(columns);
  const double last_y = options.first_y + static_cast<double>(rows);
  text += palette;
  text += "set format cb '%g'\n";
  if (is_log) text += logarithmic_axis("cb", range.high / range.low);
  text += axis_title("x", options.x_title) + axis_title("y", options.y_title);
  text += axis_title("cb", options.value_title);
  if (column_step == 1 && !options.x_labels.empty()) {
    text += labels("x", options.x_labels, options.first_x);
  }
  if (row_step == 1 && !options.y_labels.empty()) {
    text += labels("y", options.y_labels, options.first_y);
  }
  text += "set cbrange [" + number(range.low) + ":" + number(range.high) + "]\n";
  text += "set colorbox user origin graph 1.04, graph 0 size 0.025, graph 1\n";
  text += "set rmargin 14\n";
  text += "set xrange [" + number(options.first_x - 0.5) + ":" + number(last_x - 0.5) + "]\n";
  text += "set yrange [" + number(last_y - 0.5) + ":" + number(options.first_y - 0.5) + "]\n";
  text += "plot $m matrix using " + axis(options.first_x, column_step, "1") + ":" +
          axis(options.first_y, row_step, "2") + ":3 with image pixels notitle\n";
  return draw({"gnuplot", "-d", "-"}, text, "gnuplot-nox");
}

Picture graph_svg(std::string_view dot_text) {
  const std::string fonts = "fontname=Helvetica,Arial,sans-serif";
  return draw({"dot", "-Tsvg", "-G" + fonts, "-N" + fonts, "-E" + fonts}, std::string(dot_text),
              "graphviz");
}

}  // namespace unroll
