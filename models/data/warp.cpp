#include "unroll/models/data/warp.hpp"

#include <cmath>
#include <numbers>

namespace unroll {

double pixel_between(std::span<const double> image, Size rows, Size columns, double row,
                     double column) {
  const double top = std::floor(row), left = std::floor(column);
  const double down = row - top, right = column - left;
  const auto at = [&](double r, double c) {
    if (!(r >= 0 && r < double(rows) && c >= 0 && c < double(columns))) return 0.0;
    return image[std::size_t(Size(r) * columns + Size(c))];
  };
  return (1 - down) * ((1 - right) * at(top, left) + right * at(top, left + 1)) +
         down * ((1 - right) * at(top + 1, left) + right * at(top + 1, left + 1));
}

Warp::Place Warp::source(Place target) const {
  const double row = target.row - down, column = target.column - right;
  const double cosine = std::cos(angle) / scale, sine = std::sin(angle) / scale;
  return {cosine * row - sine * column, sine * row + cosine * column};
}

Warp WarpRange::draw(const Key& key) const {
  const std::vector<double> u = uniform<double>(key, {4}, -1, 1).to_vector();
  return {.down = shift * u[0],
          .right = shift * u[1],
          .angle = rotation * std::numbers::pi / 180 * u[2],
          .scale = 1 + scale * u[3]};
}

template <FloatOrDouble T>
Var<T> random_warp(const Var<T>& images, const WarpRange& range, const Key& key) {
  if (images.rank() != 3) {
    fail("random_warp", "the images have shape " + to_string(images.shape()) +
                            "; they are [batch, rows, columns]");
  }
  const Size batch = images.size(0), rows = images.size(1), columns = images.size(2);
  const std::vector<T> old = images.to_vector();
  std::vector<T> warped;
  warped.reserve(old.size());
  const double middle_row = double(rows - 1) / 2, middle_column = double(columns - 1) / 2;
  for (Size b = 0; b < batch; ++b) {
    const Warp warp = range.draw(fold_in(key, std::uint64_t(b)));
    const auto first = old.begin() + b * rows * columns;
    const std::vector<double> image(first, first + rows * columns);
    for (Size r = 0; r < rows; ++r) {
      for (Size c = 0; c < columns; ++c) {
        const auto [row, column] = warp.source({double(r) - middle_row, double(c) - middle_column});
        warped.push_back(
            T(pixel_between(image, rows, columns, row + middle_row, column + middle_column)));
      }
    }
  }
  return Var<T>(images.shape(), std::span<const T>(warped));
}

template Var<float> random_warp(const Var<float>&, const WarpRange&, const Key&);
template Var<double> random_warp(const Var<double>&, const WarpRange&, const Key&);

}  // namespace unroll
