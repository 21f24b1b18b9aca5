#include "unroll/models/classify_images/generator.hpp"

#include <algorithm>
#include <array>
#include <string_view>

namespace unroll {
namespace {

constexpr Size font_rows = 7, font_columns = 5;
constexpr double dot_size = 3;  // pixels of the image for a dot of the font

using Glyph = std::array<std::string_view, font_rows>;
constexpr std::array<Glyph, 10> font{
    {{" ### ", "#   #", "#   #", "#   #", "#   #", "#   #", " ### "},
     {"  #  ", " ##  ", "# #  ", "  #  ", "  #  ", "  #  ", "#####"},
     {" ### ", "#   #", "    #", "   # ", "  #  ", " #   ", "#####"},
     {"#####", "   # ", "  #  ", "   # ", "    #", "#   #", " ### "},
     {"   # ", "  ## ", " # # ", "#  # ", "#####", "   # ", "   # "},
     {"#####", "#    ", "#### ", "    #", "    #", "#   #", " ### "},
     {"  ## ", " #   ", "#    ", "#### ", "#   #", "#   #", " ### "},
     {"#####", "    #", "   # ", "  #  ", "  #  ", " #   ", " #   "},
     {" ### ", "#   #", "#   #", " ### ", "#   #", "#   #", " ### "},
     {" ### ", "#   #", "#   #", " ####", "    #", "   # ", " ##  "}}};
constexpr bool all_rows_are_full() {
  for (const Glyph& glyph : font) {
    for (const std::string_view row : glyph) {
      if (row.size() != font_columns) return false;
    }
  }
  return true;
}
static_assert(all_rows_are_full());

}  // namespace

std::vector<double> draw_digit(std::int64_t digit, const Warp& warp) {
  if (digit < 0 || digit > 9) fail("draw_digit", std::to_string(digit) + " is no digit");
  std::vector<double> dots;
  for (const std::string_view row : font[std::size_t(digit)]) {
    for (const char c : row) dots.push_back(c == '#' ? 1 : 0);
  }
  std::vector<double> image;
  for (Size r = 0; r < digit_rows; ++r) {
    for (Size c = 0; c < digit_columns; ++c) {
      const auto [row, column] = warp.source(
          {double(r) - double(digit_rows - 1) / 2, double(c) - double(digit_columns - 1) / 2});
      image.push_back(pixel_between(dots, font_rows, font_columns,
                                    row / dot_size + double(font_rows - 1) / 2,
                                    column / dot_size + double(font_columns - 1) / 2));
    }
  }
  return image;
}

ImageSet generate_digits(const Key& key, Size count, const DigitOptions& options) {
  ImageSet set{.rows = digit_rows, .columns = digit_columns};
  for (Size i = 0; i < count; ++i) {
    const auto [which, how, noise] = split<3>(fold_in(key, std::uint64_t(i)));
    const std::int64_t digit = randint(which, {}, 0, 10)(0);
    const std::vector<double> image = draw_digit(digit, options.warp.draw(how));
    const std::vector<double> added =
        normal<double>(noise, {digit_rows * digit_columns}, 0, options.noise).to_vector();
    for (std::size_t k = 0; k < image.size(); ++k) {
      const double shade = std::clamp(image[k] + added[k], 0.0, 1.0);
      set.pixels.push_back(static_cast<std::uint8_t>(255 * shade + 0.5));
    }
    set.labels.push_back(digit);
  }
  return set;
}

}  // namespace unroll
