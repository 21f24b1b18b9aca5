// Pictures for a report: curves and heat maps drawn by gnuplot, graphs by Graphviz, as SVG elements
// that stand in an HTML page as they are.
//
//   Picture curve = line_chart_svg({{.name = "training", .y = losses}}, {.y_title = "bits"});
//   if (curve.ok()) page << curve.svg; else page << curve.problem;
//
// The programs are run without a shell, their text goes in and comes out through temporary files,
// and a missing one is no error: the picture then says how to get it. The ids inside an SVG begin
// with a number made from its content, so that many of them can share a page.
#pragma once

#include "unroll/autograd/cxx20.hpp"

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace unroll {

/// An <svg> element, or else a sentence that says why there is none.
struct Picture {
  std::string svg;
  std::string problem;

  [[nodiscard]] bool ok() const { return !svg.empty(); }
};

enum class Scale { linear, logarithmic };
enum class LineStyle { solid, dashed, points };

/// A curve. Without x it is 0, 1, 2, ...; points that are not finite leave a gap.
struct Series {
  std::string name = {};
  std::vector<double> x = {};
  std::vector<double> y = {};
  LineStyle style = LineStyle::solid;
};

struct ChartOptions {
  std::string title = {};
  std::string x_title = {};
  std::string y_title = {};
  Scale x_scale = Scale::linear;
  Scale y_scale = Scale::linear;
  int width = 820;  // in pixels, before the page scales it
  int height = 420;
};

/// Throws std::invalid_argument where x and y differ in length. On a logarithmic axis the points
/// that are not positive are left out.
[[nodiscard]] Picture line_chart_svg(const std::vector<Series>& series,
                                     const ChartOptions& options = {});

struct HeatMapOptions {
  std::string title = {};
  std::string x_title = {};      // of the columns
  std::string y_title = {};      // of the rows, which run downwards
  std::string value_title = {};  // beside the colours
  Scale scale = Scale::linear;
  double decades = 12;  // on a logarithmic scale, what is smaller has the lowest colour
  double first_x = 0;   // the number written at the first column, and at the first row
  double first_y = 0;
  std::vector<std::string> x_labels = {};  // of the columns, or of the rows, instead of numbers
  std::vector<std::string> y_labels = {};
  int width = 720;
  int height = 560;
};

/// A matrix in row-major order. NaN cells stay white. More than 128 rows or columns are drawn in
/// blocks, by the largest of each, and have numbers instead of labels. Throws std::invalid_argument
/// where the sizes do not fit.
[[nodiscard]] Picture heat_map_svg(std::span<const double> values, std::size_t rows,
                                   std::size_t columns, const HeatMapOptions& options = {});

/// A graph in the language of Graphviz, drawn by dot, in the fonts of the page if it names none.
[[nodiscard]] Picture graph_svg(std::string_view dot_text);

}  // namespace unroll
